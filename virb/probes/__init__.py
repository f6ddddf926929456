"""Probes, one file a probe: how an encoder is judged by a task. :mod:`virb.contracts.probe` says what one must offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from virb import registry
from virb.contracts.probe import OPTIONS, Predictor, Probe, Problem, Report, Setup, Source
from virb.errors import RegistryError, UsageError, option

if TYPE_CHECKING:
    import numpy as np
    import torch


def find(name: str) -> Probe:
    """Return the probe called ``name``.

    Raises:
        UsageError: there is none, or its file is broken.
    """
    try:
        found = registry.load("probes", name)
    except RegistryError as error:
        raise UsageError(str(error)) from error
    assert isinstance(found, Probe)
    return found


def every() -> list[Probe]:
    """Return all probes that can be loaded."""
    return registry.load_all(registry.entries("probes"))[0]


def check_options(probe: Probe, given: Mapping[str, object]) -> None:
    """Raise UsageError if one of the overrides ``given`` is none that ``probe`` takes, or needs another beside it."""
    refused = [name for name in OPTIONS if name in given and name not in probe.options]
    if refused:
        taking = [other.name for other in every() if set(refused) <= other.options]
        raise UsageError(
            f"{option('probe', probe.name)} has no {', '.join(map(option, refused))}: {probe.why_not}. Leave "
            f"{'it' if len(refused) == 1 else 'them'} out, or choose {' or '.join(option('probe', one) for one in taking)}."
        )
    open_ = [name for name in OPTIONS if given.get(name) == "auto" and name not in probe.chooses]
    if open_:
        choosing = [other.name for other in every() if set(open_) <= other.chooses]
        raise UsageError(
            f"{option('probe', probe.name)} chooses no {', '.join(open_)} by itself: say a number, leave it out, or take "
            f"{' or '.join(option('probe', one) for one in choosing)}."
        )
    own = probe.protocol
    if own is not None and "lr" not in given and given.get("optimizer", own.optimizer) != own.optimizer:
        raise UsageError(
            f"{option('probe', probe.name)} trains by {own.optimizer} at {own.lr:g}; {given['optimizer']} needs a rate of its "
            f"own, for example {option('lr', 1e-4)}."
        )


def fit(
    probe: Probe, problem: Problem, setups: Sequence[Setup], *, device: torch.device, progress: Report
) -> list[Predictor]:
    """Fit ``probe`` to the train split, and return a predictor for each setup.

    Numbers are standardised by the train split's mean and standard deviation before they are fitted, and what is predicted
    is brought back, so that learning rates and penalties do not depend on their unit.

    Args:
        progress: called as ``progress(done, total)``; it may raise to end the fit.
    """
    if problem.target != "number":
        return probe.fit(problem, setups, device, progress)
    import numpy as np

    held = problem.validation
    targets = np.asarray(problem.targets, dtype=np.float64).reshape(len(problem.frames), -1)
    mean, scale = np.nanmean(targets, axis=0), np.nanstd(targets, axis=0)
    scale[scale == 0] = 1.0

    def standardised(values: np.ndarray) -> np.ndarray:
        return ((np.asarray(values, dtype=np.float64).reshape(len(values), -1) - mean) / scale).astype(np.float32)

    def back(outputs: np.ndarray) -> np.ndarray:
        return outputs * scale + mean

    standard = replace(
        problem,
        targets=standardised(targets),
        validation=None if held is None else replace(held, targets=standardised(held.targets)),
        score=lambda outputs, wanted: problem.score(back(outputs), back(wanted)),
    )

    def predictor(found: Predictor) -> Predictor:
        def outputs(source: Source, frames: Any, report: Report) -> np.ndarray:
            return back(found.outputs(source, frames, report))

        about = {"target_mean": mean.tolist(), "target_scale": scale.tolist()}
        return Predictor({**found.protocol, **about}, outputs, found.losses)

    return [predictor(found) for found in probe.fit(standard, setups, device, progress)]

"""Logistic and ridge regression on frozen embeddings, by full-batch L-BFGS, its penalty chosen without the test split.

Chen et al. 2020 (SimCLR), Appendix B.8.1, after Kornblith et al. 2019: the l2 penalty is the best of 45 logarithmically
spaced values between 1e-6 and 1e5 on a validation part of train; the regression is then fitted to all of train. As
Radford et al. 2021 (CLIP), Appendix A.3, the best is searched for from coarse to fine, and an optimisation ends after
1,000 iterations. None of the three papers standardises features, and neither is done here.

:mod:`virb.probes.regression` says what is minimised, :mod:`virb.training.quasi_newton` how.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from virb.contracts import holdout
from virb.contracts.probe import FORWARD_OPTIONS, Predictor, Probe, Problem, Report, Setup, Source
from virb.probes.regression import HISTORY, LINKS, MAX_ITERATIONS, TOLERANCE, Fit, Objective, fit

__all__ = ["PENALTIES", "PROBE", "Choice", "Fit", "choose_and_fit", "fit"]
VERSION = 2  # of the fit: 1 stopped every one at a gradient of 1e-5
PENALTIES = tuple(float(f"{value:.6g}") for value in np.logspace(-6, 5, 45))
FIRST_STRIDE = 8  # of the search, in steps of a quarter of a decade
VALIDATION = 0.2
WITHOUT_VALIDATION = 1.0  # the penalty where no example can be held out, as each is the only one of its class
SEARCH_TOLERANCE = 1e-5  # of the gradient, of fits that are only scored on validation


@dataclass(frozen=True)
class Choice:
    """The chosen penalty's fit to all of train, and the validation score of every penalty that was tried."""

    fit: Fit
    tried: dict[float, float]
    n_validation: int


def choose_and_fit(
    features: np.ndarray,
    frames: np.ndarray,
    targets: np.ndarray,
    *,
    n_classes: int,
    target: str = "class",
    seed: int,
    score: Callable[[np.ndarray, np.ndarray], float],
    held_out: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    validation: float = VALIDATION,
    penalties: str = "search",
    device: torch.device | str = "cpu",
    progress: Report | None = None,
) -> Choice:
    """Choose the penalty on a validation part of the examples, then fit the regression to all of them.

    Fits that are only scored on validation end at a gradient of ``SEARCH_TOLERANCE``, the last at ``TOLERANCE``. Each begins
    on the line through the two nearest that are solved, in the logarithm of the penalty, or at the nearest if that is lower.

    The search scores every eighth penalty and the last, then the two beside the best at half that distance, and so on:
    13 of the 45 at most; ``penalties`` "all" scores all of them. Of equal scores, the lower loss on validation decides, then the larger penalty.

    Args:
        features: embeddings of the images, float (M, D).
        frames: int (N, F), the images of each example as rows of the features; an example is their embeddings side by
            side.
        targets: int (N,), the classes; of ``target`` "labels" int (N, K), -1 counting for nothing; of "number" float (N, K),
            NaN counting for nothing.
        seed: of the validation part, a random choice of a share ``validation`` of the examples.
        held_out: the rows to fit while choosing, and the frames (V, F) and targets (V, ...) to validate on; by default
            drawn at random.
        score: of logits (V, K) and classes (V,); higher is better.
        progress: called as ``progress(done, total)`` in fits.

    Raises:
        TrainingError: a loss was not finite.
        UsageError: there are too few examples to hold some out.
    """
    n_fits = len(PENALTIES) + 1 if penalties == "all" else len(_first_round()) + 2 * (FIRST_STRIDE.bit_length() - 1) + 1
    n_done = 0

    def tick(n: int = 0) -> None:
        nonlocal n_done
        n_done += n
        if progress is not None:
            progress(n_done, n_fits)

    if held_out is None:
        rows, drawn = holdout.held_out(len(frames), validation, seed=seed)
        held_out = rows, frames[drawn], targets[drawn]
    fitted, held_frames, held_targets = held_out
    device = torch.device(device)
    link = LINKS[target](held_targets, torch.device("cpu"))

    def quality(candidate: Fit) -> tuple[float, float, float]:
        logits = candidate.scores(features, held_frames, device=device)
        loss = link.mean(torch.from_numpy(logits))
        return float(score(logits, held_targets)), -loss, candidate.penalty

    tried: dict[float, tuple[float, float, float]] = {}
    starts: list[Tensor] = []
    penalty = WITHOUT_VALIDATION
    if len(held_frames):
        part = Objective(features, frames[fitted], targets[fitted], n_classes, device, target)
        tried, start = _search(part, quality, tick, is_whole=penalties == "all")
        del part  # its examples' memory is needed for all of them
        penalty, starts = max(tried.values())[2], [start]
    found = Objective(features, frames, targets, n_classes, device, target).solve(penalty, starts, tick)
    if progress is not None:
        progress(n_fits, n_fits)
    return Choice(found, {penalty: tried[penalty][0] for penalty in sorted(tried)}, len(held_frames))


def _first_round() -> list[int]:
    return sorted({*range(0, len(PENALTIES), FIRST_STRIDE), len(PENALTIES) - 1}, reverse=True)


def _search(
    problem: Objective,
    quality: Callable[[Fit], tuple[float, float, float]],
    tick: Callable[..., None],
    *,
    is_whole: bool = False,
) -> tuple[dict[float, tuple[float, float, float]], Tensor]:
    """Return the quality of every penalty that was tried, and the weights of the best."""
    solved: dict[int, Tensor] = {}
    tried: dict[int, tuple[float, float, float]] = {}

    def attempt(index: int) -> None:
        if index in solved or not 0 <= index < len(PENALTIES):
            return
        found = problem.solve(PENALTIES[index], _starts(solved, index), tick, tolerance=SEARCH_TOLERANCE)
        solved[index] = found.weights
        tried[index] = quality(found)
        tick(1)

    # Strong penalties first: a solution is near that of the next weaker one.
    for index in range(len(PENALTIES) - 1, -1, -1) if is_whole else _first_round():
        attempt(index)
    stride = FIRST_STRIDE // 2
    while stride:
        best = max(tried, key=lambda index: tried[index])
        attempt(best + stride)
        attempt(best - stride)
        stride //= 2
    best = max(tried, key=lambda index: tried[index])
    return {PENALTIES[index]: value for index, value in tried.items()}, solved[best]


def _starts(solved: Mapping[int, Tensor], index: int) -> list[Tensor]:
    """Return where a fit may begin: at the nearest solution, and on the line through the two nearest."""
    near = sorted(solved, key=lambda other: abs(other - index))[:2]
    starts = [solved[k] for k in near[:1]]
    if len(near) == 2:
        one, two = near
        starts.append(solved[one] + (solved[one] - solved[two]) * ((index - one) / (one - two)))
    return starts


def _with_every_class(problem: Problem, seed: int) -> tuple[np.ndarray, np.ndarray, Any]:
    """Return what to fit and what to validate on, as :meth:`Problem.hold_out` does, where every class can be fitted.

    Of few labels a random part may take all of a class: then its first example stays.
    """
    fitted, frames, targets = problem.hold_out(VALIDATION, seed=seed)
    if problem.target != "class" or problem.validation is not None or problem.groups is not None:
        return fitted, frames, targets
    held = np.setdiff1d(np.arange(len(problem.frames)), fitted)
    lost = [held[problem.targets[held] == k][0] for k in np.setdiff1d(problem.targets[held], problem.targets[fitted])]
    fitted, held = np.sort(np.concatenate([fitted, lost]).astype(np.int64)), np.setdiff1d(held, lost)
    return fitted, problem.frames[held], problem.targets[held]


def fit_probe(problem: Problem, setups: Sequence[Setup], device: torch.device, report: Report) -> list[Predictor]:
    """Choose the penalty and fit the regression."""
    (setup,) = setups
    device = torch.device("cpu") if device.type == "mps" else device  # which has no float64
    choice = choose_and_fit(
        setup.source.features,
        problem.frames,
        problem.targets,
        n_classes=problem.n_out,
        target=problem.target,
        seed=setup.seed,
        score=problem.score,
        held_out=_with_every_class(problem, setup.seed),
        penalties=setup.options.get("penalties", "search"),
        device=device,
        progress=report,
    )
    protocol = {
        "head": "linear",
        "optimizer": "lbfgs",
        "penalty": choice.fit.penalty,
        "penalties_tried": {f"{penalty:g}": score for penalty, score in choice.tried.items()},
        "n_validation": choice.n_validation,
        "feature_scale": choice.fit.scale,
        "iterations": choice.fit.n_iterations,
        "is_converged": choice.fit.is_converged,
        "gradient": choice.fit.gradient,
        "tolerance": TOLERANCE,
        "search_tolerance": SEARCH_TOLERANCE,
    }

    def outputs(source: Source, frames: np.ndarray, report: Report) -> np.ndarray:
        return choice.fit.scores(source.features, frames, device=device)

    return [Predictor(protocol, outputs)]


def settings(protocol: Mapping[str, Any], augmentations: Sequence[str]) -> dict[str, Any]:
    """Return what decides the fit, beside the data."""
    return {
        "version": VERSION,
        "penalties": PENALTIES,
        "first_stride": FIRST_STRIDE,
        "validation": VALIDATION,
        "max_iterations": MAX_ITERATIONS,
        "history": HISTORY,
        "tolerance": TOLERANCE,
        "search_tolerance": SEARCH_TOLERANCE,
        **({"tried": "all"} if protocol.get("penalties") == "all" else {}),
    }


PROBE = Probe(
    name="lbfgs",
    summary="logistic regression by L-BFGS, its penalty chosen on a validation part of train",
    takes=frozenset({"class", "labels", "number"}),
    fit=fit_probe,
    settings=settings,
    options=frozenset({*FORWARD_OPTIONS, "penalties"}),
    holds_out=True,
    why_not="L-BFGS takes all examples at once and chooses its own steps",
)

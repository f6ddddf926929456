"""Finds an architecture's weights in a checkpoint: every tensor in its place, or a refusal that says what lacks."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from virb.contracts.encoder import MatchReport
from virb.convert import choice, timm_index
from virb.convert.detect import detect_architecture
from virb.convert.standins import what_stands_in
from virb.convert.tables import State, listed, tables
from virb.errors import CheckpointError
from virb.networks.backbones import spell_architecture
from virb.networks.base import Backbone


@dataclass
class _Candidate:
    container: str
    prefix: str
    table: Mapping[str, Tensor]
    missing: list[str]
    mismatched: list[str]
    foreign: list[str]  # tensors inside the architecture's own modules that it does not have

    @property
    def place(self) -> str:
        return f"{self.container}/{self.prefix}" if self.container else self.prefix

    @property
    def is_exact(self) -> bool:
        return not (self.missing or self.mismatched or self.foreign)

    @property
    def rank(self) -> int:
        return choice.rank(self.container, self.prefix, self.table)


def _expected(backbone: Backbone) -> dict[str, Tensor]:
    return {key.removeprefix(backbone.key_prefix): value for key, value in backbone.state_dict().items()}


def _candidates(state: Mapping[str, Any], backbone: Backbone) -> list[_Candidate]:
    expected = _expected(backbone)
    parts = {key.split(".")[0] for key in expected}
    found = []
    for container, table in tables(state):
        hits: Counter[str] = Counter()
        for key in table:
            names = key.split(".")
            for start in range(len(names)):
                if (tail := ".".join(names[start:])) in expected:
                    hits[key[: len(key) - len(tail)]] += 1
        for prefix, _ in hits.most_common(8):  # a true prefix has the most; layer1.0. fits a few names by accident
            missing, mismatched = [], []
            for key, tensor in expected.items():
                value = table.get(prefix + key)
                if value is None:
                    if not key.endswith("num_batches_tracked"):
                        missing.append(key)
                elif value.shape != tensor.shape:
                    mismatched.append(f"{key} {tuple(value.shape)} instead of {tuple(tensor.shape)}")
            foreign = []
            for key in table:
                own = key.removeprefix(prefix)
                is_inside = key.startswith(prefix) and own not in expected and own.split(".")[0] in parts
                is_head = any(own == head or own.startswith(f"{head}.") for head in backbone.head_names)
                if (is_inside and not is_head) or own.split(".")[0] in backbone.forbidden_names:
                    foreign.append(own)
            found.append(_Candidate(container, prefix, table, missing, mismatched, foreign))
    return found


def match_state(
    state: Mapping[str, Any],
    backbone: Backbone,
    *,
    prefix: str | None = None,
    ema: str | None = None,
    what: str = "The checkpoint",
) -> tuple[State, MatchReport]:
    """Find the weights of ``backbone`` in a checkpoint, however nested and whatever stands before their names.

    The rule: the prefix under which *every* tensor of the architecture is present with its shape, and no other tensor
    lies in the architecture's modules. BatchNorm's batch counters may be absent (old files). Where several match, the
    query encoder goes before the key encoder, the online network before its momentum copy, DINO's teacher before the
    student; ``prefix`` (a part of the place, such as "student") and ``ema`` (yes or no) choose another.

    Returns the state under the backbone's own names, ready for a strict ``load_state_dict``, and the report.

    Raises:
        CheckpointError: nothing matches exactly (it lists what the closest candidate lacks), or several do.
    """
    label = backbone.label
    candidates = _candidates(state, backbone)
    if prefix is not None or ema is not None:
        places = [candidate.place for candidate in candidates]
        candidates = choice.chosen(candidates, prefix=prefix, ema=ema, what=what)
        if not candidates:
            raise CheckpointError(f"{what} has no {label} under {prefix!r}; found {listed(places) or 'nothing'}.")
    exact = sorted((candidate for candidate in candidates if candidate.is_exact), key=lambda found: found.rank)
    if not exact:
        raise CheckpointError(_refusal(state, candidates, backbone, what))
    chosen = exact[0]
    rivals = [other for other in exact[1:] if other.rank == chosen.rank and not _are_equal(chosen, other, backbone)]
    if rivals:
        raise CheckpointError(
            f"{what} holds several different networks that are exactly {label}: "
            f"{listed([repr(found.place) for found in (chosen, *rivals)])}. Choose one with the option prefix=..."
        )
    result: State = {}
    for key, value in _expected(backbone).items():
        found = chosen.table.get(chosen.prefix + key)
        if found is None or (key.endswith("num_batches_tracked") and found.dtype != torch.long):
            found = torch.zeros((), dtype=torch.long)  # the batch counter of an old file, which inference never reads
        else:
            found = checked_weight(found, value, f"{what}: the tensor {chosen.prefix}{key}")
        result[backbone.key_prefix + key] = found
    alternatives = tuple(found.place for found in exact[1:])
    dropped = _dropped(state, chosen, result, backbone)
    notes = choice.said(chosen.place, alternatives)
    return result, MatchReport(chosen.container, chosen.prefix, dropped, alternatives, notes=notes)


_REAL = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def checked_weight(found: Tensor, expected: Tensor, what: str) -> Tensor:
    """Return a file's tensor as a weight: float32 where a number is expected, whole where a count or an index is.

    ``what`` names it in the refusal and ends as the network knows it (a running variance is not negative).

    Raises:
        CheckpointError: it is sparse or without values, of another type, or holds values that no weight has.
    """
    if found.layout != torch.strided or found.is_meta or found.is_quantized:
        kind = "has no values (a meta tensor)" if found.is_meta else "is sparse or quantised"
        raise CheckpointError(f"{what} {kind}; expected a plain tensor. Save the network's state_dict() in full.")
    if not expected.is_floating_point():
        if found.is_floating_point() or found.is_complex():
            raise CheckpointError(f"{what} is {found.dtype}; expected whole numbers ({expected.dtype}).")
        return found.to(expected.dtype).contiguous()
    if found.dtype not in _REAL:
        raise CheckpointError(
            f"{what} is {found.dtype}; weights are real floating-point numbers (float32, float16, bfloat16 or float64). "
            "A quantised network has to be saved with its weights as floats."
        )
    found = found.float()
    if not bool(torch.isfinite(found).all()):
        raise CheckpointError(f"{what} holds NaN or infinite values.")
    if what.endswith("running_var") and bool((found < 0).any()):
        raise CheckpointError(f"{what} holds negative values, and a variance has none: the file is damaged.")
    return found.contiguous()


def _are_equal(one: _Candidate, other: _Candidate, backbone: Backbone) -> bool:
    keys = [key for key in _expected(backbone) if not key.endswith("num_batches_tracked")]
    pairs = [(one.table[one.prefix + key], other.table[other.prefix + key]) for key in keys]
    return all(a.dtype == b.dtype and a.layout == b.layout and torch.equal(a, b) for a, b in pairs)


def _dropped(state: Mapping[str, Any], chosen: _Candidate, used: State, backbone: Backbone) -> dict[str, int]:
    names = {chosen.prefix + key.removeprefix(backbone.key_prefix) for key in used}
    dropped: Counter[str] = Counter()
    for key in chosen.table:
        if key not in names:
            stem = next((start for start in (chosen.prefix, "module.") if key.startswith(start)), "")
            dropped[stem + key.removeprefix(stem).split(".")[0]] += 1
    others = {container: len(table) for container, table in tables(state) if container != chosen.container}
    for container, n in others.items():
        dropped["/".join(container.split("/")[:2])] += n
    return dict(dropped)


def _refusal(state: Mapping[str, Any], candidates: list[_Candidate], backbone: Backbone, what: str) -> str:
    label = backbone.label
    if not candidates:
        keys = [key for _, table in tables(state) for key in table]
        held = f"{len(keys)} tensors ({listed(keys)})" if keys else f"no tensors ({listed(list(map(str, state)))})"
        inert = what_stands_in(state)
        objects = f" It holds objects whose code virb never runs ({listed(inert)})." if inert else ""
        return (
            f"{what} is not {label}: it holds {held}, none under a name of that architecture.{objects} Say another with "
            "arch=."
        )
    best = min(candidates, key=lambda found: len(found.missing) + len(found.mismatched) + len(found.foreign))
    lines = [f"{what} is not exactly {label}, and is never loaded in part."]
    lines.append(f"Closest: {best.place!r}." if best.place else "Closest: the top of the file.")
    for title, names in (
        ("Missing", best.missing),
        ("Of another shape", best.mismatched),
        (f"Not part of {label}", best.foreign),
    ):
        if names:
            lines.append(f"{title} ({len(names)}): {listed(names)}.")
    if fits := timm_index.suggestion(state):
        return " ".join([*lines, fits])
    with contextlib.suppress(CheckpointError):
        arch, options = detect_architecture(state)
        said = spell_architecture(arch, options)
        if said != label:
            lines.append(f"The tensors look like {said}.")
    return " ".join(lines)

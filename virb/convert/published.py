"""Find a published layout in a checkpoint and convert it: every tensor in its place, or a refusal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from virb.contracts.encoder import MatchReport
from virb.contracts.layout import Facts, Layout, LayoutReport
from virb.contracts.parts import check_names
from virb.convert import choice, timm_index
from virb.convert.layouts import all_layouts
from virb.convert.match import checked_weight
from virb.convert.tables import tables
from virb.errors import CheckpointError, UsageError
from virb.networks.backbones import blank_backbone, canonical_architecture, spell_architecture

if TYPE_CHECKING:
    from torch import Tensor

    from virb.networks.base import Backbone


@dataclass(frozen=True)
class Found:
    """A place in a checkpoint where a layout's network stands."""

    layout: Layout
    container: str
    prefix: str
    table: Mapping[str, Tensor]  # of the whole container
    facts: Facts

    @property
    def place(self) -> str:
        return f"{self.container}/{self.prefix}" if self.container else self.prefix

    @property
    def rank(self) -> int:
        return choice.rank(self.container, self.prefix, self.table)

    @property
    def own(self) -> dict[str, Tensor]:
        return {key[len(self.prefix) :]: value for key, value in self.table.items() if key.startswith(self.prefix)}


@dataclass(frozen=True)
class Converted:
    """A published network under the names of one of our architectures; ``backbone`` has exactly its state."""

    found: Found
    arch: str
    options: dict[str, Any]
    state: dict[str, Tensor]
    backbone: Backbone
    report: LayoutReport
    dropped: Mapping[str, int]
    alternatives: tuple[str, ...]

    @property
    def label(self) -> str:
        return spell_architecture(self.arch, self.options)

    @property
    def match(self) -> MatchReport:
        """What is said of the match: the place, the layout, what was assumed and what was left aside."""
        return MatchReport(
            self.found.container,
            self.found.prefix,
            self.dropped,
            self.alternatives,
            self.found.layout.title,
            (*self.report.notes, *choice.said(self.found.place, self.alternatives)),
        )


def find(
    content: Mapping[str, Any],
    *,
    config: Mapping[str, Any] | None = None,
    asked: Mapping[str, Any] | None = None,
) -> list[Found]:
    """Return every place where a layout is recognised, the ones that releases read first in front.

    ``config`` is the config.json beside the file, and ``asked`` the options that the user gave.
    """
    found = []
    for container, table in tables(content):
        for layout in all_layouts():
            starts: list[str] = []
            for start in (start for anchor in layout.anchors for start in _starts(table, anchor)):
                if any(start.startswith(outer) for outer in starts):
                    continue
                own = {key[len(start) :]: tuple(value.shape) for key, value in table.items() if key.startswith(start)}
                facts = layout.recognise(own.keys(), own)
                if facts is not None:
                    starts.append(start)
                    place = f"{container}/{start}" if container else start
                    facts |= {"config": dict(config or {}), "asked": dict(asked or {}), "place": place}
                    found.append(Found(layout, container, start, table, facts))
    return sorted(found, key=lambda one: one.rank)


def _starts(table: Mapping[str, Any], anchor: str) -> list[str]:
    """Return what stands before ``anchor`` wherever it is a whole name, or the end of one after a dot."""
    found = (key.removesuffix(anchor) for key in table if key.endswith(anchor))
    return [start for start in found if not start or start.endswith(".")]


def convert(
    content: Mapping[str, Any],
    *,
    config: Mapping[str, Any] | None = None,
    asked: Mapping[str, Any] | None = None,
    prefix: str | None = None,
    ema: str | None = None,
    what: str = "The checkpoint",
) -> Converted | None:
    """Return the network of a published layout, None if no layout is recognised; :mod:`virb.convert.choice` says which.

    Raises:
        CheckpointError: a layout is recognised and a tensor has no place in it, or several different networks are
            found that nothing chooses between.
    """
    places = choice.chosen(find(content, config=config, asked=asked), prefix=prefix, ema=ema, what=what)
    done: list[Converted] = []
    reasons: list[str] = []
    for found in places:
        if done and found.rank > done[0].found.rank:
            break
        try:
            done.append(_convert_one(content, found))
        except CheckpointError as error:
            where = f" under {found.place!r}" if found.place else ""
            reasons.append(f"It looks like {found.layout.title}{where}, but {error}")
    if not done:
        if reasons:
            fits = timm_index.suggestion(content)
            raise CheckpointError(f"{what} is never loaded in part. {' '.join(reasons)} {fits}".strip())
        return None
    first = done[0]
    for other in done[1:]:
        if not _are_equal(first, other):
            raise CheckpointError(
                f"{what} holds several networks: {first.label} ({first.found.layout.title}) at {first.found.place!r} and "
                f"{other.label} ({other.found.layout.title}) at {other.found.place!r}. Choose one with prefix=..."
            )
    others = tuple(dict.fromkeys(found.place for found in places if found.place != first.found.place))
    return Converted(**{**first.__dict__, "alternatives": others})


def _are_equal(one: Converted, other: Converted) -> bool:
    import torch

    return (one.arch, one.options, one.state.keys()) == (other.arch, other.options, other.state.keys()) and all(
        torch.equal(value, other.state[key]) for key, value in one.state.items()
    )


def _convert_one(content: Mapping[str, Any], found: Found) -> Converted:
    own = found.own
    (arch, options), state, report = found.layout.convert(own, found.facts)
    asked = found.facts["asked"]
    check_names(tuple(canonical_architecture(arch)[1]), asked, f"{found.layout.title} ({arch})")
    try:
        arch, full = canonical_architecture(arch, {**options, **asked})
        backbone = blank_backbone(arch, full)
    except UsageError as error:
        raise CheckpointError(str(error)) from error
    state = _exact(state, backbone)
    dropped = Counter(report.dropped)
    for key in found.table:
        if not key.startswith(found.prefix):
            dropped[key.removeprefix("module.").split(".")[0]] += 1
    for container, table in tables(content):
        if container != found.container:
            dropped["/".join(container.split("/")[:2])] += len(table)
    return Converted(found, arch, full, state, backbone, report, dict(dropped), ())


def _exact(state: Mapping[str, Tensor], backbone: Backbone) -> dict[str, Tensor]:
    """Return ``state`` as float32 if its names and shapes are exactly the network's."""
    import torch

    expected = backbone.state_dict()
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    foreign = [key for key in state if key not in expected]
    wrong = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    lines = [
        f"{title} ({len(names)}): {', '.join(names[:4])}{' and more' if len(names) > 4 else ''}."
        for title, names in (("missing", missing), ("of another shape", wrong), ("not part of it", foreign))
        if names
    ]
    if lines:
        raise CheckpointError(f"it is not exactly {backbone.label}: {' '.join(lines)}")
    result = {}
    for key, value in expected.items():
        tensor = state.get(key)
        if tensor is None:
            tensor = torch.zeros((), dtype=torch.long)  # the batch counter of an old file
        result[key] = checked_weight(tensor, value, f"the tensor {key}")
    return result

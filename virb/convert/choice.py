"""Which of several networks in a checkpoint is taken: the one that its release reads, and the user's word over that."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from virb.convert.tables import SECOND_CHOICE
from virb.errors import CheckpointError, UsageError

# Where a release keeps an average of the weights over training.
_AVERAGED = re.compile(r"(^|[^a-z])ema([^a-z]|$)|momentum|target|teacher|encoder_k")


class Place(Protocol):
    """A network that was found: the dicts around it, joined by "/", and what stands before its names."""

    @property
    def place(self) -> str: ...


T = TypeVar("T", bound=Place)


def rank(container: str, prefix: str, table: Mapping[str, Any]) -> int:
    """Return 0 for what the release's own readers take first, 1 for a network, 2 for its average, its teacher's student.

    Averages that come first: timm's ``state_dict_ema`` (timm/models/_helpers.py), torchvision's ``model_ema``, which
    counts its steps in ``n_averaged`` (references/classification/train.py), and the ``target_encoder`` of I-JEPA and MSN
    (src/train.py, src/msn_train.py). ConvNeXt's and DeiT's ``model_ema`` stand beside a ``model`` that they read.
    """
    outer = container.split("/")
    is_first = (
        "state_dict_ema" in outer or ("model_ema" in outer and "n_averaged" in table) or outer[0] == "target_encoder"
    )
    if is_first:
        return 0
    return 2 if SECOND_CHOICE.search(f"{container}/{prefix}" if container else prefix) else 1


def chosen(found: Sequence[T], *, prefix: str | None = None, ema: str | None = None, what: str) -> list[T]:
    """Return the places that the user's ``prefix`` and ``ema`` leave.

    ``prefix`` is the beginning of a place, else a part of it; ``ema`` is "yes" or "no".

    Raises:
        CheckpointError: none is left.
        UsageError: ``ema`` is another word.
    """
    left = list(found)
    if ema is not None:
        if str(ema).lower() not in ("yes", "no"):
            raise UsageError(f"The option ema is {ema!r}; expected yes (the averaged weights) or no (the raw ones).")
        is_wanted = str(ema).lower() == "yes"
        left = [one for one in left if (_AVERAGED.search(one.place) is not None) == is_wanted]
        if found and not left:
            kind = "averaged" if is_wanted else "raw"
            raise CheckpointError(
                f"{what} has no {kind} weights; found {', '.join(repr(one.place) for one in found[:4])}."
            )
    if prefix is not None:
        left = [one for one in left if one.place.startswith(prefix)] or [one for one in left if prefix in one.place]
    return left


def said(place: str, alternatives: Collection[str]) -> tuple[str, ...]:
    """Return what is to be said of a choice between raw and averaged weights, nothing where there was none."""
    is_average = _AVERAGED.search(place) is not None
    others = [other for other in alternatives if (_AVERAGED.search(other) is not None) != is_average]
    if not others:
        return ()
    kind, other, word = ("averaged", "raw", "no") if is_average else ("raw", "averaged", "yes")
    return (f"the {kind} weights, as the release reads them; ema={word} takes the {other} ones ({others[0]!r})",)

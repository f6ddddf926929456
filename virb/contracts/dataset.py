"""What a named set of images to pretrain on is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virb.pretraining.data import PretrainingData


@dataclass(frozen=True)
class DataSet:
    """A set of images: ``load(progress)`` returns it; ``progress(what, done, total)``, or None, is called while it is made.

    Equal content must give an equal ``revision``, whatever the set is called. ``n_images`` is how many it has, for
    reckoning what a run will cost before anything is made; None where that is not known before.
    """

    name: str
    summary: str
    load: Callable[[Callable[[str, int, int], None] | None], PretrainingData]
    n_images: int | None = None

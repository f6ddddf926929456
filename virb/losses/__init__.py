"""Losses that heads train on, one file a loss; :mod:`virb.contracts.loss` says what a loss of one's own must offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb import registry
from virb.contracts.loss import Loss
from virb.contracts.parts import TARGETS
from virb.errors import RegistryError, UsageError

if TYPE_CHECKING:
    from torch import Tensor


def _nothing(outputs: Tensor, targets: Tensor, ignore_index: int | None) -> tuple[Tensor, int]:
    raise UsageError("A head that does not train has no loss.")


#: What is minimised where a head does not train.
NOTHING = Loss(name="", summary="nothing: the head does not train", takes=frozenset(TARGETS), total=_nothing)

#: The loss to begin with, by the kind of target.
USUAL = {"class": "cross_entropy", "labels": "bce", "number": "l2", "mask": "cross_entropy"}


def find_loss(name: str) -> Loss:
    """Return the loss called ``name``; :data:`NOTHING` for "".

    Raises:
        UsageError: there is none, or its file is broken.

    >>> sorted(find_loss("l1").takes)
    ['map', 'number']
    """
    if not name:
        return NOTHING
    try:
        found = registry.load("losses", name)
    except RegistryError as error:
        raise UsageError(str(error)) from error
    assert isinstance(found, Loss)
    return found

"""Losses that heads train on, one file a loss; :mod:`virb.contracts.loss` says what a loss of one's own must offer."""

from __future__ import annotations

from virb import registry
from virb.contracts.loss import Loss
from virb.errors import RegistryError, UsageError

#: The loss to begin with, by the kind of target.
USUAL = {"class": "cross_entropy", "labels": "bce", "number": "l2", "mask": "cross_entropy"}


def find_loss(name: str) -> Loss:
    """Return the loss called ``name``.

    Raises:
        UsageError: there is none, or its file is broken.

    >>> sorted(find_loss("l1").takes)
    ['map', 'number']
    """
    try:
        found = registry.load("losses", name)
    except RegistryError as error:
        raise UsageError(str(error)) from error
    assert isinstance(found, Loss)
    return found

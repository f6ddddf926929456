"""Heads, one file a head: the five of the paper (Kotar et al. 2021, Section 4.2). They know tensors, not tasks.

:mod:`virb.contracts.head` says what a head of one's own must offer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from virb import registry
from virb.contracts.head import Facts, Head
from virb.contracts.parts import resolve
from virb.errors import RegistryError, UsageError
from virb.system.threads import own_generator

if TYPE_CHECKING:
    from torch import nn

#: The head to begin with, by the kind of target.
USUAL = {"class": "linear", "labels": "linear", "number": "linear", "mask": "deeplabv3plus"}


def find_head(name: str) -> Head:
    """Return the head called ``name``.

    Raises:
        UsageError: there is none, or its file is broken.

    >>> find_head("linear").reads
    'embedding'
    """
    try:
        found = registry.load("heads", name)
    except RegistryError as error:
        raise UsageError(str(error)) from error
    assert isinstance(found, Head)
    return found


def build_head(
    kind: str | Head,
    *,
    n_out: int,
    dim: int | None = None,
    channels: Sequence[int] | None = None,
    strides: Sequence[float] | None = None,
    offsets: Sequence[float] | None = None,
    n_frames: int = 1,
    seed: int = 0,
    initial_output: float = 0.0,
    **options: Any,
) -> nn.Module:
    """Return a head with random weights that depend on ``seed`` alone, whatever the global generator's state.

    What it is called with depends on what it reads (:class:`virb.contracts.head.Head`): embeddings or tokens of width
    ``dim``, or the maps of ``channels`` at ``strides`` (pixels of the image a cell) from ``offsets`` on (the pixel under the
    first cell's centre; default: cells are patches, the first in the image's corner), fine to coarse.

    Args:
        kind: a head, or its name.
        initial_output: where the outputs start (the bias of the last layer), such as a regression's mean target.
        options: the head's own.

    Raises:
        UsageError: for an unknown head or option, or where what the head needs is missing.

    >>> tuple(build_head("linear", n_out=3, dim=5).weight.shape)
    (3, 5)
    """
    import torch
    from torch import nn

    from virb.heads.layers import with_own_layers
    from virb.images.geometry import centred

    head = find_head(kind) if isinstance(kind, str) else kind
    what = f"The head {head.name!r}"
    if not head.is_pixelwise and dim is None:
        raise UsageError(f"{what} needs dim, the width of the embedding.")
    if head.is_pixelwise and (channels is None or strides is None):
        raise UsageError(f"{what} needs channels and strides, the encoder's pyramid fine to coarse.")
    if not head.fits(n_frames) and not head.is_pixelwise:
        raise UsageError(f"{what} takes {_frames(head)} an example; found {n_frames}.")
    values = resolve(head.options, options, what)
    places = tuple(offsets) if offsets is not None else centred(strides or ())
    facts = Facts(dim, tuple(channels or ()), tuple(strides or ()), places, n_frames)
    with own_generator(seed):
        module = head.build(facts, n_out, **values)
        with_own_layers(module)
    if initial_output:
        with torch.no_grad():
            nn.init.constant_(_last_bias(module, n_out, what), initial_output)
    return module


def _frames(head: Head) -> str:
    if head.max_frames is None:
        return f"{head.min_frames} frames or more"
    return (
        f"{head.min_frames} to {head.max_frames} frames" if head.min_frames < head.max_frames else f"{head.min_frames}"
    )


def _last_bias(module: nn.Module, n_out: int, what: str) -> Any:
    """Return the bias of the last layer that has one for each output."""
    found: list[Any] = [layer.bias for layer in module.modules() if getattr(layer, "bias", None) is not None]
    biases = [bias for bias in found if len(bias) == n_out]
    if not biases or biases[-1] is not found[-1]:
        raise UsageError(f"{what}: its last layer has no bias of {n_out} values, where its outputs could start.")
    return biases[-1]

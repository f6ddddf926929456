"""The five heads of the paper (Kotar et al. 2021, Section 4.2). They know tensors, not tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from virb.errors import UsageError
from virb.system.threads import own_generator

if TYPE_CHECKING:
    from torch import nn

HEADS = ("linear", "fusion", "unet", "siamese_unet", "deeplabv3plus")


def build_head(
    kind: str,
    *,
    n_out: int,
    dim: int | None = None,
    channels: Sequence[int] | None = None,
    strides: Sequence[float] | None = None,
    n_frames: int = 1,
    seed: int = 0,
    initial_output: float = 0.0,
    **options: Any,
) -> nn.Module:
    """Return a head with random weights that depend on ``seed`` alone, whatever the global generator's state.

    ``linear`` maps (N, dim) and ``fusion`` (N, n_frames, dim) to (N, n_out). ``unet`` and ``deeplabv3plus`` are called
    as ``head(pyramid, size)`` with maps fine to coarse of ``channels`` at ``strides`` (pixels of the image a cell) and
    the output's (h, w); ``siamese_unet`` as ``head(pyramid_a, pyramid_b, size)``; they return (N, n_out, h, w).

    Args:
        initial_output: where the outputs start (the bias of the last layer), such as a regression's mean target.
        options: a head's own: ``hidden`` (fusion), ``max_width`` (unet, siamese_unet), ``width`` and ``dropout``
            (deeplabv3plus).

    Raises:
        UsageError: for an unknown ``kind`` or option, or where what the kind needs is missing.
    """
    import torch
    from torch import nn

    if kind not in HEADS:
        raise UsageError(f"Unknown head {kind!r}; expected one of {', '.join(HEADS)}.")
    if kind in ("linear", "fusion"):
        if dim is None:
            raise UsageError(f"The {kind} head needs dim, the width of the embedding.")
    elif channels is None or strides is None:
        raise UsageError(f"The {kind} head needs channels and strides, the encoder's pyramid fine to coarse.")
    with own_generator(seed):
        try:
            head, last = _build(kind, n_out, dim, channels, strides, n_frames, options)
        except TypeError as error:
            raise UsageError(f"The {kind} head cannot be built with options {sorted(options)}: {error}.") from error
    if initial_output:
        with torch.no_grad():
            nn.init.constant_(last.bias, initial_output)
    return head


def _build(
    kind: str,
    n_out: int,
    dim: int | None,
    channels: Sequence[int] | None,
    strides: Sequence[float] | None,
    n_frames: int,
    options: dict[str, Any],
) -> tuple[nn.Module, Any]:
    """Return the head and its last layer."""
    # Imported here: the decoders bring segmentation-models-pytorch, which takes a second or two.
    if kind == "linear":
        from virb.heads.linear import LinearHead

        assert dim is not None
        linear = LinearHead(dim, n_out, **options)
        return linear, linear
    if kind == "fusion":
        from virb.heads.fusion import FusionHead

        assert dim is not None
        fusion = FusionHead(dim, n_frames, n_out, **options)
        return fusion, fusion.fusion
    assert channels is not None
    assert strides is not None
    if kind == "unet":
        from virb.heads.unet import UNetDecoder

        unet = UNetDecoder(channels, strides, n_out, **options)
        return unet, unet.out
    if kind == "siamese_unet":
        from virb.heads.siamese_unet import SiameseUNetDecoder

        siamese = SiameseUNetDecoder(channels, strides, n_out, **options)
        return siamese, siamese.decoder.out
    from virb.heads.deeplabv3plus import DeepLabV3PlusDecoder

    deeplab = DeepLabV3PlusDecoder(channels, strides, n_out, **options)
    return deeplab, deeplab.out

"""What every network that is pretrained and then frozen promises: one vector an image, and a pyramid of maps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import Tensor, nn

from virb.networks.places import measured_offsets


class Backbone(nn.Module):
    """A network that turns images into one vector each and into a pyramid of maps.

    ``dim`` is the length D of the embedding; ``channels`` and ``strides`` describe the pyramid, finest map first.
    """

    dim: int
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    label = "a network"  # what build_backbone was asked for, as one writes it after arch=
    key_prefix = ""  # what state_dict() puts before the names that published files use
    head_names: tuple[str, ...] = ("fc",)  # the classifier's names in published files, left out here
    forbidden_names: tuple[str, ...] = ()  # parts whose presence in a file means another network
    variant = ""  # what neither the architecture's name nor the tensors tell of what it computes

    def features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the embedding (N, D) and the pyramid of ``x`` (N, 3, h, w) from a single pass."""
        raise NotImplementedError

    def embed(self, x: Tensor) -> Tensor:
        """Return one vector for each image: (N, 3, h, w) -> (N, D)."""
        return self.features(x)[0]

    def pyramid(self, x: Tensor, output_stride: int | None = None) -> list[Tensor]:
        """Return maps from fine to coarse: (N, channels[k], ceil(h / strides[k]), ceil(w / strides[k])).

        With ``output_stride`` no map is coarser than that: the strides beyond it become dilations of the same weights
        ("a trous", Chen et al. 2017). Networks without convolutional stages give the maps that they have; a head reads
        the strides and sets its own rates by them.
        """
        self.strides_at(output_stride)
        return self.features(x)[1]

    def strides_at(self, output_stride: int | None = None) -> tuple[int, ...]:
        """Return the strides of ``pyramid(x, output_stride)``: a network that cannot be dilated keeps its own.

        Raises:
            UsageError: the stride is none that a network of this kind could have.
        """
        return self.strides

    def offsets_at(self, output_stride: int | None = None) -> tuple[float, ...]:
        """Return where the first cell of each map of ``pyramid(x, output_stride)`` has its centre, in pixels from the
        first one's (:mod:`virb.images.geometry`). A network that does not say it is measured.
        """
        return measured_offsets(self, output_stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(x)


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Have ``network`` in evaluation mode for the block."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)

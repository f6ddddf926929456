"""What a head is: what it reads of an encoder, its options, and the module that it builds."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from virb.contracts.parts import Option
from virb.errors import RegistryError

if TYPE_CHECKING:
    from torch import nn

_READS = re.compile(r"embedding|tokens|pyramid(@[1-9]\d*)?")


@dataclass(frozen=True)
class Facts:
    """What a head is built on: the encoder's outputs, and the frames of an example.

    ``dim`` is the width D of the embedding, or of a token; ``channels``, ``strides`` (pixels of the image a cell) and
    ``offsets`` (the pixel that the first cell's centre lies on) are those of the pyramid, fine to coarse:
    :mod:`virb.images.geometry` brings a map onto another's cells, and onto the image's pixels, by them.
    """

    dim: int | None = None
    channels: tuple[int, ...] = ()
    strides: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    n_frames: int = 1


@dataclass(frozen=True)
class Head:
    """A head: ``build(facts, n_out, **options)`` returns a fresh module, with weights from PyTorch's generator.

    ``reads`` says what the module is called with, for a batch of B examples of F frames:

    - "embedding": (B, D), or (B, F, D) for more than one frame; it returns (B, n_out);
    - "tokens": (B, T, D), or (B, F, T, D): the cells of the coarsest map; it returns (B, n_out);
    - "pyramid", or "pyramid@16" for maps no coarser than a stride of 16 pixels: ``module(*pyramids, (h, w))`` with a list
      of maps (B, C, h', w'), fine to coarse, for each frame; it returns (B, n_out, h, w).

    The bias of the module's last layer is where outputs start. ``min_frames`` and ``max_frames`` (None: any number) bound
    the frames of an example.

    ``stack(modules, loss, device)`` may return many such modules as one problem with its gradients written out
    (:class:`virb.training.stacks.Stack`); without it they train by automatic differentiation in the same place.
    ``trains=False``: a head without weights, which answers by the features alone; nothing is fitted. One on embeddings is
    shown the train split once, ``module.remember(x, targets)`` with all its rows (N, D) and their targets (N,).
    """

    name: str
    summary: str
    reads: str
    build: Callable[..., nn.Module]
    options: tuple[Option, ...] = ()
    min_frames: int = 1
    max_frames: int | None = 1
    stack: Callable[..., Any] | None = None
    trains: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.reads, str) or not _READS.fullmatch(self.reads):
            raise RegistryError(
                f"Head {self.name!r} reads {self.reads!r}; expected embedding, tokens, pyramid or pyramid@STRIDE."
            )
        if self.stack is not None and self.is_pixelwise:
            raise RegistryError(f"Head {self.name!r}: only heads on embeddings or tokens train as a stack.")

    @property
    def is_pixelwise(self) -> bool:
        return self.reads.startswith("pyramid")

    @property
    def output_stride(self) -> int | None:
        """The coarsest stride of the maps that it reads; None: as the encoder has them."""
        return int(self.reads.partition("@")[2]) if "@" in self.reads else None

    @property
    def layer(self) -> str:
        """The layer of the feature cache that it reads: "pyramid16" for "pyramid@16"."""
        return self.reads.replace("@", "")

    def fits(self, n_frames: int) -> bool:
        """Whether it takes examples of so many frames."""
        return self.min_frames <= n_frames and (self.max_frames is None or n_frames <= self.max_frames)

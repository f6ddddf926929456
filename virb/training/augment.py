"""Views of a batch: chains of random transforms (:mod:`virb.training.transforms`), by name or as papers have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from virb.errors import UsageError
from virb.system import devices
from virb.training import image_ops
from virb.training.canvas import Canvas
from virb.training.transforms import (
    ColorJitter,
    Cutout,
    Drawn,
    Framing,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    Noise,
    RandomResizedCrop,
    Resize,
    Rotate,
    Sobel,
    Solarize,
    Transform,
    rand,
)
from virb.training.transforms import (
    random_crop_boxes as random_crop_boxes,
)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class View:
    """One view of a batch: the ``transforms`` in order, then normalisation.

    Where the images are a :class:`virb.training.canvas.Canvas`, the first transform is a crop or a resize.
    """

    transforms: tuple[Transform, ...]
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    @property
    def kind(self) -> tuple[object, ...] | None:
        """What two views must have in common to be made as one batch; None if that is not known of a transform."""
        if not all(isinstance(transform, Drawn) for transform in self.transforms):
            return None
        parts = [(type(t), *(getattr(t, name) for name in t.shared)) for t in self.transforms if isinstance(t, Drawn)]
        return (*parts, self.mean, self.std)

    def draw(self, images: Tensor | Canvas, generator: torch.Generator) -> list[tuple[Tensor, ...]]:
        """Draw for all transforms, one after the other; ``images`` are floats (N, C, H, W), or a canvas."""
        shape: Sequence[int] = (3, 0, 0) if isinstance(images, Canvas) else images.shape[1:]
        drawn = []
        for k, transform in enumerate(self.transforms):
            assert isinstance(transform, Drawn)
            if k == 0 and isinstance(images, Canvas):
                drawn.append(self._framing().frame(images.sizes, generator))
            else:
                drawn.append(transform.draw(len(images), shape, generator))
            shape = transform.shape_after(shape)
        return drawn

    def _framing(self) -> Framing:
        first = self.transforms[0] if self.transforms else None
        if not isinstance(first, Framing):
            raise UsageError(
                f"Images of several sizes are cropped or resized first; this view begins with {type(first).__name__}."
            )
        return first

    @torch.no_grad()
    def __call__(self, images: Tensor | Canvas, generator: torch.Generator) -> Tensor:
        rest = self.transforms
        if isinstance(images, Canvas):
            first, rest = self._framing(), rest[1:]
            images = first.of(images, generator)
        images = image_ops.to_float(images)
        for transform in rest:
            images = transform(images, generator)
        return image_ops.normalize(images, self.mean, self.std)


MOST_TOGETHER_BYTES = 2 << 30  # of float images that are made into views at once


def together(views: Sequence[View], images: Tensor | Canvas, generator: torch.Generator) -> list[Tensor]:
    """Return what each of ``views`` makes of the batch: the numbers are drawn as if one came after the other.

    On a GPU those whose transforms differ in probabilities and strengths alone are made as one batch.
    """
    kinds = [view.kind for view in views]
    if images.device.type != "cuda" or None in kinds:
        return [view(images, generator) for view in views]
    with torch.no_grad():
        pixels = image_ops.to_float(images.pixels if isinstance(images, Canvas) else images)
        drawn = [view.draw(images if isinstance(images, Canvas) else pixels, generator) for view in views]
        most = max(1, MOST_TOGETHER_BYTES // (4 * pixels.numel()))
        made: list[Tensor | None] = [None] * len(views)
        for kind in dict.fromkeys(kinds):
            members = [k for k, other in enumerate(kinds) if other == kind]
            for first in range(0, len(members), most):
                part = members[first : first + most]
                x = pixels.repeat(len(part), 1, 1, 1) if len(part) > 1 else pixels
                for j, transform in enumerate(views[part[0]].transforms):
                    assert isinstance(transform, Drawn)
                    x = transform.apply(x, *(torch.cat(own) for own in zip(*(drawn[k][j] for k in part), strict=True)))
                x = image_ops.normalize(x, views[part[0]].mean, views[part[0]].std)
                for k, view in zip(part, x.chunk(len(part)), strict=True):
                    made[k] = view
    return [view for view in made if view is not None]


COMPOSABLE = ("crop", "flip", "jitter", "gray", "blur", "solarize", "cutout", "rotate", "noise", "sobel")


def compose(
    names: str | Sequence[str],
    size: int,
    *,
    crop_scale: tuple[float, float] = (0.08, 1.0),
    cubic: bool = False,
    jitter: tuple[float, float, float, float] = (0.8, 0.8, 0.8, 0.2),
    jitter_p: float = 0.8,
    gray_p: float = 0.2,
    blur_p: float = 0.5,
    blur_sigma: tuple[float, float] = (0.1, 2.0),
    solarize_p: float = 0.2,
) -> tuple[Transform, ...]:
    """Build a chain from names, in the order of ``COMPOSABLE`` (SimCLR, Section 3: any composition can be studied).

    ``names`` is a sequence or "crop+flip+jitter". Without "crop" images are resized whole; ``cubic`` has crops resized so. Probabilities and strengths
    default to SimCLR's (jitter at strength 1).

    Raises:
        UsageError: a name is unknown.
    """
    chosen = [name for name in (names.split("+") if isinstance(names, str) else names) if name]
    unknown = [name for name in chosen if name not in COMPOSABLE]
    if unknown:
        raise UsageError(f"Unknown augmentation {unknown[0]!r}; expected some of {'+'.join(COMPOSABLE)}.")
    flip = 0.5 if "flip" in chosen else 0.0
    chain: list[Transform] = []
    if "crop" in chosen:
        chain.append(RandomResizedCrop(size, scale=crop_scale, flip=flip, cubic=cubic))
    else:
        chain.append(Resize(size))
        if flip:
            chain.append(HorizontalFlip(flip))
    known: dict[str, Transform] = {
        "jitter": ColorJitter(*jitter, p=jitter_p),
        "gray": Grayscale(gray_p),
        "blur": GaussianBlur(blur_p, blur_sigma),
        "solarize": Solarize(solarize_p),
        "cutout": Cutout(),
        "rotate": Rotate(),
        "noise": Noise(),
        "sobel": Sobel(),
    }
    probabilities = {"jitter": jitter_p, "gray": gray_p, "blur": blur_p, "solarize": solarize_p}
    chain += [known[name] for name in COMPOSABLE[2:] if name in chosen and probabilities.get(name, 1.0)]
    return tuple(chain)


class JigsawBoard:
    """Cuts images into the nine tiles of a jigsaw, each at a random place in its cell (Misra, van der Maaten 2020).

    Published at 224 px views: boards of 255, cells of 85, tiles of 64 (Section 3); at ``size`` px in proportion. Returns
    floats (N, 9, 3, tile, tile) in [0, 1], row by row, of uint8 images (N, H, W, 3).
    """

    n_tiles = 9

    def __init__(self, size: int, min_crop: float = 0.6) -> None:
        self.cell = max(12, round(size * 85 / 224))
        self.tile = max(9, round(self.cell * 64 / 85))
        self.crop = RandomResizedCrop(3 * self.cell, scale=(min_crop, 1.0))

    def __call__(self, images: Tensor | Canvas, generator: torch.Generator) -> Tensor:
        board = self.crop.of(images, generator)
        room = self.cell - self.tile + 1
        u = rand(len(images), self.n_tiles, 2, generator=generator, device=generator.device)
        return image_ops.patches(board, 3, self.tile, devices.upload((u * room).long(), images.device))


def small_crop_size(size: int) -> int:
    """Return the side of the small crops of multi-crop: 96 at 224 px (Caron et al. 2020), rounded to patches of 16."""
    return max(16, round(size * 96 / 224 / 16) * 16)


def center_view(
    images: Tensor | Canvas, size: int, mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD
) -> Tensor:
    """Return uint8 ``images`` (of several sizes: their central squares) resized and normalised: what an evaluation sees."""
    if isinstance(images, Canvas):
        floats = image_ops.resized_crop(image_ops.to_float(images.pixels), images.squares(), (size, size))
        return image_ops.normalize(floats, mean, std)
    images = image_ops.to_float(images)
    if images.shape[2:] != (size, size):
        boxes = torch.tensor([[0, 0, *images.shape[2:]]]).expand(len(images), 4)
        images = image_ops.resized_crop(images, boxes, (size, size))
    return image_ops.normalize(images, mean, std)

"""Random augmentations of whole batches on their device; every image draws its own parameters.

A transform is called with images (N, C, H, W) in [0, 1] and a generator, and draws everything from that generator, so
that a run can be repeated, and with ``rand``, so that several processes draw what one would. Distributions are torchvision's. ``View`` chains transforms into one view of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from virb.errors import UsageError
from virb.pretraining import distributed
from virb.system import devices
from virb.training import image_ops
from virb.training.canvas import Canvas

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Transform(Protocol):
    """Something that changes a batch of images with randomness from ``generator``."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor: ...


def rand(*shape: int, generator: torch.Generator, device: torch.device | str, dim: int = 0) -> Tensor:
    """Draw uniform numbers in [0, 1) of ``shape``, in which ``dim`` counts the images, and return them on ``device``.

    They are drawn where the generator is: of the trainer's, on the host, so that every device gets the same numbers.
    With several processes those of the whole batch are drawn, by each of them, and this process's images get theirs:
    the numbers that one process would have drawn for them.
    """
    whole = [n * (distributed.world_size() if axis == dim else 1) for axis, n in enumerate(shape)]
    drawn = distributed.own_rows(torch.rand(whole, device=generator.device, generator=generator), dim)
    return devices.upload(drawn, device)


def _chosen(p: float, like: Tensor, generator: torch.Generator) -> Tensor:
    """Return which of the images are chosen, where the generator is."""
    return rand(len(like), generator=generator, device=generator.device) < p


def random_crop_boxes(
    n: int,
    height: int | Tensor,
    width: int | Tensor,
    *,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: torch.Generator,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw ``n`` boxes as torchvision's RandomResizedCrop does: (N, 4) whole pixels, top, left, height, width.

    ``height`` and ``width`` are the images' sizes, one for all or (N,) each. An area share uniform in ``scale`` and a log-uniform aspect in ``ratio``; the first of ten draws that fits, or the
    largest central box within ``ratio``.
    """
    tries = 10
    tall, wide = (torch.as_tensor(x, device=device).to(torch.float32).expand(n) for x in (height, width))
    u = rand(3, n, tries, generator=generator, device=device, dim=1)
    area = (tall * wide)[:, None] * (scale[0] + (scale[1] - scale[0]) * u[0])
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = torch.exp(low + (high - low) * u[1])
    w, h = torch.round((area * aspect).sqrt()), torch.round((area / aspect).sqrt())
    fits = (w > 0) & (w <= wide[:, None]) & (h > 0) & (h <= tall[:, None])
    first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)
    any_fits = fits.any(dim=1)
    w, h = w.gather(1, first)[:, 0], h.gather(1, first)[:, 0]
    w = torch.where(any_fits, w, torch.minimum(wide, torch.round(tall * ratio[1]).clamp_min(1)))
    h = torch.where(any_fits, h, torch.minimum(tall, torch.round(wide / ratio[0]).clamp_min(1)))
    place = rand(2, n, generator=generator, device=device, dim=1)
    top, left = torch.floor(place[0] * (tall - h + 1)), torch.floor(place[1] * (wide - w + 1))
    top = torch.where(any_fits, top, torch.div(tall - h, 2, rounding_mode="floor"))
    left = torch.where(any_fits, left, torch.div(wide - w, 2, rounding_mode="floor"))
    return torch.stack([top, left, h, w], dim=1).long()


@dataclass(frozen=True)
class RandomResizedCrop:
    """Cut a random box, resize it to ``size`` x ``size`` and mirror it with probability ``flip``."""

    size: int
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5

    def __call__(self, images: Tensor, generator: torch.Generator, sizes: Tensor | None = None) -> Tensor:
        tall, wide = images.shape[2:] if sizes is None else sizes.unbind(1)
        boxes = random_crop_boxes(
            len(images), tall, wide, scale=self.scale, ratio=self.ratio, generator=generator, device=generator.device
        )
        drawn = torch.cat([boxes, _chosen(self.flip, images, generator)[:, None]], dim=1)
        drawn = devices.upload(drawn, images.device)
        return image_ops.resized_crop(images, drawn[:, :4], (self.size, self.size), drawn[:, 4] > 0)


@dataclass(frozen=True)
class Resize:
    """Resize to ``size`` x ``size`` without a random crop; of images of several sizes, their central squares."""

    size: int

    def __call__(self, images: Tensor, generator: torch.Generator, sizes: Tensor | None = None) -> Tensor:
        n, _, height, width = images.shape
        if sizes is not None:
            return image_ops.resized_crop(
                images, devices.upload(Canvas(images, sizes).squares(), images.device), (self.size, self.size)
            )
        if (height, width) == (self.size, self.size):
            return images
        boxes = torch.tensor([[0, 0, height, width]], device=images.device).expand(n, 4)
        return image_ops.resized_crop(images, boxes, (self.size, self.size))


@dataclass(frozen=True)
class HorizontalFlip:
    """Mirror with probability ``p``."""

    p: float = 0.5

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return image_ops.hflip(images, devices.upload(_chosen(self.p, images, generator), images.device))


@dataclass(frozen=True)
class ColorJitter:
    """Jitter brightness, contrast, saturation (factors 1 ± x) and hue (± x of a circle), in random order."""

    brightness: float
    contrast: float
    saturation: float
    hue: float
    p: float = 0.8

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        n, where = len(images), generator.device
        width = torch.tensor([self.brightness, self.contrast, self.saturation], device=where)
        u = rand(n, 4, generator=generator, device=where)
        low = (1 - width).clamp_min(0)
        factors = torch.cat([low + (1 + width - low) * u[:, :3], (2 * u[:, 3:] - 1) * self.hue], dim=1)
        order = rand(n, 4, generator=generator, device=where).argsort(dim=1)
        chosen = _chosen(self.p, images, generator)
        # An order of -1 is no operation: images that are not chosen pass untouched and cost nothing.
        return image_ops.color_jitter(images, factors, torch.where(chosen[:, None], order, torch.full_like(order, -1)))


@dataclass(frozen=True)
class Grayscale:
    """Make grey with probability ``p``."""

    p: float = 0.2

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return image_ops.grayscale(images, devices.upload(_chosen(self.p, images, generator), images.device))


@dataclass(frozen=True)
class GaussianBlur:
    """Blur with probability ``p``; sigma uniform in ``sigma``, in pixels of a view of 224, and in proportion in others.

    The kernel spans a tenth of the image, as published (23 at 224), which is 5.5 of the largest sigma to either side.
    """

    p: float = 0.5
    sigma: tuple[float, float] = (0.1, 2.0)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        chosen = _chosen(self.p, images, generator)
        sigma = self.sigma[0] + (self.sigma[1] - self.sigma[0]) * rand(
            len(images), generator=generator, device=generator.device
        )
        sigma = sigma * (images.shape[3] / 224)
        index = chosen.nonzero()[:, 0]
        if not len(index):
            return images
        kernel = max(3, images.shape[3] // 10 // 2 * 2 + 1)
        rows, sigma = devices.upload(index, images.device), devices.upload(sigma[index], images.device)
        return images.index_copy(0, rows, image_ops.gaussian_blur(images[rows], sigma, kernel))


@dataclass(frozen=True)
class Solarize:
    """Invert the bright half of the range with probability ``p`` (BYOL, Barlow Twins, DINO: 0.2 on one view)."""

    p: float = 0.2
    threshold: float = 0.5

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        chosen = devices.upload(_chosen(self.p, images, generator), images.device)
        return image_ops.solarize(images, chosen, self.threshold)


@dataclass(frozen=True)
class Cutout:
    """Blacken a square of ``share`` of the image's side at a uniform centre; parts outside are lost."""

    p: float = 1.0
    share: float = 0.5

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        n, _, height, width = images.shape
        chosen = devices.upload(_chosen(self.p, images, generator), images.device)
        side = [max(1, round(self.share * x)) for x in (height, width)]
        u = rand(n, 2, generator=generator, device=images.device)
        top = (u[:, 0] * height).floor() - side[0] // 2
        left = (u[:, 1] * width).floor() - side[1] // 2
        tall = torch.where(chosen, torch.full_like(top, side[0]), torch.zeros_like(top))
        return image_ops.erase(images, torch.stack([top, left, tall, torch.full_like(top, side[1])], dim=1))


@dataclass(frozen=True)
class Rotate:
    """Rotate by 0, 90, 180 or 270 degrees, each equally likely, with probability ``p``."""

    p: float = 1.0

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        chosen = _chosen(self.p, images, generator)
        turns = (4 * rand(len(images), generator=generator, device=generator.device)).long()
        return image_ops.rotate90(images, turns * chosen)


@dataclass(frozen=True)
class Noise:
    """Add Gaussian noise of a standard deviation uniform in ``sigma`` (of the range 0..1), with probability ``p``."""

    p: float = 1.0
    sigma: tuple[float, float] = (0.0, 0.1)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        chosen = _chosen(self.p, images, generator)
        sigma = self.sigma[0] + (self.sigma[1] - self.sigma[0]) * rand(
            len(images), generator=generator, device=generator.device
        )
        whole = (len(images) * distributed.world_size(), *images.shape[1:])
        noise = distributed.own_rows(torch.randn(whole, device=generator.device, generator=generator))
        amount = devices.upload(sigma * chosen, images.device)
        return image_ops.add_noise(images, devices.upload(noise, images.device) * amount[:, None, None, None])


@dataclass(frozen=True)
class Sobel:
    """Replace the image by its edges with probability ``p``."""

    p: float = 0.5

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return image_ops.sobel(images, devices.upload(_chosen(self.p, images, generator), images.device))


@dataclass(frozen=True)
class View:
    """One view of a batch: the ``transforms`` in order, then normalisation.

    Where the images are a :class:`virb.training.canvas.Canvas`, the first transform is a crop or a resize.
    """

    transforms: tuple[Transform, ...]
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    @torch.no_grad()
    def __call__(self, images: Tensor | Canvas, generator: torch.Generator) -> Tensor:
        rest = self.transforms
        if isinstance(images, Canvas):
            first, *others = rest
            if not isinstance(first, (RandomResizedCrop, Resize)):
                raise UsageError(
                    f"Images of several sizes are cropped or resized first; this view begins with {type(first).__name__}."
                )
            images, rest = first(image_ops.to_float(images.pixels), generator, images.sizes), tuple(others)
        images = image_ops.to_float(images)
        for transform in rest:
            images = transform(images, generator)
        return image_ops.normalize(images, self.mean, self.std)


COMPOSABLE = ("crop", "flip", "jitter", "gray", "blur", "solarize", "cutout", "rotate", "noise", "sobel")


def compose(
    names: str | Sequence[str],
    size: int,
    *,
    crop_scale: tuple[float, float] = (0.08, 1.0),
    jitter: tuple[float, float, float, float] = (0.8, 0.8, 0.8, 0.2),
    jitter_p: float = 0.8,
    gray_p: float = 0.2,
    blur_p: float = 0.5,
    blur_sigma: tuple[float, float] = (0.1, 2.0),
    solarize_p: float = 0.2,
) -> tuple[Transform, ...]:
    """Build a chain from names, in the order of ``COMPOSABLE`` (SimCLR, Section 3: any composition can be studied).

    ``names`` is a sequence or "crop+flip+jitter". Without "crop" images are resized whole. Probabilities and strengths
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
        chain.append(RandomResizedCrop(size, scale=crop_scale, flip=flip))
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
    never = {
        name
        for name, p in (("jitter", jitter_p), ("gray", gray_p), ("blur", blur_p), ("solarize", solarize_p))
        if not p
    }
    chain += [known[name] for name in COMPOSABLE[2:] if name in chosen and name not in never]
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
        if isinstance(images, Canvas):
            board = self.crop(image_ops.to_float(images.pixels), generator, images.sizes)
        else:
            board = self.crop(image_ops.to_float(images), generator)
        room = self.cell - self.tile + 1
        u = rand(len(images), self.n_tiles, 2, generator=generator, device=images.device)
        return image_ops.patches(board, 3, self.tile, (u * room).long())


def small_crop_size(size: int) -> int:
    """Return the side of the small crops of multi-crop: 96 at 224 px (Caron et al. 2020), rounded to patches of 16."""
    return max(16, round(size * 96 / 224 / 16) * 16)


def center_view(
    images: Tensor | Canvas, size: int, mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD
) -> Tensor:
    """Return uint8 ``images`` (of several sizes: their central squares) resized and normalised: what an evaluation sees."""
    if isinstance(images, Canvas):
        floats = image_ops.resized_crop(
            image_ops.to_float(images.pixels), devices.upload(images.squares(), images.device), (size, size)
        )
        return image_ops.normalize(floats, mean, std)
    images = image_ops.to_float(images)
    if images.shape[2:] != (size, size):
        boxes = torch.tensor([[0, 0, *images.shape[2:]]], device=images.device).expand(len(images), 4)
        images = image_ops.resized_crop(images, boxes, (size, size))
    return image_ops.normalize(images, mean, std)

"""Random transforms of whole batches on their device; every image draws its own parameters.

A transform is called with images (N, C, H, W) in [0, 1] and a generator, and draws everything from that generator, so
that a run can be repeated, and with ``rand``, so that several processes draw what one would. Distributions are torchvision's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from virb.system import devices
from virb.training import distributed, image_ops
from virb.training.canvas import Canvas, central_squares


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


def _chosen(p: float, n: int, generator: torch.Generator) -> Tensor:
    """Return which of ``n`` images are chosen, where the generator is."""
    return _own(n, generator=generator) < p


def _own(*shape: int, generator: torch.Generator) -> Tensor:
    """Draw uniform numbers, the images first, and leave them where the generator is."""
    return rand(*shape, generator=generator, device=generator.device)


class Drawn:
    """A transform in two steps: what is random is drawn, the images first, where the generator is; then it is applied.

    So the views of a batch can be drawn one after the other and made all at once (:func:`together`). ``shared`` names
    the fields that transforms must have in common for that.
    """

    shared: ClassVar[tuple[str, ...]] = ()

    def draw(self, n: int, shape: Sequence[int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Draw for ``n`` images of ``shape`` (C, H, W)."""
        raise NotImplementedError

    def apply(self, images: Tensor, *drawn: Tensor) -> Tensor:
        raise NotImplementedError

    def shape_after(self, shape: Sequence[int]) -> Sequence[int]:
        return shape

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return self.apply(images, *self.draw(len(images), images.shape[1:], generator))


class Framing(Drawn):
    """A transform that cuts boxes out: it may come first where the images of a batch have several sizes."""

    def frame(self, sizes: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Draw for images of ``sizes`` (N, 2), heights and widths, on the host."""
        raise NotImplementedError

    def of(self, images: Tensor | Canvas, generator: torch.Generator) -> Tensor:
        """Return the cuts of 8-bit ``images`` of one size or several, as floats."""
        if isinstance(images, Canvas):
            return self.apply(image_ops.to_float(images.pixels), *self.frame(images.sizes, generator))
        return self(image_ops.to_float(images), generator)


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
class RandomResizedCrop(Framing):
    """Cut a random box, resize it (bilinear, or ``cubic``) to ``size`` x ``size`` and mirror it with probability ``flip``."""

    size: int
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    cubic: bool = False

    shared: ClassVar[tuple[str, ...]] = ("size", "cubic")

    def draw(self, n: int, shape: Sequence[int], generator: torch.Generator) -> tuple[Tensor, ...]:
        return self._boxes(n, shape[1], shape[2], generator)

    def frame(self, sizes: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        return self._boxes(len(sizes), sizes[:, 0], sizes[:, 1], generator)

    def _boxes(
        self, n: int, height: int | Tensor, width: int | Tensor, generator: torch.Generator
    ) -> tuple[Tensor, ...]:
        boxes = random_crop_boxes(
            n, height, width, scale=self.scale, ratio=self.ratio, generator=generator, device=generator.device
        )
        return boxes, _chosen(self.flip, n, generator)

    def apply(self, images: Tensor, *drawn: Tensor) -> Tensor:
        boxes, flip = drawn
        return image_ops.resized_crop(images, boxes, (self.size, self.size), flip, cubic=self.cubic)

    def shape_after(self, shape: Sequence[int]) -> Sequence[int]:
        return (shape[0], self.size, self.size)


@dataclass(frozen=True)
class Resize(Framing):
    """Resize to ``size`` x ``size`` without a random crop; of images of several sizes, their central squares."""

    size: int

    shared: ClassVar[tuple[str, ...]] = ("size",)

    def draw(self, n: int, shape: Sequence[int], generator: torch.Generator) -> tuple[Tensor, ...]:
        return ()

    def frame(self, sizes: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        return (central_squares(sizes),)

    def apply(self, images: Tensor, *drawn: Tensor) -> Tensor:
        n, _, height, width = images.shape
        if drawn:
            return image_ops.resized_crop(images, drawn[0], (self.size, self.size))
        if (height, width) == (self.size, self.size):
            return images
        boxes = torch.tensor([[0, 0, height, width]]).expand(n, 4)
        return image_ops.resized_crop(images, boxes, (self.size, self.size))

    def shape_after(self, shape: Sequence[int]) -> Sequence[int]:
        return (shape[0], self.size, self.size)


@dataclass(frozen=True)
class HorizontalFlip(Drawn):
    """Mirror with probability ``p``."""

    p: float = 0.5

    def draw(self, n: int, shape: Sequence[int], generator: torch.Generator) -> tuple[Tensor, ...]:
        return (_chosen(self.p, n, generator),)

    def apply(self, images: Tensor, *drawn: Tensor) -> Tensor:
        return image_ops.hflip(images, *drawn)


@dataclass(frozen=True)
class ColorJitter(Drawn):
    """Jitter brightness, contrast, saturation (factors 1 ± x) and hue (± x of a circle), in random order."""

    brightness: float
    contrast: float
    saturation: float
    hue: float
    p: float = 0.8

    def draw(self, n: int, shape: Sequence[int], generator: torch.Generator) -> tuple[Tensor, ...]:
        width = torch.tensor([self.brightness, self.contrast, self.saturation], device=generator.device)
        u = _own(n, 4, generator=generator)
        low = (1 - width).clamp_min(0)
        factors = torch.cat([low + (1 + width - low) * u[:, :3], (2 * u[:, 3:] - 1) * self.hue], dim=1)
        order = _own(n, 4, generator=generator).argsort(dim=1)
        chosen = _chosen(self.p, n, generator)
        # An order of -1 is no operation: images that are not chosen pass untouched and, on a CPU, cost nothing.
        return factors, torch.where(chosen[:, None], order, torch.full_like(order, -1))

    def apply(self, images: Tensor, *drawn: Tensor) -> Tensor:
        return image_ops.color_jitter(images, *drawn)


@dataclass(frozen=True)
class Grayscale(Drawn):
    """Make grey with probability ``p``."""

    p: float = 0.2

    def draw(self, n: int, shape: Sequence[int], generator: torch.Generator) -> tuple[Tensor, ...]:
        return (_chosen(self.p, n, generator),)

    def apply(self, images: Tensor, *drawn: Tensor) -> Tensor:
        return image_ops.grayscale(images, *drawn)


@dataclass(frozen=True)
class GaussianBlur(Drawn):
    """Blur with probability ``p``; sigma uniform in ``sigma``, in pixels of a view of 224, and in proportion in others.

    The kernel spans a tenth of the image, as published (23 at 224), which is 5.5 of the largest sigma to either side.
    """

    p: float = 0.5
    sigma: tuple[float, float] = (0.1, 2.0)

    def draw(self, n: int, shape: Sequence[int], generator: torch.Generator) -> tuple[Tensor, ...]:
        chosen = _chosen(self.p, n, generator)
        return chosen, self.sigma[0] + (self.sigma[1] - self.sigma[0]) * _own(n, generator=generator)

    def apply(self, images: Tensor, *drawn: Tensor) -> Tensor:
        chosen, sigma = drawn
        sigma = sigma * (images.shape[3] / 224)
        index = chosen.nonzero()[:, 0]
        if not len(index):
            return images
        kernel = max(3, images.shape[3] // 10 // 2 * 2 + 1)
        rows = devices.upload(index, images.device)
        return images.index_copy(0, rows, image_ops.gaussian_blur(images[rows], sigma[index], kernel))


@dataclass(frozen=True)
class Solarize(Drawn):
    """Invert the bright half of the range with probability ``p`` (BYOL, Barlow Twins, DINO: 0.2 on one view)."""

    p: float = 0.2
    threshold: float = 0.5

    shared: ClassVar[tuple[str, ...]] = ("threshold",)

    def draw(self, n: int, shape: Sequence[int], generator: torch.Generator) -> tuple[Tensor, ...]:
        return (_chosen(self.p, n, generator),)

    def apply(self, images: Tensor, *drawn: Tensor) -> Tensor:
        return image_ops.solarize(images, drawn[0], self.threshold)


@dataclass(frozen=True)
class Cutout(Drawn):
    """Blacken a square of ``share`` of the image's side at a uniform centre; parts outside are lost."""

    p: float = 1.0
    share: float = 0.5

    def draw(self, n: int, shape: Sequence[int], generator: torch.Generator) -> tuple[Tensor, ...]:
        _, height, width = shape
        chosen = _chosen(self.p, n, generator)
        side = [max(1, round(self.share * x)) for x in (height, width)]
        u = _own(n, 2, generator=generator)
        top = (u[:, 0] * height).floor() - side[0] // 2
        left = (u[:, 1] * width).floor() - side[1] // 2
        tall = torch.where(chosen, torch.full_like(top, side[0]), torch.zeros_like(top))
        return (torch.stack([top, left, tall, torch.full_like(top, side[1])], dim=1),)

    def apply(self, images: Tensor, *drawn: Tensor) -> Tensor:
        return image_ops.erase(images, drawn[0])


@dataclass(frozen=True)
class Rotate(Drawn):
    """Rotate by 0, 90, 180 or 270 degrees, each equally likely, with probability ``p``."""

    p: float = 1.0

    def draw(self, n: int, shape: Sequence[int], generator: torch.Generator) -> tuple[Tensor, ...]:
        chosen = _chosen(self.p, n, generator)
        return ((4 * _own(n, generator=generator)).long() * chosen,)

    def apply(self, images: Tensor, *drawn: Tensor) -> Tensor:
        return image_ops.rotate90(images, *drawn)


@dataclass(frozen=True)
class Noise(Drawn):
    """Add Gaussian noise of a standard deviation uniform in ``sigma`` (of the range 0..1), with probability ``p``."""

    p: float = 1.0
    sigma: tuple[float, float] = (0.0, 0.1)

    def draw(self, n: int, shape: Sequence[int], generator: torch.Generator) -> tuple[Tensor, ...]:
        chosen = _chosen(self.p, n, generator)
        sigma = self.sigma[0] + (self.sigma[1] - self.sigma[0]) * _own(n, generator=generator)
        whole = (n * distributed.world_size(), *shape)
        noise = distributed.own_rows(torch.randn(whole, device=generator.device, generator=generator))
        return noise, sigma * chosen

    def apply(self, images: Tensor, *drawn: Tensor) -> Tensor:
        noise, amount = (devices.upload(values, images.device) for values in drawn)
        return image_ops.add_noise(images, noise * amount[:, None, None, None])


@dataclass(frozen=True)
class Sobel(Drawn):
    """Replace the image by its edges with probability ``p``."""

    p: float = 0.5

    def draw(self, n: int, shape: Sequence[int], generator: torch.Generator) -> tuple[Tensor, ...]:
        return (_chosen(self.p, n, generator),)

    def apply(self, images: Tensor, *drawn: Tensor) -> Tensor:
        return image_ops.sobel(images, *drawn)

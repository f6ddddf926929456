"""How 8-bit images become a network's input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from virb.errors import UsageError
from virb.system import devices

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocess:
    """How 8-bit images become an encoder's input: both sides to ``size`` (no crop), to 0..1, minus mean, over std.

    Resizing is bilinear with antialiasing and rounds to 8 bits, as image libraries do (Kotar et al. 2021, Section 3.1
    resizes every image-level input to 224 x 224).
    """

    size: int = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "std", tuple(float(value) for value in self.std))
        if not 1 <= self.size <= 8192:
            raise UsageError(f"The size of an encoder's images is {self.size}; expected 1 to 8192 pixels.")
        values = (*self.mean, *self.std)
        if len(self.mean) != 3 or len(self.std) != 3 or not all(map(math.isfinite, values)) or min(self.std) <= 0:
            raise UsageError(f"mean={self.mean} and std={self.std} must be three numbers each, and std above 0.")
        if max(values) > 1:
            raise UsageError(
                f"mean={self.mean} and std={self.std} are not of images in 0 to 1, as these are where they are subtracted. "
                "Divide numbers for 0 to 255 by 255."
            )

    def as_dict(self) -> dict[str, Any]:
        return {"size": self.size, "mean": list(self.mean), "std": list(self.std)}

    def __call__(self, images: Tensor, *, device: torch.device | str | None = None) -> Tensor:
        """Return the input for uint8 ``images`` (N, H, W, 3) or (N, 3, H, W): float32 (N, 3, size, size).

        Raises:
            UsageError: the tensor is not 8-bit RGB.
        """
        images = _channels_first(images)
        if device is not None:
            images = images.to(device, non_blocking=True)
        if tuple(images.shape[2:]) != (self.size, self.size):
            images = _resize(images, self.size)
        return self.normalise(images)

    def normalise(self, images: Tensor) -> Tensor:
        """Return uint8 ``images`` (N, 3, h, w) or (N, h, w, 3) at the size they have, as float32 (N, 3, h, w)."""
        images = _channels_first(images).float()
        mean, std = (devices.constant(values, images.device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return images.div_(255).sub_(mean).div_(std)


def _channels_first(images: Tensor) -> Tensor:
    if images.ndim != 4 or images.dtype != torch.uint8 or 3 not in (images.shape[1], images.shape[3]):
        raise UsageError(
            f"Images to prepare are uint8 of shape (N, H, W, 3) or (N, 3, H, W); found {images.dtype} of shape "
            f"{tuple(images.shape)}."
        )
    return images.permute(0, 3, 1, 2) if images.shape[3] == 3 else images


def _resize(images: Tensor, size: int) -> Tensor:
    if images.device.type == "cpu":  # the 8-bit kernel is several times faster than the float one
        return F.interpolate(images, (size, size), mode="bilinear", antialias=True)
    resized = F.interpolate(images.float(), (size, size), mode="bilinear", antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8)

"""From pixels to an encoder's layers: resizing one image, and one batch through the network."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import torch

from virb.errors import DataError, NoMemoryError
from virb.system import devices

if TYPE_CHECKING:
    from virb.networks.encoder import FrozenEncoder

FLOAT16_MAX = 65504.0


def parts_of(encoder: FrozenEncoder, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return uint8 ``images`` in the parts that are encoded side by side: on CPU few of large ones, so that they stay in the caches.

    How they are cut does not depend on how many cores there are: a network's last bits hang on how many images it gets.
    """
    return images.split(_cpu_step(encoder.preprocess.size)) if encoder.device.type == "cpu" else (images,)


def n_parts_of(encoder: FrozenEncoder, n: int) -> int:
    """Return in how many parts :func:`parts_of` gives ``n`` images."""
    return -(-n // _cpu_step(encoder.preprocess.size)) if encoder.device.type == "cpu" else 1


def joined_parts(parts: Sequence[dict[str, list[np.ndarray]]]) -> dict[str, list[np.ndarray]]:
    """Return the layers of a batch from those of its parts."""
    if len(parts) == 1:
        return parts[0]
    return {
        layer: [np.concatenate(maps) for maps in zip(*(part[layer] for part in parts), strict=True)]
        for layer in parts[0]
    }


def encode_batch(encoder: FrozenEncoder, images: torch.Tensor, layers: set[str]) -> dict[str, list[np.ndarray]]:
    """Return the layers of uint8 ``images``; where a device has not the memory for all at once, half as many at a time."""
    step = min(len(images), _FITTING.get(encoder, 1 << 30))
    while True:
        with contextlib.suppress(torch.OutOfMemoryError):
            return _encode_by(step, encoder, images, layers)
        # Here the error is gone, and with it what its traceback held.
        devices.free_memory(encoder.device)
        if step == 1:
            raise NoMemoryError(encoder.name, encoder.device)
        step = _FITTING[encoder] = -(-step // 2)


def _cpu_step(size: int) -> int:
    """Return how many images of ``size`` pixels a side are computed at once on a CPU.

    Of fewer than 16 images oneDNN computes 1 x 1 convolutions by a slower kernel on processors with AVX-512 (a ResNet-50 at 224
    pixels: 17 images a second for 28); very large images need not be many.
    """
    return max(16 if size <= 448 else 8, min(64, round(64 * (64 / size) ** 2)))


# Of encoders whose batches were too large for their device's memory: how many images fitted.
_FITTING: WeakKeyDictionary[FrozenEncoder, int] = WeakKeyDictionary()


def _encode_by(
    step: int, encoder: FrozenEncoder, images: torch.Tensor, layers: set[str]
) -> dict[str, list[np.ndarray]]:
    parts = [
        compute_layers(encoder, encoder.prepare(images[start : start + step]), layers)
        for start in range(0, len(images), step)
    ]
    whole = {
        layer: [torch.cat(maps) for maps in zip(*(part[layer] for part in parts), strict=True)] for layer in layers
    }
    if encoder.device.type == "cuda":  # maps are kept as float16: half the bytes travel, and the GPU rounds them
        whole = {
            layer: found if layer == "embedding" else [m.clamp_(-FLOAT16_MAX, FLOAT16_MAX).half() for m in found]
            for layer, found in whole.items()
        }
    return {layer: devices.download(found) for layer, found in whole.items()}


def compute_layers(encoder: FrozenEncoder, x: torch.Tensor, layers: set[str]) -> dict[str, list[torch.Tensor]]:
    """Return the maps of each layer for prepared images ``x`` in as few passes as possible."""
    maps: dict[str, list[torch.Tensor]] = {}
    if layers >= {"embedding", "pyramid"}:
        embedding, maps["pyramid"] = encoder.features(x)
        maps["embedding"] = [embedding]
    elif "embedding" in layers:
        maps["embedding"] = [encoder.embed(x)]
    elif "pyramid" in layers:
        maps["pyramid"] = encoder.pyramid(x)
    if "tokens" in layers:
        coarsest = (maps["pyramid"] if "pyramid" in maps else encoder.pyramid(x))[-1]
        maps["tokens"] = [coarsest.flatten(2).transpose(1, 2)]
    for layer in layers - {"embedding", "tokens", "pyramid"}:
        maps[layer] = encoder.pyramid(x, output_stride=int(layer.removeprefix("pyramid")))
    return maps


def resize(image: np.ndarray, size: int) -> torch.Tensor:
    """Return ``image``, uint8 (H, W, 3), as (size, size, 3): both sides, no crop, bilinear with antialiasing."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise DataError(f"An image has shape {image.shape} and type {image.dtype}; expected uint8 of shape (H, W, 3).")
    tensor = torch.from_numpy(np.array(image))  # a copy: memory-mapped arrays are read-only
    if image.shape[:2] == (size, size):
        return tensor
    channels_first = tensor.permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(channels_first, (size, size), mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0)

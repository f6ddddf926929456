"""From pixels to an encoder's layers: resizing one image, and one batch through the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from virb.errors import DataError

if TYPE_CHECKING:
    from virb.networks.encoder import FrozenEncoder


def encode_batch(encoder: FrozenEncoder, images: torch.Tensor, layers: set[str]) -> dict[str, list[np.ndarray]]:
    """Return the layers of uint8 ``images``. On CPU large images go a few at a time, so that they stay in the caches."""
    size = encoder.preprocess.size
    step = len(images) if encoder.device.type != "cpu" else max(8, min(64, round(64 * (64 / size) ** 2)))
    parts = [
        compute_layers(encoder, encoder.prepare(images[start : start + step]), layers)
        for start in range(0, len(images), step)
    ]
    return {
        layer: [torch.cat(maps).cpu().numpy() for maps in zip(*(part[layer] for part in parts), strict=True)]
        for layer in layers
    }


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
    if "pyramid16" in layers:
        maps["pyramid16"] = encoder.pyramid(x, output_stride=16)
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

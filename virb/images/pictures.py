"""Targets and predictions of pixels as pictures: class colours, depth colours, the flow wheel, directions; void is magenta."""

from __future__ import annotations

import numpy as np

VOID = np.array([255, 0, 255], np.uint8)
# Five colours from near to far (Google's Turbo, at eighths), between which depths are interpolated.
NEAR_TO_FAR = np.array([[122, 4, 3], [239, 89, 17], [164, 252, 60], [27, 207, 212], [48, 18, 59]], np.float64)


def palette(n: int) -> np.ndarray:
    """Return uint8 (n, 3): a colour for each class, the same for every picture; the first is dark.

    Neighbours in the list lie far apart on the circle of hues.
    """
    k = np.arange(n)
    hue, light = (k * 0.61803398875) % 1, 0.95 - 0.35 * ((k // 6) % 2)
    colours = _from_hue(hue, np.full(n, 0.75), light)
    if n:
        colours[0] = (40, 40, 40)
    return colours


def of_mask(mask: np.ndarray, n_classes: int, *, void: int | None = None) -> np.ndarray:
    """Return class indices (H, W) as uint8 (H, W, 3)."""
    classes = mask.astype(np.int64)
    out = palette(max(1, n_classes))[classes.clip(0, max(0, n_classes - 1))]
    out[(classes < 0) | (classes >= n_classes) | (classes == (-1 if void is None else void))] = VOID
    return out


def over(image: np.ndarray, picture: np.ndarray, share: float = 0.55) -> np.ndarray:
    """Return a mask's picture laid over the image, uint8 both; void stays as it is."""
    mixed = (image * (1 - share) + picture * share).astype(np.uint8)
    is_void = (picture == VOID).all(-1)
    mixed[is_void] = VOID
    return mixed


def of_map(values: np.ndarray, quantity: str = "", *, span: tuple[float, float] | None = None) -> np.ndarray:
    """Return a map (H, W) or (H, W, K) as uint8 (H, W, 3).

    ``quantity`` is one of :data:`virb.contracts.parts.QUANTITIES`: a depth is red where it is near and blue where it is far,
    a flow has the colour of its direction, as strong as it is long, and a direction its three parts as red, green and blue.
    ``span`` gives the values that the colours end at: the same for a target and what was predicted.
    """
    found = values.astype(np.float64)
    valid = np.isfinite(found).all(-1) if found.ndim == 3 else np.isfinite(found)
    found = np.nan_to_num(found)
    if quantity == "direction" and found.ndim == 3 and found.shape[-1] == 3:
        length = np.linalg.norm(found, axis=-1, keepdims=True)
        out = ((found / np.where(length > 0, length, 1) + 1) * 127.5).astype(np.uint8)
    elif found.ndim == 3 and (found.shape[-1] == 2 or quantity == "flow"):
        length = np.hypot(found[..., 0], found[..., 1])
        most = span[1] if span else max(float(length[valid].max()) if valid.any() else 1.0, 1e-9)
        hue = (np.arctan2(found[..., 1], found[..., 0]) / (2 * np.pi)) % 1
        out = _from_hue(hue, (length / most).clip(0, 1), np.ones_like(hue))
    else:
        flat = found if found.ndim == 2 else np.linalg.norm(found, axis=-1)
        low, high = span or ((float(flat[valid].min()), float(flat[valid].max())) if valid.any() else (0.0, 1.0))
        share = ((flat - low) / max(high - low, 1e-9)).clip(0, 1) * (len(NEAR_TO_FAR) - 1)
        k = np.minimum(share.astype(int), len(NEAR_TO_FAR) - 2)
        part = (share - k)[..., None]
        out = (NEAR_TO_FAR[k] * (1 - part) + NEAR_TO_FAR[k + 1] * part).astype(np.uint8)
    out[~valid] = VOID
    return out


def span_of(values: np.ndarray) -> tuple[float, float]:
    """Return the values that a target's colours end at: of a flow the longest motion, of others the least and the largest."""
    found = np.asarray(values, np.float64)
    lengths = found if found.ndim == 2 else np.linalg.norm(found, axis=-1)
    valid = lengths[np.isfinite(lengths)]
    if not len(valid):
        return 0.0, 1.0
    return (float(valid.min()), float(valid.max())) if found.ndim == 2 else (0.0, float(valid.max()))


def _from_hue(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return uint8 (..., 3) of hue, saturation and value in 0..1."""
    rgb = np.clip(np.abs((hue[..., None] * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    return (255 * value[..., None] * (1 - saturation[..., None] * (1 - rgb))).astype(np.uint8)

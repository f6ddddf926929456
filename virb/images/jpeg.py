"""A second decoder for plain JPEG files, used where it was seen to give Pillow's pixels, bit by bit, on this machine.

torchvision's decoder works outside Python's lock and in one piece, so that threads decode side by side. Both are built
on libjpeg, each with a build of its own, so nothing is taken for granted: before it is used, a process decodes a small
set of files with both and compares. A file of another kind than those (progressive, grey, CMYK, an uncommon sampling of
colours), and one that it refuses, is Pillow's, whose pixels and errors are the policy.
"""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

#: Sampling of colours by Pillow's number in writing, and as (horizontal, vertical) factors of the three channels.
SAMPLINGS = {
    0: ((1, 1), (1, 1), (1, 1)),
    1: ((2, 1), (1, 1), (1, 1)),
    2: ((2, 2), (1, 1), (1, 1)),
}
SIZES = ((17, 23), (64, 48), (1, 9))
QUALITIES = (30, 75, 95)


def pixels(image: Image.Image) -> np.ndarray | None:
    """Return uint8 (H, W, 3), equal to what Pillow would decode; None where the file is Pillow's to decode.

    ``image`` is one that Pillow has opened and not decoded yet; it stays so.
    """
    if "torch" not in sys.modules or not _is_plain(image) or not agrees():  # a verb that does without torch stays so
        return None
    fp = image.fp  # type: ignore[attr-defined]
    fp.seek(0)
    found = _decoded(fp.read())
    return found if found is not None and found.shape == (image.height, image.width, 3) else None


def _is_plain(image: Image.Image) -> bool:
    """Whether the file is of a kind that :func:`agrees` compares."""
    if image.format != "JPEG" or image.mode != "RGB" or getattr(image, "fp", None) is None or not image.tile:  # type: ignore[attr-defined]
        return False
    is_ycc = image.info.get("adobe_transform", 1) == 1  # what Adobe's programs may say otherwise
    if not is_ycc or "progressive" in image.info or "transparency" in image.info:
        return False
    layers = tuple((across, down) for _, across, down, *_ in getattr(image, "layer", ()))
    is_whole = getattr(image, "decoderconfig", None) == ()  # no draft at a part of the size
    return is_whole and getattr(image, "bits", 0) == 8 and layers in SAMPLINGS.values()


def _decoded(content: bytes) -> np.ndarray | None:
    import torch

    if not content:
        return None
    try:
        found = _operator()(torch.frombuffer(bytearray(content), dtype=torch.uint8), 3, False)  # RGB, not turned
    except RuntimeError:
        return None  # Pillow says what is wrong with it, or reads it
    return np.ascontiguousarray(found.permute(1, 2, 0).numpy())


@functools.cache
def _operator() -> Callable[..., Any]:
    """Return torchvision's operator itself: its Python function only warns that another package may follow it."""
    import torch
    import torchvision.io  # noqa: F401  # which registers it

    found: Callable[..., Any] = torch.ops.image.decode_jpeg
    return found


@functools.cache
def agrees() -> bool:
    """Whether the two decoders give equal pixels here, on files of every sampling, several sizes and qualities."""
    from PIL import Image

    try:
        for content in samples().values():
            with Image.open(io.BytesIO(content)) as image:
                expected = np.asarray(image)
            found = _decoded(content)
            if found is None or not np.array_equal(found, expected):
                return False
    except Exception:  # a build of torchvision without its decoders
        return False
    return True


def samples() -> dict[str, bytes]:
    """Return the files that are compared: noise over a gradient, by sampling, size and quality."""
    from PIL import Image

    found = {}
    rng = np.random.default_rng(0)
    for sampling in SAMPLINGS:
        for height, width in SIZES:
            ground = np.add.outer(np.linspace(0, 200, height), np.linspace(0, 55, width))[..., None]
            noisy = np.clip(ground + rng.normal(0, 30, (height, width, 3)), 0, 255).astype(np.uint8)
            for quality in QUALITIES:
                file = io.BytesIO()
                Image.fromarray(noisy).save(file, "JPEG", quality=quality, subsampling=sampling)
                found[f"{sampling}-{height}x{width}-{quality}"] = file.getvalue()
    return found

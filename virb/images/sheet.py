"""A contact sheet: images as the encoders will see them, with what is said of each, for a person to look at."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from virb.errors import UsageError
from virb.system.files import atomic_write

TILE, CAPTION, GAP, COLUMNS = 112, 14, 6, 8  # pixels, and tiles a row
SHOWN_CHARACTERS = 18


@dataclass(frozen=True)
class Tile:
    """An image, uint8 (H, W, 3), and a line of text below it."""

    image: np.ndarray
    caption: str


def write_sheet(path: str | os.PathLike[str], sections: Sequence[tuple[str, Sequence[Tile]]]) -> None:
    """Write sections, each a title and its tiles, into one PNG file.

    Raises:
        UsageError: the file is not called .png.
        VirbError: it cannot be written.
    """
    from PIL import Image, ImageDraw

    check_name(path)
    width = COLUMNS * (TILE + GAP) + GAP
    heights = [CAPTION + GAP + -(-len(tiles) // COLUMNS) * (TILE + CAPTION + GAP) for _, tiles in sections]
    sheet = Image.new("RGB", (width, sum(heights) + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    top = GAP
    for (title, tiles), height in zip(sections, heights, strict=True):
        draw.text((GAP, top), _plain(title), fill="black")
        for k, tile in enumerate(tiles):
            left = GAP + k % COLUMNS * (TILE + GAP)
            down = top + CAPTION + k // COLUMNS * (TILE + CAPTION + GAP)
            small = Image.fromarray(np.ascontiguousarray(tile.image))
            small.thumbnail((TILE, TILE))
            if max(small.size) < TILE // 2:  # a small image is shown larger, its pixels as squares
                factor = TILE // max(small.size)
                small = small.resize((small.width * factor, small.height * factor), Image.Resampling.NEAREST)
            sheet.paste(small, (left, down))
            draw.text((left, down + TILE), _plain(tile.caption)[:SHOWN_CHARACTERS], fill="black")
        top += height
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    with atomic_write(path) as file:
        file.write(buffer.getvalue())


def check_name(path: str | os.PathLike[str]) -> None:
    """Raise UsageError unless the sheet is to be a PNG file."""
    if Path(path).suffix.lower() != ".png":
        raise UsageError(f"--sheet {path}: a contact sheet is a PNG file; name it so, as sheet.png.")


def as_picture(target: np.ndarray) -> np.ndarray:
    """Return a mask (H, W), or a map (H, W) or (H, W, K), as a picture uint8 (H, W, 3); what has no target is white."""
    if np.issubdtype(target.dtype, np.integer) or target.dtype == bool:
        colours = np.random.default_rng(5).integers(30, 226, (256, 3), dtype=np.uint8)
        colours[0], colours[255] = 0, 255
        return colours[target.astype(np.int64) % 256]
    values = target.astype(np.float64) if target.ndim == 2 else np.linalg.norm(target.astype(np.float64), axis=-1)
    valid = np.isfinite(values)
    low, high = (values[valid].min(), values[valid].max()) if valid.any() else (0.0, 1.0)
    grey = np.where(valid, (values - low) / max(high - low, 1e-9) * 230, 255)
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def _plain(text: str) -> str:
    return text.encode("latin-1", "replace").decode("latin-1")  # what Pillow's own font can draw

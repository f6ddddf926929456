"""Contact sheets: what a person looks at to see what a task asks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from virb.tasks.world.store import find, load

if TYPE_CHECKING:
    import numpy as np

_PALETTE = (
    (40, 40, 48),
    (200, 190, 170),
    (120, 150, 110),
    (225, 225, 230),
    (220, 90, 70),
    (240, 170, 60),
    (130, 90, 50),
    (250, 230, 90),
    (90, 130, 220),
    (170, 90, 200),
    (110, 70, 110),
    (60, 190, 90),
    (240, 140, 170),
    (150, 200, 230),
    (60, 110, 140),
    (190, 120, 90),
    (90, 220, 210),
    (160, 160, 160),
)


def contact_sheet(
    name: str,
    split: str,
    path: str | Path,
    *,
    n: int = 36,
    columns: int = 12,
    scale: int = 2,
    size: int = 64,
    cache: Path | None = None,
) -> Path:
    """Write the first ``n`` examples of a set to a PNG: frames under their labels, pixel annotations below them."""
    import numpy as np
    from PIL import Image, ImageDraw

    spec = find(name, split, size)
    columns = max(1, columns // spec.n_frames)
    data = load(name, split, limit=n, size=size, cache=cache)
    images = data.images.reshape(len(data), spec.n_frames, size, size, 3)
    dense = {a: data.annotation(a) for a in spec.annotations if data.annotation(a).ndim > 1}
    labels = {a: data.annotation(a) for a in spec.annotations if data.annotation(a).ndim == 1}
    tile_w, tile_h = spec.n_frames * size * scale, size * scale * (1 + len(dense)) + 14
    rows = -(-len(data) // columns)
    sheet = Image.new("RGB", (columns * tile_w, rows * tile_h), (24, 24, 28))
    draw = ImageDraw.Draw(sheet)
    for k in range(len(data)):
        x, y = (k % columns) * tile_w, (k // columns) * tile_h
        words = [
            spec.classes[a][_class_index(a, int(v[k]))] if a in spec.classes else str(v[k]) for a, v in labels.items()
        ]
        draw.text((x + 3, y + 1), ", ".join(words), fill=(235, 235, 235))
        strips = [np.concatenate(list(images[k]), 1), *(_picture(a, v[k]) for a, v in dense.items())]
        for r, strip in enumerate(strips):
            picture = Image.fromarray(strip).resize((strip.shape[1] * scale, size * scale), Image.Resampling.NEAREST)
            sheet.paste(picture, (x, y + 14 + r * size * scale))
    path = Path(path)
    sheet.save(path)
    return path


def _class_index(annotation: str, value: int) -> int:
    return value - 3 if annotation == "count" else value


def _picture(annotation: str, values: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) of a pixel annotation: near is bright, classes and directions are colours."""
    import numpy as np

    v: Any = np.asarray(values, "f4")
    if annotation == "depth_m":
        grey = 255 * np.nan_to_num(np.clip(1 - np.log1p(v) / np.log1p(30.0), 0, 1))
        return np.repeat(grey[..., None], 3, -1).astype("u1")
    if annotation == "flow_px":
        bad = np.isnan(v).any(-1)
        rgb = np.stack([128 + 6 * v[..., 0], 128 + 6 * v[..., 1], np.full(v.shape[:2], 128.0)], -1)
        rgb[bad] = 0
        return np.clip(rgb, 0, 255).astype("u1")
    palette = np.array(_PALETTE, "u1")
    return palette[values.astype(int) % len(palette)]

"""Look at a task: images with their targets and, with an encoder, what its head says of them; one PNG file.

Pixelwise tasks show image, target and prediction side by side, the predictions being those kept beside the record. Image-level
tasks show images with their classes and, with an encoder, what its head said and the nearest training images.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from virb.contracts.examples import DataContext, Examples
from virb.contracts.options import RunOptions
from virb.contracts.task import Task
from virb.errors import DataError, UsageError, option
from virb.evaluation.parts import Parts, parts_of
from virb.evaluation.shown import MOST, beside, kept, small_image
from virb.features.cache import FeatureCache
from virb.images import pictures
from virb.networks.encoder import FrozenEncoder
from virb.records.predictions import read_arrays, read_shown
from virb.records.record import Record, place_of
from virb.records.store import ResultStore
from virb.system.files import atomic_write

TILE, LINE, GAP = 128, 13, 6  # pixels
WIDEST = 1600  # of a sheet of two columns
N_NEIGHBOURS, MOST_TRAIN = 3, 2000  # of the training images, those that neighbours are looked for among
_FOUND = {-1: "does not count", 0: "wrong", 1: "right"}  # of what was found near to a query
MOST_VOID = 0.93  # of a map; where more has no target, it is shown on the image
N_BALANCE = 1000  # targets that the caption's balance of classes is counted on, at most


@dataclass(frozen=True)
class Strip:
    """Pictures uint8 (h, w, 3) side by side, and lines of text below each."""

    pictures: list[np.ndarray]
    lines: list[str] = field(default_factory=list)


def show(
    task: Task,
    context: DataContext,
    out: str | os.PathLike[str],
    *,
    encoder: FrozenEncoder | None = None,
    results: str | os.PathLike[str] = "results",
    probe: str | None = None,
    n: int = 8,
) -> list[str]:
    """Write a picture of ``n`` test examples to ``out`` and return the lines above them.

    Raises:
        UsageError: the file is not called .png, or there is no record of the encoder on the task.
        DataError, DataAbsent: the data cannot be read.
    """
    if Path(out).suffix.lower() != ".png":
        raise UsageError(f"{option('out', os.fspath(out))}: the picture is a PNG file; name it so, as {task.name}.png.")
    n = max(1, min(n, MOST))
    parts, test = parts_of(task), task.examples(context, "test")
    heads_of = task.heads_of
    train = None if heads_of else task.examples(context, "train")
    caption = _caption(parts, train, test)
    record = None if encoder is None else _record(task, encoder.name, results, probe)
    if record is not None:
        caption.append(
            f"{record['encoder']['name']}, {record['probe']}: {record['task']['metric']} {record['score']:.4g}"
        )
    if parts.is_pixelwise:
        strips = _of_pixels(parts, test, n, None if record is None else read_shown(results, record))
    else:
        strips = _of_examples(parts, train, test, n, encoder, record, results, context)
    _write(out, caption, strips)
    return caption


def _record(task: Task, encoder: str, results: str | os.PathLike[str], probe: str | None) -> Record:
    store = ResultStore(results)
    found = [
        record
        for record in store.records()
        if record["encoder"]["name"] == encoder and record["task"]["name"] == task.name
    ]
    if probe is not None:
        found = [record for record in found if record["probe"] == probe]
    if not found:
        with_probe = f" with {option('probe', probe)}" if probe else ""
        raise UsageError(
            f"{store.root} has no record of {encoder} on {task.name}{with_probe}. Run: virb evaluate {encoder} --tasks "
            f"{task.name} --out {store.root}."
        )
    return min(found, key=lambda record: (record["probe"] != RunOptions.probe, record["probe"], record["seed"]))


def _caption(parts: Parts, train: Examples | None, test: Examples) -> list[str]:
    task = parts.task
    what = "searched" if parts.target == "relevance" else "training"
    sizes = f"{len(train):,} {what} and " if train is not None else ""
    lines = [
        f"{task.name}: {task.summary}",
        f"{sizes}{len(test):,} test examples; {parts.head.name}, {parts.metric.name}",
    ]
    balance = _balance(parts, test)
    return [*lines, *([balance] if balance else [])]


def _balance(parts: Parts, test: Examples) -> str:
    """Return how often each class occurs in the test split, or the range of its numbers."""
    names = parts.task.class_names
    rows = np.unique(np.linspace(0, len(test) - 1, min(N_BALANCE, len(test))).astype(int))
    if parts.target in ("class", "labels"):
        targets = np.asarray(test.targets)
        shares = (
            np.bincount(targets.astype(np.int64), minlength=len(names)) / len(targets)
            if parts.target == "class"
            else (targets == 1).mean(0)
        )
    elif parts.target == "relevance":
        n = (np.asarray(test.targets) > 0).sum(axis=1)
        return f"{n.min()}{f' to {n.max()}' if n.max() > n.min() else ''} to be found for each query"
    elif parts.target == "mask":
        counts = np.zeros(len(names))
        for row in rows:
            mask = np.asarray(test.targets[int(row)]).ravel().astype(np.int64)
            counts += np.bincount(mask[(mask >= 0) & (mask < len(names))], minlength=len(names))
        shares = counts / max(1, counts.sum())
    elif parts.task.quantity == "direction":
        return ""
    else:
        values = [np.asarray(test.targets[int(row)], np.float64) for row in rows[:100]]
        if parts.task.quantity == "flow":
            values = [v[..., :2] for v in values]
        lengths = np.concatenate([(v if v.ndim < 3 else np.linalg.norm(v, axis=-1)).ravel() for v in values])
        lengths = lengths[np.isfinite(lengths)]
        if not len(lengths):
            return "no test example has a target"
        low, middle, high = np.percentile(lengths, (1, 50, 99))
        unit = "pixels" if parts.task.quantity == "flow" else parts.task.unit
        return f"1 %, 50 % and 99 % of the targets: {low:.3g}, {middle:.3g}, {high:.3g} {unit}".rstrip()
    order = np.argsort(-shares, kind="stable")
    few = [f"{names[k]} {shares[k]:.1%}" for k in order[:8]]
    absent = int((shares == 0).sum())
    more = f", {len(names) - 8} more" if len(names) > 8 else ""
    return f"balance: {', '.join(few)}{more}" + (f"; {absent} never occur" if absent else "")


def _of_pixels(parts: Parts, test: Examples, n: int, found: Mapping[str, np.ndarray] | None) -> list[Strip]:
    strips = []
    if found is not None:
        places = np.unique(np.linspace(0, len(found["rows"]) - 1, min(n, len(found["rows"]))).round().astype(int))
        for k in places:
            values = [found[f"target_{k}"], found[f"prediction_{k}"]]
            strips.append(_strip(parts, found[f"image_{k}"], values, str(found["ids"][k])))
        return strips
    for row in np.unique(np.linspace(0, len(test) - 1, min(n, len(test))).round().astype(int)):
        frames = [np.asarray(test.images.image(int(frame))) for frame in test.frames[row]]
        image = beside([small_image(frame) for frame in frames])
        target = np.asarray(test.targets[int(row)])
        target = kept(parts, target, target)
        strips.append(_strip(parts, image, [target], str(test.ids[int(row)])))
    return strips


def _strip(parts: Parts, image: np.ndarray, values: Sequence[np.ndarray], name: str) -> Strip:
    """Return an image, its target and what was predicted, where the target has no value in magenta there too.

    Where few pixels have one they are shown on the image, which is dimmed.
    """
    first = image[:, : image.shape[1] // parts.task.n_frames]
    span = pictures.span_of(values[0]) if parts.target == "map" else None
    shown = [image]
    for k, one in enumerate(values):
        if parts.target == "mask":
            picture = pictures.of_mask(one, parts.task.n_classes, void=parts.ignore_index)
            picture = pictures.over(_as_large(first, picture.shape[:2]), picture)
        else:
            picture = pictures.of_map(one, parts.task.quantity, span=span)
        if not k:
            is_void = (picture == pictures.VOID).all(-1)
        picture[is_void] = pictures.VOID
        if is_void.mean() > MOST_VOID:  # points, on the dimmed image
            picture[is_void] = _as_large(first, picture.shape[:2])[is_void] // 3
        shown.append(picture)
    return Strip(shown, [name, "target", *(["prediction"] if len(values) > 1 else [])])


def _as_large(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    rows, columns = (
        ((np.arange(n) + 0.5) * side / n).astype(int) for n, side in zip(size, image.shape[:2], strict=True)
    )
    return image[rows][:, columns]


def _of_examples(
    parts: Parts,
    train: Examples | None,
    test: Examples,
    n: int,
    encoder: FrozenEncoder | None,
    record: Record | None,
    results: str | os.PathLike[str],
    context: DataContext,
) -> list[Strip]:
    able = np.arange(len(test))
    said: dict[int, Any] = {}
    if record is not None:
        arrays = read_arrays((ResultStore(results).root / place_of(record)).with_suffix(".npz"))
        if "prediction" in arrays:
            place = {str(key): k for k, key in enumerate(arrays["ids"])}
            said = {row: arrays["prediction"][place[str(key)]] for row, key in enumerate(test.ids) if str(key) in place}
            able = np.array(list(said))
    rows = able[np.unique(np.linspace(0, len(able) - 1, min(n, len(able))).round().astype(int))]
    near = None
    if encoder is not None and train is not None:
        searched = train if parts.target == "relevance" else train.limited(MOST_TRAIN)
        near = _neighbours(encoder, train, searched, test.subset(rows).with_own_images(), context)
    strips = []
    for k, row in enumerate(rows):
        shown = [_frames(test, int(row))]
        lines = [test.ids[int(row)] if parts.target == "relevance" else _word(parts, np.asarray(test.targets)[row])]
        if int(row) in said:
            lines[0] += f" | said: {_word(parts, said[int(row)])}"
        for other in () if near is None or train is None else near[k]:
            assert train is not None
            shown.append(_frames(train, int(other)))
            column = np.asarray(train.targets)[other]
            if parts.target == "relevance":
                lines.append(_FOUND.get(int(np.asarray(test.targets)[row, column]), "right, hard to find"))
            else:
                lines.append(f"near: {_word(parts, column)}")
        strips.append(Strip(shown, lines))
    return strips


def _frames(examples: Examples, row: int) -> np.ndarray:
    frames = [small_image(np.asarray(examples.images.image(int(frame)))) for frame in examples.frames[row]]
    return beside(frames)


def _word(parts: Parts, value: Any) -> str:
    names = parts.task.class_names
    if parts.target == "class" and np.ndim(value) == 0:
        return names[int(value)]
    if parts.target == "labels":
        return ", ".join(name for name, has in zip(names, np.atleast_1d(value), strict=False) if has == 1) or "none"
    return ", ".join(f"{one:.3g}" for one in np.atleast_1d(value))


def _neighbours(
    encoder: FrozenEncoder, train: Examples, some: Examples, wanted: Examples, context: DataContext
) -> np.ndarray:
    """Return which training examples, of ``some`` of them, are nearest by cosine, int (len(wanted), at most N_NEIGHBOURS)."""
    kept = {str(key): k for k, key in enumerate(train.ids)}
    cache = FeatureCache(context.cache)
    vectors = []
    for part in (some, wanted):
        (found,) = cache.encode([encoder], part.images)
        values = np.asarray(found["embedding"].parts[0][part.frames.reshape(-1)], np.float32)
        values = values.reshape(len(part), -1)
        vectors.append(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12))
    n = N_NEIGHBOURS if some.n_frames < 3 else 1  # of a film one is as wide as the sheet may be
    order = np.argsort(-(vectors[1] @ vectors[0].T), axis=1, kind="stable")[:, :n]
    return np.array([[kept[str(some.ids[int(k)])] for k in row] for row in order])


def _write(out: str | os.PathLike[str], caption: Sequence[str], strips: Sequence[Strip]) -> None:
    """Lay the strips out in two columns, each picture as high as a tile."""
    from PIL import Image, ImageDraw

    if not strips:
        raise DataError("There is nothing to show.")
    tiles = [[_tile(picture) for picture in strip.pictures] for strip in strips]
    width = max(sum(tile.width + GAP for tile in row) for row in tiles) + GAP
    high = TILE + LINE + GAP
    top = GAP + LINE * len(caption) + GAP
    n_columns = 2 if len(strips) > 3 and 2 * width <= WIDEST else 1
    n_rows = -(-len(strips) // n_columns)
    font_room = 6 * max(len(line) for line in caption) + 2 * GAP
    sheet = Image.new("RGB", (max(n_columns * width, font_room), top + n_rows * high), "white")
    draw = ImageDraw.Draw(sheet)
    for k, line in enumerate(caption):
        draw.text((GAP, GAP + LINE * k), _plain(line), fill="black")
    for k, (row, strip) in enumerate(zip(tiles, strips, strict=True)):
        left, down = k // n_rows * width + GAP, top + k % n_rows * high
        for tile, line in zip(row, [*strip.lines, *[""] * len(row)], strict=False):
            sheet.paste(tile, (left, down))
            line = _plain(line)
            while draw.textlength(line) > tile.width + GAP // 2:
                line = line[:-1]
            draw.text((left, down + TILE), line, fill="black")
            left += tile.width + GAP
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    with atomic_write(out) as file:
        file.write(buffer.getvalue())


def _tile(picture: np.ndarray) -> Any:
    """Return a picture as high as a tile; small ones enlarged by a whole factor, their pixels as squares."""
    from PIL import Image

    small = Image.fromarray(np.ascontiguousarray(picture))
    factor = max(1, TILE // small.height)
    small = small.resize((small.width * factor, small.height * factor), Image.Resampling.NEAREST)
    if small.height > TILE:
        small = small.resize((max(1, round(small.width * TILE / small.height)), TILE))
    return small


def _plain(text: str) -> str:
    return text.encode("latin-1", "replace").decode("latin-1")  # what Pillow's own font can draw

"""Examples of an end task with their targets, and what the best encoders' heads say of them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from virb import registry
from virb.contracts.examples import DataContext, Examples
from virb.contracts.task import Task
from virb.errors import ScoresError, VirbError
from virb.images import pictures
from virb.images.sheet import as_picture
from virb.records.predictions import predictions_of, read_shown
from virb.report.study import Study
from virb.system.files import atomic_write

SIDE = 160  # pixels of the longer side of a picture
SHOWN_ENCODERS = 3
MOST_FRAMES = 6


@dataclass(frozen=True)
class Said:
    """What one encoder's head says of an example, and whether that is right."""

    text: str
    kind: str  # "right" or "wrong"


@dataclass(frozen=True)
class Shown:
    """One example: its picture, its target as a picture or in the caption, and what heads say."""

    src: str
    alt: str
    caption: str
    target_src: str = ""
    said: list[Said] = field(default_factory=list)
    pictures: list[tuple[str, str]] = field(default_factory=list)  # an encoder, and what its head predicts


def examples_of(
    study: Study, task: str, folder: Path, stem: str, context: DataContext, n: int
) -> dict[str, Any] | None:
    """Write pictures of ``n`` test examples into ``folder`` and say how to show them; None where there are no records.

    Where the data cannot be read here, the note says why and nothing is shown.
    """
    records = study.records_of(task=task)
    if n < 1 or not records:
        return None
    kept = _kept(study, task)
    if kept:
        return _of_kept(kept, task, folder, stem, n)
    try:
        declared: Task = registry.load("tasks", task)
        if declared.metric != records[0]["task"]["metric"]:
            return None
        test = declared.examples(context, "test")
    except VirbError as error:
        if task not in registry.names("tasks"):
            return None
        return {"note": f"The images cannot be shown here: {error}", "shown": []}
    known = {str(name): k for k, name in enumerate(test.ids)}
    predictions = _predictions(study, task, known) if len(known) == len(test) else {}  # else names tell no example
    rows, order, n_there = _chosen(predictions, len(test), n)
    shown = []
    for k, row in enumerate(rows):
        try:
            shown.append(_show(declared, test, row, folder, f"{stem}-{k}", predictions))
        except VirbError:
            continue  # an image that cannot be read is no reason to be without the others
    note = f"{len(shown)} of {n_there:,} test examples, {order}."
    if predictions:
        note += f" Below the target, what is said with {', '.join(predictions)}: the best encoders first, or those asked for."
    return {"note": note, "shown": shown}


def _kept(study: Study, task: str) -> dict[str, dict[str, np.ndarray]]:
    """The pictures that lie beside the records of the best encoders (of each the first seed), over the same examples."""
    results = study.frame.attrs.get("results")
    out: dict[str, dict[str, np.ndarray]] = {}
    for encoder in study.best_first(task):
        records = study.records_of(encoder=str(encoder), task=task)
        found = read_shown(str(results), records[0]) if records and results else None
        if found is not None and all(np.array_equal(found["ids"], other["ids"]) for other in out.values()):
            out[str(encoder)] = found
        if len(out) == SHOWN_ENCODERS:
            break
    return out


def _of_kept(
    kept: Mapping[str, Mapping[str, np.ndarray]], task: str, folder: Path, stem: str, n: int
) -> dict[str, Any]:
    """Pixelwise examples: the image, its target, and what each head predicts, in the same colours."""
    first = next(iter(kept.values()))
    quantity = _quantity(task)
    places = np.unique(np.linspace(0, len(first["ids"]) - 1, min(n, len(first["ids"]))).round().astype(int))
    shown = []
    for k in places:
        target = first[f"target_{k}"]
        is_mask = np.issubdtype(target.dtype, np.integer) or target.dtype == bool
        n_classes = 1 + max(int(arrays[f"{what}_{k}"].max(initial=0, where=arrays[f"{what}_{k}"] < 255))
                            for arrays in kept.values() for what in ("target", "prediction")) if is_mask else 0  # fmt: skip
        span = None if is_mask else pictures.span_of(target.astype(np.float64))

        def picture(
            values: np.ndarray, is_mask: bool = is_mask, n_classes: int = n_classes, span: Any = span
        ) -> np.ndarray:
            if is_mask:
                return pictures.of_mask(values, n_classes, void=255)
            return pictures.of_map(values.astype(np.float64), quantity, span=span)

        name = str(first["ids"][k])
        shown.append(
            Shown(
                _write(first[f"image_{k}"], folder, f"{stem}-{k}"),
                name,
                name,
                target_src=_write(picture(target), folder, f"{stem}-{k}-target"),
                pictures=[
                    (encoder, _write(picture(arrays[f"prediction_{k}"]), folder, f"{stem}-{k}-said-{e}"))
                    for e, (encoder, arrays) in enumerate(kept.items())
                ],
            )
        )
    note = f"{len(shown)} test examples: the image, its target, and the predictions with {', '.join(kept)}; magenta has no target."
    return {"note": note, "shown": shown}


def _quantity(task: str) -> str:
    try:
        return str(registry.load("tasks", task).quantity)
    except VirbError:
        return ""


def _predictions(study: Study, task: str, known: Mapping[str, int]) -> dict[str, np.ndarray]:
    """int (N,) for each of the best encoders: the class that is said of each test example, -1 where none was kept."""
    results = study.frame.attrs.get("results")
    out: dict[str, np.ndarray] = {}
    for encoder in study.best_first(task):
        try:
            (arrays,) = predictions_of(str(results), study.rows[encoder, task], task).values()
        except ScoresError:
            continue
        said = arrays.get("prediction")
        if said is None or said.ndim != 1 or not np.issubdtype(said.dtype, np.integer):
            continue
        found = np.full(len(known), -1)
        for name, value in zip(arrays["ids"], said, strict=True):
            if str(name) in known:
                found[known[str(name)]] = value
        if (found >= 0).any():
            out[str(encoder)] = found
        if len(out) == SHOWN_ENCODERS:
            break
    return out


def _chosen(predictions: Mapping[str, np.ndarray], n_test: int, n: int) -> tuple[list[int], str, int]:
    """Rows that lie evenly: from those that all encoders agree on to those that they differ on, else over the split; how
    they lie, in words; and among how many, which are those that were predicted (of a shortened run, a part).
    """
    rows = np.arange(n_test)
    order = "evenly over the split"
    if predictions:
        said = np.stack(list(predictions.values()))
        rows = np.flatnonzero((said >= 0).all(axis=0))
        if len(said) > 1 and len(rows):
            agreeing = (said == said[0]).sum(axis=0)[rows]
            rows = rows[np.lexsort((rows, -agreeing))]
            order = "from those on which the encoders agree to those on which they do not"
    places = np.unique(np.linspace(0, len(rows) - 1, min(n, len(rows))).round().astype(int))
    return [int(rows[place]) for place in places], order, len(rows)


def _show(
    task: Task, test: Examples, row: int, folder: Path, stem: str, predictions: Mapping[str, np.ndarray]
) -> Shown:
    target = np.asarray(test.targets[row])
    frames = [test.images.image(int(frame)) for frame in test.frames[row][:MOST_FRAMES]]
    src = _write(np.concatenate([np.asarray(frame) for frame in frames], axis=1), folder, stem)
    name, names = str(test.ids[row]), task.class_names or list(test.classes)
    if target.ndim >= 2:
        return Shown(src, name, name, target_src=_write(as_picture(target), folder, f"{stem}-target"))
    is_class = target.ndim == 0 and np.issubdtype(target.dtype, np.integer) and 0 <= int(target) < len(names)
    if is_class:
        caption = names[int(target)]
    elif target.ndim == 1 and len(target) == len(names):
        caption = ", ".join(name for name, has in zip(names, target, strict=True) if has == 1) or "none of the labels"
    else:
        caption = ", ".join(f"{value:g}" for value in np.atleast_1d(target).tolist())
    said = [
        Said(f"{encoder}: {names[found[row]]}", "right" if found[row] == target else "wrong")
        for encoder, found in predictions.items()
        if is_class and 0 <= found[row] < len(names)
    ]
    return Shown(src, f"{name}: {caption}", caption, said=said)


def _write(image: np.ndarray, folder: Path, stem: str) -> str:
    """Write a picture of at most ``SIDE`` pixels (a strip of frames: that high) as PNG; return its name."""
    from PIL import Image

    made = Image.fromarray(np.ascontiguousarray(image))
    made.thumbnail((SIDE * MOST_FRAMES, SIDE))
    buffer = io.BytesIO()
    made.save(buffer, "PNG", optimize=True)
    with atomic_write(folder / f"{stem}.png", is_durable=False) as file:
        file.write(buffer.getvalue())
    return f"{folder.name}/{stem}.png"

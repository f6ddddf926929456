"""Check an end task end to end on a few images, before hours are spent on it."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from virb.contracts.examples import DataContext, Examples
from virb.contracts.task import Task
from virb.errors import VirbError
from virb.evaluation.parts import Parts, parts_of
from virb.evaluation.targets import check_targets
from virb.images.sets import FileImages

if TYPE_CHECKING:
    from torch import Tensor, nn

DEFAULT_ENCODER = "random:resnet18:width=0.25,size=128"  # quick; whether a head trains does not hang on it
MAX_HASHED = 4096  # images a split that are compared by their pixels
N_STEPS = 20


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: whether it is as it should be, and what was found."""

    name: str
    is_ok: bool
    detail: str


def validate(
    task: Task,
    context: DataContext,
    *,
    n_images: int = 16,
    encoder: str = DEFAULT_ENCODER,
    heads_of: Task | None = None,
) -> list[Check]:
    """Return the checks of ``task``, in order; those that need what an earlier one failed to give are left out.

    Checked are: both splits can be read, with the declared number of frames and examples; no image is in both; images
    and targets decode and are in range; every class that is declared occurs; a head's loss falls on ``n_images``
    examples.

    Args:
        n_images: how many examples a split are decoded, and train the head.
        encoder: the frozen encoder under the head.
        heads_of: the task that trains the heads, where ``task`` only scores them.
    """
    checks: list[Check] = []
    try:
        parts = parts_of(task)
    except VirbError as error:
        return [Check("its parts fit together", False, str(error))]

    def check(name: str, look: Callable[[], str]) -> bool:
        try:
            checks.append(Check(name, True, look()))
        except VirbError as error:
            checks.append(Check(name, False, str(error)))
        return checks[-1].is_ok

    splits: dict[str, Examples] = {}

    def read(split: str) -> str:
        trains = heads_of if heads_of is not None and split == "train" else task
        splits[split] = found = trains.examples(context, split)
        return f"{len(found):,} examples over {len(found.images):,} images of {found.images.name}"

    for split in ("train", "test"):
        check(f"{split} is read", functools.partial(read, split))
    if len(splits) < 2:
        return checks
    check("sizes are as declared", lambda: _sizes(task, splits))
    check("no image is in both splits", lambda: _disjoint(splits["train"], splits["test"]))
    few = {split: examples.limited(n_images) for split, examples in splits.items()}
    are_readable = check("images decode", lambda: _images(few))
    are_in_range = check("targets are in range", lambda: _targets(task, splits, few))
    if not parts.is_pixelwise and are_in_range:
        name = "the numbers differ" if parts.target == "number" else "every class occurs"
        check(name, lambda: _classes(parts, splits))
    if are_readable and are_in_range:
        check("a head trains", lambda: _trains(parts, few["train"], encoder))
    return checks


def _fail(text: str) -> str:
    raise VirbError(text)


def _sizes(task: Task, splits: dict[str, Examples]) -> str:
    for split, examples in splits.items():
        if examples.n_frames != task.n_frames:
            return _fail(f"{split} has examples of {examples.n_frames} frames; the task declares {task.n_frames}.")
        expected = task.n_examples.get(split)
        if expected is not None and len(examples) != expected:
            return _fail(f"{split} has {len(examples):,} examples; the task declares {expected:,}.")
    return f"{task.n_frames} frame{'s' * (task.n_frames > 1)} an example" + (
        ", numbers as declared" if task.n_examples else "; the task declares no numbers"
    )


def _disjoint(train: Examples, test: Examples) -> str:
    """Compare images by content: files by their bytes, all of those whose sizes agree; others by their pixels."""
    rows = [np.unique(examples.frames) for examples in (train, test)]
    if train.images.digest == test.images.digest:
        both = np.intersect1d(rows[0], rows[1])
        if len(both):
            return _fail(
                f"{len(both):,} images are in train and in test; the first is {train.images.describe(both[0])}."
            )
    if isinstance(train.images, FileImages) and isinstance(test.images, FileImages):
        pairs = ((train.images, rows[0]), (test.images, rows[1]))
        sizes = [{images.paths[row]: images.paths[row].stat().st_size for row in part} for images, part in pairs]
        shared = set(sizes[0].values()) & set(sizes[1].values())
        digests = [{_file_hash(path): str(path) for path, size in part.items() if size in shared} for part in sizes]
        what = f"all {len(rows[0]):,} and {len(rows[1]):,} files compared by their bytes"
    else:
        chosen = [r if len(r) <= MAX_HASHED else r[:: -(-len(r) // MAX_HASHED)] for r in rows]
        digests = [
            {_pixel_hash(s.images.image(int(row))): s.images.describe(int(row)) for row in r}
            for s, r in zip((train, test), chosen, strict=True)
        ]
        what = f"{len(chosen[0]):,} and {len(chosen[1]):,} images compared by their pixels"
    same = sorted(set(digests[0]) & set(digests[1]))
    if same:
        return _fail(
            f"{len(same):,} images of train are in test too; the first is {digests[0][same[0]]}, "
            f"equal to {digests[1][same[0]]}."
        )
    return what


def _file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _pixel_hash(image: np.ndarray) -> str:
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


def _images(few: dict[str, Examples]) -> str:
    shapes = set()
    for examples in few.values():
        for row in np.unique(examples.frames):
            image = examples.images.image(int(row))
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                return _fail(
                    f"{examples.images.describe(int(row))} is {image.dtype} of shape {image.shape}; "
                    "expected uint8 of shape (H, W, 3)."
                )
            shapes.add(image.shape[:2])
    sides = [f"{h}x{w}" for h, w in sorted(shapes)]
    return f"{sum(len(np.unique(e.frames)) for e in few.values())} images, {', '.join(sides[:3])}" + (
        f" and {len(sides) - 3} other sizes" if len(sides) > 3 else ""
    )


def _targets(task: Task, splits: dict[str, Examples], few: dict[str, Examples]) -> str:
    if not task.category.is_pixelwise:
        return [check_targets(task, split, examples) for split, examples in splits.items()][-1]
    low, high, n_valid, n_pixels = math.inf, -math.inf, 0, 0
    for split, examples in few.items():
        for k in range(len(examples)):
            found = np.asarray(examples.targets[k])
            what = f"the target of {examples.ids[k]} ({split})"
            wanted = (*examples.images.image(int(examples.frames[k, 0])).shape[:2], *_trailing(task))
            if found.shape != wanted:
                return _fail(f"{what} has the shape {found.shape}; its image asks for {wanted}.")
            ignore = task.options.get("ignore_index")
            valid = found if ignore is None else found[found != ignore]
            valid = valid[np.isfinite(valid)]
            if task.n_classes and valid.size and not (valid.min() >= 0 and valid.max() < task.n_classes):
                return _fail(f"{what} has values {valid.min()} to {valid.max()}; expected 0..{task.n_classes - 1}.")
            if task.metric == "neg_l1" and valid.size and valid.min() < 0:
                return _fail(f"{what} has the value {valid.min()}; expected none below 0.")
            n_valid, n_pixels = n_valid + valid.size, n_pixels + found.size
            if valid.size:
                low, high = min(low, float(valid.min())), max(high, float(valid.max()))
    if n_valid == 0:
        return _fail(f"none of the targets of {sum(map(len, few.values()))} examples has a valid pixel.")
    return f"values {low:g} to {high:g}; {n_valid / n_pixels:.0%} of the pixels have one"


def _trailing(task: Task) -> tuple[int, ...]:
    n_out = int(task.options.get("out_channels", 1))
    return (n_out,) if not task.n_classes and n_out > 1 else ()


def _classes(parts: Parts, splits: dict[str, Examples]) -> str:
    names = parts.task.class_names
    found = {split: np.asarray(examples.targets) for split, examples in splits.items()}
    if parts.target == "number":
        for split, values in found.items():
            rows = values.reshape(len(values), -1).astype(np.float64)
            same = np.flatnonzero(np.nanmin(rows, axis=0) == np.nanmax(rows, axis=0))
            if len(same):
                return _fail(f"number {same[0]} is {rows[0, same[0]]:g} in every example of {split}.")
        return ", ".join(f"{split}: {np.nanmin(v):g} to {np.nanmax(v):g}" for split, v in found.items())
    counts = {
        split: (values == 1).sum(axis=0) if values.ndim == 2 else np.bincount(values, minlength=len(names))
        for split, values in found.items()
    }
    for split, n in counts.items():
        missing = np.flatnonzero(n == 0)
        if len(missing):
            return _fail(
                f"{len(missing)} of {len(names)} classes have no example in {split}; the first is {names[missing[0]]!r}."
            )
    return ", ".join(f"{split}: {n.min():,} to {n.max():,} examples a class" for split, n in counts.items())


def _trains(parts: Parts, examples: Examples, encoder_name: str) -> str:
    """Train a fresh head on a few examples, all at once, and see its loss fall."""
    import torch

    from virb.convert.load import load_encoder
    from virb.features.cache import compute_layers, resize

    encoder = load_encoder(encoder_name)
    size = encoder.preprocess.size
    rows = np.unique(examples.frames)
    x = encoder.prepare(torch.stack([resize(examples.images.image(int(row)), size) for row in rows]))
    place = torch.from_numpy(np.searchsorted(rows, examples.frames))
    maps = compute_layers(encoder, x, {parts.head.layer})[parts.head.layer]
    if parts.is_pixelwise:
        is_map = parts.target == "map"
        head = parts.build_head(encoder, 0, _mean_target(examples) if is_map else 0.0)
        targets = [_resized_target(np.asarray(examples.targets[k]), size) for k in range(len(examples))]
        target = torch.from_numpy(np.stack(targets))
        if is_map:
            target = target[:, None] if target.ndim == 3 else target.permute(0, 3, 1, 2)

        def loss() -> Tensor:
            output = head(*[[m[place[:, k]] for m in maps] for k in range(place.shape[1])], (size, size))
            total, n = parts.loss.total(output, target, parts.ignore_index)
            return total / n

    else:
        features = maps[0].flatten(1)[place]
        features = features if place.shape[1] > 1 else features[:, 0]
        head = parts.build_head(encoder, 0)
        target = torch.from_numpy(np.asarray(examples.targets))
        if parts.target == "number":
            target = target.float().view(len(target), -1)
            target = (target - target.nanmean(0)) / torch.from_numpy(np.nanstd(target.numpy(), axis=0)).clamp(min=1e-6)

        def loss() -> Tensor:
            total, n = parts.loss.total(head(features), target, None)
            return total / n

    first, last = _fit(head, loss)
    if not math.isfinite(last) or last >= first:
        return _fail(
            f"the loss of a {parts.head.name} head went from {first:.4g} to {last:.4g} in {N_STEPS} steps; it must fall."
        )
    return (
        f"{parts.head.name} on {encoder.name}: the loss of {len(examples)} examples fell from {first:.4g} to {last:.4g}"
    )


def _fit(head: nn.Module, loss: Callable[[], Tensor]) -> tuple[float, float]:
    import torch

    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    values = []
    for _ in range(N_STEPS):
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    return values[0], values[-1]


def _resized_target(target: np.ndarray, size: int) -> np.ndarray:
    """Return ``target`` at (size, size) by its nearest pixels: no value is made that is not there."""
    rows = (np.arange(size) * target.shape[0]) // size
    columns = (np.arange(size) * target.shape[1]) // size
    resized = target[rows][:, columns]
    return resized if np.issubdtype(resized.dtype, np.integer) else resized.astype(np.float32)


def _mean_target(examples: Examples) -> float:
    values = np.concatenate([np.ravel(examples.targets[k]) for k in range(len(examples))])
    return float(np.nanmean(values))

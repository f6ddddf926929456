"""Check an end task end to end on a few images, before hours are spent on it."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from virb.contracts.examples import DataContext, Examples
from virb.contracts.images import UNREADABLE, in_threads, of_array
from virb.contracts.parts import PIXELWISE
from virb.contracts.task import FROM_DATA, Task
from virb.errors import DataError, UsageError, VirbError
from virb.evaluation import checks
from virb.evaluation.parts import Parts, parts_of
from virb.images.sheet import Tile, as_picture, write_sheet

if TYPE_CHECKING:
    from torch import Tensor, nn

DEFAULT_ENCODER = "random:resnet18:width=0.25,size=128"  # quick; whether a head trains does not hang on it
MAX_COMPARED = 4096  # images a split that are compared by their pixels
MOST_CONSTANT, MOST_CLIPPED = 0.1, 0.5  # the share of images that may show nothing
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
    sheet: str | os.PathLike[str] | None = None,
) -> list[Check]:
    """Return the checks of ``task``, in order; those that need what an earlier one failed to give are left out.

    Checked are: both splits can be read, with the declared number of frames and examples; no image is in both, nor has
    two classes; images decode and show something, and targets are in range, by the rules that every evaluation keeps;
    every class that is declared occurs; a head's loss falls on ``n_images`` examples.

    Args:
        n_images: how many examples a split are decoded, and train the head.
        encoder: the frozen encoder under the head.
        heads_of: the task that trains the heads, where ``task`` only scores them.
        sheet: a PNG file for the images that are decoded, with their classes or targets, to look at.
    """
    found: list[Check] = []

    def check(name: str, look: Callable[[], str]) -> bool:
        try:
            found.append(Check(name, True, look()))
        except VirbError as error:
            found.append(Check(name, False, str(error)))
        return found[-1].is_ok

    splits: dict[str, Examples] = {}

    def read(split: str) -> str:
        trains = heads_of if heads_of is not None and split == "train" else task
        splits[split] = examples = trains.examples(context, split)
        said = f"{len(examples):,} examples over {len(examples.images):,} images of {examples.images.name}"
        return said if examples.accounting is None else f"{said}; {examples.accounting.line()}"

    for split in ("train", "test"):
        check(f"{split} is read", functools.partial(read, split))
    if len(splits) < 2:
        return found
    if task.classes is FROM_DATA:
        if not check("classes are known", lambda: _named(task, splits)):
            return found
        task = task.resolved(splits["train"])
    check("sizes are as declared", lambda: _sizes(task, splits))
    unreadable: list[str] = []
    check("no image is in both splits", lambda: _disjoint(splits["train"], splits["test"], unreadable))
    few = {split: examples.limited(n_images) for split, examples in splits.items()}
    of_each = {split: _of_each_class(examples, few[split]) for split, examples in splits.items()}
    are_readable = check("images decode", lambda: _images(of_each, unreadable))
    if are_readable:
        check("images show something", lambda: _contrast(of_each))
        if sheet is not None:
            write_sheet(sheet, [(f"{task.name}: {split}", _tiles(task, part)) for split, part in few.items()])
    check("no image has two classes", lambda: _one_class(task, splits))
    if not check("its parts fit together", lambda: _parts(task)):
        return found
    are_in_range = check("targets are in range", lambda: _targets(task, splits, few))
    parts = parts_of(task)
    if not parts.is_pixelwise and are_in_range:
        names = {"number": "the numbers differ", "relevance": "there is something to be found"}
        check(names.get(parts.target, "every class occurs"), lambda: _classes(parts, splits))
    if are_readable and are_in_range and parts.head.trains:
        check("a head trains", lambda: _trains(parts, few["train"], encoder))
    return found


def _fail(text: str) -> str:
    raise VirbError(text)


def _named(task: Task, splits: dict[str, Examples]) -> str:
    """Look at the names of the classes, in the task and in both splits, which number the targets."""
    named = task.resolved(splits["train"])
    named.check_classes(splits["test"].classes, "test")
    few = ", ".join(named.class_names[:4]) + (", ..." if named.n_classes > 4 else "")
    return f"{named.n_classes} as the data name them: {few}"


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


def _disjoint(train: Examples, test: Examples, unreadable: list[str]) -> str:
    """Compare images by content: all by their bytes, and files by their pixels too, as they may be saved anew.

    What is wrong with images that cannot be read is added to ``unreadable``.
    """
    found = checks.overlap(train, test)
    if found.n_shared:
        return _fail(
            f"{found.n_shared:,} of the {found.n_test:,} images of test are in train too; the first is "
            f"{found.in_test}, equal to {found.in_train}."
        )
    rows = [np.unique(examples.frames) for examples in (train, test)]
    chosen = [part[checks.spread(len(part), MAX_COMPARED)] for part in rows]
    ours, theirs = (
        _by_pixels(examples, part, unreadable) for examples, part in zip((train, test), chosen, strict=True)
    )
    same = sorted(ours.keys() & theirs.keys(), key=lambda digest: theirs[digest])
    if same:
        first = same[0]
        return _fail(
            f"{len(same):,} images of test have the pixels of images of train, saved anew; the first is "
            f"{test.images.describe(theirs[first])}, equal to {train.images.describe(ours[first])}."
        )
    said = [f"{len(part):,} of {len(all_of):,}" for part, all_of in zip(chosen, rows, strict=True)]
    return (
        f"{len(rows[0]):,} of {len(rows[0]):,} images of train and {len(rows[1]):,} of {len(rows[1]):,} of test compared by "
        f"their bytes; {said[0]} and {said[1]} by their pixels"
    )


def _by_pixels(examples: Examples, rows: np.ndarray, unreadable: list[str]) -> dict[bytes, int]:
    """Return the rows of images by the digest of their pixels; those that cannot be read go to ``unreadable``."""

    def one(row: int) -> bytes:
        try:
            return of_array(examples.images.image(row))
        except DataError as error:
            unreadable.append(str(error))
            return UNREADABLE

    found = dict(zip(in_threads(one, rows.tolist()), rows.tolist(), strict=True))
    found.pop(UNREADABLE, None)
    return found


def _of_each_class(examples: Examples, few: Examples) -> Examples:
    """Return ``few`` of the examples, and the first of every class where the targets are classes."""
    labels = examples.targets
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        return few
    first = np.unique(labels, return_index=True)[1]
    of_few = set(few.ids)
    chosen = np.array([row for row in range(len(examples)) if examples.ids[row] in of_few], dtype=np.int64)
    return examples.subset(np.union1d(first, chosen)).with_own_images()


def _images(few: dict[str, Examples], unreadable: list[str]) -> str:
    """Check the images of ``few``; fail with those that were found ``unreadable`` elsewhere, as evaluate would."""
    if unreadable:
        more = f" {len(unreadable) - 1:,} more cannot be read either." if len(unreadable) > 1 else ""
        return _fail(min(unreadable) + more)
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


def _tiles(task: Task, examples: Examples) -> list[Tile]:
    """Return the frames of each example with its class, or its id; a pixelwise target comes behind as a picture."""
    tiles, names = [], task.class_names
    for k in range(len(examples)):
        target = np.asarray(examples.targets[k])
        is_class = not task.category.is_pixelwise and target.ndim == 0 and 0 <= int(target) < len(names)
        caption = names[int(target)] if is_class else str(examples.ids[k])
        tiles += [Tile(examples.images.image(int(frame)), caption) for frame in examples.frames[k]]
        if target.ndim >= 2:
            tiles.append(Tile(as_picture(target), "target"))
    return tiles


def _contrast(few: dict[str, Examples]) -> str:
    """Fail where many images show nothing: all of one colour, or nothing but black and white, as values cut off are."""
    for what, is_so, share in (
        ("of one colour each", lambda image: (image == image[:1, :1]).all(), MOST_CONSTANT),
        ("clipped to black and white", lambda image: np.isin(image, (0, 255)).all(), MOST_CLIPPED),
    ):
        for split, examples in few.items():
            rows = np.unique(examples.frames)
            bad = [int(row) for row in rows if is_so(examples.images.image(int(row)))]
            if len(bad) > share * len(rows):
                return _fail(
                    f"{len(bad)} of {len(rows)} images of {split} that were looked at are {what}, as "
                    f"{examples.images.describe(bad[0])}. Was their range of values lost when they were converted?"
                )
    return "the images have more than one colour, and more than black and white"


def _targets(task: Task, splits: dict[str, Examples], few: dict[str, Examples]) -> str:
    parts = parts_of(task)
    if parts.target not in PIXELWISE:
        for split, examples in splits.items():
            checks.check_labels(parts, split, examples, is_train=split == "train")
        return f"all labels lie in 0..{task.n_classes - 1}" if parts.target == "class" else "all are as declared"
    low, high, n_valid, n_pixels = math.inf, -math.inf, 0, 0
    for split, examples in few.items():
        for k in range(len(examples)):
            found = np.asarray(examples.targets[k])
            problem = checks.problem_of(parts, found, examples.images.size(int(examples.frames[k, 0])))
            if problem:
                return _fail(f"{split}: the target of {examples.ids[k]} {problem}")
            valid = found if parts.ignore_index is None else found[found != parts.ignore_index]
            valid = valid[np.isfinite(valid)]
            n_valid, n_pixels = n_valid + valid.size, n_pixels + found.size
            if valid.size:
                low, high = min(low, float(valid.min())), max(high, float(valid.max()))
    if n_valid == 0:
        return _fail(f"none of the targets of {sum(map(len, few.values()))} examples has a valid pixel.")
    return f"values {low:g} to {high:g}; {n_valid / n_pixels:.0%} of the pixels have one"


def _parts(task: Task) -> str:
    parts = parts_of(task)
    return f"{parts.head.name}, {parts.loss.name}, {parts.metric.name}: targets are {parts.target}"


def _one_class(task: Task, splits: dict[str, Examples]) -> str:
    with contextlib.suppress(UsageError):  # of parts that do not fit another check tells
        if parts_of(task).target == "relevance":
            return "what is searched has no classes"
    for split, examples in splits.items():
        twice = checks.contradiction(examples)
        if twice:
            return _fail(f"{split}: {twice}.")
    return "no two equal images have different classes"


def _classes(parts: Parts, splits: dict[str, Examples]) -> str:
    names = parts.task.class_names
    found = {split: np.asarray(examples.targets) for split, examples in splits.items()}
    if parts.target == "relevance":
        return _findable(found["train"], found["test"], splits["test"].ids)
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


def _findable(numbers: np.ndarray, relevance: np.ndarray, ids: Sequence[str]) -> str:
    """Look at whether every query has something to be found among the things ``numbers`` that are searched."""
    twice = len(numbers) - len(np.unique(numbers))
    if twice or numbers.max() >= relevance.shape[1]:
        return _fail(
            f"the numbers of what is searched must be different ones of 0..{relevance.shape[1] - 1}, one for each column of "
            f"the test split's targets; found {twice} twice, the largest {numbers.max()}."
        )
    n = (relevance[:, numbers] > 0).sum(axis=1)
    if not n.any():
        return _fail(f"none of the {len(n)} queries has anything to be found.")
    few = f"; {int((n == 0).sum())} have nothing, as {ids[int(np.argmin(n))]}, and are left out" if not n.all() else ""
    return f"{len(n):,} queries, {n.min():,} to {n.max():,} of {len(numbers):,} things to be found{few}"


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

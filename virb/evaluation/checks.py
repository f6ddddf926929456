"""What must hold of a task's data before anything is computed on them; ``virb validate`` and every evaluation ask here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from virb.contracts.examples import DataContext, Examples, digests_of_targets
from virb.contracts.images import UNREADABLE
from virb.contracts.parts import PIXELWISE
from virb.contracts.task import Task
from virb.errors import DataError
from virb.evaluation.parts import Parts, parts_of

N_LOOKED_AT = 16  # dense targets of a split that are read before anything runs; the others when they are used


def read(
    task: Task, split: str, context: DataContext, *, limit: int | None = None, skip_corrupt: bool = False
) -> Examples:
    """Return at most ``limit`` examples of a split, checked as :func:`checked` and :func:`check_files` do.

    Raises:
        DataAbsent, DataError: the data are not there, or are not what the task declares.
    """
    found = task.examples(context, split)
    task = task.resolved(found)
    examples = checked(task, split, found, limit=limit, skip_corrupt=skip_corrupt)
    if not skip_corrupt:
        check_files(task, split, examples)
    return examples


def notes(task: Task, train: Examples, tests: Sequence[tuple[Task, Examples]]) -> list[str]:
    """Return what a user should know of the data of tasks that share a train split, a sentence each."""
    found = []
    for of, split, examples in [(task, "train", train), *((of, "test", test) for of, test in tests)]:
        if examples.accounting is not None and not examples.accounting.is_whole:
            found.append(f"{of.name}: {split}: {examples.accounting.line()}.")
        twice = contradiction(examples) if parts_of(of).target == "class" else ""
        if twice:
            found.append(f"{of.name}: {split}: {twice}.")
    found += [check_splits(of, train, test) for of, test in tests]
    found += [check_groups(of, train, test) for of, test in tests]
    return [note for note in found if note]


def checked(
    task: Task, split: str, examples: Examples, *, limit: int | None = None, skip_corrupt: bool = False
) -> Examples:
    """Return at most ``limit`` of the ``examples``, if all are what the task declares.

    Dense targets are lazy: some of them, evenly spread, are looked at now, and each when it is first used.

    Args:
        skip_corrupt: leave what cannot be read, or is not as declared, to be found one by one and left out.

    Raises:
        DataError: another number of frames, files that cannot be read, or targets that are not what the task declares.
    """
    where = f"{task.name}/{split}"
    parts = parts_of(task)
    if examples.n_frames != task.n_frames:
        raise DataError(f"{where}: examples have {examples.n_frames} frames; the task declares {task.n_frames}.")
    if parts.target not in PIXELWISE:
        check_labels(parts, where, examples, is_train=split == "train")
    if examples.tree is not None and (parts.target != "class" or examples.tree.n_classes != task.n_classes):
        raise DataError(
            f"{where}: the label tree is of {examples.tree.n_classes:,} classes; the task has {task.n_classes:,}"
            + (
                "."
                if parts.target == "class"
                else f", and its targets are {parts.target}: expected one class an example."
            )
        )
    examples = examples.limited(limit)
    if parts.target in PIXELWISE:
        examples = replace(examples, targets=CheckedTargets(parts, where, examples))
        if not skip_corrupt:
            for k in spread(len(examples), N_LOOKED_AT):
                examples.targets[k]
    return examples


def check_files(task: Task, split: str, examples: Examples) -> None:
    """Say which image files cannot be read at all, before others are encoded for hours.

    Raises:
        DataError: some cannot.
    """
    rows = np.unique(examples.frames)
    bad = rows[~examples.images.digest_rows(rows).any(axis=1)]
    if len(bad):
        try:
            examples.images.image(int(bad[0]))
        except DataError as error:
            more = f" ({len(bad):,} files of {split} cannot be read; this is the first.)" if len(bad) > 1 else ""
            raise DataError(f"{task.name}: {error}{more}") from error


def check_labels(parts: Parts, where: str, examples: Examples, *, is_train: bool) -> None:
    """Raise DataError unless the targets of whole examples are what the task declares; the first wrong one is named."""
    found, n = np.asarray(examples.targets), parts.task.n_classes
    if parts.target == "class":
        if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer):
            raise DataError(f"{where}: targets must be integers (N,); found {found.dtype} {found.shape}.")
        wrong, expected = np.asarray((found < 0) | (found >= n)), f"0..{n - 1}"
    elif parts.target == "labels":
        if found.ndim != 2 or found.shape[1] != n or not _is_real(found):
            raise DataError(f"{where}: targets must be numbers (N, {n}); found {found.dtype} {found.shape}.")
        wrong, expected = (
            np.asarray(~np.isin(found, (-1, 0, 1)).all(axis=-1)),
            "1 (holds), 0 (does not) and -1 (not known)",
        )
    elif parts.target == "relevance":
        n_axes, shape = (1, "(N,), the number of each thing") if is_train else (2, "(N, M), how relevant each thing is")
        if found.ndim != n_axes or not np.issubdtype(found.dtype, np.integer):
            raise DataError(f"{where}: targets must be integers {shape}; found {found.dtype} {found.shape}.")
        wrong = np.asarray(found < 0) if is_train else np.asarray((found < -1).any(axis=1))
        expected = "0, 1, 2, ..." if is_train else "-1 (does not count), 0 (not relevant), 1, 2, ... (relevant)"
    else:
        wide = (len(found), parts.task.n_out)
        if (found.shape != wide and not (wide[1] == 1 and found.ndim == 1)) or not _is_real(found):
            raise DataError(f"{where}: targets must be numbers {wide}; found {found.dtype} {found.shape}.")
        values = found.reshape(wide).astype(np.float64)
        if np.isnan(values).all(axis=0).any():
            raise DataError(f"{where}: one of the numbers has no target (NaN) in any example.")
        wrong, expected = np.asarray(np.isinf(values).any(axis=1)), "numbers, or NaN for none"
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{where}: {int(wrong.sum()):,} labels lie outside {expected}; the first is {found[first].tolist()} of "
            f"{examples.ids[first]} ({examples.images.describe(int(examples.frames[first, 0]))})."
        )


class CheckedTargets(Sequence[np.ndarray]):
    """Dense targets of which each is checked when it is first read."""

    def __init__(self, parts: Parts, where: str, examples: Examples) -> None:
        self.parts = parts
        self.where = where
        self.examples = examples
        self._is_checked = np.zeros(len(examples), dtype=bool)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[k] for k in range(len(self))[index]]
        k = range(len(self))[int(index)]
        target = np.asarray(self.examples.targets[k])
        if not self._is_checked[k]:
            size = self.examples.images.size(int(self.examples.frames[k, 0]))
            problem = problem_of(self.parts, target, size)
            if problem:
                raise DataError(f"{self.where}: the target of {self.examples.ids[k]} {problem}")
            self._is_checked[k] = True
        return target

    def digest_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return uint8 (n, 32): the digests of the targets ``rows`` (n,)."""
        return digests_of_targets(self.examples.targets, rows)


def problem_of(parts: Parts, target: np.ndarray, size: tuple[int, int]) -> str:
    """Return what is wrong with the target of one image of ``size`` (height, width), in a sentence; else nothing."""
    task, ignore = parts.task, parts.ignore_index
    n_out = task.n_out if parts.target == "map" else 1
    wanted = (*size, n_out) if n_out > 1 else size
    what = "numbers" if parts.target == "map" else "one class a pixel"
    if target.shape != wanted:
        hint = ""
        if target.ndim == 3 and parts.target == "mask":
            hint = " It looks like a picture in colour; a mask holds the number of the class."
        elif target.shape[:2] == size[::-1]:
            hint = " Height and width are exchanged."
        return f"has the shape {target.shape}; expected {what}, {wanted}, the size of its image.{hint}"
    if not _is_real(target):
        return f"holds {target.dtype}; expected {what}."
    if parts.target == "map":
        valid = target[np.isfinite(target)]
        if task.quantity == "depth" and valid.size and valid.min() < 0:
            return f"has the value {valid.min():g}; expected none below 0."
        return ""
    valid = target if ignore is None else target[target != ignore]
    if not np.issubdtype(valid.dtype, np.integer) and valid.dtype != bool:
        if np.isnan(valid).any():
            return (
                "holds NaN; expected one class a pixel. Give pixels without one a number, and say it as ignore_index."
            )
        if (valid != np.floor(valid)).any():
            return f"holds {target.dtype}s that are no whole numbers; expected one class a pixel."
    wrong = valid[(valid < 0) | (valid >= task.n_classes)]
    if wrong.size:
        value = int(wrong.max() if wrong.max() >= task.n_classes else wrong.min())
        return (
            f"has the value {value} in {int((target == value).sum()):,} of its {target.size:,} pixels; expected "
            f"0..{task.n_classes - 1}. If it stands for pixels without a class, say so in the task: "
            f'options={{"ignore_index": {value}}}.'
        )
    return ""


@dataclass(frozen=True)
class Overlap:
    """Images that the splits of a task share: how many of the test images, of how many, and one of them in each."""

    n_shared: int
    n_test: int
    in_train: str
    in_test: str


def overlap(train: Examples, test: Examples) -> Overlap:
    """Return how many images of ``test`` are in ``train`` too, by content."""
    rows = [np.unique(examples.frames) for examples in (train, test)]
    ours, theirs = (
        np.ascontiguousarray(examples.images.digest_rows(part)).view("V32").reshape(-1)
        for part, examples in zip(rows, (train, test), strict=True)
    )
    is_shared = np.isin(theirs, ours) & (theirs != np.void(UNREADABLE))
    if not is_shared.any():
        return Overlap(0, len(rows[1]), "", "")
    first = int(np.flatnonzero(is_shared)[0])
    equal = int(np.flatnonzero(ours == theirs[first])[-1])
    return Overlap(
        int(is_shared.sum()),
        len(rows[1]),
        train.images.describe(int(rows[0][equal])),
        test.images.describe(int(rows[1][first])),
    )


def shared_images(train: Examples, test: Examples) -> int:
    """Return how many images of ``test`` are in ``train`` too, by content."""
    return overlap(train, test).n_shared


def check_splits(task: Task, train: Examples, test: Examples) -> str:
    """Return what a user should know of images that are in both splits; nothing where there are none.

    Pictures of few kinds can be equal by right (flat colours, digits of a font), so it is said and counted, in the record
    too, and not refused.
    """
    found = overlap(train, test)
    if not found.n_shared:
        return ""
    if found.n_shared == found.n_test:
        return (
            f"{task.name}: ALL {found.n_test:,} test images are in train too, as {found.in_test}: the score says what the "
            "head remembers. If that is not meant, give the task a test split of other images."
        )
    return (
        f"{task.name}: {found.n_shared:,} of the {found.n_test:,} images of test are in train too; the first is "
        f"{found.in_test}, equal to {found.in_train}. The score counts them."
    )


def check_groups(task: Task, train: Examples, test: Examples) -> str:
    """Return what a user should know of groups (a video, a patient) that are on both sides; nothing where there are none.

    Official splits have some by right, so it is said and counted, and not refused.
    """
    if train.groups is None or test.groups is None:
        return ""
    ours = set(map(str, train.groups))
    shared = [str(name) for name in test.groups if str(name) in ours]
    if not shared:
        return ""
    return (
        f"{task.name}: {len(shared):,} of the {len(test):,} test examples are of groups that train has too, as "
        f"{shared[0]!r}: the score may say what the head remembers of them."
    )


def account(train: Examples, test: Examples) -> dict[str, Any]:
    """Return what a record keeps of how the data were read: what became of every file, and the images in both splits."""
    found: dict[str, Any] = {"shared_images": shared_images(train, test)}
    for split, examples in (("train", train), ("test", test)):
        if examples.accounting is not None:
            found[split] = examples.accounting.as_dict()
    return found


def contradiction(examples: Examples) -> str:
    """Return what a user should know of single images that have two classes; nothing where there are none."""
    labels = examples.targets
    if (
        examples.n_frames != 1
        or not isinstance(labels, np.ndarray)
        or labels.ndim != 1
        or not np.issubdtype(labels.dtype, np.integer)
    ):
        return ""
    rows = np.ascontiguousarray(examples.images.digest_rows(examples.frames[:, 0]))
    first, group = _alike(rows)
    other = (labels != labels[first[group]]) & rows.any(axis=1)
    if not other.any():
        return ""
    n_twice, row = len(np.unique(group[other])), int(np.flatnonzero(other)[0])
    return (
        f"{n_twice:,} image{'s have' if n_twice > 1 else ' has'} two classes, as {examples.ids[int(first[group[row]])]} and "
        f"{examples.ids[row]}, which are equal"
    )


def _alike(digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row of each kind of equal digests, uint8 (n, 32), and the kind of every row."""
    whole = digests.view(f"V{digests.shape[1]}").reshape(-1)
    _, first, group = np.unique(whole, return_index=True, return_inverse=True)
    return first, group


def spread(n: int, n_wanted: int) -> list[int]:
    """Return at most ``n_wanted`` of ``range(n)``, evenly spread, the first and the last among them."""
    return sorted({int(k) for k in np.linspace(0, n - 1, min(n, n_wanted))})


def _is_real(array: np.ndarray) -> bool:
    return array.dtype == bool or (np.issubdtype(array.dtype, np.number) and not np.iscomplexobj(array))

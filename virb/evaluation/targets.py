"""The targets of image-level tasks, checked once where they enter."""

from __future__ import annotations

import numpy as np

from virb.contracts.examples import Examples
from virb.contracts.task import Task
from virb.errors import DataError
from virb.evaluation.parts import parts_of


def check_targets(task: Task, split: str, examples: Examples) -> str:
    """Check that every target of an image-level task is what the task declares, and say what they are.

    Raises:
        DataError: they have another shape or type, or some lie outside what is declared; the text names the first.
    """
    parts = parts_of(task)
    if parts.is_pixelwise:
        return ""  # checked one by one as they are read
    found, where = np.asarray(examples.targets), f"{task.name}/{split}"
    what = f"found {found.dtype} of shape {found.shape}"
    if parts.target == "number":
        shapes = [(len(examples), task.n_out)] + [(len(examples),)] * (task.n_out == 1)
        if found.shape not in shapes or not np.issubdtype(found.dtype, np.number):
            raise DataError(f"{where}: targets must be numbers of shape {' or '.join(map(str, shapes))}; {what}.")
        missing = np.isnan(found.reshape(len(examples), -1).astype(np.float64))
        wrong = np.flatnonzero(np.isinf(found.reshape(len(examples), -1).astype(np.float64)).any(1))
        if missing.all(axis=0).any():
            raise DataError(f"{where}: one of the numbers has no target (NaN) in any example.")
        declared = "finite numbers, or NaN where there is no target"
    else:
        is_class = parts.target == "class"
        shape = (len(examples),) if is_class else (len(examples), task.n_classes)
        if found.shape != shape or not np.issubdtype(found.dtype, np.integer):
            raise DataError(f"{where}: targets must be integers of shape {shape}; {what}.")
        low, high = (0, task.n_classes - 1) if is_class else (-1, 1)
        wrong = np.flatnonzero(((found < low) | (found > high)).reshape(len(examples), -1).any(axis=1))
        declared = f"{low}..{high}"
    if len(wrong):
        first = int(wrong[0])
        raise DataError(
            f"{where}: {len(wrong)} labels lie outside {declared}; the first is {found[first]} of {examples.ids[first]} "
            f"({examples.images.describe(int(examples.frames[first, 0]))})."
        )
    return f"all targets are {declared}"

"""Score a fitted probe on a test split, and keep a handful of its pictures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from virb.contracts.examples import Examples
from virb.contracts.metric import State
from virb.contracts.probe import Predictor, Source
from virb.evaluation.shown import Shown


def score(
    state: State,
    predictor: Predictor,
    source: Source,
    test: Examples,
    progress: Callable[[int, int], None],
    step: int,
    shown: Shown | None,
) -> None:
    """Give the metric the outputs a few examples at a time: those of a large split are not all kept.

    ``shown`` collects pictures; None for tasks that are not pixelwise.
    """
    n_blocks = -(-len(test) // step)
    for k in range(n_blocks):
        rows = np.arange(k * step, min((k + 1) * step, len(test)))

        def report(done: int, total: int, k: int = k) -> None:
            progress(k * total + done, n_blocks * total)

        if shown is not None:
            outputs, targets = predictor.outputs(source, rows, report)
            state.update(outputs, targets)
            shown.add(rows, outputs, targets)
        else:
            state.update(predictor.outputs(source, test.frames[rows], report), np.asarray(test.targets)[rows])

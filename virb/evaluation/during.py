"""Scores of an encoder while it is still being pretrained, for its log."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from virb import registry
from virb.contracts.examples import DataContext
from virb.contracts.task import Task
from virb.evaluation.run import evaluate
from virb.networks.encoder import FrozenEncoder
from virb.pretraining.runs import Look
from virb.pretraining.settings import Settings


def look(settings: Settings) -> Look | None:
    """Return what scores an encoder on the end tasks that ``settings.eval`` names, by task; None if it names none.

    It is `virb evaluate`, one seed, into a folder that goes away. Data lie where the run's own do, or where $VIRB_DATA says.

    Raises:
        VirbError: a task or the probe is unknown, or a task's data are not there.
    """
    names = [name for name in settings.looks if name != "own"]
    if not names:
        return None
    registry.load("probes", settings.eval_probe)
    tasks: list[Task] = [registry.load("tasks", name) for name in names]
    context = DataContext(root=None if settings.data_root is None else Path(settings.data_root))
    for task in tasks:
        for split in ("train", "test"):
            task.examples(context, split)

    def scores(encoder: FrozenEncoder) -> Mapping[str, float]:
        with tempfile.TemporaryDirectory(prefix="virb-eval-") as folder:
            table = evaluate([encoder], tasks, data=context, out=folder, seeds=1, probe=settings.eval_probe)
        return {str(task): float(score) for task, score in zip(table["task"], table["score"], strict=True)}

    return scores

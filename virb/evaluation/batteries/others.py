"""The batteries of an analysis, a checkpoint layout and an executor."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from virb.errors import UsageError
from virb.evaluation.batteries.common import Checks, must


def analysis_checks(analysis: Any) -> Checks:
    """On the smallest table, a sparse one and one of mixed units: it is done, or says why not."""
    import pandas as pd

    from virb.contracts.analysis import run_by_name
    from virb.scores.schema import check_scores

    def table(n_encoders: int, n_tasks: int) -> pd.DataFrame:
        rng = np.random.default_rng(0)
        rows = [(f"e{e}", f"t{t}", float(rng.random())) for e in range(n_encoders) for t in range(n_tasks)]
        return pd.DataFrame(rows, columns=["encoder", "task", "score"])

    def ran(frame: pd.DataFrame) -> str:
        with tempfile.TemporaryDirectory() as folder:
            found = run_by_name(analysis.name, check_scores(frame), Path(folder))
        must(found.status != "failed", found.reason)
        return f"{found.status}{': ' + found.reason if found.reason else ''}"

    return [
        ("the smallest table", lambda: ran(table(1, 1))),
        ("a sparse table", lambda: ran(table(6, 5).sample(frac=0.6, random_state=0))),
        (
            "mixed units",
            lambda: ran(table(6, 5).assign(unit=lambda f: f["task"].map({"t0": "metre"}).fillna("fraction"))),
        ),
    ]


def layout_checks(layout: Any) -> Checks:
    """It knows its anchors, and refuses the names of other networks."""

    def refuses() -> str:
        from virb.networks.backbones import build_backbone

        shapes = {
            name: tuple(value.shape) for name, value in build_backbone("resnet18", width=0.125).state_dict().items()
        }
        for names in ({}, shapes):
            must(layout.recognise(names, names) is None, "it takes a file that is not of its layout.")
        return "other names are refused"

    def anchors() -> str:
        must(bool(layout.anchors), "it names no anchor, a tensor that only its files have.")
        return ", ".join(layout.anchors)

    return [("anchors", anchors), ("it refuses others", refuses)]


def executor_checks(executor: Any) -> Checks:
    """It refuses a place where it cannot run with a sentence."""

    def places() -> str:
        for place in ("", "no-such-place"):
            try:
                executor.check(place)
            except UsageError:
                continue
        return "it says in a sentence where it cannot run"

    return [("places", places)]

"""Analyses side by side in processes: what they write is the same, in the same order, whatever becomes of a process."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from virb import registry
from virb.figures.running import MANY, n_processes_for, running

SCORES = pd.DataFrame({"encoder": ["a", "b"], "task": ["t", "t"], "score": [0.25, 0.5]})
PART = '''"""Counts scores."""
import multiprocessing
import os

from virb.contracts.analysis import Analysis, NotApplicable
from virb.contracts.tables import Tables


def compute(scores, notes):
    {more}
    return Tables({{"": scores.describe()}})


ANALYSIS = Analysis(name="{name}", summary="Counts", source="nobody", compute=compute, draw=lambda tables: {{}},
                    say=lambda tables: [f"{{len(tables[''])}} rows"])
'''
DOES = {
    "counts": "pass",
    "refuses": 'raise NotApplicable("Not these.")',
    "fails": "1 / 0",
    "dies": "if multiprocessing.parent_process() is not None: os._exit(1)",
}


@pytest.fixture
def included(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRB_INCLUDE", "")
    folder = tmp_path / "own"
    folder.mkdir()
    for name, does in DOES.items():
        (folder / f"{name}.py").write_text(PART.format(name=name, more=does))
    registry.include(folder)


@pytest.mark.slow  # processes that start anew
@pytest.mark.parametrize("names", [["counts", "refuses", "fails"], ["counts", "dies", "refuses"]])
def test_what_comes_of_them_does_not_hang_on_where_they_run(included, tmp_path: Path, names: list[str]):
    told, written = [], []
    for n in (1, 2):
        folder = tmp_path / f"out-{n}"
        with running(names, SCORES, folder, n_processes=n) as runs:
            told.append([(run.name, run.status, run.reason, run.lines, run.summary) for run in runs])
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert told[0] == told[1]
    assert [status for _, status, *_ in told[0]] == [
        {"counts": "done", "refuses": "skipped", "fails": "failed", "dies": "done"}[name] for name in names
    ]
    assert written[0] == written[1]
    assert "counts.csv" in written[0]


def test_few_scores_stay_in_this_process(monkeypatch):
    monkeypatch.setattr("virb.figures.running.n_cores", lambda: 3)
    assert [n_processes_for(frame) for frame in (None, SCORES, SCORES.iloc[[0] * MANY])] == [1, 1, 3]

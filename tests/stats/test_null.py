"""The null gate: what is printed as .05 is .05 (benchmarks/null.py), and the tests find what is there."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


def gate() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "null.py"
    spec = importlib.util.spec_from_file_location("virb_null_gate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["virb_null_gate"] = module
    spec.loader.exec_module(module)
    return module


GATE = gate()


QUICK = [row for row in GATE.ROWS if row.is_quick]


@pytest.mark.parametrize("row", QUICK, ids=[row.name for row in QUICK])
def test_row(row) -> None:  # type: ignore[no-untyped-def]
    found = GATE.found(row, times=0.5)
    assert found.passes, found


def test_the_gate_fails_a_test_that_rejects_too_often_and_one_that_never_does() -> None:
    too_often = GATE.Row("too often", lambda rng: float(rng.uniform() < 0.2), 300)
    never = GATE.Row("never", lambda rng: 0.0, 300, is_power=True)
    sound = GATE.Row("sound", lambda rng: float(rng.uniform() < 0.05), 300)
    assert not GATE.found(too_often).passes
    assert not GATE.found(never).passes
    assert GATE.found(sound).passes
    assert np.isclose(GATE.found(sound).rate, 0.05, atol=0.04)

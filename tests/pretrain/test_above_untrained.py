"""What methods learn is above an untrained network, at the length that docs/pretraining.md states."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import mean

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "above_untrained.py"


METHODS = (
    "simclr", "moco-v1", "moco-v2", "moco-v3", "swav", "pirl", "byol", "simsiam", "barlow-twins", "vicreg", "dino", "supervised",
)  # fmt: skip
LEAST = 0.03  # of the mean lead; measured with these two seeds: .07 (MoCo v2, DINO, SwAV) to .43 (supervised), seeds apart by .08 at most


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_above_the_floor(method, tmp_path):
    found = tmp_path / "scores.json"
    command = [sys.executable, str(BENCHMARK), "--methods", method, "--seeds", "2", "--scores", str(found)]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    scores = json.loads(found.read_text())
    below, above = ([value for what, value in scores.items() if what.startswith(who)] for who in ("untrained", method))
    assert len(below) == len(above) == 2
    assert mean(above) > mean(below) + LEAST

"""A device to test on: the simulated GPU, and under ``-m gpu`` a real one."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

# A device written in Python needs PyTorch's hooks for one, which the lowest version that virb takes has not.
HAS_HOOKS = hasattr(torch._C, "_acc")
if HAS_HOOKS:
    from simulated_gpu import SimulatedGPU, simulated_gpu


@pytest.fixture
def gpu() -> Iterator[SimulatedGPU]:
    """A simulated GPU."""
    if torch.cuda.is_available():
        pytest.skip("there is a real GPU")
    if not HAS_HOOKS:
        pytest.skip(f"PyTorch {torch.__version__} has no hooks for a device in Python")
    with simulated_gpu() as device:
        yield device


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.gpu)])
def card(request: pytest.FixtureRequest) -> Iterator[str]:
    """ "cuda": the simulated GPU, or a real one."""
    if request.param == "simulated":
        request.getfixturevalue("gpu")
    elif not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    return "cuda"


@pytest.fixture
def keep(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Keep numbers of a test as a line of JSON in the file $VIRB_GPU_ROWS, for benchmarks/gpu.py."""

    def write(**values: Any) -> None:
        if place := os.environ.get("VIRB_GPU_ROWS"):
            with Path(place).open("a") as file:
                file.write(json.dumps({"row": request.node.name, **values}) + "\n")

    return write

"""Compile the plain loops of part b into the shared cache, while part a keeps the card little busy."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from on_gpu.encoding import BATCH, DTYPES, NETWORKS, plain

if __name__ == "__main__":
    for name in NETWORKS:
        for dtype in DTYPES:
            plain(name, dtype, torch.device("cuda"), is_compiled=True)(torch.zeros(BATCH, 3, 224, 224, device="cuda"))

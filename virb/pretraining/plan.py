"""How long and how a run trains: numbers that are checked before anything is done."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch

from virb.contracts.method import Training
from virb.errors import UsageError
from virb.system import devices
from virb.training import distributed

PRECISIONS = devices.DTYPES


def stream_seed(seed: int, *keys: int | str) -> int:
    """Return a 63-bit seed for the random stream called ``keys`` of the run ``seed``; the same everywhere."""
    digest = hashlib.sha256("/".join(str(k) for k in (seed, *keys)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


@dataclass(frozen=True)
class Plan:
    """How long and how a run goes. ``lr`` is the peak; counts are in updates, ``checkpoint_s`` in seconds.

    ``batch_size`` counts the images of all processes. ``compile`` has PyTorch compile the encoder's forward pass; ``recompute``
    has its blocks computed a second time for their gradient, which takes less memory.
    """

    training: Training
    lr: float
    steps: int
    batch_size: int
    seed: int = 0
    device: str = "cpu"
    precision: str = "fp32"
    accumulate: int = 1
    checkpoint_s: float = 60.0
    checkpoint_steps: int = 0
    log_steps: int = 10
    eval_epochs: float = 0.0  # how often the run looks at what it makes
    eval_own: bool = False  # whether at nearest neighbours among its own images
    snapshots: tuple[int, ...] = ()  # the updates after which it is also written down
    ema: float = 0.0  # decay of the average of the weights that is kept; 0: the weights themselves are
    knn_images: int = 2000
    knn_size: int = 64  # side in pixels at which the network is used afterwards
    compile: bool = False
    recompute: bool = False

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UsageError(f"Unknown precision {self.precision!r}; expected one of {', '.join(PRECISIONS)}.")
        if self.precision in ("fp16", "tf32") and torch.device(self.device).type == "cpu":
            raise UsageError(f"{self.precision} trains on a GPU only; on a CPU choose --precision bf16 or fp32.")
        if self.accumulate < 1 or self.batch_size % self.accumulate:
            raise UsageError(f"--accumulate {self.accumulate} does not divide the batch of {self.batch_size}.")
        if self.recompute and (self.compile or self.accumulate > 1):
            other = "--compile" if self.compile else "--accumulate, which computes the whole encoder a second time"
            raise UsageError(f"--recompute does not go with {other}.")
        if self.accumulate > 1 and self.compile:
            raise UsageError(
                "--compile and --accumulate exclude each other: parts are computed a second time, uncompiled."
            )
        share, rest = divmod(self.batch_size // self.accumulate, distributed.world_size())
        if rest or not share:
            parts = f" in {self.accumulate} parts" if self.accumulate > 1 else ""
            raise UsageError(
                f"{distributed.world_size()} processes cannot share a batch of {self.batch_size}{parts} equally; choose "
                f"a --batch-size that is a multiple of {distributed.world_size() * self.accumulate}."
            )

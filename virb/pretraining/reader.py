"""The images of every update, read ahead while others train; which ones is a function of (seed, epoch)."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch

from virb.pretraining.data import PretrainingData
from virb.pretraining.pixels import Padded
from virb.pretraining.plan import Plan, stream_seed
from virb.training import distributed

#: Batches read ahead of a GPU, which must not wait for a slow one: of 1,024 images at 256 px each takes 0.2 GB of the host's
#: memory. A CPU that trains is slower than any disk.
AHEAD = 4
Images = np.ndarray | Padded


def batches(data: PretrainingData, plan: Plan, step: int) -> Generator[tuple[np.ndarray, Images]]:
    """Yield positions (n,) and images of every update from ``step`` on; of several processes each gets its slice.

    An epoch is a fresh permutation, its last partial batch dropped. Close the iterator to stop reading.
    """
    per_epoch = len(data) // plan.batch_size

    @lru_cache(maxsize=1)
    def order(epoch: int) -> np.ndarray:
        return np.random.Generator(np.random.PCG64(stream_seed(plan.seed, "order", epoch))).permutation(len(data))

    def fetch(step: int) -> tuple[np.ndarray, Images]:
        epoch, place = divmod(step, per_epoch)
        whole = order(epoch)[place * plan.batch_size : (place + 1) * plan.batch_size]
        index = whole.reshape(distributed.world_size(), -1)[distributed.rank()]
        return index, data.batch(index)

    ahead = 1 if torch.device(plan.device).type == "cpu" else AHEAD
    pool = ThreadPoolExecutor(1)
    upcoming: deque[Future[tuple[np.ndarray, Images]]] = deque()
    try:
        for ready in range(step, plan.steps):
            while ready + len(upcoming) < min(ready + 1 + ahead, plan.steps):
                upcoming.append(pool.submit(fetch, ready + len(upcoming)))
            yield upcoming.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)

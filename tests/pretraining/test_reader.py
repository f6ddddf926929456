"""Batches are read ahead, in the order of the seed, and no further than they are needed."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from virb.contracts.method import Training
from virb.pretraining import reader
from virb.pretraining.plan import Plan

PLAN = Plan(Training("sgd", lr=0.1, batch_size=4, epochs=1), lr=0.1, steps=7, batch_size=4)


class Images:
    """Ten images whose pixels are their places; it says which batches were asked for."""

    def __init__(self, bad: int | None = None) -> None:
        self.asked: list[list[int]] = []
        self.bad = bad
        self.read = threading.Semaphore(0)

    def __len__(self) -> int:
        return 10

    def batch(self, index: np.ndarray) -> np.ndarray:
        self.asked.append(index.tolist())
        self.read.release()
        if len(self.asked) - 1 == self.bad:
            raise OSError("cannot be read")
        return index[:, None]


def test_epochs_are_permutations_and_a_run_goes_on_in_the_middle_of_one() -> None:
    whole = [index.tolist() for index, images in reader.batches(Images(), PLAN, 0)]
    assert len(whole) == 7
    for epoch in range(3):  # two batches of four of ten images
        assert len({*whole[2 * epoch], *whole[2 * epoch + 1]}) == 8
    assert whole[0] != whole[2]
    halves = [index.tolist() for index, _ in reader.batches(Images(), dataclasses.replace(PLAN, batch_size=5), 0)]
    for epoch in range(3):
        assert sorted(halves[2 * epoch] + halves[2 * epoch + 1]) == list(range(10))
    assert [index.tolist() for index, images in reader.batches(Images(), PLAN, 3)] == whole[3:]
    other = [index.tolist() for index, _ in reader.batches(Images(), dataclasses.replace(PLAN, seed=1), 0)]
    assert other != whole


@pytest.mark.parametrize(("device", "ahead"), [("cpu", 1), ("cuda", reader.AHEAD)])
def test_so_many_batches_are_read_ahead(device: str, ahead: int) -> None:
    images = Images()
    with contextlib.closing(reader.batches(images, dataclasses.replace(PLAN, device=device), 0)) as read:
        next(read)
        for _ in range(1 + ahead):
            assert images.read.acquire(timeout=20)
        assert not images.read.acquire(timeout=0.05)
    assert len(images.asked) == 1 + ahead


def test_what_cannot_be_read_is_raised_where_it_is_needed() -> None:
    images = Images(bad=2)
    read = reader.batches(images, PLAN, 0)
    next(read), next(read)
    with pytest.raises(OSError, match="cannot be read"):
        next(read)


def test_processes_share_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [index.tolist() for index, _ in reader.batches(Images(), PLAN, 0)]
    parts = []
    for rank in range(2):
        monkeypatch.setattr(reader, "distributed", SimpleNamespace(world_size=lambda: 2, rank=lambda rank=rank: rank))
        parts.append([index.tolist() for index, _ in reader.batches(Images(), PLAN, 0)])
    assert [a + b for a, b in zip(*parts, strict=True)] == whole

"""Walking through a mapped file gives its memory back and loses nothing that was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from virb import mapped


def resident_kb(path: Path) -> int:
    """Return how much of the file is in this process's memory."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    for line in lines:
        if line.endswith(str(path)):
            return next(int(entry.split()[1]) for entry in lines if entry.startswith("Rss:"))
    raise AssertionError(f"{path} is not mapped")


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's account of mapped files")
def test_what_a_walk_has_passed_is_given_back_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "KEPT_BYTES", 1 << 20)
    path = tmp_path / "rows.npy"
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(64, 64 << 10))  # 16 MB
    walk = mapped.Walk(array)
    most = 0
    for k in range(len(array)):
        array[k] = k
        walk.rows(1, are_adjacent=True)
        most = max(most, resident_kb(path))
    assert most < 4 << 10
    assert [float(row[-1]) for row in array] == list(range(64))
    assert resident_kb(path) > most  # that reading did not count
    mapped.forget(array)
    assert resident_kb(path) == 0


def test_arrays_in_memory_are_left_alone():
    array = np.arange(3)
    mapped.forget(array)
    mapped.Walk(array).rows(10**9)
    assert array.tolist() == [0, 1, 2]

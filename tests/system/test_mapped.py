"""Walking through a mapped file gives its memory back and loses nothing that was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from virb.system import mapped


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
        walk.rows(1)
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


@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_are_those_of_the_array_wherever_it_lies(tmp_path, order):
    path = tmp_path / "rows.npy"
    whole = np.arange(30 * 4 * 5, dtype=np.float16).reshape(30, 4, 5)
    np.save(path, np.asarray(whole, order=order))
    index = np.array([[7, 0], [29, 7]])
    mapped_array = np.load(path, mmap_mode="r")
    for array in (whole, mapped_array, mapped_array[:], mapped_array[::-1][::-1]):
        rows = mapped.Rows(array)
        assert np.array_equal(rows.take(index), whole[index])
        assert rows.take(index).dtype == np.float16
        assert rows.take(np.array([], int)).shape == (0, 4, 5)
        with pytest.raises(IndexError):
            rows.take(np.array([30]))
    part = mapped_array[10:]  # not where the file begins
    assert np.array_equal(mapped.Rows(part).take(index[0]), whole[10:][index[0]])


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's account of mapped files")
def test_rows_read_here_and_there_map_nothing(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.zeros((4096, 1024), np.float32))  # 16 MB
    array = np.load(path, mmap_mode="r")
    before = resident_kb(path)
    mapped.Rows(array).take(np.random.default_rng(0).integers(0, 4096, 500))
    assert resident_kb(path) == before


def test_a_file_that_was_cut_short_is_said(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.zeros((100, 8), np.float32))
    rows = mapped.Rows(np.load(path, mmap_mode="r"))
    with path.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(OSError, match=r"rows\.npy ends before row 99"):
        rows.take(np.array([0, 99]))

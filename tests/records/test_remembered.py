"""What is remembered of records: used while files and folders stay as they are, and never where there is a doubt."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from virb.records import store as stores
from virb.records.remembered import Known, Remembered
from virb.records.store import ResultStore
from virb.system import files

PLACE = "mini-a/gradient-seed0.json"
KNOWN = Known("f" * 64, "t" * 64, {"encoder": "one", "score": 0.5, "family": None})
OF_ONE = {"name": "one", "sha256": "1" * 64, "weights_sha256": "2" * 64}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an encoder with one record, whose files count as settled at once."""
    monkeypatch.setenv("VIRB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "SETTLED_NS", -(10**12))
    record = tmp_path / "results" / "one" / PLACE
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    record.with_suffix(".npz").write_bytes(b"predictions")
    return tmp_path / "results" / "one"


def keep(folder: Path, place: str = PLACE, known: Known = KNOWN) -> Remembered:
    found = Remembered(folder)
    task, name = place.split("/")
    found.keep(place, known)
    found.keep_whose(task, name, files.settled_state(folder / task), {**OF_ONE, "meta": {"more": 1}})
    return found


def test_what_was_kept_comes_back_in_its_order(folder: Path) -> None:
    keep(folder).save()
    found = Remembered(folder)
    assert found.whose("mini-a") == OF_ONE
    assert found.known(PLACE) == KNOWN
    row = found.known(PLACE)
    assert row is not None
    assert list(row.row) == list(KNOWN.row)
    assert (found.whose("mini-b"), found.known("mini-b/gradient-seed0.json")) == (None, None)


@pytest.mark.parametrize("ending", [".json", ".npz"])
def test_a_file_of_equal_size_whose_time_was_put_back_is_another(folder: Path, ending: str) -> None:
    keep(folder).save()
    changed = (folder / PLACE).with_suffix(ending)
    was = changed.stat()
    changed.write_bytes(changed.read_bytes()[::-1])
    os.utime(changed, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert (changed.stat().st_size, changed.stat().st_mtime_ns) == (was.st_size, was.st_mtime_ns)
    found = Remembered(folder)
    assert (found.whose("mini-a") is None) == (ending == ".json")
    assert found.known(PLACE) is None


@pytest.mark.parametrize("change", ["comes", "goes", "is replaced"])
def test_a_folder_in_which_something_came_or_went_is_looked_through_again(folder: Path, change: str) -> None:
    keep(folder).save()
    record = folder / PLACE
    if change == "comes":
        record.with_name("a-seed0.json").write_text("{}")
    elif change == "goes":
        record.unlink()
    else:
        (folder / "new").write_text("{}")
        os.replace(folder / "new", record)
    assert Remembered(folder).whose("mini-a") is None


def test_what_changed_a_moment_ago_is_not_remembered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SETTLED_NS", 10**12)
    keep(folder).save()
    assert not (folder.parents[1] / "cache").exists()


def test_two_that_write_at_once_leave_a_whole_memory_of_one_of_them(folder: Path) -> None:
    other = "mini-b/gradient-seed0.json"
    (folder / "mini-b").mkdir()
    for ending in (".json", ".npz"):
        (folder / other).with_suffix(ending).write_text("{}")
    one, two = keep(folder), keep(folder, other)
    one.save()
    two.save()
    found = Remembered(folder)
    assert (found.known(PLACE), found.known(other)) == (None, KNOWN)  # what was lost is read again
    assert (found.whose("mini-a"), found.whose("mini-b")) == (None, OF_ONE)


def test_of_records_that_are_gone_and_of_two_kinds_of_rows(folder: Path) -> None:
    other = "mini-b/gradient-seed0.json"
    (folder / "mini-b").mkdir()
    for ending in (".json", ".npz"):
        (folder / other).with_suffix(ending).write_text("{}")
    found = keep(folder)
    wider = Known("e" * 64, "s" * 64, {**KNOWN.row, "accuracy@kind": 0.25})
    found.keep(other, wider)
    found.save()
    again = Remembered(folder)
    assert (again.known(PLACE), again.known(other)) == (KNOWN, wider)
    (folder / PLACE).unlink()
    again.keep(other, KNOWN)
    again.save()
    (memory,) = (folder.parents[1] / "cache" / "records").iterdir()
    content = json.loads(memory.read_bytes().split(b"\n", 2)[2])
    assert list(content["known"]) == [other]
    assert Remembered(folder).known(other) == KNOWN


def test_a_tasks_folder_is_listed_once_and_again_while_a_killed_run_left_something(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []
    names, whole = stores._names, {"encoder": OF_ONE}
    monkeypatch.setattr(stores, "_names", lambda place: listed.append(Path(place).name) or names(place))
    monkeypatch.setattr(ResultStore, "_read_record", lambda self, path, now: whole)

    def seen() -> list[str]:
        listed.clear()
        store = ResultStore(folder.parent)
        store.check_identity("one", OF_ONE["sha256"])
        store.save_remembered()
        store.collect_leftovers()
        return list(listed)

    assert seen() == ["one", "mini-a"]
    assert seen() == ["one"]
    left = folder / "mini-a" / ".gradient-seed1.json.x.tmp"
    left.write_text("{")
    assert [seen(), seen()] == [["one", "mini-a"]] * 2
    os.utime(left, (0, 0))
    seen()
    assert not left.exists()
    assert [seen(), seen()] == [["one", "mini-a"], ["one"]]

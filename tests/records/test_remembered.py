"""What is remembered of records: used while files and folders stay as they are, and never where there is a doubt."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from virb.records import store as stores
from virb.records.remembered import Remembered
from virb.records.store import ResultStore
from virb.system import files

PLACE = "mini-a/gradient-seed0.json"
OF = ("f" * 64, "t" * 64)  # a fingerprint and what was told
ROW = {"encoder": "one", "score": 0.5, "family": None}
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


def keep(folder: Path, place: str = PLACE) -> Remembered:
    found = Remembered(folder)
    task, name = place.split("/")
    found.keep(place, *OF, ROW)
    found.keep_whose(task, name, files.settled_state(folder / task), {**OF_ONE, "meta": {"more": 1}})
    return found


def test_what_was_kept_comes_back_in_its_order(folder: Path) -> None:
    keep(folder).save()
    found = Remembered(folder)
    assert found.whose("mini-a") == OF_ONE
    row = found.row(PLACE, *OF)
    assert row == ROW
    assert list(row) == list(ROW)
    assert (found.whose("mini-b"), found.row("mini-b/gradient-seed0.json", *OF)) == (None, None)


def test_of_another_fingerprint_or_description_nothing_is_known(folder: Path) -> None:
    keep(folder).save()
    found = Remembered(folder)
    assert found.row(PLACE, OF[0], "u" * 64) is None
    assert found.row(PLACE, "g" * 64, OF[1]) is None
    assert found.row(PLACE, *OF) == ROW


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
    assert found.row(PLACE, *OF) is None


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
    assert (found.row(PLACE, *OF), found.row(other, *OF)) == (None, ROW)  # what was lost is read again
    assert (found.whose("mini-a"), found.whose("mini-b")) == (None, OF_ONE)


def test_of_records_that_are_gone_and_of_two_kinds_of_rows(folder: Path) -> None:
    other = "mini-b/gradient-seed0.json"
    (folder / "mini-b").mkdir()
    for ending in (".json", ".npz"):
        (folder / other).with_suffix(ending).write_text("{}")
    found = keep(folder)
    wider = {**ROW, "score": 1.0, "accuracy@kind": 0.25}
    found.keep(other, *OF, wider)
    found.save()
    again = Remembered(folder)
    assert (again.row(PLACE, *OF), again.row(other, *OF)) == (ROW, wider)
    (folder / PLACE).unlink()
    again.keep(other, *OF, ROW)
    again.save()
    (memory,) = (folder.parents[1] / "cache" / "records").iterdir()
    content = json.loads(memory.read_bytes().split(b"\n", 2)[2])
    assert list(content["known"]) == [other]
    assert content["owners"] == []  # of what is gone
    assert Remembered(folder).row(other, *OF) == ROW


def test_rows_of_one_kind_come_back_as_they_were(folder: Path) -> None:
    rows: list[dict[str, object]] = [
        {"encoder": "one", "seed": 0, "score": 0.5, "n": 1, "family": None, "is": True},
        {"encoder": "one", "seed": 1, "score": 0.25, "n": 1.0, "family": None, "is": 1},
        {"encoder": "one", "seed": 2, "score": 0.125, "n": 1, "family": None, "is": True},
    ]
    found, places = Remembered(folder), [f"mini-a/gradient-seed{k}.json" for k in range(3)]
    for place, row in zip(places, rows, strict=True):
        for ending in (".json", ".npz"):
            (folder / place).with_suffix(ending).write_text("{}")
        found.keep(place, *OF, row)
    found.save()
    for memory in (found, Remembered(folder)):  # 1, 1.0 and True are three values, and columns keep their order
        assert [repr(memory.row(place, *OF)) for place in places] == [repr(row) for row in rows]


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

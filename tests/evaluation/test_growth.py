"""A finished evaluation reads what it was asked for, once, however much else the store holds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.evaluation.test_plan import run, task
from virb.errors import UsageError
from virb.records import record as schema
from virb.records.store import ResultStore


def test_a_finished_evaluation_reads_the_files_of_the_jobs_asked_for_and_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, one, two = tmp_path / "out", task(), task("other", seed=1)
    encoders = ["pixels:4:size=8", "pixels:2:size=8"]
    for of in (one, two):
        assert run(out, of, encoders=encoders)[0].n_run == 2
    read: list[Path] = []

    def counted(path: Path, *, most: int) -> bytes:
        read.append(Path(path))
        return read_bytes(path, most=most)

    read_bytes = schema.read_bytes
    monkeypatch.setattr(schema, "read_bytes", counted)
    outcome, _ = run(out, one, encoders=encoders[:1])
    assert (outcome.n_run, outcome.n_present, len(outcome.table)) == (0, 1, 1)
    assert {path.parent.parent.name for path in read} == {"pixels-4-size8"}  # whose records of any task tell who it is
    assert sum(path.suffix == ".npz" for path in read) == 1
    assert len(read) == len(set(read)) == 3


def test_what_was_read_once_is_read_again_when_it_changed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, task())
    store = ResultStore(out)
    (path,) = out.rglob("*.json")
    assert store.read(path) == store.read(path) is not None
    predictions = path.with_suffix(".npz")
    whole = predictions.read_bytes()
    predictions.write_bytes(bytes(len(whole)))
    assert store.read(path) is None
    predictions.write_bytes(whole)
    assert store.read(path) is not None
    text = path.read_bytes()
    path.write_bytes(text.replace(b'"n_test": 10', b'"n_test": 11'))
    assert store.read(path) is None


def test_records_of_another_network_under_the_name_are_found_behind_a_damaged_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, task())
    (path,) = out.rglob("*.json")
    shutil.copy(path, path.with_name("gradient-seed0.json"))
    path.with_name("a-seed0.json").write_text("{")
    with pytest.raises(UsageError, match="another encoder of the same name"):
        ResultStore(out).check_identity("pixels-4-size8", "0" * 64)

"""A finished evaluation reads what it was asked for, once, however much else the store holds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.evaluation.test_plan import run, task
from virb.contracts.examples import DataContext
from virb.contracts.options import RunOptions
from virb.errors import UsageError
from virb.evaluation import run as evaluation
from virb.evaluation.run import Meta
from virb.records import record as schema
from virb.records.store import ResultStore
from virb.system import files


def counting(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list that takes the path of every file of a record or of predictions that is read from now on."""
    read: list[Path] = []

    def counted(path: Path, *, most: int) -> bytes:
        read.append(Path(path))
        return read_bytes(path, most=most)

    read_bytes = schema.read_bytes
    monkeypatch.setattr(schema, "read_bytes", counted)
    return read


def test_a_finished_evaluation_reads_the_files_of_the_jobs_asked_for_and_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, one, two = tmp_path / "out", task(), task("other", seed=1)
    encoders = ["pixels:4:size=8", "pixels:2:size=8"]
    for of in (one, two):
        assert run(out, of, encoders=encoders)[0].n_run == 2
    read = counting(monkeypatch)
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


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Callable[..., pd.DataFrame], list[Path]]:
    """A finished evaluation that was asked for a second time, how to ask once more, and what is read from then on."""
    monkeypatch.setenv("VIRB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "SETTLED_NS", 0)  # as if the files were older than some seconds
    out = tmp_path / "out"

    def again(n_run: int = 0, meta: Meta | None = None) -> pd.DataFrame:
        options = RunOptions(out=str(out), probe="knn", device="cpu")
        outcome = evaluation.run("pixels:4:size=8", task(), context=DataContext(), options=options, meta=meta)
        assert (outcome.n_run, outcome.n_present) == (n_run, 1 - n_run)
        return outcome.table

    again(1)
    again()
    return again, counting(monkeypatch)


def test_what_was_found_is_remembered(finished: tuple[Callable[..., pd.DataFrame], list[Path]], tmp_path: Path) -> None:
    again, read = finished
    table = again()
    assert not read
    pd.testing.assert_frame_equal(table, ResultStore(tmp_path / "out").table(), check_like=True)


@pytest.mark.parametrize("what", ["record", "predictions"])
def test_what_was_remembered_of_files_that_changed_counts_for_nothing(
    finished: tuple[Callable[..., pd.DataFrame], list[Path]], tmp_path: Path, what: str
) -> None:
    again, _ = finished
    (path,) = (tmp_path / "out").rglob("*.json")
    changed = path.with_suffix(".npz") if what == "predictions" else path
    content = changed.read_bytes()
    changed.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])  # of the size that it was
    again(1)
    assert len(again()) == 1


def test_what_was_remembered_is_of_one_way_of_asking(
    finished: tuple[Callable[..., pd.DataFrame], list[Path]], tmp_path: Path
) -> None:
    again, read = finished
    assert again(meta={"pixels-4-size8": {"family": "grids"}})["family"].tolist() == ["grids"]
    assert read
    (path,) = (tmp_path / "out").rglob("*.json")
    assert schema.read(path)["encoder"]["declared"] == {"family": "grids"}
    assert again()["family"].tolist() == ["grids"]


def test_a_memory_that_is_damaged_or_gone_is_made_again(
    finished: tuple[Callable[..., pd.DataFrame], list[Path]], tmp_path: Path
) -> None:
    again, read = finished
    table = again()
    (memory,) = (tmp_path / "cache" / "records").iterdir()
    content = memory.read_bytes()
    for spoiled in (content.replace(b"knn", b"kmn"), content[:100], b"", b"{}"):
        memory.write_bytes(spoiled)
        read.clear()
        pd.testing.assert_frame_equal(again(), table)
        assert read
        read.clear()
        again()
        assert not read
    shutil.rmtree(tmp_path / "cache")
    pd.testing.assert_frame_equal(again(), table)


def test_a_file_that_changed_a_moment_ago_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRB_CACHE", str(tmp_path / "cache"))
    for _ in range(2):
        run(tmp_path / "out", task())
    read = counting(monkeypatch)
    run(tmp_path / "out", task())
    assert read

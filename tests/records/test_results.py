"""Records are whole or absent, and the tidy table is derived from them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from virb.errors import UsageError, VirbError
from virb.records.names import probe_name
from virb.records.store import ResultStore
from virb.system.files import atomic_write


def record(
    encoder="enc",
    task="mini-digits",
    seed=0,
    score=0.5,
    probe="gradient",
    sha="a" * 64,
    category="semantic image-level",
):
    return {
        "encoder": {"name": encoder, "sha256": sha, "arch": "resnet18", "meta": {"method": "simclr", "epochs": 10}},
        "task": {"name": task, "version": 1, "category": category, "metric": "top1", "suite": "mini"},
        "probe": probe,
        "seed": seed,
        "score": score,
        "n_train": 10,
        "n_test": 5,
        "overrides": {},
    }


def test_a_record_comes_back_with_its_predictions(tmp_path):
    store = ResultStore(tmp_path)
    path = store.write(record(), {"ids": np.array(["a", "b"]), "prediction": np.array([1, 2])})
    assert path == tmp_path / "enc" / "mini-digits" / "gradient-seed0.json"
    assert store.read(path)["score"] == 0.5
    saved = np.load(path.with_suffix(".npz"), allow_pickle=False)
    assert saved["ids"].tolist() == ["a", "b"]


def test_what_one_process_checked_another_takes_over_until_a_file_changes(tmp_path, monkeypatch):
    first, second = ResultStore(tmp_path), ResultStore(tmp_path)
    path = first.write(record(), {})
    first.check(path)
    second.whole |= first.whole
    read = []
    monkeypatch.setattr(second, "load", read.append)
    second.check(path)
    assert read == []
    path.with_suffix(".npz").write_bytes(b"another job's")
    second.check(path)
    assert read == [path]


def test_the_table_is_sorted_by_category_and_holds_the_meta(tmp_path):
    store = ResultStore(tmp_path)
    store.write(record(task="t10", category="structural pixelwise"), {})
    store.write(record(task="t9", category="structural pixelwise"), {})
    store.write(record(task="z", category="semantic image-level", seed=1), {})
    table = store.table()
    assert table["task"].tolist() == ["z", "t9", "t10"]
    assert table["method"].tolist() == ["simclr"] * 3
    assert table["dataset"].isna().all()


def test_records_are_read_one_by_one_and_none_is_kept_for_the_table(tmp_path, monkeypatch):
    store = ResultStore(tmp_path)
    for task in ("a", "b", "c"):
        store.write(record(task=task), {})
    read, gone = [], []

    class Kept(dict):
        def __del__(self):
            gone.append(self["task"]["name"])

    def parse(content, path):
        read.append(path)
        assert len(read) - len(gone) <= 2  # this one, and the one before it until it is let go of
        return Kept(json.loads(content))

    monkeypatch.setattr("virb.records.record.parse", parse)
    monkeypatch.setattr("virb.records.store.KEPT_BYTES", 0)
    first = next(ResultStore(tmp_path).records())
    assert [path.parent.name for path in read] == [first["task"]["name"]] == ["a"]
    del first
    table = ResultStore(tmp_path).table()
    assert table["task"].tolist() == ["a", "b", "c"]


def test_a_torn_or_foreign_file_is_not_a_record(tmp_path):
    store = ResultStore(tmp_path)
    path = store.write(record(), {})
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    assert store.read(path) is None
    path.write_text(json.dumps({"schema": "other/1"}))
    assert store.read(path) is None
    with pytest.raises(UsageError, match="holds no records"):
        store.table()


def test_another_encoder_of_the_same_name_is_refused(tmp_path):
    store = ResultStore(tmp_path)
    store.write(record(sha="a" * 64), {})
    store.check_identity("enc", "a" * 64)
    with pytest.raises(
        UsageError, match=r"another encoder of the same name \(sha256 aaaaaaaaaaaa there, bbbbbbbbbbbb now\)"
    ):
        store.check_identity("enc", "b" * 64)


def test_a_score_that_is_not_a_number_is_never_written(tmp_path):
    store = ResultStore(tmp_path)
    with pytest.raises(ValueError, match="JSON"):
        store.write(record(score=float("nan")), {})
    assert list(store.records()) == []


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with atomic_write(path) as file:
            file.write(b"new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_unwritable_places_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(VirbError, match=r"Results cannot be written to .*file/results"):
        ResultStore(tmp_path / "file" / "results").check_writable()
    with pytest.raises(VirbError, match="Cannot write"), atomic_write(tmp_path / "file" / "x"):
        pass


def test_overrides_are_part_of_the_probes_name():
    assert probe_name("gradient", {}) == "gradient"
    assert probe_name("gradient", {"limit": 5, "epochs": 2}) == "gradient+epochs=2+limit=5"

"""Results of several folders in one: whole records only, none overwritten; and a table as Parquet."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from tests.report.conftest import predictions, record
from virb.cli import main
from virb.errors import UsageError
from virb.records.merge import merge
from virb.records.store import ResultStore


def write(root, encoder: str, tasks=("things", "parts"), **given):
    store = ResultStore(root)
    for task in tasks:
        store.write(record(encoder, task, 0, 0.5, **given), predictions(task, encoder, 0))
    return store


def names(root) -> list[tuple[str, str]]:
    return [(r["encoder"]["name"], r["task"]["name"]) for r in ResultStore(root).records()]


def test_whole_records_of_all_folders_come_together(tmp_path):
    write(tmp_path / "a", "first")
    write(tmp_path / "b", "second")
    done = merge(tmp_path / "all", [tmp_path / "a", tmp_path / "b"])
    assert (done.n_copied, done.n_there, done.left_out) == (4, 0, [])
    assert names(tmp_path / "all") == [
        ("first", "parts"),
        ("first", "things"),
        ("second", "parts"),
        ("second", "things"),
    ]
    for path in (tmp_path / "a").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "all" / path.relative_to(tmp_path / "a")).read_bytes()
    assert merge(tmp_path / "all", [tmp_path / "a"]).n_there == 2


def test_what_contradicts_or_is_damaged_is_named_and_nothing_is_overwritten(tmp_path):
    write(tmp_path / "a", "first")
    write(tmp_path / "all", "first", tasks=("things",), n_train=99)
    (kept,) = (tmp_path / "all").rglob("*.json")
    before = kept.read_bytes()
    other = write(tmp_path / "b", "third", tasks=("depth", "things"))
    damaged = other.root / "third" / "depth" / "gradient-seed0.json"
    damaged.write_text("{")
    content = json.loads((tmp_path / "a" / "first" / "things" / "gradient-seed0.json").read_text())
    content["score"] = 0.9
    ResultStore(tmp_path / "c").write(
        {k: v for k, v in content.items() if k != "checksum"}, predictions("things", "first", 0)
    )
    done = merge(tmp_path / "all", [tmp_path / "a", tmp_path / "b", tmp_path / "c"])
    assert kept.read_bytes() == before
    assert ("third", "things") in names(tmp_path / "all")
    assert ("third", "depth") not in names(tmp_path / "all")
    said = "\n".join(done.left_out)
    assert "is there with another score or from other things" in said
    assert str(damaged) in said


def test_another_encoder_under_the_same_name_is_left_out(tmp_path):
    write(tmp_path / "all", "first", tasks=("things",))
    other = record("first", "parts", 0, 0.5)
    other["encoder"]["sha256"] = "another"
    ResultStore(tmp_path / "a").write(other, predictions("parts", "first", 0))
    done = merge(tmp_path / "all", [tmp_path / "a"])
    assert done.n_copied == 0
    assert len(done.left_out) == 1


def test_through_the_command_line(tmp_path, capsys):
    write(tmp_path / "a", "first")
    assert main(["results", "merge", str(tmp_path / "a"), "--results", str(tmp_path / "all")]) == 0
    assert "2 records copied" in capsys.readouterr().out
    with pytest.raises(UsageError, match="merged into"):
        merge(tmp_path / "all", [tmp_path / "all"])
    assert main(["results", "merge", str(tmp_path / "absent"), "--results", str(tmp_path / "all")]) == 2
    shutil.rmtree(tmp_path / "a")
    assert len(names(tmp_path / "all")) == 2


def test_the_table_as_parquet_is_the_table(tmp_path, capsys):
    pytest.importorskip("pyarrow")
    write(tmp_path / "a", "first")
    store = write(tmp_path / "a", "second")
    strange = record("third", "things", 0, 0.5)
    strange["encoder"]["meta"] = {"recipe": {"crop": "centre"}}  # a number in the others
    store.write(strange, predictions("things", "third", 0))
    for name in ("t.parquet", "t.csv"):
        assert main(["results", "export", "--results", str(tmp_path / "a"), str(tmp_path / name)]) == 0
    found, expected = pd.read_parquet(tmp_path / "t.parquet"), pd.read_csv(tmp_path / "t.csv")
    assert list(found.columns) == list(expected.columns)
    assert np.array_equal(found["score"], expected["score"])
    assert found["recipe.crop"].tolist() == ["0.2", "0.2", "0.2", "0.2", "centre"] or set(found["recipe.crop"]) == {
        "0.2",
        "centre",
    }


def test_a_table_goes_into_a_file_of_a_table(tmp_path, capsys):
    write(tmp_path / "a", "first")
    assert main(["results", "export", "--results", str(tmp_path / "a"), str(tmp_path / "t.xlsx")]) == 2
    assert "ends in .csv or .parquet" in capsys.readouterr().err
    assert not (tmp_path / "t.xlsx").exists()

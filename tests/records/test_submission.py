"""A folder for a leaderboard: complete and described, or each thing that is missing is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.report.conftest import predictions, record
from virb import registry
from virb.cli import main
from virb.records.store import ResultStore
from virb.records.submission import CARD, check_submission


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound submission of one encoder to a suite of one task."""
    monkeypatch.setattr(registry, "entries", _entries)
    write(tmp_path / "results")
    assert main(["submit", str(tmp_path / "results"), "--start"]) == 0
    card = yaml.safe_load((tmp_path / "results" / CARD).read_text())
    assert list(card["encoders"]) == ["first"]
    card |= {"title": "First", "contact": "a page"}
    card["encoders"]["first"] = {"weights": "an address", "licence": "MIT", "pretraining": "SimCLR on photos"}
    (tmp_path / "results" / CARD).write_text(yaml.safe_dump(card))
    return tmp_path / "results"


_real_entries = registry.entries


def _entries(kind: str):
    if kind != "tasks":
        return _real_entries(kind)

    class Entry:
        name, group = "things", "mine"

    return [Entry]


def write(root: Path, **given: object) -> None:
    made = record("first", "things", 0, 0.0)
    arrays = predictions("things", "first", 0)
    made["score"] = float((arrays["target"] == arrays["prediction"]).mean())
    made["encoder"]["declared"] = {"role": "self-supervised"}
    digest = "0" * 64
    made["fingerprint"] = {"sha256": digest, "encoder": {}, "data": {}, "task": {}, "probe": {}, "numerics": 1}
    made.update(given)
    ResultStore(root).write(made, arrays)


def wrong(folder: Path) -> dict[str, str]:
    return {one.name: one.detail for one in check_submission(folder) if not one.is_ok}


def test_a_complete_folder_passes(folder, capsys):
    assert wrong(folder) == {}
    assert main(["submit", str(folder), "--check"]) == 0
    assert main(["submit", str(folder), "--start"]) == 2  # never over a card that is there


@pytest.mark.parametrize(
    ("given", "name", "said"),
    [
        ({"overrides": {"limit": 100}, "probe": "gradient+limit=100"}, "no run departs from its protocol", "limit=100"),
        ({"commit": "abc+changes"}, "records are of committed code", "abc+changes"),
        ({"score": 0.99}, "every file is a whole record whose score its predictions give", "0.99"),
    ],
)
def test_what_is_wrong_with_a_record_is_named(folder, given, name, said):
    for path in folder.rglob("gradient*"):
        path.unlink()
    write(folder, **given)
    assert said in wrong(folder)[name]


def test_what_the_card_lacks_is_named(folder):
    card = yaml.safe_load((folder / CARD).read_text())
    card["encoders"]["first"]["licence"] = ""
    card["encoders"]["ghost"] = {}
    card["contact"] = ""
    (folder / CARD).write_text(yaml.safe_dump(card))
    found = wrong(folder)
    assert "contact is empty." in found[f"{CARD} is filled in"]
    assert "first: licence not said." in found["every encoder is described, with its role"]
    assert "ghost is described and has no record." in found["every encoder is described, with its role"]
    (folder / CARD).unlink()
    assert "--start writes one" in wrong(folder)[f"{CARD} is filled in"]


def test_a_task_of_the_suite_that_is_missing_is_named(folder, monkeypatch):
    class Other:
        name, group = "parts", "mine"

    monkeypatch.setattr(registry, "entries", lambda kind: [*_entries(kind), *([Other] if kind == "tasks" else [])])
    assert "first lacks 1 of 2: parts." in wrong(folder)["every encoder has every task of the suite"]

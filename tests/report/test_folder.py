"""A report replaces a report, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from virb.errors import UsageError
from virb.report.folder import replacing


def put(out: Path, *names: str, text: str = "new") -> None:
    with replacing(out) as aside:
        for name in names:
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            (aside / name).write_text(text)


def files(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


def test_what_the_new_report_lacks_goes_and_what_is_foreign_stays(tmp_path):
    put(tmp_path / "r", "index.html", "tasks/old.html", "tasks/both.html", "encoders/old.html", text="old")
    (tmp_path / "r" / "notes.txt").write_text("mine")
    (tmp_path / "r" / "tasks" / "mine.html").write_text("mine")
    put(tmp_path / "r", "index.html", "tasks/both.html")
    assert files(tmp_path / "r") == {"index.html", "tasks/both.html", "tasks/mine.html", "notes.txt", "report.json"}
    assert (tmp_path / "r" / "tasks" / "both.html").read_text() == "new"
    assert (tmp_path / "r" / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "r" / "encoders").exists()


def test_an_error_leaves_the_earlier_report_as_it_was(tmp_path):
    put(tmp_path / "r", "index.html", text="old")

    def broken():
        with replacing(tmp_path / "r") as aside:
            (aside / "index.html").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert files(tmp_path / "r") == {"index.html", "report.json"}
    assert (tmp_path / "r" / "index.html").read_text() == "old"


def test_a_folder_with_other_files_is_refused_and_untouched(tmp_path):
    (tmp_path / "index.html").write_text("somebody's")
    with pytest.raises(UsageError, match=r"not of a report \(index.html"):
        put(tmp_path, "index.html")
    assert files(tmp_path) == {"index.html"}
    assert (tmp_path / "index.html").read_text() == "somebody's"


def test_a_foreign_file_in_the_way_of_a_new_page_is_refused(tmp_path):
    put(tmp_path / "r", "index.html", text="old")
    (tmp_path / "r" / "tasks").mkdir()
    (tmp_path / "r" / "tasks" / "a.html").write_text("mine")
    with pytest.raises(UsageError, match=r"a\.html is not of an earlier report"):
        put(tmp_path / "r", "index.html", "tasks/a.html")
    assert (tmp_path / "r" / "index.html").read_text() == "old"
    assert (tmp_path / "r" / "tasks" / "a.html").read_text() == "mine"


def test_a_foreign_file_called_like_a_folder_of_pages_is_refused(tmp_path):
    put(tmp_path / "r", "index.html", text="old")
    (tmp_path / "r" / "tasks").write_text("mine")
    with pytest.raises(UsageError, match=r"tasks is not of an earlier report"):
        put(tmp_path / "r", "index.html", "tasks/a.html")
    assert (tmp_path / "r" / "index.html").read_text() == "old"
    assert files(tmp_path / "r") == {"index.html", "tasks", "report.json"}


def test_a_manifest_cannot_name_files_outside(tmp_path):
    outside = tmp_path / "precious.txt"
    outside.write_text("mine")
    put(tmp_path / "r", "index.html")
    named = ["../precious.txt", str(outside), "a/../../precious.txt", "", 7]
    (tmp_path / "r" / "report.json").write_text(json.dumps({"format": "virb-report/1", "files": named}))
    (tmp_path / "r" / "index.html").unlink()
    put(tmp_path / "r", "index.html")
    assert outside.read_text() == "mine"


def test_hidden_files_of_the_system_are_no_hindrance(tmp_path):
    (tmp_path / ".DS_Store").write_text("")
    put(tmp_path, "index.html")
    assert files(tmp_path) == {".DS_Store", "index.html", "report.json"}


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "r").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        put(tmp_path / "r", "index.html")

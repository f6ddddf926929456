"""`virb report` through the command line: exit codes, what it prints, what it refuses, what it leaves alone."""

from __future__ import annotations

import html
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from virb.cli import build_parser, main

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "docs" / "study.csv"
SMALL = "encoder,task,score\na,one,.5\nb,one,.7\nc,one,.6\na,two,.2\nb,two,.4\nc,two,.5\n"
BROKEN = '''"""An analysis that fails half way."""
from virb.contracts.analysis import Analysis
from virb.contracts.tables import Tables


def compute(scores, notes):
    return Tables({"": scores})


def draw(tables):
    raise RuntimeError("<half> way")


def say(tables):
    return []


ANALYSIS = Analysis(name="broken", summary="Breaks", source="nobody", compute=compute, draw=draw, say=say)
'''


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text(SMALL)
    return path


def call(*arguments: object) -> int:
    return main(["report", *map(str, arguments)])


def refused(capsys: pytest.CaptureFixture[str], code: int, *texts: str) -> None:
    error = capsys.readouterr().err
    assert code == 2
    assert "Traceback" not in error
    for text in texts:
        assert text in error


def test_the_command_that_makes_the_page_again_is_on_it(small, tmp_path):
    given = ["--results", small, "--no-analyses", "--title", "Spring study", "--date", "2026-05-04"]
    assert call(*given, "--out", tmp_path / "r") == 0
    text = html.unescape((tmp_path / "r" / "index.html").read_text())
    (command,) = re.findall(r"<code>(virb report .*?)</code>", text)
    words = shlex.split(command)
    assert build_parser().parse_args(words[1:]) == build_parser().parse_args(
        ["report", *map(str, given), "--out", str(tmp_path / "r")]
    )


def test_it_prints_each_analysis_and_the_path_last(small, tmp_path, capsys):
    assert call("--results", small, "--out", tmp_path / "r", "--analyses", "encoder-bars,corruption-deltas") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "encoder-bars"
    assert lines[1].startswith("corruption-deltas skipped: it needs the columns method, corruption")
    assert lines[-1] == str(tmp_path / "r" / "index.html")
    text = (tmp_path / "r" / "index.html").read_text()
    assert (tmp_path / "r" / "analyses" / "encoder-bars.svg").exists()
    assert "It needs the columns method, corruption" in text  # under what was not drawn
    assert re.search(r"virb report --results \S+scores.csv --analyses encoder-bars,corruption-deltas --out", text)


def test_without_a_choice_all_analyses_are_tried(small, tmp_path, capsys, monkeypatch):
    from virb import registry
    from virb.figures import running

    tried = []

    def run(name, scores, folder, options, **more):
        tried.append(name)
        return running.AnalysisRun(name, "skipped", "not now.", [], [])

    monkeypatch.setattr(running, "run_by_name", run)
    assert call("--results", small, "--out", tmp_path / "r") == 0
    assert tried == registry.names("analyses")
    tried.clear()
    assert call("--results", small, "--out", tmp_path / "r", "--no-analyses") == 0
    assert tried == []


def test_one_that_fails_costs_its_own_figures_and_status_one(small, tmp_path, content_folder, capsys):
    (content_folder / "broken.py").write_text(BROKEN)
    given = ("--include", content_folder, "--results", small, "--out", tmp_path / "r")
    assert call(*given, "--analyses", "broken,encoder-bars") == 1
    text = (tmp_path / "r" / "index.html").read_text()
    assert "failed: RuntimeError: &lt;half&gt; way" in text
    kept = {path.name for path in (tmp_path / "r" / "analyses").iterdir()}
    assert {"encoder-bars.csv", "encoder-bars.png", "encoder-bars.svg"} <= kept
    assert not {name for name in kept if name.startswith("broken")}


def test_running_again_replaces_it_and_keeps_what_is_not_its_own(small, tmp_path, capsys):
    out = tmp_path / "r"
    assert call("--results", small, "--out", out, "--no-analyses") == 0
    (out / "notes.txt").write_text("mine")
    small.write_text(SMALL.replace("c,", "d,"))
    assert call("--results", small, "--out", out, "--no-analyses") == 0
    assert sorted(path.name for path in (out / "encoders").iterdir()) == ["a.html", "b.html", "d.html"]
    assert (out / "notes.txt").read_text() == "mine"


def test_a_folder_that_is_no_report_is_left_alone(small, tmp_path, capsys):
    code = call("--results", small, "--out", tmp_path, "--no-analyses")
    refused(capsys, code, "not of a report (scores.csv", "--out")
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("encoder,task,score\n", "a header but no scores"),
        ("encoder,task,score\na,one,nan\n", "a on one (nothing)"),
        ("encoder,task,score\na,one,oops\n", "a on one (oops)"),
        ("encoder,task\na,one\n", "no column score"),
        ("encoder,task,score\na,one,1\na,one,2\n", "more than one score"),
    ],
)
def test_tables_that_cannot_be_read_as_scores(text, said, tmp_path, capsys):
    path = tmp_path / "s.csv"
    path.write_text(text)
    refused(capsys, call("--results", path, "--out", tmp_path / "r"), said)
    assert not (tmp_path / "r").exists()


def test_other_calls_that_cannot_be_done(small, tmp_path, capsys):
    out = ("--out", tmp_path / "r")
    refused(capsys, call("--results", tmp_path / "absent", *out), "There is no file or folder")
    (tmp_path / "empty").mkdir()
    refused(capsys, call("--results", tmp_path / "empty", *out), "holds no records")
    refused(capsys, call("--results", small, *out, "--analyses", "corelation"), "Did you mean 'correlation'")
    refused(capsys, call("--results", small, "--out", small), "is a file")
    with pytest.raises(SystemExit) as stopped:
        call("--results", small, "--analyses", "anova", "--no-analyses")
    assert stopped.value.code == 2


@pytest.mark.parametrize("text", ["encoder,task,score\na,one,1\n", "encoder,task,score\na,one,1\nb,two,-3\n"])
def test_too_little_for_a_ranking_is_still_a_report(text, tmp_path, capsys):
    path = tmp_path / "s.csv"
    path.write_text(text)
    assert call("--results", path, "--out", tmp_path / "r", "--no-analyses") == 0
    assert "ranked" in (tmp_path / "r" / "index.html").read_text()


def test_a_probe_can_be_chosen(tmp_path, capsys):
    path = tmp_path / "s.csv"
    path.write_text("encoder,task,score,probe\na,one,.125,knn\na,one,.25,gradient+limit=10\n")
    assert call("--results", path, "--out", tmp_path / "r", "--no-analyses", "--probe", "gradient+limit=10") == 0
    text = (tmp_path / "r" / "index.html").read_text()
    assert "0.250" in text
    assert "0.125" not in text
    assert "depart from the protocol (limit=10)" in text


def test_the_study_of_the_docs_unpacked_elsewhere(tmp_path, capsys):
    """The report of the 32 encoders says what docs/study.csv says, and can be mailed as one archive."""
    assert call("--results", STUDY, "--out", tmp_path / "r", "--no-analyses", "--date", "2026-01-02") == 0
    with zipfile.ZipFile(tmp_path / "r.zip", "w") as archive:
        for path in (tmp_path / "r").rglob("*"):
            archive.write(path, path.relative_to(tmp_path / "r"))
    zipfile.ZipFile(tmp_path / "r.zip").extractall(tmp_path / "elsewhere")
    text = (tmp_path / "elsewhere" / "index.html").read_text()
    assert "32 encoders; 21 end tasks in 4 categories; 1 seed a score; probe gradient; suite mini." in text
    assert "2026-01-02" in text
    assert "A mini- score is not a ViRB score." in text
    for link in re.findall(r'href="([^"#]+)"', text):
        assert (tmp_path / "elsewhere" / link).is_file(), link


def test_what_the_readme_says_to_type_is_understood():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    typed = re.findall(r"^ {4}virb (report .*?)(?: {2,}#.*)?$", readme, re.MULTILINE)
    assert len(typed) >= 2
    for line in typed:
        assert build_parser().parse_args(line.split()).verb == "report"


def test_its_help_waits_for_neither_torch_nor_pandas():
    code = (
        "import sys; from virb.cli import build_parser; build_parser(); print({'torch', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

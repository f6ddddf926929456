"""The documentation's commands are commands, its first page leads everywhere, and the tutorial works as it is written."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from virb import registry
from virb.cli import build_parser, main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
COMMAND = re.compile(r"^(?: {4}|\$ )?(?:[A-Z_]+=\S+ )*(virb [a-z].*)$", re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    """Return the virb commands of a page's code blocks, as lists of arguments; what stands behind a gap explains them."""
    blocks = re.findall(r"^```(?:text|bash|sh|console)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    blocks += ["\n".join(found) for found in [re.findall(r"^ {4}.*$", text, re.MULTILINE)]]
    found = []
    said = dict(re.findall(r'^\s*([A-Z_]+)="([^"]*)"$', text, re.MULTILINE))
    for _ in said:
        blocks = [re.sub(r"\$([A-Z_]+)", lambda name: said.get(name[1], name[0]), block) for block in blocks]
    for block in blocks:
        for line in COMMAND.findall(block.replace("\\\n", " ")):
            for part in re.split(r"\s(?:&&|\|\|?|>)\s", re.split(r" #|(?<=\S) {2,}(?=\S)", line)[0]):
                words = shlex.split(part, comments=True)
                if words[:1] == ["virb"] and not any("[" in word or word.endswith((",", "...", "…")) for word in words):
                    found.append(words[1:])
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_on_a_page_are_taken_by_the_command_line(page, capsys):
    parser = build_parser()
    wrong = []
    for words in commands(page.read_text(encoding="utf-8")):
        try:
            args = parser.parse_args(words)
        except SystemExit as stopped:
            if stopped.code:  # --help ends with 0
                wrong.append((" ".join(words), capsys.readouterr().err.splitlines()[-1]))
            continue
        if args.verb == "analyze" and args.name not in (*registry.names("analyses"), "all", "NAME"):
            wrong.append((" ".join(words), "no such analysis"))
    assert wrong == []


def test_the_first_page_names_every_page():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    trees = re.findall(r"```\{toctree\}(.*?)```", index, re.DOTALL)
    named = {line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")}
    pages = {path.stem for path in (*DOCS.glob("*.md"), *DOCS.glob("*.ipynb"))} - {"index", "releasing"}
    assert pages <= named
    assert {name for name in named if not name.startswith("reference/")} <= pages


def test_the_questions_name_every_extra():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    faq = (DOCS / "faq.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` \|", faq, re.MULTILINE)) == sorted(setup["options.extras_require"])


@pytest.mark.slow
def test_the_tutorial_works_as_it_is_written(tmp_path, monkeypatch, capsys):
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8").split("<!-- tutorial: ")[1]
    (tmp_path / "encoders").symlink_to(ROOT / "encoders")
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if not line.startswith("virb"):
                assert shutil.which("bash")
                subprocess.run(["bash", "-c", line], check=True)
                continue
            short = ["--limit", "40", "--epochs", "1"] if "virb evaluate" in line and "--limit" not in line else []
            assert main([*shlex.split(line)[1:], *short]) == 0, (line, capsys.readouterr().err)
    assert (tmp_path / "report" / "index.html").exists()
    assert list((tmp_path / "figures").glob("correlation*.png"))
    assert (tmp_path / "scores.csv").exists()


def test_the_notebook_was_run_from_top_to_bottom_without_an_error():
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed (pip install virb[dev])")
    notebook = nbformat.read(DOCS / "notebook.ipynb", as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells)
    assert not [
        out for cell in cells for out in cell.outputs if out.output_type == "error" or out.get("name") == "stderr"
    ]


@pytest.mark.long
def test_the_notebook_runs(tmp_path):
    pytest.importorskip("nbclient", reason="nbclient is not installed (pip install virb[dev])")
    done = subprocess.run(
        [sys.executable, str(DOCS / "run_notebook.py"), str(tmp_path / "notebook.ipynb")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "image/png" in (tmp_path / "notebook.ipynb").read_text(encoding="utf-8")

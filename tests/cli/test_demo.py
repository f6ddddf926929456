"""`virb demo` is two other verbs on what comes with virb, and a recipe can be named."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

import virb.cli
from virb import registry
from virb.cli import build_parser, demo
from virb.errors import UsageError
from virb.pretraining.recipes import find_recipe, read_recipe

ROOT = Path(__file__).parents[2]


def test_it_evaluates_the_reference_encoders_on_its_tasks_and_draws_the_heatmap(monkeypatch):
    calls: list[argparse.Namespace] = []
    monkeypatch.setattr(virb.cli, "main", lambda argv: calls.append(build_parser().parse_args(argv)) or 0)
    assert demo.run(build_parser().parse_args(["demo", "--out", "r", "--figures", "f"])) == 0
    evaluated, analysed = calls
    assert {Path(path).stem for path in evaluated.encoders} == {path.stem for path in (ROOT / "encoders").glob("*.pt")}
    assert all(registry.load("tasks", name).name == name for name in evaluated.tasks.split(","))
    assert len(evaluated.tasks.split(",")) == 9
    assert (evaluated.out, analysed.verb, analysed.name, analysed.results, analysed.out) == (
        "r",
        "analyze",
        "correlation",
        "r",
        "f",
    )


@pytest.mark.parametrize(("statuses", "expected"), [((0, 0), 0), ((1, 0), 1), ((2, 0), 2), ((0, 1), 1)])
def test_its_status_is_the_worst(monkeypatch, statuses, expected):
    left = list(statuses)
    monkeypatch.setattr(virb.cli, "main", lambda argv: left.pop(0))
    assert demo.run(build_parser().parse_args(["demo"])) == expected


def test_the_makefile_calls_it():
    assert "$(BIN)/virb demo" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_a_recipe_that_comes_with_virb_is_known_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_recipe("reference").parent.name == "recipes"
    assert "supervised-objects" in read_recipe("reference")
    (tmp_path / "reference").write_text("encoders: {own: {method: random, data: world}}")
    assert list(read_recipe("reference")) == ["own"]  # a file of that name goes before
    with pytest.raises(UsageError, match="Did you mean 'study'"):
        find_recipe("stduy")


def test_help_names_no_file_that_is_not_installed():
    parsers = build_parser()._subparsers._group_actions[0].choices
    for name, parser in parsers.items():
        text = parser.format_help()
        for absent in ("docs/", "pretrain/recipes", "encoders/*.pt", "encoders/supervised"):
            assert absent not in text, f"virb {name} --help names {absent}"

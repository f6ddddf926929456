"""Arrows between files go one way: no two import each other, and a room imports only lower ones."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from virb import registry

ROOT = Path(__file__).parents[1]
PACKAGES = {"virb": "virb", "tasks": "virb.tasks", "pretrain": "virb.pretrain", "analysis": "virb.analysis"}
CONTENT = ("tasks", "pretrain", "analysis")

#: From the ground up; a room imports only those before it. compat and docs stand aside.
ROOMS = (
    "errors", "system", "contracts", "registry", "stats", "images", "training", "networks", "convert", "features", "heads",
    "losses", "metrics", "probes", "records", "scores", "pretraining", "evaluation", "figures", "report", "papers", "cli",
)  # fmt: skip
ASIDE = ("compat", "docs", "virb", "__main__")

#: Arrows that still go the wrong way, and files that import each other (none are left). Take one out when it is cut; add none.
WRONG_WAY = {
    ("contracts", "images"),  # Examples holds an ImageSet
}
CIRCLES: tuple[set[str], ...] = ()


def files() -> dict[str, Path]:
    found = {}
    for folder, package in PACKAGES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = ".".join([package, *path.relative_to(ROOT / folder).with_suffix("").parts])
            found[name.removesuffix(".__init__")] = path
    return found


FILES = files()


class Imports(ast.NodeVisitor):
    """The files of ours that a file imports anywhere in it, but for types alone."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def visit_If(self, node: ast.If) -> None:
        is_for_types = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for statement in node.orelse if is_for_types else [*node.body, *node.orelse]:
            self.visit(statement)

    def visit_Import(self, node: ast.Import) -> None:
        self.found |= {alias.name for alias in node.names} & FILES.keys()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            self.found |= {whole if whole in FILES else str(node.module)} & FILES.keys()


def arrows() -> dict[str, set[str]]:
    graph = {}
    for name, path in FILES.items():
        looked = Imports()
        looked.visit(ast.parse(path.read_text(encoding="utf-8")))
        graph[name] = looked.found - {name}
    return graph


GRAPH = arrows()


def reached(start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for name in GRAPH[waiting.pop()] - seen:
            seen.add(name)
            waiting.append(name)
    return seen


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else name


def test_no_files_import_each_other():
    ahead = {name: reached(name) for name in GRAPH}
    circles = {
        frozenset(other for other in ahead[name] if name in ahead[other]) for name in GRAPH if name in ahead[name]
    }
    unknown = [sorted(circle) for circle in circles if not any(circle <= known for known in CIRCLES)]
    assert unknown == []


def test_a_room_imports_only_lower_ones():
    wrong = {}
    for name, imported in GRAPH.items():
        here = room(name)
        if here in ASIDE or here in CONTENT:
            continue
        assert here in ROOMS, f"{name}: say in ROOMS where the room {here} stands"
        for other in imported:
            there = room(other)
            is_lower = there in ROOMS and ROOMS.index(there) <= ROOMS.index(here)
            if there not in ASIDE and not is_lower:
                wrong.setdefault((here, there), []).append(f"{name} -> {other}")
    assert {arrow: found for arrow, found in wrong.items() if arrow not in WRONG_WAY} == {}
    assert wrong.keys() >= WRONG_WAY, "an arrow was cut: take it out of WRONG_WAY"


def test_the_engine_imports_no_content():
    found = [
        f"{name} -> {other}"
        for name, imported in GRAPH.items()
        if room(name) not in (*CONTENT, *ASIDE)
        for other in imported
        if room(other) in CONTENT
    ]
    assert found == []


def test_content_of_one_tree_imports_no_other_tree():
    found = [
        f"{name} -> {other}"
        for name, imported in GRAPH.items()
        if room(name) in CONTENT
        for other in imported
        if room(other) in CONTENT and room(other) != room(name)
    ]
    assert found == []


#: Where the name of a part may stand in the engine: its own file, or a default that a user is told of.
DEFAULTS = {
    "gradient": {"virb/contracts/options.py"},
    "local": {"virb/contracts/options.py", "virb/evaluation/executors/dask.py"},
}
KINDS = ("tasks", "methods", "heads", "losses", "metrics", "probes", "executors")
#: Words that are names of parts and something else as well.
ORDINARY = {
    "random",
    "map",
    "linear",
    "supervised",
    "rotation",
    "unet",
    "dino",
    "swav",
    "l1",
    "l2",
    "r2",
    "imagenet",
    "mae",
    "moco-v3",
}
#: Files that still know a part by name. Take one out when it no longer does; add none.
KNOWS = {
    "virb/cli/from_data.py",  # what a task that is written for a kind of target is made of
    "virb/evaluation/batteries/heads.py",  # a battery trains with some loss
    "virb/evaluation/batteries/probes.py",
    "virb/evaluation/checks.py",  # a depth is not negative
    "virb/pretraining/trainer.py",  # what a run's log calls its watch
    "virb/records/check.py",  # statistics of predictions by metric
    "virb/records/predictions.py",
    "virb/report/study.py",
    "virb/report/task_page.py",
    "virb/stats/permutation.py",  # whose metric= is promised by these names
    "virb/stats/structure.py",  # a column of its own
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_engine_knows_no_part_by_name(kind):
    names = {entry.name for entry in registry.entries(kind)} - ORDINARY
    wrong: dict[str, set[str]] = {}
    for module, path in FILES.items():
        place = path.relative_to(ROOT).as_posix()
        package = registry.KINDS[kind].package
        if room(module) in (*CONTENT, *ASIDE) or module.startswith(package) or place in KNOWS:
            continue
        if place.startswith("virb/scores/importers/"):
            continue  # metrics there are called as another program calls them
        # Whole texts in the code; those in docstrings and messages are for people.
        said = set(re.findall(r"""(?<![\w.])["']([\w-]+)["']""", _code(path)))
        found = {name for name in said & names if place not in DEFAULTS.get(name, set())}
        if found:
            wrong[place] = found
    assert wrong == {}


@functools.cache
def _code(path: Path) -> str:
    """Return the file's code without its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            node.body[0] = ast.Pass()
    return ast.unparse(tree)

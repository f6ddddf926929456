"""Arrows between files go one way: no two import each other, and a room imports only lower ones."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

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
    assert sorted(map(sorted, circles)) == []


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
    assert wrong == {}


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


KINDS = ("tasks", "methods", "heads", "losses", "metrics", "probes", "executors")
#: Words that are the name of a part and something else as well: where they stand they mean the other thing.
ORDINARY = {
    "map": "a kind of target: numbers a pixel",
    "supervised": "a role of encoders",
    "linear": "a layer, a schedule and a rule for learning rates",
    "imagenet": "a form of ResNet's first layers",
}
#: Names of parts that the engine says for a reason. Take out what it no longer says; add what cannot be a declaration.
SAID = {
    # The defaults of the command line, which a user is told of.
    "virb/contracts/options.py": {"gradient", "local"},
    "virb/pretraining/settings.py": {"knn"},
    "virb/evaluation/run.py": {"mini"},
    "virb/cli/evaluate.py": {"mini"},
    "virb/report/provenance.py": {"mini"},  # whose scores the report never lets pass for a paper's
    "virb/report/task_page.py": {"gradient"},  # the probe that trains a task's own head
    "virb/contracts/paper.py": {"mini"},  # a scale of a paper's study, called as the suite is
    "virb/cli/paper.py": {"mini"},
    # Names that were promised to people's scripts, or that fix what a seed draws.
    "virb/stats/permutation.py": {"top1", "mean_per_class"},  # paired_permutation_test(metric=...)
    "virb/pretraining/looks.py": {"knn"},  # the random stream of a run's watch
    # What another program or another author calls a metric, a method, a number.
    "virb/report/study.py": {"top1"},  # the names a table from elsewhere has for an accuracy
    "virb/scores/importers/timm.py": {"top1"},
    "virb/scores/importers/visbench.py": {"miou", "abs_rel", "top1", "rmse", "mae", "finetune"},
    "virb/metrics/mae.py": {"mae"},  # the metric, of which a method has the name
    "virb/metrics/regression.py": {"mae"},
    "virb/metrics/neg_l1.py": {"l1"},  # a number beside the score
    "virb/stats/subset.py": {"r2"},  # a column
    "virb/convert/declared.py": {"dino", "mae"},  # parts of timm's tags
    "virb/convert/named.py": {"random"},  # random:ARCH, an encoder without training
    # How a published checkpoint's positions are meant, by whose code made them.
    "virb/convert/layouts/vit.py": {"dino", "moco-v3"},
    "virb/convert/layouts/hf_vit.py": {"mae", "dinov2"},
    "virb/convert/positions.py": {"moco-v3", "mae"},
    "virb/networks/families/vit.py": {"dino"},
}


def names_said(kind: str) -> dict[str, set[str]]:
    """The names of this kind's parts, and for tasks of their suites, that files of the engine say, by file."""
    entries = registry.entries(kind)
    names = {entry.name for entry in entries}
    if kind == "tasks":
        names |= {entry.group for entry in entries} - {"virb"}  # a suite's name, and the package's
    package = registry.KINDS[kind].package
    found = {}
    for module, path in FILES.items():
        if room(module) in (*CONTENT, *ASIDE) or module.startswith(package):
            continue
        # Whole texts in the code; those in docstrings and messages are for people.
        said = set(re.findall(r"""(?<![\w.])["']([\w-]+)["']""", _code(path))) & names
        if said - ORDINARY.keys():
            found[path.relative_to(ROOT).as_posix()] = said - ORDINARY.keys()
    return found


def test_the_engine_knows_no_part_by_name():
    found: dict[str, set[str]] = {}
    for kind in KINDS:
        for place, names in names_said(kind).items():
            found[place] = found.get(place, set()) | names
    assert found == SAID


@functools.cache
def _code(path: Path) -> str:
    """Return the file's code without its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            node.body[0] = ast.Pass()
    return ast.unparse(tree)


def test_a_file_fits_a_few_screens():
    paths = [*FILES.values(), *sorted((ROOT / "benchmarks").rglob("*.py"))]
    n_lines = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8").count("\n") for path in paths}
    assert {place: n for place, n in n_lines.items() if n > 400} == {}

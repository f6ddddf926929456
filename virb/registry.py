"""Find parts of every kind (end tasks, heads, metrics, analyses, ...) by file, and load them when they are used.

A part is one Python file that assigns the name of its kind (``TASK``, ``HEAD``, ``METRIC``, ...; :data:`KINDS`) at its
top level; it is called like its file. Files are looked for in the built-in folders, in the folders of ``$VIRB_INCLUDE``
(``--include`` adds to it, so that worker processes see the same parts) and in the packages or modules that installed
distributions name as entry points. All three are read by the same code. Finding reads text only; nothing is imported
until it is listed in detail or used. A file that cannot be loaded, or two that claim one name, cost themselves alone.
"""

from __future__ import annotations

import ast
import difflib
import functools
import hashlib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from virb.errors import BrokenPart, RegistryError, VirbError, option
from virb.system.listing import python_files


@dataclass(frozen=True)
class Kind:
    """A kind of part: what it is called, the package of the built-in ones, and the name that its files assign.

    ``group`` is that of entry points. Names are the files', with ``-`` for ``_`` unless ``keeps_underscores``, where both
    name the part and it is called as it says.
    """

    singular: str
    package: str
    attribute: str
    group: str
    keeps_underscores: bool = False

    def name_of(self, path: Path) -> str:
        return path.stem if self.keeps_underscores else path.stem.replace("_", "-")


KINDS = {
    "tasks": Kind("end task", "virb.tasks", "TASK", "virb.tasks"),
    "methods": Kind("pretraining method", "virb.pretrain", "METHOD", "virb.pretrain"),
    "analyses": Kind("analysis", "virb.analysis", "ANALYSIS", "virb.analysis"),
    "heads": Kind("head", "virb.heads", "HEAD", "virb.heads", keeps_underscores=True),
    "losses": Kind("loss", "virb.losses", "LOSS", "virb.losses", keeps_underscores=True),
    "metrics": Kind("metric", "virb.metrics", "METRIC", "virb.metrics", keeps_underscores=True),
    "probes": Kind("probe", "virb.probes", "PROBE", "virb.probes", keeps_underscores=True),
    "backbones": Kind("backbone", "virb.networks", "BACKBONE", "virb.backbones", keeps_underscores=True),
    "layouts": Kind("checkpoint layout", "virb.convert", "LAYOUT", "virb.layouts"),
    "readers": Kind("reader", "virb.tasks", "READER", "virb.readers"),
    "datasets": Kind("data set", "virb.tasks", "DATASET", "virb.datasets"),
    "executors": Kind("executor", "virb.evaluation.executors", "EXECUTOR", "virb.executors"),
    "importers": Kind("importer of scores", "virb.scores", "IMPORTER", "virb.importers"),
    "columns": Kind("record column", "virb.records", "COLUMN", "virb.columns", keeps_underscores=True),
    "papers": Kind("paper", "virb.analysis", "PAPER", "virb.papers"),
    "styles": Kind("figure style", "virb.figures.styles", "STYLE", "virb.styles"),
}


BUILT_IN = "built-in"


@dataclass(frozen=True)
class Entry:
    """One part that was found. ``module`` is its import name if it lies in a package, else None."""

    kind: str
    name: str
    path: Path
    origin: str
    group: str  # the suite of a task: the folder that the file lies in
    module: str | None
    problem: str = ""  # why it cannot be used: another file claims its name

    @property
    def about(self) -> str:
        """The ``summary`` that the part declares as a plain text, else the file's; nothing is imported."""
        try:
            tree = ast.parse(self.path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError, OSError):
            return ""
        for statement in tree.body:
            if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or not isinstance(statement.value, ast.Call):
                continue
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            if isinstance(target, ast.Name) and target.id == KINDS[self.kind].attribute:
                for keyword in statement.value.keywords:
                    if keyword.arg == "summary" and isinstance(keyword.value, ast.Constant):
                        return str(keyword.value.value)
        return self.summary

    @property
    def is_built_in(self) -> bool:
        return self.origin == BUILT_IN

    @property
    def digest(self) -> str:
        """The SHA-256 of the file's bytes: what a part from outside is, whatever it is called."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def summary(self) -> str:
        """The first line of the file's docstring; empty if it has none or cannot be parsed."""
        try:
            text = ast.get_docstring(ast.parse(self.path.read_text(encoding="utf-8")))
        except (SyntaxError, ValueError, OSError):
            return ""
        return text.strip().splitlines()[0] if text and text.strip() else ""


def include(*folders: str | os.PathLike[str]) -> None:
    """Add folders of parts for this process and the processes it starts.

    Raises:
        RegistryError: a folder does not exist, or no file in it assigns the name of a kind.
    """
    listed = _included()
    for folder in folders:
        path = Path(folder).expanduser().resolve()
        if not path.is_dir():
            raise RegistryError(
                f"{option('include', str(folder))}: there is no such folder. Name a folder that holds parts."
            )
        if not any(True for kind in KINDS for _ in _entries_below(kind, path, "")):
            raise RegistryError(
                f"{option('include', str(folder))}: no file there assigns {', '.join(k.attribute for k in KINDS.values())} at its top level "
                "(files in the folder itself and one level below were read)."
            )
        if path not in listed:
            listed.append(path)
    os.environ["VIRB_INCLUDE"] = os.pathsep.join(str(path) for path in listed)


def entries(kind: str) -> list[Entry]:
    """Return everything of ``kind`` (a key of :data:`KINDS`) that can be found, sorted by group and name.

    Of files that claim one name the first is there once, with its ``problem``, which is also said on stderr, once.

    Raises:
        RegistryError: $VIRB_INCLUDE names a folder that does not exist.
    """
    return sorted(_found(kind).values(), key=lambda entry: (entry.group, entry.name))


def _found(kind: str, name: str | None = None) -> dict[str, Entry]:
    """Return what is there of ``kind``, or what is there of it that is called ``name``."""
    found: dict[str, Entry] = {}
    for entry in (entry for entry in _scan(kind, name) if name in (None, entry.name)):
        twin = found.setdefault(entry.name, entry)
        if twin is not entry and not twin.problem and twin.path.resolve() != entry.path.resolve():
            problem = (
                f"Two {KINDS[kind].singular} files are called {entry.name!r}: {twin.path} ({twin.origin}) and "
                f"{entry.path} ({entry.origin}); neither is used. Rename one of the files."
            )
            found[entry.name] = replace(twin, problem=problem)
            say(problem)
    return found


def names(kind: str) -> list[str]:
    """Return the names of everything of ``kind``."""
    return [entry.name for entry in entries(kind)]


def find(kind: str, name: str) -> Entry:
    """Return the entry called ``name``.

    Raises:
        RegistryError: there is none; the text suggests the nearest names.
        BrokenPart: two files claim the name.
    """
    known = _found(kind, name)
    if not known and KINDS[kind].keeps_underscores:
        name = name.replace("-", "_")
        known = _found(kind, name)
    if not known:
        own = "" if _included() else " Parts of your own need --include FOLDER (or $VIRB_INCLUDE)."
        raise RegistryError(f"Unknown {KINDS[kind].singular} {name!r}. {suggest(name, names(kind))}{own}")
    if known[name].problem:
        raise BrokenPart(known[name].problem)
    return known[name]


def load(kind: str, name: str) -> Any:
    """Import the file of ``name`` and return what it declares.

    Raises:
        RegistryError: the name is unknown.
        BrokenPart: the file is broken; the text gives the file and the reason.
    """
    return load_entry(find(kind, name))


def load_entry(entry: Entry) -> Any:
    """Import the file of an entry that was found and return what it declares; errors as for :func:`load`."""
    if entry.problem:
        raise BrokenPart(entry.problem)
    attribute = KINDS[entry.kind].attribute
    try:
        module = _import(entry)
        content = getattr(module, attribute)
    # Whatever a file raises is its own fault, the end of the program too, and must not take the rest along.
    except (Exception, SystemExit) as error:
        reason = str(error) if isinstance(error, VirbError) else f"{type(error).__name__}: {error}"
        raise BrokenPart(f"{entry.path} could not be loaded: {reason}") from error
    declared = getattr(content, "name", None)
    is_dashed = KINDS[entry.kind].keeps_underscores and str(declared).replace("-", "_") == entry.name
    if declared is None:
        raise BrokenPart(f"{entry.path}: {attribute} is {type(content).__name__} without a name. See: virb new --help.")
    if declared != entry.name and not is_dashed:
        wrong = f"{attribute}.name is {declared!r}, but the file's name makes it {entry.name!r}"
        raise BrokenPart(f"{entry.path}: {wrong}. Rename the file or change the name: they must agree.")
    check_names(content, f"{entry.path}: ")
    return content


def load_all(chosen: Iterable[Entry]) -> tuple[list[Any], list[str]]:
    """Load what can be loaded of the entries, in their order; return it, and why the others cannot, said on stderr too."""
    loaded, problems = [], []
    for entry in chosen:
        try:
            loaded.append(load_entry(entry))
        except RegistryError as error:
            problems.append(str(error))
            say(str(error))
    return loaded, problems


def check_names(content: Any, where: str = "") -> None:
    """Check that the parts which ``content.names()`` names, by kind, can be found; not every kind of part names others.

    Raises:
        BrokenPart: one cannot; the text begins with ``where`` and suggests the nearest names.
    """
    wanted: Mapping[str, str] = content.names() if hasattr(content, "names") else {}
    for kind, name in wanted.items():
        try:
            find(kind, name)
        except RegistryError as error:
            raise BrokenPart(f"{where}{error}") from error


def say(text: str) -> None:
    """Print what was left out on stderr, once in a process."""
    if text not in _said:
        _said.add(text)
        print(f"virb: {text}", file=sys.stderr)


_said: set[str] = set()


def entries_of(path: Path) -> list[Entry]:
    """Return the parts that the file ``path`` declares, of any kind; a folder that is not looked at yet is included.

    Raises:
        RegistryError: it declares none.
    """
    path = path.resolve()
    kinds = sorted(_kinds_in(os.fspath(path)))
    if not kinds:
        raise RegistryError(
            f"{path} assigns none of {', '.join(kind.attribute for kind in KINDS.values())} at its top level."
        )
    found = []
    for kind in kinds:
        if path not in {entry.path.resolve() for entry in entries(kind)}:
            include(path.parent)
        clash = [entry for entry in _scan(kind) if entry.path.resolve() == path]
        own = {entry.name: entry for entry in entries(kind)}
        found += [replace(entry, problem=own[entry.name].problem) for entry in clash[:1]]
    return found


def suggest(name: str, known: Any) -> str:
    """Return "Did you mean ...?" for the nearest of ``known``, or the whole list where nothing is near."""
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    near += [choice for choice in choices if name and name in choice and choice not in near][:3]
    if near:
        return f"Did you mean {' or '.join(repr(choice) for choice in near[:4])}?"
    return f"Known are: {', '.join(choices) if choices else '(none)'}."


def _scan(kind: str, name: str | None = None) -> Iterator[Entry]:
    """Yield all of ``kind``; with ``name`` at least all that is called so."""
    yield from _built_in(kind)
    for folder in _included():
        if not folder.is_dir():
            raise RegistryError(f"$VIRB_INCLUDE names {folder}, which is not a folder. Correct or unset it.")
        yield from _entries_below(kind, folder, f"folder {folder}", stem=name)
    yield from _files_of_entry_points(kind)


@functools.cache
def _built_in(kind: str) -> tuple[Entry, ...]:
    """Return what comes with virb, which stays as it is while a process lives; the user's folders are looked at each time."""
    return tuple(_files_in_package(kind, KINDS[kind].package, BUILT_IN))


def _included() -> list[Path]:
    return [Path(part) for part in os.environ.get("VIRB_INCLUDE", "").split(os.pathsep) if part]


def _files_in_package(kind: str, package: str, origin: str) -> Iterator[Entry]:
    spec = importlib.util.find_spec(package)
    for place in (spec.submodule_search_locations or []) if spec else []:
        yield from _entries_below(kind, Path(place), origin, package)


@functools.lru_cache(maxsize=256)
def _entry_points(group: str, _places: tuple[tuple[str, int], ...]) -> tuple[Any, ...]:
    """Return what installed packages announce; every package's file is read, so that once is enough while none is added."""
    from importlib.metadata import entry_points

    return tuple(entry_points(group=group))


def _places() -> tuple[tuple[str, int], ...]:
    """Return the folders that packages are installed in, with the times of their last change."""
    found = []
    for place in sys.path:
        try:
            found.append((place, os.stat(place or ".").st_mtime_ns))
        except OSError:
            found.append((place, 0))
    return tuple(found)


def _files_of_entry_points(kind: str) -> Iterator[Entry]:
    for point in _entry_points(KINDS[kind].group, _places()):
        origin = f"entry point {point.name} of {point.dist.name if point.dist else 'an installed package'}"
        module = point.value.partition(":")[0].strip()
        try:
            spec = importlib.util.find_spec(module)
        except (Exception, SystemExit):  # of the packages above it, which are imported to find it
            spec = None
        if spec is None:
            say(f"{origin}: module {module!r} cannot be found; it is left out.")
        elif spec.submodule_search_locations:
            yield from _files_in_package(kind, module, origin)
        elif spec.origin:
            path = Path(spec.origin)
            yield Entry(kind, KINDS[kind].name_of(path), path, origin, module.partition(".")[0], module)


def _entries_below(kind: str, folder: Path, origin: str, package: str = "", stem: str | None = None) -> Iterator[Entry]:
    for inside in python_files(folder, stem=stem):
        if kind not in _kinds_in(os.path.join(folder, *inside)):
            continue
        path = folder.joinpath(*inside)
        module = ".".join([package, *inside]).removesuffix(".py") if package else None
        yield Entry(kind, KINDS[kind].name_of(path), path, origin, path.parent.name, module)


def _kinds_in(path: str) -> frozenset[str]:
    """Return the kinds whose name the file assigns; none where it cannot be read."""
    try:
        status = os.stat(path)
        return _kinds_in_text(path, status.st_mtime_ns, status.st_size)
    except (OSError, UnicodeDecodeError):
        return frozenset()  # not ours to judge: without text there is no declaration


_ASSIGNS = re.compile(r"^([A-Z]+)\s*(?::[^=\n]+)?=(?!=)", re.MULTILINE)


@functools.lru_cache(maxsize=4096)
def _kinds_in_text(path: str, mtime_ns: int, size: int) -> frozenset[str]:
    assigned = set(_ASSIGNS.findall(Path(path).read_text(encoding="utf-8")))
    return frozenset(name for name, kind in KINDS.items() if kind.attribute in assigned)


def _import(entry: Entry) -> ModuleType:
    if entry.module is not None:
        return importlib.import_module(entry.module)
    resolved = entry.path.resolve()
    name = f"virb_included_{hashlib.sha256(str(resolved).encode()).hexdigest()[:12]}_{entry.path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, resolved)
    if spec is None or spec.loader is None:
        raise ImportError("Python cannot import a file of this name")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before execution: dataclasses and pickling look the module up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module

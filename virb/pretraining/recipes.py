"""Recipes: lists of runs in a file, made one after the other or several at a time."""

from __future__ import annotations

import dataclasses
import difflib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from virb import registry
from virb.errors import UsageError, VirbError
from virb.pretraining.asked import finished
from virb.pretraining.beforehand import checked
from virb.pretraining.outputs import Made
from virb.pretraining.runs import Look, pretrain
from virb.pretraining.settings import Settings
from virb.pretraining.state import StaleRun
from virb.system import documents
from virb.system.threads import n_cores
from virb.training import distributed

MOST_BYTES = 1 << 20  # of a recipe; the study in miniature has 3 KB


def find_recipe(asked: str | os.PathLike[str]) -> Path:
    """Return the file of a recipe: the one that is named, else the one that comes with virb under this name.

    Raises:
        UsageError: there is neither.
    """
    path = Path(asked)
    spec = importlib.util.find_spec("virb.pretrain")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    known = {file.stem: file for folder in folders for file in sorted((folder / "recipes").glob("*.yaml"))}
    if os.path.lexists(path) or os.fspath(asked) not in known:
        if not os.path.lexists(path):
            raise UsageError(f"There is no recipe {os.fspath(asked)!r}. {registry.suggest(os.fspath(asked), known)}")
        return path
    return known[os.fspath(asked)]


def read_recipe(path: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """Return the runs of a recipe by name, in order: each a mapping of ``Settings``' fields without ``out``.

    A recipe is YAML: ``defaults`` (settings for all) and ``encoders`` (name: settings). A run's own settings replace
    the defaults; its ``arch_options`` and ``options`` are added to theirs, unless it has another arch or method.

    Raises:
        UsageError: the file is missing, is not a recipe, or a key is unknown.
    """
    path = find_recipe(path)
    try:
        content = documents.read_yaml(path, most=MOST_BYTES)
    except documents.DocumentError as error:
        raise UsageError(f"{error} Expected a recipe.") from error
    if (
        not isinstance(content, dict)
        or set(content) - {"defaults", "encoders"}
        or not isinstance(content.get("encoders"), dict)
        or not content["encoders"]
    ):
        raise UsageError(
            f"{path} is not a recipe: expected the keys defaults (may be absent) and encoders (name: settings)."
        )
    known = {f.name for f in dataclasses.fields(Settings)} - {"out"}
    defaults = _settings(path, "defaults", content.get("defaults"), known)
    runs: dict[str, dict[str, Any]] = {}
    for number, given in content["encoders"].items():
        name = _name(path, number, runs)
        own = _settings(path, f"encoder {name}", given, known)
        base = dict(defaults)
        if "epochs" in own or "budget" in own:
            base = {k: v for k, v in base.items() if k not in ("epochs", "budget")}
        run = {**base, **own}
        for key, owner in (("arch_options", "arch"), ("options", "method")):
            inherited = {} if owner in own and own[owner] != defaults.get(owner) else defaults.get(key) or {}
            run[key] = {**inherited, **(own.get(key) or {})}
        if "method" not in run:
            raise UsageError(f"{path}, encoder {name}: which method? It names none.")
        try:
            Settings(out=Path(f"{name}.pt"), **run)
        except UsageError as error:
            raise UsageError(f"{path}, encoder {name}: {error}") from error
        runs[name] = run
    return runs


def _name(path: str | os.PathLike[str], found: Any, others: Mapping[str, Any]) -> str:
    """The name of an encoder, which becomes a file's name and therefore may be nothing else."""
    name = str(found) if isinstance(found, (str, int)) and not isinstance(found, bool) else ""
    if not documents.is_plain_name(name):
        raise UsageError(
            f"{path}: an encoder cannot be called {str(found)[:80]!r}. Its name becomes a file's name: letters, digits, "
            "-, _, + and . will do; no folders."
        )
    same = next((other for other in others if other.casefold() == name.casefold()), None)
    if same is not None:
        raise UsageError(
            f"{path}: on many systems {name}.pt and {same}.pt would be one file. Rename one of the encoders."
        )
    return name


def _settings(path: str | os.PathLike[str], whose: str, given: Any, known: Collection[str]) -> dict[str, Any]:
    """The settings of the defaults or of an encoder: a mapping with known keys."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise UsageError(f"{path}, {whose}: expected settings (name: value); found {str(given)[:60]!r}.")
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" Known are {', '.join(sorted(known))}."
            raise UsageError(f"{path}, {whose}: unknown setting {str(key)[:80]!r}.{hint}")
    for key in ("arch_options", "options"):
        if not isinstance(given.get(key), dict | None):
            raise UsageError(f"{path}, {whose}: {key} is {str(given[key])[:60]!r}; expected names with values.")
    return dict(given)


def check_names(path: str | os.PathLike[str], runs: Mapping[str, Any], only: tuple[str, ...]) -> None:
    """Refuse names that a recipe does not have.

    Raises:
        UsageError: there is such a name.
    """
    for name in only:
        if name not in runs:
            raise UsageError(f"{path} has no encoder {name!r}; it has {', '.join(runs)}.")


def run_recipe(
    path: str | os.PathLike[str],
    out: Path,
    *,
    only: tuple[str, ...] = (),
    force: bool = False,
    quiet: bool = False,
    data_root: Path | None = None,
    look: Callable[[Settings], Look | None] = lambda settings: None,
) -> tuple[list[Made], dict[str, str]]:
    """Make the encoders of a recipe in ``out``; return those that are there now, and why the others are not.

    An encoder that is there with the same settings and data is left; one that differs is made again; an unfinished run
    goes on if it is the same run. One that fails does not stop the rest. ``look`` returns what scores one while it trains;
    ``data_root`` is where data sets lie (default: $VIRB_DATA) for runs that do not say.
    """
    several = _several(path, out, only, data_root)
    is_alone = distributed.world_size() == 1  # else all look for themselves, at the same time
    there = finished(several.values(), quiet=quiet) if is_alone and not force else {}
    made, failed = [], _wrong(several, there)
    for name, reason in failed.items() if distributed.rank() == 0 else ():
        print(f"{name} cannot be made: {reason}", file=sys.stderr, flush=True)  # before the others take their days
    for name, settings in several.items():
        if settings.out in there:
            made.append(there[settings.out])
        if settings.out in there or name in failed:
            continue
        try:
            how = distributed.together(lambda settings=settings: look(settings))  # type: ignore[misc]
            made.append(_up_to_date(settings, force=force, quiet=quiet, look=how))
        except VirbError as error:
            if distributed.world_size() > 1 and not distributed.is_shared(error):
                raise  # the others are still at it: they cannot go on to the next one
            failed[name] = str(error)
    return made, failed


def run_recipe_in_parallel(
    path: str | os.PathLike[str],
    out: Path,
    *,
    jobs: int,
    only: tuple[str, ...] = (),
    force: bool = False,
    quiet: bool = False,
    data_root: Path | None = None,
) -> tuple[list[Made], dict[str, int]]:
    """Make the encoders of a recipe in ``jobs`` processes at a time, the cores shared among them.

    On a CPU a small network trains faster as two runs of one thread than as one run of two. The children's lines are
    passed on as they come. Returned are the encoders that were there already, and the exit statuses of the others' processes.
    """
    several = _several(path, out, only, data_root)
    there = {} if force else finished(several.values(), quiet=quiet)
    wrong = _wrong(several, there)
    names = [name for name, settings in several.items() if settings.out not in there and name not in wrong]
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, n_cores() // jobs))}
    if data_root is not None:
        environment["VIRB_DATA"] = str(data_root)

    def make(name: str) -> int:
        command = [sys.executable, "-m", "virb", "pretrain", "--recipe", str(path), "--out", str(out), "--only", name]
        with subprocess.Popen(
            [*command, *(["--force"] if force else []), *(["--quiet"] if quiet else [])],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as child:
            assert child.stdout is not None
            for line in child.stdout:
                print(line, end="", file=sys.stderr, flush=True)
        return child.returncode

    for name, reason in wrong.items():
        print(f"{name} was not made: {reason}", file=sys.stderr)
    with ThreadPoolExecutor(jobs) as pool:
        return list(there.values()), {**dict.fromkeys(wrong, 2), **dict(zip(names, pool.map(make, names), strict=True))}


def _wrong(several: Mapping[str, Settings], there: Collection[Path]) -> dict[str, str]:
    """Return what is wrong with runs beside their images, by name, before the first begins; ``there`` are made already."""
    found = {}
    for name, settings in several.items():
        try:
            if settings.out not in there:
                checked(settings, resume=True, force=False)
        except VirbError as error:
            found[name] = str(error)
    return found


def _several(
    path: str | os.PathLike[str], out: Path, only: tuple[str, ...], data_root: Path | None
) -> dict[str, Settings]:
    """Return the settings of a recipe's encoders, those in ``only`` or all."""
    runs = read_recipe(path)
    check_names(path, runs, only)
    root = {} if data_root is None else {"data_root": str(data_root)}
    return {
        name: Settings(out=out / f"{name}.pt", **{**root, **run})
        for name, run in runs.items()
        if not only or name in only
    }


def _up_to_date(settings: Settings, *, force: bool, quiet: bool, look: Look | None) -> Made:
    if force:
        return pretrain(settings, force=True, quiet=quiet, look=look)
    try:
        return pretrain(settings, resume=True, quiet=quiet, look=look)
    except StaleRun:
        return pretrain(settings, force=True, quiet=quiet, look=look)

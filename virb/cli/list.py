"""``virb list``: what there is."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

HELP = "list the parts of a kind: end tasks, pretraining methods, encoders, analyses, heads, metrics, ..."
EPILOG = """examples:
  virb list tasks
  virb list tasks --suite mini --json
  virb list methods --include ./my-methods
  virb list metrics                                # and heads, losses, probes, executors, ...
  virb list encoders                               # those that come with virb, and the published ones of the zoo
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from virb import registry

    parser.add_argument("what", choices=("encoders", *registry.KINDS), metavar="KIND", help="one of %(choices)s")
    parser.add_argument("--suite", help="only the tasks of this suite (the folder that their files lie in)")
    parser.add_argument("--json", action="store_true", help="print a JSON array of objects")


def run(args: argparse.Namespace) -> int:
    from virb.errors import UsageError

    if args.suite and args.what != "tasks":
        raise UsageError(f"--suite selects tasks; it has no meaning for 'list {args.what}'.")
    rows = {"tasks": _tasks, "encoders": _encoders}.get(args.what, _files)(args)
    if args.json:
        print(json.dumps(rows, indent=2))
    elif args.what == "encoders":
        _print_encoders(rows)
    else:
        _print_table(rows)
    return 0  # what is broken among them was said on stderr as it was met


def _tasks(args: argparse.Namespace) -> list[dict[str, Any]]:
    from virb import registry
    from virb.contracts.task import FromData
    from virb.errors import UsageError

    entries = registry.entries("tasks")
    if args.suite:
        suites = {entry.group for entry in entries}
        if args.suite not in suites:
            raise UsageError(f"Unknown suite {args.suite!r}. {registry.suggest(args.suite, suites)}")
        entries = [entry for entry in entries if entry.group == args.suite]
    places = {entry.name: entry for entry in entries}
    return [
        {
            "name": task.name,
            "suite": places[task.name].group,
            "category": task.category.value,
            "head": task.head,
            "loss": task.loss,
            "metric": task.metric,
            "version": task.version,
            "epochs": task.protocol.epochs,
            "classes": task.classes.value if isinstance(task.classes, FromData) else task.n_classes,
            "summary": task.summary,
            "origin": places[task.name].origin,
        }
        for task in registry.load_all(entries)[0]
    ]


def _files(args: argparse.Namespace) -> list[dict[str, Any]]:
    from virb import registry

    shown = {  # what parts of a kind say of themselves; those of other kinds are read as text, and not loaded
        "heads": ("reads",),
        "losses": ("takes",),
        "metrics": ("takes", "unit", "better"),
        "probes": ("takes", "is_random", "is_frozen"),
    }.get(args.what)
    entries = [entry for entry in registry.entries(args.what) if not entry.problem]
    if shown is None:
        is_text = args.what in ("methods", "analyses")
        return [{"name": e.name, "summary": e.summary if is_text else e.about, "origin": e.origin} for e in entries]
    rows = []
    for entry in entries:
        for part in registry.load_all([entry])[0]:
            about = {name: getattr(part, name) for name in shown}
            told = {key: sorted(value) if isinstance(value, frozenset) else value for key, value in about.items()}
            rows.append({"name": part.name, **told, "summary": part.summary, "origin": entry.origin})
    return rows


def _encoders(args: argparse.Namespace) -> list[dict[str, Any]]:
    """List the encoder files that come with virb (what is in them is not read: that needs torch), then the zoo's."""
    import importlib.util
    from pathlib import Path

    from virb.convert import zoo

    spec = importlib.util.find_spec("virb.encoders")
    folders = (spec.submodule_search_locations or []) if spec else []
    rows: list[dict[str, Any]] = []
    for path in (path for folder in folders for path in sorted(Path(folder).glob("*.pt"))):
        rows.append(_encoder_row(path.stem, path))
    for entry in zoo.published().values():
        about = {**entry.meta, "title": entry.title, "url": entry.url, "page": entry.page, "licence": entry.licence}
        about |= {"layout": entry.layout, "digest": entry.digest, "is_papers": entry.is_papers}
        rows.append(_encoder_row(f"{zoo.PREFIX}{entry.name}", entry.path, **about))
    return rows


_ENCODER_ABOUT = ("method", "dataset", "subset", "dataset_size", "balance", "epochs", "title", "url", "page", "licence")


def _encoder_row(name: str, path: Path, **about: Any) -> dict[str, Any]:
    is_present = path.is_file()
    return {
        "name": name,
        **{key: about.get(key) for key in (*_ENCODER_ABOUT, "layout", "digest", "is_papers")},
        "state": "present" if is_present else "absent",
        "size_mb": round(path.stat().st_size / 1e6, 2) if is_present else None,
        "path": str(path),
    }


def _print_table(rows: list[dict[str, Any]]) -> None:
    from virb.figures.tables import print_table

    hidden = {"summary", "origin", "version"} if rows and "category" in rows[0] else {"origin"}
    origins = {row.get("origin") for row in rows}
    if len(origins) > 1:
        hidden.discard("origin")  # where a name comes from is said as soon as there is more than one answer
    print_table(
        [
            {
                key: ", ".join(value) if isinstance(value, list) else value
                for key, value in row.items()
                if key not in hidden
            }
            for row in rows
        ]
    )


def _print_encoders(rows: list[dict[str, Any]]) -> None:
    from virb.convert import zoo
    from virb.figures.tables import print_table

    shown = ("name", "method", "dataset", "subset", "dataset_size", "epochs", "state", "size_mb")
    print_table(
        [{key: row[key] for key in shown} for row in rows],
        caption=f"zoo:NAME is fetched when it is first used, into {zoo.folder()}; --json says from where.",
    )

"""Write the pages of the reference that come from the code: the commands' help, every part of every kind, the errors."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterator
from pathlib import Path

from virb import cli, errors, registry

GENERATED = "<!-- Written by docs/build_reference.py when the site is built. -->\n"


def write(folder: Path) -> None:
    """Write the generated pages into ``folder``, each only if its text is new."""
    for name, text in {"commands.md": commands(), "parts.md": parts(), "errors.md": causes()}.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def commands() -> str:
    """Return the help of every verb, as the terminal prints it at 100 columns."""
    parser = cli.build_parser()
    verbs = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    lines = ["# Commands\n", GENERATED, "`virb VERB --help` prints each of these.\n"]
    for name, verb in verbs.choices.items():
        lines += [f"## virb {name}\n", "```text", _help(verb), "```\n"]
        for action in verb._actions:
            if isinstance(action, argparse._SubParsersAction):
                for inner, below in action.choices.items():
                    lines += [f"### virb {name} {inner}\n", "```text", _help(below), "```\n"]
    return "\n".join(lines)


def _help(parser: argparse.ArgumentParser) -> str:
    made = parser.formatter_class

    class Wide(made):  # type: ignore[misc, valid-type]
        def __init__(self, prog: str) -> None:
            super().__init__(prog, width=100, max_help_position=28)

    parser.formatter_class = Wide
    try:
        return parser.format_help().rstrip()
    finally:
        parser.formatter_class = made


def parts() -> str:
    """Return a table of the built-in parts of every kind."""
    lines = ["# Every part\n", GENERATED, "`virb list KIND` prints these, and yours with `--include DIR`.\n"]
    for kind, about in registry.KINDS.items():
        lines += [f"## {kind.capitalize()}\n", "| name | what it is |", "|---|---|"]
        for entry in registry.entries(kind):
            lines.append(f"| `{entry.name}` | {_cell(entry.about)} |")
        lines += ["", f"One of your own is a file that assigns `{about.attribute}`.\n"]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").strip()


def causes() -> str:
    """Return every error that virb raises on purpose, with what it means."""
    rows = [(each.__name__, inspect.getdoc(each) or "", _parents(each)) for each in _errors()]
    table = "\n".join(f"| `{name}` | {_cell(' '.join(text.split()))} | {parents} |" for name, text, parents in rows)
    return f"""# Errors and exit codes

{GENERATED}
A text says what was found, what was expected and what to do. The command prints it without a traceback.

| exit | meaning |
|---|---|
| 0 | all is done |
| 1 | some jobs (or encoders, or analyses) failed; each was named, and everything else is saved |
| 2 | the call cannot be carried out as it stands; nothing was computed |
| 130 | interrupted (Ctrl-C); what was finished is saved |

From Python each is a class of `virb.errors`:

| error | when | a kind of |
|---|---|---|
{table}
"""


def _errors() -> Iterator[type[errors.VirbError]]:
    for each in vars(errors).values():
        if isinstance(each, type) and issubclass(each, errors.VirbError):
            yield each


def _parents(each: type) -> str:
    return ", ".join(f"`{base.__name__}`" for base in each.__mro__[1:] if base in set(_errors())) or "`Exception`"


if __name__ == "__main__":
    write(Path(__file__).parent / "reference")

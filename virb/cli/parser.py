"""Arguments that are wrong are named with what was meant, and with the help of the verb that they were given to."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

MAY_BE_EMPTY = ("--date",)  # of a report: none


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are short, suggest what was meant, and whose positionals may stand between options."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong, what was meant, and where the help is; exit with status 2."""
        print(f"{self.prog}: {message}{self._suggestion(message)} See: {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse; what is left over belongs to the verb: a further file, or an option that it has not."""
        texts = sys.argv[1:] if args is None else list(args)
        found, rest = self.parse_known_args(texts, namespace)
        verb = self._verbs().get(getattr(found, "verb", ""), self)
        empty = [what for what in _empty(texts) if what not in MAY_BE_EMPTY]
        if empty:
            verb.error(
                f"{empty[0]} is empty, as an unset variable of the shell leaves it. Give a value, or leave it out."
            )
        many = [action for action in verb._actions if not action.option_strings and action.nargs in ("*", "+")]
        if rest and (not many or any(text.startswith("-") for text in rest)):
            verb.error(f"unknown: {' '.join(rest)}.")
        if rest:
            setattr(found, many[-1].dest, [*(getattr(found, many[-1].dest) or []), *rest])
        return found

    def _verbs(self) -> dict[str, Parser]:
        return {name: parser for action in self._actions if isinstance(action, argparse._SubParsersAction)
                for name, parser in action.choices.items()}  # fmt: skip

    def _suggestion(self, message: str) -> str:
        """What may have been meant: an option for an unknown one, a choice for one that is none."""
        stop = "" if message.rstrip().endswith((".", "?", "!")) else "."
        known = [text for action in self._actions for text in action.option_strings if text.startswith("--")]
        wrong = re.findall(r"(?<![\w-])--[\w-]+", message) if message.startswith("unknown: ") else []
        chosen = re.match(r"argument (\S+): invalid choice: '([^']*)'", message)
        if chosen:
            known = [str(choice) for action in self._actions if action.choices for choice in action.choices]
            wrong = [chosen[2]]
        near = [match for text in wrong for match in difflib.get_close_matches(text, known, n=1, cutoff=0.7)]
        return f"{stop} Did you mean {' or '.join(near)}?" if near else stop


def _empty(texts: Sequence[str]) -> Iterator[str]:
    """Yield what was given no value: the option's name, or "an argument"."""
    for before, text in zip(["", *texts], texts, strict=False):
        if found := re.fullmatch(r"(--[\w-]+)=\s*", text):
            yield found[1]
        elif not text.strip():
            yield before if re.fullmatch(r"--[\w-]+", before) else "an argument"

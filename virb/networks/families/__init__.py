"""Families of networks whose members differ by their options alone: one file a family, which assigns ``BACKBONE``.

A family is asked for by its file's name, as ``vit`` with ``dim=384,depth=12``. The registry finds the files, the user's
too. Reading the options' names imports the family's file, and so the library that it builds on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from virb import registry
from virb.errors import UsageError

if TYPE_CHECKING:
    from virb.networks.backbones import Backbone


@dataclass(frozen=True)
class Family:
    """One family.

    Attributes:
        name: the file's.
        defaults: every option with its default, whose type is the option's.
        build: takes all options and whether weights are drawn (else they hold anything until they are loaded).
        choices: option -> the only values it may have. Other whole numbers are at least 0, other numbers above 0.
    """

    name: str
    defaults: Mapping[str, Any]
    build: Callable[[Mapping[str, Any], bool], Backbone]
    choices: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def check(self, arch: str, options: Mapping[str, Any]) -> None:
        """Raise UsageError if an option has a value that it cannot take."""
        for key, value in options.items():
            if key in self.choices:
                is_good, expected = value in self.choices[key], " or ".join(map(str, self.choices[key]))
            elif isinstance(value, int):
                is_good, expected = value >= 0, "a whole number of at least 0"
            elif isinstance(value, float):
                is_good, expected = 0 < value < 1e6, "a number above 0"
            else:
                is_good, expected = bool(value), "a text"
            if not is_good:
                raise UsageError(f"{arch}: option {key} is {value!r}; expected {expected}.")


def names() -> list[str]:
    """Return the names of all families."""
    return registry.names("backbones")


def find(name: str) -> Family | None:
    """Return the family called ``name``, None if there is none.

    Raises:
        RegistryError: its file is broken.
    """
    found = {entry.name: entry for entry in registry.entries("backbones")}
    return registry.load_entry(found[name]) if name in found else None


def numbers(text: str, what: str) -> tuple[int, ...]:
    """Return the whole numbers of an option such as ``3/3/9/3``.

    Raises:
        UsageError: it holds something else.
    """
    try:
        return tuple(int(part) for part in text.split("/"))
    except ValueError as error:
        raise UsageError(f"{what} is {text!r}; expected whole numbers as in 3/3/9/3.") from error

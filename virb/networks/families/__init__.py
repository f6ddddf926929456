"""Families of networks whose members differ by their options alone: one file a family, which assigns ``BACKBONE``.

A family is asked for by its file's name, as ``vit`` with ``dim=384,depth=12``. The registry finds the files, the user's
too. Reading the options' names imports the family's file, and so the library that it builds on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from virb import registry
from virb.contracts.parts import check_names
from virb.errors import UsageError

if TYPE_CHECKING:
    from virb.networks.base import Backbone


MOST = 2**31


@dataclass(frozen=True)
class Family:
    """One family.

    Attributes:
        name: the file's.
        defaults: every option with its default, whose type is the option's.
        build: takes all options and whether weights are drawn (else they hold anything until they are loaded).
        choices: option -> the only values it may have.
        limits: option -> the least and the greatest value; else whole numbers are at least 0, other numbers above 0.
        settle: returns options that build one and the same network as one.
    """

    name: str
    defaults: Mapping[str, Any]
    build: Callable[[Mapping[str, Any], bool], Backbone]
    choices: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    settle: Callable[[dict[str, Any]], dict[str, Any]] = dict

    def complete(self, arch: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return all options, defaults filled in and each of its default's type; ``arch`` is for the errors.

        Raises:
            UsageError: an unknown option, or a value that it cannot take.
        """
        check_names(self.defaults, options, arch)
        full = dict(self.defaults)
        for key, value in options.items():
            kind = type(full[key])
            try:
                if kind is int and isinstance(value, float) and not value.is_integer():
                    raise ValueError
                full[key] = kind(value)
            except (TypeError, ValueError, OverflowError) as error:
                raise UsageError(f"{arch}: option {key} is {value!r}; expected {kind.__name__}.") from error
        self._check(arch, full)
        return self.settle(full)

    def _check(self, arch: str, options: Mapping[str, Any]) -> None:
        for key, value in options.items():
            if key in self.choices:
                is_good, expected = value in self.choices[key], " or ".join(map(str, self.choices[key]))
            elif isinstance(value, int):
                least, most = self.limits.get(key, (0, MOST))
                is_good, expected = least <= value <= most, "a whole number " + _range(least, most)
            elif isinstance(value, float):
                least, most = self.limits.get(key, (0, 1e6))
                is_good, expected = least < value <= most, f"a number above {least:g} and at most {most:g}"
            else:
                is_good, expected = bool(value), "a text"
            if not is_good:
                raise UsageError(f"{arch}: option {key} is {value!r}; expected {expected}.")


def _range(least: float, most: float) -> str:
    return f"of at least {least}" if most >= MOST else f"from {least} to {most}"


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

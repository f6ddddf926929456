"""What parts of several kinds share: the kinds of target, and options that are checked where they are given."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from virb.errors import RegistryError, UsageError

#: What a task's targets may be. Of an example: one class; labels, several of which may hold; a number or some; how relevant
#: each training example is to it (relevance). Of a pixel: a class (mask), or a number or two (map).
TARGETS = ("class", "labels", "number", "relevance", "mask", "map")
PIXELWISE = frozenset({"mask", "map"})

#: What the numbers of a map are, where a task says it: distances, motions in pixels, or directions of surfaces.
QUANTITIES = ("depth", "flow", "direction")

_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Option:
    """One setting of a part; its type is ``type``, by default that of ``default``. Bounds include their ends.

    ``is_later``, of a pretraining method: it came when encoders had been made without it, so that at its default it is no
    part of what a run is called (:meth:`virb.contracts.method.Method.called`).
    """

    name: str
    default: Any = None
    help: str = ""
    type: Callable[[Any], Any] | None = None
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    is_later: bool = False

    def __post_init__(self) -> None:
        if self.type is not None and not callable(self.type):
            raise RegistryError(f"Option {self.name!r}: type={self.type!r} is no type; choices are choices=(...).")

    def parse(self, value: Any) -> Any:
        """Return ``value`` (text from a command line or a plain value) as the option's type.

        Raises:
            UsageError: it is not of that type, out of bounds, or none of the choices.

        >>> Option("hidden", 256, low=1).parse("64")
        64
        """
        if value is None and self.default is None:
            return None
        kind = self.type or (str if self.default is None else type(self.default))
        try:
            parsed = _as(kind, value)
        except (TypeError, ValueError, OverflowError):
            name = getattr(kind, "__name__", str(kind))
            raise UsageError(f"Option {self.name}={value!r} is not of type {name}. {self.help}".rstrip()) from None
        if self.choices and parsed not in self.choices:
            expected = ", ".join(str(choice) for choice in self.choices)
            raise UsageError(f"Option {self.name}={value!r}: expected one of {expected}.")
        if (self.low is not None and parsed < self.low) or (self.high is not None and parsed > self.high):
            bounds = [f"at least {self.low:g}"] if self.low is not None else []
            bounds += [f"at most {self.high:g}"] if self.high is not None else []
            raise UsageError(f"Option {self.name}={value!r}: expected {' and '.join(bounds)}.")
        return parsed


def _as(kind: Callable[[Any], Any], value: Any) -> Any:
    if kind is bool:
        return _BOOLEANS[str(value).lower()] if str(value).lower() in _BOOLEANS else _refuse()
    if kind in (int, float):
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            return _refuse()
        parsed = kind(value)
        if not math.isfinite(parsed) or (kind is int and isinstance(value, float) and value != parsed):
            return _refuse()
        return parsed
    if kind is str and not isinstance(value, str):
        return _refuse()
    if not isinstance(kind, type) and not isinstance(value, str):
        return value  # a function reads texts; who calls from Python gives the value itself
    return kind(value)


def _refuse() -> Any:
    raise ValueError


def check_names(known: Collection[str], given: Iterable[str], what: str) -> None:
    """Raise UsageError if a name in ``given`` is none of ``known``, ``what``'s options.

    >>> check_names(["hidden", "depth"], ["hiden"], "The head 'mlp'")
    Traceback (most recent call last):
        ...
    virb.errors.UsageError: The head 'mlp' has no option 'hiden'; it has hidden, depth. Did you mean hidden?
    """
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UsageError(f"{what} has no option {name!r}; it has {', '.join(known) or 'none'}.{hint}")


def resolve(options: Sequence[Option], given: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return the value of every option: what is ``given``, else its default.

    Raises:
        UsageError: a name is none of ``what``'s options, or a value is not what its option takes.
    """
    check_names([option.name for option in options], given, what)
    try:
        return {one.name: one.parse(given[one.name]) if one.name in given else one.default for one in options}
    except UsageError as error:
        raise UsageError(f"{what}: {error}") from None


def checked_targets(takes: Iterable[str], what: str) -> frozenset[str]:
    """Return ``takes`` as a set of :data:`TARGETS`.

    Raises:
        RegistryError: it is empty or holds another word.
    """
    found = frozenset([takes] if isinstance(takes, str) else takes)
    if not found or not found <= set(TARGETS):
        said = ", ".join(sorted(found)) or "nothing"
        raise RegistryError(f"{what} takes {said}; expected some of {', '.join(TARGETS)}.")
    return found

"""What encoders, probes and records are called in a results folder."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


def folded(name: str) -> str:
    """Return ``name`` as file systems compare that know no case and write accents in either form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def same_name(a: str, b: str) -> bool:
    return unicodedata.normalize("NFC", a) == unicodedata.normalize("NFC", b)


def is_record_name(name: str) -> bool:
    """Whether a file is called like a record: ``<probe>-seed<k>.json``."""
    probe, dash, number = name.removesuffix(".json").rpartition("-seed")
    return name.endswith(".json") and bool(probe and dash) and not probe.startswith(".") and number.isdecimal()


def probe_name(probe: str, overrides: Mapping[str, Any]) -> str:
    """Return the name that a probe's records carry: with its overrides, if there are any.

    >>> probe_name("gradient", {"limit": 100, "epochs": 5})
    'gradient+epochs=5+limit=100'
    """
    return "+".join([probe, *(f"{key}={overrides[key]}" for key in sorted(overrides))])


def base_probe(name: str) -> str:
    """Return the probe that records of this name are of, whatever its overrides.

    >>> base_probe("gradient+epochs=5+limit=100")
    'gradient'
    """
    return name.partition("+")[0]


def without_overrides(name: str, overrides: Collection[str]) -> str:
    """Return the name of a probe's records without some of the overrides in it.

    >>> without_overrides("knn+label_fraction=0.1+limit=100", ["label_fraction"])
    'knn+limit=100'
    """
    probe, *given = name.split("+")
    return "+".join([probe, *(part for part in given if part.partition("=")[0] not in overrides)])

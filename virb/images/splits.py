"""Which split a folder's, file's or cell's name stands for: train, validation or test."""

from __future__ import annotations

from collections.abc import Iterable

from virb.errors import DataError

WORDS = {
    "train": ("train", "training", "trn"),
    "validation": ("validation", "valid", "val", "validate", "dev", "eval"),
    "test": ("test", "testing", "tst"),
}


def role(name: str) -> str:
    """Return "train", "validation" or "test", or "" for a name that is none of their usual ones.

    >>> role("Valid"), role("extra")
    ('validation', '')
    """
    return next((found for found, words in WORDS.items() if name.lower() in words), "")


def roles(names: Iterable[str]) -> dict[str, str]:
    """Return which of ``names`` train, validate and test. Without a test split the validation split tests.

    >>> roles(["train", "val"])
    {'train': 'train', 'test': 'val'}

    Raises:
        DataError: two names are one split.
    """
    found: dict[str, str] = {}
    for name in names:
        what = role(name)
        if what and found.setdefault(what, name) != name:
            raise DataError(f"Both {found[what]!r} and {name!r} look like the {what} split. Say which with {what}=.")
    if "test" not in found and "validation" in found:
        found["test"] = found.pop("validation")
    return {what: found[what] for what in ("train", "validation", "test") if what in found}

"""Subsets to pretrain on, by rule, as manifests: which images of a set, in which order, drawn how.

The rules are those of Kotar et al. 2021 (half, quarter, lin, log) and Cole et al. 2022 (nested, classes). A manifest is
plain JSON with a hash of its own; the same rule, seed and source give the same bytes on every machine.

======================  ==============================================================================================
half, quarter           1/2, 1/4 of every class, uniformly; without labels, of the whole
each(N)                 N images of every class, uniformly: with 1000 classes each(500) has 500,000, the other reading of
                        "half of ImageNet", where half has one half of each class, whatever that is
lin, lin(s)             s * n images of the n-th class (s = 1; 1000 classes of ImageNet give 500,500)
log, log(f,l,t)         lambda * exp(a * n) + b images of class n: f of the first class, l of the last, t in all
                        (1, 1000 and 250,000)
nested(N)               N images; a smaller subset of the same seed lies in every larger one
classes(K,N)            N images spread evenly over K classes; fewer classes of the same seed are among more
======================  ==============================================================================================

``lin`` and ``log`` rank the classes by a permutation drawn from the seed, or, with ``class_order="sorted"``, as they are
listed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from virb.errors import DataError, UsageError
from virb.system import documents
from virb.system.files import atomic_write

FORMAT = "virb-subset/1"
MOST_BYTES = 4 << 30  # of a manifest, with the paths of some ten million images
RULES = ("half", "quarter", "each", "lin", "log", "nested", "classes")
WHOLE = ("each", "nested", "classes")  # their numbers count images or classes
CLASS_ORDERS = ("seeded", "sorted")


@dataclass(frozen=True)
class Rule:
    """A parsed rule: its name and its numbers."""

    name: str
    numbers: tuple[float, ...] = ()

    def __str__(self) -> str:
        numbers = (str(int(x)) if x == int(x) else repr(x) for x in self.numbers)
        return f"{self.name}({','.join(numbers)})" if self.numbers else self.name


@dataclass(frozen=True)
class Manifest:
    """Which images of a source make a subset.

    ``positions`` are indices into the source, in the subset's order (ascending); ``paths`` name the same images where
    they are files; ``counts`` are the images of each class; ``notes`` say where the rule could not be met.
    """

    source: str
    source_revision: str
    source_size: int
    rule: str
    seed: int
    class_order: str
    positions: tuple[int, ...]
    paths: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """The hash of everything in the manifest."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the manifest, whole or not at all."""
        content = {"format": FORMAT, "sha256": self.sha256, **asdict(self)}
        with atomic_write(path) as file:
            file.write((json.dumps(content, sort_keys=True) + "\n").encode())


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read a manifest.

    Raises:
        DataError: the file is absent, is no manifest, or was changed after it was written.
    """
    try:
        content = documents.read_json(path, most=MOST_BYTES)
        if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
            raise ValueError(f"it is not of the format {FORMAT}")
        recorded = content.pop("sha256", None)
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
        manifest = Manifest(**fields)
        wrong = _problem(manifest)
        if wrong:
            raise ValueError(wrong)
    except documents.DocumentError as error:
        raise DataError(f"{error} Expected a subset's manifest.") from error
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is not a subset's manifest ({error}). Make the subset again.") from error
    if manifest.sha256 != recorded:
        raise DataError(f"{path} was changed after it was written: its hash does not fit. Make the subset again.")
    return manifest


def _problem(manifest: Manifest) -> str:
    """What is wrong with the values of a manifest, whatever its hash says; nothing if they can be what they stand for."""
    texts = (manifest.source, manifest.source_revision, manifest.rule, manifest.class_order)
    if not all(isinstance(text, str) for text in texts) or manifest.class_order not in CLASS_ORDERS:
        return "source, source_revision, rule or class_order is no text of its kind"
    if not all(type(n) is int and n >= 0 for n in (manifest.source_size, manifest.seed)):
        return "source_size or seed is no whole number"
    positions = manifest.positions
    if not isinstance(positions, tuple) or not positions or not all(type(p) is int for p in positions):
        return "positions are not whole numbers"
    if (
        positions[0] < 0
        or positions[-1] >= manifest.source_size
        or any(a >= b for a, b in itertools.pairwise(positions))
    ):
        return f"positions are not ascending, each once, below {manifest.source_size}"
    for name, kind in (("paths", str), ("notes", str), ("counts", int)):
        value = getattr(manifest, name)
        if not isinstance(value, tuple) or not all(type(item) is kind for item in value):
            return f"{name} are not all {'texts' if kind is str else 'whole numbers'}"
    if manifest.paths and len(manifest.paths) != len(positions):
        return f"{len(manifest.paths)} paths for {len(positions)} positions"
    if manifest.counts and (min(manifest.counts) < 0 or sum(manifest.counts) != len(positions)):
        return "the counts of the classes do not add up to the positions"
    return ""


def parse_rule(text: str) -> Rule:
    """Read a rule such as "half", "lin(40)" or "classes(6,1200)".

    Raises:
        UsageError: the rule is unknown or its numbers do not fit it.
    """
    match = re.fullmatch(r"\s*([a-z]+)\s*(?:\(([^()]*)\))?\s*", text)
    if not match or match[1] not in RULES:
        raise UsageError(
            f"Unknown subset rule {text!r}; expected half, quarter, each(N), lin, lin(s), log, log(first,last,total), nested(N) or "
            "classes(K,N), or a manifest's file."
        )
    try:
        numbers = tuple(float(part) for part in match[2].split(",")) if match[2] else ()
    except ValueError as error:
        raise UsageError(f"Subset rule {text!r}: {match[2]!r} are not numbers.") from error
    allowed = {
        "half": (0,),
        "quarter": (0,),
        "each": (1,),
        "lin": (0, 1),
        "log": (0, 3),
        "nested": (1,),
        "classes": (2,),
    }[match[1]]
    if len(numbers) not in allowed or any(not x > 0 or not np.isfinite(x) for x in numbers):
        raise UsageError(f"Subset rule {text!r}: {match[1]} takes {' or '.join(map(str, allowed))} numbers above 0.")
    if match[1] in WHOLE and any(x != int(x) for x in numbers):
        raise UsageError(f"Subset rule {text!r}: {match[1]} counts images or classes; expected whole numbers.")
    return Rule(match[1], numbers)


def lin_counts(n_classes: int, scale: float = 1.0) -> np.ndarray:
    """Return how many images the n-th class has, n = 1..K: round(scale * n), at least 1."""
    return np.maximum(1, np.rint(scale * np.arange(1, n_classes + 1))).astype(np.int64)


def log_parameters(
    n_classes: int, first: float = 1, last: float = 1000, total: float = 250_000
) -> tuple[float, float, float]:
    """Return (lambda, a, b) with lambda * exp(a * n) + b equal to ``first`` at n = 1, ``last`` at n = K, ``total`` in sum.

    For ImageNet's 1000 classes and 250,000 images they are 27.55, .003618 and -26.65.

    Raises:
        UsageError: no such curve exists: the total must lie between that of (almost) one class and the line's.
    """
    from scipy.optimize import brentq

    n = np.arange(1, n_classes + 1, dtype=np.float64)
    line = n_classes * (first + last) / 2
    if n_classes < 3 or not first < last or not first * (n_classes - 1) + last < total < line:
        raise UsageError(
            f"log({first:g},{last:g},{total:g}) is impossible for {n_classes} classes: the total must be above "
            f"{first * (n_classes - 1) + last:g} and below {line:g}, the first below the last, the classes at least 3."
        )

    def curve(a: float) -> tuple[float, float]:
        rise = np.expm1(a * (n_classes - 1))
        scale = (last - first) / (rise * np.exp(a))
        return scale, first - scale * np.exp(a)

    def excess(a: float) -> float:
        scale, shift = curve(a)
        return float((scale * np.exp(a * n) + shift).sum() - total)

    a = float(brentq(excess, 1e-9 / n_classes, 500 / n_classes, xtol=1e-15))
    scale, shift = curve(a)
    return scale, a, shift


def log_counts(n_classes: int, first: float = 1, last: float = 1000, total: float = 250_000) -> np.ndarray:
    """Return how many images the n-th class has under ``log``, rounded."""
    scale, a, shift = log_parameters(n_classes, first, last, total)
    return np.rint(scale * np.exp(a * np.arange(1, n_classes + 1)) + shift).astype(np.int64)


def _stream(seed: int, what: str) -> np.random.Generator:
    # PCG64 and permutation() by name, whose output NumPy keeps the same: a manifest must not depend on the machine.
    key = int.from_bytes(hashlib.sha256(f"{what}/{seed}".encode()).digest()[:16], "little")
    return np.random.Generator(np.random.PCG64(key))


def select(
    rule: Rule | str,
    *,
    n_images: int,
    label: np.ndarray | None,
    classes: Sequence[str],
    seed: int = 0,
    class_order: str = "seeded",
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the positions that ``rule`` selects, ascending, and notes on what it could not do.

    Args:
        n_images: N, the size of the source.
        label: classes of the images, (N,), or None.
        classes: the names of the classes, K of them.
        class_order: "seeded" or "sorted": which class is the n-th.

    Raises:
        UsageError: the rule needs labels and there are none, or it asks for more than there is.
    """
    rule = parse_rule(rule) if isinstance(rule, str) else rule
    if class_order not in CLASS_ORDERS:
        raise UsageError(f"Unknown class order {class_order!r}; expected {' or '.join(CLASS_ORDERS)}.")
    if rule.name in ("each", "lin", "log", "classes") and label is None:
        raise UsageError(f"The subset rule {rule} needs labels, and this data set has none.")
    if rule.name == "nested":
        n = int(rule.numbers[0])
        if n > n_images:
            raise UsageError(f"{rule} asks for {n} images; the data set has {n_images}.")
        return np.sort(_stream(seed, "nested").permutation(n_images)[:n]), ()

    members = _members(label, len(classes), n_images, seed)
    if rule.name in ("half", "quarter"):
        share = 2 if rule.name == "half" else 4
        return np.sort(np.concatenate([m[: max(1, round(len(m) / share))] for m in members if len(m)])), ()

    rank = np.arange(len(classes)) if class_order == "sorted" else _stream(seed, "classes").permutation(len(classes))
    if rule.name == "classes":
        k, n = (int(x) for x in rule.numbers)
        if k > len(classes):
            raise UsageError(f"{rule} asks for {k} classes; the data set has {len(classes)}.")
        if n < k:
            raise UsageError(f"{rule} spreads {n} images over {k} classes: that is less than one each.")
        wanted = np.zeros(len(classes), np.int64)
        wanted[:k] = n // k
        wanted[: n % k] += 1
    elif rule.name == "each":
        wanted = np.full(len(classes), int(rule.numbers[0]))
    elif rule.name == "lin":
        wanted = lin_counts(len(classes), *rule.numbers)
    else:
        wanted = log_counts(len(classes), *rule.numbers)
    chosen, notes = [], []
    for c, n in zip(rank.tolist(), wanted.tolist(), strict=True):
        found = members[c]
        if n > len(found):
            notes.append(f"class {classes[c]} has {len(found)} of the {n} images that {rule} asks for; all are taken")
        chosen.append(found[:n])
    return np.sort(np.concatenate(chosen)), tuple(notes)


def _members(label: np.ndarray | None, n_classes: int, n_images: int, seed: int) -> list[np.ndarray]:
    """The positions of each class, each in a seeded order (so that a smaller share lies in every larger one)."""
    if label is None:
        return [_stream(seed, "all").permutation(n_images)]
    return [_stream(seed, f"class {c}").permutation(np.flatnonzero(label == c)) for c in range(n_classes)]


def make_manifest(
    rule: Rule | str,
    *,
    source: str,
    source_revision: str,
    n_images: int,
    label: np.ndarray | None,
    classes: Sequence[str],
    paths: Sequence[str] = (),
    seed: int = 0,
    class_order: str = "seeded",
) -> Manifest:
    """Return the manifest of ``rule`` on a source; see ``select``."""
    rule = parse_rule(rule) if isinstance(rule, str) else rule
    positions, notes = select(rule, n_images=n_images, label=label, classes=classes, seed=seed, class_order=class_order)
    counts = () if label is None else tuple(int(n) for n in np.bincount(label[positions], minlength=len(classes)))
    return Manifest(
        source=source,
        source_revision=source_revision,
        source_size=n_images,
        rule=str(rule),
        seed=seed,
        class_order=class_order,
        positions=tuple(int(p) for p in positions),
        paths=tuple(paths[p] for p in positions) if len(paths) else (),
        counts=counts,
        notes=notes,
    )

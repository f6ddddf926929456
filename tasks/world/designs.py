"""Designs of animals and land: combinations of discrete options, each kept for one side of the split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from virb.tasks.world.furniture import Design, Rng

Options = Mapping[str, tuple[Any, ...]]


def is_test_design(options: Options, design: Design) -> bool:
    """Whether this combination is kept for test splits: the sum of the options' indices modulo m decides.

    m is 4, or less where the options are few: every single option occurs on both sides.
    """
    spans = [len(values) - 1 for values in options.values()]
    m = min(4, sum(spans) - max(spans) + 1)
    return sum(options[name].index(value) for name, value in design.items()) % m == m - 1


def draw_design(options: Options, rng: Rng, *, is_test: bool) -> Design:
    """Draw one value of every option, so that the combination is of the wanted side."""
    while True:
        design = {name: values[int(rng.integers(len(values)))] for name, values in options.items()}
        if is_test_design(options, design) == is_test:
            return design

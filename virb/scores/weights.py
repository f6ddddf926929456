"""Weights of tasks as a user gives them, and what counts as one: tasks of a category, pretrainings of one recipe."""

from __future__ import annotations

import numpy as np
import pandas as pd

from virb.contracts.analysis import Option, comma_list, names_in_words
from virb.errors import UsageError
from virb.scores.layout import Prepared
from virb.scores.schema import as_words, encoder_table

WEIGHTS = Option(
    "weights",
    (),
    "Weights, NAME:VALUE with commas between: tasks, categories, or words of them (structural:.7); the other tasks share what is left.",
    type=comma_list,
)


def parse_weights(given: tuple[str, ...], categories: pd.Series) -> pd.Series:
    """Weight of every task, summing to 1: ``NAME:VALUE``, a task, a category or a word of categories, shared equally among
    its tasks; what is left of 1 is shared by the other tasks.

    Raises:
        UsageError: a name fits no task, two names fit one, or the values leave nothing to share.
    """
    tasks = [str(task) for task in categories.index]
    weight = pd.Series(float("nan"), index=categories.index)
    total = 0.0
    for text in given:
        name, colon, value = text.rpartition(":")
        try:
            share = float(value)
        except ValueError:
            share = -1.0
        if not colon or not share >= 0:
            raise UsageError(f"weights={text}: expected NAME:VALUE, such as structural:.7, with a value of 0 or more.")
        word = name.lower()
        hit = pd.Series([task == name for task in tasks], index=categories.index)
        if not hit.any():
            hit = categories == word
        if not hit.any():
            hit = pd.Series([word in category.split() for category in categories], index=categories.index)
        if not hit.any():
            known = [*dict.fromkeys(category for category in categories if category), *tasks]
            raise UsageError(
                f"weights={text}: {name!r} is no task, no category and no word of one; there are {names_in_words(known, 12)}."
            )
        if weight[hit].notna().any():
            raise UsageError(
                f"weights={text}: {names_in_words(list(weight.index[hit & weight.notna()]))} has a weight already."
            )
        weight[hit] = share / hit.sum()
        total += share
    rest = weight.isna()
    if rest.any():
        if given and total > 1 + 1e-9:
            raise UsageError(
                f"weights: {total:g} is given away, and {names_in_words(list(weight.index[rest]))} have none; the weights of all tasks sum to 1."
            )
        weight[rest] = max(0.0, 1 - total) / rest.sum()
    if weight.sum() <= 0:
        raise UsageError("weights: no task has any.")
    return weight / weight.sum()


def repeats_of(data: Prepared) -> pd.Series:
    """What every encoder is a pretraining of: its declared ``repeat``, else itself."""
    about = encoder_table(data.frame).loc[data.wide.index]
    own = about.index.to_series().astype(str)
    if "repeat" not in about:
        return own
    shared = about["repeat"].notna() & about["repeat"].duplicated(keep=False)
    return own.where(~shared, as_words(about["repeat"]))


def blocks_of(categories: pd.Series) -> tuple[np.ndarray, str]:
    """Which tasks count as one, and in what words: those of a category, unless all are of one or each of its own."""
    if 1 < categories.nunique() < len(categories):
        return pd.factorize(categories)[0], f"{categories.nunique()} categories, whose tasks need not be independent"
    return np.arange(len(categories)), f"{len(categories)} tasks, counted as independent"

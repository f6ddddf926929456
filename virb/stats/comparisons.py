"""Comparisons of encoders that differ in one thing: pairs, rules, and scores against chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from virb.errors import ScoresError
from virb.stats.effects import detectable_mean_difference


def pairs_alike_but(about: pd.DataFrame, column: str, baseline: str) -> pd.DataFrame:
    """Pair every encoder with those that differ from it in one column alone, where they have the baseline's value.

    Args:
        about: one row an encoder (E, columns), indexed by its name; missing values count as equal.
        column: in which the two of a pair differ; encoders without a value there are in no pair.
        baseline: the value of ``column`` that others are compared with.

    Returns:
        DataFrame: encoder, value, base (the encoder compared with), in the order of ``about``.

    Raises:
        ScoresError: ``about`` has no such column.
    """
    if column not in about:
        raise ScoresError(f"There is no column {column!r}; there are {', '.join(map(str, about.columns))}.")
    known = about[about[column].notna()]
    others = known.drop(columns=column).astype(object)
    same = others.where(others.notna(), "").astype(str).agg("\n".join, axis=1) if others.shape[1] else ""
    table = pd.DataFrame({"value": known[column].astype(str), "key": same}, index=known.index)
    bases: dict[str, list[str]] = {}
    for name, row in table[table["value"] == baseline].iterrows():
        bases.setdefault(str(row["key"]), []).append(str(name))
    rows = [
        (str(name), str(row["value"]), base)
        for name, row in table[table["value"] != baseline].iterrows()
        for base in bases.get(str(row["key"]), [])
    ]
    return pd.DataFrame(rows, columns=["encoder", "value", "base"])


def setting_changes(scores: pd.DataFrame, pairs: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """Mean change in score over pairs of encoders, task by task (Cole et al. 2022, Table A2: resized less native).

    The interval is Student's over pairs, NaN for a single pair; pairs of one ``family`` (a column of ``pairs``, where there is one)
    are averaged first, for they are not independent.

    Args:
        scores: encoders x tasks.
        pairs: columns encoder and base, as :func:`pairs_alike_but` gives them.

    Returns:
        DataFrame: task, n_pairs, base_score, score, change, low, high, relative (percent of |base_score|; NaN for 0),
            detectable (change found with power .8 at this spread).

    Raises:
        ScoresError: no pair, an encoder is absent, or a score missing.
    """
    if pairs.empty:
        raise ScoresError("There is no pair of encoders to compare.")
    for name in [*pairs["encoder"], *pairs["base"]]:
        if name not in scores.index:
            raise ScoresError(f"There is no encoder {name!r} among the scores.")
    after, before = scores.loc[list(pairs["encoder"])], scores.loc[list(pairs["base"])]
    if after.isna().to_numpy().any() or before.isna().to_numpy().any():
        raise ScoresError("A score of one of the pairs is missing.")
    if "family" in pairs:
        after, before = (part.groupby(pairs["family"].to_numpy(), sort=False).mean() for part in (after, before))
    rows = []
    n = len(after)
    for task in scores.columns:
        gap = after[task].to_numpy(float) - before[task].to_numpy(float)
        low = high = detectable = np.nan
        if n > 1:
            se = float(gap.std(ddof=1) / np.sqrt(n))
            half = float(scipy_stats.t.ppf(0.5 + confidence / 2, n - 1)) * se
            low, high = gap.mean() - half, gap.mean() + half
            detectable = detectable_mean_difference(se, n - 1, alpha=1 - confidence)
        base = float(before[task].mean())
        relative = 100 * gap.mean() / abs(base) if base else np.nan
        rows.append((task, n, base, float(after[task].mean()), gap.mean(), low, high, relative, detectable))
    columns = ["task", "n_pairs", "base_score", "score", "change", "low", "high", "relative", "detectable"]
    return pd.DataFrame(rows, columns=columns)


def rule_differences(
    scores: pd.DataFrame, rule: str, *, first: str, second: str, by: Sequence[str], threshold: float = 0.5
) -> pd.DataFrame:
    """Score under one rule less that under another, setting by setting; the better is marked beyond ``threshold``.

    Chen et al. 2020, Table B.1: learning rates that grow with the batch linearly, or with its square root; the result
    that is better by more than half a percent is bold.

    Args:
        scores: tidy, with columns score, ``rule`` and those of ``by``; repeats are averaged.
        first, second: the two values of ``rule``; the difference is second less first.
        by: columns that name a setting.

    Returns:
        DataFrame: the columns of ``by``, first, second (mean scores), difference, better (the rule that is better by
            more than ``threshold``, else ""); settings with both rules.

    Raises:
        ScoresError: a column is absent, or no setting has both rules.
    """
    needed = ["score", rule, *by]
    absent = [name for name in needed if name not in scores]
    if absent:
        raise ScoresError(f"Comparing rules needs the columns {', '.join(needed)}; {', '.join(absent)} is absent.")
    wide = (
        scores.assign(**{rule: scores[rule].astype(str)}).groupby([*by, rule], sort=True)["score"].mean().unstack(rule)
    )
    if first not in wide or second not in wide or wide[[first, second]].dropna().empty:
        raise ScoresError(f"No setting of {', '.join(by)} was scored with both {rule} {first} and {rule} {second}.")
    both = wide[[first, second]].dropna().reset_index()
    both.columns = pd.Index([*by, "first", "second"])
    both["difference"] = both["second"] - both["first"]
    # Printed scores have few digits: their difference must not pass a threshold by rounding.
    both["better"] = np.select(
        [both["difference"] > threshold + 1e-9, both["difference"] < -threshold - 1e-9], [second, first], ""
    )
    return both


def above_chance(
    score: Sequence[float], chance: Sequence[float], n: Sequence[float] | None = None, *, confidence: float = 0.95
) -> pd.DataFrame:
    """How far accuracies lie above what guessing gives: kappa = (score - chance) / (1 - chance), and an exact test.

    Chen et al. 2020, Table 3: 97.4 % on a label that is right 80 % of the time by chance is kappa .87.

    Args:
        score, chance: (N,) accuracies in fractions.
        n: (N,) test examples; NaN or None where unknown.

    Returns:
        DataFrame: score, chance, n, low, high (Clopper-Pearson), kappa, kappa_low, kappa_high, p (one-sided binomial
            test against chance); interval and p are NaN where n is unknown.

    Raises:
        ScoresError: lengths differ, a score is outside [0, 1] or a chance outside [0, 1).
    """
    s, c = np.asarray(score, float), np.asarray(chance, float)
    m = np.full(s.shape, np.nan) if n is None else np.asarray(n, float)
    if not (s.shape == c.shape == m.shape) or s.ndim != 1:
        raise ScoresError(f"score, chance and n must be lists of one length; found {s.shape}, {c.shape}, {m.shape}.")
    if not ((s >= 0) & (s <= 1)).all() or not ((c >= 0) & (c < 1)).all():
        raise ScoresError("Accuracies against chance must be fractions: scores in [0, 1], chance in [0, 1).")
    tail = (1 - confidence) / 2
    right = np.rint(s * m)
    with np.errstate(invalid="ignore"):
        low = np.where(right > 0, scipy_stats.beta.ppf(tail, right, m - right + 1), 0.0)
        high = np.where(right < m, scipy_stats.beta.ppf(1 - tail, right + 1, m - right), 1.0)
        p = scipy_stats.binom.sf(right - 1, m, c)
    unknown = np.isnan(m)
    low, high, p = (np.where(unknown, np.nan, v) for v in (low, high, p))
    out = pd.DataFrame({"score": s, "chance": c, "n": m, "low": low, "high": high})
    for name, values in (("kappa", s), ("kappa_low", low), ("kappa_high", high)):
        out[name] = (values - c) / (1 - c)
    out["p"] = p
    return out

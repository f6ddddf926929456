"""Differences between encoders on a common scale, and how much a seed moves them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from virb.errors import ScoresError


def relative_difference(score: np.ndarray | float, reference: np.ndarray | float) -> np.ndarray:
    """100 (score - reference) / |reference|: percent, right for negative scores such as a negated L1 error too.

    Raises:
        ScoresError: the reference is 0, where a percentage does not exist.
    """
    score, reference = np.asarray(score, float), np.asarray(reference, float)
    if np.any(reference == 0):
        raise ScoresError(
            "A reference score is 0, so a difference in percent of it does not exist. Use the plain difference."
        )
    return np.asarray(100 * (score - reference) / np.abs(reference))


def best_against(scores: pd.DataFrame, reference: str, candidates: Sequence[str]) -> pd.DataFrame:
    """For each task, the best candidate and its lead over the reference (Kotar et al. 2021, Figure 3).

    Args:
        scores: encoders x tasks.
        reference: the supervised encoder's row.
        candidates: rows to take the best of.

    Returns:
        DataFrame, largest lead first: task, best, score, reference, difference, relative (percent of |reference|).

    Raises:
        ScoresError: a row is absent, or a score missing.
    """
    for name in [reference, *candidates]:
        if name not in scores.index:
            raise ScoresError(f"There is no encoder {name!r} among the scores.")
    part = scores.loc[[reference, *candidates]]
    if part.isna().to_numpy().any():
        i, j = np.argwhere(part.isna().to_numpy())[0]
        raise ScoresError(
            f"The score of {part.index[i]} on {part.columns[j]} is missing; the best of a part is not the best."
        )
    pool = scores.loc[list(candidates)]
    out = pd.DataFrame(
        {
            "task": scores.columns,
            "best": pool.idxmax().to_numpy(),
            "score": pool.max().to_numpy(),
            "reference": scores.loc[reference].to_numpy(float),
        }
    )
    out["difference"] = out["score"] - out["reference"]
    out["relative"] = [
        float(relative_difference(s, r)) if r != 0 else np.nan
        for s, r in zip(out["score"], out["reference"], strict=True)
    ]
    return out.sort_values("relative", ascending=False, kind="stable", ignore_index=True)


def normalised_scores(
    scores: pd.DataFrame, reference: str, *, pool: Sequence[str] | None = None, ddof: int = 0
) -> pd.DataFrame:
    """(score - reference's score) / sd of the task, in units of the task's spread over encoders (Kotar et al. 2021,
    Figure 6).

    Args:
        scores: encoders x tasks.
        reference: encoder that becomes 0 (the paper: supervised).
        pool: encoders that the sd is taken over; None for all. The paper says "all the performances for the task"; its
            code includes random and supervised encoders.
        ddof: 0 for the population sd, as in the paper's code; 1 for the sample sd.

    Raises:
        ScoresError: ``reference`` or a pool member is absent, the pool has fewer than 2 encoders, or a task's sd is 0.
    """
    pool = list(scores.index if pool is None else pool)
    absent = [name for name in [reference, *pool] if name not in scores.index]
    if absent:
        raise ScoresError(f"There is no encoder {absent[0]!r} among the scores.")
    if len(pool) < 2:
        raise ScoresError("The spread of a task needs at least 2 encoders.")
    sd = scores.loc[pool].std(ddof=ddof)
    flat = sd.index[~(sd > 1e-12 * scores.abs().max())]
    if len(flat):
        raise ScoresError(
            f"All encoders score the same on {', '.join(map(str, flat))}, so its scores have no spread to be measured "
            "in."
        )
    return (scores - scores.loc[reference]) / sd


def seed_variation(scores: pd.DataFrame) -> pd.DataFrame:
    """How far repeated runs lie from their mean, for encoders and tasks with 2 seeds or more (Kotar et al., App. G).

    Args:
        scores: tidy, with a column seed.

    Returns:
        DataFrame: encoder, task, n_seeds, mean, sd (n - 1), relative (mean |x - mean| / |mean|, percent; NaN for mean
            0).

    Raises:
        ScoresError: no cell has 2 seeds.
    """
    rows = []
    for (encoder, task), group in scores.groupby(["encoder", "task"], sort=False):
        values = group["score"].to_numpy(float)
        if len(values) < 2:
            continue
        mean = values.mean()
        spread = 100 * np.abs(values - mean).mean() / abs(mean) if mean else np.nan
        rows.append((encoder, task, len(values), mean, values.std(ddof=1), spread))
    if not rows:
        raise ScoresError("No encoder was scored with two seeds on any task; run `virb evaluate` with --seeds 3.")
    return pd.DataFrame(rows, columns=["encoder", "task", "n_seeds", "mean", "sd", "relative"])


@dataclass(frozen=True)
class RepeatNoise:
    """How much scores on one task move with the repeat (seed, split): ``sd`` of one score about what its encoder and its
    repeat make of it, ``df`` of that sd, and the mean number of repeats an encoder has."""

    sd: float
    df: float
    n_repeats: float


def repeat_noise(scores: pd.DataFrame) -> RepeatNoise | None:
    """Spread over repeats of the scores on one task, as a difference of two encoders has it.

    Repeats are the same draws for every encoder, and share what they have in common (on MIEB's FER2013 .60 of their
    variance), which leaves a difference: where all encoders that have several have the same seeds, the seeds' own means are
    taken out (two-way residuals); else the spread within encoders is pooled.

    Args:
        scores: columns encoder and score, and seed where repeats have one; one task.

    Returns:
        None where no encoder has two repeats.
    """
    cells = scores.groupby("encoder")["score"]
    counts = cells.count()
    df = int((counts - 1).clip(lower=0).sum())
    if df == 0:
        return None
    if "seed" in scores:
        several = scores[scores["encoder"].map(counts) > 1]
        wide = several.pivot_table(index="encoder", columns="seed", values="score", aggfunc="mean")
        if len(wide) > 1 and wide.shape[1] > 1 and wide.notna().to_numpy().all():
            values = wide.to_numpy(float)
            rest = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
            df = (len(wide) - 1) * (wide.shape[1] - 1)
            return RepeatNoise(float(np.sqrt((rest**2).sum() / df)), df, float(counts.mean()))
    within = (cells.var(ddof=1).fillna(0) * (counts - 1)).sum() / df
    return RepeatNoise(float(np.sqrt(within)), df, float(counts.mean()))


def domain_margins(scores: pd.DataFrame, home: pd.Series) -> pd.DataFrame:
    """In-domain pretraining against cross-domain, for each task (Cole et al. 2022, Table 1).

    Args:
        scores: encoders x tasks.
        home: for each task, the encoder pretrained on its domain.

    Returns:
        DataFrame: task, in_domain (score), best_other, best_other_score, worst_other_score, margin (in-domain less the
            best
        other), is_best.

    Raises:
        ScoresError: a home encoder is absent, scores are missing, or there is no other encoder.
    """
    rows = []
    for task in scores.columns:
        if task not in home.index:
            raise ScoresError(f"The task {task} has no in-domain encoder named.")
        own = home.loc[task]
        if own not in scores.index:
            raise ScoresError(f"The in-domain encoder {own!r} of {task} is not among the scores.")
        others = scores[task].drop(index=own)
        if others.empty or scores[task].isna().any():
            raise ScoresError(f"{task} needs a score of every encoder, and one encoder besides the in-domain one.")
        score = float(scores[task][own])
        rows.append(
            (task, own, score, others.idxmax(), others.max(), others.min(), score - others.max(), score > others.max())
        )
    columns = ["task", "home", "in_domain", "best_other", "best_other_score", "worst_other_score", "margin", "is_best"]
    return pd.DataFrame(rows, columns=columns)


def fusion_gains(scores: pd.DataFrame, parts: dict[str, Sequence[str]]) -> pd.DataFrame:
    """What concatenating features adds over the better of the parts (Cole et al. 2022, Table 3).

    Args:
        scores: encoders x tasks, fused encoders being rows as well.
        parts: for each fused encoder, the encoders whose features it joins.

    Returns:
        DataFrame: fused, task, score, best_part, best_part_score, gain (over the best part), gain_over_worst.

    Raises:
        ScoresError: an encoder is absent or a score missing.
    """
    rows = []
    for fused, members in parts.items():
        for name in [fused, *members]:
            if name not in scores.index:
                raise ScoresError(
                    f"There is no encoder {name!r} among the scores, which the fusion {fused!r} is compared with."
                )
        for task in scores.columns:
            values = scores.loc[list(members), task]
            score = float(scores[task][fused])
            if values.isna().any() or math.isnan(score):
                raise ScoresError(f"A score on {task} is missing for {fused} or one of its parts.")
            rows.append((fused, task, score, values.idxmax(), values.max(), score - values.max(), score - values.min()))
    return pd.DataFrame(
        rows, columns=["fused", "task", "score", "best_part", "best_part_score", "gain", "gain_over_worst"]
    )


def paired_differences(
    scores: pd.DataFrame, group_a: Sequence[str], group_b: Sequence[str], *, confidence: float = 0.95
) -> pd.DataFrame:
    """Mean of one group of encoders less another's on each task, both ways of reading it (Kotar et al. 2021, Figure 5).

    The paper's caption says the difference is unscaled; its text, axis and code divide by |mean of b|. Both are given.
    The interval is Welch's, over encoders; NaN for a group of one.

    Returns:
        DataFrame: task, mean_a, mean_b, difference, low, high, relative (percent of |mean_b|), relative_low,
            relative_high,
        detectable (difference found with power .8 at this spread).

    Raises:
        ScoresError: an empty group, absent encoders or missing scores.
    """
    if not len(group_a) or not len(group_b):
        raise ScoresError("Both groups need at least one encoder.")
    a, b = scores.loc[list(group_a)], scores.loc[list(group_b)]
    if a.isna().to_numpy().any() or b.isna().to_numpy().any():
        raise ScoresError("A score of one of the groups is missing.")
    rows = []
    for task in scores.columns:
        x, y = a[task].to_numpy(float), b[task].to_numpy(float)
        gap, low, high, detectable = x.mean() - y.mean(), np.nan, np.nan, np.nan
        if len(x) > 1 and len(y) > 1:
            va, vb = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
            if va + vb > 0:
                df = (va + vb) ** 2 / (va**2 / (len(x) - 1) + vb**2 / (len(y) - 1))
                t = scipy_stats.t.ppf(0.5 + confidence / 2, df)
                low, high = gap - t * math.sqrt(va + vb), gap + t * math.sqrt(va + vb)
                detectable = detectable_mean_difference(math.sqrt(va + vb), df, alpha=1 - confidence)
            else:
                low = high = gap
        scale = 100 / abs(y.mean()) if y.mean() else np.nan
        rows.append((task, x.mean(), y.mean(), gap, low, high, gap * scale, low * scale, high * scale, detectable))
    columns = [
        "task",
        "mean_a",
        "mean_b",
        "difference",
        "low",
        "high",
        "relative",
        "relative_low",
        "relative_high",
        "detectable",
    ]
    return pd.DataFrame(rows, columns=columns)


def detectable_mean_difference(se: float, df: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest difference of means with standard error ``se`` that a two-sided t test finds with probability ``power``.

    Uses (t_(1-alpha/2) + t_power) se, within a few percent of the non-central t from df = 4 on.

    Raises:
        ScoresError: se < 0 or df <= 0.
    """
    if se < 0 or df <= 0:
        raise ScoresError(f"se={se}, df={df} describe no test.")
    return float((scipy_stats.t.ppf(1 - alpha / 2, df) + scipy_stats.t.ppf(power, df)) * se)


def detectable_correlation(n: int, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest correlation over ``n`` encoders that is found with probability ``power`` (by Fisher's z).

    Raises:
        ScoresError: fewer than 4 encoders.
    """
    if n < 4:
        raise ScoresError(f"With {n} encoders no correlation can be found; at least 4 are needed.")
    z = (scipy_stats.norm.ppf(1 - alpha / 2) + scipy_stats.norm.ppf(power)) / math.sqrt(n - 3)
    return float(math.tanh(z))

"""How much of the scores' variance is whose: encoders, tasks, repeats, seeds and the draw of test examples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from virb.errors import ScoresError
from virb.stats.effects import repeat_noise


def variance_shares(scores: pd.DataFrame) -> pd.DataFrame:
    """Variance components of encoder, task, encoder x task and seed from a complete design, by the method of moments.

    Three noise layers are kept apart: what encoders differ by on every task, what they differ by on one, and what a
    repeated probe (seed) changes. Negative estimates are set to 0, as usual.

    Args:
        scores: tidy; with seeds, every cell needs equally many. Without, encoder x task and seed cannot be told apart
            and are given as one.

    Returns:
        DataFrame: component, variance, sd, share.

    Raises:
        ScoresError: fewer than 2 encoders or tasks, or an incomplete design.
    """
    counts = scores.groupby(["encoder", "task"])["score"].count().unstack()
    e, t = counts.shape
    if e < 2 or t < 2:
        raise ScoresError(f"Variance components need at least 2 encoders and 2 tasks; found {e} and {t}.")
    if counts.isna().to_numpy().any() or counts.to_numpy().min() != counts.to_numpy().max():
        raise ScoresError(
            "Variance components need every encoder on every task with equally many seeds; some cells differ."
        )
    k = int(counts.to_numpy().max())
    cells = scores.pivot_table(index="encoder", columns="task", values="score", aggfunc="mean").to_numpy()
    grand, row, column = cells.mean(), cells.mean(axis=1), cells.mean(axis=0)
    ms_encoder = k * t * np.sum((row - grand) ** 2) / (e - 1)
    ms_task = k * e * np.sum((column - grand) ** 2) / (t - 1)
    ms_cell = k * np.sum((cells - row[:, None] - column + grand) ** 2) / ((e - 1) * (t - 1))
    parts = {"encoder": (ms_encoder - ms_cell) / (k * t), "task": (ms_task - ms_cell) / (k * e)}
    if k > 1:
        within = scores["score"] - scores.groupby(["encoder", "task"])["score"].transform("mean")
        ms_seed = float((within**2).sum() / (e * t * (k - 1)))
        parts["encoder x task"] = (ms_cell - ms_seed) / k
        parts["seed"] = ms_seed
    else:
        parts["encoder x task and seed"] = ms_cell
    out = pd.DataFrame({"component": list(parts), "variance": [max(float(v), 0.0) for v in parts.values()]})
    out["sd"] = np.sqrt(out["variance"])
    out["share"] = out["variance"] / out["variance"].sum() if out["variance"].sum() > 0 else np.nan
    return out


def jackknife_sd(left_out: np.ndarray) -> float:
    """Standard error of an estimate from its values without each of n examples (Tukey 1958): 0 where n is 1.

    Args:
        left_out: (n,) the estimate without example i. For a mean this gives sd / sqrt(n) with n - 1 below.

    Raises:
        ScoresError: no value, or one that is not finite.
    """
    values = np.asarray(left_out, float)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ScoresError(f"A jackknife needs a list of finite estimates; found shape {values.shape}.")
    n = len(values)
    return float(np.sqrt((n - 1) / n * np.sum((values - values.mean()) ** 2)))


def noise_layers(
    scores: pd.DataFrame, families: pd.Series, sampling: Mapping[tuple[str, str], float] | None = None
) -> pd.DataFrame:
    """Three layers of noise in a score, kept apart, task by task: test sample, seed of the probe, seed of pretraining.

    A score moves when other test images are drawn, when the probe is trained again, and when the encoder is. The first
    comes from ``sampling``; the second is the variance between seeds of one encoder, as a difference of two encoders of the
    same seeds has it (:func:`virb.stats.effects.repeat_noise`); the third is the variance between
    encoders of one family less what the probe's seeds add to their means (0 where negative). The sd of a score over
    everything is at least the root of the last two squares' sum; encoders share their test images, so the first does
    not show in their spread.

    Args:
        scores: tidy, with encoder, task, score; one row a seed of the probe.
        families: for each encoder what it repeats: encoders of one family differ in the pretraining's seed alone.
        sampling: for (encoder, task) the standard error of the score over test examples.

    Returns:
        DataFrame: task, test_sample, probe_seed, pretraining_seed (sds, NaN where the data cannot tell), and the
            numbers behind them: n_encoders_sampled, df_probe, df_pretraining.

    Raises:
        ScoresError: an encoder has no family.
    """
    absent = sorted(set(scores["encoder"]) - set(families.index))
    if absent:
        raise ScoresError(f"The encoder {absent[0]} has no family.")
    rows = []
    for task, part in scores.groupby("task", sort=False):
        cells = part.groupby("encoder", sort=False)["score"]
        count, mean = cells.count(), cells.mean()
        noise = repeat_noise(part)
        probe, df_probe = (noise.sd**2, int(noise.df)) if noise else (np.nan, 0)
        family = families.loc[mean.index]
        size = family.map(family.value_counts())
        df_pre = int(len(mean) - family.nunique())
        between = np.nan
        if df_pre:
            gap = mean - mean.groupby(family).transform("mean")
            # Each family's squares carry the probe's noise of its own encoders' means.
            carried = ((1 - 1 / size) / count).sum() * (0.0 if np.isnan(probe) else probe)
            between = max(float((gap**2).sum()) - float(carried), 0.0) / df_pre
        known = [v for name in mean.index if (v := (sampling or {}).get((str(name), str(task)))) is not None]
        sampled = float(np.sqrt(np.mean(np.square(known)))) if known else np.nan
        rows.append((task, sampled, np.sqrt(probe), np.sqrt(between), len(known), df_probe, df_pre))
    columns = ["task", "test_sample", "probe_seed", "pretraining_seed"]
    return pd.DataFrame(rows, columns=[*columns, "n_encoders_sampled", "df_probe", "df_pretraining"])

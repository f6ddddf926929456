"""Pretraining budgets: images, epochs and what a comparison at fixed compute says.

Hammoud et al. 2024: N images seen for E epochs cost C = N E images; diversity D = N / C = 1 / E.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from virb.errors import ScoresError

_COUNT = re.compile(r"([0-9][0-9_,]*\.?[0-9]*(?:e[+-]?[0-9]+)?)\s*([kmb]?)", re.IGNORECASE)
_SUFFIX = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}


def parse_count(value: object) -> float:
    """Read a number of images: ``1281167``, ``"1.3M"``, ``"500k"``, ``"98e6"``.

    Raises:
        ScoresError: it is not a positive number.
    """
    match = _COUNT.fullmatch(str(value).strip())
    number = (
        float(match.group(1).replace(",", "").replace("_", "")) * _SUFFIX[match.group(2).lower()] if match else np.nan
    )
    if not (np.isfinite(number) and number > 0):
        raise ScoresError(f"{value!r} is not a number of images; expected e.g. 1281167, 1.3M or 98e6.")
    return number


def is_nothing(value: object) -> bool:
    """Whether a number of images or epochs is 0: an encoder that was not trained has no budget."""
    try:
        return float(str(value)) == 0
    except ValueError:
        return False


def budget_columns(encoders: pd.DataFrame) -> pd.DataFrame:
    """Add N, E, C and D to a table of encoders, from any two of dataset_size, epochs and images_seen.

    Rows that lack two of them get NaN, and are for the caller to name.

    Raises:
        ScoresError: a value is no number, or the three contradict each other by more than 2 %.
    """
    out = encoders.copy()

    def column(name: str) -> pd.Series:
        if name not in out:
            return pd.Series(np.nan, index=out.index)
        return out[name].map(lambda v: np.nan if pd.isna(v) or is_nothing(v) else parse_count(v)).astype(float)

    n, e, c = column("dataset_size"), column("epochs"), column("images_seen")
    clash = (n * e - c).abs() > 0.02 * c
    if clash.any():
        name = clash.index[clash][0]
        raise ScoresError(
            f"{name}: {n[name]:g} images for {e[name]:g} epochs make {n[name] * e[name]:g}, but images_seen says "
            f"{c[name]:g}."
        )
    c = c.fillna(n * e)
    out["N"], out["E"], out["C"] = n.fillna(c / e), e.fillna(c / n), c
    out["D"] = out["N"] / out["C"]
    return out


def inconsistency_flags(frame: pd.DataFrame, *, by: Sequence[str] = (), score: str = "score") -> pd.DataFrame:
    """Flag comparisons that reward compute rather than data (Hammoud et al. 2024, Table 4, red cells).

    A row is flagged if it beats the best row of a smaller budget C with a larger C and no more images N:
    read without C, it would look as if less data did better.

    Args:
        frame: columns N, C, ``score`` and those of ``by``.
        by: columns within which rows are compared (network, method, task).

    Returns:
        ``frame`` with best_smaller_C (score of the best row at a smaller C; NaN if none) and is_flagged.

    Raises:
        ScoresError: a column is absent or a value missing.
    """
    needed = ["N", "C", score, *by]
    absent = [name for name in needed if name not in frame]
    if absent:
        raise ScoresError(f"Flags need the columns {', '.join(needed)}; {', '.join(absent)} is absent.")
    if frame[needed].isna().to_numpy().any():
        raise ScoresError("Flags need N, C and a score in every row; some are missing.")
    out = frame.copy()
    out["best_smaller_C"], out["is_flagged"] = np.nan, False
    groups = [frame] if not by else [group for _, group in frame.groupby(list(by), sort=False)]
    for group in groups:
        for index, row in group.iterrows():
            smaller = group[group["C"] < row["C"] * (1 - 1e-9)]
            if smaller.empty:
                continue
            best = smaller.loc[smaller[score].idxmax()]
            out.loc[index, "best_smaller_C"] = best[score]
            out.loc[index, "is_flagged"] = bool(row[score] > best[score] and row["N"] <= best["N"] * (1 + 1e-9))
    return out


def normalised_gains(
    frame: pd.DataFrame, *, baseline_n: float, by: Sequence[str] = (), score: str = "score"
) -> pd.DataFrame:
    """Score of each row less two baselines pretrained on ``baseline_n`` images (Hammoud et al. 2024, Figure 3).

    The compute-normalised baseline has the row's C (so more epochs on fewer images); the epoch-normalised one has the
    row's E (so less compute). Where the data has no such run the gain is NaN.

    Returns:
        ``frame`` with gain_at_equal_C and gain_at_equal_E.

    Raises:
        ScoresError: N, E, C or the score is absent, or no row has ``baseline_n`` images.
    """
    needed = ["N", "E", "C", score, *by]
    absent = [name for name in needed if name not in frame]
    if absent:
        raise ScoresError(f"Normalised gains need the columns {', '.join(needed)}; {', '.join(absent)} is absent.")
    base = frame[np.isclose(frame["N"], baseline_n, rtol=0.02)]
    if base.empty:
        raise ScoresError(f"No encoder was pretrained on {baseline_n:g} images, so there is no baseline of that size.")
    out = frame.copy()
    for name, key in (("gain_at_equal_C", "C"), ("gain_at_equal_E", "E")):
        gains = []
        for _, row in frame.iterrows():
            same = np.isclose(base[key], row[key], rtol=0.02)
            for column in by:
                same &= (base[column] == row[column]).to_numpy()
            gains.append(row[score] - base.loc[same, score].mean() if same.any() else np.nan)
        out[name] = gains
    return out


def gain_per_doubling(n: Sequence[float], score: Sequence[float]) -> pd.DataFrame:
    """Gain between neighbouring sizes, and for each doubling: where a curve saturates (Cole et al. 2022, Figure 2).

    Returns:
        DataFrame: n_from, n_to, gain, per_doubling.

    Raises:
        ScoresError: fewer than 2 different sizes, or a size that is not positive.
    """
    curve = pd.DataFrame({"n": np.asarray(n, float), "score": np.asarray(score, float)}).groupby("n")["score"].mean()
    if len(curve) < 2 or not (curve.index > 0).all():
        raise ScoresError(f"A curve needs scores at 2 different positive sizes; found {len(curve)}.")
    sizes, values = curve.index.to_numpy(float), curve.to_numpy()
    gain = np.diff(values)
    return pd.DataFrame(
        {"n_from": sizes[:-1], "n_to": sizes[1:], "gain": gain, "per_doubling": gain / np.log2(sizes[1:] / sizes[:-1])}
    )

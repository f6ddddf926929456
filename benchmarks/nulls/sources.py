"""Groups of encoders: methods, settings, pretraining data, and counts of who is best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from nulls.row import LEVEL, Row, Study, analysed
from virb.scores.outliers import outliers
from virb.stats.clusters import family_contrasts, family_differences, family_level
from virb.stats.dyads import affinity
from virb.stats.variance import encoder_level, mixed_model


def distances(s: int, t: int, *, source: float, slope: float = 0.0, percent: bool = False) -> Study:
    def study(rng: np.random.Generator) -> float:
        def values() -> np.ndarray:
            return source * rng.normal(size=(s, 1)) + rng.normal(size=(1, t)) + 0.5 * rng.normal(size=(s, t))

        d = values()
        y = values() - slope * d
        y[:, 0] *= 100 if percent else 1
        return float(affinity(pd.DataFrame(y), pd.DataFrame(d), samples=199).pvalue <= LEVEL)

    return study


def members(sizes: Sequence[int], levels: Sequence[str]) -> pd.DataFrame:
    """Encoders of families of these sizes, each of one level of a factor."""
    rows = [
        (f"e{f}-{k}", f"f{f}", level) for f, (n, level) in enumerate(zip(sizes, levels, strict=True)) for k in range(n)
    ]
    return pd.DataFrame(rows, columns=["encoder", "family", "method"])


def of_families(
    sizes: Sequence[int], levels: str, *, what: str, ahead: float = 0.0, share: float = 0.67, counted: bool = True
) -> Study:
    """anova, method-difference: levels of whole families differ; ``what`` is the joint test, contrasts, or single tasks."""
    about = members(sizes, levels)
    codes, of = pd.factorize(about["family"])[0], dict(zip(about["encoder"], about["family"], strict=True))

    def study(rng: np.random.Generator) -> float:
        n = len(about)
        x = np.sqrt(share) * rng.normal(size=(len(sizes), 4))[codes] + np.sqrt(1 - share) * rng.normal(size=(n, 4))
        x = x + ahead * (about["method"] == "a").to_numpy()[:, None]
        wide = pd.DataFrame(x, index=about["encoder"], columns=list("wxyz"))
        if what == "tasks":
            a, b = (list(about.loc[about["method"] == level, "encoder"]) for level in "ab")
            found = family_differences(wide, a, b, of)
            return float(((found["low"] > 0) | (found["high"] < 0)).mean())
        tidy = about.merge(wide.reset_index().melt("encoder", var_name="task", value_name="score"))
        if what == "levels":
            return float((family_contrasts(tidy, "method", [], of, reference="b")["p"] <= LEVEL).mean())
        return float(family_level(tidy, ["method"], of).loc["method", "PR(>F)"] <= LEVEL)

    return study


def inside_families(n: int, each: int, *, ahead: float = 0.0) -> Study:
    """anova: a factor whose levels every family has, beside one that families differ by."""
    about = members([each] * n, ["ab"[k % 2] for k in range(n)])
    about["size"] = ["small", "large"] * (len(about) // 2)
    codes, of = pd.factorize(about["family"])[0], dict(zip(about["encoder"], about["family"], strict=True))

    def study(rng: np.random.Generator) -> float:
        slope = rng.normal(size=(n, 1))[codes] * (about["size"] == "large").to_numpy()[:, None]  # families differ in it
        x = rng.normal(size=(n, 3))[codes] + slope + rng.normal(size=(len(about), 3))
        x = x + ahead * (about["size"] == "large").to_numpy()[:, None]
        wide = pd.DataFrame(x, index=about["encoder"], columns=list("xyz"))
        tidy = about.merge(wide.reset_index().melt("encoder", var_name="task", value_name="score"))
        return float(family_level(tidy, ["method", "size"], of).loc["size", "PR(>F)"] <= LEVEL)

    return study


def of_encoders(n: int, *, is_mixed: bool = False) -> Study:
    """anova without families: each encoder once, or the mixed model's p (in its table); encoders differ on all tasks alike."""
    about = members([1] * n, ["ab"[k % 2] for k in range(n)])

    def study(rng: np.random.Generator) -> float:
        x = rng.normal(size=(n, 1)) + rng.normal(size=(n, 5))
        wide = pd.DataFrame(x, index=about["encoder"], columns=list("vwxyz"))
        tidy = about.merge(wide.reset_index().melt("encoder", var_name="task", value_name="score"))
        if is_mixed:
            return float(mixed_model(tidy, ["method"]).table["p"].min() <= LEVEL)
        return float(encoder_level(tidy, ["method"]).loc["method", "PR(>F)"] <= LEVEL)

    return study


def settings(n_pairs: int, *, each: int = 1, change: float = 0.0) -> Study:
    """setting-change: the interval leaves out 0; ``each`` pairs a family, whose change is partly the family's."""

    def study(rng: np.random.Generator) -> float:
        rows = []
        for pair in range(n_pairs):
            if pair % each == 0:
                own, slope = rng.normal(size=3), np.sqrt(0.67) * rng.normal(size=3)
            for resized in ("no", "yes"):
                score = own + (slope + change) * (resized == "yes") + np.sqrt(0.165) * rng.normal(size=3)
                rows += [
                    (f"e{pair}-{resized}", task, value, resized, f"d{pair}", f"f{pair // each}")
                    for task, value in zip("xyz", score, strict=True)
                ]
        frame = pd.DataFrame(rows, columns=["encoder", "task", "score", "resized", "dataset", "family"])
        table = analysed("setting-change", frame, column="resized")[0][""]
        return float(((table["low"] > 0) | (table["high"] < 0)).mean())

    return study


def leads(k: int) -> Study:
    """best-vs-supervised: share of tasks that the best of k equal encoders leads the reference on."""

    def study(rng: np.random.Generator) -> float:
        x = rng.normal(size=(k + 1, 10))
        return float((x[1:].max(axis=0) > x[0]).mean())

    return study


def healthy(n_repeats: int) -> Study:
    """outliers: any score of a healthy table cannot be right; weak encoders are near chance without being at it."""

    def study(rng: np.random.Generator) -> float:
        level = rng.beta(2, 2, size=(20, 6, 1))
        score = (0.1 + 0.85 * level + 0.01 * rng.normal(size=(20, 6, n_repeats))).round(3)
        index = pd.MultiIndex.from_product([range(20), range(6), range(n_repeats)], names=["encoder", "task", "seed"])
        frame = pd.Series(score.ravel(), index=index, name="score").reset_index().assign(chance=0.1)
        return float(len(outliers(frame.astype({"encoder": str, "task": str}))) > 0)

    return study


def failed_fits(rng: np.random.Generator) -> float:
    """outliers: repeats at chance in one cell are found."""
    score = 0.5 + 0.1 * rng.normal(size=(10, 3, 3))
    score[rng.integers(10), rng.integers(3)] = 0.1
    index = pd.MultiIndex.from_product([range(10), range(3), range(3)], names=["encoder", "task", "seed"])
    frame = pd.Series(score.ravel(), index=index, name="score").reset_index().assign(chance=0.1)
    return float(len(outliers(frame.astype({"encoder": str, "task": str}))) > 0)


LOPSIDED = [1, 2, 8, 1, 2, 8, 1, 2, 8]


ROWS = [
    Row("distance-transfer: 4 sources with effects x 10 tasks", distances(4, 10, source=1), 400),
    Row("distance-transfer: 3 sources x 6 tasks, one in percent", distances(3, 6, source=1, percent=True), 400),
    Row("power: distance-transfer, slope .5", distances(6, 10, source=1, slope=0.5), 60, True),
    Row("anova: two methods of 3 families x 5", of_families([5] * 6, "aaabbb", what="joint"), 200),
    Row("anova: two methods of 2 families x 5", of_families([5] * 4, "aabb", what="joint"), 150),
    Row(
        "anova: four methods of 3 families x 3",
        of_families([3] * 12, "aaabbbcccddd", what="joint"),
        150,
        is_quick=False,
    ),
    Row("anova: three methods, families of 1, 2 and 8", of_families(LOPSIDED, "aaabbbccc", what="joint"), 150),
    Row(
        "anova: levels of three methods, families of 1, 2 and 8",
        of_families(LOPSIDED, "aaabbbccc", what="levels"),
        150,
        is_quick=False,
    ),
    Row("anova: a setting that 6 families x 4 have both ways", inside_families(6, 4), 150),
    Row("anova: two methods of 9 encoders, no families", of_encoders(18), 150),
    Row("anova: the mixed model's table, 12 encoders", of_encoders(12, is_mixed=True), 60, is_quick=False),
    Row(
        "power: anova, two methods of 4 families x 3, 2 sd apart",
        of_families([3] * 8, "aaaabbbb", what="joint", ahead=2.0),
        40,
        True,
    ),
    Row("power: anova, a setting that 8 families x 4 have both ways", inside_families(8, 4, ahead=1.5), 40, True),
    Row("method-difference: two methods of 3 families x 5", of_families([5] * 6, "aaabbb", what="tasks"), 120),
    Row(
        "method-difference: families of 1, 2 and 8 against 2, 3 and 4",
        of_families([1, 2, 8, 2, 3, 4], "aaabbb", what="tasks"),
        120,
    ),
    Row(
        "power: method-difference, 4 families x 3 each, 2 sd apart",
        of_families([3] * 8, "aaaabbbb", what="tasks", ahead=2.0),
        30,
        True,
    ),
    Row("setting-change: 5 pairs", settings(5), 60),
    Row("setting-change: 12 pairs of 4 families", settings(12, each=3), 60),
    Row("power: setting-change, 8 pairs", settings(8, change=1.5), 20, True),
    Row("best-vs-supervised: share led by the best of 5 equal, beside luck", leads(5), 300, bound=5 / 6),
    Row("outliers: any in a healthy table of 20 x 6, one run", healthy(1), 60),
    Row("outliers: any in a healthy table of 20 x 6, 3 repeats", healthy(3), 60),
    Row("power: outliers, a cell at chance", failed_fits, 20, True),
]

"""Accuracy at coarser labels, and class by class.

Cole et al. 2022, Section 4.4, Figure 5 and Appendices A.2 to A.5. Labels are coarsened after the prediction: the argmax
is mapped to its ancestor, nothing is trained again and no probabilities are summed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from virb.errors import ScoresError
from virb.stats.correlation import adjust_p


def depth_levels(parents: Mapping[str, str | None], leaves: Sequence[str]) -> list[dict[str, str]]:
    """Coarser and coarser labels by merging the deepest leaves into their parents, again and again (ImageNet's "Depth
    k").

    Args:
        parents: parent of every node, None for a root. A tree: of a graph such as WordNet one parent must be chosen.
        leaves: the classes.

    Returns:
        One mapping class -> label a level, finest (the classes themselves) first, the roots last.

    Raises:
        ScoresError: a node has no entry, or is its own ancestor.
    """
    paths = {}
    for leaf in leaves:
        path, node = [leaf], leaf
        while True:
            if node not in parents:
                raise ScoresError(
                    f"The hierarchy says nothing about {node!r}; give every node a parent, and the root None."
                )
            above = parents[node]
            if above is None:
                break
            if above in path:
                raise ScoresError(f"The hierarchy goes in a circle at {above!r}.")
            path.append(above)
            node = above
        paths[leaf] = path[::-1]  # from the root
    deepest = max(len(path) for path in paths.values())
    return [{leaf: path[min(depth, len(path)) - 1] for leaf, path in paths.items()} for depth in range(deepest, 0, -1)]


def level_accuracy(
    target: np.ndarray, prediction: np.ndarray, levels: Mapping[str, Sequence[object]] | Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """Accuracy when classes are merged into the ancestors of each level, plain and corrected for chance.

    Coarser labels are easier by chance alone: ``kappa`` (Cohen's) is the accuracy beyond what the same label
    frequencies agree on by chance, 0 for guessing and 1 for no error, and can be compared between levels.

    Args:
        target, prediction: (N,) class numbers 0 .. K-1.
        levels: for each level, the ancestor of each of the K classes.

    Returns:
        DataFrame: level, n_classes, accuracy, low, high (95 %, Wilson), chance, kappa.

    Raises:
        ScoresError: lengths differ, a class number is outside a level, or no example.
    """
    target, prediction = _labels(target, prediction)
    rows = []
    for level, ancestors in levels.items():
        codes, names = pd.factorize(np.asarray(ancestors, dtype=object))
        if max(target.max(), prediction.max()) >= len(codes):
            raise ScoresError(
                f"Level {level} names {len(codes)} classes; class {max(target.max(), prediction.max())} occurs."
            )
        t, p = codes[target], codes[prediction]
        accuracy, n = float(np.mean(t == p)), len(t)
        share_t, share_p = (np.bincount(v, minlength=len(names)) / n for v in (t, p))
        chance = float(share_t @ share_p)
        low, high = wilson(accuracy, n)
        kappa = (accuracy - chance) / (1 - chance) if chance < 1 else np.nan
        rows.append((level, len(names), accuracy, low, high, chance, kappa))
    return pd.DataFrame(rows, columns=["level", "n_classes", "accuracy", "low", "high", "chance", "kappa"])


def _labels(*given: np.ndarray) -> tuple[np.ndarray, ...]:
    out = tuple(np.asarray(v) for v in given)
    if len({v.shape for v in out}) != 1 or out[0].ndim != 1 or not len(out[0]):
        raise ScoresError(f"Labels and predictions must be lists of one length; found {[v.shape for v in out]}.")
    for v in out:
        if v.dtype.kind not in "iu" or v.min() < 0:
            raise ScoresError("Labels and predictions must be class numbers from 0 on.")
    return tuple(v.astype(np.int64) for v in out)


def wilson(share: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a share of ``n`` examples."""
    z = scipy_stats.norm.ppf(0.5 + confidence / 2)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return float(max(centre - half, 0.0)), float(min(centre + half, 1.0))


@dataclass(frozen=True)
class ClassDeltas:
    """Per-class accuracy of b less a. ``table``: class, n, accuracy_a, accuracy_b, delta, shrunk, p, p_bh, detectable
    (delta that so many examples would show four times in five, uncorrected), sorted by delta.

    ``improved``, ``equal`` and ``worse`` are shares of classes by the sign of delta; ``rank_r`` is the Spearman
    correlation of the two lists of per-class accuracies.
    """

    table: pd.DataFrame
    improved: float
    equal: float
    worse: float
    rank_r: float


def class_deltas(
    target: np.ndarray, prediction_a: np.ndarray, prediction_b: np.ndarray, *, names: Sequence[str] | None = None
) -> ClassDeltas:
    """Which classes gain and which lose between two encoders (Cole et al. 2022, Figure A4, Table A1), with the luck
    taken out.

    With ten test images a class, the "most improved" of a thousand classes are mostly the luckiest. ``p`` is McNemar's
    exact test in the class, ``p_bh`` its false discovery rate; ``shrunk`` draws each delta towards the mean as far as
    its noise asks (empirical Bayes).

    Args:
        target, prediction_a, prediction_b: (N,) class numbers.
        names: name of each class.

    Raises:
        ScoresError: lengths differ, or no example.
    """
    target, prediction_a, prediction_b = _labels(target, prediction_a, prediction_b)
    classes = np.unique(target)
    right_a, right_b = prediction_a == target, prediction_b == target
    n_classes = int(classes.max()) + 1
    n = np.bincount(target, minlength=n_classes)[classes]
    only_a = np.bincount(target, right_a & ~right_b, minlength=n_classes)[classes].astype(int)
    only_b = np.bincount(target, right_b & ~right_a, minlength=n_classes)[classes].astype(int)
    acc_a = np.bincount(target, right_a, minlength=n_classes)[classes] / n
    acc_b = np.bincount(target, right_b, minlength=n_classes)[classes] / n
    delta = acc_b - acc_a
    p = np.minimum(1.0, 2 * scipy_stats.binom.cdf(np.minimum(only_a, only_b), only_a + only_b, 0.5))
    # Sampling variance of a paired difference, with one imaginary discordant example a class: a class of ten without
    # any is not without noise.
    share = (only_a + only_b + 1) / (n + 2)
    noise = np.maximum(share - delta**2, 0.0) / n
    between = max(float(np.var(delta)) - float(noise.mean()), 0.0)
    weight = between / (between + noise) if between > 0 else np.zeros(len(delta))
    shrunk = delta.mean() + weight * (delta - delta.mean())
    table = pd.DataFrame(
        {
            "class": classes if names is None else [names[int(k)] for k in classes],
            "n": n,
            "accuracy_a": acc_a,
            "accuracy_b": acc_b,
            "delta": delta,
            "shrunk": shrunk,
            "p": p,
            "p_bh": adjust_p(p, "bh"),
            "detectable": np.minimum(2.802 * np.sqrt(share / n), 1.0),  # z(.975) + z(.8)
        }
    ).sort_values("delta", ascending=False, kind="stable", ignore_index=True)
    return _class_deltas(table, acc_a, acc_b)


def published_deltas(accuracy_a: pd.Series, accuracy_b: pd.Series, *, n: pd.Series | None = None) -> ClassDeltas:
    """As :func:`class_deltas`, of per-class accuracies alone: which images the two get right is not known.

    So there is no test (``p``, ``p_bh`` and ``detectable`` are NaN). Where ``n``, the test examples of each class, is given,
    deltas are shrunk as if the two had been tested on different images, which is more than needed; else ``shrunk`` is NaN.

    Args:
        accuracy_a, accuracy_b, n: (K,), one index: the classes.
    """
    a, b = accuracy_a.to_numpy(float), accuracy_b.to_numpy(float)
    delta = b - a
    shrunk = np.full(len(delta), np.nan)
    if n is not None:
        size = n.to_numpy(float)
        p_a, p_b = ((share * size + 1) / (size + 2) for share in (a, b))
        noise = (p_a * (1 - p_a) + p_b * (1 - p_b)) / size
        between = max(float(np.var(delta)) - float(noise.mean()), 0.0)
        weight = between / (between + noise) if between > 0 else np.zeros(len(delta))
        shrunk = delta.mean() + weight * (delta - delta.mean())
    unknown = np.full(len(delta), np.nan)
    table = pd.DataFrame(
        {
            "class": list(accuracy_a.index), "n": unknown if n is None else n.to_numpy(), "accuracy_a": a, "accuracy_b": b,
            "delta": delta, "shrunk": shrunk, "p": unknown, "p_bh": unknown, "detectable": unknown,
        }
    ).sort_values("delta", ascending=False, kind="stable", ignore_index=True)  # fmt: skip
    return _class_deltas(table, a, b)


def _class_deltas(table: pd.DataFrame, a: np.ndarray, b: np.ndarray) -> ClassDeltas:
    varies = len(table) > 2 and np.ptp(a) > 0 and np.ptp(b) > 0
    rank_r = float(scipy_stats.spearmanr(a, b).statistic) if varies else np.nan
    delta = table["delta"]
    return ClassDeltas(table, float((delta > 0).mean()), float((delta == 0).mean()), float((delta < 0).mean()), rank_r)


def group_accuracy(
    target: np.ndarray, prediction: np.ndarray, groups: Sequence[object], *, confidence: float = 0.95
) -> pd.DataFrame:
    """Mean over each group's classes of the accuracy in the class (Cole et al. 2022, Figure A3).

    The interval is Student's over the group's classes, cut to [0, 1]: NaN for a group of one class.

    Args:
        target, prediction: (N,) class numbers 0 .. K-1.
        groups: for each of the K classes, the group it is in.

    Returns:
        DataFrame: group, n_classes (that occur in ``target``), n (examples), accuracy, low, high; groups in the order
            of their first class.

    Raises:
        ScoresError: lengths differ, or a class has no group.
    """
    target, prediction = _labels(target, prediction)
    if target.max() >= len(groups):
        raise ScoresError(f"{len(groups)} classes have a group; class {target.max()} occurs.")
    n = np.bincount(target, minlength=len(groups))
    right = np.bincount(target, prediction == target, minlength=len(groups))
    occurs = n > 0
    accuracy, of = right[occurs] / n[occurs], [group for group, has in zip(groups, occurs, strict=True) if has]
    return group_means(accuracy, of, n=n[occurs], confidence=confidence)


def group_means(
    accuracy: np.ndarray, groups: Sequence[object], *, n: np.ndarray | None = None, confidence: float = 0.95
) -> pd.DataFrame:
    """Mean over each group's classes of ``accuracy`` (K,); as :func:`group_accuracy`, of accuracies that are known already.

    Args:
        groups: (K,) the group of each class.
        n: (K,) how many examples each class has, where that is known.
    """
    table = pd.DataFrame({"group": list(groups), "n": np.nan if n is None else n, "accuracy": accuracy})
    rows = []
    for group, part in table.groupby("group", sort=False):
        k, mean, low, high = len(part), float(part["accuracy"].mean()), np.nan, np.nan
        if k > 1:
            half = scipy_stats.t.ppf(0.5 + confidence / 2, k - 1) * float(part["accuracy"].std(ddof=1)) / np.sqrt(k)
            low, high = max(mean - half, 0.0), min(mean + half, 1.0)
        rows.append((group, k, np.nan if n is None else int(part["n"].sum()), mean, low, high))
    return pd.DataFrame(rows, columns=["group", "n_classes", "n", "accuracy", "low", "high"])


def extreme_classes(accuracies: pd.DataFrame, *, share: float = 0.05) -> pd.DataFrame:
    """Where the hardest and easiest classes of one representation stand in the others (Cole et al. 2022, Figure A5).

    Args:
        accuracies: classes x encoders, per-class accuracy.
        share: of the classes, at each end; at least one.

    Returns:
        DataFrame: from_encoder, end ("hardest", "easiest"), to_encoder, n, mean_from, mean_to, overlap (share of those
        classes that are also at that end for the other encoder).

    Raises:
        ScoresError: missing accuracies, or fewer than 2 classes.
    """
    if accuracies.isna().to_numpy().any() or len(accuracies) < 2:
        raise ScoresError("Per-class accuracies must be complete and of at least 2 classes.")
    n = max(1, round(share * len(accuracies)))
    values = np.ascontiguousarray(accuracies.to_numpy(float).T)  # encoders x classes
    order = np.argsort(values, axis=1, kind="stable")
    ends = {"hardest": order[:, :n], "easiest": order[:, -n:]}
    is_at = {end: np.zeros(values.shape, bool) for end in ends}
    for end, chosen in ends.items():
        np.put_along_axis(is_at[end], chosen, True, axis=1)
    names = accuracies.columns.to_numpy()
    parts = []
    for a, name in enumerate(names):
        others = np.delete(np.arange(len(names)), a)
        for end, chosen in ends.items():
            means = np.ascontiguousarray(values[:, chosen[a]]).sum(axis=1) / n
            shared = is_at[end][:, chosen[a]].sum(axis=1) / n
            found = {"from_encoder": name, "end": end, "to_encoder": names[others], "n": n, "mean_from": means[a]}
            parts.append(pd.DataFrame({**found, "mean_to": means[others], "overlap": shared[others]}))
    return pd.concat(parts, ignore_index=True)

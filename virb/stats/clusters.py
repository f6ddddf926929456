"""Least squares whose p and intervals count families of encoders, not encoders.

Encoders of one family are not independent, and a p that counts them is too small: with three families of five on each side and two
thirds of the variance between families, two equal methods differ in two studies out of five at p < .05. Here a family counts once
(its encoders weigh one over their number, which keeps a large one from deciding), errors inside a family may hang together in
any way, its residuals are inflated as the fit has shrunk them, and the degrees of freedom follow from the design (Bell and
McCaffrey 2002, "CR2"; several parameters at once: Pustejovsky and Tipton 2018, "HTZ").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from virb.stats.correlation import adjust_p
from virb.stats.effects import detectable_mean_difference, paired_differences
from virb.stats.variance import encoder_means, fitted, plain_names, reference_first


@dataclass(frozen=True)
class ClusterFit:
    """A fit of N rows with P parameters in G clusters.

    ``moves`` (G, P, N) maps scores to each cluster's part of the parameters' errors, and ``parts`` (G, P) are these: the covariance
    of the estimates is ``parts.T @ parts``. ``without`` (G, P): whether a parameter is still told when the cluster is left out.
    """

    estimate: np.ndarray
    moves: np.ndarray
    parts: np.ndarray
    without: np.ndarray

    def one(self, k: int) -> tuple[float, float, float]:
        """Estimate, standard error and degrees of freedom of parameter ``k``; NaN where one cluster alone decides it."""
        estimate = float(self.estimate[k])
        inner = self.moves[:, k] @ self.moves[:, k].T
        if not self.without[:, k].all() or not inner.any():
            return estimate, np.nan, np.nan
        df = float(np.trace(inner) ** 2 / (inner**2).sum())
        return estimate, float(np.sqrt((self.parts[:, k] ** 2).sum())), df

    def joint(self, chosen: Sequence[int]) -> tuple[float, float, float]:
        """F, its second degrees of freedom and p of all ``chosen`` parameters being 0 (the first are their number).

        NaN where one cluster alone decides one of them, or where there are too few clusters for so many parameters.
        """
        chosen, nothing = list(chosen), (np.nan, np.nan, np.nan)
        own, moves, q = self.parts[:, chosen], self.moves[:, chosen], len(chosen)
        values, vectors = np.linalg.eigh(np.einsum("gpn,gqn->pq", moves, moves))
        covariance = own.T @ own
        if (
            not self.without[:, chosen].all()
            or values[0] <= 1e-10 * values[-1]
            or np.linalg.matrix_rank(covariance) < q
        ):
            return nothing
        unit = np.einsum("pq,gqn->gpn", vectors / np.sqrt(values) @ vectors.T, moves)
        inner = np.einsum("gpn,hqn->ghpq", unit, unit, optimize=True)
        spread = (np.einsum("ghpp->gh", inner) ** 2).sum() + np.einsum("ghpq,ghqp->", inner, inner)
        eta = q * (q + 1) / float(spread)
        df = eta - q + 1
        if df <= 0:
            return nothing
        f = df / (eta * q) * float(self.estimate[chosen] @ np.linalg.solve(covariance, self.estimate[chosen]))
        return f, df, float(scipy_stats.f.sf(f, q, df))


def cluster_fit(design: np.ndarray, y: np.ndarray, clusters: Sequence[object]) -> ClusterFit:
    """Fit ``y`` (N,) on ``design`` (N, P), of full rank, with rows of ``clusters`` (N,), each of which counts once."""
    member = np.unique([str(name) for name in clusters], return_inverse=True)[1]
    weight = 1 / np.sqrt(np.bincount(member)[member])
    x, y = np.asarray(design, float) * weight[:, None], np.asarray(y, float) * weight
    g, (n, p) = int(member.max()) + 1, x.shape
    inverse = np.linalg.inv(x.T @ x)
    moves, without = np.empty((g, p, n)), np.empty((g, p), bool)
    for k in range(g):
        inside = member == k
        leave = -x[inside] @ inverse @ x.T
        leave[np.arange(len(leave)), np.flatnonzero(inside)] += 1
        values, vectors = np.linalg.eigh(leave[:, inside])
        kept = values > 1e-9
        moves[k] = inverse @ x[inside].T @ (vectors[:, kept] / np.sqrt(values[kept]) @ vectors[:, kept].T) @ leave
        # A parameter is told by the other clusters if its unit vector lies in the span of their rows.
        rest = x[~inside].T @ x[~inside]
        span = np.linalg.pinv(rest, rcond=1e-9, hermitian=True) @ rest
        without[k] = np.abs(np.eye(p) - span).max(axis=0) < 1e-6
    return ClusterFit(inverse @ x.T @ y, moves, moves @ y, without)


def family_level(scores: pd.DataFrame, factors: Sequence[str], families: Mapping[object, object]) -> pd.DataFrame:
    """Test of each factor over encoder means with each family counted once; a factor may differ within families too.

    Args:
        scores: tidy, with encoder, task, score and the factors (constant within an encoder).
        factors: columns of the encoder.
        families: of each encoder.

    Returns:
        DataFrame, a row a factor: df, df_residual, F, PR(>F); NaN where a level is told by one family alone, or where there are too
        few families for so many levels.

    Raises:
        ScoresError: as :func:`virb.stats.variance.encoder_level`.
    """
    names = plain_names(factors)
    frame = encoder_means(scores, factors).rename(columns=names)
    model = fitted(frame, "score ~ " + " + ".join(names.values()))
    fit = cluster_fit(model.model.exog, model.model.endog, [families[name] for name in frame["encoder"]])
    rows = {}
    for name, plain in names.items():
        chosen = [k for k, term in enumerate(model.model.exog_names) if term.split("[")[0] == plain]
        f, df, p = fit.joint(chosen)
        rows[name] = {"df": len(chosen), "df_residual": df, "F": f, "PR(>F)": p}
    return pd.DataFrame.from_dict(rows, orient="index")


def family_contrasts(
    scores: pd.DataFrame, factor: str, others: Sequence[str], families: Mapping[object, object], *, reference: str
) -> pd.DataFrame:
    """:func:`virb.stats.variance.level_contrasts` with each family counted once; p and interval are NaN where one family decides."""
    frame, names, order = reference_first(encoder_means(scores, [factor, *others]), factor, others, reference)
    model = fitted(frame, "score ~ " + " + ".join(["_level", *names]))
    fit = cluster_fit(model.model.exog, model.model.endog, [families[name] for name in frame["encoder"]])
    rows = []
    for level, code in list(order.items())[1:]:
        gap, se, df = fit.one(model.model.exog_names.index(f"_level[T.{code}]"))
        half, t = scipy_stats.t.ppf(0.975, df) * se, gap / se if se else np.nan
        least = detectable_mean_difference(se, df) if df > 0 else np.nan
        p = float(2 * scipy_stats.t.sf(abs(t), df))
        rows.append((level, reference, gap, gap - half, gap + half, t, df, p, np.nan, least))
    out = pd.DataFrame(
        rows, columns=["level", "reference", "difference", "low", "high", "t", "df", "p", "p_holm", "detectable"]
    )
    told = out["p"].notna()
    out.loc[told, "p_holm"] = adjust_p(out.loc[told, "p"].to_numpy(), "holm")
    return out


def family_differences(
    scores: pd.DataFrame, group_a: Sequence[str], group_b: Sequence[str], families: Mapping[object, object]
) -> pd.DataFrame:
    """:func:`virb.stats.effects.paired_differences` with each family counted once, in the means too.

    Intervals are NaN where one family alone decides the difference.

    Raises:
        ScoresError: as there.
    """
    out = paired_differences(scores, group_a, group_b)
    names = [*group_a, *group_b]
    design = np.column_stack([np.ones(len(names)), np.arange(len(names)) < len(group_a)])
    labels = [families[name] for name in names]
    for k, task in enumerate(out["task"]):
        fit = cluster_fit(design, scores.loc[names, task].to_numpy(float), labels)
        gap, se, df = fit.one(1)
        mean = float(fit.estimate[0])
        half = scipy_stats.t.ppf(0.975, df) * se
        scale = 100 / abs(mean) if mean else np.nan
        out.loc[k, ["mean_a", "mean_b", "difference", "low", "high"]] = mean + gap, mean, gap, gap - half, gap + half
        out.loc[k, ["relative", "relative_low", "relative_high"]] = np.array([gap, gap - half, gap + half]) * scale
        out.loc[k, "detectable"] = detectable_mean_difference(se, df) if df > 0 and se > 0 else np.nan
    return out

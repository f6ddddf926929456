"""Analysis of variance of scores, and what it must be read beside.

Kotar et al. 2021, Question 6 and Appendix F, fit score ~ task + algorithm + balance + size + steps to every encoder x
task cell. That counts each encoder's tasks as independent measurements of its pretraining, which they are not: with an
encoder effect half as large as the residual, a factor without any effect is found "significant" in 40 % of such
studies. So the fixed-effects table comes with the encoder-level one, where each encoder counts once, and with a mixed
model.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from virb.errors import ScoresError
from virb.stats.correlation import adjust_p
from virb.stats.effects import detectable_mean_difference


def anova(frame: pd.DataFrame, formula: str, *, typ: int = 2) -> pd.DataFrame:
    """Factorial analysis of variance by ordinary least squares, refused where its numbers would mean nothing.

    Args:
        frame: one row a measurement, with the formula's columns.
        formula: such as ``"score ~ task + method + balance"``; text columns are factors, ``C(size)`` makes a factor of
            numbers.
        typ: 1 (sequential), 2 (each term after the others, interactions aside) or 3 (each after all others; every
            factor must be written ``C(name, Sum)``, since with other contrasts type III tests depend on the reference
            level).

    Returns:
        DataFrame, a row a term and the Residual: sum_sq, df, F, PR(>F), eta_sq (of the total sum of squares about the
        mean), partial_eta_sq (of term + residual), omega_sq (its less biased form).

    Raises:
        ScoresError: columns are absent, values missing, a factor or the score constant, the design is rank-deficient (a
            term cannot be told from others, as with empty cells of an interaction), nothing is left for the residual,
            or type III without sum-to-zero contrasts.
    """
    if typ not in (1, 2, 3):
        raise ScoresError(f"typ={typ}: sums of squares are of type 1, 2 or 3.")
    from statsmodels.stats.anova import anova_lm

    model = fitted(frame, formula)
    if typ == 3:
        unsummed = [name for name in _factors(model, frame, formula) if not re.search(r",\s*(Sum|contr\.sum)", name)]
        if unsummed:
            raise ScoresError(
                f"Type III sums of squares need sum-to-zero contrasts on every factor; write C({_bare(unsummed[0])}, "
                "Sum) for "
                f"{', '.join(unsummed)}, or use typ=2."
            )
    table = anova_lm(model, typ=typ)
    table = table.rename(columns={"mean_sq": "_mean_sq"})[["sum_sq", "df", "F", "PR(>F)"]]
    residual = float(table.loc["Residual", "sum_sq"])
    mean_residual = residual / float(table.loc["Residual", "df"])
    total = float(model.centered_tss)
    effect = table["sum_sq"].astype(float)
    table["eta_sq"] = effect / total
    table["partial_eta_sq"] = effect / (effect + residual)
    table["omega_sq"] = (effect - table["df"] * mean_residual) / (total + mean_residual)
    table.loc[
        [name for name in ("Residual", "Intercept") if name in table.index], ["eta_sq", "partial_eta_sq", "omega_sq"]
    ] = np.nan
    result: pd.DataFrame = table
    return result


def fitted(frame: pd.DataFrame, formula: str) -> Any:
    """Ordinary least squares by statsmodels. Raises ScoresError as :func:`anova`."""
    import statsmodels.formula.api as smf

    if "~" not in formula:
        raise ScoresError(f"The formula {formula!r} has no '~'; expected e.g. 'score ~ task + method'.")
    used = _columns(formula)
    absent = [name for name in used if name not in frame.columns]
    if absent:
        raise ScoresError(
            f"The formula names {', '.join(absent)}, which the scores do not have; they have "
            f"{', '.join(map(str, frame.columns))}."
        )
    if frame.empty:
        raise ScoresError("There are no rows to analyse.")
    outcome = formula.split("~")[0].strip()
    for name in used:
        empty = frame[name].isna()
        if empty.any():
            where = frame.index[empty.to_numpy()][0]
            raise ScoresError(
                f"{int(empty.sum())} values of {name} are missing (first in row {where}). Complete or remove those "
                "rows."
            )
        if frame[name].nunique() < 2:
            what = (
                "Every score is the same"
                if name == outcome
                else f"The factor {name} has one level only ({frame[name].iloc[0]})"
            )
            raise ScoresError(f"{what}, so an analysis of variance says nothing about it. Leave it out of the formula.")
    if not np.isfinite(frame[outcome].to_numpy(float)).all() if outcome in frame else False:
        raise ScoresError(f"A value of {outcome} is not finite.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a singular design is judged below
            model = smf.ols(formula, frame).fit()
    except Exception as error:  # the formula language raises its own zoo of errors
        raise ScoresError(f"The formula {formula!r} cannot be used: {error}") from error
    design = np.asarray(model.model.exog, float)
    scale = np.linalg.norm(design, axis=0)
    rank = int(np.linalg.matrix_rank(design / np.where(scale > 0, scale, 1)))
    if rank < design.shape[1]:
        raise ScoresError(
            f"The design has {design.shape[1]} columns of rank {rank}: some effects cannot be told from others "
            "(levels that "
            "always occur together, or empty cells of an interaction). Its table would hold numbers without meaning. "
            "Remove a "
            f"term, or compare levels within the part of the design that is complete."
        )
    if model.df_resid < 1:
        raise ScoresError(
            f"{len(frame)} measurements for {design.shape[1]} parameters leave nothing to judge the effects against."
        )
    return model


def _columns(formula: str) -> list[str]:
    """Names of columns that occur in a formula, without functions, contrasts and quoted levels."""
    quoted = re.findall(r"Q\(\s*['\"](.+?)['\"]\s*\)", formula)
    plain = re.sub(r"Q\(\s*(['\"]).+?\1\s*\)|(['\"]).*?\2", " ", formula)
    names = re.findall(r"(?<![\w.])[A-Za-z_]\w*(?!\s*[\w(.])", plain)
    contrasts = ("Sum", "Treatment", "Helmert", "Poly", "Diff", "reference", "base")
    return list(dict.fromkeys([name for name in names if name not in contrasts] + quoted))


def _factors(model: Any, frame: pd.DataFrame, formula: str) -> list[str]:
    right = formula.split("~")[1]
    wrapped = re.findall(r"C\([^()]*(?:\([^()]*\))?[^()]*\)", right)
    bare = right
    for text in wrapped:
        bare = bare.replace(text, " ")
    return wrapped + [name for name in _columns(bare) if not pd.api.types.is_numeric_dtype(frame[name])]


def _bare(name: str) -> str:
    return _columns(name)[0] if "(" in name else name


def encoder_level(scores: pd.DataFrame, factors: Sequence[str], *, typ: int = 2) -> pd.DataFrame:
    """The same question with each encoder counted once: anova of encoder means over tasks, each task centred first.

    With every encoder on every task this is exact. Its false positive rate stays at its level where the table over all
    cells reaches .40.

    Args:
        scores: tidy, with encoder, task, score and the factors (constant within an encoder).
        factors: columns of the encoder.

    Raises:
        ScoresError: as :func:`anova`, or an encoder lacks a task that others have.
    """
    names = plain_names(factors)
    frame = encoder_means(scores, factors).rename(columns=names)
    table = anova(frame, "score ~ " + " + ".join(names.values()), typ=typ)
    return table.rename(index={plain: name for name, plain in names.items()})


def plain_names(factors: Sequence[str]) -> dict[str, str]:
    """A name for each factor that a formula can hold: what a column is called must never be read as code."""
    return {name: f"factor_{k}" for k, name in enumerate(factors)}


def encoder_means(scores: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    """One row an encoder: mean over tasks of its score less the task's mean, and the factors as text.

    Raises:
        ScoresError: an encoder lacks a task that others have, which would favour those that skip hard tasks.
    """
    wide = scores.pivot_table(index="encoder", columns="task", values="score", aggfunc="mean")
    if wide.isna().to_numpy().any():
        i, j = np.argwhere(wide.isna().to_numpy())[0]
        raise ScoresError(
            f"The encoder {wide.index[i]} has no score on {wide.columns[j]}; means over tasks need every cell."
        )
    out = (wide - wide.mean()).mean(axis=1).rename("score").reset_index()
    about = scores.drop_duplicates("encoder").set_index("encoder")
    levels = {factor: out["encoder"].map(about[factor].astype(str)) for factor in factors}
    return out.assign(**levels)


def level_contrasts(
    scores: pd.DataFrame, factor: str, others: Sequence[str], *, reference: str, clustered: bool = True
) -> pd.DataFrame:
    """Difference of every level of a factor from ``reference``, the other factors held: the paper's two p-values are
    such.

    Args:
        scores: tidy, with encoder, task, score, ``factor`` and ``others``.
        reference: level to compare with.
        clustered: compare encoder means (each encoder counts once); else every cell, task being a factor, as the paper
            does.

    Returns:
        DataFrame: level, reference, difference, low, high (95 %), t, df, p, p_holm, detectable (difference found with
            power .8).

    Raises:
        ScoresError: as :func:`anova`, or ``reference`` is no level.
    """
    frame = encoder_means(scores, [factor, *others]) if clustered else scores
    frame, names, order = reference_first(frame, factor, others, reference)
    terms = ["_level", *names] + ([] if clustered else ["task"])
    model = fitted(frame, "score ~ " + " + ".join(terms))
    rows = []
    for level, code in list(order.items())[1:]:
        name = f"_level[T.{code}]"
        low, high = model.conf_int().loc[name]
        rows.append(
            (level, reference, model.params[name], low, high, model.tvalues[name], model.df_resid, model.pvalues[name])
        )
    out = pd.DataFrame(rows, columns=["level", "reference", "difference", "low", "high", "t", "df", "p"])
    out["p_holm"] = adjust_p(out["p"].to_numpy(), "holm")
    ratios = zip(out["difference"], out["t"], out["df"], strict=True)
    out["detectable"] = [detectable_mean_difference(abs(d / t) if t else 0.0, df) for d, t, df in ratios]
    return out


def reference_first(
    frame: pd.DataFrame, factor: str, others: Sequence[str], reference: str
) -> tuple[pd.DataFrame, list[str], dict[str, str]]:
    """``frame`` with ``factor`` coded in a column _level, the other factors' columns under plain names, and each level's code.

    Raises:
        ScoresError: ``reference`` is no level.
    """
    levels = sorted(frame[factor].astype(str).unique())
    if reference not in levels:
        raise ScoresError(f"{reference!r} is no level of {factor}; it has {', '.join(levels)}.")
    names = plain_names(others)
    out = frame.astype(dict.fromkeys([factor, *others], str)).rename(columns=names)
    # The formula's reference is the first in the alphabet.
    codes = {
        level: f"{k:04d}" for k, level in enumerate([reference, *[level for level in levels if level != reference]])
    }
    out["_level"] = out[factor].map(codes)
    return out, list(names.values()), codes


@dataclass(frozen=True)
class MixedModel:
    """score ~ task + factors with a random effect of the encoder: fixed effects with t tests, and the two variances."""

    table: pd.DataFrame  # term, estimate, se, t, df, p
    encoder_sd: float
    residual_sd: float
    has_converged: bool


def mixed_model(scores: pd.DataFrame, factors: Sequence[str]) -> MixedModel:
    """Mixed model with the encoder as random effect, by restricted maximum likelihood.

    The p-values use t with (encoders - encoder-level parameters) degrees of freedom: with z they are too small by a
    tenth at 18 encoders.

    Raises:
        ScoresError: as :func:`anova`, or no degree of freedom is left between encoders.
    """
    import statsmodels.formula.api as smf

    frame = scores.copy()
    plain = plain_names(factors)
    for name in factors:
        frame[name] = frame[name].astype(str)
    n_between = 1 + sum(frame[f].nunique() - 1 for f in factors)
    frame = frame.rename(columns=plain)
    formula = "score ~ task + " + " + ".join(plain.values())
    fitted(frame, formula)
    n_encoders = frame["encoder"].nunique()
    df = n_encoders - n_between
    if df < 1:
        raise ScoresError(f"{n_encoders} encoders for {n_between} parameters between them leave nothing to judge by.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence is reported in the result
        fit = smf.mixedlm(formula, frame, groups=frame["encoder"]).fit(reml=True)
    names = [name for name in fit.fe_params.index if not name.startswith(("task[", "Intercept"))]
    estimate, se = fit.fe_params[names], fit.bse_fe[names]
    t = estimate / se
    table = pd.DataFrame(
        {
            "term": [_original(name, plain) for name in names],
            "estimate": estimate.to_numpy(),
            "se": se.to_numpy(),
            "t": t.to_numpy(),
            "df": df,
            "p": 2 * scipy_stats.t.sf(np.abs(t), df),
        }
    )
    return MixedModel(
        table, float(np.sqrt(max(float(fit.cov_re.iloc[0, 0]), 0.0))), float(np.sqrt(fit.scale)), bool(fit.converged)
    )


def _original(term: str, plain: Mapping[str, str]) -> str:
    """``factor_0[T.swav]`` -> ``method[T.swav]``."""
    head, bracket, level = term.partition("[")
    return next((name for name, code in plain.items() if code == head), head) + bracket + level

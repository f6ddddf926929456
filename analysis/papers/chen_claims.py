"""Whether what Chen et al. 2020 (SimCLR) say holds: functions of tables of settings. Scores in percent; a run each."""

from __future__ import annotations

import numpy as np
import pandas as pd
from virb.analysis.papers.common import of_cells

from virb.contracts.paper import FAILS, HOLDS, UNTOLD, Answer, Evidence, NotThere
from virb.stats.claims import sign_p
from virb.stats.comparisons import above_chance, rule_differences

ROUND = 0.1  # a difference of two scores printed to one digit


def _percent(frame: pd.DataFrame) -> pd.DataFrame:
    """Scores in percent, whatever the unit of a record."""
    return frame.assign(score=np.where(frame["unit"].eq("fraction"), 100 * frame["score"], frame["score"]))


def composition_is_crucial(tables: Evidence) -> Answer:
    """No single augmentation suffices: the best pair is far above the best one alone."""
    x = _compositions(tables)
    alone = np.diag(x.to_numpy())
    pairs = x.to_numpy().copy()
    np.fill_diagonal(pairs, np.nan)
    gap = float(np.nanmax(pairs) - np.nanmax(alone))
    return of_cells(
        [gap - 5.0], ROUND, f"Best pair {np.nanmax(pairs):.1f} %, best alone {np.nanmax(alone):.1f} %; far is called 5 points.",
        "matrix of pairs", "points beyond 5",
    )  # fmt: skip


def crop_and_colour_stand_out(tables: Evidence) -> Answer:
    """Of all pairs random crop with colour distortion is best."""
    x = _compositions(tables)
    crop, colour = tables.fact("crop_and_colour")
    if crop not in x.index or colour not in x.columns:
        raise NotThere(f"No encoder was trained with {crop} and {colour}.")
    rows = [
        (frozenset((a, b)), float(x.loc[a, b]))
        for a in x.index
        for b in x.columns
        if a != b and np.isfinite(x.loc[a, b])
    ]
    best_other = max(value for pair, value in rows if pair != frozenset((crop, colour)))
    own = max(value for pair, value in rows if pair == frozenset((crop, colour)))
    return of_cells(
        [own - best_other],
        ROUND,
        f"{crop} and {colour} {own:.1f} %, the best other pair {best_other:.1f} %.",
        "matrix of pairs",
        "points",
    )


def _compositions(tables: Evidence) -> pd.DataFrame:
    frame = _percent(tables.get("figure5", "augmentation_a", "augmentation_b"))
    x = frame.pivot_table(index="augmentation_a", columns="augmentation_b", values="score")
    names = [name for name in x.index if name in x.columns]
    if len(names) < 2:
        raise NotThere("A matrix of augmentations is needed: each alone and in pairs.")
    return x.loc[names, names]


def stronger_colour_helps_contrast(tables: Evidence) -> Answer:
    """Stronger colour distortion helps SimCLR and does not help supervision."""
    frame = _percent(tables.get("table1", "strength", "role"))
    frame = frame.dropna(subset=["strength"])
    curves = {
        role: group.groupby(group["strength"].astype(float))["score"].mean().sort_index()
        for role, group in frame.groupby("role")
    }
    if not {"self-supervised", "supervised"} <= set(curves) or len(curves["supervised"]) < 3:
        raise NotThere("A self-supervised and a supervised method, at three strengths each, are needed.")
    ours, theirs = np.diff(curves["self-supervised"]), np.diff(curves["supervised"])
    interaction = float(ours.sum() - theirs.sum())
    return of_cells(
        [*(float(step) for step in ours), *(-float(step) for step in theirs)], ROUND,
        f"From the weakest to the strongest SimCLR {ours.sum():+.1f} points, supervision {theirs.sum():+.1f}, at every step in that direction; "
        f"the difference {interaction:.1f} points. Of {len(ours) + 1} strengths no trend can have a p below "
        f"{2 / np.prod(np.arange(1, len(ours) + 2)):.3f}.",
        "steps", "points",
    )  # fmt: skip


def autoaugment_is_no_better(tables: Evidence) -> Answer:
    """AutoAugment, found with labels, is no better for SimCLR than crop with strong colour."""
    frame = _percent(tables.get("table1", "augmentation", "role"))
    ours = frame[frame["role"].eq("self-supervised")].set_index("augmentation")["score"]
    if "AutoAug" not in ours:
        raise NotThere("No encoder was trained with AutoAugment; virb has none.")
    gap = float(ours.drop("AutoAug").max() - ours["AutoAug"])
    return of_cells(
        [gap],
        ROUND,
        f"AutoAugment {ours['AutoAug']:.1f} %, the best other {ours.drop('AutoAug').max():.1f} %.",
        "pair of runs",
        "points",
    )


def wider_is_better(tables: Evidence) -> Answer:
    """Accuracy rises with the network's width."""
    frame = _percent(tables.get("table6", "width", "method"))
    curve = of_simclr(frame).groupby(frame["width"].astype(float))["score"].mean().sort_index()
    if len(curve) < 3:
        raise NotThere("Three widths are needed.")
    return of_cells(
        [float(step) for step in np.diff(curve)], ROUND,
        f"Widths {', '.join(f'x{w:g} {s:.1f}' for w, s in curve.items())} %. Depth is drawn in Figure 7 and not printed.", "steps", "points",
    )  # fmt: skip


def of_simclr(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["method"].astype(str).str.casefold().eq("simclr")]


def gap_shrinks_with_size(tables: Evidence) -> Answer:
    """The gap to supervision shrinks as networks grow."""
    frame = _percent(tables.get("table6", "width", "role"))
    width = frame["width"].astype(float)
    simclr = of_simclr(frame).groupby(width)["score"].mean()
    supervised = frame[frame["role"].eq("supervised")].groupby(width)["score"].mean()
    gap = (supervised - simclr).dropna().sort_index()
    if len(gap) < 2:
        raise NotThere("A supervised network of two widths is needed beside the self-supervised one.")
    return of_cells(
        [-float(step) for step in np.diff(gap)], 2 * ROUND,
        f"Gap {', '.join(f'x{w:g} {g:.1f}' for w, g in gap.items())} points ({len(gap)} widths, each a run). Depths are not printed.",
        "steps", "points",
    )  # fmt: skip


def depth_helps(tables: Evidence) -> Answer:
    """Accuracy rises with the network's depth."""
    frame = _percent(tables.get("figure7", "depth"))
    curve = frame.groupby(frame["depth"].astype(float))["score"].mean().sort_index()
    if len(curve) < 2:
        raise NotThere("Two depths are needed.")
    return of_cells(
        [float(step) for step in np.diff(curve)],
        ROUND,
        f"Depths {', '.join(f'{d:g} {s:.1f}' for d, s in curve.items())} %.",
        "steps",
        "points",
    )


def longer_supervised_training_does_not_help(tables: Evidence) -> Answer:
    """Training longer does not improve supervised ResNets."""
    frame = tables.get("tableB3", "epochs", "augmentation")
    keys = [key for key in ("network", "augmentation") if key in frame]
    gains = []
    for _, group in frame.groupby(keys):
        curve = group.set_index(group["epochs"].astype(float))["score"].sort_index()
        gains += [float(value - curve.iloc[0]) for value in curve.iloc[1:]]
    gains_ = np.array(gains)
    return Answer(
        HOLDS if (gains_ <= ROUND).all() else FAILS if (gains_ > 0.5).any() else UNTOLD,
        f"Against 90 epochs, {int((gains_ > ROUND).sum())} of {len(gains_)} longer trainings are better, by up to {gains_.max():.1f} points "
        "(ResNet-50, 500 epochs, crop, colour and blur), most with strong augmentation; at 1000 epochs most are worse. A footnote says so too.",
        len(gains_), "cells", float(gains_.mean()), float(gains_.min()), float(gains_.max()), "points (least to most)",
    )  # fmt: skip


def _heads(tables: Evidence) -> pd.Series:
    frame = _percent(tables.get("figure8", "head"))
    return frame.groupby("head")["score"].mean()


def nonlinear_head_is_better(tables: Evidence) -> Answer:
    """A nonlinear projection is better than a linear one by 3 points, and than none by more than 10."""
    found = _heads(tables)
    if not {"nonlinear", "linear", "identity"} <= set(found.index):
        raise NotThere("Encoders of three projection heads are needed.")
    gaps = [float(found["nonlinear"] - found["linear"]), float(found["linear"] - found["identity"])]
    return of_cells(gaps, ROUND, f"{', '.join(f'{k} {v:.1f}' for k, v in found.items())} %.", "steps", "points")


def layer_below_knows_more(tables: Evidence) -> Answer:
    """The layer before the projection tells how an image was transformed, the projection hardly."""
    frame = tables.get("table3", "chance", "layer")
    frame = frame.assign(score=np.where(frame["unit"].eq("percent"), frame["score"] / 100, frame["score"]))
    h, g = (frame[frame["layer"].eq(layer)].set_index("task") for layer in ("h", "g(h)"))
    kappa = [above_chance(part["score"], part["chance"])["kappa"].to_numpy() for part in (h, g.reindex(h.index))]
    gaps = kappa[0] - kappa[1]
    return of_cells(
        [float(gap) for gap in gaps], 0.01,
        f"Above chance (1 is all, 0 guessing): {', '.join(f'{t} {a:.2f} and {b:.2f}' for t, a, b in zip(h.index, *kappa, strict=True))}. 97.4 % for "
        "grey against colour is not much where guessing gives 80.",
        "transformations", "kappa", p=sign_p(int((gaps > 0).sum()), len(gaps)),
    )  # fmt: skip


def nt_xent_is_best(tables: Evidence) -> Answer:
    """NT-Xent is better than every other loss, mined or not."""
    found = _percent(tables.get("table4", "loss")).groupby("loss")["score"].mean()
    own = tables.fact("nt_xent")
    if own not in found or len(found) < 2:
        raise NotThere("NT-Xent and another loss are needed.")
    rest = found.drop(own)
    return of_cells(
        [float(found[own] - value) for value in rest], ROUND,
        f"{own} {found[own]:.1f} %, the next {rest.idxmax()} {rest.max():.1f} %: {found[own] - rest.max():.1f} points. Each loss was tuned, and run "
        "once.", "other losses", "points",
    )  # fmt: skip


def mining_helps(tables: Evidence) -> Answer:
    """Semi-hard negatives help the other losses."""
    found = _percent(tables.get("table4", "loss")).groupby("loss")["score"].mean()
    pairs = [(name, f"{name} (semi-hard)") for name in found.index if f"{name} (semi-hard)" in found.index]
    if not pairs:
        raise NotThere("A loss with and without semi-hard negatives is needed.")
    return of_cells(
        [float(found[b] - found[a]) for a, b in pairs], ROUND, f"{', '.join(f'{a} {found[b] - found[a]:+.1f}' for a, b in pairs)} points.",
        "losses", "points",
    )  # fmt: skip


def normalisation_matters(tables: Evidence) -> Answer:
    """Without the l2 norm, or a fitting temperature, accuracy is worse."""
    frame = _percent(tables.get("table5", "l2_norm", "temperature"))
    with_norm = frame[frame["l2_norm"].astype(bool)].set_index("temperature")["score"]
    without = frame[~frame["l2_norm"].astype(bool)]["score"]
    if with_norm.empty or without.empty:
        raise NotThere("Encoders with and without the l2 norm are needed.")
    best = with_norm.idxmax()
    gaps = [float(with_norm.max() - value) for value in (*without, *with_norm.drop(best))]
    from scipy.stats import mannwhitneyu

    p = float(mannwhitneyu(with_norm, without, method="exact").pvalue)
    return of_cells(
        gaps, ROUND, f"Best at temperature {best:g} with the norm, {with_norm.max():.1f} %; without it at most {without.max():.1f} %. All {len(with_norm)} "
        f"with the norm are above the {len(without)} without: p {p:.2f}, the least that so few can have.",
        "other settings", "points", p=p,
    )  # fmt: skip


def _rule(tables: Evidence, rule: str) -> pd.DataFrame:
    frame = _percent(tables.get("tableB1", "batch_size", "epochs", "lr_rule"))
    frame = frame[frame["lr_rule"].eq(rule)]
    x = frame.pivot_table(
        index=frame["batch_size"].astype(float), columns=frame["epochs"].astype(float), values="score"
    )
    if x.shape[0] < 2 or x.shape[1] < 2:
        raise NotThere(f"Two batch sizes and two lengths under the {rule} rule are needed.")
    return x


def large_batches_help_short_training(tables: Evidence) -> Answer:
    """With few epochs larger batches are better (Figure 9: learning rate in proportion to the batch)."""
    x = _rule(tables, "linear")
    short = x.iloc[:, 0]
    return of_cells(
        [float(short.iloc[-1] - short.iloc[0])], ROUND,
        f"At {x.columns[0]:g} epochs the largest batch is {short.iloc[-1] - short.iloc[0]:.1f} points above the smallest; steps between batches "
        f"{', '.join(f'{s:+.1f}' for s in np.diff(short))}.", "row of runs", "points",
    )  # fmt: skip


def gap_closes_with_length(tables: Evidence) -> Answer:
    """With more epochs the gap between batch sizes shrinks or disappears."""
    gaps = {rule: _rule(tables, rule) for rule in ("linear", "sqrt") if _has(tables, rule)}
    if not gaps:
        raise NotThere("Two batch sizes and two lengths under one learning rate rule are needed.")
    by = {rule: (x.iloc[-1] - x.iloc[0]) for rule, x in gaps.items()}
    shrinks = {rule: of_cells([-float(s) for s in np.diff(gap)], ROUND, "", "", "").verdict for rule, gap in by.items()}
    said = "; ".join(
        f"{rule} rule {', '.join(f'{e:g} epochs {g:+.1f}' for e, g in gap.items())}" for rule, gap in by.items()
    )
    verdicts = set(shrinks.values())
    return Answer(
        HOLDS if verdicts == {HOLDS} else FAILS if verdicts == {FAILS} else UNTOLD,
        f"Largest less smallest batch, in points: {said}. It shrinks where the learning rate grows with the batch, and not where it grows with its "
        "root: the rate does what is said of the batch." if len(by) == 2 else f"Largest less smallest batch, in points: {said}.",
        len(by), "learning rate rules", float(next(iter(by.values())).iloc[0]), unit="points at the shortest",
    )  # fmt: skip


def _has(tables: Evidence, rule: str) -> bool:
    try:
        _rule(tables, rule)
    except NotThere:
        return False
    return True


def longer_is_better(tables: Evidence) -> Answer:
    """Training longer is better at every batch size."""
    steps = []
    for rule in ("linear", "sqrt"):
        if _has(tables, rule):
            steps += [float(s) for s in np.diff(_rule(tables, rule), axis=1).ravel()]
    if not steps:
        raise NotThere("Two lengths of training are needed.")
    return of_cells(
        steps,
        ROUND,
        f"{sum(s > 0 for s in steps)} of {len(steps)} doublings of the epochs gain, the least {min(steps):+.1f} points.",
        "steps",
        "points",
    )


def square_root_rule(tables: Evidence) -> Answer:
    """The square-root learning rate is better for small batches and few epochs, and never worse beyond half a point."""
    frame = _percent(tables.get("tableB1", "batch_size", "epochs", "lr_rule"))
    found = rule_differences(frame, "lr_rule", first="linear", second="sqrt", by=["batch_size", "epochs"])
    bold = found[found["better"] != ""]
    worse = int((bold["better"] == "linear").sum())
    small = bold["batch_size"].astype(float).max() if len(bold) else np.nan
    return Answer(
        HOLDS if len(bold) and not worse else FAILS,
        f"Of {len(found)} settings {len(bold)} differ by more than half a point, all for the square root; their batches reach {small:g}.",
        len(found), "settings", float(len(bold)), unit="settings",
    )  # fmt: skip

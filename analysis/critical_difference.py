"""Ranking of encoders over tasks with Friedman's test and a critical-difference diagram.

Demšar 2006. Encoders joined by a bar cannot be told apart by Nemenyi's test. Pitfalls: tasks count as independent and
alike, and Nemenyi's differences depend on how many encoders are compared: pairs of interest are better read from the
Holm-adjusted Wilcoxon table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, Option, Outputs
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.scores.roles import roles
from virb.stats.ranking import cliques, critical_difference, friedman, holm_wilcoxon, nemenyi, rank_bootstrap

if TYPE_CHECKING:
    from pandas import DataFrame


def run(scores: DataFrame, out: Outputs, *, alpha: float, top: int, exclude: tuple[str, ...], missing: str) -> None:
    from virb.figures import plots

    data = prepare(scores, out, exclude=exclude, missing=missing)
    wide = data.wide
    test = friedman(wide)
    limit = critical_difference(len(wide), wide.shape[1], alpha=alpha)
    groups = data.categories if data.categories.nunique() > 1 else None
    ranks = rank_bootstrap(wide, top=top, groups=groups)
    table = ranks.rename_axis("encoder").reset_index()
    out.table(table.assign(role=table["encoder"].map(roles(data.frame))))
    pairs = holm_wilcoxon(wide)
    p = nemenyi(wide)
    pairs["p_nemenyi"] = [p.loc[a, b] for a, b in zip(pairs["encoder_a"], pairs["encoder_b"], strict=True)]
    out.table(pairs, "pairs")
    out.say(
        f"Friedman: chi2 = {test.statistic:.2f}, p = {test.pvalue:.2g}; Iman-Davenport F = {test.f:.2f}, p = "
        f"{test.f_pvalue:.2g}; "
        f"Kendall's W = {test.kendall_w:.2f} (n = {wide.shape[1]} tasks, {len(wide)} encoders)",
        f"critical difference of mean ranks {limit:.2f}; {int((pairs['p_holm'] < alpha).sum())} of {len(pairs)} pairs "
        "differ by "
        f"Wilcoxon with Holm's correction",
        f"P(among the best {top}): "
        + ", ".join(f"{name} {share:.0%}" for name, share in ranks["p_top"].head(5).items()),
    )
    order = test.mean_ranks
    bars = cliques(order, limit)
    with plots.style():
        fig = plots.figure(plots.COLUMN, 0.5 + 0.15 * max(len(order), 3))
        axes = fig.add_subplot()
        of = roles(data.frame)
        shades = plots.role_colours(of)
        for k, name in enumerate(order.index):
            axes.plot(order[name], k, "o", markersize=3.5, color=shades[of[name]], markeredgewidth=0, zorder=3)
            axes.hlines(
                k,
                ranks.loc[name, "mean_low"],
                ranks.loc[name, "mean_high"],
                color=shades[of[name]],
                linewidth=0.7,
                alpha=0.6,
            )
        place = {name: k for k, name in enumerate(order.index)}
        first = len(order) + 0.15
        for j, members in enumerate(bars):
            y = first + 0.32 * j
            axes.hlines(y, order[members[0]], order[members[-1]], color=plots.OKABE_ITO[5], linewidth=2.2)
            for name in (members[0], members[-1]):
                axes.vlines(order[name], place[name], y, color=plots.OKABE_ITO[5], linewidth=0.35, alpha=0.6, zorder=1)
        axes.set_yticks(range(len(order)), list(order.index), fontsize=6.5 if len(order) <= 20 else 5.5)
        axes.set_ylim(first + 0.32 * len(bars) + 0.1, -1.6)
        axes.hlines(-1.0, 1, 1 + limit, color=plots.BLACK, linewidth=1.2)
        # Beside its bar where there is room, else on it.
        axes.set_xlim(0.7, len(order) + 0.3)
        is_long = 1 + limit > 0.6 * len(order)
        axes.text(
            1 + limit / 2 if is_long else 1 + limit + 0.03 * len(order), -1.15 if is_long else -1.0,
            f"critical difference {limit:.2f}", va="bottom" if is_long else "center", ha="center" if is_long else "left", fontsize=6,
        )  # fmt: skip
        axes.set_xlabel("mean rank over tasks (1 is best)")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        note = f"{wide.shape[1]} tasks; thin lines: 95% interval of the mean rank over resampled tasks; bars below join encoders that "
        note += f"Nemenyi's test at {alpha:g} cannot tell apart. {data.note}"
        handles = plots.colour_handles(shades) if len(shades) > 1 else []
        plots.titles(fig, f"Ranking of {len(order)} encoders", note, handles=handles)
    out.figure(fig)


ANALYSIS = Analysis(
    name="critical-difference",
    summary="Ranking of encoders over tasks with a critical-difference diagram",
    source="Demšar 2006, Figure 1",
    run=run,
    min_encoders=3,
    min_tasks=2,
    options=(
        Option("alpha", 0.05, "Level of the tests.", type=float),
        Option("top", 3, "Size of the top group whose probability is given.", type=int),
        EXCLUDE,
        MISSING,
    ),
)

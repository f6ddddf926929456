"""Whether what Chen et al. 2020 say of supervised networks and of transfer holds: functions of the same tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
from virb.analysis.papers.chen_claims import ROUND, of_simclr
from virb.analysis.papers.common import of_cells, of_units

from virb.contracts.paper import FAILS, HOLDS, UNTOLD, Answer, Evidence, NotThere
from virb.stats.claims import mcnemar_bounds, sign_p


def relative_improvement(tables: Evidence) -> Answer:
    """76.5 % is a 7 % relative improvement over the best before."""
    frame = tables.get("table6", "method")
    ours = frame[frame["method"].eq("SimCLR")]["score"].max()
    other = frame[~frame["method"].eq("SimCLR") & frame["role"].eq("self-supervised")]["score"].max()
    gain = [100 * (ours + a - other - b) / (other + b) for a, b in ((0, 0), (-0.05, 0.05), (0.05, -0.05))]
    return Answer(
        HOLDS if 6.5 <= gain[0] <= 7.5 else FAILS, f"{ours:.1f} against {other:.1f}: {gain[0]:.1f} %, with ResNets of other sizes ({gain[1]:.2f} to {gain[2]:.2f} by rounding).",
        1, "pair of runs", *gain, "% relative",
    )  # fmt: skip


def matches_supervised_resnet50(tables: Evidence) -> Answer:
    """The linear probe of the x4 network matches a supervised ResNet-50."""
    frame = tables.get("table6", "width", "role")
    simclr = float(of_simclr(frame)["score"].max())
    supervised = frame[frame["role"].eq("supervised") & frame["width"].eq(1)]["score"]
    if supervised.empty:
        raise NotThere("A supervised ResNet-50 is needed.")
    gap = simclr - float(supervised.max())
    return Answer(
        HOLDS if gap >= -0.5 else FAILS,
        f"{simclr:.1f} against {supervised.max():.1f} % ({gap:+.1f}); the network has 16 times the parameters, and the supervised one of its size 78.3.",
        1, "pair of runs", gap, gap - ROUND, gap + ROUND, "points",
    )  # fmt: skip


def bold_cells(tables: Evidence) -> Answer:
    """Fine-tuned, SimCLR is significantly better on 5 data sets, supervision on 2, and 5 are ties (permutation test, .05)."""
    found = transfer_bounds(tables, "table8", "fine-tuned")
    surely = found[found["verdict"].isin(["SimCLR", "Supervised"])]
    open_, ties = found[found["verdict"].eq("open")], found[found["verdict"].eq("tie")]
    untestable = found[found["verdict"].eq("no test")]
    ahead = int((found["gap"] > 0).sum())
    wins = {name: int(surely["verdict"].eq(name).sum()) for name in ("SimCLR", "Supervised")}
    least, most = wins["SimCLR"], int(((found["gap"] > 0) & ~found["verdict"].eq("tie")).sum())
    impossible = least > 5 or most < 5 or wins["Supervised"] > 2
    return Answer(
        FAILS if impossible else UNTOLD if len(open_) + len(untestable) else HOLDS,
        f"By the printed numbers SimCLR leads on {ahead} of {len(found)}. How many test images exactly one of two networks gets right is not printed, "
        f"but bounded: surely significant {', '.join(surely['task']) or 'none'}; surely not {', '.join(ties['task']) or 'none'}; either is possible on "
        f"{', '.join(open_['task']) or 'none'}; {', '.join(untestable['task']) or 'none'} is no accuracy. No cell contradicts 5, 2 and 5; Holm over the "
        "twelve tests is not applied, and one network of each kind was trained.",
        len(found), "data sets", float(least), float(least), float(most), "data sets that SimCLR wins",
    )  # fmt: skip


def transfer_bounds(tables: Evidence, name: str, protocol: str) -> pd.DataFrame:
    """For each data set the gap of SimCLR to supervision, and what McNemar's p can be: task, gap, low, high, verdict."""
    frame = tables.get(name, "init", "probe")
    part = frame[frame["probe"].eq(protocol)]
    a, b = (part[part["init"].eq(kind)].set_index("task")["score"] for kind in ("SimCLR", "Supervised"))
    sizes = tables.fact("test_images")
    rows = []
    for task in a.index.intersection(b.index):
        gap = float(a[task] - b[task])
        if task not in sizes:
            rows.append((task, gap, np.nan, np.nan, "no test"))
            continue
        low, high = mcnemar_bounds(sizes[task], a[task] / 100, b[task] / 100)
        leader = "SimCLR" if gap > 0 else "Supervised"
        rows.append((task, gap, low, high, leader if high <= 0.05 else "tie" if low > 0.05 else "open"))
    return pd.DataFrame(rows, columns=["task", "gap", "p_least", "p_most", "verdict"])


def supervised_wins_with_small_networks(tables: Evidence) -> Answer:
    """With ResNet-50 supervision is better on all 12 data sets by linear evaluation."""
    return _count(tables, "linear", 12)


def supervised_wins_ten_fine_tuned(tables: Evidence) -> Answer:
    """With ResNet-50, fine-tuned, supervision is better on 10 of 12 data sets."""
    return _count(tables, "fine-tuned", 10)


def _count(tables: Evidence, protocol: str, said: int) -> Answer:
    frame = tables.get("tableB5", "init", "probe")
    part = frame[frame["probe"].eq(protocol)]
    a, b = (part[part["init"].eq(kind)].set_index("task")["score"] for kind in ("SimCLR", "Supervised"))
    gaps = (b - a).dropna()
    surely, maybe = int((gaps > ROUND).sum()), int((gaps > -ROUND).sum())
    found = int((gaps > 0).sum())
    return Answer(
        HOLDS if found == said else FAILS,
        f"The table has {found} of {len(gaps)} ({', '.join(f'{t} {g:+.1f}' for t, g in gaps[gaps <= 0].items()) or 'no exception'}).",
        len(gaps), "data sets", found, surely, maybe, "data sets that supervision wins",
    )  # fmt: skip


def better_with_few_labels(tables: Evidence) -> Answer:
    """Fine-tuned on 1 % of the labels the x4 network reaches 85.8 % top-5, above all before."""
    frame = tables.get("table7", "labels", "method")
    part = frame[frame["labels"].eq(1)].dropna(subset=["score"])
    ours = float(part[part["method"].eq("SimCLR")]["score"].max())
    other = part[~part["method"].eq("SimCLR")]
    return of_cells(
        [ours - float(other["score"].max())], ROUND, f"{ours:.1f} %, the best other {other['score'].max():.1f} ({other.loc[other['score'].idxmax(), 'method']}, a smaller network).",
        "pair of runs", "points",
    )  # fmt: skip


def linear_evaluation_is_even(tables: Evidence) -> Answer:
    """The x4 network shows no clear advantage of either on the twelve data sets by linear evaluation."""
    frame = tables.get("table8", "init", "probe")
    part = frame[frame["probe"].eq("linear")]
    a, b = (part[part["init"].eq(kind)].set_index("task")["score"] for kind in ("SimCLR", "Supervised"))
    gaps = (a - b).dropna()
    found = of_units(gaps, "", "data sets", "points")
    return Answer(
        HOLDS if found.verdict == UNTOLD else FAILS,
        f"SimCLR less supervised: {found.estimate:+.1f} points on average over {len(gaps)} data sets, ahead on {int((gaps > 0).sum())} (sign test p "
        f"{sign_p(int((gaps > 0).sum()), len(gaps)):.2f}). No clear advantage is not equality: the interval allows {found.low:+.1f} to {found.high:+.1f}.",
        len(gaps), "data sets", found.estimate, found.low, found.high, "points", sign_p(int((gaps > 0).sum()), len(gaps)), "data sets like these",
    )  # fmt: skip

"""Training curves of an end task's heads: the loss by epoch of each encoder's heads, drawn small and on one scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from virb.report.study import Study

SHOWN = 8  # encoders; the CSV has all
WIDTH, HEIGHT = 200, 90  # of the plotted part, in pixels


@dataclass(frozen=True)
class Plot:
    """One encoder's curves, a line a seed, as the points of SVG's polylines; ``said`` is its first and last loss."""

    encoder: str
    href: str
    said: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Curves:
    """All plots of a task on one scale; ``others`` are the mean curves of all encoders, drawn behind each."""

    plots: Sequence[Plot]
    others: Sequence[str]
    first: int  # epoch
    last: int
    low: str  # loss at the lower and at the upper end
    high: str
    is_log: bool
    note: str
    width: int = WIDTH
    height: int = HEIGHT


def losses(study: Study, task: str) -> pd.DataFrame:
    """Return encoder, seed, epoch and loss of every record of the task that has its loss by epoch."""
    rows = [
        (encoder, record["seed"], int(epoch), float(loss))
        for encoder in study.encoders
        for record in study.records_of(encoder=encoder, task=task)
        for epoch, loss in (record.get("loss_by_epoch") or {}).items()
    ]
    return pd.DataFrame(rows, columns=["encoder", "seed", "epoch", "loss"])


def curves(study: Study, task: str, frame: pd.DataFrame, links: Mapping[str, str]) -> Curves | None:
    """Lay out the curves of the task's best encoders, or of those that were asked for; None where there are none.

    ``frame`` is what :func:`losses` gives.
    """
    if frame["epoch"].nunique() < 2:
        return None
    first, last = int(frame["epoch"].min()), int(frame["epoch"].max())
    # One curve that runs away would leave the others no room.
    tops = frame.groupby("encoder")["loss"].max()
    low, high = float(frame["loss"].min()), float(min(tops.max(), 2 * tops.quantile(0.5, "lower")))
    is_log = last > 20

    def points(part: pd.DataFrame) -> str:
        out = []
        for epoch, loss in part.groupby("epoch")["loss"].mean().items():
            at = float(str(epoch))
            x = math.log(at / first) / math.log(last / first) if is_log else (at - first) / (last - first)
            y = (min(float(loss), high) - low) / (high - low) if high > low else 0.5
            out.append(f"{x * WIDTH:.1f},{(1 - y) * HEIGHT:.1f}")
        return " ".join(out)

    mine = {str(encoder): part for encoder, part in frame.groupby("encoder", sort=False)}
    shown = [encoder for encoder in study.best_first(task) if encoder in mine][:SHOWN]
    plots = []
    for encoder in shown:
        means = mine[encoder].groupby("epoch")["loss"].mean()
        lines = [points(part) for _, part in mine[encoder].groupby("seed")]
        plots.append(Plot(encoder, links[encoder], f"{means.iloc[0]:.3g} → {means.iloc[-1]:.3g}", lines))
    some = f"the {len(shown)} best of {len(mine)} encoders" if len(shown) < len(mine) else "each encoder"
    note = (
        f"Mean loss on the training examples by epoch, for {some}, a line a seed; grey: the other encoders. All on one scale"
        f"{', epochs on a logarithmic one' if is_log else ''}. A curve that still falls at its end says that more epochs would fit the "
        "training examples further, not that the score would rise."
    )
    others = [points(part) for part in mine.values()]
    return Curves(plots, others, first, last, f"{low:.3g}", f"{high:.3g}", is_log, note)

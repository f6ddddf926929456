"""Published numbers beside ours: cell by cell, rank agreement over encoders, then the claims of both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from virb import registry
from virb.contracts.paper import Paper, Part
from virb.errors import RegistryError
from virb.papers.claims import Answered, ask
from virb.papers.evidence import evidence, rows_of
from virb.papers.identity import Identified
from virb.papers.protocol import Probes, departures, label_share, probe_fits
from virb.stats.correlation import correlation_p

if TYPE_CHECKING:
    from collections.abc import Mapping

SAME, OTHER, NOWHERE = "same protocol", "other protocol", "not computed"
COLUMNS = (
    "part", "encoder", "task", "published", "ours", "difference", "low", "high", "interval_of", "unit", "result", "protocol", "departures",
    "our_encoder", "our_task", "is_tentative",
)  # fmt: skip


@dataclass
class Comparison:
    """``cells``: a row for each published cell whose encoder can be ours, and each setting of ours beside it."""

    paper: Paper
    scale: str
    cells: pd.DataFrame
    agreement: pd.DataFrame
    theirs: list[Answered]
    ours: list[Answered]
    found: Identified
    notes: list[str] = field(default_factory=list)

    @property
    def same(self) -> pd.DataFrame:
        """Cells that may stand side by side."""
        return self.cells[self.cells["protocol"].eq(SAME)]

    @property
    def differing(self) -> pd.DataFrame:
        """Of those, the ones whose difference our interval and the last printed digit do not explain."""
        return self.same[self.same["result"].eq("differs")]


def compare(paper: Paper, scale: str, frame: pd.DataFrame, found: Identified, parts: Sequence[str] = ()) -> Comparison:
    """Set what ``frame`` has of a paper beside what the paper printed."""
    chosen = [paper.part(name) for name in parts] if parts else list(paper.parts)
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    is_stand_in = bool(paper.scale(scale).label)
    if is_stand_in:
        notes.append(
            f"Scores {paper.scale(scale).label} stand beside none of the paper's: other images, networks and tasks. Only the claims are compared."
        )
    seen: set[str] = set()
    for part in chosen:
        if is_stand_in or not part.table or part.why_not or scale not in part.scales or part.table in seen:
            continue
        seen.add(part.table)
        found_rows, note = _part(paper, part, scale, frame, found)
        rows += found_rows
        notes += note
    cells = pd.DataFrame(rows, columns=list(COLUMNS))
    notes += _silent(paper, chosen, scale)
    return Comparison(
        paper,
        scale,
        cells,
        _agreement(cells),
        ask(paper, paper.published()),
        ask(paper, evidence(paper, scale, frame, found)),
        found,
        notes,
    )


def _part(
    paper: Paper, part: Part, scale_name: str, frame: pd.DataFrame, found: Identified
) -> tuple[list[dict[str, Any]], list[str]]:
    scale = paper.scale(scale_name)
    published = paper.table(part.table).read(paper.folder)
    published = published[published["score"].notna()]
    mine = rows_of(part, scale, frame, found)
    by_name = {
        name: member for member in scale.members(part.encoders) for name in (member.name, member.published_as) if name
    }
    rows: list[dict[str, Any]] = []
    anonymous = 0
    for cell in ({str(key): value for key, value in row.items()} for row in published.to_dict("records")):
        member = by_name.get(str(cell["encoder"]))
        if member is None:
            anonymous += 1
            continue
        base = {
            "part": part.name, "encoder": member.name, "task": cell["task"], "published": float(cell["score"]), "unit": cell["unit"],
            "is_tentative": member.is_tentative and str(cell["encoder"]) == member.published_as,
        }  # fmt: skip
        own = mine[mine["encoder"].eq(member.name) & mine["task"].eq(cell["task"])]
        groups = [group for group in _settings(own) if probe_fits(_first(group), cell, paper.probes)]
        exact = [group for group in groups if math.isclose(label_share(_first(group)), label_share(cell), rel_tol=1e-6)]
        for group in exact or groups:
            rows.append({**base, **_beside(group, cell, part, scale, paper.probes)})
        if not groups:
            rows.append({**base, "result": NOWHERE, "protocol": NOWHERE})
    note = []
    if anonymous:
        note.append(
            f"{part.where}: {anonymous} of {len(published)} published cells are of encoders that are none of this scale's (anonymous, of other "
            "methods, or not to be had)."
        )
    return rows, note


def _first(group: pd.DataFrame) -> dict[str, Any]:
    return {str(key): value for key, value in group.iloc[0].to_dict().items()}


def _settings(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of one encoder and task, one frame for each probe with its overrides and labels."""
    keys = [
        key
        for key in ("ours", "probe", "overrides", "label_fraction", "labels_per_class", "input_size", "n_test")
        if key in rows
    ]
    return [group for _, group in rows.groupby(keys, dropna=False, sort=False)]


def _beside(group: pd.DataFrame, cell: Mapping[str, Any], part: Part, scale: Any, probes: Probes) -> dict[str, Any]:
    row = _first(group)
    differ = departures(row, cell, part, scale, probes)
    factor = _factor(str(row.get("unit") or ""), str(cell["unit"]))
    if factor is None:
        differ.append(f"ours is in {row.get('unit') or 'an unknown unit'} (published: {cell['unit']})")
    scores = group["score"].to_numpy(float) * (factor or 1.0)
    mean, half, of = _interval(scores, row, factor or 1.0)
    gap = mean - float(cell["score"])
    protocol = OTHER if differ else SAME
    if protocol == OTHER or math.isnan(half):
        result = "" if protocol == OTHER else "no interval"
    else:
        result = "differs" if abs(gap) > half + float(cell["error"]) else "agrees"
    return {
        "ours": mean, "difference": gap if factor is not None else math.nan, "low": mean - half, "high": mean + half, "interval_of": of,
        "result": result, "protocol": protocol, "departures": "; ".join(differ), "our_encoder": row["ours"], "our_task": row["our_task"],
    }  # fmt: skip


def _factor(ours: str, published: str) -> float | None:
    if ours == published:
        return 1.0
    return {("fraction", "percent"): 100.0, ("percent", "fraction"): 0.01}.get((ours, published))


def _interval(scores: np.ndarray, row: Mapping[str, Any], factor: float) -> tuple[float, float, str]:
    """Mean, half of the 95 % interval (NaN where nothing says it), and what the interval is of."""
    mean = float(scores.mean())
    if len(scores) > 1:
        half = float(scipy_stats.t.ppf(0.975, len(scores) - 1) * scores.std(ddof=1) / math.sqrt(len(scores)))
        return mean, half, f"{len(scores)} seeds"
    n = row.get("n_test")
    share = mean / factor
    if _is_share(row.get("metric")) and n and not math.isnan(float(n)) and 0 <= share <= 1:
        return (
            mean,
            factor * 1.96 * math.sqrt(max(share * (1 - share), 0.25 / float(n)) / float(n)),
            f"{int(n):,} test images",
        )
    return mean, math.nan, ""


def _is_share(metric: object) -> bool:
    """Whether a metric's score is a share of test examples, so that a binomial interval is one."""
    try:
        found = registry.load("metrics", str(metric))
    except RegistryError:
        return False
    return bool(found.unit == "fraction" and "class" in found.takes)


def _agreement(cells: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rho between published and ours over encoders, for each part and task with three encoders of one protocol."""
    rows = []
    same = cells[cells["protocol"].eq(SAME)]
    for (part, task), group in same.groupby(["part", "task"], sort=False):
        pairs = group.groupby("encoder")[["published", "ours"]].mean()
        if len(pairs) < 3 or pairs.nunique().min() < 2:
            continue
        ranks = pairs.rank()
        rho = float(np.corrcoef(ranks.to_numpy().T)[0, 1])
        p = float(correlation_p(ranks.to_numpy())[0, 1])  # exact up to nine encoders
        rows.append(
            {
                "part": part,
                "task": task,
                "n": len(pairs),
                "rho": rho,
                "p": p,
                "mean_difference": float((pairs["ours"] - pairs["published"]).mean()),
            }
        )
    return pd.DataFrame(rows, columns=["part", "task", "n", "rho", "p", "mean_difference"])


def _silent(paper: Paper, parts: Sequence[Part], scale: str) -> list[str]:
    """What is not compared, and why."""
    said = [f"{part.where} ({part.title}): {part.why_not}." for part in parts if part.why_not]
    unprinted = [part.where for part in parts if not part.why_not and not part.table and scale in part.scales]
    if unprinted:
        said.append(f"No numbers are printed for {', '.join(unprinted)}.")
    return said

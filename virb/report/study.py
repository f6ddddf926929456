"""What a report knows: the scores laid out, their spread over seeds, chance, intervals, and the records behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from virb.errors import ScoresError, VirbError
from virb.records.predictions import read_predictions, sampling_sd
from virb.scores.layout import matrix, task_categories
from virb.stats.comparisons import above_chance
from virb.stats.ranking import task_ranks

Cell = tuple[str, str]  # encoder, task
TOP1 = ("top1", "top-1", "top-1 accuracy")
EXACT, JACKKNIFE = "exact binomial (Clopper-Pearson)", "± 1.96 jackknife standard errors"


@dataclass(frozen=True)
class Interval:
    """95% interval of a score over draws of the test examples; ``how`` it was had."""

    low: float
    high: float
    how: str


@dataclass(frozen=True)
class Study:
    """A checked set of scores of one probe.

    ``means``, ``sds`` (over seeds, NaN for one) and ``ranks`` (1 is best) are encoders x tasks, tasks in the order of
    their categories. ``rows`` holds the rows of ``frame`` of each cell, ``records`` the records of each cell, in the order of their seeds; none for a CSV.
    ``no_interval`` says of a task why its scores have no interval. ``chosen`` are the encoders whose predictions are shown.
    """

    frame: pd.DataFrame
    means: pd.DataFrame
    sds: pd.DataFrame
    ranks: pd.DataFrame
    categories: pd.Series
    rows: Mapping[Cell, list[dict[str, Any]]]
    records: Mapping[Cell, list[dict[str, Any]]]
    chance: Mapping[str, float]
    intervals: Mapping[Cell, Interval]
    no_interval: Mapping[str, str]
    chosen: tuple[str, ...] = ()

    def best_first(self, task: str) -> list[str]:
        """The encoders that were chosen to be looked at, in their order; else those with a score on the task, best first."""
        if self.chosen:
            return [name for name in self.chosen if (name, task) in self.rows]
        return [str(name) for name in self.ranks[task].dropna().sort_values(kind="stable").index]

    @property
    def encoders(self) -> list[str]:
        return [str(name) for name in self.means.index]

    @property
    def tasks(self) -> list[str]:
        return [str(name) for name in self.means.columns]

    def said(self, column: str, *, encoder: str | None = None, task: str | None = None) -> list[str]:
        """The different values of a column, as text, of an encoder, of a task, of one cell, or of all."""
        texts = [as_text(row.get(column)) for row in _chosen(self.rows, encoder, task)]
        return [text for text in dict.fromkeys(texts) if text]

    def n_seeds(self, encoder: str, task: str) -> int:
        return len(self.rows.get((encoder, task), []))

    def spread_text(self, encoder: str, task: str) -> str:
        """The standard deviation over seeds as it stands behind a mean; "" of one seed."""
        sd: Any = self.sds.loc[encoder, task]
        return "" if np.isnan(sd) else f"± {score_text(float(sd))}"

    def score(self, encoder: str, task: str) -> float:
        value: Any = self.means.loc[encoder, task]
        return float(value)

    def scores(self, encoder: str) -> dict[str, float]:
        """The scores an encoder has, by task."""
        return {task: score for task in self.tasks if not np.isnan(score := self.score(encoder, task))}

    def best_on(self, encoder: str) -> list[str]:
        """Tasks on which no encoder scores higher."""
        best = self.means.max()
        return [task for task, score in self.scores(encoder).items() if score >= best[task]]

    def records_of(self, *, encoder: str | None = None, task: str | None = None) -> list[dict[str, Any]]:
        """The records of an encoder, of a task, of one cell, or all."""
        return _chosen(self.records, encoder, task)


def _chosen(table: Mapping[Cell, list[dict[str, Any]]], encoder: str | None, task: str | None) -> list[dict[str, Any]]:
    if encoder is not None and task is not None:
        return table.get((encoder, task), [])
    return [item for (e, t), items in table.items() if encoder in (None, e) and task in (None, t) for item in items]


def study_of(scores: pd.DataFrame, *, chosen: Sequence[str] = ()) -> Study:
    """Lay out tidy scores as :func:`virb.scores.read.read_scores` gives them, with the records if they lie in a folder.

    Raises:
        ScoresError: the scores mix several probes or numbers of labels, which no one table can hold.
    """
    means = matrix(scores)
    means.attrs = {}
    cells = scores.groupby(["encoder", "task"], sort=False)["score"]
    sds = cells.std(ddof=1).unstack("task").reindex(index=means.index, columns=means.columns)
    results = scores.attrs.get("results")
    found, why_not = _intervals(scores, means, results)
    rows: dict[Cell, list[dict[str, Any]]] = {}
    for row in scores.to_dict("records"):
        rows.setdefault((row["encoder"], row["task"]), []).append({str(name): value for name, value in row.items()})
    return Study(
        frame=scores,
        means=means,
        sds=sds,
        ranks=task_ranks(means),
        categories=task_categories(scores),
        rows=rows,
        records=_records(scores, results) if results else {},
        chance=_chance(scores),
        intervals=found,
        no_interval=why_not,
        chosen=tuple(chosen),
    )


def as_text(value: object) -> str:
    """A value of a table as a reader expects it: whole numbers without a point, nothing for a missing one."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, (float, np.floating)):
        return f"{value:,.0f}" if float(value).is_integer() and abs(float(value)) < 1e15 else f"{value:g}"
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def score_text(value: float) -> str:
    """A score with the digits of `virb results show`."""
    return f"{value:.3f}"


def _records(scores: pd.DataFrame, results: str) -> dict[Cell, list[dict[str, Any]]]:
    from virb.records.store import ResultStore

    wanted = set(zip(scores["encoder"], scores["task"], scores["probe"], scores["seed"], strict=True))
    out: dict[Cell, list[dict[str, Any]]] = {}
    for record in ResultStore(results).records():
        encoder, task = str(record["encoder"]["name"]).strip(), str(record["task"]["name"]).strip()
        if (encoder, task, record["probe"], record["seed"]) in wanted:
            out.setdefault((encoder, task), []).append(record)
    for records in out.values():
        records.sort(key=lambda record: record["seed"])
    return out


def _chance(scores: pd.DataFrame) -> dict[str, float]:
    """What guessing scores on each task: from the column chance, else one over the classes that the task declares."""
    from virb import registry

    out: dict[str, float] = {}
    for task, part in scores.groupby("task", sort=False):
        if "chance" in part:
            known = pd.to_numeric(part["chance"], errors="coerce").dropna()
            if len(known):
                out[str(task)] = float(known.iloc[0])
                continue
        # A table from elsewhere may call its task like one of ours and score it in percent, or by another metric.
        if "metric" not in part or set(part["metric"]) != {"top1"} or not part["score"].between(0, 1).all():
            continue
        try:
            declared = registry.load("tasks", str(task))
        except VirbError:
            continue
        if declared.metric == "top1" and declared.n_classes:
            out[str(task)] = 1 / declared.n_classes
    return out


def _intervals(
    scores: pd.DataFrame, means: pd.DataFrame, results: str | None
) -> tuple[dict[Cell, Interval], dict[str, str]]:
    """Noise of the test sample only: another head or another pretraining moves a score further."""
    found: dict[Cell, Interval] = {}
    why_not: dict[str, str] = {}
    for task, part in scores.groupby("task", sort=False):
        metrics = set(part["metric"].dropna().astype(str)) if "metric" in part else set()
        if len(metrics) != 1:
            why_not[str(task)] = "the scores do not say by which metric."
            continue
        metric = metrics.pop()
        for encoder, rows in part.groupby("encoder", sort=False):
            try:
                score: Any = means.loc[str(encoder), str(task)]
                interval = _interval(float(score), rows, str(task), metric, results)
                found[str(encoder), str(task)] = interval
            except ScoresError as error:
                why_not.setdefault(str(task), str(error))
    return found, why_not


def _interval(score: float, rows: pd.DataFrame, task: str, metric: str, results: str | None) -> Interval:
    if metric.lower() in TOP1:
        n = set(pd.to_numeric(rows["n_test"], errors="coerce").dropna()) if "n_test" in rows else set()
        if len(n) != 1 or not min(n) >= 1:
            raise ScoresError("the number of test examples (n_test) is not known.")
        if not 0 <= score <= 1:
            raise ScoresError("the scores are no fractions, as an accuracy's interval needs.")
        exact = above_chance([score], [0.0], [float(n.pop())]).iloc[0]
        return Interval(float(exact["low"]), float(exact["high"]), EXACT)
    if results is None:
        raise ScoresError(f"{metric} needs the predictions of a results folder, and this is a table of scores.")
    # The spread between test samples is that of one head; heads of other seeds see the same examples.
    (arrays,) = read_predictions(results, rows, task).values()
    half = 1.96 * sampling_sd(arrays, metric)
    return Interval(score - half, score + half, JACKKNIFE)

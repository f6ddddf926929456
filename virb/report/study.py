"""What a report knows: the scores laid out, their spread over seeds, chance, intervals, and the records behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from virb.errors import ScoresError, VirbError
from virb.records.predictions import predictions_of, sampling_sd
from virb.scores.layout import matrix, task_categories
from virb.scores.roles import families, roles
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

    @cached_property
    def encoders(self) -> list[str]:
        return [str(name) for name in self.means.index]

    @cached_property
    def tasks(self) -> list[str]:
        return [str(name) for name in self.means.columns]

    def said(self, column: str, *, encoder: str | None = None, task: str | None = None) -> list[str]:
        """The different values of a column, as text, of an encoder, of a task, of one cell, or of all."""
        key = (column, encoder, task)
        if key not in self._said:
            texts = dict.fromkeys(as_text(row.get(column)) for row in self._rows_of.get((encoder, task), ()))
            self._said[key] = [text for text in texts if text]
        return self._said[key]

    def n_seeds(self, encoder: str, task: str) -> int:
        return len(self.rows.get((encoder, task), []))

    def spread_text(self, encoder: str, task: str) -> str:
        """The standard deviation over seeds as it stands behind a mean; "" of one seed."""
        sd = self.sd(encoder, task)
        return "" if np.isnan(sd) else f"± {score_text(sd)}"

    def score(self, encoder: str, task: str) -> float:
        return self._means[encoder, task]

    def sd(self, encoder: str, task: str) -> float:
        """The standard deviation of a score over seeds; NaN for one."""
        return self._sds[encoder, task]

    def rank(self, encoder: str, task: str) -> float:
        return self._ranks[encoder, task]

    def values(self, task: str) -> np.ndarray:
        """The scores (N,) of the encoders that have one on the task, in their order."""
        return self._values[task]

    def scale(self, task: str) -> tuple[float, float]:
        """The ends of a task's scale: its lowest and highest score, but for scores far below the others (Tukey's fence)."""
        return self._scales[task]

    def others(self, encoder: str, task: str) -> tuple[float, float]:
        """Median and quartile spread of the scores that the other encoders have on the task; NaN where there is none."""
        return self._others[encoder, task]

    def scores(self, encoder: str) -> dict[str, float]:
        """The scores an encoder has, by task."""
        return {task: score for task in self.tasks if not np.isnan(score := self.score(encoder, task))}

    def best_on(self, encoder: str) -> list[str]:
        """Tasks on which no encoder scores higher."""
        return [task for task, score in self.scores(encoder).items() if score >= self._values[task].max()]

    def records_of(self, *, encoder: str | None = None, task: str | None = None) -> list[dict[str, Any]]:
        """The records of an encoder, of a task, of one cell, or all."""
        return self._records_of.get((encoder, task), [])

    @cached_property
    def roles(self) -> dict[str, str]:
        return {str(name): str(role) for name, role in roles(self.frame).items()}

    @cached_property
    def families(self) -> dict[str, str]:
        return {str(name): str(family) for name, family in families(self.frame).items()}

    @cached_property
    def seeds(self) -> tuple[int, int]:
        """The fewest and the most seeds of a score."""
        counts = self.frame.groupby(["encoder", "task"]).size()
        return int(counts.min()), int(counts.max())

    @cached_property
    def p_above_chance(self) -> dict[Cell, float]:
        """The exact binomial p of each accuracy of independent examples against chance, where it can be had."""
        cells: dict[Cell, tuple[float, float, float]] = {}
        for task, chance in self.chance.items():
            n_test = [text.replace(",", "") for text in self.said("n_test", task=task)]
            is_pixelwise = any("pixelwise" in category for category in self.said("category", task=task))
            if len(n_test) != 1 or not n_test[0].isdigit() or is_pixelwise or not 0 <= chance < 1:
                continue
            for encoder in self.encoders:
                if 0 <= (score := self.score(encoder, task)) <= 1:
                    cells[encoder, task] = (score, chance, float(n_test[0]))
        if not cells:
            return {}
        found = above_chance(*map(list, zip(*cells.values(), strict=True)))
        return dict(zip(cells, found["p"].tolist(), strict=True))

    # A page asks these of every cell, and there are thousands of cells: each is looked up, not searched for.

    @cached_property
    def _rows_of(self) -> dict[tuple[str | None, str | None], list[dict[str, Any]]]:
        return _grouped(self.rows)

    @cached_property
    def _records_of(self) -> dict[tuple[str | None, str | None], list[dict[str, Any]]]:
        return _grouped(self.records)

    @cached_property
    def _said(self) -> dict[tuple[str, str | None, str | None], list[str]]:
        return {}

    @cached_property
    def _means(self) -> dict[Cell, float]:
        return _by_cell(self.means)

    @cached_property
    def _sds(self) -> dict[Cell, float]:
        return _by_cell(self.sds)

    @cached_property
    def _ranks(self) -> dict[Cell, float]:
        return _by_cell(self.ranks)

    @cached_property
    def _values(self) -> dict[str, np.ndarray]:
        return {str(task): column.dropna().to_numpy(float) for task, column in self.means.items()}

    @cached_property
    def _scales(self) -> dict[str, tuple[float, float]]:
        out = {}
        for task, values in self._values.items():
            low, high = np.quantile(values, [0.25, 0.75])
            out[task] = (float(max(values.min(), low - 1.5 * (high - low))), float(values.max()))
        return out

    @cached_property
    def _others(self) -> dict[Cell, tuple[float, float]]:
        out: dict[Cell, tuple[float, float]] = {}
        for task, column in self.means.items():
            known = column.dropna()
            n = len(known)
            if n < 2:
                continue
            others = np.broadcast_to(known.to_numpy(float), (n, n))[~np.eye(n, dtype=bool)].reshape(n, n - 1)
            upper, lower = np.quantile(others, [0.75, 0.25], axis=1)
            found = zip(known.index, np.median(others, axis=1), upper - lower, strict=True)
            out |= {(str(name), str(task)): (float(median), float(spread)) for name, median, spread in found}
        return out


def _grouped(table: Mapping[Cell, list[dict[str, Any]]]) -> dict[tuple[str | None, str | None], list[dict[str, Any]]]:
    """What ``table`` has of each cell, of each encoder, of each task, and in all (None: of every one)."""
    out: dict[tuple[str | None, str | None], list[dict[str, Any]]] = {}
    for (encoder, task), items in table.items():
        for key in ((encoder, task), (encoder, None), (None, task), (None, None)):
            out.setdefault(key, []).extend(items)
    return out


def _by_cell(table: pd.DataFrame) -> dict[Cell, float]:
    values = table.to_numpy(float)
    return {
        (str(encoder), str(task)): float(values[i, j])
        for i, encoder in enumerate(table.index)
        for j, task in enumerate(table.columns)
    }


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
    rows: dict[Cell, list[dict[str, Any]]] = {}
    for row in scores.to_dict("records"):
        rows.setdefault((row["encoder"], row["task"]), []).append({str(name): value for name, value in row.items()})
    found, why_not = _intervals(rows, means, results)
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
    from virb.records.store import opened

    wanted = set(zip(scores["encoder"], scores["task"], scores["probe"], scores["seed"], strict=True))
    out: dict[Cell, list[dict[str, Any]]] = {}
    for record in opened(results).records():
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
    rows: Mapping[Cell, list[dict[str, Any]]], means: pd.DataFrame, results: str | None
) -> tuple[dict[Cell, Interval], dict[str, str]]:
    """Noise of the test sample only: another head or another pretraining moves a score further."""
    found: dict[Cell, Interval] = {}
    why_not: dict[str, str] = {}
    known = _by_cell(means)
    by_task: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for (encoder, task), cell in rows.items():
        by_task.setdefault(task, {})[encoder] = cell
    for task, cells in by_task.items():
        metrics = {text for cell in cells.values() for row in cell if (text := as_text(row.get("metric")))}
        if len(metrics) != 1:
            why_not[task] = "the scores do not say by which metric."
            continue
        metric = metrics.pop()
        scores = {encoder: known[encoder, task] for encoder in cells}
        if metric.lower() in TOP1:
            exact, reason = _exact(scores, cells)
            found |= {(encoder, task): interval for encoder, interval in exact.items()}
            if reason:
                why_not[task] = reason
            continue
        for encoder, cell in cells.items():
            try:
                found[encoder, task] = _jackknife(scores[encoder], cell, task, metric, results)
            except ScoresError as error:
                why_not.setdefault(task, str(error))
    return found, why_not


def _exact(scores: Mapping[str, float], cells: Mapping[str, list[dict[str, Any]]]) -> tuple[dict[str, Interval], str]:
    """The exact intervals of accuracies, and why one of them has none."""
    said = pd.to_numeric(pd.Series([row.get("n_test") for cell in cells.values() for row in cell]), errors="coerce")
    numbers = iter(said.tolist())
    n_test: dict[str, float] = {}
    reason = ""
    for encoder, cell in cells.items():
        n = {number for number in islice(numbers, len(cell)) if not np.isnan(number)}
        if len(n) != 1 or not min(n) >= 1:
            reason = reason or "the number of test examples (n_test) is not known."
        elif not 0 <= scores[encoder] <= 1:
            reason = reason or "the scores are no fractions, as an accuracy's interval needs."
        else:
            n_test[encoder] = float(n.pop())
    if not n_test:
        return {}, reason
    found = above_chance([scores[e] for e in n_test], [0.0] * len(n_test), list(n_test.values()))
    ends = zip(n_test, found["low"].to_numpy(float), found["high"].to_numpy(float), strict=True)
    return {encoder: Interval(float(low), float(high), EXACT) for encoder, low, high in ends}, reason


def _jackknife(score: float, cell: list[dict[str, Any]], task: str, metric: str, results: str | None) -> Interval:
    if results is None:
        raise ScoresError(f"{metric} needs the predictions of a results folder, and this is a table of scores.")
    # The spread between test samples is that of one head; heads of other seeds see the same examples.
    (arrays,) = predictions_of(results, cell, task).values()
    half = 1.96 * sampling_sd(arrays, metric)
    return Interval(score - half, score + half, JACKKNIFE)

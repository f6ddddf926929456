"""The table of scores that ``virb evaluate`` and ``virb results show`` print: one row an encoder, or one a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from virb import registry
from virb.errors import UsageError
from virb.figures.tables import Table, records, render, shown
from virb.records.columns import natural_key
from virb.records.names import base_probe
from virb.scores.layout import ranked_part, seeds_in_words
from virb.scores.schema import encoder_table

MANY = 4  # encoders, beyond which they stand in rows
MEAN_RANK = "mean rank"
ORDERS = ("given", "name", "rank")


def scores_text(
    frame: pd.DataFrame, form: str = "table", *, sort: str = "", columns: Sequence[str] = (), width: int | None = None
) -> str:
    """Return tidy scores in one of :data:`virb.figures.tables.FORMATS`.

    ``table``, ``md`` and ``tex`` show means over seeds with their standard deviation, the best of each task in bold; ``csv``
    and ``json`` hold every row at full precision.

    Raises:
        UsageError: ``sort`` or ``columns`` name nothing of the scores.
    """
    if form in ("csv", "json"):
        return _tidy(frame, form, sort, columns)
    return render(scores_table(frame, sort=sort, columns=columns), form, width=width)


def scores_table(frame: pd.DataFrame, *, sort: str = "", columns: Sequence[str] = ()) -> Table:
    """Lay scores of one probe out: encoders in rows where they are more than four, or ``columns`` are asked for.

    ``sort`` is given, name, rank (by the mean rank; what more than four encoders are sorted by), an end task, or a column
    about encoders.
    """
    encoders = [str(name) for name in frame["encoder"].unique()]
    wide = _signed(frame)
    mean_rank = _mean_rank(wide)
    about = encoder_table(frame)
    order = _ordered(
        about, wide, mean_rank, sort or ("rank" if len(encoders) > MANY and mean_rank is not None else "given")
    )
    if len(encoders) > MANY or columns:
        return _by_encoder(frame, about, wide, mean_rank, order, columns)
    return _by_task(frame, wide, order)


def _signed(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean scores, encoders x tasks, higher better in all."""
    sign = np.where(frame["better"] == "lower", -1.0, 1.0) if "better" in frame else 1.0
    signed = frame.assign(score=frame["score"] * sign)
    wide = signed.pivot_table(index="encoder", columns="task", values="score", aggfunc="mean", sort=False)
    return wide.loc[frame["encoder"].unique(), frame["task"].unique()]


def _mean_rank(wide: pd.DataFrame) -> pd.Series | None:
    """Mean rank over the part that encoders are ranked over, NaN for those outside it; None where it is of fewer than two tasks."""
    part = ranked_part(wide)
    if part.shape[1] < 2 or len(part) < 2:
        return None
    return part.rank(ascending=False).mean(axis=1).reindex(wide.index)


def _ordered(about: pd.DataFrame, wide: pd.DataFrame, mean_rank: pd.Series | None, sort: str) -> list[str]:
    names = [str(name) for name in wide.index]
    if sort == "given":
        return names
    if sort == "name":
        return [str(name) for name in pd.Series(names).sort_values(key=natural_key, kind="stable")]
    if sort == "rank":
        if mean_rank is None:
            return names
        return [str(name) for name in mean_rank.sort_values(kind="stable").index]
    if sort in wide:
        return [str(name) for name in wide[sort].sort_values(ascending=False, kind="stable").index]
    if sort in about:
        values = about[sort] if pd.api.types.is_numeric_dtype(about[sort]) else about[sort].astype(str)
        key = None if pd.api.types.is_numeric_dtype(values) else natural_key
        return [str(name) for name in values.sort_values(kind="stable", key=key).index]
    raise _unknown("--sort", sort, [*ORDERS, *wide.columns, *about.columns])


def _unknown(flag: str, name: str, known: Sequence[str]) -> UsageError:
    return UsageError(f"{flag} {name!r} is no end task and no column of the scores. {registry.suggest(name, known)}")


def _by_task(frame: pd.DataFrame, wide: pd.DataFrame, order: list[str]) -> Table:
    by_cell = _cells(frame)
    rows, sections, best = [], [], set()
    for r, ((category, task, metric), group) in enumerate(frame.groupby(["category", "task", "metric"], sort=False)):
        rows.append([str(task), str(metric), shown(int(group["n_test"].iloc[0]))])
        rows[-1] += [by_cell.get((str(task), encoder), "–") for encoder in order]
        sections.append(str(category))
        if len(order) > 1:
            best |= {(r, 3 + k) for k, is_best in enumerate(_are_best(wide, order, str(task))) if is_best}
    heads = ["end task", "metric", "n test", *order]
    numbers = frozenset(range(2, len(heads)))
    return Table(heads, rows, numbers, sections=sections, best=frozenset(best), caption=_caption(frame, "row"))


def _by_encoder(
    frame: pd.DataFrame,
    about: pd.DataFrame,
    wide: pd.DataFrame,
    mean_rank: pd.Series | None,
    order: list[str],
    columns: Sequence[str],
) -> Table:
    by_cell = _cells(frame)
    first = frame.drop_duplicates("task").set_index("task")
    wanted = list(columns) or [*([MEAN_RANK] if mean_rank is not None else []), *wide.columns]
    heads, groups, numbers, best = ["encoder"], [""], set(), set()
    cells: list[list[str]] = [[encoder] for encoder in order]
    lowest = mean_rank.min() if mean_rank is not None else None
    for k, name in enumerate(wanted, 1):
        if name in wide:
            heads.append(f"{name} {first['metric'][name]}")
            groups.append(str(first["category"][name]))
            numbers.add(k)
            column = [by_cell.get((name, encoder), "–") for encoder in order]
            if len(order) > 1:
                best |= {(r, k) for r, is_best in enumerate(_are_best(wide, order, name)) if is_best}
        elif name.replace("-", " ").replace("_", " ") == MEAN_RANK and mean_rank is not None:
            heads.append(MEAN_RANK)
            groups.append("")
            numbers.add(k)
            column = ["–" if np.isnan(mean_rank[encoder]) else f"{mean_rank[encoder]:.2f}" for encoder in order]
            best |= {(r, k) for r, encoder in enumerate(order) if mean_rank[encoder] == lowest}
        elif name in about:
            heads.append(name.replace("_", " "))
            groups.append("")
            column = [_about(about.loc[encoder, name]) for encoder in order]
            if all(text[:1].isdigit() for text in column if text):
                numbers.add(k)
        else:
            raise _unknown("--columns", name, [MEAN_RANK, *wide.columns, *about.columns])
        for row, text in zip(cells, column, strict=True):
            row.append(text)
    caption = _caption(frame, "column")
    part = ranked_part(wide)
    if MEAN_RANK in heads and part.shape != wide.shape:
        caption = (
            f"mean rank over the {part.shape[1]} of {wide.shape[1]} end tasks that all ranked encoders have; {caption}"
        )
    return Table(heads, cells, frozenset(numbers), groups, best=frozenset(best), caption=caption)


def _about(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return f"{value:g}" if isinstance(value, float) and value == value else shown(value)


def _are_best(wide: pd.DataFrame, order: list[str], task: str) -> list[bool]:
    """Of each encoder of ``order``, whether none scores higher on the task."""
    found: list[bool] = (wide[task].reindex(order) >= wide[task].max()).tolist()
    return found


def _cells(frame: pd.DataFrame) -> dict[tuple[str, str], str]:
    """What stands in the cell of a task and an encoder: the mean over seeds, with its standard deviation."""
    of = frame.groupby(["task", "encoder"], sort=False)["score"].agg(["mean", "std", "size"])
    return {
        (str(task), str(encoder)): f"{mean:.3f}" + (f" ± {std:.3f}" if size > 1 else "")
        for (task, encoder), mean, std, size in zip(of.index, of["mean"], of["std"], of["size"], strict=True)
    }


def _caption(frame: pd.DataFrame, line: str) -> str:
    """What the numbers are: seeds, which way is better, and what departs from the protocol."""
    overrides = sorted(text for text in frame["overrides"].unique() if text)
    names = {base_probe(name) for name in frame["probe"].unique()}
    sizes = frame.groupby(["task", "encoder"]).size()
    if sizes.max() > 1:
        notes = [f"mean ± standard deviation over {seeds_in_words(sizes.min(), sizes.max())}"]
    else:
        is_fixed = {probe.name for probe in registry.load_all(registry.entries("probes"))[0] if not probe.is_random}
        # Else a seed draws which examples have labels.
        has_all = "label_fraction" not in frame or bool((frame["label_fraction"] == 1).all())
        notes = ["nothing is random" if names <= is_fixed and has_all else "one seed"]
    lower = sorted(frame.loc[frame["better"] == "lower", "metric"].unique())
    notes.append(f"lower is better for {', '.join(lower)}" if lower else f"higher is better in every {line}")
    if overrides:
        notes.append(f"departs from the protocol: {', '.join(overrides)}: not comparable with full runs")
    return "; ".join(notes) + "."


def _tidy(frame: pd.DataFrame, form: str, sort: str, columns: Sequence[str]) -> str:
    for name in columns:
        if name not in frame:
            raise _unknown("--columns", name, list(map(str, frame.columns)))
    if sort and sort != "given":
        wide = _signed(frame)
        place = {name: k for k, name in enumerate(_ordered(encoder_table(frame), wide, _mean_rank(wide), sort))}
        frame = frame.sort_values("encoder", key=lambda names: names.map(place), kind="stable")
    kept = frame[list(columns)] if columns else frame
    rows = [{str(key): value for key, value in row.items()} for row in kept.astype(object).to_dict("records")]
    return records(rows, form)

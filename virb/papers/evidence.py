"""Our results in the form that a paper's claims and comparisons read: its names, its columns, part by part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from virb import registry
from virb.contracts.paper import Evidence, Paper, Part, Scale
from virb.papers.identity import Identified

if TYPE_CHECKING:
    import pandas as pd


def tasks_of(part: Part, scale: Scale) -> dict[str, str]:
    """The tasks of a part, ours -> the paper's; suites are spelled out, without their optional tasks."""
    found: dict[str, str] = {}
    for group in part.tasks:
        for ours, theirs in scale.tasks.get(group, {}).items():
            if ours.startswith("suite:"):
                found |= dict.fromkeys(_suite(ours.removeprefix("suite:")), "")
            else:
                found[ours] = theirs
    return {ours: theirs or ours for ours, theirs in found.items()}


def _suite(name: str) -> Iterable[str]:
    entries = [entry for entry in registry.entries("tasks") if entry.group == name]
    return [task.name for task in registry.load_all(entries)[0] if not task.is_optional]


def rows_of(part: Part, scale: Scale, frame: pd.DataFrame, found: Identified) -> pd.DataFrame:
    """The rows of a part's encoders and tasks, a copy for each member, under the paper's names and with what it says of them."""
    import pandas as pd

    tasks = tasks_of(part, scale)
    pieces = []
    for member in scale.members(part.encoders):
        if member.name not in found.names:
            continue
        rows = frame[frame["encoder"].eq(found.names[member.name]) & frame["task"].isin(list(tasks))]
        rows = rows.assign(
            ours=rows["encoder"], our_task=rows["task"], encoder=member.name, task=rows["task"].map(tasks)
        )
        pieces.append(rows.assign(**_columns(member.about)))
    if not pieces:
        return frame.iloc[:0].assign(ours="", our_task="")
    return pd.concat(pieces, ignore_index=True)


def _columns(about: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in about.items() if value is not None}


def evidence(paper: Paper, scale_name: str, frame: pd.DataFrame, found: Identified) -> Evidence:
    """Tables of ours for the claims: one for each part, called like the published table that it stands beside, or like itself."""
    scale = paper.scale(scale_name)
    frames: dict[str, pd.DataFrame] = {}
    missing: dict[str, str] = {}
    for part in paper.parts:
        if part.why_not:
            continue
        names = [name for name in (part.table, part.name) if name]
        if scale_name not in part.scales:
            missing |= dict.fromkeys(names, f"{part.where} is no part of the scale {scale_name}.")
            continue
        rows = rows_of(part, scale, frame, found)
        if rows.empty:
            missing |= dict.fromkeys(names, f"The results have no encoder and task of {part.where}.")
            continue
        for name in names:
            # The part with the most of a table stands for it.
            if name not in frames or len(rows) > len(frames[name]):
                frames[name] = rows
    missing = {name: why for name, why in missing.items() if name not in frames}
    return Evidence(frames, scale.facts, missing)

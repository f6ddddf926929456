"""A comparison as a page of its own (HTML), as Markdown, and as CSV."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from virb.papers.claims import counted, interval
from virb.papers.compare import NOWHERE, OTHER, Comparison
from virb.report.pages import ASSETS, asset, render
from virb.system.files import atomic_write


def summary(found: Comparison) -> str:
    """What came out, in a sentence or three."""
    n_members = len(found.paper.scale(found.scale).members())
    said = [f"{len(found.found.names)} of {n_members} encoders of {found.paper.name} are in the results."]
    if len(found.cells):
        same, other = found.same, found.cells["protocol"].eq(OTHER)
        absent = found.cells["protocol"].eq(NOWHERE)
        said.append(
            f"Of {len(found.cells)} cells {len(same)} were computed by the published protocol: {int(same['result'].eq('agrees').sum())} agree, "
            f"{len(found.differing)} differ, {int(same['result'].eq('no interval').sum())} have no interval; {int(other.sum())} by another protocol, "
            f"{int(absent.sum())} not at all."
        )
    said.append(f"Claims of the printed numbers: {counted(found.theirs)}; of ours: {counted(found.ours)}.")
    return " ".join(said)


def tables(found: Comparison) -> list[dict[str, Any]]:
    """The page's tables: id, title, note, columns, rows of texts."""
    out = []
    same = found.same
    columns = ["encoder", "part", "task", "published", "ours", "difference", "our 95 % interval", "of", "result"]
    rows = [_cell(row) for row in same.to_dict("records")]
    out.append(
        _table(
            "cells",
            "By the published protocol",
            "Published and ours side by side. A difference counts that our interval and the last printed digit do not explain; the published number has no interval.",
            columns,
            rows,
        )
    )
    other = found.cells[found.cells["protocol"].eq(OTHER)]
    columns = ["encoder", "part", "task", "ours", "in what it was computed otherwise"]
    rows = [[r["encoder"], r["part"], r["task"], _number(r["ours"]), r["departures"]] for r in other.to_dict("records")]
    out.append(
        _table("", "By another protocol", "Ours alone: these do not stand beside a published number.", columns, rows)
    )
    absent: dict[tuple[str, str], list[str]] = {}
    for r in found.cells[found.cells["protocol"].eq(NOWHERE)].to_dict("records"):
        absent.setdefault((str(r["encoder"]), str(r["part"])), []).append(str(r["task"]))
    rows = [[encoder, part, ", ".join(dict.fromkeys(tasks))] for (encoder, part), tasks in absent.items()]
    out.append(_table("", "Not computed", "Published cells that the results lack.", ["encoder", "part", "tasks"], rows))
    agreement = found.agreement
    rows = [
        [r["task"], r["part"], str(r["n"]), _number(r["rho"]), _number(r["p"]), _number(r["mean_difference"])]
        for r in agreement.to_dict("records")
    ]
    out.append(
        _table(
            "",
            "Order of the encoders",
            "Spearman's rho between published and ours, where three encoders or more were computed by the published protocol.",
            ["task", "part", "n", "rho", "p", "mean difference"],
            rows,
        )
    )
    label = found.paper.scale(found.scale).label
    rows = [
        [one.claim.sentence, one.claim.where, _verdict(one), _verdict(mine), interval(mine.answer), mine.answer.why]
        for one, mine in zip(found.theirs, found.ours, strict=True)
    ]
    note = "The same test of the printed numbers and of ours" + (f", which are {label}." if label else ".")
    out.append(
        _table(
            "claims", "Claims", note, ["it says", "where", "printed numbers", "ours", "estimate", "what ours say"], rows
        )
    )
    return out


def _table(name: str, title: str, note: str, columns: list[str], rows: list[list[str]]) -> dict[str, Any]:
    return {"id": name, "title": title, "note": note, "columns": columns, "rows": rows}


def _cell(row: dict[Any, Any]) -> list[str]:
    ends = "" if math.isnan(row["low"]) else f"{_number(row['low'])} to {_number(row['high'])}"
    mark = " (identity likely, not certain)" if row["is_tentative"] else ""
    return [
        str(row["encoder"]) + mark, row["part"], row["task"], _number(row["published"]), _number(row["ours"]), f"{row['difference']:+.3g}", ends,
        row["interval_of"], row["result"],
    ]  # fmt: skip


def _verdict(one: Any) -> str:
    n = f" (n = {one.answer.n} {one.answer.of})" if one.answer.n else ""
    return f"{one.answer.verdict}{n}"


def _number(value: Any) -> str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else f"{value:.4g}"


def markdown(found: Comparison) -> str:
    """The page as Markdown."""
    lines = [f"# {found.paper.name}: published and ours", "", summary(found), ""]
    for table in tables(found):
        lines += [f"## {table['title']}", "", table["note"], ""]
        if not table["rows"]:
            lines += ["None.", ""]
            continue
        lines += ["| " + " | ".join(table["columns"]) + " |", "|" + "---|" * len(table["columns"])]
        lines += [
            "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
            for row in table["rows"]
        ]
        lines.append("")
    lines += ["## Notes", "", *(f"- {note}" for note in found.notes)]
    return "\n".join(lines) + "\n"


def write(found: Comparison, folder: Path) -> list[Path]:
    """Write index.html, NAME.md, cells.csv, order.csv and claims.csv; return their paths, the page first."""
    folder = Path(folder)
    claims = pd.DataFrame(
        [
            {"numbers": of, **one.row()}
            for of, answers in (("published", found.theirs), ("ours", found.ours))
            for one in answers
        ]
    )
    page = render(
        "paper.html", title=f"{found.paper.name}: published and ours", summary=summary(found), label=found.paper.scale(found.scale).label,
        tables=tables(found), notes=found.notes,
    )  # fmt: skip
    contents = {
        "index.html": page,
        f"{found.paper.name}.md": markdown(found).encode(),
        "cells.csv": found.cells.to_csv(index=False).encode(),
        "order.csv": found.agreement.to_csv(index=False).encode(),
        "claims.csv": claims.to_csv(index=False).encode(),
        **{name: asset(name) for name in ASSETS},
    }
    written = []
    for name, content in contents.items():
        with atomic_write(folder / name) as file:
            file.write(content)
        written.append(folder / name)
    return written

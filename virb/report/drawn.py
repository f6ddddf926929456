"""The analyses of a report: run, shown with what they say, and listed with the reason where they were not drawn."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from virb import registry
from virb.contracts.analysis import AnalysisRun, run_by_name
from virb.errors import VirbError
from virb.report.html import Markup, Section, bullets, joined, table, tag

FOLDER = "analyses"
PIXELS_PER_POINT = 1.8  # type of 6 points is then as large as small print on a screen


@dataclass(frozen=True)
class Drawn:
    """One analysis that was tried, with what its declaration says of it."""

    run: AnalysisRun
    summary: str
    source: str


def draw(
    scores: pd.DataFrame,
    folder: Path,
    names: Sequence[str],
    tell: Callable[[str], None],
    options: Mapping[str, str],
) -> list[Drawn]:
    """Run analyses on the scores into ``folder``/analyses, as `virb analyze all` does, and tell of each.

    An analysis that does not apply or fails is in the list with its reason; the others go on.
    """
    out = []
    for name in names:
        run = run_by_name(name, scores, folder / FOLDER, options)
        if run.status != "done":  # what it wrote before it stopped is not shown, so it is not kept either
            for path in run.files:
                path.unlink(missing_ok=True)
            run = replace(run, files=[])
        try:
            declared = registry.load("analyses", name)
            summary, source = str(declared.summary), str(declared.source)
        except VirbError:
            summary = source = ""
        out.append(Drawn(run, summary, source))
        tell(run.headline)
    return out


def drawn_sections(drawn: Sequence[Drawn]) -> Markup:
    """Figures with their words and links to their numbers; then what was not drawn."""
    done = [one for one in drawn if one.run.status == "done"]
    rest = [one for one in drawn if one.run.status != "done"]
    parts: list[object] = []
    if done:
        parts.append(tag("h2", "Analyses", id="analyses"))
        parts += [_section(one) for one in done]
    if rest:
        rows = [
            (
                tag("code", one.run.name),
                one.summary,
                ("failed: " if one.run.status == "failed" else "") + one.run.reason[:1].upper() + one.run.reason[1:],
            )
            for one in rest
        ]
        parts += [
            tag("h2", "Not drawn, and why", id="not-drawn"),
            tag(
                "p", "Some need other scores, others a setting: ", tag("code", "virb analyze NAME --option help"),
                " lists what can be set.", class_="soft",
            ),
            table("Analyses that these scores do not allow", ("analysis", "what it shows", "why not"), [Section(rows)]),
        ]  # fmt: skip
    return joined(parts)


def _section(one: Drawn) -> Markup:
    files = one.run.files
    figures = [path for path in files if path.suffix == ".svg"]
    tables = [path for path in files if path.suffix == ".csv"]
    parts: list[object] = [tag("h3", one.summary or one.run.name, id=f"analysis-{one.run.name}")]
    parts.append(bullets(one.run.lines))
    for path in figures:
        png = path.with_suffix(".png")
        links: list[object] = [tag("a", "SVG", href=_link(path))]
        links += [tag("a", "PNG", href=_link(png))] if png in files else []
        part = path.stem.removeprefix(one.run.name).strip("-")
        alt = f"Figure: {one.summary or one.run.name}{f' ({part})' if part else ''}. Its numbers are in the CSV file linked below."
        parts.append(
            tag(
                "figure",
                tag("img", src=_link(path), alt=alt, loading="lazy", **_pixels(path)),
                tag("figcaption", joined(links, ", ")),
            )
        )
    if tables:
        links = [tag("a", path.name, href=_link(path)) for path in tables]
        parts.append(
            tag("p", "Numbers: ", joined(links, ", "), f". Source: {one.source}." if one.source else ".", class_="soft")
        )
    return tag("section", *parts)


def _pixels(path: Path) -> dict[str, int]:
    """Width and height to show a figure at, from the points at the head of its file; none where it does not say."""
    head = path.read_text(encoding="utf-8")[:4000]
    found = {side: re.search(rf'<svg[^>]*\s{side}="([\d.]+)pt"', head) for side in ("width", "height")}
    return {side: round(float(match[1]) * PIXELS_PER_POINT) for side, match in found.items() if match}


def _link(path: Path) -> str:
    return f"{FOLDER}/{quote(path.name)}"

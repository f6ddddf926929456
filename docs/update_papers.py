"""Write docs/papers.md: what each paper says and whether it holds by its own numbers, and the command of every table and figure.

python docs/update_papers.py
"""

from __future__ import annotations

from pathlib import Path

from virb import registry
from virb.contracts.paper import Paper, Part
from virb.papers.claims import ask, counted, interval
from virb.papers.evidence import evidence
from virb.papers.identity import identify
from virb.scores.read import read_scores

PAGE = Path(__file__).with_name("papers.md")
HEAD = """# The papers

<!-- Written by `python docs/update_papers.py`; a test holds it to the papers' files. -->

    virb paper list
    virb paper claims NAME                             each sentence, tested on the numbers that the paper printed
    virb paper claims NAME --results results           the same tests on yours
    virb paper status NAME --data DATA                 what is there, what is missing, the cost of each part
    virb paper run NAME --data DATA --out results      what can run; go on with the same command
    virb paper run NAME --scale mini                   the same design on the rendered world
    virb paper run NAME --scale photos --data DATA     or on CIFAR-10 and a part of Tiny ImageNet ([photos.md](photos.md))
    virb paper compare NAME --results results          cell by cell, then the claims
    virb new paper NAME                                one of your own

A paper is one file in `analysis/papers/`: encoders, end tasks, each table and figure as an analysis with options, the numbers that it
printed (CSV in `analysis/papers/tables/`), and what it says: a sentence and a function that tests it, on the paper's numbers or on yours.

**How a sentence is tested.** A sentence about the cells of a table holds if all of them say so beyond the last printed digit, or the error
of reading a figure; it speaks of *these runs*. A sentence about methods, data or encoders in general is tested over what was sampled:
Student's interval over the independent units (methods, data sets, families), of which there are few, or labels exchanged in all ways. `n` counts
those units, not cells. Where families are not known, encoders are counted as independent, and the verdict speaks of *these encoders* only.
Figures that were read off are redrawn within the reading error: where fewer than 95 % of redrawn tables agree, the answer is that it
cannot be told. Almost every cell is one training run, so what a seed would change is in none of these intervals, except where said.
"cannot be told" is not "fails": the paper may be right, and its numbers do not show it.

**What it costs.** `virb paper status` counts forward passes, head steps, gigabytes and hours by the arithmetic of [scaling.md](scaling.md). Run
whole, `virb paper run kotar-2021 --scale mini` took 131 minutes of processor time on two cores, 86 by the clock beside other work ([study.md](study.md)): 39
encoders of 114 core seconds and 1,092 jobs of 3.1. It goes on where it was stopped.
"""


def text() -> str:
    """The page."""
    blocks = [HEAD]
    papers: list[Paper] = [registry.load_entry(entry) for entry in registry.entries("papers") if entry.is_built_in]
    for paper in sorted(papers, key=lambda paper: paper.citation):
        blocks.append(section(paper))
    return "\n".join(blocks)


def section(paper: Paper) -> str:
    answers = ask(paper, paper.published())
    lines = [f"## {paper.name}", "", f"{paper.citation}.", ""]
    lines += [f"By its own numbers, of {len(answers)} sentences: {counted(answers)}.", ""]
    lines += ["| it says | where | answer | n | what the numbers say |", "|---|---|---|---|---|"]
    for one in answers:
        found = one.answer
        n = f"{found.n} {found.of}" if found.n else "–"
        estimate = interval(found)
        why = (f"{estimate}. " if estimate else "") + found.why
        verdict = f"**{found.verdict}**" + (f", of {found.about}" if found.n else "")
        lines.append(row(one.claim.sentence, one.claim.where, verdict, n, why))
    for scale in TESTED:
        lines += tested(paper, scale)
    lines += ["", "| table or figure | what | command | needs |", "|---|---|---|---|"]
    lines += [part_row(paper, part) for part in paper.parts]
    odd = [f"- {table.where}: {table.note}." for table in paper.tables if table.note]
    if odd:
        lines += ["", "What is odd in its numbers:", *odd]
    return "\n".join(lines) + "\n"


#: What the same sentences are tested on besides: a scale -> the page and the stem of the tables beside it, and what it is called.
TESTED = {"mini": ("study", "the mini world"), "photos": ("photos", "small photographs")}


def tested(paper: Paper, scale: str) -> list[str]:
    """The same sentences tested on a study of ours, where its scores are of this paper's design."""
    if scale not in paper.scales:
        return []
    stem, called = TESTED[scale]
    frame = read_scores(PAGE.with_name(f"{stem}.csv"), meta=PAGE.with_name(f"{stem}-encoders.csv"))
    found = identify(frame, paper, paper.scale(scale))
    if not found.names:
        return []
    answers = ask(paper, evidence(paper, scale, frame, found))
    lines = [
        "",
        f"By {called} ([{stem}.md]({stem}.md): {len(found.names)} encoders; {paper.scale(scale).label}): {counted(answers)}.",
        "",
    ]
    lines += [f"| it says | answer of {called} | n | what its scores say |", "|---|---|---|---|"]
    for one in answers:
        n = f"{one.answer.n} {one.answer.of}" if one.answer.n else "–"
        estimate = interval(one.answer)
        lines.append(
            row(
                one.claim.sentence,
                f"**{one.answer.verdict}**",
                n,
                (f"{estimate}. " if estimate else "") + one.answer.why,
            )
        )
    return lines


def part_row(paper: Paper, part: Part) -> str:
    if part.why_not:
        return row(part.where, part.title, "–", part.why_not)
    command = f"`virb paper run {paper.name} --part {part.name}` ({part.analysis})"
    here = part.needs or ("pretraining at full size" if _is_pretrained(paper, part) else "the data sets")
    more = "" if "mini" in part.scales else "; not in the mini world"
    return row(part.where, part.title, command, here + more)


def _is_pretrained(paper: Paper, part: Part) -> bool:
    return any(member.recipe_line for member in paper.scale("full").members(part.encoders))


def row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")

"""``virb paper``: what a paper did and said, by one command each."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from virb.contracts.paper import Paper

HELP = "a paper's tables, figures and claims: list, status, run, compare, and whether what it says holds"
EPILOG = """examples:
  virb paper list
  virb paper claims kotar-2021                       # each sentence, tested on the numbers that the paper printed
  virb paper claims kotar-2021 --results results     # the same tests on yours
  virb paper status kotar-2021 --data /data          # what is there, what is missing, and what it would cost
  virb paper run kotar-2021 --scale mini --out results-mini
  virb paper run cole-2022 --data /data --part table1,table2
  virb paper compare kotar-2021 --results results --out compared
"""
ACTIONS = ("list", "status", "run", "compare", "claims")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from virb.cli.common import add_data_flag, add_run_flags

    parser.add_argument("what", choices=ACTIONS, metavar="ACTION", help="one of %(choices)s")
    parser.add_argument("name", nargs="?", metavar="PAPER", help="its name (virb paper list)")
    parser.add_argument("--results", metavar="DIR|FILE", help="for claims and compare: your scores")
    parser.add_argument(
        "--meta", metavar="FILE.csv", help="columns encoder, identity, and others: which encoder is which"
    )
    add_data_flag(parser, "for status and run: where the data sets lie (default: $VIRB_DATA)")
    parser.add_argument(
        "--scale",
        choices=("full", "mini", "photos"),
        default="full",
        help="the paper's size, the mini world's, or that of small photographs, which not every paper has (default: full)",
    )
    parser.add_argument("--part", default="", metavar="A,B", help="only these parts")
    parser.add_argument("--claim", default="", metavar="A,B", help="for claims: only these")
    parser.add_argument(
        "--encoder",
        default="",
        metavar="A,B",
        help="for run: only these encoders, as the paper or its recipe calls them",
    )
    parser.add_argument(
        "--budget",
        type=int,
        metavar="N",
        help="for run: each pretrained encoder sees N images, not what its recipe says",
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="for run: encoders pretrained at a time (default: 1)"
    )
    parser.add_argument(
        "--out", metavar="DIR", help="for run and status: where results go (default: results); for compare: the page"
    )
    add_run_flags(parser, only=("seeds", "device", "executor", "limit", "epochs"))
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    from virb import registry
    from virb.errors import UsageError

    if args.what == "list":
        return _list(args)
    if args.name is None:
        raise UsageError(f"Name a paper: {', '.join(registry.names('papers'))}.")
    paper: Paper = registry.load("papers", args.name)
    return {"claims": _claims, "compare": _compare, "status": _status, "run": _run}[args.what](args, paper)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _list(args: argparse.Namespace) -> int:
    from virb import registry
    from virb.figures.tables import print_table

    papers: list[Paper] = registry.load_all(registry.entries("papers"))[0]
    rows = [
        {
            "name": paper.name,
            "parts": sum(not part.why_not for part in paper.parts),
            "claims": len(paper.claims),
            "summary": paper.summary,
            "citation": paper.citation,
        }
        for paper in papers
    ]
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        print_table([{key: row[key] for key in ("name", "parts", "claims", "summary")} for row in rows])
    return 0


def _claims(args: argparse.Namespace, paper: Paper) -> int:
    from virb.papers.claims import ask, counted

    names = _words(args.claim)
    if args.results:
        from virb.papers.evidence import evidence

        frame, found = _ours(args, paper)
        tables = evidence(paper, args.scale, frame, found)
        label = paper.scale(args.scale).label
        source = f"{args.results}, {len(found.names)} of {len(paper.scale(args.scale).members())} encoders" + (
            f", {label}" if label else ""
        )
    else:
        tables, source = paper.published(), "the numbers that the paper printed"
    answers = ask(paper, tables, names)
    if args.json:
        print(json.dumps({"paper": paper.name, "of": source, "claims": [one.row() for one in answers]}, indent=2))
        return 0
    print(f"{paper.name}, of {source}: {counted(answers)}.")
    for one in answers:
        _print_claim(one.row(), one)
    return 0


def _print_claim(row: dict[str, Any], one: Any) -> None:
    from virb.papers.claims import interval

    print(f"\n{row['claim']} ({row['where']}): {row['sentence']}")
    shown = interval(one.answer)
    about = f"; of {row['about']}" if row["n"] else ""
    print(
        f"  {row['answer'].upper()}"
        + (f": {shown}" if shown else "")
        + (f"; n = {row['n']} {row['of']}" if row["n"] else "")
        + about
    )
    print(f"  {row['why']}")


def _compare(args: argparse.Namespace, paper: Paper) -> int:
    from pathlib import Path

    from virb.errors import UsageError
    from virb.papers import page
    from virb.papers.compare import compare
    from virb.system.files import check_writable

    if not args.results:
        raise UsageError("Name your scores with --results: a results folder, or a CSV or Parquet file.")
    out = Path(args.out or f"compared/{paper.name}")
    check_writable(out)
    frame, found = _ours(args, paper)
    made = compare(paper, args.scale, frame, found, _words(args.part))
    written = page.write(made, out)
    if args.json:
        cells = json.loads(made.cells.to_json(orient="records"))
        order = json.loads(made.agreement.to_json(orient="records"))
        claims = {
            of: [one.row() for one in answers] for of, answers in (("published", made.theirs), ("ours", made.ours))
        }
        print(
            json.dumps(
                {"summary": page.summary(made), "cells": cells, "order": order, "claims": claims, "notes": made.notes},
                indent=2,
            )
        )
        return 0
    print(page.summary(made))
    for row in made.differing.to_dict("records"):
        print(
            f"  differs: {row['encoder']} on {row['task']}: {row['ours']:.4g}, published {row['published']:.4g} ({row['difference']:+.3g})"
        )
    print(f"wrote {written[0]} and, beside it, {', '.join(path.name for path in written[1:5])}")
    return 0


def _status(args: argparse.Namespace, paper: Paper) -> int:
    from dataclasses import asdict
    from pathlib import Path

    from virb.cli.common import data_context
    from virb.papers.status import look

    state = look(
        paper, args.scale, data_context(args.data), Path(args.out or "results"), _words(args.part), seeds=args.seeds
    )
    if args.json:
        parts = [
            {
                "part": one.part.name, "where": one.part.where, "can_run": not one.reason, "reason": one.reason, "needs": one.part.needs,
                "encoders": [encoder.member.name for encoder in one.encoders], "tasks": one.tasks, "jobs_left": one.jobs_left, **one.cost.row(),
            }
            for one in state.parts
        ]  # fmt: skip
        encoders = [
            {"encoder": name, "state": one.state, "source": one.source, "how": one.how}
            for name, one in state.encoders.items()
        ]
        said = {
            "paper": paper.name, "scale": args.scale, "encoders": encoders, "tasks": [asdict(one) for one in state.tasks.values()], "parts": parts,
            "total": state.total.row(), "jobs_left": state.jobs_left,
        }  # fmt: skip
        print(json.dumps(said, indent=2))
        return 0
    _print_status(state)
    return 0


def _print_status(state: Any) -> None:
    from collections import Counter

    from virb.evaluation.status import FOUND
    from virb.figures.tables import print_table
    from virb.papers.cost import CARDS

    n = Counter(one.state for one in state.encoders.values())
    print(
        f"{state.paper.name}, scale {state.scale}: {len(state.encoders)} encoders ({', '.join(f'{count} {what}' for what, count in n.items())})"
    )
    for one in [one for one in state.encoders.values() if one.state == "missing"][:8]:
        print(f"  missing: {one.member.name}: {one.how}")
    absent = [one for one in state.tasks.values() if one.state != FOUND]
    print(f"{len(state.tasks)} end tasks, the data of {len(state.tasks) - len(absent)} are there")
    for status in absent:
        print(f"  {status.state}: {status.task}: {status.reason_line[:240]}")
    for status in [one for one in state.tasks.values() if one.state == FOUND and one.reason]:
        print(f"  of another size than published, and used: {status.task}: {status.reason}")
    rows = []
    for one in state.parts:
        cost = one.cost
        rows.append(
            {
                "part": one.part.name, "what": one.part.where, "jobs left": (f"{one.jobs_left} of {cost.jobs}" if not one.reason else f"{cost.jobs}") if cost.jobs else "",
                "forward passes": f"{cost.forward_passes:,}" if cost.forward_passes else "", "head steps": f"{cost.head_steps:,}" if cost.head_steps else "",
                "evaluate (h)": f"{cost.evaluate_hours:.1f}" if cost.jobs else "", "pretrain (h)": f"{cost.pretrain_hours:,.1f}" if cost.jobs else "",
                "disk (GB)": f"{cost.disk_gb:,.1f}" if cost.disk_gb else "",
                "runs": one.reason or ("yes" + (f"; needs {one.part.needs}" if one.part.needs else "")),
            }
        )  # fmt: skip
    print_table(rows)
    total = state.total
    if total.jobs:
        print(
            f"all parts, what they share counted once: {total.jobs} jobs, of those that can run {state.jobs_left} left; {total.evaluate_hours:.1f} h of evaluation and "
            f"{total.pretrain_hours:,.1f} h of pretraining on {total.card} ({CARDS[total.card].source}), {total.disk_gb:.1f} GB of features; "
            f"{total.decoder_examples:,} examples through pixelwise heads"
            + (", whose speed was not measured there" if total.card != "two cores" else "")
        )


def _run(args: argparse.Namespace, paper: Paper) -> int:
    import sys

    from virb.cli.common import data_context, run_options
    from virb.errors import UsageError
    from virb.papers.run import describe, run_paper
    from virb.system.allocator import keep_freed_memory
    from virb.system.progress import Progress

    if args.jobs < 1 or (args.budget is not None and args.budget < 1):
        raise UsageError("--jobs and --budget must be at least 1.")
    keep_freed_memory()
    args.out = args.out or "results"
    tell = (lambda text: print(text, file=sys.stderr)) if args.json else print
    with Progress() as progress:
        done = run_paper(
            paper, args.scale, data_context(args.data), run_options(args), parts=_words(args.part), only=_words(args.encoder), budget=args.budget,
            jobs=args.jobs, tell=tell, progress=progress,
        )  # fmt: skip
    if args.json:
        print(json.dumps(describe(done), indent=2))
    else:
        for name, why in done.left_out.items():
            print(f"not run: {name}: {why}")
        for failure in done.failures:
            print(f"failed: {failure}", file=sys.stderr)
        for one in done.answers:
            print(
                f"{one.answer.verdict}: {one.claim.name}: {one.claim.sentence}"
                + (f" (n = {one.answer.n} {one.answer.of})" if one.answer.n else "")
            )
        if done.page is not None:
            print(f"wrote {done.page}")
    return 0 if done.is_whole else 1


def _ours(args: argparse.Namespace, paper: Paper) -> tuple[Any, Any]:
    """The scores and which of their encoders are the paper's; what was left out is said."""
    import sys
    from pathlib import Path

    from virb.cli.common import say_notes
    from virb.papers.identity import identify, read_known, records_folder
    from virb.scores.read import read_scores

    place = records_folder(args.results) if Path(args.results).is_dir() else args.results
    frame = read_scores(place, meta=args.meta)
    say_notes(frame)
    scale = paper.scale(args.scale)
    known = read_known(Path(args.results), paper) if Path(args.results).is_dir() else None
    found = identify(frame, paper, scale, known)
    if found.unmatched:
        few = ", ".join(found.unmatched[:5]) + (
            f" and {len(found.unmatched) - 5} more" if len(found.unmatched) > 5 else ""
        )
        print(
            f"note: not declared to be of {paper.name}, and left out: {few}. A column identity (--meta FILE.csv) says which is which.",
            file=sys.stderr,
        )
    return frame, found

"""A results folder that others can take into a public leaderboard: what must be in it, and whether it is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virb import registry
from virb.errors import UsageError
from virb.records import compare
from virb.records.check import check as check_records
from virb.records.columns import table
from virb.records.record import Record
from virb.system import documents

CARD = "submission.yaml"
FORMAT = "virb-submission/1"
MOST_BYTES = 1 << 20
#: What the card says of each encoder: where others get it, under which terms, and what made it.
SAID = ("weights", "licence", "pretraining")
TEMPLATE = """# What others need to judge these results and to make them again.
format: {format}
title: ""            # what the leaderboard calls this submission
suite: {suite}       # every encoder has a record on each of its tasks
contact: ""          # where questions go: a page or an address
encoders:
{encoders}"""
ENCODER = """  {name}:
    weights: ""      # where the file is: an address, or how to get it
    licence: ""
    pretraining: ""  # method, data and length, or the paper
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, whether it is as it should be, and what was found."""

    name: str
    is_ok: bool
    detail: str


def start(folder: str | os.PathLike[str]) -> Path:
    """Write the card to fill in beside the records of a results folder, and return its path.

    Raises:
        UsageError: there is one already, or no record.
    """
    path = Path(folder, CARD)
    if path.exists():
        raise UsageError(f"{path} is there already; fill it in, and run virb submit {folder} --check.")
    records, _ = check_records(folder)
    if not records:
        raise UsageError(f"{folder} holds no whole record. Run virb evaluate first.")
    names = sorted({record["encoder"]["name"] for record in records})
    suites = sorted({record["task"]["suite"] for record in records})
    encoders = "".join(ENCODER.format(name=name) for name in names)
    path.write_text(TEMPLATE.format(format=FORMAT, suite=suites[0], encoders=encoders), encoding="utf-8")
    return path


def check_submission(folder: str | os.PathLike[str]) -> list[Finding]:
    """Look at everything that must hold of a submission; the card's absence is a finding and no error.

    Raises:
        VirbError: there is no such folder.
    """
    records, problems = check_records(folder)
    problems = [problem for problem in problems if problem.path.name != CARD]
    out = [
        _said(
            "every file is a whole record whose score its predictions give",
            [p.reason for p in problems],
            f"{len(records)} records",
        )
    ]
    if not records:
        return [*out, Finding("there are records", False, "none is whole")]
    out.append(_said("every record says what it was computed from", list(_unsaid(records)), "fingerprints of all"))
    out.append(_said("no run departs from its protocol", list(_departing(records)), "none"))
    out.append(_said("records are of committed code", list(_uncommitted(records)), "no changes beside the commits"))
    out.append(_said("what is compared may be compared", compare.mixed(table(records)), "one version of all"))
    card, wrong = _card(Path(folder, CARD))
    out.append(_said(f"{CARD} is filled in", wrong, str(card.get("title", ""))))
    if card:
        out.append(
            _said(
                "every encoder has every task of the suite", list(_missing(records, card)), f"suite {card.get('suite')}"
            )
        )
        out.append(_said("every encoder is described, with its role", list(_undescribed(records, card)), "all are"))
    return out


def _said(name: str, wrong: Sequence[str], right: str) -> Finding:
    more = f" And {len(wrong) - 5} more." if len(wrong) > 5 else ""
    return Finding(name, not wrong, " ".join(wrong[:5]) + more if wrong else right)


def _place(record: Record) -> str:
    return f"{record['encoder']['name']} on {record['task']['name']}, {record['probe']}, seed {record['seed']}"


def _unsaid(records: Sequence[Record]) -> Iterator[str]:
    for record in records:
        if "fingerprint" not in record:
            yield f"{_place(record)}: no fingerprint (of virb 0.1); evaluate it again."


def _departing(records: Sequence[Record]) -> Iterator[str]:
    for record in records:
        if record["overrides"]:
            yield f"{_place(record)}: {', '.join(f'{k}={v}' for k, v in record['overrides'].items())}."


def _uncommitted(records: Sequence[Record]) -> Iterator[str]:
    for commit in sorted({str(record.get("commit") or "") for record in records}):
        if commit.endswith("+changes"):
            yield f"Records are of {commit[:12]} with changes that others do not have; commit them, or use a released virb."


def _card(path: Path) -> tuple[Mapping[str, Any], list[str]]:
    """The card, and what is wrong with it."""
    if not path.exists():
        return {}, [f"There is no {path}; virb submit {path.parent} --start writes one to fill in."]
    try:
        found = documents.read_yaml(path, most=MOST_BYTES)
    except documents.DocumentError as error:
        return {}, [str(error)]
    if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("encoders"), dict):
        return {}, [
            f"{path} is no card: expected format: {FORMAT}, title, suite, contact and encoders (name: what is known)."
        ]
    return found, [f"{key} is empty." for key in ("title", "suite", "contact") if not str(found.get(key) or "").strip()]


def _missing(records: Sequence[Record], card: Mapping[str, Any]) -> Iterator[str]:
    suite = card.get("suite")
    tasks = [entry.name for entry in registry.entries("tasks") if entry.group == suite]
    if not tasks:
        yield f"There is no suite {suite!r}."
        return
    there = {(record["encoder"]["name"], record["task"]["name"]) for record in records}
    for encoder in sorted({encoder for encoder, _ in there}):
        absent = [task for task in tasks if (encoder, task) not in there]
        if absent:
            yield f"{encoder} lacks {len(absent)} of {len(tasks)}: {', '.join(absent[:3])}{', ...' if len(absent) > 3 else ''}."


def _undescribed(records: Sequence[Record], card: Mapping[str, Any]) -> Iterator[str]:
    described = card["encoders"]
    roles: dict[str, str] = {}
    for record in records:
        about = {**(record["encoder"].get("meta") or {}), **(record["encoder"].get("declared") or {})}
        roles[record["encoder"]["name"]] = str(about.get("role") or "unknown")
    for name, role in sorted(roles.items()):
        said = described.get(name)
        empty = [key for key in SAID if not isinstance(said, dict) or not str(said.get(key) or "").strip()]
        if empty:
            yield f"{name}: {', '.join(empty)} not said."
        if role == "unknown":
            yield f"{name}: its role is unknown; evaluate it with :role= or --meta."
    for name in described:
        if name not in roles:
            yield f"{name} is described and has no record."

"""Which encoder of a table is which of a paper: declared, or known by content; never by likeness of names."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from virb.contracts.paper import Member, Paper, Scale
from virb.errors import ScoresError

if TYPE_CHECKING:
    import pandas as pd

#: The column by which a table declares them: "SwAV ImageNet 800", "kotar-2021:SwAV ImageNet 800" or the member's spec.
COLUMN = "identity"


@dataclass
class Identified:
    """``names`` maps a member's name to the encoder of the table; ``unmatched`` are encoders that are no member."""

    names: dict[str, str]
    unmatched: list[str]
    notes: list[str] = field(default_factory=list)


def identify(frame: pd.DataFrame, paper: Paper, scale: Scale, known: pd.DataFrame | None = None) -> Identified:
    """Find the members of ``scale`` among the encoders of ``frame``.

    The first that says it wins: the column ``identity``; ``known`` (columns encoder_digest, member: what ``virb paper run``
    wrote of the encoders it made); the address that a record says its weights came from, for encoders of the zoo; and
    the spec itself, for references such as ``random`` that come with virb.

    Raises:
        ScoresError: two encoders are declared to be one member.
    """
    members = scale.members()
    declared = _declared(frame, paper, members)
    by_digest = {} if known is None else dict(zip(known["encoder_digest"], known["member"].str.split("|"), strict=True))
    urls = _urls(members)
    names: dict[str, str] = {}
    unmatched: list[str] = []
    for encoder, rows in frame.groupby("encoder", sort=False):
        row = rows.iloc[0]
        found = declared.get(str(encoder), [])
        if not found and "encoder_digest" in frame:
            found = by_digest.get(row["encoder_digest"], [])
        if not found and "source" in frame:
            found = urls.get(str(row["source"]), [])
        for name in found:
            if names.setdefault(name, str(encoder)) != str(encoder):
                raise ScoresError(
                    f"{names[name]} and {encoder} are both declared to be {name!r} of {paper.name}; leave one out (--exclude)."
                )
        if not found:
            unmatched.append(str(encoder))
    return Identified(names, unmatched)


def read_known(folder: Path, paper: Paper) -> pd.DataFrame | None:
    """What ``virb paper run`` wrote of the encoders of a results folder; None where it did not."""
    import pandas as pd

    path = known_path(folder, paper)
    if not path.is_file():
        return None
    frame = pd.read_csv(path, dtype=str)
    if not {"encoder_digest", "member"} <= set(frame):
        raise ScoresError(
            f"{path} has no columns encoder_digest and member; remove it, `virb paper run` writes it again."
        )
    return frame


def known_path(folder: Path, paper: Paper) -> Path:
    """Where that is kept: in the paper's own folder, beside that of the records."""
    return Path(folder) / paper.name / "encoders.csv"


def records_folder(folder: str | os.PathLike[str]) -> Path:
    """Where records lie: below the folder that ``virb paper run`` wrote, or in a results folder itself."""
    own = Path(folder) / "records"
    return own if own.is_dir() else Path(folder)


def _declared(frame: pd.DataFrame, paper: Paper, members: list[Member]) -> dict[str, list[str]]:
    if COLUMN not in frame:
        return {}
    by_text: dict[str, list[str]] = {}
    for member in members:
        for text in {member.name, f"{paper.name}:{member.name}", member.spec} - {""}:
            by_text.setdefault(text, []).append(member.name)
    found = {}
    for encoder, rows in frame.groupby("encoder", sort=False):
        said = rows[COLUMN].dropna().astype(str).unique()
        names = [name for text in said for part in text.split("|") for name in by_text.get(part.strip(), [])]
        if names:
            found[str(encoder)] = list(dict.fromkeys(names))
    return found


def _urls(members: list[Member]) -> dict[str, list[str]]:
    from virb.convert import zoo

    published = zoo.published()
    found: dict[str, list[str]] = {}
    for member in members:
        entry = published.get(member.spec.removeprefix(zoo.PREFIX)) if member.spec.startswith(zoo.PREFIX) else None
        if entry is not None:
            found.setdefault(entry.url, []).append(member.name)
    return found

"""Where the scores come from, and what a reader must be warned about: shortened runs, mixed versions and data."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from virb.errors import VirbError
from virb.records import compare
from virb.report.study import Study
from virb.scores.layout import seeds_in_words

MINI = "A mini- score is not a ViRB score."
MARK = "†"


def overrides(study: Study, *, encoder: str | None = None, task: str | None = None) -> list[str]:
    """The settings by which runs depart from the protocol (``limit=100``): those of the rows, else of the probe's name."""
    said = study.said("overrides", encoder=encoder, task=task)
    if "overrides" not in study.frame:
        said = [probe.partition("+")[2] for probe in study.said("probe", encoder=encoder, task=task) if "+" in probe]
    return said


def warnings(study: Study) -> list[str]:
    """Sentences that belong beside the title."""
    out = []
    mini = [task for task in study.tasks if is_mini(study, task)]
    if mini:
        which = "All end tasks" if len(mini) == len(study.tasks) else f"{len(mini)} of {len(study.tasks)} end tasks"
        out.append(f"{which} here {'are' if len(mini) > 1 else 'is'} of the mini suite. {MINI}")
    shortened = overrides(study)
    if shortened:
        out.append(
            f"Runs depart from the protocol ({'; '.join(shortened)}), marked {MARK}: their scores are not comparable with "
            "full runs."
        )
    fewest, most = study.seeds
    if most > 1 and fewest < most:
        out.append(f"Scores are means over {seeds_in_words(fewest, most)}: some cells have fewer than others.")
    if most == 1:
        out.append("Every score is of one seed: what training the head again would change is not known.")
    out += [
        f"{note[:1].upper()}{note[1:]}{'' if note.endswith('.') else '.'}"
        for note in study.frame.attrs.get("notes", ())
    ]
    return out + mixed(study)


def is_mini(study: Study, task: str) -> bool:
    """Whether a task is of the embedded suite: the scores' suite says so, else the declared task's; never its name."""
    from virb import registry

    said = study.said("suite", task=task)
    if said:
        return said == ["mini"]
    with contextlib.suppress(VirbError):
        entry = registry.find("tasks", task)
        return entry.is_built_in and entry.group == "mini"
    return False


def mixed(study: Study) -> list[str]:
    """What differs between records that one table compares: versions, devices, data, and the encoders themselves."""
    records = study.records_of()
    out = []
    for name, counts in sorted(versions(records).items()):
        if len(counts) > 1:
            out.append(f"The records were made with {len(counts)} versions of {name}: {_counted(counts)}.")
    devices = Counter(str(record["device"]) for record in records if record.get("device"))
    if len(devices) > 1:
        out.append(f"The records were made on different devices: {_counted(devices)}.")
    out += compare.mixed(study.frame)
    return out


def versions(records: Iterable[Mapping[str, Any]]) -> dict[str, Counter[str]]:
    """For each package how many records name which version."""
    out: dict[str, Counter[str]] = {}
    for record in records:
        said = record.get("versions")
        for name, version in said.items() if isinstance(said, Mapping) else ():
            out.setdefault(str(name), Counter())[str(version)] += 1
    return out


def versions_text(records: Iterable[Mapping[str, Any]]) -> str:
    """``torch 2.6.0; numpy 2.1.0 (3 records), 2.2.0 (1 record)``."""
    return "; ".join(
        f"{name} {_counted(counts) if len(counts) > 1 else next(iter(counts))}"
        for name, counts in sorted(versions(records).items())
    )


def plain(value: object) -> str:
    """A value of a record as text; what has parts, as JSON."""
    if value is None:
        return ""
    return str(value) if isinstance(value, (str, int, float, bool)) else json.dumps(value, sort_keys=True, default=str)


def pairs(said: object) -> str:
    """A mapping as ``name value, name value``; anything else as :func:`plain`."""
    if not isinstance(said, Mapping):
        return plain(said)
    return ", ".join(f"{name} {plain(value)}" for name, value in said.items())


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({n} record{'s' * (n > 1)})" for name, n in sorted(counts.items()))

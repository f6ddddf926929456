"""In what a cell of ours was computed otherwise than the published one that it would stand beside."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from virb import registry
from virb.contracts.paper import Part, Scale
from virb.errors import RegistryError

#: What a paper calls a protocol -> the probes of ours that ask the same.
Probes = Mapping[str, tuple[str, ...]]

SAID = ("probe", "overrides", "n_test", "input_size")  # columns that a record has, and a bare table has not


def departures(
    ours: Mapping[str, Any], published: Mapping[str, Any], part: Part, scale: Scale, probes: Probes
) -> list[str]:
    """Name everything in which a row of ours departs from the protocol of a published cell; empty where it does not."""
    if not any(_is_said(ours.get(column)) for column in SAID):
        return ["its protocol is not said"]
    return list(_departures(ours, published, part, scale, probes))


def _departures(
    ours: Mapping[str, Any], published: Mapping[str, Any], part: Part, scale: Scale, probes: Probes
) -> Iterator[str]:
    if ours["our_task"] != ours["task"]:
        yield f"{ours['our_task']} stands in for {ours['task']}"
    wanted = str(published.get("probe") or part.protocol.get("probe") or "")
    probe = str(ours.get("probe") or "").partition("+")[0]
    if wanted and wanted in probes and probe not in probes[wanted]:
        yield f"probe {probe or 'not said'} (published: {wanted})"
    share = label_share(ours)
    named = label_share(published)
    if not math.isclose(share, named, rel_tol=1e-6):
        yield f"{100 * share:g} % of the labels (published: {100 * named:g} %)"
    for change in str(ours.get("overrides") or "").split("+") if _is_said(ours.get("overrides")) else ():
        if change and not change.startswith(("label_fraction", "labels_per_class")):
            yield change
    if _is_said(ours.get("labels_per_class")):
        yield f"{ours['labels_per_class']:g} labels a class"
    if _is_said(ours.get("input_size")) and float(ours["input_size"]) != scale.input_px:
        yield f"images of {float(ours['input_size']):g} px (published: {scale.input_px})"
    expected = _n_test(str(ours["our_task"]))
    if expected and _is_said(ours.get("n_test")) and int(ours["n_test"]) != expected:
        yield f"{int(ours['n_test']):,} of {expected:,} test examples"


def label_share(row: Mapping[str, Any]) -> float:
    """The share of the labels: ``label_fraction``, or ``labels`` in percent as papers print it; all where neither is said."""
    if _is_said(row.get("label_fraction")):
        return float(row["label_fraction"])
    return float(row["labels"]) / 100 if _is_said(row.get("labels")) else 1.0


def probe_fits(ours: Mapping[str, Any], published: Mapping[str, Any], probes: Probes) -> bool:
    """Whether a published cell that names its probe asks what a row of ours answers."""
    wanted = published.get("probe")
    probe = str(ours.get("probe") or "").partition("+")[0]
    return not _is_said(wanted) or str(wanted) not in probes or probe in probes[str(wanted)] or not probe


def _n_test(task: str) -> int | None:
    try:
        return dict(registry.load("tasks", task).n_examples).get("test")
    except RegistryError:
        return None


def _is_said(value: object) -> bool:
    return value is not None and value != "" and not (isinstance(value, float) and math.isnan(value))

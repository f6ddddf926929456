"""One battery of checks a kind of part: ``virb validate FILE`` runs it on anybody's, the tests on ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from virb import registry
from virb.errors import VirbError
from virb.evaluation.batteries import heads, losses, metrics, networks, others, papers, probes
from virb.evaluation.batteries.common import Checks, Wrong
from virb.evaluation.validation import Check


def check_part(entry: registry.Entry) -> list[Check]:
    """Return the checks of the part that ``entry`` found; where it does not load, that is the only one."""
    try:
        part = registry.load_entry(entry)
    except VirbError as error:
        return [Check("it loads", False, str(error))]
    found = [Check("it loads", True, f"{registry.KINDS[entry.kind].singular} {entry.name}")]
    battery: Callable[[Any], Checks] | None = {
        "heads": heads.head_checks,
        "losses": losses.loss_checks,
        "metrics": metrics.metric_checks,
        "probes": probes.probe_checks,
        "analyses": others.analysis_checks,
        "papers": papers.paper_checks,
        "layouts": others.layout_checks,
        "backbones": networks.backbone_checks,
        "methods": networks.method_checks,
        "datasets": networks.dataset_checks,
        "executors": others.executor_checks,
    }.get(entry.kind)  # type: ignore[assignment]
    for name, look in battery(part) if battery else []:
        try:
            found.append(Check(name, True, look() or ""))
        except Exception as error:  # whatever a part does is what is being asked
            text = str(error) if isinstance(error, Wrong) else f"{type(error).__name__}: {error}"
            found.append(Check(name, False, text))
    return found

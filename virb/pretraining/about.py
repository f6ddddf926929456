"""What an encoder file says of its pretraining: every setting as a value of its own, and what kind of encoder it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch

import virb
from virb.contracts.method import Method
from virb.pretraining.data import PretrainingData
from virb.pretraining.plan import Plan
from virb.pretraining.settings import Settings
from virb.pretraining.subsets import Manifest
from virb.system.commit import commit


def digest(identity: Mapping[str, Any]) -> str:
    """Return the hash of what a run is: equal for equal settings and data."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _repeat(identity: Mapping[str, Any]) -> str:
    """What runs have in common that differ by their seed alone."""
    return digest({key: value for key, value in identity.items() if key != "seed"})[:12]


def untrained(
    method: Method, settings: Settings, identity: Mapping[str, Any], *, has_parameters: bool
) -> dict[str, Any]:
    """Return the meta of a network that is not trained; without parameters it is a baseline of no method."""
    return {
        "method": method.name if has_parameters else "none",
        "role": method.role if has_parameters else "baseline",
        **({"repeat": _repeat(identity)} if has_parameters else {}),
        "dataset": "none",
        "dataset_size": 0,
        "balance": "none",
        "epochs": 0,
        "images_seen": 0,
        "seed": settings.seed,
        "run": digest(identity),
        "virb": virb.__version__,
        "commit": commit() or "",
    }


def trained(
    method: Method,
    settings: Settings,
    identity: Mapping[str, Any],
    plan: Plan,
    data: PretrainingData,
    dataset: str,
    manifest: Manifest | None,
    head: Mapping[str, Any],
    *,
    seconds: float,
    device: str,
    processes: int,
) -> dict[str, Any]:
    """Return the meta of a trained encoder: what was asked for, what it amounted to, and on what it ran.

    ``options`` and ``training`` hold the method's options and the optimiser's settings, a value each.
    """
    return {
        "method": method.name,
        "role": method.role,
        "family": f"{method.name}-{dataset}",
        "repeat": _repeat(identity),
        "dataset": dataset,
        "dataset_size": len(data),
        "balance": data.balance,
        **_subset(manifest),
        "corruption": settings.corrupt or "none",
        "epochs": round(plan.steps * plan.batch_size / len(data), 4),
        "images_seen": plan.steps * plan.batch_size,
        "seed": settings.seed,
        **head,
        **_pair_of_augmentations(identity["options"]),
        "options": dict(identity["options"]),
        "training": dict(identity["training"]),
        "lr": plan.lr,
        "batch_size": plan.batch_size,
        "lr_rule": str(identity["training"].get("lr_rule", "")),
        "accumulate": plan.accumulate,
        **({"ema": plan.ema} if plan.ema else {}),
        "view_size": identity["view_size"],
        "short_side": identity["short_side"],
        "steps": plan.steps,
        "precision": settings.precision,
        "compile": settings.compile,
        "processes": processes,
        "data_revision": data.revision,
        "run": digest(identity),
        "seconds": round(seconds, 1),
        "device": device,
        "torch": torch.__version__,
        "virb": virb.__version__,
        "commit": commit() or "",
    }


def _pair_of_augmentations(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the two augmentations of a composition of one or two (SimCLR's Figure 5), which are columns of their own."""
    given = options.get("augment")
    names = [name for name in given.split("+") if name] if isinstance(given, str) else list(given or ())
    return {"augmentation_a": names[0], "augmentation_b": names[-1]} if 1 <= len(names) <= 2 else {}


def _subset(manifest: Manifest | None) -> dict[str, Any]:
    if manifest is None:
        return {"subset": "none"}
    kind = manifest.rule.split("(")[0]
    return {
        **({"balance": kind} if kind in ("lin", "log") else {}),
        "subset": manifest.rule,
        "subset_seed": manifest.seed,
        "class_order": manifest.class_order,
        "subset_sha256": manifest.sha256,
        "subset_notes": list(manifest.notes),
    }

"""VisBench's corpus: visbench.jsonl, one record a line (turhancan97/VisBench)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virb.contracts.importer import Importer
from virb.errors import ScoresError
from virb.scores.imported import numbers_of
from virb.system.documents import read_text

_MOST = 256 << 20
#: By what the source orders its board; maps of a cue by TASK_correlation.
_MAIN = ("top1", "mAP", "recall@5px", "accuracy", "miou", "iou", "map_50", "d1")
_LOWER = ("mean", "median", "rmse", "abs_rel", "mae")
_CONTEXT = ("num_matches", "classes_scored", "detections_per_image")
_DEGREES = ("mean", "median", "rmse")


def rows(path: Path) -> Iterator[Mapping[str, Any] | str]:
    """One row a record and metric. Where the source would not compare two records of a task, they are two tasks."""
    records = [
        _record(line, number_, path)
        for number_, line in enumerate(read_text(path, most=_MOST).splitlines(), 1)
        if line.strip()
    ]
    keys: dict[str, set[str]] = {}
    for record in records:
        keys.setdefault(str(record["backbone"]), set()).add(str(record.get("backbone_key")))
    for record in records:
        settings = dict(record.get("task_params") or {})
        task = str(record["task"])
        name = str(record["backbone"])
        fixed = {
            # One backbone in two checkpoints or sizes is two encoders.
            "encoder": name if len(keys[name]) == 1 else str(record.get("backbone_key")),
            "task": task,
            "seed": record.get("seed"),
            "checkpoint": record.get("backbone_key"),
            "level": record.get("level"),
            "split": record.get("split"),
            "n_test": record.get("dataset_size"),
            "data_digest": record.get("dataset_fingerprint"),
            "settings_digest": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12],
            "harness": record.get("visbench_version"),
            "group": {
                "protocol": settings.get("protocol"),
                "data": record.get("dataset_fingerprint"),
                "pooling": record.get("pooling_requested"),
                "fine-tuned": record.get("finetune"),
            },
        }
        metrics = {key: value for key, value in numbers_of(record["metrics"]).items() if not _is_context(key)}
        main = _main_metric(task, metrics)
        if main is None:
            yield f"{fixed['encoder']} on {task}: the source says of none of {', '.join(metrics)} that it counts; left out"
            continue
        for metric, score in metrics.items():
            better = "lower" if metric in _LOWER else "higher"
            yield {
                **fixed,
                "metric": metric,
                "score": score,
                "better": better,
                "unit": _unit(task, metric),
                "is_main": metric == main,
            }


def _record(line: str, place: int, path: Path) -> dict[str, Any]:
    try:
        record = json.loads(line, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise ScoresError(f"{path}: line {place} is not valid JSON: {error}.") from error
    lacks = [key for key in ("backbone", "task", "metrics") if not isinstance(record, dict) or key not in record]
    if lacks or not isinstance(record["metrics"], dict):
        raise ScoresError(
            f"{path}: line {place} is no record of VisBench: {', '.join(lacks) or 'metrics'} is not as it should be."
        )
    return dict(record)


def _is_context(metric: str) -> bool:
    return metric.startswith("ceiling_") or metric in _CONTEXT


def _main_metric(task: str, metrics: Mapping[str, float]) -> str | None:
    if task == "surface_normal" and "mean" in metrics:
        return "mean"
    cue = {"keypoints2d": "keypoint"}.get(task, task)
    return next((name for name in (*_MAIN, f"{cue}_correlation") if name in metrics), None)


def _unit(task: str, metric: str) -> str | None:
    if task == "surface_normal" and metric in _DEGREES:
        return "degree"
    if metric in ("rmse", "mae"):
        return "metre" if task == "depth" else None
    return "correlation" if metric.endswith("_correlation") else "fraction"


IMPORTER = Importer(
    "visbench",
    "VisBench's visbench.jsonl, by the metric that orders its board",
    reads="file",
    rows=rows,
    source="turhancan97/VisBench feafbaf5, schema 7",
)

"""CLIP benchmark's JSON files and built CSV, and OpenCLIP's wide tables of results."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virb.contracts.importer import Importer
from virb.errors import ScoresError
from virb.scores.imported import load_json, number
from virb.system.documents import read_text

_MOST = 256 << 20
_WORDS = (
    "dataset",
    "model",
    "pretrained",
    "task",
    "language",
    "model_fullname",
    "classnames",
    "templates",
    "verbose",
    "dump_classnames",
    "dump_templates",
)
_SETTINGS = ("weight_decay", "epochs", "seed", "fewshot_k", "normalized")
_RETRIEVAL = {"image_retrieval_recall@5": "image retrieval", "text_retrieval_recall@5": "text retrieval"}
_MAIN = ("acc1", "lp_acc1", "mean_average_precision")


def rows(path: Path) -> Iterator[Mapping[str, Any] | str]:
    """One row a run and metric: the encoder is model and pretrained, a retrieval run is two tasks."""
    for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
        if file.suffix.lower() != ".csv":
            content = load_json(file)
            for run in content if isinstance(content, list) else [content]:
                if not isinstance(run, dict) or not isinstance(run.get("metrics"), dict):
                    raise ScoresError(f"{file} is no result of CLIP benchmark: it has no metrics.")
                yield from _of_run(run, run["metrics"])
            continue
        table = csv.DictReader(io.StringIO(read_text(file, most=_MOST), newline=""))
        header = list(table.fieldnames or ())
        if {"dataset", "model", "pretrained", "task"} <= set(header):
            for line in table:
                metrics = {
                    key: _typed(value) for key, value in line.items() if key not in _WORDS and value not in (None, "")
                }
                yield from _of_run(line, metrics)
        elif {"name", "pretrained"} <= set(header):
            yield from _of_wide(list(table), header)
        else:
            raise ScoresError(
                f"{file} has neither dataset, model, pretrained and task nor name and pretrained: {', '.join(header[:8])}."
            )


def _of_run(run: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    kind = run.get("task") or None
    fixed = {
        "encoder": _encoder(run["model"], run["pretrained"]),
        "model": run["model"],
        "pretrained": run["pretrained"],
        "kind": kind,
        "language": run.get("language") or None,
        "seed": metrics.get("seed", 0),
        "unit": "fraction",
        "group": {"kind": kind, "language": run.get("language"), "few-shot": metrics.get("fewshot_k")},
    }
    scores = {
        key: found for key, value in metrics.items() if key not in _SETTINGS and (found := number(value)) is not None
    }
    main = next((name for name in _MAIN if name in scores), None)
    for metric, score in scores.items():
        direction = _RETRIEVAL.get(metric)
        if direction is not None:
            yield {**fixed, "task": f"{run['dataset']} {direction}", "metric": metric, "score": score}
        else:
            first = main or next(name for name in scores if name not in _RETRIEVAL)
            is_main = metric == first and not any(name in scores for name in _RETRIEVAL)
            yield {**fixed, "task": run["dataset"], "metric": metric, "score": score, "is_main": is_main}


def _of_wide(lines: list[dict[str, Any]], header: list[str]) -> Iterator[Mapping[str, Any] | str]:
    about = {"params (M)": "params_m", "FLOPs (B)": "flops_g"}
    tasks = [h for h in header if h not in ("name", "pretrained", *about) and not h.startswith("Average perf")]
    floored = [task for task in tasks if any(_typed(line[task]) == 0 for line in lines)]
    if floored:
        yield f"scores of exactly 0 on {', '.join(floored)}: look whether they are a floor and no measurement"
    for line in lines:
        fixed = {
            "encoder": _encoder(line["name"], line["pretrained"]),
            "model": line["name"],
            "pretrained": line["pretrained"],
        }
        fixed |= {name: _typed(line[key]) for key, name in about.items() if key in line}
        for task in tasks:
            if (score := number(_typed(line[task]))) is not None:
                yield {**fixed, "task": task, "score": score, "unit": "fraction"}


def _encoder(model: Any, pretrained: Any) -> str:
    return f"{model} {pretrained}".strip()


def _typed(text: Any) -> Any:
    try:
        return float(str(text).replace(",", ""))
    except ValueError:
        return text


IMPORTER = Importer(
    "clip-benchmark",
    "CLIP benchmark's JSON files or built CSV, or OpenCLIP's wide CSV of results",
    reads="either",
    rows=rows,
    source="LAION-AI/CLIP_benchmark 48de38c1, mlfoundations/open_clip 89fb801f",
)

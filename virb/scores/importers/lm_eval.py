"""lm-evaluation-harness's output folder: MODEL/results_DATE.json (EleutherAI/lm-evaluation-harness)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virb.contracts.importer import Importer
from virb.scores.imported import load_json, number

_DATE = re.compile(r"(?:^|_)(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d[.\d]*)$")
_FRACTION = re.compile(r"acc\w*|exact_match|em|f1|pass@\d+|contains")
_ERRORS = ("word_perplexity", "byte_perplexity", "perplexity", "bits_per_byte", "ter", "brier_score")


def rows(path: Path) -> Iterator[Mapping[str, Any] | str]:
    """One row a task and metric, of the newest run that has it; groups, which average tasks, are left out."""
    found: dict[tuple[Any, ...], tuple[str, list[Mapping[str, Any]]]] = {}
    unsaid: set[str] = set()
    for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
        content = load_json(file)
        if not isinstance(content, dict) or not isinstance(content.get("results"), dict):
            continue
        stamp = _DATE.search(file.stem)
        when = stamp[1] if stamp else str(content.get("date") or "")
        members = content.get("group_subtasks") or {}
        averages = {name for name, of in members.items() if of} | set(content.get("groups") or {})
        left = sorted(averages & set(content["results"]))
        if left:
            yield f"{file.name}: left out, being averages of their tasks: {', '.join(left)}"
        for task, scores in content["results"].items():
            if task in averages:
                continue
            made = list(_of_task(content, task, scores, file, unsaid))
            if made:
                key = (made[0]["encoder"], task, *map(str, made[0]["group"].values()))
                if key not in found or found[key][0] <= when:
                    found[key] = (when, made)
    if unsaid:
        yield (
            f"nothing says whether higher is better for {', '.join(sorted(unsaid))}; it is taken so (--better TASK=lower says "
            "otherwise)"
        )
    for _, made in found.values():
        yield from made


def _of_task(
    content: Mapping[str, Any], task: str, scores: Mapping[str, Any], file: Path, unsaid: set[str]
) -> Iterator[Mapping[str, Any]]:
    def of(key: str) -> Any:
        return (content.get(key) or {}).get(task)

    config = content.get("config") or {}
    samples, whole = of("n-samples") or {}, of("configs") or {}
    values = {
        str(key).removesuffix(",none"): found for key, value in scores.items() if (found := number(value)) is not None
    }
    errors = {key: value for key, value in values.items() if key.partition(",")[0].endswith("_stderr")}
    metrics = {
        k: v for k, v in values.items() if k not in errors and k != "sample_len" and k.partition(",")[0] != "alias"
    }
    if not metrics:
        return
    listed = [str(m.get("metric")) for m in whole.get("metric_list") or () if isinstance(m, dict)]
    main = next((m for name in listed for m in metrics if m.partition(",")[0] == name), next(iter(metrics)))
    fixed = {
        "encoder": _model(content, file),
        "task": task,
        "seed": 0,
        "n_test": samples.get("effective"),
        "harness": content.get("git_hash"),
        "task_version": of("versions"),
        "group": {"version": of("versions"), "n-shot": of("n-shot"), "limit": config.get("limit")},
    }
    for metric, score in metrics.items():
        bare, _, chosen = metric.partition(",")
        is_higher = (of("higher_is_better") or {}).get(bare)
        if is_higher is None and bare in _ERRORS:
            is_higher = False
        if is_higher is None and not _FRACTION.fullmatch(bare) and metric == main:
            unsaid.add(f"{bare} on {task}")
        yield {
            **fixed,
            "metric": metric,
            "score": score,
            "better": "lower" if is_higher is False else "higher" if is_higher else None,
            "stderr": errors.get(f"{bare}_stderr,{chosen}" if chosen else f"{bare}_stderr"),
            "unit": "fraction" if _FRACTION.fullmatch(bare) else None,
            "is_main": metric == main,
        }


def _model(content: Mapping[str, Any], file: Path) -> str:
    if content.get("model_name"):
        return str(content["model_name"])
    given = (content.get("config") or {}).get("model_args")
    said = re.search(r"pretrained=([^,]+)", given) if isinstance(given, str) else None
    if isinstance(given, dict) and given.get("pretrained"):
        return str(given["pretrained"])
    return said[1] if said else file.parent.name


IMPORTER = Importer(
    "lm-eval",
    "lm-evaluation-harness's output folder, results_DATE.json, the newest run of each task",
    reads="either",
    rows=rows,
    source="EleutherAI/lm-evaluation-harness 4e7e0d47",
)

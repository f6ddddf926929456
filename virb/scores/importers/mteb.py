"""MTEB's results folder: ORG__MODEL/REVISION/TASK.json (embeddings-benchmark/results)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virb.contracts.importer import Importer
from virb.scores.imported import load_json, number, numbers_of

_FRACTION = re.compile(r"accuracy|f1\w*|ap\w*|lrap|v_measure|(ndcg|map|mrr|recall|precision|hit_rate)_at_\d+")
_ABOUT = {
    "embed_dim": "embed_dim",
    "release_date": "release_date",
    "license": "licence",
    "adapted_from": "adapted_from",
}


def rows(path: Path) -> Iterator[Mapping[str, Any] | str]:
    """One row a repeat and metric; several revisions of a model are several encoders, other settings of one are left out."""
    path = (path / "results" if (path / "results").is_dir() else path).resolve()
    files = next((f for pattern in ("*/*/*.json", "*/*.json", "*.json") if (f := _tasks(path, pattern))), [])
    revisions: dict[str, set[str]] = {}
    for file in files:
        revisions.setdefault(file.parent.parent.name, set()).add(file.parent.name)
    several = [model for model, found in revisions.items() if len(found) > 1]
    for model in several:
        yield f"{_spelled(model)} was scored in {len(revisions[model])} revisions, which are encoders of their own"
    for file in files:
        model, revision = file.parent.parent.name, file.parent.name
        encoder = _spelled(model) + (f"@{revision[:12]}" if model in several else "")
        content = load_json(file)
        if not isinstance(content, dict) or not isinstance(content.get("scores"), dict):
            yield f"{file} is no result of MTEB (no scores): left out"
            continue
        about = {
            **_meta(file.with_name("model_meta.json")),
            "organisation": model.partition("__")[0],
            "revision": revision,
        }
        yield from _of_file(content, {"encoder": encoder, **about, "harness": content.get("mteb_version")})


def _tasks(path: Path, pattern: str) -> list[Path]:
    found = sorted(path.glob(pattern))
    return [f for f in found if f.name != "model_meta.json" and "experiments" not in f.relative_to(path).parts]


def _spelled(folder: str) -> str:
    return folder.replace("__", "/", 1)


def _meta(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    meta = load_json(path)
    size = number(meta.get("n_parameters"))
    return {"params_m": size and size / 1e6, **{name: meta.get(key) for key, name in _ABOUT.items()}}


def _of_file(content: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[Mapping[str, Any] | str]:
    task = str(content["task_name"])
    splits = {split: entries for split, entries in content["scores"].items() if entries}
    if len(splits) > 1 and "test" in splits:
        yield f"{task}: of the splits {', '.join(splits)} the test split is taken"
        splits = {"test": splits["test"]}
    revision = content.get("dataset_revision")
    for split, entries in splits.items():
        for entry in entries:
            name = task if len(entries) == 1 else f"{task} [{entry.get('hf_subset')}]"
            # A revision of the data is said beside the scores (records.compare), as for records; a split is another task.
            fixed = {**about, "task": name, "data_digest": revision and str(revision)[:12], "split": split}
            yield from _of_entry(entry, {**fixed, "group": {"split": split}})


def _of_entry(entry: Mapping[str, Any], fixed: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    main = number(entry.get("main_score"))
    whole = {key: value for key, value in numbers_of(entry).items() if key != "main_score"}
    if main is not None and not any(abs(value - main) < 1e-6 for value in whole.values()):
        whole["main_score"] = main
    repeats = [numbers_of(again) for again in entry.get("scores_per_experiment") or () if isinstance(again, dict)]
    for metric, value in whole.items():
        row = {**fixed, "metric": metric, "is_main": main is not None and abs(value - main) < 1e-6}
        row["unit"] = "fraction" if _FRACTION.fullmatch(metric) else None
        single = [(seed, again[metric]) for seed, again in enumerate(repeats) if metric in again]
        for seed, score in single or [(0, value)]:
            yield {**row, "seed": seed, "score": score}


IMPORTER = Importer(
    "mteb",
    "MTEB's results folder, ORG__MODEL/REVISION/TASK.json, every repeat a row",
    reads="folder",
    rows=rows,
    source="embeddings-benchmark/results f4cc6c8b",
)

"""timm's results on ImageNet and its variants: results-*.csv (huggingface/pytorch-image-models)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from virb.contracts.importer import Importer
from virb.errors import ScoresError
from virb.system.documents import read_text

_MOST = 64 << 20


def rows(path: Path) -> Iterator[Mapping[str, Any] | str]:
    """Top-1 (and top-5) of every model at every size; the file's name is the task, model@size the encoder."""
    files = [path]
    if path.is_dir():
        folder = path / "results" if (path / "results").is_dir() else path
        found = sorted(folder.glob("results-*.csv"))
        files = [file for file in found if not file.stem.endswith("-clean")]
        if len(files) < len(found):
            left = [file.name for file in found if file not in files]
            yield f"left out: {', '.join(left)}, baselines on ImageNet's own images (timm:FILE reads one of them)"
    for file in files:
        yield from _of_file(file)


def _of_file(file: Path) -> Iterator[Mapping[str, Any]]:
    table = csv.DictReader(io.StringIO(read_text(file, most=_MOST), newline=""))
    absent = [name for name in ("model", "img_size", "top1") if name not in (table.fieldnames or ())]
    if absent:
        raise ScoresError(f"{file} has no column {', '.join(absent)}: it is no table of timm's results.")
    for line in table:
        model = line["model"]
        about = {
            "encoder": f"{model}@{line['img_size']}",
            "task": file.stem.removeprefix("results-"),
            "model": model,
            "tag": model.partition(".")[2],
            "img_size": float(line["img_size"]),
            # Millions, with a comma for thousands.
            "params_m": _number(line.get("param_count")),
            "crop_pct": _number(line.get("crop_pct")),
            "unit": "fraction",
        }
        for metric in ("top1", "top5"):
            score = _number(line.get(metric))
            if score is not None:
                yield {**about, "metric": metric, "score": score / 100, "is_main": metric == "top1"}


def _number(text: str | None) -> float | None:
    return float(text.replace(",", "")) if text else None


IMPORTER = Importer(
    "timm",
    "timm's results-*.csv: one file, or the folder of all six test sets",
    reads="either",
    rows=rows,
    source="huggingface/pytorch-image-models aa4b5850",
)

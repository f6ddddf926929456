"""The tasks of docs/tasks-of-your-own.md run as they are written there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from virb.cli import main

PAGE = (Path(__file__).parents[1] / "docs" / "tasks-of-your-own.md").read_text(encoding="utf-8")


def code(kind: str) -> str:
    found = re.search(rf"<!-- own task: {kind} -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def picture(seed: int, *, above: int, below: int = 60) -> np.ndarray:
    """An image of two grey levels and some noise."""
    pixels = np.random.default_rng(seed).normal(0, 8, (16, 16, 3)) + below
    pixels[:8] += above - below
    return pixels.clip(0, 255)


def scenes(root: Path) -> None:
    rows = ["image,split,place,labels"]
    for k in range(24):
        sea, sky = k % 2, k // 2 % 2
        save(root / "photos" / f"{k}.png", picture(k, above=80 + 150 * sky, below=60 + 150 * sea))
        labels = ";".join(name for name, holds in (("sea", sea), ("sky", sky)) if holds)
        rows.append(f"photos/{k}.png,{'train' if k < 16 else 'test'},place {k // 4},{labels}")
    (root / "labels.csv").write_text("\n".join(rows))


def ages(root: Path) -> None:
    for split, part in (("train", range(16)), ("test", range(16, 24))):
        rows = ["image,age"]
        for k in part:
            age = (7 * k) % 24
            save(root / "faces" / f"{k}.png", picture(k, above=40 + 8 * age))
            rows.append(f"faces/{k}.png,{'' if k == 3 else age}")
        (root / f"{split}.csv").write_text("\n".join(rows))


def shells(root: Path) -> None:
    for split, n in (("train", 6), ("val", 2), ("test", 4)):
        for level, name in enumerate(("cowrie", "whelk")):
            for k in range(n):
                save(root / split / name / f"{k}.png", picture(100 * n + 10 * level + k, above=60 + 120 * level))


def streets(root: Path) -> None:
    for split, n in (("train", 6), ("test", 3)):
        lines = []
        for k in range(n):
            name = f"v{k % 3}_{k}.png"
            save(root / split / name, picture(k, above=220))
            mask = np.full((16, 16), 255)
            mask[:8], mask[8:12] = 1, 0
            save(root / f"{split}annot" / name, mask)
            lines.append(f"/SegNet/{split}/{name} /SegNet/{split}annot/{name}")
        (root / f"{split}.txt").write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("kind", "write", "encoder", "probe", "least"),
    [
        ("labels", scenes, "pixels:8:size=16", "lbfgs", 0.95),
        ("number", ages, "pixels:8:size=16", "lbfgs", 0.8),
        ("class", shells, "pixels:8:size=16", "lbfgs", 1.0),
        ("mask", streets, "random:resnet18:width=0.125,size=32", "gradient", 0.0),
    ],
)
def test_it_runs_as_it_is_written(kind, write, encoder, probe, least, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIRB_INCLUDE", raising=False)
    name = write.__name__
    write(tmp_path / name)
    path = tmp_path / "own" / f"{name}.py"
    path.parent.mkdir()
    path.write_text(code(kind))
    where = ["--data", f"{name}={name}"]
    if kind != "mask":
        assert main(["validate", str(path), *where, "--encoder", "pixels:8:size=16"]) == 0, capsys.readouterr().out
    assert main(["evaluate", encoder, "--include", "own", "--tasks", name, *where, "--probe", probe]) == 0
    record = json.loads(next(Path("results").rglob("*seed0.json")).read_text())
    assert record["score"] >= least
    # What looking writes reads the same examples.
    assert main(["new", "task", f"{name}-too", "--from", name, "--out", "found"]) == 0
    where = ["--data", f"{name}-too={name}"]
    command = ["evaluate", encoder, "--include", "found", "--tasks", f"{name}-too", *where, "--probe", probe]
    assert main([*command, *(["--epochs", "1"] if kind == "mask" else [])]) == 0
    again = json.loads(next(Path("results").rglob(f"{name}-too/*seed0.json")).read_text())
    assert (again["n_train"], again["n_test"]) == (record["n_train"], record["n_test"])
    if kind in ("number", "class"):
        assert again["score"] == pytest.approx(record["score"])

"""The tasks that docs/tasks-of-your-own.md shows, run as they are written there."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from virb.cli import main

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_hierarchy_is_evaluated_at_every_level(tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "tasks-of-your-own.md").read_text(encoding="utf-8")
    section = page.split("<!-- label tree: begin -->")[1].split("<!-- label tree: end -->")[0]
    tree, code = (re.search(rf"```{kind}\n(.*?)```", section, re.DOTALL)[1] for kind in ("text", "python"))
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for k, name in enumerate(("egret", "heron", "robin", "wren")):
            folder = tmp_path / "birds" / split / name
            folder.mkdir(parents=True)
            for number in range(5):
                pixels = np.clip(rng.normal(50 + 50 * k, 10, (24, 32, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    (tmp_path / "birds" / "tree.csv").write_text(tree, encoding="utf-8")
    (tmp_path / "my-tasks").mkdir()
    (tmp_path / "my-tasks" / "birds.py").write_text(code, encoding="utf-8")
    (tmp_path / "encoders").symlink_to(ROOT / "encoders")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRB_INCLUDE", "")
    said = []
    for command in re.findall(r"^ {4}virb (.*)$", section, re.MULTILINE):
        assert main(shlex.split(command)) == 0, command
        said.append(capsys.readouterr().out)
    (row,) = csv.DictReader(Path("scores.csv").read_text(encoding="utf-8").splitlines())
    levels = [float(row[f"accuracy@{level}"]) for level in ("class", "family", "order")]
    assert levels == sorted(levels)
    assert [int(float(row[f"classes@{level}"])) for level in ("class", "family", "order")] == [4, 3, 2]
    assert float(row["score"]) == levels[0]
    assert sorted(said[2].splitlines()) == sorted(tree.splitlines())

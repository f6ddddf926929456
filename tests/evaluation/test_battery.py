"""Every part of ours passes the battery of its kind, each broken one fails it, and ``virb new`` writes sound ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from virb import registry
from virb.cli import main
from virb.cli.templates import KINDS, start
from virb.evaluation.batteries import check_part

OURS = [(kind, name) for kind in ("heads", "losses", "metrics", "executors") for name in registry.names(kind)]
# The other methods' heads are large.
OURS += [("methods", name) for name in ("simclr", "moco-v1", "pirl", "rotation", "random")]
OURS += [("backbones", name) for name in ("resnet", "pixels")]
OURS += [("analyses", name) for name in registry.names("analyses")]
OURS += [("probes", name) for name in registry.names("probes")]


@pytest.mark.parametrize(("kind", "name"), OURS)
def test_each_part_of_ours_is_sound(kind, name):
    checks = check_part(registry.find(kind, name))
    assert len(checks) > 1
    assert [check for check in checks if not check.is_ok] == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "task"])
def test_what_new_writes_is_sound_as_it_is(kind, tmp_path, capsys):
    name = {"column": "n_both"}.get(kind, "mine")
    assert main(["new", kind, name, "--out", str(tmp_path / "parts")]) == 0
    capsys.readouterr()
    assert main(["validate", str(tmp_path / "parts" / f"{name}.py"), "--json"]) == 0
    assert all(row["is_ok"] for row in json.loads(capsys.readouterr().out))
    assert (tmp_path / "parts" / f"test_{name}.py").exists()
    assert main(["list", KINDS[kind], "--include", str(tmp_path / "parts"), "--json"]) == 0
    assert name in {row["name"] for row in json.loads(capsys.readouterr().out)}
    assert main(["new", kind, name, "--out", str(tmp_path / "parts")]) == 2


BROKEN = [
    ("head", "nn.Linear(hidden, n_out)", "nn.Linear(hidden, n_out + 1)", "outputs"),
    (
        "head",
        "nn.ReLU(), nn.Linear(hidden, n_out)",
        "nn.Linear(hidden, n_out), nn.Softmax(1)",
        "heads train together|start",
    ),
    ("head", "import nn\n", "import nn\n    import torch\n    torch.manual_seed(0)\n", "seeds"),
    ("loss", 'reduction="sum"', 'reduction="mean"', "it adds up"),
    ("loss", "label_smoothing=0.1, ", "label_smoothing=0.1, weight=-torch_ones(), ", "it adds up"),
    ("metric", '    better="lower",\n', "", "which way is better"),
    ("metric", "self.wrong += other.wrong", "pass", "order and merging"),
    ("metric", "self.check_not_empty()", "pass", "nothing given"),
    ("metric", '"wrong": np.array(self.wrong)', '"wrong": np.array(self.wrong[:-1])', "what is kept"),
    ("metric", 'mean_of("wrong")', 'mean_of("right")', "what single examples make"),
    ("metric", "resampling=mean_of", "resampling=errors", "loads"),
    ("metric", '"wrong": np.array(self.wrong)}', '"wrong": ~np.array(self.wrong)}', "what single examples make"),
    ("probe", "means) ** 2", "means * np.random.rand()) ** 2", "seeds"),
    ("probe", ".sum(axis=2)", ".sum(axis=1)", "outputs"),
    ("analysis", "best['mean_z']:+.2f", "tables.parts", "every usual column, awkward names"),
    ("analysis", "    draw=draw,\n", "", "three functions|loads"),
    ("analysis", "{best['mean_z']:+.2f}", "{id(tables)}", "a sparse table"),
]


@pytest.mark.parametrize(("kind", "right", "wrong", "check"), BROKEN)
def test_a_fault_is_found_by_the_check_that_is_about_it(kind, right, wrong, check, content_folder: Path):
    text = start(kind).replace("NAME", "mine")
    assert right in text
    path = content_folder / "mine.py"
    path.write_text(text.replace(right, wrong))
    (entry,) = registry.entries_of(path)
    failed = [found.name for found in check_part(entry) if not found.is_ok]
    assert any(name in found for found in failed for name in check.split("|")), failed


def test_validate_says_of_a_file_without_a_part_what_it_looks_for(tmp_path, capsys):
    (tmp_path / "empty.py").write_text("x = 1\n")
    assert main(["validate", str(tmp_path / "empty.py")]) == 2
    assert "assigns none of TASK, METHOD" in capsys.readouterr().err

"""The grid is scored on a validation part of train; the test split is not even opened."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from virb import registry
from virb.cli import main
from virb.contracts.examples import DataContext
from virb.contracts.options import RunOptions
from virb.evaluation.tuning import tune
from virb.probes import gradient

ENCODER = "pixels:4:size=16"
TASK = """
from virb.contracts.task import Category, Protocol, Task


def data(context, split):
    import numpy as np

    from virb.contracts.examples import Examples
    from virb.images.sets import ArrayImages

    assert split == "train", "the test split was read"
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 4
    images = rng.integers(0, 60, (40, 16, 16, 3)).astype(np.uint8)
    for k, label in enumerate(labels):
        images[k, 4 * label : 4 * label + 4] += 150
    return Examples(ArrayImages.of("blocks", images), np.arange(40)[:, None], labels, [str(k) for k in range(40)])


TASK = Task(name="blocks", summary="s", category=Category.SEMANTIC_IMAGE, head="linear", loss="cross_entropy",
            metric="top1", data=data, classes=4, protocol=Protocol(epochs=40))
"""


@pytest.fixture
def argv(tmp_path: Path) -> list[str]:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "blocks.py").write_text(TASK)
    return ["tune", ENCODER, "--tasks", "blocks", "--include", str(tmp_path / "own"), "--out", str(tmp_path / "tuning")]


def test_it_scores_the_grid_without_the_test_split(argv, tmp_path, capsys):
    assert main([*argv, "--grid", "adam:1e-6,adam:1e-2", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["optimizer"], row["lr"]) for row in rows] == [("adam", 1e-6), ("adam", 1e-2)]
    assert rows[1]["is_best"]
    assert rows[1]["score"] > rows[0]["score"]
    ids = [set(np.load(path)["ids"]) for path in (tmp_path / "tuning").rglob("*.npz")]
    assert [len(part) for part in ids] == [8, 8]
    assert ids[0] == ids[1]
    assert main([*argv, "--grid", "adam:1e-6,adam:1e-2"]) == 0
    assert "validation score" in capsys.readouterr().out


def test_the_grid_trains_as_one_problem_with_the_scores_of_each_setting_alone(argv, tmp_path, monkeypatch):
    sizes = []
    train = gradient.train_heads
    monkeypatch.setattr(
        gradient, "train_heads", lambda *a, **given: sizes.append(len(given["settings"])) or train(*a, **given)
    )
    assert main([*argv, "--grid", "sgd:1e-2,adam:1e-2,adam:1e-3"]) == 0
    assert sizes == [3]
    alone = [*argv[:-1], str(tmp_path / "alone")]
    for setting in ("sgd:1e-2", "adam:1e-2", "adam:1e-3"):
        assert main([*alone, "--grid", setting]) == 0
    assert sizes == [3, 1, 1, 1]
    files = {path.relative_to(tmp_path / "tuning"): path for path in (tmp_path / "tuning").rglob("*.npz")}
    assert len(files) == 3
    found = {str(name): np.load(path) for name, path in files.items()}
    for name, predictions in found.items():
        same = np.load(tmp_path / "alone" / name)
        for key in predictions.files:
            np.testing.assert_array_equal(predictions[key], same[key])
    records = [json.loads(path.with_suffix(".json").read_text()) for path in files.values()]
    assert {(r["protocol"]["optimizer"], r["protocol"]["lr"]) for r in records} == {
        ("sgd", 1e-2), ("adam", 1e-2), ("adam", 1e-3)
    }  # fmt: skip


def test_one_setting_that_diverges_leaves_the_others_their_scores(argv, tmp_path, capsys):
    assert main([*argv, "--grid", "sgd:3e38,adam:1e-2"]) == 1
    shown = capsys.readouterr()
    assert "lr 3e+38" in shown.err
    assert len(list((tmp_path / "tuning").rglob("*adam-0.01*/*.json"))) == 1


def test_a_grid_that_cannot_be_read_is_explained(argv, capsys):
    assert main([*argv, "--grid", "adam=3"]) == 2
    assert "OPTIMIZER:RATE" in capsys.readouterr().err


def test_a_task_without_heads_of_its_own_is_refused(argv, capsys):
    argv[argv.index("blocks")] = "mini-object-class-shift"
    assert main(argv) == 2
    assert "tune mini-object-class" in capsys.readouterr().err


def test_finetuning_searches_rates_and_decays_on_validation(argv, tmp_path, capsys):
    argv[1] = "random:resnet18:width=0.125,size=32"
    argv += ["--probe", "finetune", "--steps", "2", "--batch-size", "8", "--json"]
    assert main([*argv, "--grid", "sgd:1e-3:0.1,nesterov:0.1:0"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["optimizer"], row["lr"], row["weight_decay"]) for row in rows] == [
        ("sgd", 1e-3, 0.1), ("nesterov", 0.1, 0.0)
    ]  # fmt: skip
    records = [json.loads(path.read_text()) for path in (tmp_path / "tuning").rglob("*-seed0.json")]
    assert sorted(record["protocol"].get("weight_decay", 0.0) for record in records) == [0.0, 0.1]
    assert {record["protocol"]["steps"] for record in records} == {2}
    assert main([*argv, "--grid", "kotar"]) == 2
    assert "it has pretrained, untrained" in capsys.readouterr().err


def test_simclrs_grids_are_the_papers():
    grids = registry.load("probes", "finetune").grids
    assert len(grids["pretrained"]) == len(grids["untrained"]) == 7 * 8
    for name, rates, decays in (("pretrained", (1e-4, 0.1), (0, 1e-3)), ("untrained", (1e-3, 1), (1e-5, 10**-1.5))):
        lrs = [setting["lr"] for setting in grids[name]]
        assert (min(lrs), max(lrs)) == rates
        found = [setting["weight_decay"] * setting["lr"] for setting in grids[name]]
        assert (min(found), max(found)) == pytest.approx(decays, rel=1e-3)
        assert all(lrs.count(lr) == 8 for lr in lrs)


def test_the_best_of_errors_is_the_least(tmp_path):
    from tests.evaluation.test_targets import NUMBER, task

    table, failures = tune(
        "pixels:4:size=16", [task("brightness", **NUMBER)], context=DataContext(), options=RunOptions(out=str(tmp_path)),
        grid=[{"lr": 1e-6}, {"lr": 1e-2}],
    )  # fmt: skip
    assert failures == []
    assert table.loc[table["is_best"], "lr"].tolist() == [1e-2]
    assert table["score"].idxmin() == table["is_best"].idxmax()

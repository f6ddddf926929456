"""Image-level tasks whose targets are numbers or several labels: every probe, from the data to the record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import virb
from virb import probes, registry
from virb.contracts.examples import DataContext, Examples
from virb.contracts.task import Category, Protocol, Task
from virb.errors import BrokenPart, DataError, UsageError, VirbError
from virb.evaluation.checks import checked
from virb.evaluation.parts import parts_of
from virb.evaluation.validation import validate
from virb.images.sets import ArrayImages

ENCODER = "pixels:4:size=16"
NUMBER = {"head": "linear", "loss": "l2", "metric": "rmse", "unit": "degree"}
LABELS = {"head": "linear", "loss": "bce", "metric": "map", "classes": ("red", "green", "blue")}


def task(name: str, targets=None, **changes) -> Task:
    """Images of one colour; their brightness in degrees is the number, the channels that are bright the labels."""

    def data(context: DataContext, split: str) -> Examples:
        rng = np.random.default_rng([3, split == "test"])
        colour = rng.integers(0, 256, (60, 1, 1, 3)).astype(np.uint8)
        pixels = np.broadcast_to(colour, (60, 8, 8, 3)).copy()
        pixels[:, 0, 0, 0] = np.arange(60) + (60 if split == "test" else 0)  # no image is in both splits
        bright = colour.reshape(60, 3) > 127
        found = bright.astype(np.int64) if "classes" in changes else colour.reshape(60, 3).mean(1) * 3.6
        if targets is not None:
            found = targets(found)
        ids = [f"{split}{k}" for k in range(60)]
        return Examples(ArrayImages.of(f"{name} {split}", pixels), np.arange(60)[:, None], found, ids)

    declared = {"summary": "colours", "category": Category.STRUCTURAL_IMAGE, "protocol": Protocol(epochs=60, lr=1e-2)}
    return Task(name=name, data=data, **{**declared, **changes})


def able(target: str) -> list[str]:
    """The probes that take such targets, but for one whose published rate is not for raw pixels."""
    return [name for name in registry.names("probes") if target in probes.find(name).takes and name != "linear_sgd"]


@pytest.mark.parametrize("probe", able("number"))
def test_numbers_are_predicted_in_their_own_unit(tmp_path, probe):
    encoder = ENCODER if probe not in ("finetune", "attentive") else "random:resnet18:width=0.125,size=32"
    table = virb.evaluate([encoder], [task("brightness", **NUMBER)], out=tmp_path, probe=probe, device="cpu")
    (row,) = table.to_dict("records")
    assert (row["metric"], row["unit"], row["better"]) == ("rmse", "degree", "lower")
    (path,) = tmp_path.rglob("*-seed0.json")
    record = json.loads(path.read_text())
    assert set(record["metrics"]) == {"rmse", "mae", "r2"}
    assert record["score"] == record["metrics"]["rmse"] == row["score"]
    with np.load(path.with_suffix(".npz")) as predicted:
        target = predicted["target"]
        error = predicted["prediction"] - target
    assert record["score"] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert record["metrics"]["r2"] > 0.4  # in degrees, of which the targets span hundreds: it was brought back
    assert record["protocol"]["target_scale"][0] == pytest.approx(np.std(target), rel=0.5)


@pytest.mark.parametrize("probe", able("labels"))
def test_several_labels_are_scored_class_by_class(tmp_path, probe):
    def some_unknown(found: np.ndarray) -> np.ndarray:
        return np.where(np.arange(60)[:, None] % 10 == [0, 1, 2], -1, found)

    encoder = ENCODER if probe not in ("finetune", "attentive") else "random:resnet18:width=0.125,size=32"
    labels = task("bright", some_unknown, **LABELS)
    table = virb.evaluate([encoder], [labels], out=tmp_path, probe=probe, device="cpu")
    assert table["unit"].tolist() == ["fraction"]
    (path,) = tmp_path.rglob("*-seed0.json")
    record = json.loads(path.read_text())
    assert list(record["per_class"]) == ["red", "green", "blue"]
    assert record["score"] == pytest.approx(np.mean(list(record["per_class"].values())))
    assert record["score"] > (0.9 if probe == "lbfgs" else 0.6)


def test_several_numbers_an_example_train_together(tmp_path):
    both = task("both", lambda found: np.stack([found, -found], axis=1), **{**NUMBER, "options": {"out_channels": 2}})
    table = virb.evaluate([ENCODER], [both], out=tmp_path, probe="lbfgs", device="cpu")
    assert table["score"].item() < 25


@pytest.mark.parametrize("declared", [NUMBER, LABELS], ids=["number", "labels"])
def test_such_tasks_pass_the_checks_of_validate(declared):
    checks = validate(task("sound", **declared), DataContext(), encoder=ENCODER)
    assert all(check.is_ok for check in checks), checks
    assert checks[-1].name == "a head trains"


def test_validate_names_numbers_that_do_not_differ_and_labels_that_never_hold():
    (constant,) = (c for c in validate(task("flat", np.zeros_like, **NUMBER), DataContext()) if not c.is_ok)
    assert "number 0 is 0 in every example" in constant.detail
    failed = [
        c for c in validate(task("none", lambda found: found * [1, 1, 0], **LABELS), DataContext()) if not c.is_ok
    ]
    assert "the first is 'blue'" in failed[0].detail


@pytest.mark.parametrize(
    ("declared", "targets", "says"),
    [
        (NUMBER, lambda found: found.astype(str), "must be numbers"),
        (NUMBER, lambda found: np.stack([found, found], 1), "must be numbers"),
        (
            NUMBER,
            lambda found: np.where(np.arange(60) == 4, np.inf, found),
            "numbers, or NaN for none; the first is inf of train4",
        ),
        (NUMBER, lambda found: found * np.nan, "has no target"),
        (LABELS, lambda found: found[:, 0], "must be numbers"),
        (LABELS, lambda found: found * 0.5, "-1 .not known."),
        (LABELS, lambda found: found + (np.arange(60) == 7)[:, None] * 2, "-1 .not known.; the first is .* of train7"),
    ],
)
def test_targets_that_are_not_as_declared_are_refused_at_the_door(tmp_path, declared, targets, says):
    wrong = task("wrong", targets, **declared)
    with pytest.raises(DataError, match=says):
        checked(wrong, "train", wrong.examples(DataContext(), "train"))
    with pytest.raises(VirbError, match=says):
        virb.evaluate([ENCODER], [wrong], out=tmp_path, probe="knn", device="cpu")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"head": "mlp"}, "Unknown head 'mlp'"),
        ({"loss": "l3"}, "Unknown loss 'l3'.*Did you mean"),
        ({"metric": "rsme"}, "Unknown metric 'rsme'.*Did you mean 'rmse'"),
        ({"loss": "bce"}, "no target that fits"),
        ({"category": Category.STRUCTURAL_PIXEL}, "There is no target that fits|reads embedding"),
        ({"head": "unet"}, "its head unet reads pyramid"),
        ({"head": "fusion"}, "1 frames an example"),
        ({"classes": 3}, "has numbers, and no classes"),
        ({"options": {"hidden": 3}}, "option 'hidden', which is none"),
        ({"options": {"out_channels": 2}, "target": "map"}, "no target that fits"),
    ],
)
def test_parts_that_do_not_fit_are_refused_before_anything_runs(tmp_path, changes, says):
    wrong = task("wrong", **{**NUMBER, **changes})
    with pytest.raises(UsageError, match=says):
        parts_of(wrong)
    with pytest.raises((UsageError, BrokenPart), match=says):
        virb.evaluate([ENCODER], [wrong], out=tmp_path / "out", device="cpu")
    assert not list(Path(tmp_path).rglob("*.json"))

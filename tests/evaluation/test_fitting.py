"""What a probe or a label budget is not for is said before an encoder is read: all of it, with what to do instead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import virb
from virb import probes
from virb.contracts.budget import WHOLE, Budget
from virb.contracts.examples import DataContext, Examples
from virb.contracts.options import RunOptions
from virb.contracts.task import Category, Protocol, Task
from virb.errors import UsageError
from virb.evaluation import run as evaluation
from virb.evaluation.fitting import fitting, refusals
from virb.evaluation.tuning import tune
from virb.evaluation.units import select_tasks
from virb.images.sets import ArrayImages
from virb.system.progress import Progress


def no_data(context, split):
    raise AssertionError("no data are needed to say it")


POINTS = Task(
    name="points",
    summary="where points of one image lie in another",
    category=Category.STRUCTURAL_PIXEL,
    head="match",
    loss="",
    metric="pck",
    n_frames=2,
    options={"out_channels": 2},
    data=no_data,
    protocol=Protocol(epochs=1),
)
DEPTH = replace(POINTS, name="depth", metric="abs_rel", quantity="depth", options={})
FACES = Task(
    name="faces",
    summary="whose face it is",
    category=Category.SEMANTIC_IMAGE,
    head="retrieve",
    loss="",
    metric="top1",
    classes=3,
    data=no_data,
    protocol=Protocol(epochs=1),
)
FOUND = replace(FACES, name="found", metric="retrieval_map", classes=0)
SIDES = replace(FACES, name="sides", head="linear", loss="cross_entropy")
SHADES = replace(DEPTH, name="shades", head="unet", loss="l1", n_frames=1)


@pytest.fixture
def nothing_is_read(monkeypatch):
    def read(*args, **options):
        raise AssertionError("an encoder was read")

    monkeypatch.setattr(evaluation, "load_encoders", read)


@pytest.mark.usefixtures("nothing_is_read")
@pytest.mark.parametrize(
    ("probe", "tasks", "said"),
    [
        ("linear-dense", [POINTS, DEPTH, SIDES], ["points: its head match does not train", "sides: a task (class)"]),
        ("linear-dense-layers", [POINTS], ["names no loss, by which a linear layer learns numbers"]),
        ("finetune", [FACES, SIDES, POINTS], ["faces: its head retrieve does not train", "points: a pixelwise task (map)"]),
        ("attentive", [SIDES, FACES], ["faces: Task 'faces' names no loss, and its head attentive_pool trains"]),
        ("knn-dense", [POINTS, DEPTH], ["targets are mask", "points, depth: a pixelwise task (map)"]),
        ("lbfgs", [POINTS], ["class, labels, number", "points: a pixelwise task (map)"]),
    ],
)  # fmt: skip
def test_all_that_a_probe_cannot_be_fitted_to_is_named_before_an_encoder_is_read(tmp_path, probe, tasks, said):
    with pytest.raises(UsageError) as refused:
        virb.evaluate(["pixels:2:size=16"], tasks, probe=probe, out=tmp_path / "results")
    for words in said:
        assert words in str(refused.value)
    assert 'Use probe="gradient"' in str(refused.value)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("probe", "fits"),
    [
        ("gradient", ["points", "depth", "faces", "sides"]),
        ("linear-dense", ["depth"]),
        ("finetune", ["sides"]),
        ("attentive", ["sides"]),
        ("knn", ["faces", "sides"]),
        ("lbfgs", ["faces", "sides"]),
        ("linear_sgd", ["faces", "sides"]),
    ],
)
def test_of_a_suite_the_others_are_left_out_with_the_reason(capsys, probe, fits):
    tasks = [POINTS, DEPTH, FACES, SIDES]
    found = fitting(probes.find(probe), tasks, [WHOLE], is_named=False, progress=Progress())
    assert [task.name for task in found] == fits
    noted = capsys.readouterr().err
    for task in tasks:
        assert (f"{task.name}" in noted) == (task.name not in fits)


@pytest.mark.usefixtures("nothing_is_read")
@pytest.mark.parametrize(
    ("options", "said", "fit"),
    [
        (
            {"labels_per_class": 5},
            ["labels_per_class= is for tasks whose targets are class, labels, number", "points, shades: a pixelwise task (map)", "found: a task (relevance)"],
            "sides",
        ),
        ({"labels_per_class": [1, 5], "label_fraction": 1}, ["points, shades: a pixelwise task (map)"], "sides"),
        ({"label_fraction": 0.1}, ["label_fraction= is for tasks", "found: a task (relevance); points: its head match does not train. Name other tasks"], "sides, shades"),
        (
            {"labels_per_class": 5, "probe": "lbfgs"},
            ["found: a task (relevance)", 'probe="lbfgs" is for', "points, shades: a pixelwise task (map)"],
            "sides",
        ),
        ({"epochs": 1}, ["epochs= is for heads that train", "points: its head match does not train", "found: its head retrieve does not train. Use no epochs= there"], "sides, shades"),
        ({"lr": 0.1, "batch_size": 8}, ["batch_size= or lr= is for heads that train", "Use no batch_size= or lr= there"], "sides, shades"),
    ],
)  # fmt: skip
def test_all_that_a_label_budget_is_not_for_is_named_before_an_encoder_is_read(tmp_path, options, said, fit):
    with pytest.raises(UsageError) as refused:
        virb.evaluate(["pixels:2:size=16"], [POINTS, SIDES, FOUND, SHADES], out=tmp_path / "results", **options)
    for words in said:
        assert words in str(refused.value)
    assert str(refused.value).endswith(f"these fit: {fit}.")


@pytest.mark.usefixtures("nothing_is_read")
def test_another_budget_is_named_where_it_does_for_all_that_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"shades: a pixelwise task \(map\). Use label_fraction= there"):
        virb.evaluate(["pixels:2:size=16"], [SHADES], out=tmp_path / "results", labels_per_class=5)


@pytest.mark.parametrize(
    ("budgets", "fits"),
    [
        ([Budget(labels_per_class=5)], ["sides"]),
        ([Budget(label_fraction=0.1)], ["shades", "sides"]),
        ([Budget(labels_per_class=5), Budget(label_fraction=0.1)], ["shades", "sides"]),
        ([Budget(label_fraction=0.1), WHOLE], ["shades", "points", "sides", "found"]),
    ],
)
def test_of_a_suite_what_a_budget_is_not_for_is_left_out_with_a_note(capsys, budgets, fits):
    tasks = [SHADES, POINTS, SIDES, FOUND]
    found = fitting(probes.find("gradient"), tasks, budgets, is_named=False, progress=Progress())
    assert [task.name for task in found] == fits
    assert "found: a task (relevance)" in capsys.readouterr().err


def test_a_suite_of_which_nothing_fits_is_refused():
    budgets = [Budget(labels_per_class=5)]
    with pytest.raises(UsageError, match=r"shades: a pixelwise task \(map\). Use label_fraction="):
        fitting(probes.find("gradient"), [SHADES], budgets, is_named=False, progress=Progress())


def test_no_record_says_that_a_head_trained_which_did_not(capsys):
    """Of a suite these tasks are left out where training departs from the protocol; other departures are for them too."""
    tasks, gradient = [POINTS, SIDES, FOUND], probes.find("gradient")
    found = fitting(gradient, tasks, [WHOLE], given={"steps": 3, "limit": 4}, is_named=False, progress=Progress())
    assert [task.name for task in found] == ["sides"]
    noted = capsys.readouterr().err
    assert "steps= does not fit these tasks" in noted
    assert "points: its head match does not train" in noted
    assert fitting(gradient, tasks, [WHOLE], given={"limit": 4}, is_named=True, progress=Progress()) == tasks
    with pytest.raises(UsageError, match="head of found does not train, so there is nothing to tune"):
        tune("pixels:2:size=8", [FOUND], context=DataContext())


def test_a_task_takes_those_budgets_of_a_suite_that_are_for_it(tmp_path):
    """Here relevance has no share of labels, and is scored with all of them beside a class with both."""

    def data(context, split):
        images = ArrayImages.of("squares", np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), dtype=np.uint8))
        ids = [f"{split}{k}" for k in range(8)]
        return Examples(images, np.arange(8)[:, None], np.arange(8) % 2, ids)

    def relevance(context, split):
        return replace(data(context, split), targets=np.arange(8) if split == "train" else np.eye(8, dtype=np.int8))

    def places(context, split):
        return replace(
            data(context, split), frames=np.arange(8).reshape(4, 2), targets=np.zeros((4, 8, 8, 2)), ids="abcd"
        )

    tasks = [replace(SIDES, classes=2, data=data), replace(FOUND, data=relevance), replace(POINTS, data=places)]
    outcome = evaluation.run(
        "pixels:2:size=8",
        tasks,
        context=DataContext(),
        options=RunOptions(out=str(tmp_path), label_fraction=(0.5, 1)),
        may_leave_out=True,
    )
    assert outcome.failures == []
    found = outcome.table.sort_values(["task", "label_fraction"])[["task", "label_fraction"]]
    assert found.values.tolist() == [["found", 1.0], ["points", 1.0], ["sides", 0.5], ["sides", 1.0]]


def test_a_task_that_scores_the_heads_of_another_fits_what_these_fit():
    shifted = replace(FACES, name="shifted", heads_of="sides")
    finetune = probes.find("finetune")
    assert refusals(finetune, [SIDES, shifted]) == {}
    assert set(refusals(finetune, [FACES, replace(shifted, heads_of="faces")])) == {"faces", "shifted"}


def test_every_task_that_comes_along_fits_some_probe_and_is_refused_without_its_data():
    tasks, _ = select_tasks(
        ["navi", "spair-71k", "copydays", "mini-depth", "mini-count", "mini-correspondence"], None, []
    )
    assert set(refusals(probes.find("linear-dense"), tasks)) == {"navi", "spair-71k", "copydays", "mini-count"}
    assert refusals(probes.find("gradient"), tasks) == {}

"""What a probe cannot be fitted to is said before an encoder is read: all of it, with what to do instead."""

from __future__ import annotations

from dataclasses import replace

import pytest

import virb
from virb import probes
from virb.contracts.task import Category, Protocol, Task
from virb.errors import UsageError
from virb.evaluation import run as evaluation
from virb.evaluation.fitting import fitting, refusals
from virb.evaluation.units import select_tasks
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
SIDES = replace(FACES, name="sides", head="linear", loss="cross_entropy")


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
    found = fitting(probes.find(probe), tasks, is_named=False, progress=Progress())
    assert [task.name for task in found] == fits
    noted = capsys.readouterr().err
    for task in tasks:
        assert (f"{task.name}" in noted) == (task.name not in fits)


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

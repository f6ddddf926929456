"""Whether a job is done is decided by content: what decides its score, and nothing else, computes it again."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import virb
from virb.contracts.examples import DataContext, Examples
from virb.contracts.options import RunOptions
from virb.contracts.task import Category, Protocol, Task
from virb.errors import DataAbsent, UsageError
from virb.evaluation import run as evaluation
from virb.evaluation.guard import failure, is_out_of_memory
from virb.images.sets import ArrayImages
from virb.system.progress import Progress

WIDE = "random:resnet18:width=0.125,size=32"


class Notes(Progress):
    def __init__(self) -> None:
        super().__init__(is_quiet=True)
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def task(name: str = "mine", *, seed: int = 0, flip: int = 0, is_gone: bool = False, **given: Any) -> Task:
    """Dark and light images; ``flip`` labels of the test split are exchanged."""

    def data(context: DataContext, split: str) -> Examples:
        if is_gone:
            raise DataAbsent("there is no folder mine.")
        rng = np.random.default_rng([seed, split == "test"])
        labels = np.arange(10) % 2
        pixels = rng.integers(0, 60, (10, 8, 8, 3)) + labels[:, None, None, None] * 190
        labels[: flip if split == "test" else 0] ^= 1
        images = ArrayImages.of(split, pixels.astype(np.uint8))
        return Examples(images, np.arange(10)[:, None], labels, [f"{split}{k}" for k in range(10)])

    made = Task(
        name=name, summary="", category=Category.SEMANTIC_IMAGE, head="linear", loss="cross_entropy", metric="top1",
        data=data, classes=("dark", "light"), protocol=Protocol(epochs=1),
    )  # fmt: skip
    return replace(made, **given)


def run(
    out: Path, of: Task, *, encoders: Any = "pixels:4:size=8", probe: str = "knn", **given: Any
) -> tuple[Any, list[str]]:
    progress = Notes()
    options = RunOptions(out=str(out), probe=probe, device="cpu", **given)
    return evaluation.run(encoders, of, context=DataContext(), options=options, progress=progress), progress.notes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"flip": 5}, "data.test.targets"),
        ({"seed": 1}, "data.test.images"),
        ({"metric": "mean_per_class"}, "task.metric.name: top1, now mean_per_class"),
        ({"classes": ("light", "dark")}, "task.class_names"),
    ],
)
def test_what_decides_the_score_computes_it_again(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    assert run(tmp_path, task())[0].n_run == 1
    outcome, notes = run(tmp_path, task(**change))
    assert (outcome.n_run, outcome.n_present) == (1, 0)
    assert any(said in note for note in notes)
    assert run(tmp_path, task(**change))[0].n_run == 0


def test_an_edited_protocol_computes_the_trained_head_again_and_not_the_vote(tmp_path: Path) -> None:
    longer = task(protocol=Protocol(epochs=2))
    for probe, n_again in (("gradient", 1), ("knn", 0)):
        assert run(tmp_path, task(), probe=probe)[0].n_run == 1
        assert run(tmp_path, longer, probe=probe)[0].n_run == n_again


def test_words_are_written_anew_and_nothing_is_computed(tmp_path: Path) -> None:
    run(tmp_path, task())
    (path,) = tmp_path.glob("*/*/*.json")
    before = path.read_bytes()
    run(tmp_path, task())
    assert path.read_bytes() == before
    outcome, _ = run(tmp_path, task(version=7))
    assert (outcome.n_run, outcome.table["task_version"].tolist()) == (0, [7])
    table = virb.evaluate(
        "pixels:4:size=8",
        task(),
        out=tmp_path,
        probe="knn",
        meta={"pixels-4-size8": {"role": "baseline", "lr": float("nan")}},
    )
    assert table["role"].tolist() == ["baseline"]
    assert json.loads(path.read_text())["score"] == json.loads(before)["score"]


def test_a_renamed_folder_of_results_follows_its_encoder(tmp_path: Path) -> None:
    run(tmp_path, task())
    (tmp_path / "pixels-4-size8").rename(tmp_path / "new")
    outcome, _ = run(tmp_path, task(), encoders="pixels:4:size=8,name=new")
    assert (outcome.n_run, outcome.table["encoder"].tolist()) == (0, ["new"])


@pytest.mark.parametrize("damage", ["json", "npz", "gone", "old"])
def test_damage_is_computed_again(tmp_path: Path, damage: str) -> None:
    run(tmp_path, task())
    (path,) = tmp_path.glob("*/*/*.json")
    right = json.loads(path.read_text())
    predictions = path.with_suffix(".npz")
    if damage == "json":
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "npz":
        predictions.write_bytes(predictions.read_bytes()[:-9])
    elif damage == "gone":
        predictions.unlink()
    else:
        path.write_text(json.dumps({**right, "schema": "virb-record/1"}))
    outcome, _ = run(tmp_path, task())
    found = json.loads(path.read_text())
    assert outcome.n_run == 1
    assert {**found, "seconds": 0} == {**right, "seconds": 0}


def test_without_the_data_records_are_shown_as_not_checked(tmp_path: Path) -> None:
    run(tmp_path, task())
    outcome, notes = run(tmp_path, task(is_gone=True))
    assert (len(outcome.table), outcome.n_present, outcome.failures) == (1, 1, [])
    assert "1 record is shown as found and not checked against the data" in notes[0]
    outcome, _ = run(tmp_path, task(is_gone=True), encoders=["pixels:4:size=8", "pixels:2:size=8"])
    assert (len(outcome.table), len(outcome.failures)) == (1, 1)


def test_an_encoder_that_cannot_do_a_task_costs_its_own_jobs(tmp_path: Path) -> None:
    def masks(context: DataContext, split: str) -> Examples:
        found = task().data(context, split)
        return replace(found, targets=[np.full((8, 8), k % 2) for k in range(10)])

    dense = task("masks", data=masks, category=Category.SEMANTIC_PIXEL, head="deeplabv3plus", metric="miou")
    options = RunOptions(out=str(tmp_path), device="cpu")
    flat = virb.wrap(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4)), name="flat", size=8
    )  # has no maps
    outcome = evaluation.run([WIDE, flat], [dense, task()], context=DataContext(), options=options)
    assert outcome.table.groupby("task").size().to_dict() == {"masks": 1, "mine": 2}
    (failed,) = outcome.failures
    assert "flat" in failed.what
    assert "masks" in failed.what


def test_names_that_differ_by_case_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'Enc' and 'enc', which differ by case alone"):
        run(tmp_path, task(), encoders=["pixels:4:size=8,name=Enc", "pixels:2:size=8,name=enc"])
    run(tmp_path, task(), encoders="pixels:4:size=8,name=Enc")
    with pytest.raises(UsageError, match="has a folder Enc, and enc differs from it by case alone"):
        run(tmp_path, task(), encoders="pixels:4:size=8,name=enc")


def test_what_killed_runs_left_is_collected(tmp_path: Path) -> None:
    run(tmp_path, task())
    folder = next(tmp_path.glob("*/*"))
    for name, age in ((".gradient-seed0.json.a.tmp", 7200), (".gradient-seed0.json.b.tmp", 0)):
        (folder / name).write_text("")
        if age:
            os.utime(folder / name, (1_600_000_000, 1_600_000_000))
    run(tmp_path, task())
    assert [path.name for path in folder.glob(".*")] == [".gradient-seed0.json.b.tmp"]  # somebody may be writing it


def test_want_of_memory_is_a_sentence() -> None:
    for error in (MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")):
        assert is_out_of_memory(error)
        assert "the memory is not enough" in failure("a", error).reason
    assert not is_out_of_memory(RuntimeError("shape"))


def test_why_says_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from virb import registry
    from virb.evaluation.why import why

    load = registry.load
    run(tmp_path / "results", task())
    (path,) = (tmp_path / "results").glob("*/*/*.json")
    for now, said in (
        (task(), []),
        (task(flip=5), ["data.test.targets"]),
        (task(is_gone=True), ["data: not compared"]),
    ):
        monkeypatch.setattr(registry, "load", lambda kind, name, now=now: now if kind == "tasks" else load(kind, name))
        assert [reason.partition(":")[0] for reason in why(path, context=DataContext())] == [
            line.partition(":")[0] for line in said
        ]
    shutil.copy(path, path.with_name("knn-seed4.json"))
    (reason,) = why(path.with_name("knn-seed4.json"), context=DataContext())
    assert "is not the record of its place" in reason


def test_why_names_the_part_of_the_encoder_that_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from virb import registry
    from virb.evaluation.why import why

    load = registry.load
    monkeypatch.setattr(registry, "load", lambda kind, name: task() if kind == "tasks" else load(kind, name))
    for name, features in (("one", "x.mean((2, 3))"), ("two", "x.amax((2, 3))")):
        (tmp_path / f"{name}.py").write_text(
            "import torch\n\n\nclass Net(torch.nn.Module):\n    def forward(self, x):\n"
            f"        return {features}\n\n\ndef net():\n    return Net()\n"
        )
    run(tmp_path / "results", task(), encoders=f"{tmp_path / 'one.py'}:net:size=8")
    (path,) = (tmp_path / "results").glob("*/*/*.json")
    for given, changed in (
        ("one.py:net:size=8", []),
        ("two.py:net:size=8", ["encoder.code"]),
        ("one.py:net:size=8,std=0.5/0.5/0.5", ["encoder.preprocess.std"]),
    ):
        reasons = why(path, context=DataContext(), encoder=str(tmp_path / given))
        assert [reason.partition(":")[0] for reason in reasons] == changed


def test_how_a_checkpoint_was_read_is_said_once_and_kept_with_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from virb.convert.load import load_encoder
    from virb.evaluation import pieces

    state = load_encoder(WIDE).state_dict()
    content = {"state_dict": {f"module.encoder_q.{key}": value for key, value in state.items()}}
    content["state_dict"]["module.queue"] = torch.zeros(4, 8)
    torch.save(content, tmp_path / "moco.pt")
    monkeypatch.setattr(pieces, "commit", lambda: "abc+changes")
    for _ in range(2):
        run(tmp_path / "results", task(), encoders=f"{tmp_path / 'moco.pt'}:arch=resnet18,width=0.125,size=32")
    assert capsys.readouterr().err.count("weights from 'state_dict/module.encoder_q.'; ") == 1
    (path,) = (tmp_path / "results").glob("*/*/*.json")
    record = json.loads(path.read_text())
    assert record["commit"] == "abc+changes"
    assert record["encoder"]["loaded"]["place"] == "state_dict/module.encoder_q."
    assert record["encoder"]["loaded"]["dropped"] == {"module.queue": 1}
    assert record["encoder"]["loaded"]["assumed"]

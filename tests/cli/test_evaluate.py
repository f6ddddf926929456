"""The main job through the command line: scores, resume, what bad input gets."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from virb import registry
from virb.cli import main
from virb.contracts.examples import DataContext
from virb.contracts.options import RunOptions
from virb.contracts.task import Category, Protocol, Task
from virb.convert.load import load_encoder
from virb.errors import UsageError, VirbError
from virb.evaluation import run as evaluation
from virb.probes import gradient
from virb.records.store import ResultStore

TINY = "random:resnet18:width=0.125,size=32"
TASK = """from virb.images.folders import image_folder
from virb.contracts.task import Category, Protocol, Task

TASK = Task(name="{name}", summary="two textures", category=Category.SEMANTIC_IMAGE, head="linear",
            loss="cross_entropy", metric="top1", data=image_folder("{place}"), classes=("flat", "rough"), protocol=Protocol(epochs={epochs}))
"""


def write_images(root: Path, n: int = 8) -> Path:
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("flat", "rough"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for k in range(n):
                noise = rng.integers(0, 255, (20, 24, 3)) if name == "rough" else np.full((20, 24, 3), 40 + k)
                Image.fromarray(noise.astype(np.uint8)).save(folder / f"{k}.png")
    return root


@pytest.fixture
def place(tmp_path: Path) -> dict[str, str]:
    """A folder of images, two tasks on it, and the arguments that name them."""
    images, content = write_images(tmp_path / "images"), tmp_path / "content"
    content.mkdir()
    for name, epochs in (("textures", 3), ("textures-long", 6)):
        (content / f"{name.replace('-', '_')}.py").write_text(TASK.format(name=name, place="textures", epochs=epochs))
    return {"--include": str(content), "--data": f"textures={images}", "--out": str(tmp_path / "results")}


def call(place: dict[str, str], *argv: str) -> int:
    return main(["evaluate", *argv, *[part for pair in place.items() for part in pair]])


def test_it_prints_a_table_and_a_second_run_computes_nothing(place, capsys):
    assert call(place, TINY, "pixels:4:size=32", "--tasks", "textures,textures-long", "--seeds", "2") == 0
    first = capsys.readouterr().out
    assert "textures-long" in first
    assert "mean ± standard deviation over 2 seeds" in first
    assert "8 jobs run" in first
    assert call(place, TINY, "pixels:4:size=32", "--tasks", "textures,textures-long", "--seeds", "2") == 0
    second = capsys.readouterr().out
    assert "0 jobs run, 8 were there already" in second
    assert first.splitlines()[:-1] == second.splitlines()[:-1]


def test_the_record_says_what_was_done(place, capsys):
    assert call(place, TINY, "--tasks", "textures", "--epochs", "2", "--limit", "10", "--json") == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert row["overrides"] == "epochs=2+limit=10"
    assert row["n_train"] == row["n_test"] == 10
    assert row["method"] == "random"
    path = next(Path(place["--out"]).glob("*/textures/*.json"))
    assert path.name == "gradient+epochs=2+limit=10-seed0.json"
    record = json.loads(path.read_text())
    assert record["protocol"] == {"epochs": 2, "batch_size": 64, "optimizer": "adam", "lr": 3e-4}
    assert set(record["seconds"]) == {"encode", "train", "predict"}
    saved = np.load(path.with_suffix(".npz"), allow_pickle=False)
    assert len(saved["ids"]) == len(saved["prediction"]) == len(saved["target"]) == 10
    assert np.mean(saved["prediction"] == saved["target"]) == record["score"]


def test_a_shortened_run_never_stands_in_for_a_full_one(place, capsys):
    assert call(place, TINY, "--tasks", "textures", "--epochs", "2") == 0
    assert call(place, TINY, "--tasks", "textures") == 0
    assert "1 jobs run" in capsys.readouterr().out


def test_another_precision_is_recorded_apart(place, capsys):
    assert call(place, TINY, "--tasks", "textures") == 0
    assert call(place, TINY, "--tasks", "textures", "--dtype", "bf16") == 0
    assert "1 jobs run" in capsys.readouterr().out.splitlines()[-1]
    (path,) = Path(place["--out"]).glob("*/textures/gradient+dtype=bf16-seed0.json")
    assert json.loads(path.read_text())["overrides"] == {"dtype": "bf16"}
    with pytest.raises(UsageError, match="Unknown dtype 'bf17'; expected one of fp32, tf32, bf16, fp16"):
        evaluation.load_encoders([TINY], dtype="bf17")
    ran_on = {json.loads(path.read_text())["ran_on"]["dtype"] for path in Path(place["--out"]).glob("*/*/*.json")}
    assert ran_on == {"fp32", "bf16"}
    assert call(place, TINY, "--tasks", "textures", "--dtype", "tf32", "--device", "cpu") == 2
    assert evaluation.load_encoders([TINY], dtype="bf16")[0].dtype == torch.bfloat16


def test_a_compiled_forward_pass_gives_the_same_scores_and_is_recorded_apart(place, capsys, monkeypatch):
    made = []

    def compile(model, **_):
        made.append(model)
        return compile_(model, backend="eager")  # traced as for any backend, in a second

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", compile)
    encoder = "random:resnet18:width=0.125,size=32,name=tiny"
    assert call(place, encoder, "--tasks", "textures") == 0
    assert not made
    assert call(place, encoder, "--tasks", "textures", "--compile") == 0
    assert made
    assert "1 jobs run" in capsys.readouterr().out.splitlines()[-1]
    scores = {}
    for path in (Path(place["--out"]) / "tiny" / "textures").glob("*.json"):
        record = json.loads(path.read_text())
        scores[record["fingerprint"]["encoder"].get("compiled", False)] = record["score"]
    assert scores[True] == pytest.approx(scores[False], abs=1e-6)
    loaded = [evaluation.load_encoders([encoder], is_compiled=how)[0] for how in (False, True)]
    x = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(loaded[1].embed(x), loaded[0].embed(x))
    for ours, theirs in zip(loaded[1].pyramid(x), loaded[0].pyramid(x), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_where_nothing_can_be_compiled_is_said_before_any_work(place, capsys, monkeypatch):
    def compile(model, **_):
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(torch, "compile", compile)
    assert call(place, TINY, "--tasks", "textures", "--compile") == 2
    said = capsys.readouterr().err
    assert "cannot compile for" in said
    assert "leave --compile out" in said


def test_a_loaded_encoder_runs_where_it_is_asked_to_and_the_callers_stays():
    loaded = load_encoder(TINY)
    found = evaluation.load_encoders([loaded, TINY + ",seed=1"], "meta")
    assert [encoder.device.type for encoder in found] == ["meta", "meta"]
    assert loaded.device.type == "cpu"
    assert found[0].identity == loaded.identity
    assert evaluation.load_encoders([loaded], "cpu")[0] is loaded


def test_every_encoder_stays_frozen_through_an_evaluation(place, tmp_path):
    import virb

    encoder = load_encoder(TINY)
    encoder.embed(torch.zeros(1, 3, 32, 32))  # so that the copy that inference runs on exists, and is looked at too

    def fingerprint() -> str:
        digest = hashlib.sha256()
        for module in encoder.modules():
            digest.update(f"{type(module).__name__}{module.training}".encode())
            for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
                digest.update(name.encode() + tensor.detach().contiguous().numpy().tobytes())
        return digest.hexdigest()

    before = fingerprint()
    os.environ["VIRB_INCLUDE"] = place["--include"]
    root = tmp_path / "data"
    root.mkdir()
    (root / "textures").symlink_to(tmp_path / "images")
    table = virb.evaluate([encoder], ["textures"], data=root, out=tmp_path / "other")
    assert len(table) == 1
    assert fingerprint() == before
    assert not any(p.requires_grad or p.grad is not None for p in encoder.parameters())


@pytest.mark.slow
def test_kill_and_resume_give_the_undisturbed_table_bit_for_bit(place, tmp_path):
    argv = [sys.executable, "-m", "virb", "evaluate", TINY, "random:resnet18:width=0.125,size=32,seed=1"]
    argv += ["--tasks", "textures,textures-long", "--include", place["--include"], "--data", place["--data"]]

    def env(name: str) -> dict[str, str]:
        return {**os.environ, "VIRB_CACHE": str(tmp_path / f"cache-{name}")}

    whole = subprocess.run(
        [*argv, "--out", str(tmp_path / "whole"), "--json"], env=env("a"), capture_output=True, text=True
    )
    assert whole.returncode == 0, whole.stderr
    killed = subprocess.Popen([*argv, "--out", str(tmp_path / "killed")], env=env("b"), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not list((tmp_path / "killed").glob("*/*/*.json")) and time.monotonic() < deadline:
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    n_before = len(list((tmp_path / "killed").glob("*/*/*.json")))
    assert n_before >= 1
    again = subprocess.run(
        [*argv, "--out", str(tmp_path / "killed"), "--json"], env=env("b"), capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout == whole.stdout


# ------------------------------------------------------------------------------------------------------- bad input


def expect(capsys, status: int, *fragments: str) -> None:
    printed = capsys.readouterr().err
    for fragment in fragments:
        assert fragment in printed, printed
    assert "Traceback" not in printed
    assert status == 2


def test_an_unknown_task_gets_a_suggestion(place, capsys):
    expect(capsys, call(place, TINY, "--tasks", "texture"), "Unknown end task 'texture'", "Did you mean", "'textures'")


def test_an_unknown_suite_and_probe(place, capsys):
    expect(capsys, call(place, TINY, "--suite", "minni"), "Unknown suite 'minni'", "'mini'")
    expect(capsys, call(place, TINY, "--tasks", "textures", "--probe", "gradeint"), "Unknown probe", "'gradient'")


def test_encoders_that_cannot_be_read_cost_themselves(place, tmp_path, capsys):
    torn = tmp_path / "torn.pt"
    torch.save({"format": "virb-encoder/1", "state_dict": {"x": torch.zeros(1000)}}, torn)
    torn.write_bytes(torn.read_bytes()[:900])
    bad = [str(tmp_path / "absent.pt"), str(torn)]
    expect(capsys, call(place, *bad, "--tasks", "textures"), "absent.pt", "torn.pt")
    assert not list(Path(place["--out"]).glob("*/*/*.json"))
    assert call(place, bad[0], TINY, bad[1], "--tasks", "textures") == 1
    printed = capsys.readouterr()
    for name in ("absent.pt", "torn.pt"):
        assert len([line for line in printed.err.splitlines() if "FAILED" in line and name in line]) == 1
    assert "2 failed, as said above" in printed.err
    assert "1 jobs run" in printed.out
    assert len(list(Path(place["--out"]).glob("*/*/*.json"))) == 1


def test_a_failure_is_said_once_and_quiet_says_it_too(place, tmp_path, capsys):
    for path in (tmp_path / "images" / "train" / "rough").iterdir():
        path.unlink()
    for quiet in ((), ("--quiet",)):
        assert call(place, TINY, "--tasks", "textures", *quiet) == 2
        printed = capsys.readouterr().err
        assert len([line for line in printed.splitlines() if line.startswith("FAILED textures")]) == 1


def test_an_interrupt_says_what_is_kept_and_keeps_it(place, capsys, monkeypatch):
    from virb.evaluation.pieces import Runner

    write = Runner._write

    def interrupted(self, member, *rest):
        if member.seed == 1:
            raise KeyboardInterrupt
        write(self, member, *rest)

    monkeypatch.setattr(Runner, "_write", interrupted)
    assert call(place, TINY, "--tasks", "textures", "--seeds", "2") == 130
    assert "interrupted: 1 of 2 jobs were finished. Their records are kept in" in capsys.readouterr().err
    monkeypatch.undo()
    assert call(place, TINY, "--tasks", "textures", "--seeds", "2") == 0
    assert "1 jobs run, 1 were there already" in capsys.readouterr().out


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(place, tmp_path, capsys):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(Evil()))
    expect(capsys, call(place, str(path), "--tasks", "textures"), "evil.pt")
    torch.save({"state_dict": Evil()}, path)
    expect(capsys, call(place, str(path), "--tasks", "textures"), "evil.pt")
    assert not (tmp_path / "executed").exists()


def test_an_unwritable_output_is_refused_before_any_work(place, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    place["--out"] = str(tmp_path / "file" / "results")
    expect(capsys, call(place, TINY, "--tasks", "textures"), "Results cannot be written", "--out")


def test_an_empty_class_fails_that_task_and_the_others_go_on(place, tmp_path, capsys):
    broken = write_images(tmp_path / "broken")
    for path in (broken / "train" / "rough").iterdir():
        path.unlink()
    (Path(place["--include"]) / "broken.py").write_text(TASK.format(name="broken", place="broken", epochs=1))
    argv = ["evaluate", TINY, "--include", place["--include"], "--data", place["--data"], "--out", place["--out"]]
    argv += ["--data", f"broken={broken}"]
    assert main([*argv, "--tasks", "broken,textures"]) == 1
    printed = capsys.readouterr()
    assert "FAILED broken" in printed.err
    assert str(broken / "train" / "rough") in printed.err
    assert "1 jobs run" in printed.out
    assert main([*argv, "--tasks", "broken"]) == 2


def test_a_corrupt_image_is_named(place, tmp_path, capsys):
    victim = tmp_path / "images" / "test" / "flat" / "3.png"
    victim.write_bytes(victim.read_bytes()[:40])
    expect(capsys, call(place, TINY, "--tasks", "textures"), str(victim), "not a readable image")


def test_absent_data_says_where_to_put_them(place, capsys):
    argv = ["evaluate", TINY, "--include", place["--include"], "--out", place["--out"], "--tasks", "textures"]
    assert main(argv) == 2
    assert "--data textures=DIR" in capsys.readouterr().err


def test_two_encoders_of_one_name_and_another_encoder_under_a_used_name(place, tmp_path, capsys):
    from virb.convert.load import save_encoder

    one, two = load_encoder(TINY), load_encoder(TINY + ",seed=1")
    paths = []
    for folder, encoder in (("a", one), ("b", two)):
        path = tmp_path / folder / "same.pt"
        path.parent.mkdir()
        save_encoder(
            path,
            arch=encoder.arch,
            arch_options=encoder.arch_options,
            state_dict=encoder.state_dict(),
            preprocess={"size": 32, "mean": list(encoder.preprocess.mean), "std": list(encoder.preprocess.std)},
            meta={},
        )
        paths.append(str(path))
    expect(capsys, call(place, *paths, "--tasks", "textures"), "Two encoders are called 'same'")
    assert call(place, paths[0], "--tasks", "textures") == 0
    capsys.readouterr()
    expect(capsys, call(place, paths[1], "--tasks", "textures"), "another encoder of the same name")


def test_a_record_that_cannot_be_written_costs_its_own_job_alone(place, tmp_path, capsys, monkeypatch):
    seeds = []
    train = gradient._train_together
    monkeypatch.setattr(
        gradient, "_train_together", lambda members, *rest: seeds.append(len(members)) or train(members, *rest)
    )
    write = ResultStore.write

    def failing(self, record, *kept):
        if record["seed"] == 1:
            raise VirbError("the disk is full")
        return write(self, record, *kept)

    monkeypatch.setattr(ResultStore, "write", failing)
    assert call(place, TINY, "--tasks", "textures", "--seeds", "3") == 1
    printed = capsys.readouterr()
    assert seeds == [3]  # trained once, all together
    assert "2 jobs run" in printed.out
    assert "on textures, seed 1: the disk is full" in printed.err
    assert len(list((tmp_path / "results").rglob("*.json"))) == 2


@pytest.mark.parametrize(
    "option",
    [("--seeds", "0"), ("--limit", "0"), ("--epochs", "-1"), ("--device", "cuda:99"), ("--lr", "0"), ("--lr", "nan")],
)
def test_values_that_make_no_sense(place, capsys, option):
    expect(capsys, call(place, TINY, "--tasks", "textures", *option), option[0])


@pytest.mark.parametrize("none", [[], ()])
def test_no_task_is_not_all_of_a_suite(place, tmp_path, capsys, none):
    expect(capsys, call(place, TINY, "--tasks", ","), "--tasks names no end task", "all of the suite mini")
    with pytest.raises(UsageError, match="tasks= names no end task"):
        evaluation.evaluate(TINY, none, out=tmp_path / "results")


def test_what_python_gives_is_taken_or_refused_in_a_sentence(place, tmp_path, capsys):
    registry.include(place["--include"])
    name, folder = place["--data"].split("=")
    given = {"out": tmp_path / "results", "data": DataContext(places={name: Path(folder)})}
    assert len(evaluation.evaluate((x for x in [TINY]), (x for x in ["textures"]), **given)) == 1
    for wrong in (None, 3, [3]):
        with pytest.raises(UsageError, match=r"torch\.nn\.Module; found"):
            evaluation.evaluate(wrong, "textures", **given)
    with pytest.raises(UsageError, match="there is no such folder"):
        evaluation.evaluate(TINY, "textures", out=tmp_path / "results", data=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="meta says 'baseline' of mine"):
        evaluation.evaluate(TINY, "textures", meta={"mine": "baseline"}, **given)


def test_an_encoder_that_meta_does_not_name_is_said(place, tmp_path, capsys):
    (tmp_path / "m.csv").write_text("encoder,role\nrandom-resnet18-size32-width0.25,untrained\n")
    assert call(place, TINY, "--tasks", "textures", "--meta", str(tmp_path / "m.csv")) == 0
    said = capsys.readouterr().err
    assert "--meta says nothing of random-resnet18-size32-width0.125; is random-resnet18-size32-width0.25 meant" in said


def test_a_wrong_column_does_not_hide_what_the_run_did(place, tmp_path, capsys):
    status = call(place, TINY, str(tmp_path / "none.pt"), "--tasks", "textures", "--columns", "rolle", "--sort", "name")
    printed = capsys.readouterr()
    assert status == 2
    assert "1 jobs run" in printed.out
    assert "There is no file" in printed.err
    assert "Did you mean 'role'? The scores are kept; `virb results show --results" in printed.err


@pytest.mark.parametrize(
    ("head", "probe", "said"),
    [
        ("unet", "gradient", "head unet cannot read it: encoders side by side"),
        ("linear", "finetune", "several networks"),
    ],
)
def test_what_no_encoder_can_be_evaluated_on_is_said_before_its_data_are_read(tmp_path, head, probe, said):
    def data(context, split):
        raise AssertionError("the data were read")

    is_maps = head == "unet"
    task = Task(
        name="unread",
        summary="what is not read",
        category=Category.STRUCTURAL_PIXEL if is_maps else Category.SEMANTIC_IMAGE,
        head=head,
        loss="l1" if is_maps else "cross_entropy",
        metric="neg_l1" if is_maps else "top1",
        classes=0 if is_maps else 2,
        data=data,
        protocol=Protocol(epochs=1),
    )
    outcome = evaluation.run(
        "pixels:2:size=8+pixels:3:size=8",
        task,
        context=DataContext(),
        options=RunOptions(out=str(tmp_path), probe=probe),
    )
    assert [(failure.what, said in failure.reason) for failure in outcome.failures] == [
        ("pixels-2-size8+pixels-3-size8 on unread", True)
    ]


def test_a_record_is_computed_again_and_compared(place, capsys):
    assert call(place, TINY, "--tasks", "textures") == 0
    (path,) = Path(place["--out"]).glob("*/*/*.json")
    before = path.read_bytes()
    capsys.readouterr()
    argv = ["results", "rerun", "--include", place["--include"], "--data", place["--data"], str(path)]
    assert main(argv) == 0
    assert "the same: " in capsys.readouterr().out
    assert main([*argv, "--encoder", f"{TINY},seed=1"]) == 1
    assert "encoder.tensors" in capsys.readouterr().out
    assert path.read_bytes() == before

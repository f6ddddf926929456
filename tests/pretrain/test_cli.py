"""virb pretrain from the command line: encoders, resume after a kill, recipes, and what bad input gets."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from virb.convert.load import load_encoder, read_checkpoint


def weights(path) -> dict[str, torch.Tensor]:
    return read_checkpoint(path)["state_dict"]


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_an_encoder_says_how_it_was_made(virb_pretrain, images, small, tmp_path):
    out = tmp_path / "s.pt"
    status, text = virb_pretrain(
        "simclr", "--data", images, *small, "--epochs", 2, "--option", "temperature=0.3", "--out", out
    )
    assert status == 0, text
    meta = read_checkpoint(out)["meta"]
    expected = {
        "method": "simclr", "dataset": "images", "dataset_size": 40, "balance": "balanced", "epochs": 2.0,
        "images_seen": 80, "seed": 0, "batch_size": 8,
    }  # fmt: skip
    assert {key: meta[key] for key in expected} == expected
    assert meta["options"]["temperature"] == 0.3
    assert meta["lr"] == pytest.approx(4.8 * 8 / 4096)
    encoder = load_encoder(str(out))
    assert encoder.embed(encoder.prepare(torch.zeros(2, 16, 16, 3, dtype=torch.uint8))).shape == (2, 64)
    assert (tmp_path / "s.run" / "log.csv").exists()
    assert not (tmp_path / "s.run" / "checkpoint.pt").exists()


def test_training_changes_the_random_start_and_a_budget_sets_the_epochs(virb_pretrain, images, small, tmp_path):
    for name, args in {"r": ("random",), "t": ("supervised", "--data", images, "--budget", 100)}.items():
        shape = [a for a in small if a not in ("--batch-size", "8")] if name == "r" else small
        status, text = virb_pretrain(*args, *shape, "--out", tmp_path / f"{name}.pt")
        assert status == 0, text
    r, t = weights(tmp_path / "r.pt"), weights(tmp_path / "t.pt")
    assert r.keys() == t.keys()
    assert not same(r, t)
    meta = read_checkpoint(tmp_path / "t.pt")["meta"]
    assert (meta["images_seen"], meta["epochs"]) == (96, 2.4)


def test_seeds_and_pixels(virb_pretrain, tmp_path):
    for name, args in {"a": (), "b": (), "c": ("--seed", 1)}.items():
        assert virb_pretrain("random", "--arch-option", "width=0.125", *args, "--out", tmp_path / f"{name}.pt")[0] == 0
    assert same(weights(tmp_path / "a.pt"), weights(tmp_path / "b.pt"))
    assert not same(weights(tmp_path / "a.pt"), weights(tmp_path / "c.pt"))
    assert virb_pretrain("random", "--arch", "pixels", "--out", tmp_path / "p.pt")[0] == 0
    assert weights(tmp_path / "p.pt") == {}


def test_killed_and_resumed_is_an_undisturbed_run(virb_pretrain, images, small, tmp_path):
    args = ["simclr", "--data", str(images), *small, "--epochs", "20", "--checkpoint-steps", "7"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    out, state = tmp_path / "killed.pt", tmp_path / "killed.run" / "checkpoint.pt"
    child = subprocess.Popen([sys.executable, "-m", "virb", "pretrain", *args, "--out", str(out)], env=environment)
    deadline = time.monotonic() + 600
    while not state.exists() and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert state.exists()
    assert not out.exists()
    status, text = virb_pretrain(*args, "--out", out)
    assert status == 2
    assert "--resume" in text
    assert virb_pretrain(*args, "--out", out, "--resume")[0] == 0
    assert virb_pretrain(*args, "--out", tmp_path / "whole.pt")[0] == 0
    assert same(weights(out), weights(tmp_path / "whole.pt"))
    status, text = virb_pretrain(*args, "--out", out, "--resume")
    assert (status, "there already" in text) == (0, True)


def test_what_is_there_is_not_overwritten(virb_pretrain, images, small, tmp_path):
    base = ("simclr", "--data", images, *small, "--epochs", 2, "--out", tmp_path / "x.pt")
    assert virb_pretrain(*base)[0] == 0
    status, text = virb_pretrain(*base)
    assert (status, "exists" in text) == (2, True)
    status, text = virb_pretrain(*base, "--resume", "--option", "temperature=0.5")
    assert (status, "other settings" in text) == (2, True)
    assert virb_pretrain(*base, "--force", "--option", "temperature=0.5")[0] == 0


def test_bad_input_is_said_before_training(virb_pretrain, images, small, tmp_path):
    out = ("--out", tmp_path / "x.pt")
    (images / "plain" / "broken.jpg").write_bytes(b"no image")
    cut = (images / "plain" / "00.png").read_bytes()
    (images / "plain" / "cut.png").write_bytes(cut[: len(cut) // 2])
    status, text = virb_pretrain("simclr", "--data", images, *small, *out)
    assert status == 2
    assert "2 of 42 images" in text
    assert "plain/broken.jpg" in text
    assert "plain/cut.png" in text
    assert virb_pretrain("simclr", "--data", images, *small, "--epochs", 1, "--skip-unreadable", *out)[0] == 0
    assert read_checkpoint(tmp_path / "x.pt")["meta"]["dataset_size"] == 40

    out = ("--out", tmp_path / "y.pt")
    (images / "empty").mkdir()
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in (images / "striped").iterdir():
        shutil.copy(path, flat)
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    for args, message in [
        (("simclr", "--data", images, *small), "empty holds no image"),
        (("simclr", "--data", nothing, *small), "holds no images"),
        (("simclr", "--data", tmp_path / "absent", *small), "no such folder"),
        (("simclr", *small), "needs images"),
        (("supervised", "--data", flat, *small), "needs labels"),
        (("simclr", "--data", flat, *small, "--batch-size", 21), "fewer than a batch"),
        (("simclr", "--data", flat, *small, "--option", "temprature=1"), "Did you mean temperature"),
        (("simclr", "--data", flat, *small, "--arch", "resnet19"), "resnet18"),
        (("simclr", "--data", flat, *small, "--arch", "pixels"), "pixels"),
        (("simclr", "--data", flat, "--size", 40, "--batch-size", 8, "--arch", "vit_tiny_patch16"), "patches of 16"),
        (("simclr", "--data", flat, *small, "--optimizer", "sgd"), "needs a --lr"),
        (("simclr", "--data", flat, *small, "--device", "cuda:9"), "cannot be used"),
        (("simclr", "--data", flat, *small, "--epochs", "-1"), "above 0"),
        (("simcrl", "--data", flat, *small), "simclr"),
        (("simclr", "--data", flat, *small, "--lr", "1e9"), "is not finite|loss is"),
    ]:
        status, text = virb_pretrain(*args, *out)
        assert status == 2, (args, text)
        assert any(part in text for part in message.split("|")), text
    assert virb_pretrain("simclr", "--data", flat, "--out", tmp_path / "x.txt")[0] == 2


RECIPE = """
defaults:
  method: simclr
  data: {data}
  arch_options: {{width: 0.125, stem: cifar}}
  size: 16
  batch_size: 8
  epochs: 1
  options: {{temperature: 0.4}}
encoders:
  one: {{}}
  two: {{seed: 1, options: {{strength: 0.5}}}}
  floor: {{method: random}}
  bad: {{data: absent}}
"""


def test_recipe(virb_pretrain, images, tmp_path):
    recipe, out = tmp_path / "r.yaml", tmp_path / "encoders"
    recipe.write_text(RECIPE.format(data=images))
    status, text = virb_pretrain("--recipe", recipe, "--out", out, "--quiet")
    assert status == 1
    assert "bad was not made" in text
    assert sorted(p.name for p in out.glob("*.pt")) == ["floor.pt", "one.pt", "two.pt"]
    assert read_checkpoint(out / "two.pt")["meta"]["options"]["temperature"] == 0.4
    assert read_checkpoint(out / "two.pt")["meta"]["options"]["strength"] == 0.5
    before = (out / "one.pt").stat().st_mtime_ns
    recipe.write_text(RECIPE.format(data=images).replace("seed: 1", "seed: 2"))
    status, text = virb_pretrain("--recipe", recipe, "--out", out, "--jobs", 2, "--only", "one", "--only", "two")
    assert status == 0, text
    assert (out / "one.pt").stat().st_mtime_ns == before
    assert read_checkpoint(out / "two.pt")["meta"]["seed"] == 2
    assert virb_pretrain("--recipe", recipe, "--out", out, "--only", "three")[0] == 2
    assert virb_pretrain("--recipe", recipe, "--epochs", 3)[0] == 2
    recipe.write_text("encoders: {one: {method: simclr, epoch: 3}}")
    status, text = virb_pretrain("--recipe", recipe, "--out", out)
    assert (status, "Did you mean 'epochs'" in text) == (2, True)


def test_options_are_shown(virb_pretrain):
    status, text = virb_pretrain("simclr", "--options")
    assert status == 0
    assert "temperature=0.1" in text

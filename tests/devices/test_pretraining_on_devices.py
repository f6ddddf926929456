"""Pretraining on a GPU: the CPU's losses on the same views, resume to the bit, and budgets of launches and waits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from virb import registry
from virb.contracts.method import Setup
from virb.networks.backbones import build_backbone
from virb.pretraining.data import PretrainingData
from virb.pretraining.pixels import ArrayPixels
from virb.pretraining.plan import Plan
from virb.pretraining.reporting import Reporter
from virb.pretraining.trainer import Trainer
from virb.system import devices
from virb.training import augment

BATCH, SIZE, STEPS = 16, 32, 4
METHODS = [name for name in registry.names("methods") if registry.load("methods", name).learner is not None]
HEADS = {
    "barlow-twins": {"projection_dim": 32},
    "byol": {"hidden_dim": 64, "projection_dim": 32},
    "dino": {"hidden_dim": 32, "bottleneck_dim": 16, "prototypes": 64, "small_crops": 2},
    "jigsaw": {"permutations": 20, "tile_dim": 16},
    "moco-v3": {"hidden_dim": 64, "projection_dim": 32},
    "pirl": {"projection_dim": 32},
    "simsiam": {"projection_dim": 64, "bottleneck_dim": 16},
    "swav": {"hidden_dim": 32, "projection_dim": 16, "prototypes": 20, "small_crops": 2, "queue_epoch": 0.0},
    "vicreg": {"projection_dim": 32},
    "mae": {"decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2},
    "i-jepa": {"predictor_dim": 16, "predictor_depth": 1, "predictor_heads": 2, "min_keep": 4},
    "ibot": {"hidden_dim": 32, "bottleneck_dim": 16, "prototypes": 64, "small_crops": 2},
    "dinov2": {"hidden_dim": 32, "bottleneck_dim": 16, "patch_bottleneck_dim": 16, "prototypes": 64, "small_crops": 2},
}
VIT = {"dim": 16, "depth": 2, "heads": 2, "hidden": 32, "patch": 8, "image_size": SIZE}
VITS = {"mae": {"pool": "avg"}, "i-jepa": {"pool": "avg"}, "ibot": {}, "dinov2": {"registers": 2}}


def trainer(method, device, folder, *, steps=STEPS, precision="fp32", **how):
    found = registry.load("methods", method)
    n = 4 * BATCH
    pixels = np.random.default_rng(0).integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)
    label = np.arange(n) % 4
    data = PretrainingData("noise", "noise", ArrayPixels(pixels), np.arange(n), SIZE, label, tuple("abcd"))
    setup = Setup(SIZE, n, 4, BATCH, STEPS, n // BATCH, augment.IMAGENET_MEAN, augment.IMAGENET_STD)
    torch.manual_seed(0)
    encoder = build_backbone("vit", **VIT, **VITS[method]) if method in VITS else build_backbone("resnet18", width=0.25)
    learner = found.learner(encoder, found.resolve(HEADS.get(method, {})), setup)
    plan = Plan(found.training, 1e-3, steps, BATCH, device=device, precision=precision, checkpoint_s=1e9, **how)
    return Trainer(learner, data, plan, folder=folder, identity={"method": method})


def run(made):
    """Train to the end; return the losses of the updates."""
    losses, update = [], made._update

    def watched(*args):
        found = update(*args)
        losses.append(float(found["loss"]))
        return found

    made._update = watched
    made.run(Reporter("test", quiet=True))
    return losses


def few(request, is_among):
    """On the simulated GPU, which is slow, leave a case out unless it ``is_among`` the few that show what all do."""
    if "simulated" in request.node.name and not is_among:
        pytest.skip("another case shows it on the simulated GPU")


@pytest.mark.parametrize("method", METHODS)
def test_losses_equal_the_cpus(card, keep, tmp_path, method):
    there = run(trainer(method, card, tmp_path / "there"))
    here = run(trainer(method, "cpu", tmp_path / "here"))
    off = max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(there, here, strict=True))
    keep(largest=off, here=here, there=there)
    assert len(there) == STEPS
    assert abs(there[0] - here[0]) < 1e-4 * max(1.0, abs(here[0]))
    assert off < 5e-3  # of batches so small the rounding grows from update to update


@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
@pytest.mark.parametrize("method", ["simclr", "moco-v2", "dino"])
def test_other_precisions_train(card, keep, tmp_path, method, precision, request):
    few(request, (method, precision) in [("simclr", "fp16"), ("dino", "bf16")])
    # What a simulated GPU computes, the CPU does: in bf16 it needs what the trainer does for a CPU.
    beneath = torch.device("cpu" if "simulated" in request.node.name else card)
    with devices.sound_bf16(beneath, precision):
        losses = run(trainer(method, card, tmp_path, precision=precision))
    keep(losses=losses)
    assert all(np.isfinite(losses))


@pytest.mark.parametrize("method", ["simclr", "moco-v2", "dino", "pirl"])
def test_a_resumed_run_ends_as_an_undisturbed_one(card, keep, tmp_path, method, request):
    few(request, method in ("simclr", "pirl"))
    whole = trainer(method, card, tmp_path / "whole")
    whole.run(Reporter("test", quiet=True))
    first = trainer(method, card, tmp_path / "cut", checkpoint_steps=2)
    update = first._update

    def killed(*args):
        if first.step == 2:
            raise KeyboardInterrupt
        return update(*args)

    first._update = killed
    with pytest.raises(KeyboardInterrupt):
        first.run(Reporter("test", quiet=True))
    second = trainer(method, card, tmp_path / "cut")
    assert second.resume()
    second.run(Reporter("test", quiet=True))
    off = {}
    for (name, a), b in zip(whole.learner.state_dict().items(), second.learner.state_dict().values(), strict=True):
        off[name] = float((a.double() - b.double()).abs().max()) if a.numel() else 0.0
    keep(largest=max(off.values()))
    assert max(off.values()) < 1e-4  # a GPU's sums of gradients have no fixed order


@pytest.mark.gpu
def test_a_compiled_encoder_trains(keep, tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    plain = run(trainer("simclr", "cuda", tmp_path / "plain"))
    compiled = run(trainer("simclr", "cuda", tmp_path / "compiled", compile=True))
    keep(plain=plain, compiled=compiled)
    assert abs(plain[0] - compiled[0]) < 1e-2
    assert all(np.isfinite(compiled))


def test_nearest_neighbours_are_counted_during_training(card, tmp_path):
    made = trainer("simclr", card, tmp_path, eval_epochs=0.5, eval_own=True, knn_images=32, knn_size=SIZE)
    made.run(Reporter("test", quiet=True))
    assert "knn_top1" in (tmp_path / "log.csv").read_text().splitlines()[0]


def counted(gpu, made, region):
    """Have the views of ``made`` count as ``region`` views, the rest of its updates as ``region`` step, after the first."""
    views, update = made.learner.views, made._update

    def counted_views(*args):
        with gpu.region(f"{region} views" if made.step else "first"):
            return views(*args)

    def counted_update(*args):
        with gpu.region(f"{region} step" if made.step else "first"):
            return update(*args)

    made.learner.views, made._update = counted_views, counted_update
    return made


def test_budgets_of_an_update(gpu, tmp_path):
    steps = 11  # the first is not counted; the numbers of ten are read at once
    run_ = counted(gpu, trainer("simclr", "cuda", tmp_path, steps=steps), "simclr")
    with gpu.region("between"):
        run_.run(Reporter("test", quiet=True))
    n = steps - 1
    gpu.assert_at_most("simclr views", syncs=0, h2d_blocking=0, launches=120 * n)
    gpu.assert_at_most("simclr step", syncs=0, h2d_blocking=0, launches=450 * n)
    waits = gpu.counts("between")["syncs"]
    assert waits <= 2 * 2 + 2, gpu.report()  # two intervals of the log, and what the checkpoint needs

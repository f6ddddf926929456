"""Part d: pretraining, beside the same forward pass, backward pass and optimiser on views that stay on the card."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from on_gpu.rows import Part
from virb import registry
from virb.contracts.method import Setup
from virb.networks.backbones import build_backbone
from virb.pretraining.data import PretrainingData
from virb.pretraining.learner import Batch
from virb.pretraining.pixels import ArrayPixels
from virb.pretraining.plan import Plan
from virb.pretraining.reporting import Reporter
from virb.pretraining.trainer import Trainer
from virb.system import devices
from virb.training import augment

METHODS = ("simclr", "moco-v2", "dino")
WARM, MEASURED = 10, 20
RUNS = {
    "ResNet-50 224 px bf16": ("resnet50", 224, 128, "bf16"),
    "ResNet-18 64 px bf16": ("resnet18", 64, 256, "bf16"),
    "ResNet-18 64 px fp32": ("resnet18", 64, 256, "fp32"),
}
SMALL = {"ResNet-18 32 px fp32": ("resnet18", 32, 16, "fp32")}


def run(part: Part) -> None:
    for name, how in (SMALL if part.is_small else RUNS).items():
        for method in METHODS:
            part.row(f"{method}, {name}", lambda m=method, h=how: _measure(part, m, *h), needs_s=12)


def _trainer(
    part: Part, method: str, arch: str, size: int, batch: int, precision: str, steps: int, folder: str
) -> Trainer:
    found = registry.load("methods", method)
    n = max(4 * batch, 1024 if not part.is_small else 64)
    kept = size * 8 // 7 if size > 64 else size
    pixels = np.random.default_rng(0).integers(0, 256, (n, kept, kept, 3), dtype=np.uint8)
    data = PretrainingData("noise", "noise", ArrayPixels(pixels), np.arange(n), kept)
    setup = Setup(size, n, 0, batch, steps, n // batch, augment.IMAGENET_MEAN, augment.IMAGENET_STD)
    options = found.resolve({"prototypes": 256, "hidden_dim": 64} if part.is_small and method == "dino" else {})
    learner = found.learner(build_backbone(arch, **({"width": 0.25} if part.is_small else {})), options, setup)
    plan = Plan(found.training, 0.01, steps, batch, device=str(part.device), precision=precision, checkpoint_s=1e9)
    return Trainer(learner, data, plan, folder=Path(folder), identity={})


def _measure(part: Part, method: str, arch: str, size: int, batch: int, precision: str) -> dict[str, Any]:
    warm, measured = (1, 2) if part.is_small else (WARM, MEASURED)
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(part, method, arch, size, batch, precision, warm + measured, folder)
        update, times = trainer._update, {}

        def timed(*args: Any) -> Any:
            if trainer.step == warm:
                times["begun"] = _now(part)
            found = update(*args)
            if trainer.step == warm + measured - 1:
                times["end"] = _now(part)
            return found

        trainer._update = timed  # type: ignore[method-assign]
        trainer.run(Reporter("gpu", quiet=True))
        whole = (times["end"] - times["begun"]) / measured
        trainer._update = update  # type: ignore[method-assign]
        alone = _alone(part, trainer, warm, measured)
        reading = part.in_turn({"x": lambda: trainer.data.batch(np.arange(batch))}, n=measured, warm=1)["x"]["s"]
        found = {
            "images_s": batch / whole,
            "of_synthetic": alone["step"] / whole,
            "update_ms": 1e3 * whole,
            **{f"{key}_alone_ms": 1e3 * value for key, value in alone.items()},
            "reading_alone_ms": 1e3 * reading,
        }
        if part.left > 8 and part.device.type == "cuda":
            found |= _profile(part, trainer)
        return found


def _now(part: Part) -> float:
    import time

    part.wait()
    return time.perf_counter()


def _alone(part: Part, trainer: Trainer, warm: int, measured: int) -> dict[str, float]:
    """Return the seconds of an update on views made once, and of making views."""
    learner, optimizer, batch = trainer.learner, trainer.optimizer, trainer.plan.batch_size
    pixels = torch.from_numpy(trainer.data.batch(np.arange(batch))).to(part.device)
    generator = torch.Generator(part.device).manual_seed(0)
    views = [v.contiguous(memory_format=torch.channels_last) for v in learner.views(pixels, generator)]
    index = torch.arange(batch, device=part.device)
    progress = trainer._progress()

    def step() -> None:
        with devices.tf32(False):
            learner.before_step(progress)
            optimizer.zero_grad(set_to_none=True)
            with trainer._autocast():
                loss = learner(views, Batch(index, None), progress).loss
            loss.backward()
            learner.after_backward(progress)
            optimizer.step()
            learner.after_step(progress)

    found = part.in_turn({"step": step}, n=measured, warm=warm, seconds=2.0)
    making = part.in_turn({"views": lambda: learner.views(pixels, generator)}, n=measured, warm=2, seconds=0.5)
    return {"step": found["step"]["s"], "views": making["views"]["s"]}


def _profile(part: Part, trainer: Trainer, updates: int = 3) -> dict[str, Any]:
    """Count what an update asks of the driver: launches, waits, copies; and how long the card computed."""
    from torch.profiler import ProfilerActivity, profile

    batch = trainer.plan.batch_size
    index = np.arange(batch)
    images = trainer.data.batch(index)
    trainer.step = 0
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        for _ in range(updates):
            trainer._update(index, images)
        part.wait()
    counts: Counter[str] = Counter()
    device_us = 0.0
    for event in profiler.key_averages():
        if event.key.startswith("cuda"):
            counts[event.key] += event.count
        device_us += getattr(event, "self_device_time_total", 0.0)
    launches = sum(n for name, n in counts.items() if "LaunchKernel" in name)
    waits = sum(n for name, n in counts.items() if "Synchronize" in name)
    copies = sum(n for name, n in counts.items() if "Memcpy" in name)
    return {
        "launches": launches / updates,
        "waits": waits / updates,
        "copies": copies / updates,
        "device_ms": device_us / 1e3 / updates,
        "calls": {name: n / updates for name, n in counts.most_common(8)},
    }

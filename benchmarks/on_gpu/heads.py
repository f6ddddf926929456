"""Part c: what heads and probes take on features that are there."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from on_gpu.rows import Part
from virb import heads
from virb.contracts.examples import Examples
from virb.contracts.task import Protocol
from virb.images.sets import ArrayImages
from virb.losses import find_loss
from virb.probes import dense, dense_sources, gradient, knn, lbfgs

CLASSES = 100


def run(part: Part) -> None:
    n, dim = (256, 64) if part.is_small else (50_000, 2048)
    rng = np.random.default_rng(0)
    targets = rng.integers(0, CLASSES, n)
    centres = rng.standard_normal((CLASSES, dim), dtype=np.float32)
    features = rng.standard_normal((n, dim), dtype=np.float32) + 0.5 * centres[targets]
    frames = np.arange(n)[:, None]

    def train(n_heads: int, epochs: int, n_encoders: int = 1) -> float:
        arrays = [features] + [features.copy() for _ in range(n_encoders - 1)]
        return part.seconds(
            lambda: gradient.train_heads(
                lambda seed: heads.build_head("linear", n_out=CLASSES, dim=dim, seed=seed),
                [arrays[k % n_encoders] for k in range(n_heads)],
                frames,
                targets,
                head=heads.find_head("linear"),
                loss=find_loss("cross_entropy"),
                seeds=list(range(n_heads)),
                protocol=Protocol(epochs=epochs),
                device=part.device,
            )
        )

    def many() -> dict[str, Any]:
        epochs, n_heads = (1, 4) if part.is_small else (5, 32)
        train(1, 1)
        one, all_s = train(1, epochs), train(n_heads, epochs)
        return {"one_s": one, f"{n_heads}_s": all_s, "ratio": all_s / one, "steps_s": epochs * -(-n // 64) / one}

    part.row("1 head and 32 heads of one encoder, 5 epochs", many, needs_s=10)
    part.row(
        "32 heads of 4 encoders, 5 epochs",
        lambda: {"s": train(*((4, 1, 2) if part.is_small else (32, 5, 4)))},
        needs_s=8,
    )
    part.row("1 head, 100 epochs by 10", lambda: {"s": 10 * train(1, 1 if part.is_small else 10)}, needs_s=8)
    for head in ("deeplabv3plus", "unet"):
        part.row(f"{head}, maps of ResNet-50 at 224 px", lambda head=head: _dense(part, head), needs_s=8)
    part.row("kNN, 50,000 x 5,000, D = 2,048", lambda: _knn(part, features, targets, part.device, 2048), needs_s=4)
    part.row("kNN on the device and the CPU, D = 512", lambda: _knn_both(part, features, targets), needs_s=6)
    part.row("L-BFGS, 45 penalties", lambda: _lbfgs(part, features, targets), needs_s=8)


def _knn(part: Part, features: np.ndarray, targets: np.ndarray, device: torch.device, dim: int) -> dict[str, Any]:
    n = len(features) // 10
    some = np.ascontiguousarray(features[:, :dim])
    arguments = (some, np.arange(len(some))[:, None], targets, some[:n], np.arange(n)[:, None])
    knn.classify(*arguments, n_classes=CLASSES, device=device)
    taken = [part.seconds(lambda: knn.classify(*arguments, n_classes=CLASSES, device=device)) for _ in range(3)]
    return {"s": sorted(taken)[1], "tflops": 2e-12 * len(some) * n * dim / sorted(taken)[1], "all": taken}


def _knn_both(part: Part, features: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    n = 64 if part.is_small else 1000
    some = np.ascontiguousarray(features[:, :512])
    shares = [
        knn.classify(some, np.arange(len(some))[:, None], targets, some[:n], np.arange(n)[:, None], n_classes=CLASSES, device=d)
        for d in ("cpu", part.device)
    ]  # fmt: skip
    return {
        "largest_difference": float(np.abs(shares[0] - shares[1]).max()),
        "equal_predictions": float((shares[0].argmax(1) == shares[1].argmax(1)).mean()),
    }


def _lbfgs(part: Part, features: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    n = 128 if part.is_small else 5000
    found: list[Any] = []

    def fit() -> None:
        found.append(
            lbfgs.choose_and_fit(
                features, np.arange(n)[:, None], targets[:n] % 10, n_classes=10, seed=0, device=part.device,
                score=lambda scores, wanted: float((scores.argmax(1) == wanted).mean()),
            )
        )  # fmt: skip

    taken = part.seconds(fit)
    return {"s": taken, "penalty": found[0].fit.penalty, "penalties_tried": len(found[0].tried)}


def _dense(part: Part, head: str) -> dict[str, Any]:
    size, n, steps = (64, 16, 2) if part.is_small else (224, 256, 50)
    batch = 8 if part.is_small else 32
    strides = (2, 4, 8, 16, 32) if head == "unet" else (2, 4, 8, 16, 16)
    channels = (64, 256, 512, 1024, 2048) if not part.is_small else (16, 16, 32, 64, 64)
    rng = np.random.default_rng(0)
    parts = [
        rng.standard_normal((n, c, size // s, size // s), dtype=np.float32).astype(np.float16)
        for c, s in zip(channels, strides, strict=True)
    ]
    kind = "cross_entropy" if head == "deeplabv3plus" else "l1"
    targets = (
        rng.integers(0, 21, (n, size, size))
        if kind == "cross_entropy"
        else rng.random((n, size, size), dtype=np.float32)
    )
    images = ArrayImages.of("none", np.zeros((n, 8, 8, 3), np.uint8))
    examples = Examples(images, np.arange(n)[:, None], targets, [str(k) for k in range(n)])

    def build(seed: int, initial: float) -> torch.nn.Module:
        n_out = 21 if kind == "cross_entropy" else 1
        return heads.build_head(
            head, n_out=n_out, channels=channels, strides=strides, seed=seed, initial_output=initial
        )

    def train(epochs: int) -> float:
        source = dense_sources.CachedSource(parts, examples, size=size, device=part.device)
        protocol = Protocol(epochs=epochs, batch_size=batch)
        return part.seconds(
            lambda: dense.train_dense_head(
                build,
                source,
                targets,
                loss=find_loss(kind),
                target="mask" if kind == "cross_entropy" else "map",
                seed=0,
                protocol=protocol,
                device=part.device,
            )
        )

    train(1)
    epochs = max(1, steps * batch // n)
    taken = train(epochs)
    n_steps = epochs * -(-n // batch)
    updates = _updates(part, build, parts, targets[:batch], kind, batch, size)
    return {"steps_s": n_steps / taken, "updates_alone_s": 1 / updates, "of_updates_alone": updates * n_steps / taken}


def _updates(
    part: Part, build: Any, parts: list[np.ndarray], targets: np.ndarray, kind: str, batch: int, size: int
) -> float:
    """Return the seconds of an update of the same decoder on one batch that stays on the device."""
    head = build(0, 0.0).to(part.device, memory_format=torch.channels_last).train()
    maps = [
        torch.from_numpy(p[:batch]).to(part.device).float().contiguous(memory_format=torch.channels_last) for p in parts
    ]
    wanted = torch.from_numpy(targets).to(part.device)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-4, fused=part.device.type == "cuda")

    def step() -> None:
        out = head(maps, (size, size))
        loss = (
            torch.nn.functional.cross_entropy(out, wanted)
            if kind == "cross_entropy"
            else torch.nn.functional.l1_loss(out[:, 0], wanted)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return part.in_turn({"step": step}, n=20, warm=3)["step"]["s"]

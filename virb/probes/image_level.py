"""The probes of image-level tasks behind one surface: fitted to the train split, asked for scores on a test split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from virb.contracts.head import Head
from virb.contracts.loss import Loss
from virb.contracts.task import Protocol
from virb.images.sets import ImageSet
from virb.networks.encoder import FrozenEncoder
from virb.probes import finetune, gradient, knn, lbfgs
from virb.system.threads import MemoryShare, memory_bytes

# Encoders in training take gigabytes each: on a machine of many cores not every core may have one.
FINETUNING = MemoryShare(memory_bytes() / 2)

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Problem:
    """The train split of a classification task, and what a probe may ask about it."""

    frames: np.ndarray  # int (N, F): the images of each example
    targets: np.ndarray  # int (N,)
    n_classes: int
    augmentations: tuple[str, ...]
    head: Head
    loss: Loss
    build_head: Callable[[FrozenEncoder, int], nn.Module]  # (encoder, seed): the task's own head, with fresh weights
    score: Callable[[np.ndarray, np.ndarray], float]  # of class scores (M, K) and classes (M,), by the task's metric


@dataclass(frozen=True)
class Source:
    """An encoder and a set of images: as cached embeddings (M, D), or themselves where the encoder is to train."""

    encoder: FrozenEncoder
    images: ImageSet
    embedding: np.ndarray | None

    @property
    def features(self) -> np.ndarray:
        assert self.embedding is not None
        return self.embedding


@dataclass(frozen=True)
class Setup:
    """What one head or fit of a problem has of its own."""

    source: Source  # the train split's images
    seed: int
    protocol: Protocol


@dataclass(frozen=True)
class Classifier:
    """A fitted probe.

    ``protocol`` is what its record says of how it was made. ``scores(test, frames, progress)`` returns a score a class,
    float32 (M, K), for the examples ``frames`` (M, F) of ``test``; the largest is the prediction.
    """

    protocol: dict[str, Any]
    scores: Callable[[Source, np.ndarray, Report], np.ndarray]


def fit(
    probe: str, problem: Problem, setups: Sequence[Setup], *, device: torch.device, progress: Report
) -> list[Classifier]:
    """Fit ``probe`` to the train split: "gradient" all ``setups`` as one problem, another probe the only one.

    The embeddings must be of one length, and the protocols may differ in optimiser and learning rate alone. ``progress``
    is called as ``progress(done, total)``, and may raise to end it.
    """
    if probe == "gradient":
        return _fit_gradient(problem, setups, device, progress)
    (setup,) = setups
    one = {"knn": _fit_knn, "lbfgs": _fit_lbfgs, "finetune": _fit_finetune}[probe]
    return [one(problem, setup, device, progress)]


def training(protocol: Protocol) -> dict[str, Any]:
    """Return what records say of a head that was trained by gradient descent."""
    return {
        "epochs": protocol.epochs,
        "batch_size": protocol.batch_size,
        "optimizer": protocol.optimizer,
        "lr": protocol.lr,
    }


def _fit_gradient(
    problem: Problem, setups: Sequence[Setup], device: torch.device, progress: Report
) -> list[Classifier]:
    encoder = setups[0].source.encoder
    heads = gradient.train_heads(
        lambda seed: problem.build_head(encoder, seed),
        [setup.source.features for setup in setups],
        problem.frames,
        problem.targets,
        head=problem.head,
        loss=problem.loss,
        seeds=[setup.seed for setup in setups],
        protocol=setups[0].protocol,
        settings=[(setup.protocol.optimizer, setup.protocol.lr) for setup in setups],
        device=device,
        progress=progress,
    )

    def classifier(head: nn.Module, protocol: Protocol) -> Classifier:
        return Classifier(
            training(protocol), lambda test, frames, _: gradient.predict(head, test.features, frames, device=device)
        )

    return [classifier(head, setup.protocol) for head, setup in zip(heads, setups, strict=True)]


def _fit_knn(problem: Problem, setup: Setup, device: torch.device, progress: Report) -> Classifier:
    """Its fit is to keep the train split."""

    def scores(test: Source, frames: np.ndarray, progress: Report) -> np.ndarray:
        return knn.classify(
            setup.source.features,
            problem.frames,
            problem.targets,
            test.features,
            frames,
            n_classes=problem.n_classes,
            device=device,
            progress=progress,
        )

    protocol = {
        "k": min(knn.K, len(problem.frames)),
        "temperature": knn.TEMPERATURE,
        "similarity": "cosine" if problem.frames.shape[1] == 1 else "cosine, mean over frames",
    }
    return Classifier(protocol, scores)


def _fit_lbfgs(problem: Problem, setup: Setup, device: torch.device, progress: Report) -> Classifier:
    device = torch.device("cpu") if device.type == "mps" else device  # which has no float64
    choice = lbfgs.choose_and_fit(
        setup.source.features,
        problem.frames,
        problem.targets,
        n_classes=problem.n_classes,
        seed=setup.seed,
        score=problem.score,
        device=device,
        progress=progress,
    )
    protocol = {
        "head": "linear",
        "optimizer": "lbfgs",
        "penalty": choice.fit.penalty,
        "penalties_tried": {f"{penalty:g}": score for penalty, score in choice.tried.items()},
        "n_validation": choice.n_validation,
        "feature_scale": choice.fit.scale,
        "iterations": choice.fit.n_iterations,
        "is_converged": choice.fit.is_converged,
    }
    return Classifier(protocol, lambda test, frames, _: choice.fit.scores(test.features, frames, device=device))


def _fit_finetune(problem: Problem, setup: Setup, device: torch.device, progress: Report) -> Classifier:
    encoder, n_frames = setup.source.encoder, problem.frames.shape[1]
    network = finetune.Network(
        encoder.trainable_copy(),
        encoder.preprocess,
        n_frames=n_frames,
        n_classes=problem.n_classes,
        seed=setup.seed,
    )
    batch_size = min(setup.protocol.batch_size, len(problem.frames))
    with FINETUNING.take(finetune.bytes_needed(network, n_frames, batch_size)):
        finetune.train(
            network,
            setup.source.images,
            problem.frames,
            problem.targets,
            protocol=setup.protocol,
            seed=setup.seed,
            augmentations=problem.augmentations,
            device=device,
            progress=progress,
        )
    protocol = {
        **training(setup.protocol),
        "momentum": finetune.MOMENTUM if setup.protocol.optimizer == "sgd" else None,
        "schedule": "cosine",
        "augmentations": list(problem.augmentations),
        "head": "linear",
    }
    return Classifier(
        protocol,
        lambda test, frames, progress: finetune.predict(network, test.images, frames, device=device, progress=progress),
    )


def settings(probe: str, protocol: Mapping[str, Any], augmentations: Sequence[str]) -> dict[str, Any]:
    """Return every setting of a probe with its value, as far as it is known before the data are.

    Args:
        protocol: the probe's or the task's, by field.
        augmentations: those that keep the task's targets.
    """
    if probe == "knn":
        return {"k": knn.K, "temperature": knn.TEMPERATURE}
    if probe == "lbfgs":
        names = ("PENALTIES", "FIRST_STRIDE", "VALIDATION", "MAX_ITERATIONS", "HISTORY", "TOLERANCE")
        return {name.lower(): getattr(lbfgs, name) for name in names}
    if probe == "finetune":
        return {**protocol, "momentum": finetune.MOMENTUM, "augmentations": list(augmentations)}
    return dict(protocol)

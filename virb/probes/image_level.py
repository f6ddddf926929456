"""The probes of image-level tasks behind one surface: fitted to the train split, asked for scores on a test split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from typing import Protocol as Typed

import numpy as np
import torch
from torch import nn

from virb.data.images import ImageSet
from virb.encoder import FrozenEncoder
from virb.probes import finetune, gradient, knn, lbfgs
from virb.task import Protocol
from virb.threads import MemoryShare, memory_bytes

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
    build_head: Callable[[int, int], nn.Module]  # (dim, seed): the task's own head, with fresh weights
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


class Classifier(Typed):
    """A fitted probe."""

    @property
    def protocol(self) -> dict[str, Any]:
        """What its record says of how it was made."""
        ...

    def scores(self, test: Source, frames: np.ndarray, progress: Report) -> np.ndarray:
        """Return a score a class, float32 (M, K), for the examples ``frames`` (M, F); the largest is the prediction."""
        ...


def fit(
    probe: str,
    problem: Problem,
    sources: Sequence[Source],
    seeds: Sequence[int],
    protocols: Sequence[Protocol],
    *,
    device: torch.device,
    progress: Report,
) -> list[Classifier]:
    """Fit ``probe`` to the train split as each of ``sources`` shows it, with the seed and the protocol beside it.

    The embeddings must be of one length, and the protocols may differ in optimiser and learning rate alone. ``progress`` is called as ``progress(done, total)``, and may raise to end it.
    """
    if probe == "gradient":
        return _fit_gradient(problem, sources, seeds, protocols, device, progress)
    one: Callable[[Problem, Source, int, Protocol, torch.device, Report], Classifier] = {
        "knn": _Neighbours,
        "lbfgs": _fit_lbfgs,
        "finetune": _fit_finetune,
    }[probe]
    fitted = []
    for k, (source, seed, protocol) in enumerate(zip(sources, seeds, protocols, strict=True)):

        def report(done: int, total: int, k: int = k) -> None:
            progress(k * total + done, len(sources) * total)

        fitted.append(one(problem, source, seed, protocol, device, report))
    return fitted


def training(protocol: Protocol) -> dict[str, Any]:
    """Return what records say of a head that was trained by gradient descent."""
    return {
        "epochs": protocol.epochs,
        "batch_size": protocol.batch_size,
        "optimizer": protocol.optimizer,
        "lr": protocol.lr,
    }


@dataclass(frozen=True)
class _Head:
    head: nn.Module
    protocol: dict[str, Any]
    device: torch.device

    def scores(self, test: Source, frames: np.ndarray, progress: Report) -> np.ndarray:
        return gradient.predict(self.head, test.features, frames, device=self.device)


def _fit_gradient(
    problem: Problem,
    sources: Sequence[Source],
    seeds: Sequence[int],
    protocols: Sequence[Protocol],
    device: torch.device,
    progress: Report,
) -> list[Classifier]:
    dim = sources[0].encoder.dim
    heads = gradient.train_heads(
        lambda seed: problem.build_head(dim, seed),
        [source.features for source in sources],
        problem.frames,
        problem.targets,
        seeds=seeds,
        protocol=protocols[0],
        settings=[(protocol.optimizer, protocol.lr) for protocol in protocols],
        device=device,
        progress=progress,
    )
    return [_Head(head, training(protocol), device) for head, protocol in zip(heads, protocols, strict=True)]


class _Neighbours:
    """Its fit is to keep the train split."""

    def __init__(
        self, problem: Problem, train: Source, seed: int, protocol: Protocol, device: torch.device, progress: Report
    ) -> None:
        self.problem = problem
        self.train = train
        self.device = device
        self.protocol = {
            "k": min(knn.K, len(problem.frames)),
            "temperature": knn.TEMPERATURE,
            "similarity": "cosine" if problem.frames.shape[1] == 1 else "cosine, mean over frames",
        }

    def scores(self, test: Source, frames: np.ndarray, progress: Report) -> np.ndarray:
        return knn.classify(
            self.train.features,
            self.problem.frames,
            self.problem.targets,
            test.features,
            frames,
            n_classes=self.problem.n_classes,
            device=self.device,
            progress=progress,
        )


@dataclass(frozen=True)
class _Regression:
    fit: lbfgs.Fit
    protocol: dict[str, Any]
    device: torch.device

    def scores(self, test: Source, frames: np.ndarray, progress: Report) -> np.ndarray:
        return self.fit.scores(test.features, frames, device=self.device)


def _fit_lbfgs(
    problem: Problem, train: Source, seed: int, protocol: Protocol, device: torch.device, progress: Report
) -> Classifier:
    device = torch.device("cpu") if device.type == "mps" else device  # which has no float64
    choice = lbfgs.choose_and_fit(
        train.features,
        problem.frames,
        problem.targets,
        n_classes=problem.n_classes,
        seed=seed,
        score=problem.score,
        device=device,
        progress=progress,
    )
    said = {
        "head": "linear",
        "optimizer": "lbfgs",
        "penalty": choice.fit.penalty,
        "penalties_tried": {f"{penalty:g}": score for penalty, score in choice.tried.items()},
        "n_validation": choice.n_validation,
        "feature_scale": choice.fit.scale,
        "iterations": choice.fit.n_iterations,
        "is_converged": choice.fit.is_converged,
    }
    return _Regression(choice.fit, said, device)


@dataclass(frozen=True)
class _Finetuned:
    network: finetune.Network
    protocol: dict[str, Any]
    device: torch.device

    def scores(self, test: Source, frames: np.ndarray, progress: Report) -> np.ndarray:
        return finetune.predict(self.network, test.images, frames, device=self.device, progress=progress)


def _fit_finetune(
    problem: Problem, train: Source, seed: int, protocol: Protocol, device: torch.device, progress: Report
) -> Classifier:
    network = finetune.Network(
        train.encoder.trainable_copy(),
        train.encoder.preprocess,
        n_frames=problem.frames.shape[1],
        n_classes=problem.n_classes,
        seed=seed,
    )
    n_frames = problem.frames.shape[1]
    with FINETUNING.take(finetune.bytes_needed(network, n_frames, min(protocol.batch_size, len(problem.frames)))):
        finetune.train(
            network,
            train.images,
            problem.frames,
            problem.targets,
            protocol=protocol,
            seed=seed,
            augmentations=problem.augmentations,
            device=device,
            progress=progress,
        )
    said = {
        **training(protocol),
        "momentum": finetune.MOMENTUM if protocol.optimizer == "sgd" else None,
        "schedule": "cosine",
        "augmentations": list(problem.augmentations),
        "head": "linear",
    }
    return _Finetuned(network, said, device)

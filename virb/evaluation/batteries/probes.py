"""The battery of a probe."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from virb.contracts.probe import Probe
from virb.evaluation.batteries.common import Checks, K, N, must, sample


def probe_checks(probe: Probe) -> Checks:
    """On each kind of target of whole examples that it takes: outputs, seeds, and what a record can hold."""
    import torch

    from virb import heads, losses, probes
    from virb.contracts.probe import Problem, Setup, Source
    from virb.contracts.task import Protocol
    from virb.convert.load import load_encoder
    from virb.heads import build_head, find_head
    from virb.images.sets import ArrayImages

    whole = sorted(probe.takes & {"class", "labels", "number"})  # kinds of targets of whole examples
    encoder = load_encoder("pixels:2:size=16" if probe.is_frozen else "random:resnet18:width=0.125,size=32")

    def fitted(target: str, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        rng = np.random.default_rng(0)
        images = ArrayImages.of("noise", rng.integers(0, 256, (N, 16, 16, 3), dtype=np.uint8))
        rows = encoder.embed(encoder.prepare(torch.from_numpy(images.array))).numpy() if probe.is_frozen else None
        source = Source(encoder, images, rows)
        _, targets, _ = sample(target)
        head = find_head(heads.USUAL[target])
        problem = Problem(
            target=target,
            frames=np.arange(N)[:, None],
            targets=targets,
            n_out=K,
            augmentations=(),
            head=head,
            loss=losses.find_loss(losses.USUAL[target]),
            build_head=lambda e, seed, initial_output=0.0: build_head(head, n_out=K, dim=e.dim, seed=seed),
            score=lambda outputs, wanted: (
                -float(np.nansum((np.asarray(outputs).argmax(1) - wanted.reshape(len(wanted), -1)[:, 0]) ** 2))
            ),
        )
        protocol = Protocol(epochs=2, batch_size=8, optimizer="sgd", lr=0.01)
        setup = Setup(source, seed, protocol)
        (found,) = probes.fit(probe, problem, [setup], device=torch.device("cpu"), progress=lambda done, total: None)
        return np.asarray(found.outputs(source, np.arange(6)[:, None], lambda done, total: None)), found.protocol

    def outputs() -> str:
        for target in whole:
            found, protocol = fitted(target, 0)
            must(found.shape == (6, K), f"{target}: its outputs are {found.shape}; expected (6, {K}).")
            must(bool(np.isfinite(found).all()), f"{target}: its outputs are not finite.")
            json.dumps(protocol, allow_nan=False)  # a record holds it
        return ", ".join(whole) or "it takes pixelwise targets alone; evaluate a task with it"

    def seeds() -> str:
        for target in whole:
            first, again, other = (fitted(target, seed)[0] for seed in (0, 0, 1))
            must(np.array_equal(first, again), f"{target}: one seed gave two results.")
            if not probe.is_random:
                must(
                    np.array_equal(first, other), f"{target}: it says that nothing is random, and its seed changes it."
                )
        return "one seed, one result"

    return [("outputs", outputs), ("seeds", seeds)]

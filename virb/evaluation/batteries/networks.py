"""The batteries of what pretraining is made of: a backbone family, a method, a data set to pretrain on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from virb.errors import UsageError
from virb.evaluation.batteries.common import Checks, must

SIDE, ODD, BATCH = 64, 11, 4  # pixels, how many more a second size has, and images


def backbone_checks(family: Any) -> Checks:
    """Its maps are where and as large as it says, images do not see each other, and a state comes back."""
    from virb.networks.backbones import blank_backbone, build_backbone

    own = int(family.defaults.get("image_size", SIDE))

    def network(seed: int = 0) -> Any:
        torch.manual_seed(seed)
        return build_backbone(family.name).eval()

    def images(side: int, n: int = 2) -> torch.Tensor:
        return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1))

    @torch.inference_mode()
    def shapes() -> str:
        net = network()
        for side in (own, own + ODD):
            try:
                vector, maps = net.features(images(side))
            except UsageError:
                must(side != own, f"it refuses images of {own} px.")
                continue  # a network may be made for one size, if it says so
            must(vector.shape == (2, net.dim), f"the embedding is {tuple(vector.shape)}; dim says (2, {net.dim}).")
            must(len(maps) == len(net.strides), f"it gives {len(maps)} maps and {len(net.strides)} strides.")
            for found, channels, stride in zip(maps, net.channels, net.strides, strict=True):
                must(
                    found.shape[:2] == (2, channels)
                    and all(n in (side // stride, -(-side // stride)) for n in found.shape[2:]),
                    f"at {side} px the map of stride {stride} is {tuple(found.shape)}; "
                    f"expected (2, {channels}, {side / stride:g}, {side / stride:g}), rounded up or down.",
                )
        return f"{net.dim} dimensions; strides {', '.join(map(str, net.strides))}"

    @torch.inference_mode()
    def alone() -> str:
        net, x = network(), images(own, 3)
        together = net.embed(x)
        one = torch.cat([net.embed(x[k : k + 1]) for k in range(3)])
        must(torch.allclose(together, one, rtol=1e-3, atol=1e-5), "an image's embedding depends on its neighbours.")
        must(torch.equal(together, net.embed(x)), "two passes over equal images differ.")
        return "frozen, images do not see each other"

    def seeds() -> str:
        first, again, other = (network(seed).state_dict() for seed in (0, 0, 1))
        must(all(torch.equal(first[key], again[key]) for key in first), "one seed gives two networks.")
        must(not first or any(not torch.equal(first[key], other[key]) for key in first), "seeds change nothing.")
        return "weights follow torch's generator"

    @torch.inference_mode()
    def state() -> str:
        net, blank = network(), blank_backbone(family.name)
        blank.load_state_dict(net.state_dict())
        x = images(own)
        must(torch.equal(net.embed(x), blank.eval().embed(x)), "its state dictionary is not its whole state.")
        return f"{sum(p.numel() for p in net.parameters()):,} parameters"

    def options() -> str:
        try:
            build_backbone(family.name, no_such_option=1)
        except UsageError:
            return ", ".join(f"{name}={value}" for name, value in family.defaults.items()) or "none"
        must(False, "it takes an option that it does not have.")
        return ""

    return [("shapes", shapes), ("images alone", alone), ("seeds", seeds), ("state", state), ("options", options)]


def method_checks(method: Any) -> Checks:
    """One update on a small network: a finite loss whose gradient reaches the encoder, equal for equal seeds."""
    from virb.contracts.method import Setup
    from virb.networks.backbones import build_backbone
    from virb.pretraining.learner import Batch, Progress

    n = 8
    setup = Setup(SIDE, 64, 4, n, 10, 5, (0.5,) * 3, (0.25,) * 3)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8))

    def learner() -> Any:
        torch.manual_seed(0)
        return method.learner(build_backbone("resnet18", width=0.125), method.resolve([]), setup)

    def step(taught: Any) -> Any:
        taught.train()
        torch.manual_seed(1)  # a checkpoint holds the generator's state too
        progress = Progress(0, setup.steps, setup.steps_per_epoch)
        taught.before_step(progress)
        seen = taught.views(pixels, torch.Generator().manual_seed(0))
        outcome = taught(seen, Batch(torch.arange(n), torch.arange(n) % setup.n_classes), progress)
        outcome.loss.backward()
        return outcome

    def declared() -> str:
        must(bool(method.source), "it names no source.")
        missing = [option.name for option in method.options if not option.help]
        must(not missing, f"options without help: {', '.join(missing)}.")
        return method.source

    if method.learner is None:
        return [("what it declares", declared)]

    def update() -> str:
        taught = learner()
        outcome = step(taught)
        must(outcome.loss.ndim == 0 and bool(torch.isfinite(outcome.loss)), f"the loss is {outcome.loss!r}.")
        moved = [p for p in taught.encoder.parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)]
        must(bool(moved), "no gradient reaches the encoder.")
        grouped = {id(p) for group in taught.groups(0.1) for p in group["params"]}
        lost = [name for name, p in taught.named_parameters() if p.requires_grad and id(p) not in grouped]
        must(not lost, f"no optimiser group holds {', '.join(lost[:5])}.")
        return f"loss {float(outcome.loss.detach()):.4g}"

    def seeds() -> str:
        first, again = (step(learner()).loss.detach() for _ in range(2))
        must(torch.equal(first, again), f"one seed gives the losses {float(first)!r} and {float(again)!r}.")
        return "equal seeds, equal bits"

    def state() -> str:
        taught = learner()
        step(taught)
        other = method.learner(build_backbone("resnet18", width=0.125), method.resolve([]), setup)
        other.load_state_dict(taught.state_dict())
        must(
            torch.equal(step(taught).loss.detach(), step(other).loss.detach()),
            "a run resumed from the state dictionary goes on otherwise: something is in no parameter or buffer.",
        )
        return "the state dictionary is the whole state"

    return [("what it declares", declared), ("an update", update), ("seeds", seeds), ("state", state)]


def dataset_checks(dataset: Any) -> Checks:
    """It loads, images are uint8 RGB, and equal content has an equal revision."""

    def images() -> str:
        data = dataset.load(None)
        must(len(data) > 0, "it holds no image.")
        batch = data.batch(np.arange(min(BATCH, len(data))))
        if isinstance(batch, np.ndarray):
            must(batch.dtype == np.uint8 and batch.ndim == 4 and batch.shape[3] == 3, f"{batch.dtype} {batch.shape}.")
        must(data.label is None or len(data.label) == len(data), "labels and images differ in number.")
        n = f"{len(data):,} images"
        return f"{n} of {len(data.classes)} classes" if data.label is not None else n

    def revision() -> str:
        first, again = (dataset.load(None).revision for _ in range(2))
        must(first == again, "two loads have two revisions: a run could not be resumed.")
        return first[:12]

    return [("images", images), ("revision", revision)]

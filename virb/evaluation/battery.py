"""One battery of checks a kind of part: ``virb validate FILE`` runs it on anybody's, the tests on ours."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from virb import registry
from virb.contracts.head import Head
from virb.contracts.loss import Loss
from virb.contracts.metric import Metric, TargetFacts
from virb.contracts.probe import Probe
from virb.errors import DataError, UsageError, VirbError
from virb.evaluation.validation import Check

if TYPE_CHECKING:
    import torch
    from torch import Tensor

K, N, DIM, SIZE = 3, 24, 20, 32  # classes (or numbers), examples, width of embeddings, pixels
PYRAMIDS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((8, 8, 16, 32, 64), (2, 4, 8, 16, 32)),
    ((24, 24, 24, 24), (16, 16, 16, 16)),
    ((12,), (8,)),
)


Checks = list[tuple[str, Callable[[], "str | None"]]]


class _Wrong(VirbError):
    """A check that failed, with what was found."""


def _must(is_so: bool, text: str) -> None:
    if not is_so:
        raise _Wrong(text)


def check_part(entry: registry.Entry) -> list[Check]:
    """Return the checks of the part that ``entry`` found; where it does not load, that is the only one."""
    try:
        part = registry.load_entry(entry)
    except VirbError as error:
        return [Check("it loads", False, str(error))]
    found = [Check("it loads", True, f"{registry.KINDS[entry.kind].singular} {entry.name}")]
    battery: Callable[[Any], Checks] | None = {
        "heads": head_checks,
        "losses": loss_checks,
        "metrics": metric_checks,
        "probes": probe_checks,
        "analyses": analysis_checks,
        "layouts": layout_checks,
        "executors": executor_checks,
    }.get(entry.kind)  # type: ignore[assignment]
    for name, look in battery(part) if battery else []:
        try:
            found.append(Check(name, True, look() or ""))
        except Exception as error:  # whatever a part does is what is being asked
            text = str(error) if isinstance(error, _Wrong) else f"{type(error).__name__}: {error}"
            found.append(Check(name, False, text))
    return found


# -------------------------------------------------------------------------------------------------------------- heads


def head_checks(head: Head) -> Checks:
    """Its outputs, its seed, its gradients, and its stack against automatic differentiation."""
    import torch

    from virb.heads import build_head
    from virb.losses import find_loss
    from virb.training.stacks import AutogradStack, aligned, stack_heads

    frames = sorted({head.min_frames, min(head.max_frames or 3, 3)})
    defaults = {option.name: option.default for option in head.options}

    def cases() -> list[tuple[dict[str, Any], Callable[[Any, int], Tensor]]]:
        made: list[tuple[dict[str, Any], Callable[[Any, int], Tensor]]] = []
        for n_frames in frames:
            if head.is_pixelwise:
                for channels, strides in PYRAMIDS:
                    about = {"channels": channels, "strides": strides, "n_frames": n_frames}
                    made.append((about, _on_pyramid(channels, strides, n_frames)))
            else:
                shape = (n_frames,) * (n_frames > 1) + (5,) * (head.reads == "tokens") + (DIM,)
                made.append(({"dim": DIM, "n_frames": n_frames}, _on_rows(shape)))
        return made

    def outputs() -> str:
        for about, call in cases():
            for n in (1, 4):
                found = call(build_head(head, n_out=K, **about).train(), n)
                wanted = (n, K, SIZE, SIZE) if head.is_pixelwise else (n, K)
                _must(tuple(found.shape) == wanted, f"it returns {tuple(found.shape)} on {about}; expected {wanted}.")
                _must(bool(found.isfinite().all()), f"its outputs on {about} are not finite.")
        return f"{len(cases())} shapes, a batch of one among them"

    def seeds() -> str:
        for about, _ in cases():
            first, again, other = (_flat(build_head(head, n_out=K, seed=seed, **about)) for seed in (0, 0, 1))
            _must(
                torch.equal(first, again), "one seed gave two heads: draw its weights from PyTorch's generator alone."
            )
            _must(not torch.equal(first, other), "two seeds gave one head.")
        return "weights depend on the seed alone"

    def gradients() -> str:
        for about, call in cases():
            module = build_head(head, n_out=K, **about).train()
            call(module, 4).square().sum().backward()
            for name, parameter in module.named_parameters():
                _must(parameter.grad is not None, f"its parameter {name} takes no part in the output.")
                assert parameter.grad is not None
                _must(bool(parameter.grad.isfinite().all()), f"the gradient of {name} is not finite.")
        return "every parameter has one"

    def options() -> str:
        about = cases()[0][0]
        try:
            build_head(head, n_out=K, **about, no_such_option=1)
        except UsageError:
            return ", ".join(f"{name}={value}" for name, value in defaults.items()) or "it has none; others are refused"
        raise _Wrong("an option that it does not declare is taken.")

    def starts() -> str:
        about, call = cases()[0]
        plain, moved = (build_head(head, n_out=K, initial_output=x, **about).eval() for x in (2.5, 3.5))
        _must(
            bool(torch.allclose(call(moved, 2), call(plain, 2) + 1, atol=1e-4)),
            "its outputs do not move with where they start.",
        )
        return "a regression may start at its mean"

    def together() -> str:
        n_frames = frames[-1]
        width = DIM * (5 if head.reads == "tokens" else 1)
        x = torch.randn(2, n_frames, 16, width, generator=torch.Generator().manual_seed(0))
        wanted = torch.randint(0, K, (2, 16), generator=torch.Generator().manual_seed(1))
        loss = find_loss("cross_entropy")
        padded = torch.nn.functional.pad(x, (0, aligned(width) - width))

        def moved(members: list[int], *, is_plain: bool) -> list[Tensor]:
            made: list[torch.nn.Module] = [
                build_head(head, n_out=K, dim=DIM, n_frames=n_frames, seed=k) for k in members
            ]
            if head.reads == "tokens":
                made = [torch.nn.Sequential(torch.nn.Unflatten(-1, (-1, DIM)), module) for module in made]
            stack = (
                AutogradStack(made, loss, "cpu", dim=width) if is_plain else stack_heads(head, made, loss, dim=width)
            )
            stack.set_gradients(padded[members], wanted[members], 11)
            for weights in stack.parameters(0, len(members)):
                assert weights.grad is not None
                weights -= 0.1 * weights.grad
            stack.copy_to(made)
            return [_flat(module) for module in made]

        both, alone = moved([0, 1], is_plain=False), moved([1], is_plain=False)
        _must(torch.equal(both[1], alone[0]), "its bits depend on the heads that it trains with.")
        for ours, plain in zip(both, moved([0, 1], is_plain=True), strict=True):
            _must(
                bool(torch.allclose(ours, plain, atol=1e-5)),
                "its written-out gradient is not that of automatic differentiation.",
            )
        return "written out, and equal to automatic differentiation" if head.stack else "by automatic differentiation"

    checks: Checks = [("outputs", outputs), ("seeds", seeds), ("gradients", gradients), ("options", options)]
    checks.append(("outputs start where they are told", starts))
    return checks if head.is_pixelwise else [*checks, ("heads train together", together)]


def _on_rows(shape: tuple[int, ...]) -> Callable[[Any, int], Tensor]:
    import torch

    return lambda module, n: module(torch.randn(n, *shape, generator=torch.Generator().manual_seed(2)))


def _on_pyramid(channels: tuple[int, ...], strides: tuple[int, ...], n_frames: int) -> Callable[[Any, int], Tensor]:
    import torch

    def call(module: Any, n: int) -> Tensor:
        draw = torch.Generator().manual_seed(2)
        one = [
            torch.randn(n, c, -(-SIZE // s), -(-SIZE // s), generator=draw)
            for c, s in zip(channels, strides, strict=True)
        ]
        output: Tensor = module(*[one] * n_frames, (SIZE, SIZE))
        return output

    return call


def _flat(module: Any) -> Tensor:
    import torch

    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


# ------------------------------------------------------------------------------------------------- losses and metrics


def sample(target: str, *, n: int = N, seed: int = 0) -> tuple[np.ndarray, np.ndarray, int | None]:
    """Return random outputs (n, K, ...), targets of a kind, and the class that counts for nothing; some have no target."""
    rng = np.random.default_rng(seed)
    place = (5, 4) if target in ("mask", "map") else ()
    outputs = rng.normal(size=(n, K, *place)).astype(np.float32)
    if target in ("class", "mask"):
        found = rng.integers(0, K, (n, *place))
        return outputs, np.where(rng.random(found.shape) < 0.2, 255, found) if place else found, 255 if place else None
    if target == "labels":
        return outputs, rng.choice([-1, 0, 1], (n, K), p=[0.1, 0.5, 0.4]), None
    numbers = rng.normal(size=(n, K, *place)).astype(np.float32)
    return outputs, np.where(rng.random(numbers.shape) < 0.2, np.nan, numbers).astype(np.float32), None


def loss_checks(loss: Loss) -> Checks:
    """Its sum, what counts for nothing, its gradient, and its derivative if it has one."""
    import torch

    from virb.training.stacks import derivative

    def total(outputs: Tensor, targets: np.ndarray, ignore: int | None) -> tuple[Tensor, int]:
        return loss.total(outputs, torch.from_numpy(targets), ignore)

    def adds_up() -> str:
        for target in sorted(loss.takes):
            outputs, targets, ignore = sample(target)
            whole, n = total(torch.from_numpy(outputs), targets, ignore)
            parts = [total(torch.from_numpy(outputs[k : k + 8]), targets[k : k + 8], ignore) for k in (0, 8, 16)]
            _must(n == sum(count for _, count in parts), f"{target}: it counts otherwise in parts than as a whole.")
            _must(n <= targets.size, f"{target}: it counts {n} of {targets.size} targets.")
            close = torch.isclose(whole, torch.stack([value for value, _ in parts]).sum(), rtol=1e-4)
            _must(bool(close), f"{target}: the sum over a batch is not that over its parts; return a sum, not a mean.")
        return ", ".join(sorted(loss.takes))

    def nothing() -> str:
        for target in sorted(loss.takes - {"class"}):
            outputs, targets, ignore = sample(target)
            absent = {"labels": -1, "mask": 255}.get(target, np.nan)
            of_none, n = total(torch.from_numpy(outputs), np.full_like(targets, absent), ignore)
            _must(n == 0 and float(of_none) == 0, f"{target}: targets that count for nothing cost {float(of_none):g}.")
        return "what has no target costs nothing"

    def gradient() -> str:
        for target in sorted(loss.takes):
            outputs, targets, ignore = sample(target)
            own = torch.from_numpy(outputs).requires_grad_()
            value, n = total(own, targets, ignore)
            (step,) = torch.autograd.grad(value / n, own)
            _must(bool(step.isfinite().all()), f"{target}: its gradient is not finite.")
            after, _ = total(own.detach() - 0.05 * step / step.abs().max(), targets, ignore)
            _must(
                float(after) < float(value.detach()), f"{target}: a step against its gradient does not make it smaller."
            )
        return "finite, and downhill"

    def written() -> str:
        assert loss.derivative is not None
        for target in sorted(loss.takes & {"class", "labels", "number"}):
            outputs, targets, _ = sample(target)
            x = torch.from_numpy(outputs.reshape(2, N // 2, K)).transpose(1, 2).contiguous()
            wanted = torch.from_numpy(targets.reshape(2, N // 2, *targets.shape[1:]))
            ours, plain = loss.derivative(x.clone(), wanted, 9), derivative(loss)(x.clone(), wanted, 9)
            _must(
                bool(torch.allclose(ours, plain, atol=1e-6)),
                f"{target}: it is not what automatic differentiation gives.",
            )
        return "equal to automatic differentiation"

    checks: Checks = [("it adds up", adds_up), ("what counts for nothing", nothing), ("its gradient", gradient)]
    return checks if loss.derivative is None else [*checks, ("its written-out derivative", written)]


def metric_checks(metric: Metric) -> Checks:
    """Its merging and order, its direction, what it keeps of each example, and that nothing given is an error."""
    defaults = {option.name: option.default for option in metric.options}

    def drawn(target: str) -> tuple[np.ndarray, np.ndarray, int | None]:
        outputs, targets, ignore = sample(target)
        if target != "map":
            return outputs, targets, ignore
        width = 1 if metric.name not in ("one_minus_all", "neg_epe") else 2
        try:  # maps are of one number or of two; a metric says which by what it refuses
            new("map", ignore).update(outputs[:1, :1], targets[:1, 0])
        except UsageError:
            width = 2
        return outputs[:, :width], targets[:, 0] if width == 1 else targets[:, :2].transpose(0, 2, 3, 1), ignore

    def new(target: str, ignore: int | None) -> Any:
        classes = 0 if target in ("number", "map") else K
        return metric.state(TargetFacts(classes, ignore), **defaults)

    def order() -> str:
        for target in sorted(metric.takes):
            outputs, targets, ignore = drawn(target)
            whole, shuffled, left, right = (new(target, ignore) for _ in range(4))
            whole.update(outputs, targets)
            for k in np.random.default_rng(1).permutation(N):
                shuffled.update(outputs[k : k + 1], targets[k : k + 1])
            left.update(outputs[:7], targets[:7])
            right.update(outputs[7:], targets[7:])
            left.merge(right)
            numbers = dict(whole.compute())
            _must(metric.name in numbers, f"its numbers are {', '.join(numbers)}; one must be called {metric.name!r}.")
            _must(dict(shuffled.compute()) == numbers, f"{target}: its numbers depend on the order of the examples.")
            _must(dict(left.compute()) == numbers, f"{target}: merged parts give other numbers.")
            _must(len(whole) == N, f"its length is {len(whole)} after {N} examples.")
        return "order, batches and merging do not change a bit"

    def direction() -> str:
        sign = 1 if metric.better == "higher" else -1
        for target in sorted(metric.takes):
            outputs, targets, ignore = drawn(target)
            random, right = new(target, ignore), new(target, ignore)
            random.update(outputs, targets)
            right.update(_right(target, targets), targets)
            is_better = sign * right.score > sign * random.score
            _must(
                is_better,
                f"{target}: right outputs score {right.score:g}, random ones {random.score:g}: better is {metric.better}?",
            )
        return f"{metric.better} is better; unit: {metric.unit}"

    def examples() -> str:
        for target in sorted(metric.takes):
            outputs, targets, ignore = drawn(target)
            state = new(target, ignore)
            state.update(outputs, targets)
            for name, values in state.per_example().items():
                _must(len(values) == N, f"per_example()[{name!r}] has {len(values)} rows for {N} examples.")
        return "one row an example"

    def empty() -> str:
        target = min(metric.takes)
        try:
            new(target, None).compute()
        except DataError as error:
            return str(error)
        raise _Wrong("compute() of nothing must raise DataError.")

    return [
        ("order and merging", order),
        ("which way is better", direction),
        ("what is kept of each example", examples),
        ("nothing given", empty),
    ]


def _right(target: str, targets: np.ndarray) -> np.ndarray:
    """Return outputs that predict the targets."""
    if target in ("class", "mask"):
        return np.moveaxis(np.eye(256, dtype=np.float32)[targets][..., :K], -1, 1)
    if target == "map" and targets.ndim == 4:
        return np.nan_to_num(targets).transpose(0, 3, 1, 2)
    return np.nan_to_num(targets)[:, None] if target == "map" else np.nan_to_num(targets).astype(np.float32)


# ------------------------------------------------------------------------------------------------------------- probes


def probe_checks(probe: Probe) -> Checks:
    """On each kind of target of whole examples that it takes: outputs, seeds, and what a record can hold."""
    import torch

    from virb import probes
    from virb.contracts.probe import Problem, Setup, Source
    from virb.contracts.task import Protocol
    from virb.convert.load import load_encoder
    from virb.heads import build_head, find_head
    from virb.images.sets import ArrayImages
    from virb.losses import find_loss

    losses = {"class": "cross_entropy", "labels": "bce", "number": "l2"}
    encoder = load_encoder("pixels:2:size=16" if probe.is_frozen else "random:resnet18:width=0.125,size=32")

    def fitted(target: str, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        rng = np.random.default_rng(0)
        images = ArrayImages.of("noise", rng.integers(0, 256, (N, 16, 16, 3), dtype=np.uint8))
        rows = encoder.embed(encoder.prepare(torch.from_numpy(images.array))).numpy() if probe.is_frozen else None
        source = Source(encoder, images, rows)
        _, targets, _ = sample(target)
        head = find_head("linear")
        problem = Problem(
            target=target,
            frames=np.arange(N)[:, None],
            targets=targets,
            n_out=K,
            augmentations=(),
            head=head,
            loss=find_loss(losses[target]),
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
        whole = sorted(probe.takes & set(losses))
        for target in whole:
            found, protocol = fitted(target, 0)
            _must(found.shape == (6, K), f"{target}: its outputs are {found.shape}; expected (6, {K}).")
            _must(bool(np.isfinite(found).all()), f"{target}: its outputs are not finite.")
            json.dumps(protocol, allow_nan=False)  # a record holds it
        return ", ".join(whole) or "it takes pixelwise targets alone; evaluate a task with it"

    def seeds() -> str:
        for target in sorted(probe.takes & set(losses)):
            first, again, other = (fitted(target, seed)[0] for seed in (0, 0, 1))
            _must(np.array_equal(first, again), f"{target}: one seed gave two results.")
            if not probe.is_random:
                _must(
                    np.array_equal(first, other), f"{target}: it says that nothing is random, and its seed changes it."
                )
        return "one seed, one result"

    return [("outputs", outputs), ("seeds", seeds)]


# ------------------------------------------------------------------------------------------------------------- others


def analysis_checks(analysis: Any) -> Checks:
    """On the smallest table, a sparse one and one of mixed units: it is done, or says why not."""
    import pandas as pd

    from virb.contracts.analysis import run_by_name
    from virb.scores.schema import check_scores

    def table(n_encoders: int, n_tasks: int) -> pd.DataFrame:
        rng = np.random.default_rng(0)
        rows = [(f"e{e}", f"t{t}", float(rng.random())) for e in range(n_encoders) for t in range(n_tasks)]
        return pd.DataFrame(rows, columns=["encoder", "task", "score"])

    def ran(frame: pd.DataFrame) -> str:
        with tempfile.TemporaryDirectory() as folder:
            found = run_by_name(analysis.name, check_scores(frame), Path(folder))
        _must(found.status != "failed", found.reason)
        return f"{found.status}{': ' + found.reason if found.reason else ''}"

    return [
        ("the smallest table", lambda: ran(table(1, 1))),
        ("a sparse table", lambda: ran(table(6, 5).sample(frac=0.6, random_state=0))),
        (
            "mixed units",
            lambda: ran(table(6, 5).assign(unit=lambda f: f["task"].map({"t0": "metre"}).fillna("fraction"))),
        ),
    ]


def layout_checks(layout: Any) -> Checks:
    """It knows its anchors, and refuses the names of other networks."""

    def refuses() -> str:
        from virb.networks.backbones import build_backbone

        shapes = {
            name: tuple(value.shape) for name, value in build_backbone("resnet18", width=0.125).state_dict().items()
        }
        for names in ({}, shapes):
            _must(layout.recognise(names, names) is None, "it takes a file that is not of its layout.")
        return "other names are refused"

    def anchors() -> str:
        _must(bool(layout.anchors), "it names no anchor, a tensor that only its files have.")
        return ", ".join(layout.anchors)

    return [("anchors", anchors), ("it refuses others", refuses)]


def executor_checks(executor: Any) -> Checks:
    """It refuses a place where it cannot run with a sentence."""

    def places() -> str:
        for place in ("", "no-such-place"):
            try:
                executor.check(place)
            except UsageError:
                continue
        return "it says in a sentence where it cannot run"

    return [("places", places)]

"""The battery of a head."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from virb.contracts.head import Head
from virb.errors import UsageError
from virb.evaluation.batteries.common import DIM, SIZE, Checks, K, Wrong, must

if TYPE_CHECKING:
    from torch import Tensor

PYRAMIDS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((8, 8, 16, 32, 64), (2, 4, 8, 16, 32)),
    ((24, 24, 24, 24), (16, 16, 16, 16)),
    ((12,), (8,)),
)


def head_checks(head: Head) -> Checks:
    """Its outputs, its seed, its gradients, and its stack against automatic differentiation."""
    import torch

    from virb.heads import build_head
    from virb.losses import USUAL, find_loss
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
                made.append(({"dim": DIM, "n_frames": n_frames}, _on_rows(shape, is_shown=not head.trains)))
        return made

    def outputs() -> str:
        for about, call in cases():
            for n in (1, 4):
                found = call(build_head(head, n_out=K, **about).train(), n)
                wanted = (n, K, SIZE, SIZE) if head.is_pixelwise else (n, K)
                must(tuple(found.shape) == wanted, f"it returns {tuple(found.shape)} on {about}; expected {wanted}.")
                must(bool(found.isfinite().all()), f"its outputs on {about} are not finite.")
        return f"{len(cases())} shapes, a batch of one among them"

    def seeds() -> str:
        for about, _ in cases():
            first, again, other = (_flat(build_head(head, n_out=K, seed=seed, **about)) for seed in (0, 0, 1))
            must(torch.equal(first, again), "one seed gave two heads: draw its weights from PyTorch's generator alone.")
            must(not torch.equal(first, other), "two seeds gave one head.")
        return "weights depend on the seed alone"

    def gradients() -> str:
        for about, call in cases():
            module = build_head(head, n_out=K, **about).train()
            call(module, 4).square().sum().backward()
            for name, parameter in module.named_parameters():
                must(parameter.grad is not None, f"its parameter {name} takes no part in the output.")
                assert parameter.grad is not None
                must(bool(parameter.grad.isfinite().all()), f"the gradient of {name} is not finite.")
        return "every parameter has one"

    def options() -> str:
        about = cases()[0][0]
        try:
            build_head(head, n_out=K, **about, no_such_option=1)
        except UsageError:
            return ", ".join(f"{name}={value}" for name, value in defaults.items()) or "it has none; others are refused"
        raise Wrong("an option that it does not declare is taken.")

    def starts() -> str:
        about, call = cases()[0]
        plain, moved = (build_head(head, n_out=K, initial_output=x, **about).eval() for x in (2.5, 3.5))
        must(
            bool(torch.allclose(call(moved, 2), call(plain, 2) + 1, atol=1e-4)),
            "its outputs do not move with where they start.",
        )
        return "a regression may start at its mean"

    def together() -> str:
        n_frames = frames[-1]
        width = DIM * (5 if head.reads == "tokens" else 1)
        x = torch.randn(2, n_frames, 16, width, generator=torch.Generator().manual_seed(0))
        wanted = torch.randint(0, K, (2, 16), generator=torch.Generator().manual_seed(1))
        loss = find_loss(USUAL["class"])
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
        must(torch.equal(both[1], alone[0]), "its bits depend on the heads that it trains with.")
        for ours, plain in zip(both, moved([0, 1], is_plain=True), strict=True):
            must(
                bool(torch.allclose(ours, plain, atol=1e-5)),
                "its written-out gradient is not that of automatic differentiation.",
            )
        return "written out, and equal to automatic differentiation" if head.stack else "by automatic differentiation"

    checks: Checks = [("outputs", outputs), ("seeds", seeds), ("gradients", gradients), ("options", options)]
    if not head.trains:
        return [check for check in checks if check[0] in ("outputs", "options")]
    checks.append(("outputs start where they are told", starts))
    return checks if head.is_pixelwise else [*checks, ("heads train together", together)]


def _on_rows(shape: tuple[int, ...], *, is_shown: bool) -> Callable[[Any, int], Tensor]:
    import torch

    def call(module: Any, n: int) -> Tensor:
        if is_shown:  # one that does not train is shown the train split
            module.remember(torch.randn(K, *shape, generator=torch.Generator().manual_seed(3)), torch.arange(K))
        output: Tensor = module(torch.randn(n, *shape, generator=torch.Generator().manual_seed(2)))
        return output

    return call


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

"""The battery of a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from virb.contracts.loss import Loss
from virb.evaluation.batteries.common import Checks, K, N, must, sample

if TYPE_CHECKING:
    from torch import Tensor


def loss_checks(loss: Loss) -> Checks:
    """Its sum, what counts for nothing, its gradient, and its derivative if it has one."""
    import torch

    from virb.training.stacks import derivative

    def total(outputs: Tensor, targets: np.ndarray, ignore: int | None) -> tuple[Tensor, int]:
        value, n = loss.total(outputs, torch.from_numpy(targets), ignore)
        return value, int(n)

    def adds_up() -> str:
        for target in sorted(loss.takes):
            outputs, targets, ignore = sample(target)
            whole, n = total(torch.from_numpy(outputs), targets, ignore)
            parts = [total(torch.from_numpy(outputs[k : k + 8]), targets[k : k + 8], ignore) for k in (0, 8, 16)]
            must(n == sum(count for _, count in parts), f"{target}: it counts otherwise in parts than as a whole.")
            must(n <= targets.size, f"{target}: it counts {n} of {targets.size} targets.")
            close = torch.isclose(whole, torch.stack([value for value, _ in parts]).sum(), rtol=1e-4)
            must(bool(close), f"{target}: the sum over a batch is not that over its parts; return a sum, not a mean.")
        return ", ".join(sorted(loss.takes))

    def nothing() -> str:
        for target in sorted(loss.takes - {"class"}):
            outputs, targets, ignore = sample(target)
            absent = {"labels": -1, "mask": 255}.get(target, np.nan)
            of_none, n = total(torch.from_numpy(outputs), np.full_like(targets, absent), ignore)
            must(n == 0 and float(of_none) == 0, f"{target}: targets that count for nothing cost {float(of_none):g}.")
        return "what has no target costs nothing"

    def gradient() -> str:
        for target in sorted(loss.takes):
            outputs, targets, ignore = sample(target)
            own = torch.from_numpy(outputs).requires_grad_()
            value, n = total(own, targets, ignore)
            (step,) = torch.autograd.grad(value / n, own)
            must(bool(step.isfinite().all()), f"{target}: its gradient is not finite.")
            after, _ = total(own.detach() - 0.05 * step / step.abs().max(), targets, ignore)
            must(
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
            must(
                bool(torch.allclose(ours, plain, atol=1e-6)),
                f"{target}: it is not what automatic differentiation gives.",
            )
        return "equal to automatic differentiation"

    checks: Checks = [("it adds up", adds_up), ("what counts for nothing", nothing), ("its gradient", gradient)]
    return checks if loss.derivative is None else [*checks, ("its written-out derivative", written)]

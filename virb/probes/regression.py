"""Penalised logistic and ridge regression on frozen embeddings: the objective, its data, and its minimum.

What is minimised is scikit-learn's: the sum over examples of the cross-entropy, plus penalty / 2 times the sum of the
squared weights (its C is 1 / penalty); biases are free. The mean is taken off the features and everything is divided by
one number, the root mean square of what is left: that changes no distance but for its unit, so that a penalty means the
same for every encoder.

Of several labels each is a regression of its own against the rest (the sum of binary cross-entropies), with one penalty for
all; of numbers it is ridge regression: half the sum of squared errors in place of the cross-entropy.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from virb.errors import TrainingError
from virb.system.mapped import Rows
from virb.system.threads import one_thread
from virb.training import quasi_newton

MAX_ITERATIONS = 1000
HISTORY = 20  # steps from which the curvature is corrected
TOLERANCE = 1e-8  # of the largest element of the gradient of the mean loss
LEAST_CURVATURE = 1e-6  # of the loss, where all predictions are sure
MAX_WIDTH = 2048  # columns whose covariance is used together
EXAMPLES_A_COLUMN = 8  # from which a covariance is estimated
# Features up to this size, in float64, are kept in memory (a GPU has its own, and one job at a time); larger ones are read
# in every iteration, a block at a time.
MAX_HELD_BYTES = 512 << 20
MAX_HELD_BYTES_ON_GPU = 32 << 30
BLOCK_BYTES = 2 << 20  # of float32: twice that stays in a processor's cache
BLOCK_BYTES_ON_GPU = 64 << 20


@dataclass(frozen=True)
class Fit:
    """A fitted regression. Its weights are those of the features less ``mean``, over ``scale``.

    ``weights`` is float64 (D + 1, K), the last row the biases.
    """

    penalty: float
    weights: Tensor
    mean: Tensor
    scale: float
    n_iterations: int
    is_converged: bool
    gradient: float  # its largest element, of the mean loss

    def scores(self, features: np.ndarray, frames: np.ndarray, *, device: torch.device | str = "cpu") -> np.ndarray:
        """Return the logits of the examples ``frames`` (N, F), float32 (N, K)."""
        with one_thread(), torch.inference_mode():
            x = Inputs(features, frames, torch.device(device), self.mean, self.scale)
            weights = self.weights.to(device, torch.float32)
            return np.concatenate([_logits(block, weights).cpu().numpy() for _, block in x.blocks()])


def fit(
    features: np.ndarray,
    frames: np.ndarray,
    targets: np.ndarray,
    *,
    n_classes: int,
    penalty: float,
    tolerance: float = TOLERANCE,
    target: str = "class",
    device: torch.device | str = "cpu",
) -> Fit:
    """Fit the regression at one ``penalty``; the other arguments are those of
    :func:`virb.probes.lbfgs.choose_and_fit`. ``tolerance`` is of the largest element of the gradient of the mean loss."""
    return Objective(features, frames, targets, n_classes, torch.device(device), target).solve(
        penalty, tolerance=tolerance
    )


class Objective:
    """The objective on some examples; only the penalty is open."""

    def __init__(
        self,
        features: np.ndarray,
        frames: np.ndarray,
        targets: np.ndarray,
        n_classes: int,
        device: torch.device,
        target: str = "class",
    ) -> None:
        with one_thread(), torch.no_grad():
            self.mean, self.scale = _moments(features, frames, device)
            self.inputs = Inputs(features, frames, device, self.mean, self.scale, is_held=True)
        self.link = LINKS[target](targets, device)
        self.n = len(frames)
        self.n_classes = n_classes
        self.device = device

    def loss_and_gradient(self, weights: Tensor, penalty: float) -> tuple[float, Tensor]:
        """Return the objective over the number of examples, and its gradient, for weights float64 (D + 1, K).

        In float64: in float32 the line search ends before the gradient is small.
        """
        n, device = self.n, self.device
        # Classes first in both products: for few classes several times faster than the other way round.
        slopes, biases = weights[:-1].t().contiguous(), weights[-1, :, None]
        change = torch.zeros_like(slopes)
        gradient = torch.empty_like(weights)
        gradient[-1] = 0
        loss = torch.zeros((), dtype=torch.float64, device=device)
        for start, block in self.inputs.blocks():
            x = block.double()
            of_block, error = self.link.loss_and_error(torch.addmm(biases, slopes, x.t()), start)
            loss += of_block
            change.addmm_(error, x)
            gradient[-1] += error.sum(dim=1)
        gradient[:-1] = change.t()
        gradient[:-1] += penalty * weights[:-1]
        loss += penalty / 2 * weights[:-1].square().sum()
        return float(loss) / n, gradient.div_(n)

    def solve(
        self,
        penalty: float,
        starts: Sequence[Tensor] = (),
        tick: Callable[..., None] = lambda: None,
        *,
        tolerance: float = TOLERANCE,
    ) -> Fit:
        """Return the minimum, from the lowest of ``starts`` (default: zeros)."""

        def function(weights: Tensor) -> tuple[float, Tensor]:
            tick()  # ends the job where the run was stopped
            return self.loss_and_gradient(weights, penalty)

        with one_thread(), torch.no_grad():
            shape = (len(self.mean) + 1, self.n_classes)
            given = list(starts) or [torch.zeros(shape, dtype=torch.float64, device=self.device)]
            values = [function(start)[0] for start in given] if len(given) > 1 else [0.0]
            start = given[int(np.argmin([value if np.isfinite(value) else np.inf for value in values]))]
            if not np.isfinite(function(start)[0]):
                raise TrainingError(
                    f"The loss of the logistic regression was not finite at a penalty of {penalty:g}. The embeddings "
                    "may be far too large."
                )
            found = quasi_newton.minimise(
                function,
                start,
                self._metric(penalty, start),
                tolerance=tolerance,
                max_iterations=MAX_ITERATIONS,
                history=HISTORY,
            )
        return Fit(
            penalty, found.weights, self.mean, self.scale, found.n_iterations, found.largest <= tolerance, found.largest
        )

    def _metric(self, penalty: float, weights: Tensor) -> quasi_newton.Metric:
        """Return the metric of the features' covariance times the loss's curvature at ``weights``, plus the penalty.

        That is near the objective's own curvature where examples are alike in how sure their predictions are. Columns are
        taken up to ``MAX_WIDTH`` together; of the covariance between such parts nothing is used.
        """
        curvature = max(self._curvature(weights), LEAST_CURVATURE)
        factors = []
        for covariance in self.covariances:
            square = curvature * covariance
            square.diagonal().add_(penalty / self.n + LEAST_CURVATURE * float(square.diagonal().mean()) + 1e-12)
            factors.append(torch.linalg.cholesky(square))
        transposed = [factor.t().contiguous() for factor in factors]
        widths = [len(factor) for factor in factors]
        bias = curvature**0.5

        def to_round(weights: Tensor) -> Tensor:
            parts = zip(transposed, weights[:-1].split(widths), strict=True)
            return torch.cat([*(factor @ part for factor, part in parts), weights[-1:] * bias])

        def from_round(weights: Tensor) -> Tensor:
            parts = zip(transposed, weights[:-1].split(widths), strict=True)
            solved = [torch.linalg.solve_triangular(factor, part, upper=True) for factor, part in parts]
            return torch.cat([*solved, weights[-1:] / bias])

        def gradient(found: Tensor) -> Tensor:
            parts = zip(factors, found[:-1].split(widths), strict=True)
            solved = [torch.linalg.solve_triangular(factor, part, upper=False) for factor, part in parts]
            return torch.cat([*solved, found[-1:] / bias])

        return quasi_newton.Metric(to_round, from_round, gradient)

    def _curvature(self, weights: Tensor) -> float:
        slopes, biases = weights[:-1].t().contiguous(), weights[-1, :, None]
        total = sum(self.link.curvature(torch.addmm(biases, slopes, x.double().t())) for _, x in self.inputs.blocks())
        return float(total) / self.n

    @functools.cached_property
    def covariances(self) -> list[Tensor]:
        """The covariance (W, W) of each part of the columns, from enough examples, evenly spread."""
        parts = torch.arange(len(self.mean)).split(MAX_WIDTH)
        found = [torch.zeros((len(part), len(part)), dtype=torch.float64, device=self.device) for part in parts]
        n_blocks = -(-self.n // self.inputs.step)
        every = max(1, self.n // (EXAMPLES_A_COLUMN * min(MAX_WIDTH, len(self.mean))))
        n_used = 0
        for k, (_, x) in enumerate(self.inputs.blocks()):
            if k % every and n_blocks > 1:
                continue
            n_used += len(x)
            for covariance, part in zip(found, x.split([len(part) for part in parts], dim=1), strict=True):
                wide = part.double()
                covariance.addmm_(wide.t(), wide)
        return [covariance.div_(n_used) for covariance in found]


class Link(ABC):
    """What is minimised: the loss of outputs (K, B), and its derivative by them."""

    @abstractmethod
    def __init__(self, targets: np.ndarray, device: torch.device) -> None: ...

    @abstractmethod
    def loss_and_error(self, outputs: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Return the sum of the loss over the examples from ``start``, and its derivative (K, B); may overwrite."""

    @abstractmethod
    def curvature(self, outputs: Tensor) -> Tensor:
        """Return the sum over the examples of the loss's second derivative by an output, on average over outputs."""

    def mean(self, outputs: Tensor) -> float:
        """Return the mean loss of the outputs (N, K) of all examples."""
        return float(self.loss_and_error(outputs.double().t().contiguous(), 0)[0]) / len(outputs)


class _OneClass(Link):
    """The cross-entropy of one class, int (N,)."""

    def __init__(self, targets: np.ndarray, device: torch.device) -> None:
        self.labels = torch.from_numpy(np.ascontiguousarray(targets)).long().to(device)

    def loss_and_error(self, outputs: Tensor, start: int) -> tuple[Tensor, Tensor]:
        wanted = self.labels[None, start : start + outputs.shape[1]]
        shares = outputs.log_softmax(dim=0)
        loss = -shares.gather(0, wanted).sum()
        return loss, shares.exp_().scatter_add_(0, wanted, torch.full_like(shares[:1], -1.0))

    def curvature(self, outputs: Tensor) -> Tensor:
        # Of the K outputs one is free: what is left is shared by K - 1.
        return (1 - outputs.softmax(dim=0).square().sum(dim=0)).sum() / max(1, len(outputs) - 1)

    def mean(self, outputs: Tensor) -> float:
        return float(F.cross_entropy(outputs, self.labels))


class _Labels(Link):
    """The sum of the labels' binary cross-entropies, int (N, K); -1 counts for nothing."""

    def __init__(self, targets: np.ndarray, device: torch.device) -> None:
        self.labels = torch.from_numpy(np.ascontiguousarray(targets.T)).to(device, torch.float64)

    def loss_and_error(self, outputs: Tensor, start: int) -> tuple[Tensor, Tensor]:
        wanted = self.labels[:, start : start + outputs.shape[1]]
        counts = wanted >= 0
        loss = ((F.softplus(outputs) - wanted * outputs) * counts).sum()
        return loss, (outputs.sigmoid() - wanted) * counts

    def curvature(self, outputs: Tensor) -> Tensor:
        shares = outputs.sigmoid()
        return (shares * (1 - shares)).mean(dim=0).sum()


class _Numbers(Link):
    """Half the sum of squared errors, float (N, K); NaN counts for nothing."""

    def __init__(self, targets: np.ndarray, device: torch.device) -> None:
        self.targets = torch.from_numpy(np.ascontiguousarray(targets.T)).to(device, torch.float64)

    def loss_and_error(self, outputs: Tensor, start: int) -> tuple[Tensor, Tensor]:
        error = (outputs - self.targets[:, start : start + outputs.shape[1]]).nan_to_num(0.0)
        return error.square().sum() / 2, error

    def curvature(self, outputs: Tensor) -> Tensor:
        return outputs.new_tensor(float(outputs.shape[1]))


LINKS: dict[str, type[Link]] = {"class": _OneClass, "labels": _Labels, "number": _Numbers}


class Inputs:
    """Examples as the regression sees them: blocks (B, F * D), centred and scaled.

    They are read and scaled in float32. Those that are kept are kept in float64, in which the fit computes, so that none of
    its evaluations has to convert them.
    """

    def __init__(
        self,
        features: np.ndarray,
        frames: np.ndarray,
        device: torch.device,
        mean: Tensor,
        scale: float,
        *,
        is_held: bool = False,
    ) -> None:
        self.rows = Rows(features)
        self.frames = frames
        self.device = device
        self.mean = mean.to(device, torch.float32)
        self.scale = scale
        self.step = _block_size(features, frames, device)
        self._held: list[tuple[int, Tensor]] | None = None
        budget = MAX_HELD_BYTES if device.type == "cpu" else MAX_HELD_BYTES_ON_GPU
        if is_held and 8 * features.shape[1] * frames.size <= budget:
            self._held = [(start, x.double()) for start, x in self._read()]

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """Yield each block with the place of its first example."""
        return iter(self._held) if self._held is not None else self._read()

    def _read(self) -> Iterator[tuple[int, Tensor]]:
        for start, x in _raw_blocks(self.rows, self.frames, self.step, self.device):
            yield start, x.sub_(self.mean).div_(self.scale)


def _block_size(features: np.ndarray, frames: np.ndarray, device: torch.device) -> int:
    n_bytes = BLOCK_BYTES if device.type == "cpu" else BLOCK_BYTES_ON_GPU
    return max(1, n_bytes // (4 * features.shape[1] * frames.shape[1]))


def _raw_blocks(rows: Rows, frames: np.ndarray, step: int, device: torch.device) -> Iterator[tuple[int, Tensor]]:
    for start in range(0, len(frames), step):
        x = torch.from_numpy(rows.take(frames[start : start + step])).flatten(1)
        yield start, x.to(device, torch.float32)


def _moments(features: np.ndarray, frames: np.ndarray, device: torch.device) -> tuple[Tensor, float]:
    """Return the examples' mean, float64 (F * D,), and the root mean square of all that differs from it."""
    rows, step, n = Rows(features), _block_size(features, frames, device), len(frames)
    width = features.shape[1] * frames.shape[1]
    mean = torch.zeros(width, dtype=torch.float64, device=device)
    for _, x in _raw_blocks(rows, frames, step, device):
        mean += x.sum(dim=0, dtype=torch.float64) / n
    square = torch.zeros((), dtype=torch.float64, device=device)
    for _, x in _raw_blocks(rows, frames, step, device):
        square += (x - mean).square().sum()
    return mean, float((square / (n * width)).sqrt()) or 1.0


def _logits(x: Tensor, weights: Tensor) -> Tensor:
    return torch.addmm(weights[-1], x, weights[:-1])

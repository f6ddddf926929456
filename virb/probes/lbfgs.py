"""Logistic and ridge regression on frozen embeddings, by full-batch L-BFGS, its penalty chosen without the test split.

Chen et al. 2020 (SimCLR), Appendix B.8.1, after Kornblith et al. 2019: the l2 penalty is the best of 45 logarithmically
spaced values between 1e-6 and 1e5 on a validation part of train; the regression is then fitted to all of train. As
Radford et al. 2021 (CLIP), Appendix A.3, the best is searched for from coarse to fine, and an optimisation ends after
1,000 iterations.

What is minimised is scikit-learn's: the sum over examples of the cross-entropy, plus penalty / 2 times the sum of the
squared weights (its C is 1 / penalty); biases are free. None of the three papers standardises features, and neither is
done here. The mean is taken off and everything is divided by one number, the root mean square of what is left: that
changes no distance but for its unit, so that the range of penalties means the same for every encoder.

Of several labels each is a regression of its own against the rest (the sum of binary cross-entropies), with one penalty for
all; of numbers it is ridge regression: half the sum of squared errors in place of the cross-entropy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from virb.contracts import holdout
from virb.contracts.probe import Predictor, Probe, Problem, Report, Setup, Source
from virb.errors import TrainingError
from virb.system.mapped import Rows
from virb.system.threads import one_thread

PENALTIES = tuple(float(f"{value:.6g}") for value in np.logspace(-6, 5, 45))
FIRST_STRIDE = 8  # of the search, in steps of a quarter of a decade
VALIDATION = 0.2
MAX_ITERATIONS = 1000
HISTORY = 50  # steps from which the curvature is estimated
TOLERANCE = 1e-5  # of the largest element of the gradient of the mean loss
# Features up to this size are kept in memory (a GPU has its own, and one job at a time); larger ones are read in every
# iteration, a block at a time.
MAX_HELD_BYTES = 256 << 20
MAX_HELD_BYTES_ON_GPU = 16 << 30
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

    def scores(self, features: np.ndarray, frames: np.ndarray, *, device: torch.device | str = "cpu") -> np.ndarray:
        """Return the logits of the examples ``frames`` (N, F), float32 (N, K)."""
        with one_thread(), torch.inference_mode():
            x = _Inputs(features, frames, torch.device(device), self.mean, self.scale)
            weights = self.weights.to(device, torch.float32)
            return np.concatenate([_logits(block, weights).cpu().numpy() for _, block in x.blocks()])


@dataclass(frozen=True)
class Choice:
    """The chosen penalty's fit to all of train, and the validation score of every penalty that was tried."""

    fit: Fit
    tried: dict[float, float]
    n_validation: int


def choose_and_fit(
    features: np.ndarray,
    frames: np.ndarray,
    targets: np.ndarray,
    *,
    n_classes: int,
    target: str = "class",
    seed: int,
    score: Callable[[np.ndarray, np.ndarray], float],
    held_out: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    validation: float = VALIDATION,
    device: torch.device | str = "cpu",
    progress: Report | None = None,
) -> Choice:
    """Choose the penalty on a validation part of the examples, then fit the regression to all of them.

    The search scores every eighth penalty and the last, then the two beside the best at half that distance, and so on:
    13 of the 45 at most. Of equal scores, the lower loss on validation decides, then the larger penalty.

    Args:
        features: embeddings of the images, float (M, D).
        frames: int (N, F), the images of each example as rows of the features; an example is their embeddings side by
            side.
        targets: int (N,), the classes; of ``target`` "labels" int (N, K), -1 counting for nothing; of "number" float (N, K),
            NaN counting for nothing.
        seed: of the validation part, a random choice of a share ``validation`` of the examples.
        held_out: the rows to fit while choosing, and the frames (V, F) and targets (V, ...) to validate on; by default
            drawn at random.
        score: of logits (V, K) and classes (V,); higher is better.
        progress: called as ``progress(done, total)`` in fits.

    Raises:
        TrainingError: a loss was not finite.
        UsageError: there are too few examples to hold some out.
    """
    n_fits = len(_first_round()) + 2 * (FIRST_STRIDE.bit_length() - 1) + 1
    n_done = 0

    def tick(n: int = 0) -> None:
        nonlocal n_done
        n_done += n
        if progress is not None:
            progress(n_done, n_fits)

    if held_out is None:
        rows, drawn = holdout.held_out(len(frames), validation, seed=seed)
        held_out = rows, frames[drawn], targets[drawn]
    fitted, held_frames, held_targets = held_out
    device = torch.device(device)
    link = _LINKS[target](held_targets, torch.device("cpu"))

    def quality(candidate: Fit) -> tuple[float, float, float]:
        logits = candidate.scores(features, held_frames, device=device)
        loss = link.mean(torch.from_numpy(logits))
        return float(score(logits, held_targets)), -loss, candidate.penalty

    part = _Problem(features, frames[fitted], targets[fitted], n_classes, device, target)
    tried, start = _search(part, quality, tick)
    del part  # its examples' memory is needed for all of them
    best = max(tried.values())
    found = _Problem(features, frames, targets, n_classes, device, target).solve(best[2], start, tick)
    if progress is not None:
        progress(n_fits, n_fits)
    return Choice(found, {penalty: tried[penalty][0] for penalty in sorted(tried)}, len(held_frames))


def _first_round() -> list[int]:
    return sorted({*range(0, len(PENALTIES), FIRST_STRIDE), len(PENALTIES) - 1}, reverse=True)


def _search(
    problem: _Problem, quality: Callable[[Fit], tuple[float, float, float]], tick: Callable[..., None]
) -> tuple[dict[float, tuple[float, float, float]], Tensor]:
    """Return the quality of every penalty that was tried, and the weights of the best."""
    solved: dict[int, Fit] = {}
    tried: dict[int, tuple[float, float, float]] = {}

    def attempt(index: int) -> None:
        if index in solved or not 0 <= index < len(PENALTIES):
            return
        near = min(solved, key=lambda other: abs(other - index), default=None)
        solved[index] = problem.solve(PENALTIES[index], None if near is None else solved[near].weights, tick)
        tried[index] = quality(solved[index])
        tick(1)

    for index in _first_round():  # strong penalties first: a solution is near that of the next weaker one
        attempt(index)
    stride = FIRST_STRIDE // 2
    while stride:
        best = max(tried, key=lambda index: tried[index])
        attempt(best + stride)
        attempt(best - stride)
        stride //= 2
    best = max(tried, key=lambda index: tried[index])
    return {PENALTIES[index]: value for index, value in tried.items()}, solved[best].weights


def fit(
    features: np.ndarray,
    frames: np.ndarray,
    targets: np.ndarray,
    *,
    n_classes: int,
    penalty: float,
    target: str = "class",
    device: torch.device | str = "cpu",
) -> Fit:
    """Fit the regression at one ``penalty``; the other arguments are those of :func:`choose_and_fit`."""
    return _Problem(features, frames, targets, n_classes, torch.device(device), target).solve(penalty)


class _Problem:
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
            self.inputs = _Inputs(features, frames, device, self.mean, self.scale, is_held=True)
        self.link = _LINKS[target](targets, device)
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
        wide = torch.empty((min(n, self.inputs.step), slopes.shape[1]), dtype=torch.float64, device=device)
        for start, block in self.inputs.blocks():
            x = wide[: len(block)].copy_(block)
            of_block, error = self.link.loss_and_error(torch.addmm(biases, slopes, x.t()), start)
            loss += of_block
            change.addmm_(error, x)
            gradient[-1] += error.sum(dim=1)
        gradient[:-1] = change.t()
        gradient[:-1] += penalty * weights[:-1]
        loss += penalty / 2 * weights[:-1].square().sum()
        return float(loss) / n, gradient.div_(n)

    def solve(self, penalty: float, start: Tensor | None = None, tick: Callable[..., None] = lambda: None) -> Fit:
        """Return the minimum, from ``start`` (default: zeros)."""
        shape = (len(self.mean) + 1, self.n_classes)
        weights = torch.zeros(shape, dtype=torch.float64, device=self.device) if start is None else start.clone()
        weights.requires_grad_()
        optimizer = torch.optim.LBFGS(
            [weights],
            max_iter=MAX_ITERATIONS,
            max_eval=2 * MAX_ITERATIONS,
            history_size=HISTORY,
            tolerance_grad=TOLERANCE,
            tolerance_change=1e-12,
            line_search_fn="strong_wolfe",
        )

        def closure() -> float:
            tick()  # ends the job where the run was stopped
            value, weights.grad = self.loss_and_gradient(weights.detach(), penalty)
            if not np.isfinite(value):
                raise TrainingError(
                    f"The loss of the logistic regression was not finite at a penalty of {penalty:g}. The embeddings "
                    "may be far too large."
                )
            return value

        with one_thread():
            optimizer.step(closure)
            n_iterations = int(optimizer.state[weights]["n_iter"])
            found = weights.detach()
            gradient = self.loss_and_gradient(found, penalty)[1]
        is_converged = bool(gradient.abs().max() <= TOLERANCE)
        return Fit(penalty, found, self.mean, self.scale, n_iterations, is_converged)


class _Link(ABC):
    """What is minimised: the loss of outputs (K, B), and its derivative by them."""

    @abstractmethod
    def __init__(self, targets: np.ndarray, device: torch.device) -> None: ...

    @abstractmethod
    def loss_and_error(self, outputs: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Return the sum of the loss over the examples from ``start``, and its derivative (K, B); may overwrite."""

    def mean(self, outputs: Tensor) -> float:
        """Return the mean loss of the outputs (N, K) of all examples."""
        return float(self.loss_and_error(outputs.double().t().contiguous(), 0)[0]) / len(outputs)


class _OneClass(_Link):
    """The cross-entropy of one class, int (N,)."""

    def __init__(self, targets: np.ndarray, device: torch.device) -> None:
        self.labels = torch.from_numpy(np.ascontiguousarray(targets)).long().to(device)

    def loss_and_error(self, outputs: Tensor, start: int) -> tuple[Tensor, Tensor]:
        wanted = self.labels[None, start : start + outputs.shape[1]]
        shares = outputs.log_softmax(dim=0)
        loss = -shares.gather(0, wanted).sum()
        return loss, shares.exp_().scatter_add_(0, wanted, torch.full_like(shares[:1], -1.0))

    def mean(self, outputs: Tensor) -> float:
        return float(F.cross_entropy(outputs, self.labels))


class _Labels(_Link):
    """The sum of the labels' binary cross-entropies, int (N, K); -1 counts for nothing."""

    def __init__(self, targets: np.ndarray, device: torch.device) -> None:
        self.labels = torch.from_numpy(np.ascontiguousarray(targets.T)).to(device, torch.float64)

    def loss_and_error(self, outputs: Tensor, start: int) -> tuple[Tensor, Tensor]:
        wanted = self.labels[:, start : start + outputs.shape[1]]
        counts = wanted >= 0
        loss = ((F.softplus(outputs) - wanted * outputs) * counts).sum()
        return loss, (outputs.sigmoid() - wanted) * counts


class _Numbers(_Link):
    """Half the sum of squared errors, float (N, K); NaN counts for nothing."""

    def __init__(self, targets: np.ndarray, device: torch.device) -> None:
        self.targets = torch.from_numpy(np.ascontiguousarray(targets.T)).to(device, torch.float64)

    def loss_and_error(self, outputs: Tensor, start: int) -> tuple[Tensor, Tensor]:
        error = (outputs - self.targets[:, start : start + outputs.shape[1]]).nan_to_num(0.0)
        return error.square().sum() / 2, error


_LINKS: dict[str, type[_Link]] = {"class": _OneClass, "labels": _Labels, "number": _Numbers}


class _Inputs:
    """Examples as the regression sees them: blocks of float32 (B, F * D), centred and scaled."""

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
        if is_held and 4 * features.shape[1] * frames.size <= budget:
            self._held = list(self._read())

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


def fit_probe(problem: Problem, setups: Sequence[Setup], device: torch.device, report: Report) -> list[Predictor]:
    """Choose the penalty and fit the regression."""
    (setup,) = setups
    device = torch.device("cpu") if device.type == "mps" else device  # which has no float64
    choice = choose_and_fit(
        setup.source.features,
        problem.frames,
        problem.targets,
        n_classes=problem.n_out,
        target=problem.target,
        seed=setup.seed,
        score=problem.score,
        held_out=problem.hold_out(VALIDATION, seed=setup.seed),
        device=device,
        progress=report,
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

    def outputs(source: Source, frames: np.ndarray, report: Report) -> np.ndarray:
        return choice.fit.scores(source.features, frames, device=device)

    return [Predictor(protocol, outputs)]


def settings(protocol: Mapping[str, Any], augmentations: Sequence[str]) -> dict[str, Any]:
    """Return what decides the fit, beside the data."""
    return {
        "penalties": PENALTIES,
        "first_stride": FIRST_STRIDE,
        "validation": VALIDATION,
        "max_iterations": MAX_ITERATIONS,
        "history": HISTORY,
        "tolerance": TOLERANCE,
    }


PROBE = Probe(
    name="lbfgs",
    summary="logistic regression by L-BFGS, its penalty chosen on a validation part of train",
    takes=frozenset({"class", "labels", "number"}),
    fit=fit_probe,
    settings=settings,
    options=frozenset({"dtype"}),
    holds_out=True,
    why_not="L-BFGS takes all examples at once and chooses its own steps",
)

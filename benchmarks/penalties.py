"""The 45 penalties of the probe lbfgs against scikit-learn at one tolerance, side by side in one process, one thread each.

Both fit every penalty, strongest first, each from the one before, until no element of the mean loss's gradient exceeds
--tolerance; ours with its preconditioner, scikit-learn's LogisticRegression with warm_start. Then the probe as it runs: what
choosing costs, in solutions of the chosen penalty from zeros. Features have a spectrum that falls as 1 / k, as embeddings'
do; the objective at the weakest penalty says that both ended at one place.

Run: OMP_NUM_THREADS=1 python benchmarks/penalties.py [--n 10000] [--dim 64 512] [--classes 10] [--tolerance 1e-8]
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from virb.probes import lbfgs
from virb.probes.regression import Objective
from virb.system.threads import one_thread


def features(n: int, dim: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings (n, dim) and classes (n,): centres that overlap, in directions of falling spread."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n)
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    spread = 1 / np.arange(1, dim + 1)
    rows = (0.6 * rng.normal(size=(classes, dim))[labels] + rng.normal(size=(n, dim))) * spread
    return (rows @ turn).astype(np.float32), labels


def ours(x: np.ndarray, y: np.ndarray, classes: int, tolerance: float) -> tuple[float, float]:
    """Return the seconds of the whole path, and the objective at the weakest penalty."""
    begun = time.perf_counter()
    problem = Objective(x, np.arange(len(x))[:, None], y, classes, torch.device("cpu"))
    solved: dict[int, torch.Tensor] = {}
    for index in range(len(lbfgs.PENALTIES) - 1, -1, -1):
        starts = lbfgs._starts(solved, index)
        solved[index] = problem.solve(lbfgs.PENALTIES[index], starts, tolerance=tolerance).weights
    seconds = time.perf_counter() - begun
    return seconds, problem.loss_and_gradient(solved[0], lbfgs.PENALTIES[0])[0]


def theirs(x: np.ndarray, y: np.ndarray, classes: int, tolerance: float) -> tuple[float, float]:
    begun = time.perf_counter()
    wide = x.astype(np.float64)
    wide -= wide.mean(axis=0)
    wide /= np.sqrt(np.mean(wide**2))
    model = LogisticRegression(tol=tolerance, max_iter=100_000, warm_start=True)
    for penalty in lbfgs.PENALTIES[::-1]:
        model.set_params(C=1 / penalty).fit(wide, y)
    seconds = time.perf_counter() - begun
    problem = Objective(x, np.arange(len(x))[:, None], y, classes, torch.device("cpu"))
    weights = torch.from_numpy(np.vstack([model.coef_.T, model.intercept_]))
    return seconds, problem.loss_and_gradient(weights, lbfgs.PENALTIES[0])[0]


def choosing(x: np.ndarray, y: np.ndarray, classes: int, penalties: str) -> tuple[float, float]:
    """Return the seconds of the probe's fit, choice included, and of one solution of what it chose."""
    frames = np.arange(len(x))[:, None]
    begun = time.perf_counter()
    found = lbfgs.choose_and_fit(
        x, frames, y, n_classes=classes, seed=0, penalties=penalties,
        score=lambda outputs, targets: float(np.mean(outputs.argmax(axis=1) == targets)),
    )  # fmt: skip
    chosen = time.perf_counter()
    lbfgs.fit(x, frames, y, n_classes=classes, penalty=found.fit.penalty)
    return chosen - begun, time.perf_counter() - chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--dim", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--tolerance", type=float, default=1e-8)
    parser.add_argument("--file", nargs="*", default=[], help="embeddings of your own: .npz with x (n, D) and y (n,)")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    print(
        f"45 penalties at a gradient of {args.tolerance:g}; objective at the weakest\n"
        "| features | ours, s | scikit-learn, s | theirs / ours | ours | theirs | 13 by search / one solution | all 45 / one |"
        "\n|---|---|---|---|---|---|---|---|"
    )
    sets = [(f"{args.n:,} x {dim}", *features(args.n, dim, args.classes)) for dim in args.dim]
    for path in args.file:
        with np.load(path) as found:
            sets.append((f"{path}: {len(found['x']):,} x {found['x'].shape[1]}", found["x"], found["y"]))
    with one_thread():
        for name, x, y in sets:
            classes = int(y.max()) + 1
            (mine, low), (their, other) = (run(x, y, classes, args.tolerance) for run in (ours, theirs))
            (some, one), (whole, _) = (choosing(x, y, classes, which) for which in ("search", "all"))
            print(
                f"| {name} | {mine:.1f} | {their:.1f} | {their / mine:.2f} | {low:.10f} | {other:.10f} | {some / one:.1f} | "
                f"{whole / one:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

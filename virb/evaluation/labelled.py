"""Which training examples a label budget takes: balanced over classes, nested, and drawn with the job's seed.

Every class (label, tenth of the range of numbers) has one random order of its examples for each seed. A budget takes the
first of each, so that a smaller one is contained in every larger one, and all encoders get the same.

- class: of a class of n examples a fraction f takes f n, rounded half up; k a class takes k.
- labels (several of an example): examples are taken one by one, each time the next one that has the label which lags
  behind most (the smallest share of its examples; for k a class, the fewest), until f N are there, or each label has k.
  Examples without any label are a label of their own.
- number: as classes, which are the ten tenths of the train split by the (first) number; examples without it are left out.
- relevance: none, as what is searched has no labels.
- mask, map: a fraction is one of the images, in one random order; k a class is none, as an image has many. Neither is for a
  head that does not train.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

import numpy as np

from virb.contracts.budget import Budget
from virb.contracts.parts import PIXELWISE, TARGETS
from virb.errors import UsageError, option

TENTHS = 10  # of the range of numbers
VERSION = 1  # of the rule above; records name it
TAKES = {  # which targets an option for budgets is for, by its name
    "label_fraction": tuple(target for target in TARGETS if target != "relevance"),
    "labels_per_class": ("class", "labels", "number"),
}


def fits(target: str, budget: Budget, *, trains: bool = True) -> bool:
    """Return whether examples of tasks with such targets can be drawn by ``budget``, as far as is known without data.

    A head of pixels that does not train never sees the train split, so that a part of it says nothing.
    """
    sees_train = trains or target not in PIXELWISE or budget.is_whole
    return sees_train and all(target in TAKES[name] for name in budget.overrides())


def rows(target: str, targets: object, budget: Budget, *, n: int, seed: int, names: Sequence[str] = ()) -> np.ndarray:
    """Return the rows int (M,) of ``n`` training examples that ``budget`` takes, in their order.

    Args:
        target: the kind of ``targets``: int (N,) for "class", int (N, K) for "labels" (1: has it), float (N,) or (N, K) for
            "number"; those of pixelwise tasks are not looked at.
        names: of classes or labels, for what is said.

    Raises:
        UsageError: a class that the examples have would be left without one, or has not as many as were asked for.
    """
    assert fits(target, budget), (target, budget)
    if budget.is_whole:
        return np.arange(n)
    rng = np.random.default_rng(seed)
    if target in PIXELWISE:
        return _images(budget, n, rng)
    known = np.asarray(targets)
    if target == "labels":
        return _several(known > 0, budget, rng, names)
    return _one(known if target == "class" else _tenths(known), budget, rng, names if target == "class" else ())


def _images(budget: Budget, n: int, rng: np.random.Generator) -> np.ndarray:
    count = _share(budget, n)
    if count == 0:
        raise UsageError(f"{budget} leaves none of {n} examples; {_at_least(n)}.")
    return np.sort(rng.permutation(n)[:count])


def _one(classes: np.ndarray, budget: Budget, rng: np.random.Generator, names: Sequence[str]) -> np.ndarray:
    """Of examples with one class each, int (N,); a negative one is none."""
    taken = []
    empty: list[tuple[int, int]] = []  # class, number of its examples
    for k in np.unique(classes[classes >= 0]).tolist():
        members = rng.permutation(np.flatnonzero(classes == k))
        count = budget.labels_per_class or _share(budget, len(members))
        if count == 0 or count > len(members):
            empty.append((k, len(members)))
        taken.append(members[:count])
    _refuse(empty, budget, names)
    return np.sort(np.concatenate(taken))


def _several(has: np.ndarray, budget: Budget, rng: np.random.Generator, names: Sequence[str]) -> np.ndarray:
    """Of examples with several labels each, bool (N, K)."""
    n, n_labels = has.shape
    with_none = np.column_stack([has, ~has.any(axis=1)])
    totals = with_none.sum(axis=0)
    order = rng.permutation(n)
    queues = [iter(order[with_none[order, k]].tolist()) for k in range(n_labels + 1)]
    wanted = budget.labels_per_class
    if wanted is not None:
        _refuse([(k, int(totals[k])) for k in range(n_labels) if 0 < totals[k] < wanted], budget, names)
    count = np.zeros(n_labels + 1, dtype=np.int64)

    def lag(k: int) -> tuple[float, int]:
        return (float(count[k]) if wanted is not None else count[k] / totals[k]), k

    waiting = [lag(k) for k in range(n_labels + 1) if totals[k] and (wanted is None or k < n_labels)]
    heapq.heapify(waiting)
    is_taken = np.zeros(n, dtype=bool)
    taken: list[int] = []
    n_needed = int((totals[:n_labels] > 0).sum())  # labels that must have an example
    n_covered, covered_at = 0, 0
    most = n if wanted is not None else _share(budget, n)
    while waiting and (len(taken) < most or n_covered < n_needed):
        behind, k = heapq.heappop(waiting)
        if behind != lag(k)[0]:  # an example taken for another label had this one too
            heapq.heappush(waiting, lag(k))
            continue
        row = (
            None if wanted is not None and count[k] >= wanted else next((r for r in queues[k] if not is_taken[r]), None)
        )
        if row is None:
            continue
        is_taken[row] = True
        taken.append(row)
        count += with_none[row]
        heapq.heappush(waiting, lag(k))
        if n_covered < n_needed:
            n_covered, covered_at = int((count[:n_labels] > 0).sum()), len(taken)
    if most < covered_at:
        raise UsageError(
            f"{budget} is {most} examples, which leaves a label without one; {option('label_fraction', _up(covered_at / n))} "
            "is the least."
        )
    return np.sort(np.array(taken[:most], dtype=np.int64))


def _tenths(numbers: np.ndarray) -> np.ndarray:
    """Return which tenth of the examples each is in by its first number, int (N,); -1 where it has none."""
    first = np.asarray(numbers, dtype=np.float64).reshape(len(numbers), -1)[:, 0]
    known = np.flatnonzero(~np.isnan(first))
    found = np.full(len(first), -1)
    order = known[np.argsort(first[known], kind="stable")]
    found[order] = np.arange(len(order)) * min(TENTHS, len(order)) // max(1, len(order))
    return found


def _share(budget: Budget, n: int) -> int:
    assert budget.label_fraction is not None
    return math.floor(budget.label_fraction * n + 0.5)


def _at_least(n: int) -> str:
    return f"{option('label_fraction', _up(0.5 / n))} is the least that leaves one"


def _up(share: float) -> float:
    """Return ``share`` rounded up to two digits."""
    digit = 10.0 ** (1 - math.floor(math.log10(share)))
    return min(1.0, float(f"{math.ceil(share * digit) / digit:.12g}"))


def _refuse(without: Sequence[tuple[int, int]], budget: Budget, names: Sequence[str]) -> None:
    """Raise UsageError if there are classes (with the number of their examples) that ``budget`` cannot serve."""
    if not without:
        return
    fewest = min(n for _, n in without)
    few = ", ".join(f"{names[k] if k < len(names) else f'class {k}'} has {n:,}" for k, n in without[:3])
    more = f" and {len(without) - 3} more" if len(without) > 3 else ""
    if budget.labels_per_class is None:
        raise UsageError(
            f"{budget} leaves {len(without)} class{'es' * (len(without) > 1)} without a training example ({few}{more}); "
            f"{_at_least(fewest)} of each."
        )
    raise UsageError(
        f"{budget}: {len(without)} class{'es have' if len(without) > 1 else ' has'} fewer training examples ({few}{more}); "
        f"{option('labels_per_class', fewest)} is the most that all have."
    )

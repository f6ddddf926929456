"""The battery of a metric."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from virb.contracts.metric import Metric, TargetFacts
from virb.errors import DataError, UsageError
from virb.evaluation.batteries.common import Checks, K, N, Wrong, must, sample


def metric_checks(metric: Metric) -> Checks:
    """Its merging and order, its direction, what it keeps of each example, and that nothing given is an error."""
    defaults = {option.name: option.default for option in metric.options}

    def drawn(target: str) -> tuple[np.ndarray, np.ndarray, int | None]:
        outputs, targets, ignore = sample(target)
        if target != "map":
            return outputs, targets, ignore
        for width in (1, 2, 3):  # numbers a pixel; a metric says how many by what it refuses
            wanted = targets[:, 0] if width == 1 else targets[:, :width].transpose(0, 2, 3, 1)
            with contextlib.suppress(UsageError):
                new("map", ignore).update(outputs[:1, :width], wanted[:1])
                return outputs[:, :width], wanted, ignore
        raise Wrong("it takes no map of one, two or three numbers a pixel: (N, C, H, W) for (N, H, W) or (N, H, W, C).")

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
            must(metric.name in numbers, f"its numbers are {', '.join(numbers)}; one must be called {metric.name!r}.")
            must(dict(shuffled.compute()) == numbers, f"{target}: its numbers depend on the order of the examples.")
            must(dict(left.compute()) == numbers, f"{target}: merged parts give other numbers.")
            must(len(whole) == N, f"its length is {len(whole)} after {N} examples.")
        return "order, batches and merging do not change a bit"

    def direction() -> str:
        sign = 1 if metric.better == "higher" else -1
        for target in sorted(metric.takes):
            outputs, targets, ignore = drawn(target)
            random, right = new(target, ignore), new(target, ignore)
            random.update(outputs, targets)
            right.update(_right(target, targets), targets)
            is_better = sign * right.score > sign * random.score
            must(
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
                must(len(values) == N, f"per_example()[{name!r}] has {len(values)} rows for {N} examples.")
        return "one row an example"

    def resampling() -> str:
        """The score again, without each example, and the paired test of two encoders: each against the metric itself."""
        made_of = metric.resampling
        if made_of is None:
            return "it says of nothing what single examples make: no paired test, no error over examples"
        for target in sorted(metric.takes):
            outputs, targets, ignore = drawn(target)
            state, better = new(target, ignore), new(target, ignore)
            state.update(outputs, targets)
            better.update(
                np.where(np.arange(N).reshape(-1, *[1] * (outputs.ndim - 1)) < 7, _right(target, targets), outputs),
                targets,
            )
            one, two = state.per_example(), better.per_example()
            absent = set(made_of.needs) - set(one)
            must(not absent, f"per_example() lacks {', '.join(sorted(absent))}, which resampling needs.")
            found = made_of.score(one)
            must(
                bool(np.isclose(found, state.score)),
                f"{target}: resampling scores {found:g}; the metric {state.score:g}.",
            )
            without = made_of.without_each(one)
            must(len(without) == N, f"without_each() has {len(without)} rows for {N} examples.")
            k = 3
            again = made_of.score({name: np.delete(values, k, axis=0) for name, values in one.items()})
            must(
                bool(np.isclose(without[k], again)),
                f"{target}: without example {k}, {without[k]:g}; expected {again:g}.",
            )
            test = made_of.test(two, one, samples=200, seed=0)
            wanted = better.score - state.score
            must(
                bool(np.isclose(test.statistic, wanted)),
                f"{target}: the test's statistic is {test.statistic:g}; expected {wanted:g}.",
            )
            must(0 < test.pvalue <= 1, f"{target}: the p of its test is {test.pvalue}.")
        return "the score, its error and its paired test agree with the metric"

    def empty() -> str:
        target = min(metric.takes)
        try:
            new(target, None).compute()
        except DataError as error:
            return str(error)
        raise Wrong("compute() of nothing must raise DataError.")

    return [
        ("order and merging", order),
        ("which way is better", direction),
        ("what is kept of each example", examples),
        ("what single examples make", resampling),
        ("nothing given", empty),
    ]


def _right(target: str, targets: np.ndarray) -> np.ndarray:
    """Return outputs that predict the targets."""
    if target in ("class", "mask"):
        return np.moveaxis(np.eye(256, dtype=np.float32)[targets][..., :K], -1, 1)
    if target == "map" and targets.ndim == 4:
        return np.nan_to_num(targets).transpose(0, 3, 1, 2)
    return np.nan_to_num(targets)[:, None] if target == "map" else np.nan_to_num(targets).astype(np.float32)

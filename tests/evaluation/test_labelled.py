"""Label budgets: balanced, nested, drawn by the seed, refused where a class would be empty; through every probe."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import virb
from tests.evaluation.test_plan import WIDE, run, task
from virb.contracts.budget import Budget
from virb.contracts.options import RunOptions
from virb.errors import UsageError, VirbError
from virb.evaluation import labelled
from virb.records.store import ResultStore

counts = st.lists(st.integers(1, 30), min_size=2, max_size=5)
seeds = st.integers(0, 3)


def of_classes(counts: list[int], budget: Budget, seed: int) -> np.ndarray:
    classes = np.random.default_rng(9).permutation(np.repeat(np.arange(len(counts)), counts))
    return classes[labelled.rows("class", classes, budget, n=len(classes), seed=seed)]


@given(counts, st.lists(st.floats(0.01, 1), min_size=2, max_size=2), seeds)
def test_fractions_are_balanced_and_nested_or_refused(counts: list[int], shares: list[float], seed: int) -> None:
    classes = np.random.default_rng(9).permutation(np.repeat(np.arange(len(counts)), counts))
    found = []
    for share in sorted(shares):
        wanted = [int(share * n + 0.5) for n in counts]
        if min(wanted) == 0:
            with pytest.raises(UsageError, match="without a training example"):
                labelled.rows("class", classes, Budget(label_fraction=share), n=len(classes), seed=seed)
            return
        rows = labelled.rows("class", classes, Budget(label_fraction=share), n=len(classes), seed=seed)
        assert np.bincount(classes[rows]).tolist() == wanted
        assert (np.diff(rows) > 0).all()
        found.append(set(rows.tolist()))
    assert found[0] <= found[1]


@given(counts, seeds)
def test_a_number_a_class_is_nested_in_the_next_and_in_fractions_of_equal_classes(counts: list[int], seed: int) -> None:
    fewest = min(counts)
    classes = np.repeat(np.arange(len(counts)), counts)
    rows = [
        set(labelled.rows("class", classes, Budget(labels_per_class=k), n=len(classes), seed=seed).tolist())
        for k in range(1, fewest + 1)
    ]
    assert [len(part) for part in rows] == [len(counts) * k for k in range(1, fewest + 1)]
    assert all(small < large for small, large in itertools.pairwise(rows))
    with pytest.raises(UsageError, match=f"{fewest} is the most" if fewest > 1 else "is the most"):
        labelled.rows("class", classes, Budget(labels_per_class=max(counts) + 1), n=len(classes), seed=seed)


def test_the_seed_draws() -> None:
    classes = np.arange(400) % 4
    draws = [
        labelled.rows("class", classes, Budget(labels_per_class=5), n=400, seed=seed).tolist() for seed in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]


@given(st.integers(0, 10**6), st.floats(0.05, 0.95), st.integers(1, 3))
def test_several_labels_keep_their_shares(seed: int, share: float, k: int) -> None:
    rng = np.random.default_rng(seed)
    has = (rng.random((120, 4)) < [0.5, 0.3, 0.1, 0.05]).astype(np.int64)
    has[rng.random((120, 4)) < 0.05] = -1  # not known
    totals = (has > 0).sum(axis=0)
    rows = None
    with contextlib.suppress(UsageError):
        rows = labelled.rows("labels", has, Budget(label_fraction=share), n=120, seed=0)
    if rows is not None:
        assert len(rows) == int(share * 120 + 0.5)
        taken = (has[rows] > 0).sum(axis=0)
        assert (taken[totals > 0] > 0).all()
        more = labelled.rows("labels", has, Budget(label_fraction=min(1.0, share + 0.04)), n=120, seed=0)
        assert set(rows) <= set(more)
    if totals[totals > 0].min() >= k:
        rows = labelled.rows("labels", has, Budget(labels_per_class=k), n=120, seed=0)
        assert ((has[rows] > 0).sum(axis=0)[totals > 0] >= k).all()


def test_several_labels_are_nearer_to_their_shares_than_a_blind_draw() -> None:
    rng = np.random.default_rng(0)
    has = (rng.random((300, 5)) < [0.5, 0.3, 0.1, 0.05, 0.03]).astype(np.int64)
    totals = has.sum(axis=0)

    def least(rows: np.ndarray) -> float:
        return float((has[rows].sum(axis=0) / totals).min())

    ours = [least(labelled.rows("labels", has, Budget(label_fraction=0.1), n=300, seed=k)) for k in range(20)]
    blind = [least(rng.permutation(300)[:30]) for _ in range(20)]
    assert min(ours) > 0.06 > np.mean(blind)


def test_the_least_fraction_that_is_named_is_one_that_serves() -> None:
    rng = np.random.default_rng(0)
    has = (rng.random((200, 6)) < 0.02).astype(np.int64)
    for target, targets in (("labels", has), ("class", np.repeat(np.arange(3), [3, 90, 107]))):
        with pytest.raises(UsageError, match="is the least") as error:
            labelled.rows(target, targets, Budget(label_fraction=0.004), n=200, seed=0)
        least = float(str(error.value).split("label_fraction=")[-1].split()[0])
        assert len(labelled.rows(target, targets, Budget(label_fraction=least), n=200, seed=0))


def test_numbers_are_taken_from_every_tenth_of_their_range() -> None:
    numbers = np.random.default_rng(0).normal(size=(200, 2))
    numbers[:20, 0] = np.nan
    rows = labelled.rows("number", numbers, Budget(labels_per_class=3), n=200, seed=0)
    ranks = np.argsort(np.argsort(numbers[20:, 0]))[rows - 20]
    assert np.bincount(ranks // 18).tolist() == [3] * 10


def test_of_pixelwise_tasks_a_fraction_is_one_of_the_images() -> None:
    assert len(labelled.rows("mask", None, Budget(label_fraction=0.1), n=55, seed=0)) == 6
    with pytest.raises(UsageError, match=r"label_fraction=0\.001 leaves none of 55 examples"):
        labelled.rows("map", None, Budget(label_fraction=0.001), n=55, seed=0)


def test_options_take_one_value_or_several() -> None:
    assert RunOptions(label_fraction=0.1).label_fraction == (0.1,)  # type: ignore[arg-type]
    options = RunOptions(label_fraction=[1, 0.1, 0.1], labels_per_class=(5,))  # type: ignore[arg-type]
    assert [str(budget) for budget in options.budgets()] == ["label_fraction=0.1", "all labels", "labels_per_class=5"]
    for wrong in (0, 1.5, True, "0.1", [], [float("nan")]):
        with pytest.raises(UsageError, match="label_fraction="):
            RunOptions(label_fraction=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("probe", ["gradient", "knn", "lbfgs", "finetune"])
def test_every_probe_takes_a_budget_and_computes_only_what_is_missing(tmp_path: Path, probe: str) -> None:
    encoder = WIDE if probe == "finetune" else "pixels:4:size=8"
    given = {"encoders": encoder, "probe": probe, "seeds": 2, **({"epochs": 1} if probe == "finetune" else {})}
    outcome, _ = run(tmp_path, task(), label_fraction=(0.4, 1), **given)
    table = outcome.table
    n_whole = 1 if probe == "knn" else 2
    assert outcome.n_run == 2 + n_whole
    assert table["label_fraction"].tolist() == [0.4] * 2 + [1.0] * n_whole
    assert table["n_train"].tolist() == [4] * 2 + [10] * n_whole
    assert not any("label" in name for name in table.loc[table["label_fraction"] == 1, "probe"])
    again, _ = run(tmp_path, task(), label_fraction=0.4, labels_per_class=1, **given)
    assert (again.n_run, again.n_present) == (2, 2)
    assert run(tmp_path, task(), **given)[0].n_run == 0  # all of the labels is what no budget is
    record = ResultStore(tmp_path).read(next(tmp_path.glob("*/*/*per_class*seed1.json")))
    assert record is not None
    assert record["fingerprint"]["probe"]["labels"] == {"labels_per_class": 1, "draw": labelled.VERSION}


def test_the_same_labels_give_the_same_score_whatever_else_is_asked_for(tmp_path: Path) -> None:
    scores = []
    for k, also in enumerate(((), (1,), (0.6,))):
        table = run(tmp_path / str(k), task(), label_fraction=(0.4, *also), probe="lbfgs")[0].table
        scores.append(table.loc[table["label_fraction"] == 0.4, "score"].item())
    assert len(set(scores)) == 1


def test_a_budget_that_empties_a_class_costs_its_own_jobs(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, task(), label_fraction=(0.05, 0.4))
    assert outcome.n_run == 1
    (failure,) = outcome.failures
    assert failure.what == "mine, label_fraction=0.05"
    assert "label_fraction=0.1 is the least" in failure.reason
    with pytest.raises(VirbError, match="dark has 5"):
        virb.evaluate("pixels:4:size=8", task(), out=tmp_path, probe="knn", labels_per_class=6)

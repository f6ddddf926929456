"""Mean average precision of retrieval: by hand, against the published rule written out anew, and its heads and tasks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import virb
from virb.contracts.examples import DataContext, Examples
from virb.contracts.task import Category, Protocol, Task
from virb.errors import DataError, UsageError, VirbError
from virb.evaluation.parts import parts_of
from virb.heads import build_head
from virb.images.sets import ArrayImages
from virb.metrics import build_metric


def published(order: list[int], ok: set[int], junk: set[int]) -> float | None:
    """The average precision of Radenovic et al. 2018: walk down the ranking, junk is not there, trapezoids."""
    if not ok:
        return None
    area, n_seen, n_right = 0.0, 0, 0
    for thing in order:
        if thing in junk:
            continue
        if thing in ok:
            before = 1.0 if n_seen == 0 else n_right / n_seen
            area += (before + (n_right + 1) / (n_seen + 1)) / 2 / len(ok)
            n_right += 1
        n_seen += 1
    return area


def test_it_is_the_published_rule_for_easy_medium_and_hard():
    rng = np.random.default_rng(0)
    relevance = rng.choice([-1, 0, 1, 2], (40, 60), p=[0.1, 0.8, 0.06, 0.04])
    relevance[0] = 0  # a query without anything
    relevance[1][relevance[1] == 2] = 0  # one without anything hard
    similarity = rng.normal(size=(40, 60))
    state = build_metric("retrieval_map")
    state.update(similarity[:7], relevance[:7])
    state.update(torch.from_numpy(similarity[7:]), relevance[7:])
    found = state.compute()
    settings = {"": ({1, 2}, {-1}), "_easy": ({1}, {-1, 2}), "_hard": ({2}, {-1, 1})}
    for key, (wanted, junk) in settings.items():
        values = [
            published(
                np.argsort(-scores).tolist(),
                {k for k, grade in enumerate(grades) if grade in wanted},
                {k for k, grade in enumerate(grades) if grade in junk},
            )
            for scores, grades in zip(similarity, relevance, strict=True)
        ]
        rows = [math.nan if value is None else value for value in values]
        np.testing.assert_allclose(state.per_example()[f"retrieval_map{key}"], rows)
        assert found[f"retrieval_map{key}"] == pytest.approx(np.nanmean(rows))
    assert math.isnan(state.per_example()["retrieval_map"][0])


def test_by_hand():
    state = build_metric("retrieval_map")
    # Ranked: junk, right, wrong, right; junk is not there, so the right ones stand at 0 and 2.
    state.update([[0.9, 0.8, 0.7, 0.6]], np.array([[-1, 1, 0, 1]]))
    found = state.compute()
    assert found["retrieval_map"] == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)
    assert (found["p@1"], found["p@5"]) == (1.0, pytest.approx(2 / 3))  # of five, those up to the last right one
    assert "retrieval_map_hard" not in found  # no query has anything hard to find


def test_what_is_not_there_is_neither_right_nor_wrong():
    whole, part = build_metric("retrieval_map"), build_metric("retrieval_map")
    whole.update([[0.1, 0.9, 0.5]], np.array([[1, -1, 0]]))
    part.update([[0.1, math.nan, 0.5]], np.array([[1, 0, 0]]))
    assert whole.compute() == part.compute()
    nothing = build_metric("retrieval_map")
    nothing.update([[0.1, 0.2]], np.array([[0, -1]]))
    with pytest.raises(DataError, match="No query has anything to be found"):
        nothing.compute()
    with pytest.raises(UsageError, match="expected"):
        part.update([[0.1, 0.2, 0.3]], np.array([[1, 0]]))


def test_the_head_gives_cosines_in_the_columns_of_what_it_was_shown():
    head = build_head("retrieve", n_out=1, dim=3)
    head.remember(torch.tensor([[2.0, 0, 0], [0, 0, 5]]), torch.tensor([3, 1]))
    found = head(torch.tensor([[1.0, 0, 1], [0, 1, 0]]))
    half = 0.5**0.5
    np.testing.assert_allclose(
        found, [[math.nan, half, math.nan, half], [math.nan, 0, math.nan, 0]], atol=1e-6, equal_nan=True
    )
    with pytest.raises(DataError, match="Two examples"):
        head.remember(torch.ones(2, 3), torch.tensor([1, 1]))


def colours(context: DataContext, split: str) -> Examples:
    """Six things of one colour each are searched; each query is the colour of one of them, and like another's."""
    rng = np.random.default_rng(5)
    things = rng.integers(20, 236, (6, 1, 1, 3))
    if split == "train":
        images = np.broadcast_to(things, (6, 16, 16, 3)).astype(np.uint8)
        return Examples(
            ArrayImages.of("things", images), np.arange(6)[:, None], np.arange(6), [f"t{k}" for k in range(6)]
        )
    images = (things[:4] + rng.integers(-3, 4, (4, 16, 16, 3))).astype(np.uint8)
    relevance = np.eye(4, 6, dtype=np.int8)
    relevance[0, 5] = -1
    return Examples(ArrayImages.of("asked", images), np.arange(4)[:, None], relevance, [f"q{k}" for k in range(4)])


def retrieval(data=colours, **changes) -> Task:
    fields = {"head": "retrieve", "loss": "", "metric": "retrieval_map", **changes}
    return Task("colours", "s", Category.SEMANTIC_IMAGE, data=data, protocol=Protocol(epochs=1), **fields)


def test_a_task_of_retrieval_runs_without_training(tmp_path):
    table = virb.evaluate("pixels:2:size=16", retrieval(), out=tmp_path / "results", data=DataContext(cache=tmp_path))
    (row,) = table.to_dict("records")
    assert row["score"] == 1.0
    assert 0 < row["chance"] < 0.9  # one random order
    assert row["n_train"] == 6
    again = virb.evaluate("pixels:2:size=16", retrieval(), out=tmp_path / "results", data=DataContext(cache=tmp_path))
    assert again["score"].tolist() == [1.0]


def test_a_part_of_what_is_searched_keeps_its_columns(tmp_path):
    def few(context: DataContext, split: str) -> Examples:
        whole = colours(context, split)
        return whole.subset(np.array([1, 4])).with_own_images() if split == "train" else whole

    table = virb.evaluate(
        "pixels:2:size=16", retrieval(few), out=tmp_path / "results", data=DataContext(cache=tmp_path)
    )
    assert table["score"].tolist() == [1.0]  # of the one query whose thing is left


@pytest.mark.parametrize(
    ("split", "targets", "said"),
    [
        ("train", np.zeros((6, 2), int), "must be integers \\(N,\\)"),
        ("test", np.zeros(4, int), "must be integers \\(N, M\\)"),
        ("test", np.full((4, 6), -2), "lie outside -1"),
    ],
)
def test_targets_that_are_no_relevance_are_refused(tmp_path, split, targets, said):
    def wrong(context: DataContext, which: str) -> Examples:
        found = colours(context, which)
        return Examples(found.images, found.frames, targets if which == split else found.targets, found.ids)

    with pytest.raises(VirbError, match=said):
        virb.evaluate("pixels:2:size=16", retrieval(wrong), out=tmp_path / "results", data=DataContext(cache=tmp_path))


def test_a_head_that_trains_needs_a_loss():
    with pytest.raises(UsageError, match="names no loss"):
        parts_of(retrieval(head="linear"))
    assert parts_of(retrieval()).loss.name == ""

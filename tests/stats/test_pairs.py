"""Models of pairs and of orders: numbers of choix and of closed forms, missing cells, ties, and who is told from whom."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csgraph

from virb.errors import ScoresError
from virb.stats import pairs
from virb.stats.pairs import davidson, games, is_connected, plackett_luce, ranked

WINS = np.array([[0, 6, 8], [3, 0, 5], [1, 4, 0]], float)
TIES = np.array([[0, 2, 1], [2, 0, 4], [1, 4, 0]], float)
ORDERS = [(0, 1, 2, 3), (0, 2, 1, 3), (1, 0, 3, 2), (0, 1, 3), (2, 0, 1)]


def as_scores(orders: list[tuple[int, ...]]) -> np.ndarray:
    x = np.full((4, len(orders)), np.nan)
    for t, order in enumerate(orders):
        x[list(order), t] = -np.arange(len(order))
    return x


def test_bradley_terry_is_choixs() -> None:
    found = davidson(WINS, np.zeros((3, 3)))
    assert np.allclose(found.theta, [0.84696, -0.17124, -0.67572], atol=1e-5)
    assert np.isclose(found.log_likelihood, -15.3981, atol=1e-4)
    assert found.ties == 0
    assert np.isclose(found.wins(0, 1), 1 / (1 + np.exp(found.theta[1] - found.theta[0])))
    assert not found.has_prior


def test_davidsons_ties() -> None:
    found = davidson(WINS, TIES)
    assert np.allclose(found.theta, [0.92293, -0.20967, -0.71326], atol=1e-5)
    assert np.isclose(found.ties, 0.60050, atol=1e-5)
    assert np.isclose(found.log_likelihood, -32.4193, atol=1e-4)
    assert np.isclose(found.wins(0, 2) + found.wins(2, 0), 1)


def test_plackett_luce_with_missing_encoders() -> None:
    found = plackett_luce(as_scores(ORDERS))
    assert np.allclose(found.theta, [1.50560, 0.24162, -0.15999, -1.58723], atol=1e-5)
    assert np.isclose(found.log_likelihood, -9.0745, atol=1e-4)


def test_no_way_back_needs_a_prior_and_gets_one() -> None:
    scores = as_scores([(0, 1, 2, 3), (0, 2, 1, 3), (1, 0, 2, 3), (0, 1, 3), (2, 0, 1)])
    assert not is_connected(*games(scores))
    for found in (davidson(*games(scores)), plackett_luce(scores)):
        assert found.has_prior
        assert found.theta.argmin() == 3
        assert found.theta.min() > -6


def test_a_way_back_is_found_as_scipy_finds_it() -> None:
    rng = np.random.default_rng(0)
    found = []
    for share in (0.05, 0.15, 0.3):
        for _ in range(20):
            wins = (rng.random((12, 12)) < share).astype(float)
            n_parts, _ = csgraph.connected_components(wins, directed=True, connection="strong")
            found.append(is_connected(wins, np.zeros((12, 12))))
            assert found[-1] == (n_parts == 1)
    assert 10 < sum(found) < 50


def test_the_likelihood_is_that_of_the_formula_also_where_pairs_go_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    wins, ties = games((rng.normal(size=(30, 9)) + np.arange(30)[:, None] / 10).round(1))
    found = davidson(wins, ties)
    worth = np.exp(found.theta)
    draw = found.ties * np.sqrt(np.outer(worth, worth))
    below = worth[:, None] + worth + draw
    expected = (wins * np.log(worth[:, None] / below)).sum() + (ties * np.log(draw / below)).sum() / 2
    assert found.log_likelihood == pytest.approx(expected, rel=1e-12)
    monkeypatch.setattr(pairs, "_IN_CACHE", 100)  # three rows a block
    in_blocks = davidson(wins, ties)
    assert in_blocks.theta.tolist() == found.theta.tolist()
    assert in_blocks.log_likelihood == found.log_likelihood


def test_games_count_what_is_there_and_ties_of_the_last_bit() -> None:
    scores = np.array([[0.1 + 0.2, 0.5, np.nan], [0.3, 0.4, 0.2], [0.1, np.nan, 0.9]])
    wins, ties = games(scores)
    assert wins.tolist() == [[0, 1, 1], [0, 0, 1], [0, 1, 0]]
    assert ties.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert games(scores, tie=0.15)[1].sum() == 4


def test_intervals_are_over_tasks_and_a_copy_of_a_task_in_its_category_adds_nothing() -> None:
    rng = np.random.default_rng(0)
    x = np.array([0.4, 0.2, 0.0, -0.2, -0.4])[:, None] + rng.normal(size=(5, 8))
    alone = ranked(x, np.arange(8))
    copied = ranked(np.repeat(x, 3, axis=1), np.repeat(np.arange(8), 3))
    assert np.allclose(alone.strengths.theta, copied.strengths.theta, atol=1e-3)
    assert np.allclose(alone.of_each.se, copied.of_each.se, rtol=0.01)
    assert not alone.is_told()[alone.strengths.theta.argmax()]
    assert np.isnan(ranked(x, np.zeros(8, int)).of_each.se).all()
    clear = ranked(np.arange(4)[:, None] * 5 + rng.normal(size=(4, 12)), np.arange(12))
    assert clear.is_told()[:3].all()


def test_what_cannot_be_fitted_is_said() -> None:
    for fit in (lambda: davidson(np.zeros((1, 1)), np.zeros((1, 1))), lambda: plackett_luce(np.ones((1, 3)))):
        with pytest.raises(ScoresError, match="at least 2 encoders"):
            fit()
    with pytest.raises(ScoresError, match="no score at all"):
        ranked(np.array([[np.nan, np.nan], [1.0, 2.0], [2.0, 1.0]]), np.arange(2))

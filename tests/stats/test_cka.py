"""CKA: two forms that agree, the definition written out, known biases, and streaming against all at once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virb.errors import ScoresError
from virb.stats import linear_cka
from virb.stats.cka import BlockGrams, cka_matrix, mean_off_diagonal


def pair(n: int, p: int, q: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) @ rng.normal(size=(p, p))
    return x, x[:, : min(p, q)] @ rng.normal(size=(min(p, q), q)) + rng.normal(size=(n, q))


def hsic_by_quadruples(k: np.ndarray, m: np.ndarray) -> float:
    """The U-statistic that HSIC_1 is, over all quadruples of different images."""
    n = len(k)
    total = 0.0
    for i, j, q, r in itertools.permutations(range(n), 4):
        total += k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])
    return total / (n * (n - 1) * (n - 2) * (n - 3))


@pytest.mark.parametrize(("n", "p", "q"), [(40, 5, 7), (20, 60, 7), (12, 80, 90)])
def test_plain_is_the_definition(n: int, p: int, q: int) -> None:
    x, y = pair(n, p, q)
    h = np.eye(n) - 1 / n
    k, m = h @ x @ x.T @ h, h @ y @ y.T @ h
    expected = np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))
    assert linear_cka(x, y, debiased=False) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("p", "q"), [(3, 4), (20, 30)])
def test_debiased_is_the_u_statistic(p: int, q: int) -> None:
    x, y = pair(8, p, q)
    k, m = x @ x.T, y @ y.T
    expected = hsic_by_quadruples(k, m) / np.sqrt(hsic_by_quadruples(k, k) * hsic_by_quadruples(m, m))
    assert linear_cka(x, y) == pytest.approx(expected, rel=1e-8)


def test_both_forms_agree() -> None:
    x, y = pair(30, 29, 29)
    wide = np.hstack([x, np.zeros((30, 40))])  # more columns than images: the Gram form
    for debiased in (True, False):
        assert linear_cka(wide, y, debiased=debiased) == pytest.approx(linear_cka(x, y, debiased=debiased), rel=1e-9)


def test_unrelated_representations() -> None:
    rng = np.random.default_rng(0)
    n, p = 400, 400
    x, y = rng.normal(size=(2, n, p))
    assert linear_cka(x, y, debiased=False) == pytest.approx(p / (p + n), abs=0.02)
    assert linear_cka(x, y) == pytest.approx(0, abs=0.01)


@settings(max_examples=30, deadline=None)
@given(st.integers(6, 25), st.integers(2, 12), st.integers(2, 12), st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_invariances(n: int, p: int, q: int, seed: int, scale: float) -> None:
    x, y = pair(n, p, q, seed)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(p, p)))[0]
    for debiased in (True, False):
        value = linear_cka(x, y, debiased=debiased)
        assert linear_cka(x @ rotation * scale + 5, y, debiased=debiased) == pytest.approx(value, abs=1e-7)
        assert linear_cka(y, x, debiased=debiased) == pytest.approx(value, abs=1e-9)
        assert linear_cka(x, x * scale, debiased=debiased) == pytest.approx(1, abs=1e-9)
    assert 0 <= linear_cka(x, y, debiased=False) <= 1 + 1e-12


def test_maps_are_flattened() -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(10, 3, 4, 4))
    assert linear_cka(maps, maps.reshape(10, -1)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("x", "y", "named"),
    [
        (np.ones((5, 2)), np.random.default_rng(0).normal(size=(5, 2)), "first"),
        (np.random.default_rng(0).normal(size=(5, 2)), np.zeros((6, 2)), "5 and 6"),
        (np.full((5, 2), np.nan), np.zeros((5, 2)), "image 0"),
        (np.eye(3), np.eye(3), "at least 4"),
        (np.arange(5.0), np.arange(5.0), "shape"),
    ],
)
def test_refusals(x: np.ndarray, y: np.ndarray, named: str) -> None:
    with pytest.raises(ScoresError, match=named):
        linear_cka(x, y)


def grams(layers: dict[str, np.ndarray], batch: int) -> BlockGrams:
    out = BlockGrams(tuple(layers))
    n = len(next(iter(layers.values())))
    for start in range(0, n, batch):
        out.add([values[start : start + batch] for values in layers.values()])
    return out


def test_streaming_is_near_the_whole_and_its_interval_holds_it() -> None:
    x, y = pair(2000, 30, 20)
    blocks = grams({"early": x.astype(np.float32), "late": y.astype(np.float32)}, 100)
    result = cka_matrix(blocks)
    whole = linear_cka(x, y)
    assert result.n == 2000
    assert np.diagonal(result.value) == pytest.approx([1, 1], abs=1e-6)
    assert result.value[0, 1] == pytest.approx(whole, abs=0.01)
    assert result.low[0, 1] < whole < result.high[0, 1]
    other = cka_matrix(blocks, grams({"only": y}, 100))
    assert other.value.shape == (2, 1)
    assert other.value[0, 0] == pytest.approx(result.value[0, 1], abs=1e-6)


@pytest.mark.parametrize("n_blocks", [5, 10])
def test_interval_of_few_blocks_covers(n_blocks: int) -> None:
    """200 sets of images; percentiles of resampled blocks covered .81 at five blocks and .885 at ten."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(6, 6))

    def both(n: int) -> tuple[np.ndarray, np.ndarray]:
        x = rng.normal(size=(n, 6))
        return x, x @ weights + 1.2 * rng.normal(size=(n, 6))

    truth = linear_cka(*both(60_000))
    covers = []
    for _ in range(200):
        x, y = both(32 * n_blocks)
        found = cka_matrix(grams({"x": x, "y": y}, 32))
        covers.append(found.low[0, 1] <= truth <= found.high[0, 1])
    assert np.mean(covers) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 200)


def test_one_block_is_the_whole_exactly() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 9000))  # wider than one strip
    y = x[:, :12] + rng.normal(size=(50, 12))
    assert cka_matrix(grams({"x": x, "y": y}, 50)).value[0, 1] == pytest.approx(linear_cka(x, y), abs=1e-6)


def test_small_last_batch_is_counted_and_odd_blocks_are_refused() -> None:
    x, _ = pair(42, 5, 5)
    blocks = grams({"x": x}, 20)
    assert (blocks.n, blocks.n_left_out) == (40, 2)
    with pytest.raises(ScoresError, match="same blocks"):
        cka_matrix(blocks, grams({"x": x}, 21))
    with pytest.raises(ScoresError, match="layers"):
        blocks.add([x, x])
    with pytest.raises(ScoresError, match="layer x"):
        blocks.add([np.full((5, 3), np.nan)])
    assert np.isnan(cka_matrix(blocks).low).all()  # two blocks give no interval


def test_mean_off_diagonal() -> None:
    assert mean_off_diagonal(np.array([[1, 0.2, 0.4], [0.2, 1, 0.6], [0.4, 0.6, 1]])) == pytest.approx(0.4)
    with pytest.raises(ScoresError):
        mean_off_diagonal(np.ones((2, 3)))

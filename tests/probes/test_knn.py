"""The neighbours' vote against a loop and scikit-learn, in any blocks, with ties decided by the order of train."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from tests.evaluation.test_plan import run, task
from virb.probes import knn
from virb.records.store import ResultStore

N, M, D, CLASSES = 83, 37, 9, 5


def data(seed: int, n: int, dim: int = D) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


TARGETS = np.random.default_rng(3).integers(0, CLASSES, N)


def single(n: int) -> np.ndarray:
    return np.arange(n)[:, None]


def shares(train: np.ndarray, test: np.ndarray, **options) -> np.ndarray:
    return knn.classify(
        train, single(len(train)), TARGETS[: len(train)], test, single(len(test)), n_classes=CLASSES, **options
    )


def by_loop(train: np.ndarray, test: np.ndarray, k: int, temperature: float) -> np.ndarray:
    """The vote as Wu et al. 2018 write it, one example and one neighbour at a time, in double precision."""
    out = []
    for x in test.astype(float):
        near = sorted(
            (-sum(x * y) / math.sqrt(sum(x * x)) / math.sqrt(sum(y * y)), place)
            for place, y in enumerate(train.astype(float))
        )
        votes = [0.0] * CLASSES
        for minus_similarity, place in near[:k]:
            votes[TARGETS[place]] += math.exp(-minus_similarity / temperature)
        out.append([vote / sum(votes) for vote in votes])
    return np.array(out)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (7, 0.07), (20, 0.5), (N, 0.07)])
def test_it_is_the_vote_of_the_paper(k, temperature):
    train, test = data(0, N), data(1, M)
    found = shares(train, test, k=k, temperature=temperature)
    assert found.shape == (M, CLASSES)
    assert found.dtype == np.float32
    assert np.allclose(found, by_loop(train, test, k, temperature), atol=1e-5)


def test_it_agrees_with_scikit_learn():
    train, test = data(0, N), data(1, M)

    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    reference = KNeighborsClassifier(
        n_neighbors=20, metric="cosine", algorithm="brute", weights=lambda distance: np.exp((1 - distance) / 0.07)
    ).fit(unit(train), TARGETS)
    assert np.allclose(shares(train, test), reference.predict_proba(unit(test)), atol=1e-5)


@pytest.mark.parametrize(("test_block", "train_block"), [(1, 1), (4, 3), (37, 20), (10, 82), (1000, 1000)])
def test_the_blocks_do_not_change_the_answer(test_block, train_block):
    train, test = data(0, N), data(1, M)
    train[40:60] = train[:20]  # neighbours that are equally near, in other blocks
    whole = shares(train, test)
    assert np.allclose(shares(train, test, test_block=test_block, train_block=train_block), whole, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(-2, 2), min_size=6, max_size=6), min_size=1, max_size=8), st.integers(1, 6))
def test_of_equal_similarities_the_first_are_taken(rows, k):
    values, columns = knn.top_k(torch.tensor(rows, dtype=torch.float32), k)
    for row, got, places in zip(rows, values.tolist(), columns.tolist(), strict=True):
        wanted = sorted(range(6), key=lambda place: (-row[place], place))[:k]
        assert places == wanted
        assert got == [row[place] for place in wanted]


@pytest.mark.parametrize(("n", "k"), [(480, 5), (1237, 5), (1237, 14), (12_500, 20)])
@pytest.mark.parametrize("how_many_values", [3, 1000, 10**9])
def test_the_largest_of_long_rows_are_found_by_groups(n, k, how_many_values):
    rng = np.random.default_rng(n)
    rows = rng.integers(0, how_many_values, (9, n)).astype(np.float32)
    rows[0] = np.sort(rows[0])
    rows[1, : n // 2] = -np.inf
    values, columns = knn.top_k(torch.from_numpy(rows), k)
    wanted = np.argsort(-rows, axis=1, kind="stable")[:, :k]
    assert np.array_equal(columns.numpy(), wanted)
    assert np.array_equal(values.numpy(), np.take_along_axis(rows, wanted, axis=1))


@pytest.mark.parametrize("train_block", [4, 7, 40])
def test_of_training_examples_that_are_the_same_the_first_vote(train_block):
    train = np.tile(np.eye(2, D, dtype=np.float32), (20, 1))  # twenty times each of two embeddings
    test = np.eye(2, D, dtype=np.float32)
    wanted = np.stack(
        [np.bincount(TARGETS[0:10:2], minlength=CLASSES), np.bincount(TARGETS[1:10:2], minlength=CLASSES)]
    )
    assert np.allclose(shares(train, test, k=5, train_block=train_block), wanted / 5)


def test_an_example_of_several_frames_is_its_frames_side_by_side():
    """And the similarity of two is the mean over frames, whatever the frames' lengths."""
    train, test = data(0, 3 * N), data(1, 3 * M)
    frames, asked = np.arange(3 * N).reshape(N, 3), np.arange(3 * M).reshape(M, 3)
    found = knn.classify(train, frames, TARGETS, test, asked, n_classes=CLASSES)

    def side_by_side(x: np.ndarray, frames: np.ndarray) -> np.ndarray:
        return (x / np.linalg.norm(x, axis=1, keepdims=True))[frames].reshape(len(frames), -1)

    assert np.allclose(found, by_loop(side_by_side(train, frames), side_by_side(test, asked), 20, 0.07), atol=1e-5)
    longer = train * np.random.default_rng(0).uniform(0.1, 10, (3 * N, 1)).astype(np.float32)
    assert np.allclose(knn.classify(longer, frames, TARGETS, test, asked, n_classes=CLASSES), found, atol=1e-5)


def test_mapped_files_give_the_same_bits_twice(tmp_path):
    train, test = data(0, N), data(1, M)
    np.save(tmp_path / "train.npy", train)
    mapped = np.load(tmp_path / "train.npy", mmap_mode="r")
    assert np.array_equal(shares(mapped, test), shares(train, test))
    reported: list[tuple[int, int]] = []
    shares(train, test, train_block=40, progress=lambda done, total: reported.append((done, total)))
    assert reported == [(1, 3), (2, 3), (3, 3)]


def test_what_is_held_does_not_grow_with_train(tmp_path):
    """Sixteen times the training examples, and the same arrays in use."""
    import tracemalloc

    def peak(n: int) -> int:
        path = tmp_path / f"{n}.npy"
        np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, 256))[:] = data(0, n, 256)
        mapped = np.load(path, mmap_mode="r")
        labels = np.zeros(n, np.int64)
        tracemalloc.start()
        knn.classify(mapped, single(n), labels, data(1, 8, 256), single(8), n_classes=2, train_block=128)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(8192) < peak(512) + (1 << 18)  # a block is 128 kB, all of the larger one 8 MB


def test_fewer_examples_than_neighbours_all_vote():
    train, test = data(0, 4), data(1, M)
    assert np.allclose(shares(train, test), by_loop(train, test, 4, 0.07), atol=1e-5)


def test_neighbours_on_the_other_side_of_the_sphere_are_neighbours_all_the_same():
    """What fills up the last block must not be nearer than they are."""
    test = data(1, 1)
    train = -np.abs(np.random.default_rng(0).uniform(0.5, 1, (7, 1))).astype(np.float32) * test + 0.1 * data(2, 7)
    assert np.allclose(shares(train, test, k=3, train_block=4), by_loop(train, test, 3, 0.07), atol=1e-5)


def test_numbers_are_the_neighbours_mean_of_those_that_are_known():
    rng = np.random.default_rng(5)
    train, test = rng.normal(size=(60, 6)).astype(np.float32), rng.normal(size=(9, 6)).astype(np.float32)
    targets = rng.normal(size=(60, 2)).astype(np.float32)
    targets[rng.random(60) < 0.3, 1] = np.nan
    found = knn.classify(train, np.arange(60)[:, None], targets, test, np.arange(9)[:, None], k=7, train_block=16)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (train, test)]
    similarity = unit[1] @ unit[0].T
    for row, near in enumerate(np.argsort(-similarity, axis=1)[:, :7]):
        weights = np.exp(similarity[row, near] / 0.07)
        for column in range(2):
            known = ~np.isnan(targets[near, column])
            expected = np.average(targets[near, column][known], weights=weights[known])
            assert found[row, column] == pytest.approx(expected, abs=1e-4)


def test_where_no_neighbour_has_a_target_it_is_the_mean_of_train():
    train = np.eye(4, dtype=np.float32)
    targets = np.array([[np.nan], [np.nan], [2.0], [4.0]], np.float32)
    found = knn.classify(train, np.arange(4)[:, None], targets, train[:1], np.zeros((1, 1), int), k=1)
    assert found.tolist() == [[3.0]]


@pytest.mark.parametrize("is_grouped", [False, True])
def test_leaving_one_out_is_the_vote_of_the_others(is_grouped):
    train = data(0, N)
    groups = [f"g{k // 3}" for k in range(N)] if is_grouped else None

    def top1(outputs: np.ndarray, targets: np.ndarray) -> float:
        return float(np.mean(outputs.argmax(axis=1) == targets))

    found = knn.leave_one_out(train, single(N), TARGETS, n_classes=CLASSES, score=top1, groups=groups)
    assert set(found) == {(k, t) for k in (1, 5, 10, 20, 50) for t in knn.TEMPERATURES}
    for k, temperature in ((1, 0.07), (20, 0.02)):
        right = 0
        for row in range(N):
            others = [j for j in range(N) if (j // 3 != row // 3 if is_grouped else j != row)]
            shown = knn.classify(
                train[others], single(len(others)), TARGETS[others], train[[row]], single(1), n_classes=CLASSES, k=k,
                temperature=temperature,
            )  # fmt: skip
            right += int(shown.argmax() == TARGETS[row])
        assert found[k, temperature] == pytest.approx(right / N)


def test_auto_chooses_on_train_what_the_record_says(tmp_path):
    of = task()
    for given_, said in (({"k": "auto"}, {"k"}), ({"k": 3, "temperature": 0.2}, set())):
        outcome, _ = run(tmp_path, of, **given_)
        (record,) = (ResultStore(tmp_path).read(path) for path in tmp_path.rglob(f"*k={given_['k']}*.json"))
        assert record is not None
        chosen = record["protocol"]
        if said:
            k, temperature = max(chosen["tried"], key=chosen["tried"].get).split(", ")
            assert (
                chosen["tried"][f"{chosen['k']}, {chosen['temperature']:g}"] == chosen["tried"][f"{k}, {temperature}"]
            )
            assert "auto" in outcome.table["probe"].item()
        else:
            assert (chosen["k"], chosen["temperature"]) == (3, 0.2)
    assert run(tmp_path, of, k="auto")[0].n_run == 0

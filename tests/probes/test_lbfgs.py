"""The regression against scikit-learn and its own optimality, and what its penalty is chosen on."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression, Ridge

from tests.evaluation.test_plan import run, task
from virb.contracts.holdout import held_out
from virb.errors import TrainingError, UsageError
from virb.probes import lbfgs, regression
from virb.training import quasi_newton

N, D, CLASSES = 240, 8, 4
RNG = np.random.default_rng(0)
TARGETS = RNG.integers(0, CLASSES, N)
CENTRES = RNG.normal(size=(CLASSES, D))
# Dimensions of very different spread and place, as embeddings have.
FEATURES = ((CENTRES[TARGETS] + 1.5 * RNG.normal(size=(N, D))) * np.geomspace(0.2, 3, D) + 5).astype(np.float32)
FRAMES = np.arange(N)[:, None]


def accuracy(scores: np.ndarray, targets: np.ndarray) -> float:
    return float(np.mean(scores.argmax(axis=1) == targets))


def choose(features=FEATURES, frames=FRAMES, targets=TARGETS, **options) -> lbfgs.Choice:
    return lbfgs.choose_and_fit(
        features, frames, targets, **{"n_classes": CLASSES, "seed": 0, "score": accuracy, **options}
    )


def standard(found: lbfgs.Fit, features: np.ndarray = FEATURES) -> np.ndarray:
    return (features - found.mean.numpy()) / found.scale


@pytest.mark.parametrize("penalty", [1e-2, 1.0, 1e3])
def test_it_is_scikit_learns_regression(penalty):
    found = lbfgs.fit(FEATURES, FRAMES, TARGETS, n_classes=CLASSES, penalty=penalty)
    x = standard(found)
    reference = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=10_000).fit(x, TARGETS)
    assert found.is_converged
    assert np.allclose(softmax(found.scores(FEATURES, FRAMES), axis=1), reference.predict_proba(x), atol=1e-5)
    assert np.allclose(found.weights[:-1].numpy(), reference.coef_.T, atol=1e-4)


@pytest.mark.parametrize("penalty", [1e-2, 1.0, 1e3])
def test_the_gradient_of_the_penalised_loss_vanishes(penalty):
    found = lbfgs.fit(FEATURES, FRAMES, TARGETS, n_classes=CLASSES, penalty=penalty)
    x, weights = standard(found), found.weights.numpy()
    error = softmax(x @ weights[:-1] + weights[-1], axis=1) - np.eye(CLASSES)[TARGETS]
    assert np.abs(x.T @ error + penalty * weights[:-1]).max() / N < 2e-8
    assert np.abs(error.sum(axis=0)).max() / N < 2e-8


def test_the_features_unit_and_origin_do_not_matter():
    """A shift of all embeddings or one factor for all of them changes neither the penalty nor the predictions."""
    once, again = choose(), choose(features=64 * FEATURES - 3)
    assert once.fit.penalty == again.fit.penalty
    assert once.tried == again.tried
    assert np.allclose(again.fit.scores(64 * FEATURES - 3, FRAMES), once.fit.scores(FEATURES, FRAMES), atol=1e-3)


def test_the_penalties_are_the_papers():
    assert len(lbfgs.PENALTIES) == 45
    assert (lbfgs.PENALTIES[0], lbfgs.PENALTIES[-1]) == (1e-6, 1e5)
    assert np.allclose(np.diff(np.log10(lbfgs.PENALTIES)), 0.25, atol=1e-5)


def test_the_penalty_is_the_best_on_the_validation_part_alone():
    """By scikit-learn, on the same part: no penalty that was tried does better there, and the refit is on all of train."""
    choice = choose()
    fitted, held = held_out(N, 0.2, seed=0)
    assert choice.n_validation == len(held) == 48
    assert set(choice.tried) <= set(lbfgs.PENALTIES)
    assert 10 <= len(choice.tried) <= 13
    scores = {}
    part = lbfgs.fit(FEATURES[fitted], FRAMES[: len(fitted)], TARGETS[fitted], n_classes=CLASSES, penalty=1.0)
    x = standard(part)
    for penalty, found in choice.tried.items():
        model = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=10_000).fit(x[fitted], TARGETS[fitted])
        log_odds = log_softmax(model.decision_function(x[held]), axis=1)
        right = accuracy(log_odds, TARGETS[held])
        assert found == pytest.approx(right, abs=1 / 48 + 1e-9)  # a close call may fall either way
        scores[penalty] = (right, log_odds[np.arange(len(held)), TARGETS[held]].mean())
    assert scores[choice.fit.penalty][0] >= max(scores.values())[0] - 1 / 48 - 1e-9
    whole = lbfgs.fit(FEATURES, FRAMES, TARGETS, n_classes=CLASSES, penalty=choice.fit.penalty)
    assert np.allclose(choice.fit.scores(FEATURES, FRAMES), whole.scores(FEATURES, FRAMES), atol=5e-3)


def test_the_search_finds_the_peak_of_a_score_with_one_peak(monkeypatch):
    """Every place of the peak, ends included, without fitting anything."""

    class Problem:
        def __init__(self, *_):
            pass

        def solve(self, penalty, starts=(), tick=None, *, tolerance=0.0):
            return lbfgs.Fit(penalty, torch.zeros(2, 2), None, 1.0, 1, True, 0.0)

    for peak in range(len(lbfgs.PENALTIES)):

        def quality(candidate: lbfgs.Fit, peak: int = peak) -> tuple[float, float, float]:
            return -abs(lbfgs.PENALTIES.index(candidate.penalty) - peak), 0.0, candidate.penalty

        for is_whole in (False, True):
            tried, _ = lbfgs._search(Problem(), quality, lambda *_: None, is_whole=is_whole)
            assert max(tried.values())[2] == lbfgs.PENALTIES[peak]
            assert len(tried) == 45 if is_whole else len(tried) <= 13


def test_the_seed_chooses_the_validation_part_and_all_else_is_the_same_bits():
    one, two, other = choose(), choose(), choose(seed=1)
    assert one.tried == two.tried
    assert np.array_equal(one.fit.weights, two.fit.weights)
    assert one.tried != other.tried


def test_features_too_large_to_be_kept_are_read_in_every_iteration_with_the_same_bits(tmp_path, monkeypatch):
    np.save(tmp_path / "features.npy", FEATURES)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    monkeypatch.setattr(regression, "BLOCK_BYTES", 50 * 4 * D)
    held = choose()
    monkeypatch.setattr(regression, "MAX_HELD_BYTES", 0)
    read = choose(features=mapped)
    assert np.array_equal(held.fit.weights, read.fit.weights)
    monkeypatch.undo()
    assert np.allclose(choose().fit.weights, held.fit.weights, atol=1e-3)


def test_an_example_of_several_frames_is_their_embeddings_side_by_side():
    frames = FRAMES.reshape(-1, 2)
    found = lbfgs.fit(FEATURES, frames, TARGETS[: len(frames)], n_classes=CLASSES, penalty=1.0)
    side_by_side = FEATURES.reshape(-1, 2 * D)
    same = lbfgs.fit(side_by_side, FRAMES[: len(frames)], TARGETS[: len(frames)], n_classes=CLASSES, penalty=1.0)
    assert np.array_equal(found.weights, same.weights)
    assert found.weights.shape == (2 * D + 1, CLASSES)


def test_embeddings_that_are_all_the_same_give_the_classes_frequencies():
    found = lbfgs.fit(np.ones((N, D), np.float32), FRAMES, TARGETS, n_classes=CLASSES, penalty=1.0)
    shares = softmax(found.scores(np.ones((1, D), np.float32), np.zeros((1, 1), int)), axis=1)
    assert np.allclose(shares[0], np.bincount(TARGETS) / N, atol=1e-3)


def test_what_cannot_be_fitted_is_named():
    with pytest.raises(UsageError, match="1 training examples are too few"):
        choose(frames=FRAMES[:1], targets=TARGETS[:1])
    bad = FEATURES.copy()
    bad[0, 0] = np.nan
    with pytest.raises(TrainingError, match="was not finite at a penalty of"):
        choose(features=bad)


def test_the_validation_part_is_not_fitted_while_the_penalty_is_chosen():
    """Labels that mean nothing can be learned by heart, and are not found again on examples held out."""
    rng = np.random.default_rng(1)
    noise, labels = rng.normal(size=(N, 200)).astype(np.float32), rng.integers(0, CLASSES, N)
    choice = choose(features=noise, targets=labels)
    assert max(choice.tried.values()) < 0.5
    weak = lbfgs.fit(noise, FRAMES, labels, n_classes=CLASSES, penalty=1e-6)
    assert accuracy(weak.scores(noise, FRAMES), labels) == 1


@pytest.mark.parametrize("penalty", [1e-2, 1.0, 1e3])
def test_numbers_are_scikit_learns_ridge_regression(penalty):
    targets = np.stack([FEATURES @ np.arange(D), RNG.normal(size=N)], axis=1)
    targets = (targets - targets.mean(0)) / targets.std(0)
    found = lbfgs.fit(FEATURES, FRAMES, targets, n_classes=2, penalty=penalty, target="number")
    x = standard(found)
    reference = Ridge(alpha=penalty).fit(x, targets)
    assert found.is_converged
    np.testing.assert_allclose(found.scores(FEATURES, FRAMES), reference.predict(x), atol=5e-3)


def test_labels_are_a_regression_each_of_those_that_count():
    labels = (RNG.random((N, 3)) < [[0.5, 0.2, 0.5]]).astype(int)
    labels[:, 1] |= TARGETS == 2
    labels[::7, 2] = -1
    found = lbfgs.fit(FEATURES, FRAMES, labels, n_classes=3, penalty=1.0, target="labels")
    x = standard(found)
    for k in range(3):
        counts = labels[:, k] >= 0
        reference = LogisticRegression(C=1.0, tol=1e-8, max_iter=10_000).fit(x[counts], labels[counts, k])
        expected = reference.decision_function(x)
        np.testing.assert_allclose(found.scores(FEATURES, FRAMES)[:, k], expected, atol=2e-2)


@pytest.mark.parametrize("target", ["labels", "number"])
def test_the_penalty_of_labels_and_numbers_is_chosen_on_validation(target):
    targets = np.eye(CLASSES, dtype=int)[TARGETS] if target == "labels" else (FEATURES[:, :2] - 5).astype(float)

    def score(outputs: np.ndarray, wanted: np.ndarray) -> float:
        return -float(np.mean((outputs - wanted) ** 2))

    choice = choose(targets=targets, n_classes=targets.shape[1], target=target, score=score)
    assert choice.tried[choice.fit.penalty] == max(choice.tried.values())
    if target == "number":
        assert score(choice.fit.scores(FEATURES, FRAMES), targets) > -1e-3


def test_columns_whose_covariance_is_taken_in_parts_end_at_the_same_place(monkeypatch):
    whole = lbfgs.fit(FEATURES, FRAMES, TARGETS, n_classes=CLASSES, penalty=0.1)
    monkeypatch.setattr(regression, "MAX_WIDTH", 3)
    parts = lbfgs.fit(FEATURES, FRAMES, TARGETS, n_classes=CLASSES, penalty=0.1)
    assert parts.is_converged
    assert torch.allclose(whole.weights, parts.weights, atol=1e-5)


def test_of_few_labels_every_class_is_fitted_and_one_example_each_leaves_nothing_to_choose_on(tmp_path):
    of = task("mine")
    record = run(tmp_path, of, probe="lbfgs", labels_per_class=1)[0]
    assert record.table["score"].notna().all()
    (path,) = tmp_path.rglob("*seed0.json")
    said = json.loads(path.read_text())["protocol"]
    assert (said["penalty"], said["n_validation"], said["penalties_tried"]) == (lbfgs.WITHOUT_VALIDATION, 0, {})


def test_the_minimum_of_a_valley_is_found_in_its_metric_at_once_and_without_it_too():
    spread = torch.logspace(-3, 3, 9, dtype=torch.float64)[:, None]
    aim = torch.arange(9.0, dtype=torch.float64)[:, None]

    def valley(w):
        return float((spread * (w - aim) ** 2).sum() / 2), spread * (w - aim)

    def metric(factor):
        return quasi_newton.Metric(lambda w: w * factor, lambda u: u / factor, lambda g: g / factor)

    start = torch.zeros(9, 1, dtype=torch.float64)
    how = {"tolerance": 1e-9, "max_iterations": 500, "history": 20}
    known = quasi_newton.minimise(valley, start, metric(spread.sqrt()), **how)
    blind = quasi_newton.minimise(valley, start, metric(torch.ones_like(spread)), **how)
    assert known.n_iterations == 1 < blind.n_iterations
    for found in (known, blind):
        assert found.largest <= 1e-9
        assert torch.allclose(found.weights, aim, atol=1e-5)


@pytest.mark.parametrize("power", [4, 6])
def test_a_flat_bottom_is_reached_from_far_away(power):
    def bowl(w):
        return float((w**power).sum()), power * w ** (power - 1)

    same = quasi_newton.Metric(lambda w: w, lambda u: u, lambda g: g)
    start = torch.tensor([[30.0], [-0.5]], dtype=torch.float64)
    found = quasi_newton.minimise(bowl, start, same, tolerance=1e-8, max_iterations=500, history=10)
    assert found.largest <= 1e-8

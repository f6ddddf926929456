"""Rankings that tolerate missing cells: models of pairs with ties, and of orders.

Bradley and Terry 1952; Davidson 1970 for ties; Plackett 1975 and Luce 1959 for whole orders. Every task is an order of the encoders that
have a score on it. Strengths theta sum to 0; where nobody connects two groups of encoders in both directions the likelihood
has no maximum, and half a win each way is added between all. Pairs of one task are one order and no independent games: intervals
come from leaving out tasks (or whole categories), never from the likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from virb.errors import ScoresError
from virb.stats.aggregation import Spread
from virb.stats.exact import settled

_IN_CACHE = 50_000  # numbers of an array that several passes go over
MODELS = ("davidson", "plackett-luce")


@dataclass(frozen=True)
class Strengths:
    """``theta`` (k,) that sum to 0; ``ties`` is Davidson's nu (0 without ties); ``log_likelihood``; ``has_prior``."""

    theta: np.ndarray
    ties: float
    log_likelihood: float
    has_prior: bool

    def wins(self, a: int, b: int) -> float:
        """P(a above b) + P(tie) / 2 on another task."""
        x, y = np.exp(self.theta[a]), np.exp(self.theta[b])
        tie = self.ties * np.sqrt(x * y)
        return float((x + tie / 2) / (x + y + tie))


def games(scores: np.ndarray, *, tie: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Wins (k, k) of row over column, and ties, over all tasks on which both have a score.

    Args:
        scores: (k, T), NaN where there is none.
        tie: difference up to which two scores tie; scores that differ in the last bit always do.
    """
    k, n = scores.shape
    wins, ties = np.zeros((2, k, k), np.float32)  # halves of up to some millions are exact
    x = settled(scores)
    for t in range(n):
        slack = tie + 1e-12 * np.nanmax(np.abs(x[:, t]), initial=0.0)
        for rows in _blocks(k):
            gap = x[rows, t, None] - x[:, t]
            with np.errstate(invalid="ignore"):
                wins[rows] += gap > slack
                ties[rows] += np.abs(gap) <= slack
    np.fill_diagonal(ties, 0.0)
    return wins, ties


def _blocks(k: int) -> list[slice]:
    """Rows of (k, k) arrays, few enough that a processor's cache holds what is computed of them."""
    step = max(1, _IN_CACHE // k)
    return [slice(first, first + step) for first in range(0, k, step)]


def is_connected(wins: np.ndarray, ties: np.ndarray) -> bool:
    """Whether a path of wins (or ties) leads from every encoder to every other: else no maximum exists."""
    leads = (wins + ties) > 0
    return _reaches_all(leads) and _reaches_all(leads.T)


def _reaches_all(leads: np.ndarray) -> bool:
    """Whether a path leads from the first to every other."""
    is_reached = np.zeros(len(leads), bool)
    new = np.arange(len(leads)) == 0
    while new.any():
        is_reached |= new
        new = leads[new].any(axis=0) & ~is_reached
    return bool(is_reached.all())


def davidson(
    wins: np.ndarray, ties: np.ndarray, *, has_prior: bool | None = None, start: np.ndarray | None = None
) -> Strengths:
    """Maximum likelihood of Davidson's model: win pi_i / D, tie nu sqrt(pi_i pi_j) / D with D = pi_i + pi_j + nu sqrt(pi_i pi_j).

    Without ties it is Bradley and Terry's.

    Args:
        has_prior: add half a win each way between all pairs; None does so where there would be no maximum.

    Raises:
        ScoresError: fewer than 2 encoders.
    """
    k = len(wins)
    if k < 2:
        raise ScoresError(f"A model of pairs needs at least 2 encoders; found {k}.")
    if has_prior is None:
        has_prior = not is_connected(wins, ties)
    w = wins
    if has_prior:
        w = wins + 0.5
        np.fill_diagonal(w, wins.diagonal())
    n = w + w.T + ties
    scored = w.sum(axis=1, dtype=float) + ties.sum(axis=1, dtype=float) / 2
    total_ties = float(ties.sum(dtype=float) / 2)
    # Of all pairs, written over at every step: memory that is new each time costs more than the arithmetic.
    of_wins, of_games, of_ties = (np.empty((k, k) if needed else 0) for needed in (True, True, total_ties))

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        theta, nu = x[:k], np.exp(x[k]) if total_ties else 0.0
        expected = np.empty(k)
        for rows in _blocks(k):
            half = 0.5 * (theta[rows, None] - theta)  # D / sqrt(pi_i pi_j) = 2 cosh(half) + nu
            np.multiply(w[rows], half, out=of_wins[rows])
            np.clip(half, -300, 300, out=half)
            below = 2 * np.cosh(half) + nu
            np.multiply(n[rows], np.log(below), out=of_games[rows])
            expected[rows] = (n[rows] * (np.exp(half) + nu / 2) / below).sum(axis=1)
            if total_ties:
                np.divide(n[rows] * nu, below, out=of_ties[rows])
        value = of_wins.sum() + (total_ties * np.log(nu) if total_ties else 0.0) - of_games.sum() / 2
        of_nu = total_ties - of_ties.sum() / 2 if total_ties else 0.0
        return -value, -np.append(scored - expected, of_nu)

    first = np.append(np.zeros(k) if start is None else start, 0.0)
    found = optimize.minimize(
        loss, first, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-14, "gtol": 1e-8}
    )
    theta = found.x[:k] - found.x[:k].mean()
    return Strengths(theta, float(np.exp(found.x[k])) if total_ties else 0.0, -float(found.fun), has_prior)


def plackett_luce(
    scores: np.ndarray, *, tie: float = 0.0, has_prior: bool | None = None, start: np.ndarray | None = None
) -> Strengths:
    """Maximum likelihood of orders: P = prod pi_(k) / sum of those not yet placed; encoders that tie are placed at once.

    A task on which an encoder is missing orders the others only.

    Args:
        scores: (k, T), NaN where there is none; and as :func:`davidson`.
    """
    k = len(scores)
    if k < 2:
        raise ScoresError(f"A model of orders needs at least 2 encoders; found {k}.")
    wins, ties = games(scores, tie=tie)
    if has_prior is None:
        has_prior = not is_connected(wins, ties)
    x = settled(scores)
    stages: list[
        tuple[np.ndarray, np.ndarray]
    ] = []  # of each task: encoders from the best on, and where each tie begins
    for t in range(x.shape[1]):
        order = np.flatnonzero(np.isfinite(x[:, t]))
        order = order[np.argsort(-x[order, t], kind="stable")]
        values = x[order, t]
        slack = tie + 1e-12 * np.abs(values).max(initial=0.0)
        begins = np.zeros(len(order), int)
        for place in range(1, len(order)):
            begins[place] = begins[place - 1] if values[begins[place - 1]] - values[place] <= slack else place
        stages.append((order, begins))

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = 0.0, np.zeros(k)
        for order, begins in stages:
            own = theta[order]
            top = own.max(initial=0.0)
            left = np.cumsum(np.exp(own - top)[::-1])[::-1][begins]  # of those not yet placed
            last = begins[-1] if len(begins) else 0
            counted = begins < last  # the last tie has nobody behind it
            value += float((own - top - np.log(left))[counted].sum())
            share = np.zeros(len(order))
            np.add.at(share, begins[counted], 1 / left[counted])
            slope[order] += counted - np.exp(own - top) * np.cumsum(share)
        if has_prior:
            gap = theta[:, None] - theta
            value -= float(0.5 * (np.logaddexp(0, -gap) * (1 - np.eye(k))).sum())
            slope += (0.5 * np.tanh(-gap / 2)).sum(axis=1)
        return -value, -slope

    found = optimize.minimize(
        loss,
        np.zeros(k) if start is None else start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 2000, "ftol": 1e-14, "gtol": 1e-8},
    )
    return Strengths(found.x - found.x.mean(), 0.0, -float(found.fun), has_prior)


@dataclass(frozen=True)
class Ranked:
    """Strengths, the spread over tasks of each, and of the leader less each other.

    The latter is pooled over the others: so few tasks or categories leave each alone uncertain, and the smallest of many by
    chance would decide who is told from the leader.
    """

    strengths: Strengths
    of_each: Spread
    of_lead: Spread

    def is_told(self) -> np.ndarray:
        """(k,) whether the leader is told from each, of all pairs at once (95 %): that it was chosen is counted."""
        gap = self.strengths.theta.max() - self.strengths.theta
        return np.asarray(gap > self.of_lead.quantile(families=len(gap)) * self.of_lead.se)


def ranked(scores: np.ndarray, blocks: np.ndarray, *, model: str = "davidson", tie: float = 0.0) -> Ranked:
    """Fit a model, and again without each task (or category), which gives the standard errors.

    Args:
        scores: (k, T), NaN where there is none.
        blocks: (T,) 0, 1, ... category of each task, or each task its own.

    Raises:
        ScoresError: an encoder has no score, or fewer than 2 encoders.
    """
    if np.isnan(scores).all(axis=1).any():
        raise ScoresError("An encoder has no score at all.")

    def fit(x: np.ndarray, has_prior: bool | None, start: np.ndarray | None = None) -> Strengths:
        if model == "plackett-luce":
            return plackett_luce(x, tie=tie, has_prior=has_prior, start=start)
        return davidson(*games(x, tie=tie), has_prior=has_prior, start=start)

    g = int(blocks.max()) + 1
    parts = [scores[:, blocks != b] for b in range(g)] if g > 1 else []
    has_prior = not all(is_connected(*games(x, tie=tie)) for x in (scores, *parts))
    whole = fit(scores, has_prior)
    lead = int(whole.theta.argmax())
    if not parts:
        nothing = np.full(len(scores), np.nan)
        return Ranked(whole, Spread(nothing, nothing), Spread(nothing, nothing))
    left = np.stack([fit(x, has_prior, whole.theta).theta for x in parts])
    df = np.full(len(scores), g - 1.0)
    gap = left[:, [lead]] - left
    others = np.arange(len(scores)) != lead
    pooled = np.sqrt((g - 1) * gap[:, others].var(axis=0).mean())
    return Ranked(whole, Spread(np.sqrt((g - 1) * left.var(axis=0)), df), Spread(np.full(len(scores), pooled), df))

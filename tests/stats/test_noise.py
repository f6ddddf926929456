"""How much of the variance is whose: found again where it was put in, and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from virb.errors import ScoresError
from virb.stats.noise import jackknife_sd, noise_layers, variance_shares


def test_variance_components_are_found_again() -> None:
    rng = np.random.default_rng(0)
    e, t, s = 60, 50, 3
    cell = 2 * rng.normal(size=(e, 1)) + 3 * rng.normal(size=(1, t)) + rng.normal(size=(e, t))
    values = cell[:, :, None] + 0.5 * rng.normal(size=(e, t, s))
    rows = [(f"e{i}", f"t{j}", k, values[i, j, k]) for i in range(e) for j in range(t) for k in range(s)]
    frame = pd.DataFrame(rows, columns=["encoder", "task", "seed", "score"])
    sd = variance_shares(frame).set_index("component")["sd"]
    assert sd.to_dict() == pytest.approx({"encoder": 2, "task": 3, "encoder x task": 1, "seed": 0.5}, rel=0.25)
    assert variance_shares(frame)["share"].sum() == pytest.approx(1)
    single = variance_shares(frame[frame["seed"] == 0])
    assert list(single["component"]) == ["encoder", "task", "encoder x task and seed"]
    with pytest.raises(ScoresError):
        variance_shares(frame.drop(index=0))
    with pytest.raises(ScoresError):
        variance_shares(frame[frame["encoder"] == "e0"])


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    x = np.random.default_rng(0).normal(size=50)
    assert jackknife_sd((x.sum() - x) / 49) == pytest.approx(scipy_stats.sem(x))
    with pytest.raises(ScoresError):
        jackknife_sd(np.array([np.nan]))


def test_noise_layers_are_recovered_and_kept_apart() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for family in range(100):
        for again in range(3):
            own = family + 0.3 * rng.normal()
            rows += [(f"{family}-{again}", "t", own + 0.1 * rng.normal()) for _ in range(2)]
    scores = pd.DataFrame(rows, columns=["encoder", "task", "score"])
    names = pd.Index(scores["encoder"].unique())
    families = pd.Series(names.str.split("-").str[0], index=names)
    found = noise_layers(scores, families, {("0-0", "t"): 0.3, ("0-1", "t"): 0.4}).iloc[0]
    assert found["probe_seed"] == pytest.approx(0.1, rel=0.1)
    assert found["pretraining_seed"] == pytest.approx(0.3, rel=0.1)
    assert found["test_sample"] == pytest.approx(np.sqrt(0.125))
    assert (found["df_probe"], found["df_pretraining"]) == (300, 200)
    alone = noise_layers(scores, pd.Series(names, index=names)).iloc[0]
    assert np.isnan(alone["pretraining_seed"])
    with pytest.raises(ScoresError, match="family"):
        noise_layers(scores, families[:-1])


def test_noise_layers_by_hand() -> None:
    rows = [("a", "t", 1.0), ("a", "t", 3.0), ("b", "t", 6.0), ("b", "t", 6.0)]
    found = noise_layers(
        pd.DataFrame(rows, columns=["encoder", "task", "score"]), pd.Series({"a": "f", "b": "f"})
    ).iloc[0]
    # Within: variances 2 and 0, mean 1. Means 2 and 6: squares 4 + 4, less 1 of the probe's (1/2 of 1 + 1/2 of 1 over 2).
    assert found["probe_seed"] == pytest.approx(1)
    assert found["pretraining_seed"] == pytest.approx(np.sqrt(8 - 0.5))

"""The task that others are drawn against: ImageNet, the one asked for, or one that is said to be picked, at its price in p."""

from __future__ import annotations

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests
from virb.analysis.task_scatter import adjusted_among

from virb import registry
from virb.contracts.tables import Notes, Tables
from virb.scores.schema import check_scores
from virb.stats.correlation import correlation_matrix


def study(middle: str = "m-middle") -> pd.DataFrame:
    """Ten encoders, five tasks: the middle one is the mean of the others, and not the first by name."""
    rng = np.random.default_rng(1)
    wide = pd.DataFrame(rng.normal(size=(10, 4)), columns=list("abyz"), index=[f"e{k}" for k in range(10)])
    wide[middle] = wide.mean(axis=1)
    return wide.rename_axis("encoder").reset_index().melt("encoder", var_name="task", value_name="score")


def tables(frame: pd.DataFrame, notes: Notes | None = None, **options: object) -> Tables:
    return registry.load("analyses", "task-scatter").tables(check_scores(frame), notes, **options)


def test_without_imagenet_the_anchor_goes_with_the_others_best_and_all_pairs_count() -> None:
    notes = Notes()
    found = tables(study(), notes)
    assert (found.facts["anchor"], found.facts["is_picked"], found.facts["n_tried"]) == ("m-middle", True, 10)
    assert any("flattered" in note and "all 10 pairs of tasks" in note for note in notes)
    wide = study().pivot(index="encoder", columns="task", values="score")
    p = correlation_matrix(wide).p
    pairs = [(a, b) for k, a in enumerate(p) for b in list(p)[k + 1 :]]
    adjusted = dict(zip(pairs, multipletests([p.loc[pair] for pair in pairs], method="fdr_bh")[1], strict=True))
    for row in found[""].itertuples():
        pair = tuple(sorted((row.task, "m-middle")))
        np.testing.assert_allclose(row.p_bh, adjusted[pair])


def test_a_named_anchor_costs_nothing() -> None:
    for found in (tables(study("ImageNet-1k")), tables(study(), anchor="m-middle")):
        assert (found.facts["is_picked"], found.facts["n_tried"]) == (False, 4)
        np.testing.assert_allclose(found[""]["p_bh"], multipletests(found[""]["p"], method="fdr_bh")[1])


def test_p_that_is_not_known_stays_so() -> None:
    found = adjusted_among(np.array([0.01, np.nan]), np.array([0.01, 0.02, np.nan, 0.5]))
    np.testing.assert_allclose(found, [0.03, np.nan])
    assert np.isnan(adjusted_among(np.array([np.nan]), np.array([np.nan]))).all()


def test_a_task_may_be_called_as_a_column_is() -> None:
    frame = study().replace({"task": {"b": "task", "y": "score"}})
    assert set(tables(frame)["scores"]["task"]) == {"a", "task", "score", "z", "m-middle"}
    violins = registry.load("analyses", "normalised-violins").tables(
        check_scores(frame), reference="e0", roles=("all",)
    )
    assert set(violins[""]["task"]) == {"a", "task", "score", "z", "m-middle"}

"""No task decides an answer over tasks by its unit: multiplied by a hundred, declared or not, it changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from virb import registry
from virb.contracts.tables import Tables
from virb.scores.schema import check_scores
from virb.scores.units import one_scale


def tables(name: str, frame: pd.DataFrame, **options: object) -> Tables:
    return registry.load("analyses", name).tables(one_scale(check_scores(frame)), **options)


def said(name: str, frame: pd.DataFrame, **options: object) -> list[str]:
    lines = registry.load("analyses", name).say(tables(name, frame, **options))
    return [line.replace(" (did not converge)", "") for line in lines]  # which the last bit decides at a sd of 0


def study(about: Callable[[int], dict[str, object]], n_encoders: int = 12, seeds: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    rows = []
    for k in range(n_encoders):
        own = about(k)
        for j in range(4):
            level = 0.5 + 0.05 * j + 0.1 * rng.normal()
            rows += [
                {"encoder": f"e{k}", "task": f"t{j}", "seed": s, "score": level + 0.01 * rng.normal(), **own}
                for s in range(seeds)
            ]
    frame = pd.DataFrame(rows)
    return frame if seeds > 1 else frame.drop(columns="seed")


def scaled(frame: pd.DataFrame, unit: str = "") -> pd.DataFrame:
    """One task a hundred times as large; where a unit is declared, the others' is fraction and its own is ``unit``."""
    out = frame.copy()
    is_it = out["task"] == "t1"
    out["score"] = out["score"].where(~is_it, 100 * out["score"])
    return out.assign(unit=np.where(is_it, unit, "fraction")) if unit else out


STUDIES: dict[str, Callable[[int], dict[str, object]]] = {
    "anova": lambda k: {"method": "ab"[k % 2], "epochs": 10 * (1 + k // 2 % 2)},
    "corruption-deltas": lambda k: {"method": "ab"[k % 2], "corruption": ("none", "blur", "noise")[k // 2 % 3]},
    "budget": lambda k: {"method": "ab"[k % 2], "dataset_size": 100 * (1 + k // 2 % 3), "images_seen": 6000},
    "augmentation-matrix": lambda k: {"augmentation_a": "pqr"[k % 3], "augmentation_b": "pqrs"[k // 3]},
    "batch-epochs": lambda k: {"batch_size": 256 * (1 + k % 3), "epochs": 100 * (1 + k // 3)},
    "pooling": lambda k: {"dataset": ("t0", "t1", "t0+t1")[k % 3], "dataset_size": "100"},
    "setting-change": lambda k: {"resized": ("no", "yes")[k % 2], "epochs": k // 2},
    "seed-variance": lambda k: {},
    "noise-layers": lambda k: {"repeat": f"r{k // 3}"},
    "projection-heads": lambda k: {"head": ("linear", "nonlinear")[k % 2], "head_dim": 64 * (1 + k // 2)},
}


@pytest.mark.parametrize("name", list(STUDIES))
@pytest.mark.parametrize("unit", ["", "degree"])
def test_an_answer_over_tasks_is_blind_to_units(name: str, unit: str) -> None:
    frame = study(STUDIES[name], seeds=3 if name in ("seed-variance", "noise-layers") else 1)
    options = {"roles": ("all",)} if name in ("anova", "budget") else {}
    first = frame if not unit else frame.assign(unit=np.where(frame["task"] == "t1", "radian", "fraction"))
    assert said(name, scaled(frame, unit), **options) == said(name, first, **options)
    percent = said(name, scaled(frame, "percent"), **options)
    assert percent == said(name, frame.assign(unit="fraction"), **options)


def test_the_scale_is_named() -> None:
    frame = study(STUDIES["corruption-deltas"])
    assert "in sd of each task over encoders, as no unit is declared" in said("corruption-deltas", frame)[0]
    assert " on average over 4 tasks, in fraction" in said("corruption-deltas", frame.assign(unit="fraction"))[0]
    anova = study(STUDIES["anova"])
    assert (
        said("anova", anova, roles=("all",))[0] == "scores are in sd of each task over encoders, as no unit is declared"
    )
    table = tables("budget", study(STUDIES["budget"]).assign(unit="fraction"), roles=("all",))[""]
    assert set(table["score_of"]) == {"mean over 4 tasks in fraction"}


def test_what_could_be_found_is_in_the_scores_own_unit() -> None:
    frame = study(lambda k: {"metric": "top1", "n_test": 1000}, seeds=3)
    whole = tables("detectable-effects", frame)[""]
    for percent in (scaled(frame), scaled(frame, "percent")):
        found = tables("detectable-effects", percent)[""]
        times = np.where(found["task"] == "t1", 100.0, 1.0)
        for column in ("best_less_median", "by_test_sample", "by_seeds"):
            np.testing.assert_allclose(found[column], whole[column] * times)
        assert said("detectable-effects", percent) == said("detectable-effects", frame)
    # What a degree of error is of the test examples is not known.
    assert tables("detectable-effects", scaled(frame, "degree"))[""].set_index("task")["by_test_sample"].isna()["t1"]

"""The committed scores of the study are whole, those of its recipe, and what its page says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

from virb import registry
from virb.pretraining.recipes import read_recipe

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "docs" / "study.csv"


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    return pd.read_csv(STUDY)


def test_every_encoder_of_the_recipe_has_a_score_on_every_task(scores):
    runs = read_recipe(ROOT / "pretrain" / "recipes" / "study.yaml")
    assert sum(run["method"] not in ("random", "supervised") for run in runs.values()) >= 30
    assert set(scores["encoder"]) == set(runs)
    tasks = {
        name
        for name in registry.names("tasks")
        if registry.find("tasks", name).group == "mini" and not registry.load("tasks", name).is_optional
    }
    scored = set(scores["task"])
    assert scored <= tasks, "the suite has since got others; none that was scored may be gone"
    assert len(scored) == 26
    assert not scores.duplicated(["encoder", "task"]).any()
    assert len(scores) == len(scored) * len(runs)
    assert scores["score"].notna().all()
    assert scores["overrides"].isna().all()


def test_the_recipe_says_how_each_encoder_was_made(scores):
    about = scores.drop_duplicates("encoder").set_index("encoder")
    for name, run in read_recipe(ROOT / "pretrain" / "recipes" / "study.yaml").items():
        assert about.loc[name, "method"] == run["method"]
        if run["method"] == "random":
            continue
        assert about.loc[name, "pretrain_seed"] == run["seed"]
        assert about.loc[name, "dataset"] == run["data"]
        assert abs(about.loc[name, "images_seen"] - run["budget"]) < run["batch_size"]


def test_the_page_shows_these_scores():
    spec = importlib.util.spec_from_file_location("update_tables", ROOT / "docs" / "update_tables.py")
    update_tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(update_tables)
    assert update_tables.study_table(STUDY) in (ROOT / "docs" / "study.md").read_text(encoding="utf-8")


def test_the_study_on_photographs_is_whole():
    """Every encoder of the recipe, and raw pixels, has one score on every task, and is declared for the papers' claims."""
    scores = pd.read_csv(ROOT / "docs" / "photos.csv")
    runs = read_recipe(ROOT / "pretrain" / "recipes" / "photos.yaml")
    declared = pd.read_csv(ROOT / "docs" / "photos-encoders.csv")
    assert set(scores["encoder"]) - set(runs) == {"pixels-8-size32"}
    assert set(declared["encoder"]) == set(runs)
    assert set(declared["repeat"].dropna()) <= set(runs)
    assert not scores.duplicated(["encoder", "task"]).any()
    assert len(scores) == scores["task"].nunique() * (len(runs) + 1)
    assert scores["score"].notna().all()

"""What is compared with what: one data set, one method, the tasks that all have; and classes that did fall."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from virb import registry
from virb.contracts.tables import Notes, Tables
from virb.report.ranking import rank
from virb.report.study import study_of
from virb.scores.schema import check_scores

PUBLISHED = Path(__file__).parents[2] / "analysis" / "papers" / "tables"


def tables(name: str, frame: pd.DataFrame, notes: Notes | None = None, **options: object) -> Tables:
    return registry.load("analyses", name).tables(check_scores(frame), notes, **options)


def said(name: str, frame: pd.DataFrame, notes: Notes | None = None, **options: object) -> str:
    return "\n".join(registry.load("analyses", name).say(tables(name, frame, notes, **options)))


def hammoud_table2() -> pd.DataFrame:
    t = pd.read_csv(PUBLISHED / "hammoud_table2.csv")
    t["encoder"] = t["method"] + " " + t["network"] + " " + t["pretrain_dataset"] + " " + t["N"].astype(int).astype(str)
    t = t.rename(columns={"pretrain_dataset": "dataset", "N": "dataset_size", "C": "images_seen"})
    about = ["encoder", "method", "network", "dataset", "dataset_size", "images_seen"]
    return t.melt(about, ["ImageNet", "Cars", "Flowers", "Pets", "Places", "Food"], "task", "score")


def test_hammouds_table_2_reads_as_its_authors_read_it() -> None:
    """More of one data set is better at equal compute in 4 of 4; another, larger data set is not more of the same."""
    notes = Notes()
    assert "the largest N is best in 4 of 4 comparisons" in said("budget", hammoud_table2(), notes, task="ImageNet")
    assert any("compared within each of 2 data sets" in note for note in notes)
    joined = said("budget", hammoud_table2(), task="ImageNet", by="method+network")
    assert "the largest N is best in 0 of 4 comparisons" in joined
    curves = tables("size-curves", hammoud_table2().query("network == 'ResNet-50'"))[""]
    assert set(curves["method+dataset"]) >= {"SimCLR, ImageNet", "SimCLR, YFCC"}


def test_simclrs_table_6_keeps_its_nine_methods() -> None:
    t = pd.read_csv(PUBLISHED / "simclr_table6.csv")
    t = t.assign(encoder=t["method"] + " " + t["architecture"], task="ImageNet", score=t["top1"])
    frame = t[["encoder", "task", "score", "method", "params_M"]]
    found = tables("size-curves", frame, x="params_M")
    assert found[""]["method"].nunique() == 9
    assert found["doublings"]["method"].nunique() == 3
    assert "6 of 9 lines have one params_M alone" in said("size-curves", frame, x="params_M")


def domains(methods: dict[str, str]) -> pd.DataFrame:
    """Data sets a and b; ``methods``: those of each. A method's letter is worth its place in the alphabet."""
    rows = [
        (f"{dataset}-{method}", f"task-{task}", 0.5 + 0.1 * (ord(method) - ord("x")), dataset, method)
        for dataset, own in methods.items()
        for method in own
        for task in "ab"
    ]
    return pd.DataFrame(rows, columns=["encoder", "task", "score", "dataset", "method"])


def test_a_data_set_is_not_credited_with_a_method() -> None:
    match = ("task-a:a", "task-b:b")
    notes = Notes()
    found = tables("domain-matrix", domains({"a": "xz", "b": "x"}), notes, match=match)
    assert found[""].groupby("dataset")["score"].mean().nunique() == 1  # a's second method counts for nothing
    assert any("left out, their method not being that of every dataset: a-z" in note for note in notes)
    apart = said("domain-matrix", domains({"a": "z", "b": "x"}), match=match)
    assert "no method is common to all of dataset (a: z; b: x), so that differences are the methods' as well" in apart
    assert "common" not in said("domain-matrix", domains({"a": "xz", "b": "xz"}), match=match)


@pytest.mark.parametrize("n_missing", [1, 7])
def test_one_leader_whatever_is_missing(n_missing: int) -> None:
    """The encoder with most missing scores would lead among those it has; report and analyses name one leader."""
    rng = np.random.default_rng(1)
    rows = [
        (f"e{k}", f"t{j}", 0.5 + 0.02 * k + 0.05 * rng.normal(), f"c{j % 2}")
        for k in range(6)
        for j in range(10)
        if not (k == 5 and j >= 10 - n_missing)
    ]
    frame = pd.DataFrame(rows, columns=["encoder", "task", "score", "category"])
    found = rank(study_of(check_scores(frame)))
    table = tables("critical-difference", frame)[""]
    assert table["encoder"][0] == found.table.index[0]
    assert set(table["encoder"]) == set(found.table.index)
    assert ("e5" in set(table["encoder"])) == (n_missing == 1)
    assert tables("rank-stability", frame)[""]["best"][0] == found.table.index[0]
    assert found.order[-1] == "e5" or n_missing == 1
    assert any("not ranked" in line for line in found.sentences) == (n_missing == 7)


def test_a_class_that_improved_is_not_called_harmed() -> None:
    table = pd.DataFrame({
        "class": ["cat", "dog", "owl"], "delta": [0.3, 0.1, 0.0], "p_bh": [0.5] * 3, "detectable": [0.2] * 3
    })  # fmt: skip
    say = registry.load("analyses", "class-deltas").say
    lines = say(Tables({"": table}, task="t", a="one", b="two", rank_r=0.5))
    assert "most improved: cat, dog" in lines
    assert "67% of 3 classes improve, 33% stay, 0% fall" in lines[0]
    fell = say(Tables({"": table.assign(delta=[0.1, -0.1, -0.2])}, task="t", a="one", b="two", rank_r=0.5))
    assert "most improved: cat; most harmed: owl, dog" in fell

"""What is compared with what: one data set, one method, the tasks that all have; and classes that did fall."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from virb import registry
from virb.contracts.analysis import NotApplicable
from virb.contracts.tables import Notes, Tables
from virb.errors import ScoresError
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


def repeats(column: str, seeds: int = 3) -> pd.DataFrame:
    """Two settings, ``seeds`` pretrainings each, that only ``column`` says are repeats; no setting is better."""
    rng = np.random.default_rng(2)
    rows = []
    for resized in ("no", "yes"):
        for seed in range(seeds):
            about = {"repeat": f"r-{resized}", "pretrain_seed": seed} if column else {}
            rows += [
                {
                    "encoder": f"{resized}-{seed}",
                    "task": t,
                    "score": 0.5 + 0.1 * rng.normal(),
                    "resized": resized,
                    **about,
                }
                for t in "abc"
            ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("column", ["repeat", ""])
def test_repeats_are_averaged_before_they_are_compared(column: str) -> None:
    """Three repeats against three are one pair, not nine; by their declared repeat, or alike in every setting."""
    frame, notes = repeats(column), Notes()
    found = tables("setting-change", frame, notes)
    assert set(found[""]["n_pairs"]) == {1}
    assert found[""]["low"].isna().all()
    mean = frame.groupby(["task", "resized"])["score"].mean().unstack()
    np.testing.assert_allclose(found[""].set_index("task")["change"], mean["yes"] - mean["no"])
    assert any("repeats of one another, averaged to one each: no-0 + no-1 + no-2" in note for note in notes)
    if column:
        assert any("pretrain_seed differs between them" in note for note in notes)
        paired = tables("setting-change", frame.drop(columns="repeat"))  # then the seed is what pairs them
        assert set(paired[""]["n_pairs"]) == {3}


def test_one_base_is_no_base_of_four() -> None:
    frame = repeats("", 4)
    shared = frame[(frame["resized"] == "yes") | (frame["encoder"] == "no-0")]
    assert set(tables("setting-change", shared)[""]["n_pairs"]) == {1}


def families(n: int, column: str) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    rows = [(f"e{k}-{j}", t, rng.normal(), f"f{k}", "ab"[k % 2]) for k in range(n) for j in range(3) for t in "xy"]
    return pd.DataFrame(rows, columns=["encoder", "task", "score", column, "factor"])


@pytest.mark.parametrize(
    ("name", "options"), [("anova", {"factors": "factor"}), ("method-difference", {"by": "factor"})]
)
@pytest.mark.parametrize("column", ["family", "method"])
def test_families_that_are_shared_count_once(name: str, options: dict[str, str], column: str) -> None:
    frame = families(6, column)
    lines = said(name, frame, **options)
    assert f"6 families ({column}) counts once" in lines
    assert "over encoders;" not in lines
    alone = frame[frame["encoder"].str.endswith("-0")]
    for other in (said(name, alone, **options), said(name, frame, **options, family="none")):
        assert "families" not in other
    # Of two families nothing can be told: p counts encoders, and says so on its line.
    few = said(name, frame[frame[column].isin(["f0", "f1"])], **options).splitlines()
    assert any("interval leaves out 0" in line or "p = " in line for line in few)
    for line in few:
        if "p = " in line or "interval leaves out 0" in line:
            assert "all are of 2 families" in line


def test_a_level_of_one_family_has_no_p() -> None:
    frame = families(6, "family")
    kept = frame[frame["family"].isin(["f0", "f1", "f3", "f5"])]
    lines = said("anova", kept, factors="factor")
    assert "told by one family alone" in lines
    assert "no p (too few families for its levels)" in lines
    assert "no interval, for one family decides" in said("method-difference", kept, by="factor")


def test_a_family_can_be_compared_without_a_column_method() -> None:
    frame = families(6, "family").assign(family=lambda f: "f" + f["factor"])
    assert "fa (n = 9) less fb (n = 9)" in said("method-difference", frame, by="family")
    assert registry.load("analyses", "method-difference").reason_not_to_run(frame) is None


def test_why_two_methods_of_many_are_compared_is_said() -> None:
    notes = Notes()
    said("method-difference", families(6, "method"), notes)
    assert any("of the 6 values of method the two with most encoders are compared" in note for note in notes)
    notes = Notes()
    said("method-difference", families(6, "method"), notes, compare="f0,f3")
    assert not any("are compared" in note for note in notes)


def test_the_tightest_category_is_corrected_for_their_number() -> None:
    rng = np.random.default_rng(0)
    rows = [(f"e{k}", f"t{j}", rng.normal(), f"c{j // 2}") for k in range(20) for j in range(12)]
    frame = pd.DataFrame(rows, columns=["encoder", "task", "score", "category"])
    found = tables("task-tree", frame, resamples="20")
    pockets = found["pockets"]
    assert pockets["p_holm"].min() == pytest.approx(min(1, 6 * pockets["p"].min()))
    assert "with Holm's correction over 6 categories" in said("task-tree", frame, resamples="20")


def test_a_column_chance_makes_no_task_a_transformation() -> None:
    frame = pd.DataFrame(
        [(e, t, 0.5 + 0.1 * k, 0.25) for k, e in enumerate("ab") for t in ("Rotation", "birds")],
        columns=["encoder", "task", "score", "chance"],
    )
    assert set(tables("pretext-labels", frame)[""]["task"]) == {"Rotation"}
    birds = frame[frame["task"] == "birds"]
    with pytest.raises(NotApplicable, match="named after a transformation"):
        tables("pretext-labels", birds)
    assert set(tables("pretext-labels", birds, tasks="birds")[""]["task"]) == {"birds"}


def seeds(counts: dict[tuple[int, int], int]) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    rows = [
        (f"e{k}", f"t{j}", s, 0.5 + 0.05 * k + 0.02 * rng.normal())
        for k in range(30)
        for j in range(4)
        for s in range(counts.get((k, j), 3))
    ]
    return pd.DataFrame(rows, columns=["encoder", "task", "seed", "score"])


def test_a_few_cells_cost_themselves_and_are_counted() -> None:
    notes = Notes()
    text = said("seed-variance", seeds({(0, 0): 1, (7, 2): 2}), notes)
    assert "2 to 3 seeds in 119 cells of 30 encoders, 1 in 1" in text
    assert "variance, in sd of each task over encoders" in text
    assert any("2 cells are left out" in note or "8 cells are left out" in note for note in notes)


def test_a_relative_difference_does_not_grow_with_the_seeds() -> None:
    rng = np.random.default_rng(6)
    means = []
    for n in (2, 3, 10):
        rows = [
            (f"e{k}", f"t{j}", s, 0.5 + 0.01 * rng.normal()) for k in range(40) for j in range(10) for s in range(n)
        ]
        found = tables("seed-variance", pd.DataFrame(rows, columns=["encoder", "task", "seed", "score"]))[""]
        means.append(found["relative_of_3"].mean())
        if n == 3:
            np.testing.assert_array_equal(found["relative_of_3"], found["relative"])
    assert max(means) / min(means) < 1.08  # the plain mean deviation grows by 1.34 from 2 to 10


def budgets() -> pd.DataFrame:
    """Three encoders, two draws of each share of the labels and one score on all: as records have them."""
    rows = [
        (
            encoder,
            "t",
            seed,
            f"knn+label_fraction={share:g}+limit=9" if share < 1 else "knn+limit=9",
            share,
            base + share / 4,
        )
        for encoder, base in (("a", 0.2), ("b", 0.3), ("c", 0.4))
        for share in (0.01, 0.1, 1.0)
        for seed in range(2 if share < 1 else 1)
    ]
    frame = pd.DataFrame(rows, columns=["encoder", "task", "seed", "probe", "label_fraction", "score"])
    return frame.assign(labels_per_class=np.nan)


def test_scores_on_several_shares_of_the_labels_make_a_curve_an_encoder() -> None:
    curves = tables("size-curves", budgets())[""]
    assert curves["encoder"].value_counts().to_dict() == {"a": 3, "b": 3, "c": 3}
    assert curves.loc[curves["encoder"] == "a", "label_fraction"].tolist() == [0.01, 0.1, 1.0]
    assert curves.loc[curves["encoder"] == "b", "score"].tolist() == pytest.approx([0.3025, 0.325, 0.55])
    other = budgets().assign(probe=lambda t: t["probe"].str.replace("knn", "lbfgs"))
    with pytest.raises(ScoresError, match="several values of probe"):
        tables("size-curves", pd.concat([budgets(), other]))
    both = tables("size-curves", pd.concat([budgets(), other]), lines="encoder+probe")[""]
    assert len(both) == 18


@pytest.mark.parametrize("name", ["rank-stability", "critical-difference"])
def test_beyond_sixty_names_a_figure_shows_both_ends(name: str) -> None:
    rng = np.random.default_rng(7)
    rows = [(f"e{k:03d}", f"t{j}", k / 90 + rng.normal()) for k in range(90) for j in range(4)]
    found = tables(name, pd.DataFrame(rows, columns=["encoder", "task", "score"]))
    figure = registry.load("analyses", name).draw(found)[""]
    figure.canvas.draw()
    assert figure.get_size_inches()[1] < 12
    assert "The first 40 and the last 20 of 90 encoders are drawn; the table has all." in " ".join(
        text.get_text().replace("\n", " ") for text in figure.texts
    )
    assert len(found[""]) == 90 or {f"e{k:03d}" for k in range(90)} <= set(found[""])

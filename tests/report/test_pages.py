"""The pages of a report: their links, their numbers, and what they say of the scores."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from virb.records.predictions import read_predictions, sampling_sd
from virb.report.build import write_report
from virb.report.examples import _chosen
from virb.report.study import study_of
from virb.report.task_page import _has_own_head, _protocol
from virb.scores.read import read_scores
from virb.scores.schema import check_scores

HOSTILE = '<script>alert("&")</script>/..\\"'


def index(scores: pd.DataFrame, out: Path, check, **given):
    return check(write_report(check_scores(scores), out, **given).index.parent)


def test_the_leaderboard_holds_the_means_their_spread_and_a_mark_on_the_best(scores, tmp_path, check):
    page = index(scores, tmp_path / "r", check)["index.html"]
    heads, body = page.board()
    assert [row[1] for row in body] == ["good", "fair", "late", "poor"]  # best first
    assert [name for name in page.table("Encoders (rows)")[0] if name.startswith("s")] == list(
        dict.fromkeys(scores["category"])
    )
    cells = scores.groupby(["task", "encoder"])["score"]
    mean, sd = cells.mean(), cells.std()
    for k, row in enumerate(body, 2):
        for task in scores["task"].unique():
            column = heads.index(task)
            value = mean[task, row[1]]
            assert row[column] == f"{value:.3f} ± {sd[task, row[1]]:.3f}"
            assert page.is_best("Encoders (rows)", k, column) == (value == mean[task].max())
    assert "Mean ± standard deviation over 2 seeds" in page.text
    fewer = index(scores.drop(index=scores.index[0]), tmp_path / "fewer", check)["index.html"]
    assert "Mean ± standard deviation over 1 to 2 seeds" in fewer.text
    assert "†" not in page.text
    assert "mini-" not in page.text


def test_cells_are_shaded_inside_their_task(scores, tmp_path, check):
    page = index(scores, tmp_path / "r", check)["index.html"]
    heads, body = page.board()
    column = heads.index("task-0")
    shades = {
        row[1]: int(page.classes[next(c for c in page.tables if c.startswith("Encoders")), k, column].split("s")[-1])
        for k, row in enumerate(body, 2)
    }
    assert shades["good"] == 8
    assert shades["good"] > shades["fair"] > shades["late"] > shades["poor"] == 0


def test_a_score_far_below_the_others_does_not_take_the_colour_from_them():
    rows = [("a", "t", 0.50), ("b", "t", 0.51), ("c", "t", 0.52), ("d", "t", 0.53), ("e", "t", -9.0)]
    study = study_of(check_scores(pd.DataFrame(rows, columns=["encoder", "task", "score"])))
    low, high = study.scale("t")
    assert high == 0.53
    assert 0.4 < low < 0.5


def test_the_first_page_says_who_is_first_and_how_sure(scores, tmp_path, check):
    page = index(scores, tmp_path / "r", check, title="Spring", date="2026-05-04", command="virb report x")[
        "index.html"
    ]
    assert "4 encoders; 6 end tasks in 3 categories; 2 seeds a score; probe gradient." in page.text
    assert "good ranks first of 4 encoders, with a mean rank of 1.17 over 6 end tasks." in page.text
    for said in ("Spring", "2026-05-04", "virb report x", "95% interval", "Nemenyi's test", "P(first)"):
        assert said in page.text
    ranks = pd.read_csv(tmp_path / "r" / "ranks.csv")
    assert list(ranks["encoder"]) == ["good", "fair", "late", "poor"]
    _, shown = page.board()
    assert [row[2].split()[0] for row in shown] == [f"{value:.2f}" for value in ranks["mean_rank"]]
    assert [row[3] for row in shown] == [f"{value:.0%}" for value in ranks["p_first"]]


@pytest.mark.parametrize(
    ("probe", "is_frozen"), [("gradient", True), ("gradient+limit=100", True), ("finetune", False)]
)
def test_it_says_what_the_probe_does_to_the_encoder(scores, tmp_path, check, probe, is_frozen):
    page = index(scores.assign(probe=probe), tmp_path / "r", check)["index.html"]
    assert ("on the frozen encoder" in page.text) == is_frozen
    assert ("a copy of the encoder trained together with a linear head" in page.text) != is_frozen


@pytest.mark.parametrize(("probe", "is_its_own"), [("gradient+limit=9", True), ("lbfgs", False), ("knn", False)])
def test_the_tasks_head_is_named_where_it_was_used(scores, probe, is_its_own):
    assert _has_own_head(study_of(check_scores(scores.assign(probe=probe))), "task-0") == is_its_own


def test_what_differs_between_records_is_not_shown_as_the_protocol_of_all():
    records = [{"protocol": {"optimizer": "lbfgs", "penalty": penalty}} for penalty in (1.0, 10.0)]
    assert _protocol(records) == "optimizer lbfgs; differing by record: penalty"
    assert _protocol(records[:1]) == "optimizer lbfgs, penalty 1.0"
    assert _protocol([]) == ""


def test_mean_ranks_inside_each_category(scores, tmp_path, check):
    heads, rows = index(scores, tmp_path / "r", check)["index.html"].board()
    # On task-5 good falls to 0.55 and fair has 0.6: ranks 2 and 1; on task-4 they are 1 and 2.
    columns = [k for k, name in enumerate(heads) if name == "mean rank"][1:]
    assert [heads[k + 1] for k in columns] == ["task-0", "task-2", "task-4"]
    assert [rows[0][k] for k in columns] == ["1.0", "1.0", "1.5"]
    assert [rows[1][k] for k in columns] == ["2.0", "2.0", "1.5"]


def test_a_page_for_every_encoder_and_task(scores, tmp_path, check):
    found = index(scores, tmp_path / "r", check)
    assert {name for name in found if "/" in name} == {
        *(f"encoders/{name}.html" for name in scores["encoder"].unique()),
        *(f"tasks/{name}.html" for name in scores["task"].unique()),
    }
    good = found["encoders/good.html"]
    assert "Rank 1 of 4 by mean rank" in good.text
    assert "Best on 5 of 6 end tasks" in good.text
    assert "Above poor on 6 of 6 end tasks." in good.text
    assert [row[-1] for row in good.table("Scores of good") if row[0] == "task-5"] == ["2 of 4"]
    ranked = found["tasks/task-5.html"].table("Encoders on task-5")
    assert [row[:2] for row in ranked[1:]] == [["fair", "1"], ["good", "2"], ["late", "3"], ["poor", "4"]]


def test_intervals_of_accuracies_are_the_exact_ones(scores, tmp_path, check):
    one = scores[scores["seed"] == 0].assign(score=lambda frame: (frame["score"] * 500).round() / 500)
    rows = index(one, tmp_path / "r", check)["encoders/fair.html"].table("Scores of fair")
    for _, row in one[one["encoder"] == "fair"].iterrows():
        exact = scipy_stats.binomtest(round(row["score"] * 500), 500).proportion_ci(method="exact")
        (shown,) = [cells for cells in rows if cells[0] == row["task"]]
        assert shown[3] == f"{exact.low:.3f} to {exact.high:.3f}"


def test_hostile_names_are_text_and_nothing_else(scores, tmp_path, check):
    names = {"good": HOSTILE, "fair": "a/b", "late": "A-b", "poor": "../../up"}
    frame = scores.replace({"encoder": names, "task": {"task-0": "<img src=x onerror=alert(1)>"}})
    frame["method"] = "<b>bold</b>"
    found = index(frame, tmp_path / "r", check, title=HOSTILE, command=HOSTILE, analyses=("encoder-bars",))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r"]
    page = found["index.html"]
    assert HOSTILE in page.text
    assert "<b>bold</b>" in page.text
    assert not page.all("b")
    assert [given["src"] for given in page.all("img")] == ["analyses/encoder-bars.svg"]
    assert {row[1] for row in page.board()[1]} == set(names.values())
    drawing = ElementTree.parse(
        tmp_path / "r" / "analyses" / "encoder-bars.svg"
    )  # opened by itself, it would run scripts
    assert not [element for element in drawing.iter() if element.tag.endswith("script")]
    # Two names that a file system may take for one have two pages.
    assert {"encoders/a-b.html", "encoders/A-b-2.html"} <= set(found)


def test_records_give_what_the_encoder_is_and_how_the_task_was_measured(results, tmp_path, check):
    folder = results()
    found = check(write_report(read_scores(folder), tmp_path / "r").index.parent)
    encoder = found["encoders/second.html"].text
    for said in ("resnet18", "second-sha", "photos", "6,000", "recipe crop 0.2", "torch 2.6.0"):
        assert said in encoder
    task = found["tasks/things.html"]
    for said in (
        "epochs 7, batch_size 64",
        "train train-revision, test test-revision",
        "1,200",
        "encode 1.5; train 2.0",
    ):
        assert said in task.text
    assert task.table("Encoders on things")[1][-1] == "3.5"
    assert task.table("Scores of every class")[1:] == [
        ["cat", "0.505", "0.605"],
        ["dog", "0.253", "0.302"],
        ["eel", "–", "–"],
    ]
    by_class = pd.read_csv(tmp_path / "r" / "tasks" / "things-per-class.csv", index_col="class")
    assert by_class.loc["cat", "second"] == pytest.approx(0.605)
    assert "different" not in found["index.html"].text
    assert "versions of" not in found["index.html"].text


def test_intervals_of_other_metrics_come_from_the_predictions(results, tmp_path, check):
    folder = results()
    scores = read_scores(folder)
    rows = check(write_report(scores, tmp_path / "r").index.parent)["encoders/first.html"].table("Scores of first")
    for task, metric in (("parts", "miou"), ("depth", "neg_l1")):
        part = scores[(scores["task"] == task) & (scores["encoder"] == "first")]
        half = 1.96 * sampling_sd(read_predictions(folder, part, task)["first"], metric)
        (shown,) = [row for row in rows if row[0] == task]
        mean = part["score"].mean()
        assert shown[3] == f"{mean - half:.3f} to {mean + half:.3f}"


def test_predictions_that_are_gone_cost_the_interval_only(results, tmp_path, check):
    folder = results()
    (folder / "first" / "depth" / "gradient-seed0.npz").unlink()
    page = check(write_report(read_scores(folder), tmp_path / "r").index.parent)["encoders/first.html"]
    (shown,) = [row for row in page.table("Scores of first") if row[0] == "depth"]
    assert shown[3] == "–"
    assert "No interval for depth" in page.text


def test_mixed_versions_devices_and_data_are_flagged(results, tmp_path, check):
    def change(record):
        if record["encoder"]["name"] == "second":
            record["versions"] = {"virb": "0.1.0", "torch": "2.7.0"}
            record["device"] = "cuda:0"
            if record["task"]["name"] == "parts":
                record["data"] = {"train": "other", "test": "other"}

    page = check(write_report(read_scores(results(change)), tmp_path / "r").index.parent)["index.html"]
    assert "2 versions of torch: 2.6.0 (6 records), 2.7.0 (6 records)" in page.text
    assert "versions of virb" not in page.text
    assert "different devices: cpu (6 records), cuda:0 (6 records)" in page.text
    assert "parts was scored with 2 revisions of the data" in page.text
    assert "depth was scored with" not in page.text


def test_shortened_runs_are_marked(results, tmp_path, check):
    def change(record):
        record.update(probe="gradient+limit=100", overrides={"limit": 100})

    page = check(write_report(read_scores(results(change)), tmp_path / "r").index.parent)["index.html"]
    assert "depart from the protocol (limit=100), marked †" in page.text
    assert page.score("second", "things").startswith("† 0.6")
    assert page.score("first", "things").startswith("† 0.5")


def test_how_an_encoder_was_loaded_and_the_commit_are_on_its_page(results, tmp_path, check):
    loaded = {"place": "state_dict/module.", "dropped": {"queue": 1}, "assumed": ["<no> size is in the file: 224"]}

    def change(record):
        record["commit"] = "abc+changes"
        if record["encoder"]["name"] == "first":
            record["encoder"]["loaded"] = loaded

    found = check(write_report(read_scores(results(change)), tmp_path / "r").index.parent)
    text = found["encoders/first.html"].text
    for said in (
        "weights from state_dict/module.",
        "queue (1 tensor)",
        "<no> size is in the file: 224",
        "abc+changes",
    ):
        assert said in text
    assert "weights from" not in found["encoders/second.html"].text


def test_records_that_lack_everything_optional(results, tmp_path, check):
    def change(record):
        for name in ("protocol", "data", "seconds", "device", "versions", "per_class"):
            record.pop(name)
        record["encoder"]["meta"] = None

    found = check(write_report(read_scores(results(change)), tmp_path / "r").index.parent)
    assert "not known" in found["index.html"].text
    assert "By class" not in found["tasks/things.html"].text


def test_mini_tasks_carry_their_sentence_and_chance(tmp_path, check):
    frame = pd.DataFrame(
        [(e, "mini-digits", s, "top1", 600) for e, s in (("a", 0.4), ("b", 0.11))] + [("a", "other", 0.3, "top1", 600)],
        columns=["encoder", "task", "score", "metric", "n_test"],
    )
    found = index(frame, tmp_path / "r", check)
    assert "1 of 2 end tasks here is of the mini suite. A mini- score is not a ViRB score." in found["index.html"].text
    assert "A mini- score is not a ViRB score." in found["tasks/mini-digits.html"].text
    assert "A mini- score is not" not in found["tasks/other.html"].text
    table = found["index.html"].table("End tasks, and")
    assert table[1][:3] == ["mini-digits", "top1", "0.100"]
    assert table[2][2] == "–"
    assert "Above chance on 1 of 1 end tasks" in found["encoders/a.html"].text
    assert "not on mini-digits" in found["encoders/b.html"].text  # .11 of 600 is no evidence against .10


def test_a_score_in_percent_under_a_name_of_ours_gets_no_chance_and_no_interval(tmp_path, check):
    frame = pd.DataFrame(
        [("a", "mini-digits", 85.3, "top1", 600), ("b", "mini-digits", 80.0, "top1", 600)],
        columns=["encoder", "task", "score", "metric", "n_test"],
    )
    page = index(frame, tmp_path / "r", check)["encoders/a.html"]
    assert page.table("Scores of a")[1][2:] == ["85.300", "–", "–", "1 of 2"]
    assert "no fractions" in page.text


def test_chance_of_the_table_goes_before_that_of_a_task_of_ours(tmp_path, check):
    frame = pd.DataFrame(
        [("a", "mini-digits", 0.4, 0.125), ("b", "mini-digits", 0.3, 0.125), ("a", "x", 0.4, None)],
        columns=["encoder", "task", "score", "chance"],
    ).assign(metric="top1")
    page = index(frame, tmp_path / "r", check)["index.html"]
    assert [row[2] for row in page.table("End tasks, and")] == ["chance", "0.125", "–"]


def test_an_analysis_is_shown_with_its_words_and_numbers_and_the_others_with_their_reasons(scores, tmp_path, check):
    from virb.figures.analysing import run_by_name

    frame = check_scores(scores)
    names = ("rank-stability", "fusion-gain")
    report = write_report(frame, tmp_path / "r", analyses=names)
    page = check(tmp_path / "r")["index.html"]
    alone = run_by_name("rank-stability", frame, tmp_path / "alone")
    assert alone.lines
    for line in alone.lines:
        assert " ".join(line.split()) in page.text
    for path in alone.files:
        assert path.read_bytes() == (tmp_path / "r" / "analyses" / path.name).read_bytes()
        assert f"analyses/{path.name}" in page.targets()
    (image,) = page.all("img")
    assert 300 < int(image["width"]) < 1000
    assert [one.status for one in report.drawn] == ["done", "skipped"]
    (row,) = page.table("Analyses that these scores do not allow")[1:]
    assert row[0] == "fusion-gain"
    assert row[2] == "It needs the column parts, which the scores do not have."


def test_only_the_classes_that_differ_most_are_shown_of_many(results, tmp_path, check):
    def change(record):
        if record["task"]["name"] == "things":
            is_second = record["encoder"]["name"] == "second"
            record["per_class"] = {f"c{k}": 0.5 + (0.4 if k == 77 and is_second else 0) for k in range(200)}

    page = check(write_report(read_scores(results(change)), tmp_path / "r").index.parent)["tasks/things.html"]
    table = page.table("Scores of the 50 classes of 200 on which the encoders differ most")
    assert len(table) == 51
    assert table[1] == ["c77", "0.500", "0.900"]
    assert len(pd.read_csv(tmp_path / "r" / "tasks" / "things-per-class.csv")) == 200


def test_a_missing_score_is_said_and_not_filled_in(scores, tmp_path, check):
    frame = scores[~((scores["encoder"] == "late") & (scores["task"] == "task-2"))]
    page = index(frame, tmp_path / "r", check)["index.html"]
    assert "1 of 24 scores are missing (late on task-2)" in page.text
    assert "5 of 6 end tasks" in page.text
    assert page.score("late", "task-2") == "–"
    assert np.isclose(pd.read_csv(tmp_path / "r" / "ranks.csv")["mean_rank"].iloc[0], (4 * 1 + 2) / 5)


def test_the_same_arguments_give_the_same_bytes(scores, tmp_path):
    for name in ("a", "b"):
        write_report(check_scores(scores), tmp_path / name, analyses=("encoder-bars",), date="today")
    first = {p.relative_to(tmp_path / "a"): p.read_bytes() for p in (tmp_path / "a").rglob("*") if p.is_file()}
    second = {p.relative_to(tmp_path / "b"): p.read_bytes() for p in (tmp_path / "b").rglob("*") if p.is_file()}
    assert first == second


def test_two_probes_stand_side_by_side_each_with_its_own_leaderboard(scores, tmp_path, check):
    other = scores.assign(probe="knn", score=scores["score"] - 0.1)
    found = index(pd.concat([other, scores], ignore_index=True), tmp_path / "r", check)
    page = found["index.html"]
    assert page.board("Encoders (rows) by end task (columns), gradient")[1][0][1] == "good"  # the papers' probe first
    heads, rows = page.board("Encoders (rows) by end task (columns), knn")
    cells = scores.groupby(["encoder", "task"])["score"]
    mean, sd = cells.mean() - 0.1, cells.std()
    assert rows[0][heads.index("task-3")].startswith(f"{mean['good', 'task-3']:.3f}")
    beside = page.table("gradient and knn, on the 6 end tasks")
    assert beside[0][:3] == ["encoder", "mean rank, gradient", "mean rank, knn"]
    column = beside[0].index("task-3, knn")
    assert beside[1][column] == f"{mean['good', 'task-3']:.3f} ± {sd['good', 'task-3']:.3f}"
    assert {option["value"] for option in page.all("option") if option.get("value")} >= {"p0", "p1", "beside"}
    # The pages of encoders and tasks have a part for each.
    assert "knn" in found["encoders/good.html"].text
    assert [c for c in found["tasks/task-0.html"].tables if c.startswith("Encoders on")] == [
        "Encoders on task-0, best first"
    ]


def test_label_budgets_are_settings_too(scores, tmp_path, check):
    frame = pd.concat([scores.assign(labels=1000), scores.assign(labels=np.nan)], ignore_index=True)
    page = index(frame, tmp_path / "r", check)["index.html"]
    assert {c.rpartition("), ")[2] for c in page.tables if c.startswith("Encoders (rows)")} == {
        "1,000 labels",
        "all labels",
    }


def test_strengths_and_weaknesses_are_differences_from_the_others_median(scores, tmp_path, check):
    page = index(scores, tmp_path / "r", check)["encoders/good.html"]
    mean = scores.groupby(["encoder", "task"])["score"].mean().unstack()
    for row in page.table("good against the median"):
        if row[0] in mean:
            expected = mean.loc["good", row[0]] - mean.loc[["fair", "late", "poor"], row[0]].median()
            assert row[1] == f"{expected:+.3f}"
            assert row[4].strip() == "above"  # by .1 or more, of 500 test examples
    assert "Strongest against the field: " in page.text
    assert "Weakest" not in page.text
    assert "Weakest against the field: " in check(tmp_path / "r")["encoders/poor.html"].text


def test_what_is_taken_for_what_is_counted_from_the_predictions(results, tmp_path, check):
    folder = results()
    page = check(write_report(read_scores(folder), tmp_path / "r").index.parent)["tasks/things.html"]
    counts = np.zeros((3, 3))
    for encoder in ("first", "second"):
        arrays = np.load(folder / encoder / "things" / "gradient-seed0.npz")
        np.add.at(counts, (arrays["target"], arrays["prediction"]), 1)
    shares = (counts - np.diag(np.diag(counts))) / counts.sum(axis=1, keepdims=True)
    i, j = np.unravel_index(shares.argmax(), shares.shape)
    first = page.table("Mistaken most often, over all 2 encoders")[1]
    assert first == [str(i), str(j), f"{shares.max():.0%}"]
    table = page.table("second: percent of the class")
    arrays = np.load(folder / "second" / "things" / "gradient-seed0.npz")
    own = arrays["prediction"][arrays["target"] == 0]
    assert table[1] == ["0", *[f"{(own == k).mean() * 100:.0f}" for k in range(3)]]
    assert "confusion" not in {given.get("id") for _, given in check(tmp_path / "r")["tasks/depth.html"].tags}


def test_an_encoder_without_a_score_on_a_task_is_missing_there_and_nowhere_else(results, tmp_path, check):
    folder = results()
    for path in (folder / "first" / "things").glob("*"):
        path.unlink()
    found = check(write_report(read_scores(folder), tmp_path / "r").index.parent)
    assert found["index.html"].score("first", "things") == "–"
    assert "the predictions of 1 encoder " in found["tasks/things.html"].text
    assert "../encoders/first.html" not in found["tasks/things.html"].targets()


def test_an_encoders_page_says_what_decides_its_numbers(results, tmp_path, check):
    def change(record):
        record["encoder"]["preprocess"] = {"size": 224, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
        record["encoder"]["declared"] = {"role": "supervised"}

    page = check(write_report(read_scores(results(change)), tmp_path / "r").index.parent)["encoders/first.html"]
    for said in ("input size, pixels 224", "[0.5, 0.5, 0.5]", "[0.25, 0.25, 0.25]", "role supervised"):
        assert said in page.text


def test_what_changed_since_earlier_scores(results, tmp_path, check):
    folder = results()
    old = read_scores(folder)
    new = old[old["encoder"] != "second"].copy()
    new.loc[(new["task"] == "things") & (new["seed"] == 0), "score"] += 0.2
    new.loc[new["task"] == "parts", "task_version"] = 4
    came = new[new["encoder"] == "first"].assign(encoder="third")
    new = pd.concat([new, came], ignore_index=True)
    found = check(write_report(check_scores(new), tmp_path / "r", against=old, against_source="old").index.parent)
    assert "changes.html" in found["index.html"].targets()
    page = found["changes.html"]
    assert "New encoder: third." in page.text
    assert "Gone encoder: second." in page.text
    assert "1 of 3 scores that both have are not the same." in page.text
    rows = page.table("Scores before and now")
    assert rows[1][:2] == ["first", "things"]
    assert rows[1][4] == "+0.100"  # the mean over two seeds
    (parts,) = [row for row in rows if row[:2] == ["first", "parts"]]
    assert parts[4:] == ["+0.000", "task"]
    before = old[(old["encoder"] == "first") & (old["task"] == "things")]["score"]
    assert rows[1][2] == f"{before.mean():.3f} ± {before.std():.3f}"
    places = page.table("Places before (of 2, over 3 end tasks) and now (of 2, over 3)")
    assert [row[:4] for row in places[1:]] == [["first", "2", "1.5", "+0.5"]]
    table = pd.read_csv(tmp_path / "r" / "changes.csv")
    assert set(table["seeds_before"]) == {0, 2}
    assert len(table) == 9
    assert table["difference"].notna().sum() == 3


TASK = '''"""Squares."""
import numpy as np
from virb.contracts.examples import Examples
from virb.contracts.task import Category, Protocol, Task
from virb.images.sets import ArrayImages


def data(context, split):
    images = np.zeros((40, 8, 8, 3), dtype=np.uint8)
    images[:, :, :, 0] = np.arange(40)[:, None, None] * 5
    return Examples(ArrayImages("squares", "", images), np.arange(40)[:, None], np.arange(40) % 3, [f"i{k}" for k in range(40)])


TASK = Task(name="things", summary="squares", category=Category.SEMANTIC_IMAGE, head="linear", loss="cross_entropy",
            metric="top1", data=data, classes=("red", "<b>green</b>", "blue"), protocol=Protocol(epochs=1))
'''


def test_examples_with_their_targets_and_what_the_encoders_say(results, tmp_path, check, content_folder):
    from PIL import Image

    from virb import registry

    (content_folder / "things.py").write_text(TASK)
    registry.include(str(content_folder))
    folder = results()
    page = check(write_report(read_scores(folder), tmp_path / "r", n_examples=5).index.parent)["tasks/things.html"]
    pictures = [given["src"] for given in page.all("img")]
    assert len(pictures) == 5
    assert "5 of 40 test examples, from those on which the encoders agree to those on which they do not." in page.text
    arrays = np.load(folder / "second" / "things" / "gradient-seed0.npz")
    for picture, given in zip(pictures, page.all("img"), strict=True):
        row = int(np.asarray(Image.open(tmp_path / "r" / "tasks" / picture))[0, 0, 0]) // 5
        names = ["red", "<b>green</b>", "blue"]
        assert given["alt"] == f"i{row}: {names[row % 3]}"
        assert f"second: {names[arrays['prediction'][row]]}" in page.text
    assert not check(tmp_path / "r")["tasks/depth.html"].all("img")


def test_examples_of_one_name_are_shown_without_what_was_said_of_them(results, tmp_path, check, content_folder):
    """A table may name an image twice; a name then tells no example, and the whole report ended there."""
    from virb import registry

    (content_folder / "things.py").write_text(TASK.replace('f"i{k}"', 'f"i{k // 2}"'))
    registry.include(str(content_folder))
    page = check(write_report(read_scores(results()), tmp_path / "r", n_examples=5).index.parent)["tasks/things.html"]
    assert len(page.all("img")) == 5
    assert "second: red" not in page.text


def test_examples_are_chosen_from_those_that_were_predicted():
    said = {"a": np.array([0, 1, -1, 2, 0]), "b": np.array([1, 1, -1, -1, 0])}
    assert _chosen(said, 5, 9) == ([1, 4, 0], "from those on which the encoders agree to those on which they do not", 3)
    assert _chosen({}, 5, 2) == ([0, 4], "evenly over the split", 5)


def test_kept_predictions_of_pixels_stand_beside_their_targets(results, tmp_path, check):
    from PIL import Image

    from virb.images.pictures import VOID
    from virb.records.store import ResultStore

    folder = results()
    store = ResultStore(folder)
    rng = np.random.default_rng(0)
    for record in list(store.records()):
        if record["task"]["name"] not in ("parts", "depth") or record["seed"]:
            continue
        is_mask = record["task"]["name"] == "parts"
        target = rng.integers(0, 3, (6, 8)) if is_mask else rng.random((6, 8)).astype(np.float16)
        target[0, 0] = 255 if is_mask else np.nan
        kept = {"rows": np.arange(2), "ids": np.array(["x", "y"])}
        for k in range(2):
            kept |= {f"image_{k}": np.zeros((6, 8, 3), np.uint8), f"target_{k}": target, f"prediction_{k}": target}
        made = {key: value for key, value in record.items() if key != "checksum"}
        arrays = np.load(store.root / record["encoder"]["name"] / record["task"]["name"] / "gradient-seed0.npz")
        store.write(made, dict(arrays), kept)
    # What is kept differs between the two encoders' random masks in nothing but their names.
    found = check(write_report(read_scores(folder), tmp_path / "r", n_examples=2).index.parent)
    for task in ("parts", "depth"):
        page = found[f"tasks/{task}.html"]
        assert "2 test examples: the image, its target, and the predictions with second, first;" in page.text
        alts = [given["alt"] for given in page.all("img")]
        assert alts[:4] == ["x", "Target of x", "Prediction with second of x", "Prediction with first of x"]
        target = np.asarray(Image.open(tmp_path / "r" / "tasks" / page.all("img")[1]["src"]))
        assert (target[0, 0] == VOID).all()
        assert not (target[3, 3] == VOID).all()
    assert "Examples" not in found["tasks/things.html"].text
    given = write_report(read_scores(folder), tmp_path / "one", n_examples=2, look_at=["first"])
    assert "the predictions with first;" in check(given.index.parent)["tasks/parts.html"].text

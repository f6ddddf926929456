"""What is said about the order of encoders, and what is not said where there is too little."""

from __future__ import annotations

import pandas as pd
import pytest

from virb.report.ranking import rank
from virb.report.study import study_of
from virb.scores.schema import check_scores
from virb.stats.standing import rank_bootstrap


def ranking(wide: dict[str, list[float]], categories: list[str] | None = None):
    rows = [
        (encoder, f"t{k}", score, categories[k] if categories else "")
        for encoder, scores in wide.items()
        for k, score in enumerate(scores)
    ]
    frame = pd.DataFrame(rows, columns=["encoder", "task", "score", "category"])
    return rank(study_of(check_scores(frame if categories else frame.drop(columns="category"))))


def test_by_hand():
    found = ranking({"a": [1, 2, 3, 1, 2, 9], "b": [2, 3, 4, 2, 3, 1], "c": [0, 1, 2, 0, 1, 0]})
    assert found.order == ["b", "a", "c"]
    assert found.table["mean_rank"].round(4).tolist() == [1.1667, 1.8333, 3.0]
    assert found.sentences[0] == "b ranks first of 3 encoders, with a mean rank of 1.17 over 6 end tasks."
    assert any(said == "b leads too when any one end task is left out." for said in found.sentences)


def test_probabilities_are_those_of_resampled_tasks():
    scores = {"a": [1, 2, 3, 1, 2], "b": [2, 1, 4, 2, 1], "c": [0, 1.5, 2, 0, 3], "d": [3, 0, 0, 1.5, 0]}
    found = ranking(scores)
    wide = pd.DataFrame(scores, index=[f"t{k}" for k in range(5)]).T
    for column, top in (("p_first", 1), ("p_top", 3)):
        expected = rank_bootstrap(wide, top=top)["p_top"]
        for encoder in scores:
            assert found.row(encoder)[column] == expected[encoder]


def test_tasks_alone_in_their_category_are_resampled_all_the_same():
    # Inside its category such a task could never vary, and every share would be 0 or 1.
    found = ranking({"a": [2, 2, 2, 1, 1, 2], "b": [1, 1, 1, 2, 2, 1]}, ["u", "u", "u", "v", "v", "w"])
    assert 0.5 < found.row("a")["p_first"] < 1


def test_the_task_and_the_category_that_carry_the_leader_are_named():
    scores = {"a": [4, 3, 4, 3, 3], "b": [1, 4, 3, 4, 4], "c": [3, 2, 2, 2, 2], "d": [2, 1, 1, 1, 1]}
    found = ranking(scores, ["u", "v", "v", "v", "v"])
    assert found.order[0] == "a"  # ranks 1 2 1 2 2 against b's 4 1 2 1 1
    assert "Without t0 (b leads) another leads." in found.sentences
    assert "Without the category u (b leads) another leads." in found.sentences


@pytest.mark.parametrize("n_tasks", [2, 4])
def test_few_tasks_give_no_interval(n_tasks):
    found = ranking({"a": [2.0] * n_tasks, "b": [1.0] * n_tasks, "c": [0.0] * n_tasks})
    assert "low" not in found.table
    assert found.sentences[0].startswith("a ranks first of 3 encoders")
    assert "too few end tasks" in found.sentences[1]


def test_one_task_is_an_order_of_scores_and_no_ranking_over_tasks():
    found = ranking({"a": [0.1], "b": [0.2], "c": [0.2]})
    assert found.sentences[0] == "b and c score highest of 3 encoders on the one end task, t0."
    assert found.order[-1] == "a"


def test_one_encoder():
    found = ranking({"a": [0.1, 0.2]})
    assert found.order == ["a"]
    assert found.table.empty
    assert "nothing can be ranked" in found.sentences[0]


def test_two_encoders_are_compared_by_wilcoxon():
    found = ranking({"a": [2, 3, 4, 5, 6, 7], "b": [1, 1, 1, 1, 1, 1]})
    assert any("the two differ (p = 0.031)" in said for said in found.sentences)  # 2 / 2**6
    found = ranking({"a": [2, 3, 4, 5, 6], "b": [1, 1, 1, 1, 1]})
    assert any("no difference between the two is shown (p = 0.062)" in said for said in found.sentences)  # 2 / 2**5


def test_ties_for_the_first_rank():
    found = ranking({"a": [1, 2, 1, 2, 1, 2], "b": [2, 1, 2, 1, 2, 1], "c": [0, 0, 0, 0, 0, 0]})
    assert found.sentences[0] == "a and b tie for the first rank, with a mean rank of 1.50 over 6 end tasks."
    assert not any("leads" in said for said in found.sentences)


def test_everything_is_equal():
    found = ranking({name: [1.0] * 6 for name in "abc"})
    assert found.sentences[-1] == "All encoders tie on every end task."


def test_no_task_in_common():
    rows = [("a", "one", 0.5), ("b", "two", 0.5)]
    found = rank(study_of(check_scores(pd.DataFrame(rows, columns=["encoder", "task", "score"]))))
    assert found.sentences[0] == "No end task was scored with all encoders, so they cannot be ranked."
    assert "a on two and b on one" in found.sentences[1]
    assert found.table.empty

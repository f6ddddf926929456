"""Tables for terminals, pipes and papers: nothing is broken or cut at any width, and each form says the same."""

from __future__ import annotations

import csv
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virb.errors import UsageError
from virb.figures.scores_table import scores_table, scores_text
from virb.figures.tables import Table, print_table, render, table_of, terminal_width

NAMES = st.text(st.sampled_from("abcdefghij-_.0123456789"), min_size=1, max_size=24)
NUMBERS = st.floats(-10, 10).map(lambda value: f"{value:.3f}")


@st.composite
def tables(draw):
    n_columns = draw(st.integers(1, 12))
    columns = ["encoder", *draw(st.lists(NAMES, min_size=n_columns, max_size=n_columns))]
    rows = draw(st.lists(st.tuples(NAMES, *[NUMBERS] * n_columns), min_size=1, max_size=6))
    groups = ["", *draw(st.lists(st.sampled_from(["one group", "another"]), min_size=n_columns, max_size=n_columns))]
    return Table(columns, [list(row) for row in rows], frozenset(range(1, n_columns + 1)), groups)


@given(tables(), st.integers(20, 200))
def test_no_number_is_broken_and_no_name_cut(table, width):
    lines = render(table, width=width, is_bold=False).splitlines()
    words = [word for line in lines for word in line.split()]
    for row in table.rows:
        for text in row:
            assert text in words
    for name in table.columns:
        assert name in words
    two = max(len(word) for row in [*table.rows, table.columns] for word in row) * 2 + 2
    assert all(len(line) <= max(width, two) for line in lines if "group" not in line and "another" not in line)


@given(tables())
def test_a_table_that_fits_is_one_panel(table):
    lines = render(table, width=1000, is_bold=False).splitlines()
    assert sum(line.startswith("─") for line in lines) == 1


def test_only_texts_of_several_words_are_wrapped():
    rows = [{"name": "a-name-without-spaces", "says": "some words that are longer than the line", "n": 12345}]
    text = render(table_of(rows), width=48, is_bold=False)
    assert "a-name-without-spaces" in text
    assert "12345" in text
    assert max(map(len, text.splitlines())) <= 48
    assert " ".join(text.replace("a-name-without-spaces", "").replace("12345", "").split()).endswith(
        "some words that are longer than the line"
    )


def scores(n_encoders: int, seeds: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        (
            f"tv{k}_c10",
            f"task-{t}",
            seed,
            "gradient",
            0.1 * k + 0.01 * t + 0.001 * rng.random(),
            metric,
            better,
            category,
        )
        for k in range(n_encoders)
        for t, (metric, better, category) in enumerate(
            [("top1", "higher", "semantic"), ("top1", "higher", "semantic"), ("abs_rel", "lower", "structural")]
        )
        for seed in range(seeds)
    ]
    columns = ["encoder", "task", "seed", "probe", "score", "metric", "better", "category"]
    return pd.DataFrame(rows, columns=columns).assign(n_test=100, overrides="", role="supervised")


@pytest.mark.parametrize("n_encoders", [4, 5])
def test_more_than_four_encoders_stand_in_rows(n_encoders):
    table = scores_table(scores(n_encoders))
    assert ("tv3_c10" in table.columns) == (n_encoders <= 4)
    assert ("tv3_c10" in [row[0] for row in table.rows]) == (n_encoders > 4)
    assert "tv3 c10" not in render(table, width=80)


@pytest.mark.parametrize("width", [80, 160])
@pytest.mark.parametrize("n_encoders", [2, 7, 30])
def test_scores_keep_to_the_width_of_a_terminal(width, n_encoders):
    text = scores_text(scores(n_encoders, seeds=2), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert len(re.findall(r"\d ± \d", text)) == n_encoders * 3


def test_the_best_is_bold_by_the_better_direction():
    table = scores_table(scores(6))
    names = [row[0] for row in table.rows]
    column = {name.split()[0]: k for k, name in enumerate(table.columns)}
    best = {(names[r], table.columns[k].split()[0]) for r, k in table.best}
    assert {("tv5_c10", "task-0"), ("tv5_c10", "task-1"), ("tv0_c10", "task-2")} <= best
    text = render(table, width=200, is_bold=True)
    cell = table.rows[names.index("tv0_c10")][column["task-2"]]
    assert f"\x1b[1m{cell}\x1b[0m" in text
    assert "\x1b" not in render(table, width=200, is_bold=False)


def test_order_and_columns_are_chosen():
    frame = scores(6)
    assert scores_table(frame, sort="given").rows[0][0] == "tv0_c10"
    assert scores_table(frame).rows[0][0] == "tv5_c10"  # by mean rank: first on two of three tasks
    assert scores_table(frame, sort="task-2").rows[0][0] == "tv0_c10"  # less is better
    table = scores_table(frame, columns=["role", "task-1", "mean-rank"])
    assert [name.split()[0] for name in table.columns] == ["encoder", "role", "task-1", "mean"]
    assert [row[0] for row in scores_table(frame.assign(epochs=frame["encoder"].str[2].astype(int) % 4), sort="epochs").rows] == [
        "tv0_c10", "tv4_c10", "tv1_c10", "tv5_c10", "tv2_c10", "tv3_c10"
    ]  # fmt: skip
    with pytest.raises(UsageError, match="Did you mean 'task-1'"):
        scores_table(frame, columns=["tsk-1"])
    with pytest.raises(UsageError, match="--sort 'nme'"):
        scores_table(frame, sort="nme")


def test_an_encoder_without_most_scores_does_not_take_the_others_ranks():
    frame = scores(6, seeds=2)
    frame = frame[(frame["encoder"] != "tv5_c10") | (frame["task"] == "task-0")].iloc[1:]
    table = scores_table(frame)
    ranks = {row[0]: row[table.columns.index("mean rank")] for row in table.rows}
    assert table.rows[0][0] == "tv4_c10"
    assert table.rows[-1][0] == "tv5_c10"
    assert (ranks["tv4_c10"], ranks["tv5_c10"]) == ("2.33", "–")  # first on two of three, where less is better the last
    assert (
        "mean rank over the 3 of 3 end tasks that all ranked encoders have; mean ± standard deviation over 1 to 2 seeds"
        in (table.caption)
    )


@pytest.mark.parametrize("n", [3, 6])  # encoders in columns, and in rows
def test_a_seed_whose_score_is_no_number_is_left_out_of_the_mean(n):
    frame = scores(n, seeds=2)
    rows = frame.index[(frame["encoder"] == "tv1_c10") & (frame["task"] == "task-0")]
    frame.loc[rows, "score"] = [np.nan, 0.25]
    assert "0.250 ± nan" in scores_text(frame)


def test_csv_and_json_hold_every_row_at_full_precision():
    frame = scores(3, seeds=2)
    read = pd.read_csv(io.StringIO(scores_text(frame, "csv")), float_precision="round_trip")
    assert read["score"].tolist() == frame["score"].tolist()
    assert [row["score"] for row in json.loads(scores_text(frame, "json"))] == frame["score"].tolist()
    assert list(csv.reader(io.StringIO(scores_text(frame, "csv", columns=["task", "seed"]))))[1] == ["task-0", "0"]
    assert json.loads(scores_text(frame.assign(role=np.nan), "json"))[0]["role"] is None
    assert scores_text(frame.iloc[:0], "json") == "[]"


def test_markdown_and_latex_escape_names():
    table = Table(["a_b", "n"], [["x|y", "-0.5"], ["50%", "1.0"]], frozenset({1}), best=frozenset({(1, 1)}))
    assert render(table, "md").splitlines() == [
        "| a\\_b | n |",
        "| --- | ---: |",
        "| x\\|y | -0.5 |",
        "| 50% | **1.0** |",
    ]
    tex = render(table, "tex")
    assert r"a\_b & n \\" in tex
    assert r"x\textbar{}y & $-$0.5 \\" in tex
    assert r"50\% & \textbf{1.0} \\" in tex


def test_in_a_pipe_a_row_is_a_line(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table([{"name": "n" * 90, "says": "word " * 40, "value": 0.5}])
    assert len([line for line in capsys.readouterr().out.splitlines() if line.strip()]) == 3
    monkeypatch.setenv("COLUMNS", "90")
    assert terminal_width() == 90

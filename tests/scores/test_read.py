"""The door for scores: whatever separator, mark, line end or layout; names stay text; and what is said of the rest."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from virb.errors import ScoresError
from virb.scores.layout import matrix
from virb.scores.read import from_wide, read_csv, read_meta, read_scores
from virb.scores.schema import encoder_columns, encoder_table, typed

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=8).map(
    lambda name: " ".join(name.split())
)
NAMES = NAMES.filter(lambda name: name not in ("", "nan", "NaN") and not name.startswith("\ufeff"))


def table_text(rows: list[list[object]], separator: str, line_end: str) -> bytes:
    file = io.StringIO()
    csv.writer(file, delimiter=separator, lineterminator=line_end).writerows(rows)
    return file.getvalue().encode()


@example(encoders=["1.1", "1.10", "007"], tasks=["1e3", "1000"], separator=";", line_end="\r\n", mark=b"\xef\xbb\xbf")
@settings(max_examples=40, deadline=None)
@given(
    encoders=st.lists(NAMES, min_size=1, max_size=4, unique=True),
    tasks=st.lists(NAMES, min_size=1, max_size=3, unique=True),
    separator=st.sampled_from(",;\t"),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_any_names_in_any_spelling_of_csv_come_out_as_they_are(
    tmp_path_factory: pytest.TempPathFactory,
    encoders: list[str],
    tasks: list[str],
    separator: str,
    line_end: str,
    mark: bytes,
) -> None:
    rows: list[list[object]] = [["encoder", "task", "score"]]
    rows += [[e, t, 0.1 + 0.01 * i + 0.001 * j] for i, e in enumerate(encoders) for j, t in enumerate(tasks)]
    path = tmp_path_factory.mktemp("csv") / "scores.csv"
    path.write_bytes(mark + table_text(rows, separator, line_end))
    wide = matrix(read_scores(path))
    assert list(wide.index) == encoders
    assert list(wide.columns) == tasks
    assert wide.loc[encoders[-1], tasks[-1]] == rows[-1][2]


@pytest.mark.parametrize("column", ["Unnamed: 0", "", "stderr", "seconds", "comment"])
def test_columns_that_differ_from_row_to_row_are_about_rows(tmp_path: Path, column: str) -> None:
    path = tmp_path / "s.csv"
    cells = [(e, t) for e in "abc" for t in "xyz"]
    rows = [f"{k * 0.37 if column != 'comment' else f'c{k}'},{e},{t},{0.1 + 0.1 * k}" for k, (e, t) in enumerate(cells)]
    path.write_text("\n".join([f"{column},encoder,task,score", *rows]))
    frame = read_scores(path)
    assert encoder_columns(frame) == []
    assert frame.attrs["about"][column or "Unnamed: 0"] == "row"


def test_columns_are_about_what_they_are_constant_for(tmp_path: Path) -> None:
    rows = ["encoder,task,score,lr,domain,who"] + [
        f"{e},{t},0.{k + 1},{lr},{domain},me"
        for k, (e, lr) in enumerate([("a", 0.1), ("b", 0.2)])
        for t, domain in (("x", "sky"), ("y", "sea"))
    ]
    (tmp_path / "s.csv").write_text("\n".join(rows))
    about = read_scores(tmp_path / "s.csv").attrs["about"]
    assert (about["lr"], about["domain"], about["who"]) == ("encoder", "task", "encoder")


def test_a_column_that_is_empty_in_some_rows_says_the_same_of_the_encoder(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("encoder,task,score,method\na,x,.1,\na,y,.2,simclr\nb,x,.1,\nb,y,.2,\n")
    about = encoder_table(read_scores(tmp_path / "s.csv"))
    assert about.loc["a", "method"] == "simclr"
    assert pd.isna(about.loc["b", "method"])


@pytest.mark.parametrize(
    ("texts", "is_number"),
    [
        (["1", "2", ""], True),
        ([".5", "1e-3"], True),
        (["1.1", "1.10"], False),
        (["007", "8"], False),
        (["100", "all"], False),
        (["1_000", "2"], False),
        (["1e999", "2"], False),
        (["", ""], False),
    ],
)
def test_a_column_is_numbers_only_where_nothing_is_lost(texts: list[str], is_number: bool) -> None:
    column = typed(texts)
    assert pd.api.types.is_numeric_dtype(column) is is_number
    assert [value for value in column if value is None or isinstance(value, str)] == (
        [] if is_number else [text for text in texts if text]
    )
    assert column.isna().tolist() == [text == "" for text in texts]


def test_missing_is_one_value() -> None:
    from virb.scores.schema import check_scores

    said = [None, np.nan, pd.NA, "", " ", "nan", "NaN", "simclr"]
    frame = pd.DataFrame({"encoder": [f"e{k}" for k in range(8)], "task": "t", "score": 0.5, "method": said})
    assert check_scores(frame)["method"].isna().tolist() == [True] * 7 + [False]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("encoder,task,score\na,t1,0.91,1\n", ["line 2", "4 fields", "header 3"]),
        ("encoder,task,score,seed,n\na,t1,0.91,1,5,x\n", ["line 2", "6 fields"]),
        ("encoder,task,score\na,t1\n", ["2 fields"]),
        ("encoder,task,score,score\na,t,1,2\n", ["more than one column score"]),
        ("encoder,encoder,task,score\na,b,t,2\n", ["more than one column encoder"]),
        ("encoder,task,score,role\na,t,1,teacher\n", ["teacher", "self-supervised"]),
        ("encoder;task;score\na;t;0,5\n", ["decimal"]),
        ("encoder,task,score\na,t,50%\nb,t,51.5 %\n", ["50%", "--unit percent"]),
        ("encoder|task|score\na|t|1\n", ["one column", "commas, semicolons or tabs"]),
        ("encoder,task,score,seed\na,t,1,0\na,t,2,0\n", ["more than one score"]),
    ],
)
def test_what_is_not_known_is_refused_by_name(tmp_path: Path, text: str, parts: list[str]) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(ScoresError) as error:
        read_scores(tmp_path / "s.csv")
    assert all(part in str(error.value) for part in parts), str(error.value)


def test_single_scores_that_are_none_are_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("encoder,task,score\na,x,.1\na,y,OOM\nb,x,\nb,y,.2\nc,x,.3\n")
    frame = read_scores(tmp_path / "s.csv")
    assert len(frame) == 3
    (note,) = frame.attrs["notes"]
    assert "a on y (OOM) and b on x (nothing)" in note


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ScoresError, match="no regular file"):
        read_scores(tmp_path / "pipe.csv")


def test_a_wide_table_is_read_and_what_is_what_is_said(tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text("model,method,x,y,params,epochs\na,m,.1,.2,11,100\n1.10,n,.3,,12,200\n")
    frame = read_scores(tmp_path / "w.csv", wide=True, about=["params"])
    assert matrix(frame).loc["1.10", "x"] == 0.3
    assert set(encoder_columns(frame)) == {"method", "params", "epochs"}
    (note,) = frame.attrs["notes"]
    assert "2 tasks (x and y)" in note
    assert "1 cells are empty" in note
    with pytest.raises(ScoresError, match="--wide"):
        read_scores(tmp_path / "w.csv")
    for frame, match in (
        (pd.DataFrame({"encoder": ["a", "a"], "x": [1.0, 2.0]}), "more than one row"),
        (pd.DataFrame({"encoder": ["a"], "x": ["word"]}), "no column of numbers"),
    ):
        with pytest.raises(ScoresError, match=match):
            from_wide(frame)


@pytest.mark.parametrize(
    ("cells", "n_scores", "said"),
    [
        ([".5", ".50", ".7"], 3, ""),  # one number, written in two ways
        ([".5", "-", ".7"], 2, "b on y (-)"),
        ([".5", ".6", "inf"], 2, "c on y (inf)"),
    ],
)
def test_a_word_among_the_numbers_of_a_wide_table_costs_itself(tmp_path: Path, cells, n_scores, said) -> None:
    rows = "".join(f"{encoder},net,.1,{cell}\n" for encoder, cell in zip("abc", cells, strict=True))
    (tmp_path / "w.csv").write_text(f"model,arch,x,y\n{rows}")
    frame = read_scores(tmp_path / "w.csv", wide=True)
    assert (frame["task"] == "y").sum() == n_scores
    assert set(encoder_columns(frame)) == {"arch"}
    assert said in " ".join(frame.attrs["notes"])


@pytest.mark.parametrize("cells", [("50%", "61 %"), ("0.5 ± 0.1", "0.6+/-0.1"), ("**0.5**", "0.6"), ("0.5 (0.1)", "-")])
def test_numbers_with_signs_beside_them_are_no_words_about_encoders(tmp_path: Path, cells) -> None:
    (tmp_path / "w.csv").write_text(f"model,x,y,about\na,{cells[0]},.1,25.6M\nb,{cells[1]},.2,ViT-B/16\n")
    if cells[1] == "0.6":  # half are numbers: the other is a score that is missing
        assert "a on x (**0.5**)" in " ".join(read_scores(tmp_path / "w.csv", wide=True).attrs["notes"])
        return
    with pytest.raises(ScoresError, match=r"\(x\): more than a number stands there.*--about"):
        read_scores(tmp_path / "w.csv", wide=True)
    assert read_scores(tmp_path / "w.csv", wide=True, about=["x"])["task"].tolist() == ["y", "y"]


@pytest.mark.parametrize("digits", [1, 3])
def test_an_average_in_the_table_is_said_to_be_no_task(tmp_path: Path, digits: int) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(20, 80, (6, 4)).round(digits), columns=list("wxyz"))
    frame.insert(0, "model", list("abcdef"))
    mean = frame[list("wxyz")].mean(axis=1).round(digits)
    for values, is_said in ((mean, True), (mean + 20 * 10.0**-digits * rng.choice([-1, 1], 6), False)):
        frame.assign(Avg=values.round(digits)).to_csv(tmp_path / "w.csv", index=False)
        notes = " ".join(read_scores(tmp_path / "w.csv", wide=True).attrs["notes"])
        assert ("Avg is the mean of the other 4 tasks" in notes) == is_said


def test_an_option_that_chooses_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("encoder,task,score\na,t,1\nb,t,2\n")
    with pytest.raises(ScoresError, match="no column probe, so that --probe knn chooses nothing"):
        read_scores(tmp_path / "s.csv", probe="knn")
    with pytest.raises(ScoresError, match="--metric top5"):
        read_scores(tmp_path / "s.csv", metrics=["top5"])


def test_parquet_is_the_same_table(tmp_path: Path) -> None:
    frame = pd.DataFrame({"encoder": ["1.10", "b"], "task": "t", "score": [0.1, 0.2], "method": [None, "m"]})
    path = tmp_path / "s.parquet"
    try:
        frame.to_parquet(path)
    except ImportError:
        path.write_bytes(b"PAR1")
        with pytest.raises(ScoresError, match="pyarrow"):
            read_scores(path)
        return
    assert read_scores(path)["encoder"].tolist() == ["1.10", "b"]
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(ScoresError, match="Parquet"):
        read_scores(path)


def test_metadata_is_about_encoders_alone(tmp_path: Path) -> None:
    path = tmp_path / "meta.csv"
    path.write_text("encoder;role;release\n007;supervised;1.10\n1.1;baseline;1.1\n")
    meta = read_meta(path)
    assert meta["encoder"].tolist() == ["007", "1.1"]
    assert meta["release"].tolist() == ["1.10", "1.1"]
    for text, match in (
        ("role,lr\nsupervised,1\n", "no column encoder"),
        ("encoder,score\na,1\n", "about scores"),
        ("encoder,role\na,supervised\na,baseline\n", "more than once"),
    ):
        path.write_text(text)
        with pytest.raises(ScoresError, match=match):
            read_meta(path)
    assert read_csv(tmp_path / "meta.csv", needed=("encoder",)).shape == (2, 2)


def test_a_file_about_encoders_that_is_not_there_is_not_called_a_file_of_scores(tmp_path):
    with pytest.raises(ScoresError, match=r"no file .*meta\.csv.*with the column encoder and others such as role"):
        read_meta(tmp_path / "meta.csv")

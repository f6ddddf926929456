"""Tidy scores: what is accepted, how it is laid out, and what is said about input that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from virb.contracts.analysis import NotApplicable
from virb.errors import ScoresError
from virb.scores.layout import match_tasks, matrix, missing_cells, task_categories
from virb.scores.read import read_scores
from virb.scores.roles import reference_encoder, roles
from virb.scores.schema import check_scores, encoder_table

GOOD = "encoder,task,score,category,method\na,x,0.1,Semantic Image-level,m\na,y,0.2,Structural Pixelwise,m\n"
GOOD += "b,x,0.3,Semantic Image-level,n\nb,y,0.4,Structural Pixelwise,n\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "scores.csv"
    path.write_text(text)
    return path


def test_a_tidy_file_is_read(tmp_path: Path) -> None:
    frame = read_scores(write(tmp_path, GOOD))
    assert set(frame["category"]) == {"semantic image-level", "structural pixelwise"}
    assert matrix(frame).loc["b", "y"] == 0.4
    assert encoder_table(frame).loc["b", "method"] == "n"


def test_names_that_look_like_numbers_or_nothing_stay_names(tmp_path: Path) -> None:
    frame = read_scores(write(tmp_path, "encoder,task,score,balance\n1,2,0.5,None\n3,2,0.6,NA\n"))
    assert frame["encoder"].tolist() == ["1", "3"]
    assert frame["balance"].tolist() == ["None", "NA"]


def test_seeds_are_averaged_and_tasks_ordered_by_category() -> None:
    rows = [("a", "y", 0, 1.0, "structural pixelwise"), ("a", "y", 1, 3.0, "structural pixelwise")]
    rows += [
        ("a", "x", 0, 5.0, "semantic image-level"),
        ("a", "z", 0, 5.0, "own"),
        ("a", "w", 0, 5.0, "semantic image-level"),
    ]
    frame = check_scores(pd.DataFrame(rows, columns=["encoder", "task", "seed", "score", "category"]))
    wide = matrix(frame)
    assert list(wide.columns) == ["x", "w", "y", "z"]
    assert wide.loc["a", "y"] == 2
    assert task_categories(frame)["z"] == "own"


def test_missing_cells_are_named_kept_or_dropped() -> None:
    frame = check_scores(pd.DataFrame({"encoder": ["a", "a", "b"], "task": ["x", "y", "x"], "score": [1, 2, 3]}))
    assert missing_cells(matrix(frame)) == [("b", "y")]
    with pytest.raises(ScoresError, match="b on y"):
        matrix(frame, missing="refuse")
    rows = matrix(frame, missing="drop-encoders")
    assert list(rows.index) == ["a"]
    assert rows.attrs["dropped"] == ["b"]
    columns = matrix(frame, missing="drop-tasks")
    assert list(columns.columns) == ["x"]
    assert columns.attrs["dropped"] == ["y"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["empty"]),
        ("encoder,task,score\n", ["no scores"]),
        ("encoder,task\na,x\n", ["score", "encoder, task"]),
        ("encoder,x,y\na,1,2\n", ["wide", "--wide"]),
        ("encoder,task,score\na,x,\nb,x,1\n", ["a on x", "nothing"]),
        ("encoder,task,score\na,x,nan\nb,x,1\n", ["a on x"]),
        ("encoder,task,score\na,x,inf\n", ["a on x", "inf"]),
        ("encoder,task,score\na,x,good\n", ["a on x", "good"]),
        ("encoder,task,score\n,x,1\n", ["row 1", "encoder"]),
        ("encoder,task,score\na,x,1\na,x,2\n", ["encoder a, task x", "column seed"]),
        ("encoder,task,score,seed\na,x,1,0\na,x,2,0\n", ["seed 0"]),
        ("encoder,task,score,method\na,x,1,m\na,y,2,n\n", ["encoder a", "method", "m and n"]),
        ("encoder,task,score,category\na,x,1,p\nb,x,2,q\n", ["task x", "category"]),
        ('encoder,task,score\n"a,x,1\n', ["CSV"]),
    ],
)
def test_what_cannot_be_used_is_said_in_one_paragraph(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(ScoresError) as error:
        read_scores(write(tmp_path, text))
    for part in [*parts, "scores.csv"]:
        assert part in str(error.value)
    assert "\n\n" not in str(error.value)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ScoresError, match=r"nowhere\.csv"):
        read_scores(tmp_path / "nowhere.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00encoder")
    with pytest.raises(ScoresError, match=r"bytes\.csv"):
        read_scores(tmp_path / "bytes.csv")


def test_probe_is_chosen_and_empty_columns_do_not_count(tmp_path: Path) -> None:
    path = write(tmp_path, "encoder,task,score,probe,epochs\na,x,1,knn,\na,x,2,linear,\n")
    frame = read_scores(path, probe="linear")
    assert frame["score"].tolist() == [2]
    assert "epochs" not in frame.columns
    with pytest.raises(ScoresError, match="knn and linear"):
        read_scores(path, probe="dense")
    with pytest.raises(ScoresError, match=r"knn and linear.*--probe"):
        matrix(read_scores(path))


def test_tasks_find_their_data_set_by_name_or_by_pairs() -> None:
    found = match_tasks(["SUN397 cls.", "pets", "kinetics-action"], ["sun397", "sun", "Kinetics"])
    assert found == {"SUN397 cls.": "sun397", "kinetics-action": "Kinetics"}
    assert match_tasks(["pets"], ["a", "b"], ("pets:b",)) == {"pets": "b"}
    for pair in ("pets", "dogs:a", "pets:c"):
        with pytest.raises(ScoresError, match="expected task:value"):
            match_tasks(["pets"], ["a", "b"], (pair,))


def test_kinds_of_encoders_and_the_one_to_compare_with() -> None:
    frame = check_scores(pd.DataFrame({"encoder": ["Random", "sup", "x"], "task": "t", "score": [1, 2, 3]}))
    assert roles(frame).tolist() == ["unknown"] * 3
    with pytest.raises(NotApplicable, match="reference=ENCODER"):
        reference_encoder(frame)
    assert reference_encoder(frame, "sup") == "sup"
    with pytest.raises(ScoresError, match="'y'"):
        reference_encoder(frame, "y")
    with pytest.raises(NotApplicable, match="there is none"):  # a method's name is no role
        reference_encoder(check_scores(frame.assign(method=["random", "supervised", "simclr"])))
    assert reference_encoder(check_scores(frame.assign(role=["baseline", "supervised", None]))) == "sup"


def test_the_input_frame_is_left_alone() -> None:
    frame = pd.DataFrame({"encoder": [" a"], "task": ["x"], "score": ["1"]})
    checked = check_scores(frame)
    assert frame["encoder"][0] == " a"
    assert checked["score"].dtype == np.float64

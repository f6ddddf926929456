"""Tables of an analysis are read back from their files as they were, whatever their cells look like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virb.contracts.tables import Tables
from virb.errors import ScoresError

ODD = st.sampled_from(
    ["", "a", "1.10", "007", "1e3", "nan", "None", "True", "False", "猫", "a,b", 'quo"te', "$x$", " b", "inf"]
)
COLUMNS = st.one_of(
    st.lists(ODD, min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.lists(st.integers(-(2**53), 2**53), min_size=3, max_size=3),
    st.lists(st.floats(allow_nan=True), min_size=3, max_size=3),
    st.lists(st.sampled_from([None, "x", 1, 2.5, True]), min_size=3, max_size=3),
)
FACTS = st.recursive(
    ODD | st.integers(-1000, 1000) | st.floats(allow_nan=False) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=100, deadline=None)
@given(
    columns=st.dictionaries(ODD, COLUMNS, min_size=1, max_size=4),
    facts=st.dictionaries(st.sampled_from("abc"), FACTS),
    notes=st.lists(ODD),
)
def test_they_are_read_back_as_they_were(
    columns: dict[str, list[object]],
    facts: dict[str, object],
    notes: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    frame = pd.DataFrame({name: pd.Series(values) for name, values in columns.items()}, index=[2, 1, 0])
    tables = Tables({"": frame, "part": frame.iloc[:0]}, **facts)
    tables.notes.say(*notes)
    files = tables.write(folder, "x")
    assert [file.name for file in files] == ["x.csv", "x-part.csv", "x-facts.csv"]
    again, normal = Tables.read(folder, "x"), tables.in_normal_form()
    assert list(again) == list(normal)
    pd.testing.assert_frame_equal(again[""], normal[""])
    assert list(again["part"].columns) == list(frame.columns)
    assert again.facts == normal.facts == facts
    assert again.notes == notes


def test_numbers_keep_their_last_bit_and_arrays_become_lists(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=200) * 10.0 ** rng.integers(-12, 12, 200)
    tables = Tables({"": pd.DataFrame({"v": values})}, one=np.float64(values[0]), some=values[:3], n=np.int64(3))
    tables.write(tmp_path, "x")
    again = Tables.read(tmp_path, "x")
    np.testing.assert_array_equal(again[""]["v"], values)
    assert again.facts == {"one": values[0], "some": list(values[:3]), "n": 3}


def test_what_an_earlier_run_left_is_not_read(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1]})
    Tables({"": frame, "old": frame}).write(tmp_path, "x")
    Tables({"": frame}).write(tmp_path, "x")
    assert list(Tables.read(tmp_path, "x")) == [""]
    with pytest.raises(ScoresError, match="virb analyze y"):
        Tables.read(tmp_path, "y")

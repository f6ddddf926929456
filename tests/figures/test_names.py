"""Which names are drawn where there are too many: the ends and those named, in order, never more than there is room for."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from virb.figures.look import drawn_with
from virb.figures.names import MOST, choose


@given(st.integers(0, 300), st.sets(st.integers(0, 299), max_size=8), st.integers(12, 60))
def test_the_ends_and_the_named_are_drawn_and_the_gaps_add_up(n: int, named: set[int], most: int) -> None:
    chosen = choose(range(n), named=named, most=most, what="encoders")
    places = [int(name) for name in chosen.names]
    assert places == sorted(set(places))
    assert len(places) == min(n, most) or (len(places) < most and len(named) > 0)
    assert {k for k in named if k < n} <= set(places)
    assert len(places) + sum(chosen.skipped.values()) == n
    assert (chosen.note == "") == (n <= most)
    rows = chosen.places
    assert all(b - a == (2 if k + 1 in chosen.skipped else 1) for k, (a, b) in enumerate(itertools.pairwise(rows)))
    if n > most:
        assert places[0] == 0
        assert places[-1] == n - 1
        assert f"of {n:,} encoders are drawn; the table has all." in chosen.note


def test_a_table_of_1555_is_a_page_and_says_so() -> None:
    chosen = choose([f"e{k}" for k in range(1555)])
    assert len(chosen.names) == MOST
    assert chosen.note == "The first 40 and the last 20 of 1,555 are drawn; the table has all. "
    assert chosen.free == {40.0: 1495}


def test_names_to_show_come_from_the_call_and_keep_the_order_of_the_table() -> None:
    names = [f"e{k}" for k in range(100)]
    with drawn_with(show=["e70", "elsewhere"]):
        chosen = choose(names, most=10, drawn_as=names[::-1])
    assert "e70" in chosen.names
    assert len(chosen.names) == 10
    assert chosen.names == sorted(chosen.names, key=lambda name: -int(name[1:]))
    assert chosen.skipped == {}
    assert "e70" not in choose(names, most=10).names

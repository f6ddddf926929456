"""Names are drawn as they are written: no letter is markup, and none is lost."""

from __future__ import annotations

import io
import warnings

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from virb.figures import plots
from virb.figures.fonts import drawable

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]), min_size=1, max_size=12)


def draw(names: list[str]) -> bytes:
    with plots.style():
        fig = plots.figure(8, 2)
        plots.bars(fig.add_subplot(), names, [1.0] * len(names), ["#000000"] * len(names))
        plots.titles(fig, names[0], " ".join(names), handles=plots.colour_handles(dict.fromkeys(names, "#000000")))
    file = io.BytesIO()
    plots.settle(fig)
    plots.save(fig, file, "svg")
    return file.getvalue()


@example(["$\\frac$"])
@example(["cut$_{mix", "mo$co^"])
@example(["猫", "狗", "é", "\N{ROCKET}"])
@settings(max_examples=10, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=3, unique=True))
def test_any_name_is_drawn_without_a_warning(names: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)  # of what Matplotlib calls
        assert draw(names).endswith(b"</svg>\n")


@given(NAMES, NAMES)
def test_names_that_differ_are_drawn_differently(one: str, other: str) -> None:
    assert (drawable(one) == drawable(other)) <= (one == other) or "\\" in one + other


@pytest.mark.parametrize("name", ["$x_{1}^2$", "100%", "a\\b", "{}", "#1 & 2"])
def test_what_a_typesetter_would_read_stays_as_it_is(name: str) -> None:
    assert drawable(name) == name
    assert draw([name]) != draw([name.replace(name[0], "")])

"""The style: colours that stay, text that fits, files that do not change."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from virb.contracts.task import Category
from virb.figures import plots


def test_colours_depend_on_the_names_alone() -> None:
    assert plots.palette(["swav", "simclr"]) == plots.palette(["simclr", "swav", "swav"])
    assert plots.BLACK not in plots.palette(["Supervised", "random-resnet18"]).values()  # a name is no role
    roles = {"mine": "supervised", "floor": "untrained", "a": "unknown", "b": "self-supervised"}
    colours = plots.palette(list(roles), roles)
    assert (colours["mine"], colours["floor"]) == (plots.BLACK, plots.GREY)
    assert len(set(plots.palette(f"m{k}" for k in range(15)).values())) == 15
    assert set(plots.category_colours([c.value for c in Category])) == {c.value for c in Category}
    assert len(set(plots.category_colours(["x", "y", Category.SEMANTIC_IMAGE.value]).values())) == 3


def test_runs_of_categories() -> None:
    assert plots.blocks(["a", "a", "b"]) == [("a", 0, 2), ("b", 2, 3)]
    assert plots.blocks([]) == []


def test_text_is_measured_and_readable() -> None:
    assert plots.text_width(["mm"], 10) == pytest.approx(2 * plots.text_width(["m"], 10), rel=0.1)
    assert plots.text_width(["m"], 20) == pytest.approx(2 * plots.text_width(["m"], 10))
    assert plots.text_width([], 10) == 0
    assert plots.text_on((0, 0, 0.3)) == "white"
    assert plots.text_on((1, 1, 0.8)) == plots.BLACK


@pytest.mark.parametrize(
    ("value", "text"), [(98e6, "98M"), (1281167, "1.28M"), (500e3, "500k"), (64, "64"), (2e9, "2B")]
)
def test_counts(value: float, text: str) -> None:
    assert plots.count_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.6534, ".653"),
        (-0.042, "−.042"),
        (50.0, "50.0"),
        (4.206, "4.21"),
        (50.16, "50.2"),
        (0.0, ".000"),
        (10.04, "10.0"),
        (1, "1.00"),
    ],
)
def test_scores_lose_no_digit_but_a_leading_zero(value: float, text: str) -> None:
    assert plots.score_text(value) == text


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_figure_is_the_same_bytes(kind: str) -> None:
    files = []
    for _ in range(2):
        with plots.style():
            fig = plots.figure(2, 1)
            fig.add_subplot().plot([1, 2], [3, 4])
            plots.titles(fig, "Title", "A note that is long enough to take more than one line of the figure.")
        file = io.BytesIO()
        plots.settle(fig)
        plots.save(fig, file, kind)
        files.append(file.getvalue())
    assert files[0] == files[1]


def test_a_png_is_laid_out_as_matplotlib_would_and_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn() -> plots.Page:
        with plots.style():
            fig = plots.figure(3, 2)
            axes = fig.add_subplot()
            plots.heatmap(axes, pd.DataFrame(np.eye(3), ["a", "b", "a longer name"], list("xyz")))
            plots.titles(fig, "Title", "A note.")
        plots.settle(fig)
        return fig

    fig, ours, theirs = drawn(), io.BytesIO(), io.BytesIO()
    with plots.style():
        fig.savefig(theirs, format="png", dpi=300, metadata={"Software": None}, facecolor="white")
    fig, n = drawn(), []
    draw = fig.draw
    monkeypatch.setattr(fig, "draw", lambda renderer: (n.append(1), draw(renderer)))
    engine, dpi = fig.get_layout_engine(), fig.dpi
    plots.save(fig, ours, "png")
    assert ours.getvalue() == theirs.getvalue()
    assert len(n) == 1
    assert (fig.get_layout_engine(), fig.dpi) == (engine, dpi)


def test_matplotlibs_settings_are_left_alone() -> None:
    import matplotlib as mpl

    before = mpl.rcParams["font.size"]
    with plots.style():
        assert mpl.rcParams["font.size"] == 7
    assert mpl.rcParams["font.size"] == before


def test_a_word_longer_than_the_line_is_cut_into_lines():
    title = "Class by class: an-encoder-with-a-very-long-name-of-many-parts-and-a-seed against random"
    lines = plots.wrapped(title, 7.5, 1.5, "bold")
    assert all(plots.text_width([line], 7.5, "bold") <= 1.5 for line in lines)
    assert "".join(lines).replace(" ", "") == title.replace(" ", "")
    assert plots.text_width([title], 7.5, "bold") > plots.text_width([title], 7.5)


def test_ticks_of_nearly_equal_counts_do_not_touch():
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    for values, ticks in (([1499, 1500, 3000, 3198, 6000], [1499, 3000, 6000]), ([5, 5], [5]), ([5, 500], [5, 500])):
        plots.log_counts(axes, values, most=5)
        assert list(axes.get_xticks()) == ticks

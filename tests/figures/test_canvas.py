"""Nothing of a figure is cut or covered; what would be is found."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from virb.figures import plots
from virb.figures.canvas import LARGEST, faults, settle

LONG = [f"CLIP-ViT-B-16-DataComp.XL-s13B-b90K-that-goes-on-and-on-for-ever-and-a-day-and-on-{k}@224" for k in range(5)]


def bars(names: list[str], label: str = "score") -> Figure:
    with plots.style():
        fig = plots.figure(plots.COLUMN, plots.bars_height(len(names)))
        axes = fig.add_subplot()
        plots.bars(axes, names, [1.0] * len(names), [plots.BLACK] * len(names))
        axes.set_xlabel(label)
        plots.titles(
            fig, " ".join(names), "n = 3. " * 20, handles=plots.colour_handles(dict.fromkeys(names[:5], plots.GREY))
        )
    return fig


@pytest.mark.parametrize(
    "names", [["a", "b"], LONG, ["猫と犬", "$x^2_{1}$ 100%", "Ωmega"], [f"encoder {k}" for k in range(60)]]
)
def test_a_settled_figure_is_sound(names: list[str]) -> None:
    fig = bars(names, "a label that is far longer than the axes are wide, and has many words to say of what is drawn")
    with plots.style():
        settle(fig)
    assert faults(fig) == []
    drawn = [label.get_text() for label in fig.axes[0].get_yticklabels()]
    assert len(set(drawn)) == len(names)  # names that are shortened still differ


def test_long_names_of_columns_are_turned_and_shortened() -> None:
    with plots.style():
        fig = plots.figure(plots.COLUMN, 1.5)
        axes = fig.add_subplot()
        axes.bar(range(5), range(5))
        axes.set_xticks(range(5), LONG)
        settle(fig)
    assert faults(fig) == []
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {90}


def test_titles_of_panels_and_labels_of_rows_stay_apart() -> None:
    with plots.style():
        fig = plots.figure(plots.PAGE, 2.0)
        for axes in fig.subplots(1, 3):
            axes.set_title("a panel's title that is longer than the panel is wide, by quite some words")
            axes.set_ylabel("what is drawn against what, in words that the height has no room for")
        settle(fig)
    assert faults(fig) == []


def test_what_is_cut_or_covered_is_found() -> None:
    with plots.style():
        fig = plots.figure(2, 1, layout=None)
        axes = fig.add_axes((0.3, 0.4, 0.6, 0.5))
        axes.set_yticks([0.2, 0.25], ["one name", "another"])
        fig.text(0.8, 0.02, "leaves the canvas at the right")
    found = " | ".join(faults(fig))
    assert "'leaves the canvas at the right' leaves the canvas" in found
    assert "'one name' and 'another' cover each other" in found
    assert "a figure is at most 7 x 11" in " ".join(faults(plots.figure(2, 12)))


def test_no_file_is_larger_than_a_page_of_pixels(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from PIL import Image

    with plots.style():
        fig = plots.figure(3, 20)
        fig.add_subplot().plot([1, 2], [3, 4])
    plots.save(fig, tmp_path / "a.png", "png")
    width, height = Image.open(tmp_path / "a.png").size
    assert width <= LARGEST[0] * plots.DPI
    assert height <= LARGEST[1] * plots.DPI + 1


def test_labels_are_moved_apart_as_little_as_possible() -> None:
    assert plots.apart([1, 5, 9], 1) == [1, 5, 9]
    assert plots.apart([3, 3, 3], 1) == pytest.approx([2, 3, 4])
    assert plots.apart([1, 1, 2.5], 1) == pytest.approx([0.5, 1.5, 2.5])
    assert plots.apart([], 1) == []

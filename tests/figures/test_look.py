"""What a call asks of its figures: a style, kinds of file, tables set for a paper."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from virb.cli import main
from virb.figures import fonts, plots
from virb.figures.look import drawn_with, now


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    names = ["resnet_50", "vit_b&l", "swin#1", "dino$"]
    rows = [(e, f"t{t}", 0.5 + 0.1 * i + 0.01 * (t * (i + 1) % 3)) for i, e in enumerate(names) for t in range(6)]
    pd.DataFrame(rows, columns=["encoder", "task", "score"]).to_csv(tmp_path / "s.csv", index=False)
    return tmp_path / "s.csv"


def test_a_paper_has_columns_without_words_and_captions_beside(scores: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call = ["analyze", "critical-difference", "--results", str(scores), "--out", str(out), "--style", "paper"]
    assert main([*call, "--figures", "pdf,svg"]) == 0
    assert sorted(path.suffix for path in out.glob("critical-difference.*")) == [".csv", ".pdf", ".svg"]
    caption = (out / "critical-difference-caption.txt").read_text()
    assert caption.startswith("Ranking of 4 encoders. 6 tasks")
    assert f'width="{72 * plots.COLUMN:.6g}pt"' in (out / "critical-difference.svg").read_text()
    assert b"%PDF" in (out / "critical-difference.pdf").read_bytes()[:8]


def test_a_style_is_in_use_where_it_is_asked_for() -> None:
    with plots.style():
        with drawn_with(style="paper"):
            fig = plots.figure(4.0, 1.0)
            fig.add_subplot()
            plots.titles(fig, "Title", "A note.", handles=plots.colour_handles({"a": plots.BLACK}))
        assert fig.get_size_inches()[0] == plots.PAGE
        assert fig.texts == []
        assert len(fig.legends) == 1
        assert plots.caption(fig) == "Title. A note."
        wordy = plots.figure(4.0, 1.0)
        plots.titles(wordy, "Title", "A note.")
    assert wordy.get_size_inches()[0] == 4.0
    assert [text.get_text() for text in wordy.texts] == ["Title", "A note."]
    assert plots.caption(wordy) == ""
    assert now().style == ""


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        (["--style", "papr"], "Did you mean 'paper'?"),
        (["--figures", "pfd"], "Did you mean 'pdf'?"),
        (["--show", "resnet_51"], "Did you mean 'resnet_50'?"),
    ],
)
def test_a_wrong_word_is_named_with_the_right_one(
    flags: list[str], hint: str, scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["analyze", "paired-model", "--results", str(scores), "--out", str(tmp_path), *flags]) == 2
    assert hint in capsys.readouterr().err


def test_tables_for_a_paper_escape_names_and_set_the_best_in_bold(
    scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["analyze", "critical-difference", "--results", str(scores), "--out", str(tmp_path / "o"), "--table"]
    assert main([*call, "tex"]) == 0
    tex = (tmp_path / "o" / "critical-difference.tex").read_text()
    assert tex.strip() in capsys.readouterr().out
    # With six tasks and three comparisons no p of the test falls below .05 for close ones: all that it does not tell are bold.
    assert r"dino\$ & \textbf{1.00}" in tex
    assert r"vit\_b\&l & " in tex
    assert r"swin\#1 & " in tex
    assert "% 6 tasks. Bold: dino$, and those that the signed-rank test over tasks does not tell from it at 0.05" in tex
    assert main([*call, "md"]) == 0
    text = (tmp_path / "o" / "critical-difference.md").read_text()
    assert "| resnet\\_50 | " in text
    assert "| dino$ | **1.00** |" in text
    leader = pd.read_csv(tmp_path / "o" / "critical-difference-leader.csv").set_index("encoder")["p"]
    bold = {line.split("|")[1].strip().replace("\\", "") for line in text.splitlines() if "**" in line}
    assert bold == {"dino$", *leader.index[leader >= 0.05]}


def test_a_letter_without_a_font_is_spelled_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(e, f"t{t}", 0.1 * i + 0.01 * t) for i, e in enumerate(("a", "b", "\ue123x")) for t in range(4)]
    pd.DataFrame(rows, columns=["encoder", "task", "score"]).to_csv(tmp_path / "s.csv", index=False)
    assert main(["analyze", "paired-model", "--results", str(tmp_path / "s.csv"), "--out", str(tmp_path / "o")]) == 0
    printed = capsys.readouterr().out
    assert printed.count("no font on this machine has some letters of the names") == 1
    assert r"as \ue123" in printed


def test_a_font_of_the_machine_that_has_the_letters_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the font is called: here one with a letter that the first ones lack, as a machine with CJK fonts has."""
    monkeypatch.setattr(fonts, "_others", lambda: (("Some Font", frozenset(map(ord, "猫犬"))),))
    fonts._font_with.cache_clear()
    monkeypatch.setattr(fonts, "_letters", lambda: frozenset(map(ord, "ab")))
    try:
        assert fonts.drawable("a猫") == "a猫"
        assert fonts.fonts_for("a猫") == [*fonts.families(), "Some Font"]
        assert fonts.undrawable("猫語") == ["語"]
        assert fonts.drawable("猫語") == "猫\\u8a9e"
    finally:
        fonts._font_with.cache_clear()


def test_drawing_does_not_load_what_tables_need() -> None:
    """The look is read before matplotlib is: listing and tables must not pay for figures."""
    code = "import sys, virb.figures.look, virb.figures.analysing; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"

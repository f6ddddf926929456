"""The batteries of an analysis, a checkpoint layout and an executor."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from virb.contracts.tables import Tables
from virb.errors import ScoresError, UsageError
from virb.evaluation.batteries.common import Checks, must
from virb.scores.schema import check_scores


def analysis_checks(analysis: Any) -> Checks:
    """On the smallest table, a sparse one, one of mixed units and one with every usual column: it computes, or says why not;
    and what it draws and says comes of its tables alone, as they are read back from their files. Nothing that it draws is cut
    or covered, with names that are long, in other scripts or full of signs."""

    def three_functions() -> str:
        for name in ("compute", "draw", "say"):
            must(callable(getattr(analysis, name, None)), f"{name} is no function.")
        analysis.parse_options({})
        return f"{len(analysis.options)} options"

    def ran(frame: pd.DataFrame) -> str:
        scores = check_scores(frame)
        before = scores.copy()
        why_not = analysis.reason_not_to_run(scores)
        if why_not is not None:
            return f"skipped: {why_not}"
        try:
            tables = analysis.tables(scores)
        except (ScoresError, UsageError) as error:
            must(len(str(error)) > 15, f"it ends with {str(error)!r}, which says nothing.")
            return f"skipped: {error}"
        pd.testing.assert_frame_equal(scores, before)
        with tempfile.TemporaryDirectory() as folder:
            tables.write(Path(folder), analysis.name)
            again = Tables.read(Path(folder), analysis.name)
        must(list(again) == list(tables) and again.facts == tables.facts, "its facts are not what is read back.")
        for part, table in tables.items():
            pd.testing.assert_frame_equal(table, again[part])
        lines = list(analysis.say(again))
        must(all(isinstance(line, str) and line for line in lines), "it says something that is no sentence.")
        must(lines == list(analysis.say(tables)), "it says another thing of its tables when they are read back.")
        figures = analysis.draw(again)
        for part, figure in figures.items():
            # Figures of virb.figures.plots know what is wrong with them; others are drawn, no more.
            found = figure.faults() if hasattr(figure, "faults") else figure.canvas.draw() or []
            must(not found, f"{f'its figure {part!r}' if part else 'its figure'}: {'; '.join(found[:3])}.")
            figure.clear()
        if analysis.typeset is not None:
            must(bool(analysis.typeset(again).rows), "it sets a table without rows.")
        return f"{len(tables)} tables, {len(lines)} sentences, {len(figures)} figures"

    return [
        ("three functions", three_functions),
        ("the smallest table", lambda: ran(_scores(1, 1))),
        ("a sparse table", lambda: ran(_scores(6, 5).sample(frac=0.6, random_state=0))),
        (
            "mixed units",
            lambda: ran(_scores(6, 5).assign(unit=lambda f: f["task"].map({"t0": "metre"}).fillna("fraction"))),
        ),
        ("every usual column, awkward names", lambda: ran(_with_usual_columns(_scores(16, 6)).replace(AWKWARD))),
    ]


AWKWARD = {
    "e3": "resnet50_$x^2$_100%_\\frac{1}{2}_&_#3",
    "e4": "CLIP-ViT-B-16-DataComp.XL-s13B-b90K-with-a-name-that-goes-on-and-on-beyond-what-a-column-has-room-for@448",
    "e5": "CLIP-ViT-B-16-DataComp.XL-s13B-b90K-with-a-name-that-goes-on-and-on-beyond-what-a-column-has-room-for@224",
    "e6": "\u732b\u3068\u72ac (\u8a9e\u5f59)",
    "t3": "an end task of many words, whose name is longer than any row or column of a figure has room for",
    "t4": "t4_{\u4efb\u52a1}^$",
}


def _scores(n_encoders: int, n_tasks: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [(f"e{e}", f"t{t}", float(rng.random())) for e in range(n_encoders) for t in range(n_tasks)]
    return pd.DataFrame(rows, columns=["encoder", "task", "score"])


def _with_usual_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Scores of two seeds with what virb's own records and common metadata say of encoders and tasks."""
    k, t = frame["encoder"].str[1:].astype(int), frame["task"].str[1:].astype(int)
    about: dict[str, Any] = {
        "role": np.where(k == 0, "supervised", "self-supervised"),
        "method": np.where(k == 0, "third", np.where(k % 2, "one", "other")),
        "dataset": np.where(k < 12, np.array(["t0", "t1"])[k // 2 % 2], "t0+t1"),
        "dataset_size": np.array([100, 300, 1000])[k % 3],
        "epochs": np.array([10, 20])[k // 4 % 2],
        "batch_size": np.array([256, 512])[k // 2 % 2],
        "corruption": np.array(["none", "blur", "noise"])[k // 2 % 3],
        "resized": np.array(["no", "yes"])[k // 8],
        "augmentation_a": np.array(["crop", "colour"])[k // 2 % 2],
        "augmentation_b": np.array(["crop", "colour"])[k // 4 % 2],
        "head": np.array(["linear", "nonlinear"])[k // 2 % 2],
        "head_dim": np.array([64, 128])[k // 4 % 2],
        "parts": np.where(k == 15, "e1+e2", ""),
        "category": np.array(["semantic image-level", "structural image-level", "semantic pixelwise"])[t % 3],
        "chance": 0.1,
        "unit": "fraction",
        "n_test": 500,
        "probe": "any",
    }
    again = [frame.assign(seed=seed, score=frame["score"] * (1 - 0.01 * seed * (k % 3)), **about) for seed in (0, 1)]
    return pd.concat(again, ignore_index=True)


def layout_checks(layout: Any) -> Checks:
    """It knows its anchors, and refuses the names of other networks."""

    def refuses() -> str:
        from virb.networks.backbones import build_backbone

        shapes = {
            name: tuple(value.shape) for name, value in build_backbone("resnet18", width=0.125).state_dict().items()
        }
        for names in ({}, shapes):
            must(layout.recognise(names, names) is None, "it takes a file that is not of its layout.")
        return "other names are refused"

    def anchors() -> str:
        must(bool(layout.anchors), "it names no anchor, a tensor that only its files have.")
        return ", ".join(layout.anchors)

    return [("anchors", anchors), ("it refuses others", refuses)]


def executor_checks(executor: Any) -> Checks:
    """It refuses a place where it cannot run with a sentence."""

    def places() -> str:
        for place in ("", "no-such-place"):
            try:
                executor.check(place)
            except UsageError:
                continue
        return "it says in a sentence where it cannot run"

    return [("places", places)]

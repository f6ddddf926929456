"""Published beside ours: planted differences are found and no others; another protocol is never set beside unsaid."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

from virb import registry
from virb.cli import main
from virb.convert import zoo
from virb.errors import ScoresError
from virb.papers.compare import NOWHERE, OTHER, SAME, compare
from virb.papers.identity import identify

PAPER = "cole-2022"
N_TEST = {"cole-inat21": 100_000, "cole-imagenet": 50_000, "cole-places365": 36_500}


@pytest.fixture(scope="module")
def paper():
    return registry.load("papers", PAPER)


def ours(paper, table: str = "table1") -> pd.DataFrame:
    """Results that agree with the printed ones: the same numbers, as records of ours would have them."""
    printed = paper.published().get(table)
    printed = printed[printed["task"].isin(N_TEST)]
    names = {name: f"run-{k}" for k, name in enumerate(printed["encoder"].unique())}
    frame = printed.assign(
        identity=printed["encoder"], encoder=printed["encoder"].map(names), probe="gradient", overrides="", metric="top1",
        input_size=224, label_fraction=1.0, seed=0, n_test=[registry.load("tasks", t).n_examples.get("test", N_TEST[t]) for t in printed["task"]],
        category="semantic image-level",
    )  # fmt: skip
    return frame.drop(columns=["error", "dataset", "method", "dataset_size"], errors="ignore").reset_index(drop=True)


def compared(paper, frame: pd.DataFrame, **more):
    return compare(paper, "full", frame, identify(frame, paper, paper.scale("full")), **more)


def test_equal_numbers_agree_everywhere(paper):
    found = compared(paper, ours(paper), parts=["table1"])
    assert len(found.same) == 15  # four SimCLRs on three tasks, three supervised ones on their own
    assert set(found.same["result"]) == {"agrees"}
    assert (found.same["difference"].abs() < 1e-12).all()
    assert set(found.cells["protocol"]) == {SAME, NOWHERE}  # GLC20 was not computed
    assert set(found.cells.loc[found.cells["protocol"].eq(NOWHERE), "task"]) == {"cole-glc20"}
    assert (found.agreement["rho"] > 0.999).all()
    assert set(found.agreement["n"]) == {5}


@pytest.mark.parametrize("seed", range(3))
def test_planted_differences_are_found_and_no_others(paper, seed):
    rng = np.random.default_rng(seed)
    frame = ours(paper)
    planted = rng.choice(len(frame), 4, replace=False)
    frame.loc[planted, "score"] += rng.choice([-0.03, 0.03], 4)
    rest = np.setdiff1d(np.arange(len(frame)), planted)
    frame.loc[rest, "score"] += rng.uniform(-0.0005, 0.0005, len(rest))
    found = compared(paper, frame, parts=["table1"])
    expected = {(frame.loc[k, "identity"], frame.loc[k, "task"]) for k in planted}
    assert set(zip(found.differing["encoder"], found.differing["task"], strict=True)) == expected


OTHERWISE = {
    "label_fraction": (0.1, "10 % of the labels"),
    "input_size": (96, "96 px"),
    "n_test": (500, "500 of"),
    "overrides": ("limit=40", "limit=40"),
    "probe": ("knn", "probe knn"),
}


@pytest.mark.parametrize("column", OTHERWISE)
def test_a_cell_of_another_protocol_is_said_and_never_counted(paper, column):
    value, words = OTHERWISE[column]
    frame = ours(paper)
    frame[column] = frame[column].astype(object)
    frame.loc[0, column] = value
    frame.loc[0, "score"] += 0.2
    found = compared(paper, frame, parts=["table1"])
    other = found.cells[found.cells["protocol"].eq(OTHER)]
    assert len(other) == 1
    assert words in other.iloc[0]["departures"]
    assert other.iloc[0]["result"] == ""
    assert found.differing.empty


def test_a_bare_table_says_no_protocol(paper):
    frame = ours(paper)[["encoder", "task", "score", "identity", "unit"]]
    found = compared(paper, frame, parts=["table1"])
    assert found.same.empty
    assert set(found.cells.loc[found.cells["protocol"].eq(OTHER), "departures"]) == {"its protocol is not said"}


def test_percent_beside_fractions_and_seeds(paper):
    frame = ours(paper).assign(unit="percent")
    frame["score"] *= 100
    again = frame.assign(seed=1)
    again["score"] += 0.1
    found = compared(paper, pd.concat([frame, again], ignore_index=True), parts=["table1"])
    assert found.same["difference"].round(6).eq(0.0005).all()
    assert set(found.same["interval_of"]) == {"2 seeds"}


def test_names_alike_are_not_identities(paper):
    frame = ours(paper)
    frame["encoder"] = frame["identity"]
    found = identify(frame.drop(columns="identity"), paper, paper.scale("full"))
    assert found.names == {}
    assert len(found.unmatched) == frame["encoder"].nunique()


def test_identity_by_address_digest_and_declaration():
    paper = registry.load("papers", "kotar-2021")
    scale = paper.scale("full")
    url = zoo.published()["swav-imagenet-800"].url
    frame = pd.DataFrame(
        {
            "encoder": ["a", "b", "c", "d"],
            "task": "pets",
            "score": 0.5,
            "source": [url, "https://example.org/swav-imagenet-800", None, None],
            "encoder_digest": ["1", "2", "3", "4"],
            "identity": [None, None, None, "zoo:pirl-imagenet-800"],
        }
    )
    known = pd.DataFrame({"encoder_digest": ["3"], "member": ["SwAV ImageNet 200"]})
    found = identify(frame, paper, scale, known)
    assert found.names == {"SwAV ImageNet 800": "a", "SwAV ImageNet 200": "c", "PIRL ImageNet 800": "d"}
    assert found.unmatched == ["b"]
    twice = frame.assign(source=url)
    with pytest.raises(ScoresError, match="both declared"):
        identify(twice, paper, scale)


def test_anonymous_encoders_are_counted_and_likely_ones_marked():
    paper = registry.load("papers", "kotar-2021")
    frame = pd.DataFrame(
        {
            "encoder": ["sup", "sup"], "task": ["pets", "dtd"], "score": [0.94, 0.71], "unit": "fraction", "metric": "top1", "n_test": [3669, 1880],
            "probe": "gradient", "overrides": "", "input_size": 224, "identity": "zoo:supervised-imagenet-90", "role": "supervised",
            "category": "semantic image-level",
        }
    )  # fmt: skip
    found = compare(paper, "full", frame, identify(frame, paper, paper.scale("full")))
    assert found.same["is_tentative"].all()
    assert set(found.same["result"]) == {"agrees"}
    assert any(re.search(r"Figure 4: \d+ of 588 published cells", note) for note in found.notes)
    few = {one.claim.name: one.answer for one in found.ours}
    assert few["strong-within-category"].verdict == "cannot be told"


def test_the_mini_world_stands_beside_no_published_number(paper):
    frame = ours(paper)
    found = compare(paper, "mini", frame, identify(frame, paper, paper.scale("mini")))
    assert found.cells.empty
    assert "of the mini world" in found.notes[0]


def test_the_command_writes_page_markdown_and_csv(paper, tmp_path, capsys):
    frame = ours(paper)
    frame.loc[0, "score"] -= 0.05
    frame.loc[5, "overrides"] = "limit=40"
    frame.to_csv(tmp_path / "scores.csv", index=False)
    out = tmp_path / "page"
    assert (
        main(
            [
                "paper",
                "compare",
                PAPER,
                "--results",
                str(tmp_path / "scores.csv"),
                "--out",
                str(out),
                "--part",
                "table1",
                "--json",
            ]
        )
        == 0
    )
    said = json.loads(capsys.readouterr().out)
    differs = [cell for cell in said["cells"] if cell["result"] == "differs"]
    assert [(cell["encoder"], round(cell["difference"], 3)) for cell in differs] == [(frame.loc[0, "identity"], -0.05)]
    html = (out / "index.html").read_text(encoding="utf-8")
    assert "limit=40" in html
    assert "By another protocol" in (out / f"{PAPER}.md").read_text(encoding="utf-8")
    cells = pd.read_csv(out / "cells.csv")
    assert set(cells["protocol"]) == {SAME, OTHER, NOWHERE}
    assert set(pd.read_csv(out / "claims.csv")["numbers"]) == {"published", "ours"}
    assert (
        main(["paper", "claims", PAPER, "--results", str(tmp_path / "scores.csv"), "--claim", "in-domain", "--json"])
        == 0
    )
    assert json.loads(capsys.readouterr().out)["claims"][0]["n"] == 3
    assert main(["paper", "compare", PAPER]) == 2

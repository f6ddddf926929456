"""What the papers claim: the answers on their own numbers, on tables in which the answer is planted, and on none."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from virb import registry
from virb.cli import main
from virb.contracts.paper import FAILS, HOLDS, UNTOLD, Evidence, Paper
from virb.evaluation.batteries import check_part
from virb.papers.claims import answer, ask

ROOT = Path(__file__).parents[2]
NAMES = ("chen-2020", "cole-2022", "hammoud-2024", "kotar-2021")
#: Answers on the published numbers: those that hold and those that fail; the others cannot be told.
HOLD = {
    "chen-2020": {
        "stronger-colour", "autoaugment", "width", "gap-shrinks", "layer-below", "nt-xent", "mining", "temperature", "large-batches", "longer",
        "square-root-rule", "seven-percent", "matches-supervised", "few-labels", "linear-even", "small-linear",
    },
    "cole-2022": {
        "half-is-enough", "diminishing", "in-domain", "boost-of-12", "imagenet-best-source", "glc20-worst-source", "pooled-worse", "redundant",
        "supervised-adds-more", "inat21-gap", "resizing", "class-diversity",
    },
    "hammoud-2024": {"diversity", "diversity-large", "largest-best", "shift-outweighs", "normalisation", "few-labels"},
    "kotar-2021": {
        "supervised-best-near-imagenet", "no-task-predicts-all", "strong-within-category", "weaker-elsewhere", "structural-gains-more",
    },
}  # fmt: skip
FAIL = {
    "chen-2020": {"supervised-length", "small-tuned"},
    "cole-2022": {"quarter"},
    "hammoud-2024": set(),
    "kotar-2021": set(),
}


@pytest.fixture(scope="module")
def papers() -> dict[str, Paper]:
    return {name: registry.load("papers", name) for name in NAMES}


@pytest.fixture(scope="module")
def printed(papers):
    return {
        name: {one.claim.name: one.answer for one in ask(paper, paper.published())} for name, paper in papers.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_answers_on_the_published_numbers(printed, name):
    found = printed[name]
    assert {claim for claim, one in found.items() if one.verdict == HOLDS} == HOLD[name]
    assert {claim for claim, one in found.items() if one.verdict == FAILS} == FAIL[name]
    assert all(len(one.why) > 20 for one in found.values())
    assert all(one.n > 0 for one in found.values() if one.verdict != UNTOLD)


@pytest.mark.parametrize("name", NAMES)
def test_every_paper_passes_its_battery(name):
    assert [check for check in check_part(registry.find("papers", name)) if not check.is_ok] == []


def test_numbers_of_single_answers(printed):
    kotar, cole, chen = printed["kotar-2021"], printed["cole-2022"], printed["chen-2020"]
    assert kotar["supervised-best-near-imagenet"].estimate == 18
    assert kotar["strong-within-category"].estimate == pytest.approx(0.76, abs=0.01)
    assert kotar["no-task-predicts-all"].high < 0.5
    assert kotar["better-default"].estimate == pytest.approx(0.466, abs=0.005)
    assert (kotar["seeds"].n, round(kotar["seeds"].low, 2), round(kotar["seeds"].high, 1)) == (3, 0.44, 5.3)
    assert cole["adding-hurts"].low == pytest.approx(-0.0454, abs=1e-3)
    assert cole["granularity-gap"].pvalue == pytest.approx(1 / 3)
    assert chen["batch-gap-closes"].estimate == pytest.approx(7.3)
    assert printed["hammoud-2024"]["places-exception"].n == 4
    assert (chen["bold-cells"].low, chen["bold-cells"].high) == (1, 7)


def test_the_page_is_current():
    spec = importlib.util.spec_from_file_location("update_papers", ROOT / "docs" / "update_papers.py")
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    assert page.text() == page.PAGE.read_text(encoding="utf-8"), "run python docs/update_papers.py"


def test_every_table_that_was_transcribed_is_a_papers(papers):
    used = {table.file for paper in papers.values() for table in paper.tables}
    there = {path.name for path in (ROOT / "analysis" / "papers" / "tables").glob("*.csv")}
    parts_of_others = {
        "hammoud_table4.csv",
        "simclr_text_values.csv",
    }  # two networks of supplementary table 3; the text's numbers
    assert there - used == parts_of_others


def test_nothing_is_answered_of_no_tables(papers):
    for paper in papers.values():
        for claim in paper.claims:
            found = answer(claim, Evidence({}))
            assert (found.verdict, found.n) == (UNTOLD, 0)
            assert found.why


def study(seed: int = 0, *, structural: float = 0.0, effect: float = 0.0, in_domain: float = 0.0) -> Evidence:
    """A study of six methods on three data sets in which nothing is true but what is planted."""
    rng = np.random.default_rng(seed)
    methods = ["moco-v2", "swav", "simclr", "byol", "pirl", "dino"]
    categories = ["semantic image-level", "structural image-level", "semantic pixelwise", "structural pixelwise"]
    tasks = [(f"{c[:3]}{c[-4:]}{k}", c) for c in categories for k in range(4)]
    rows = []
    for method in methods:
        for dataset in ("A", "B", "A+B"):
            for task, category in tasks:
                score = rng.normal(0, 0.01)
                score += structural * category.startswith("structural")
                score += (
                    effect * {"moco-v2": 1, "swav": -1}.get(method, 0) * (1 if category.endswith("pixelwise") else -1)
                )
                score += in_domain * (task == {"A": tasks[0][0], "B": tasks[1][0]}.get(dataset))
                rows.append((f"{method}-{dataset}", method, dataset, "self-supervised", task, category, score))
    rows += [("sup", "supervised", "A", "supervised", task, category, rng.normal(0, 0.01)) for task, category in tasks]
    frame = pd.DataFrame(rows, columns=["encoder", "method", "dataset", "role", "task", "category", "score"])
    facts = {
        "imagenet": tasks[0][0], "near_imagenet": (tasks[0][0],), "methods": ("moco-v2", "swav"),
        "home": {tasks[0][0]: "A", tasks[1][0]: "B", tasks[2][0]: "A"},
    }  # fmt: skip
    return Evidence({"figure4": frame}, facts)


def asked(papers, name: str, given: Evidence) -> str:
    return {one.claim.name: one.answer.verdict for one in ask(papers["kotar-2021"], given, [name])}[name]


def test_planted_truths_are_found_and_their_opposites_refused(papers):
    assert asked(papers, "structural-gains-more", study(structural=0.1)) == HOLDS
    assert asked(papers, "structural-gains-more", study(structural=-0.1)) == FAILS
    assert asked(papers, "methods-by-output", study(effect=0.1)) == HOLDS
    assert asked(papers, "methods-by-output", study(effect=-0.1)) == FAILS
    assert asked(papers, "in-domain-beats-combination", study(in_domain=-0.1)) != HOLDS


def test_the_seeds_of_an_encoder_count_as_one(papers):
    """Three seeds of every encoder, whose mean is the one of before: no sentence but that on seeds is answered otherwise."""
    one = study(structural=0.02, effect=0.01, in_domain=0.01).frames["figure4"]
    one["dataset_size"], one["balance"] = 1000, np.where(one["dataset"].eq("B"), "lin", "balanced")
    seeds = [
        one.assign(
            encoder=[name if not k else f"{name}-seed{k}" for name in one["encoder"]],
            repeat="design " + one["encoder"],
            pretrain_seed=k,
            score=one["score"] + shift,
        )
        for k, shift in enumerate((0.0, 0.005, -0.005))
    ]
    facts = study().facts
    plain, seeded = (
        ask(papers["kotar-2021"], Evidence({"figure4": frame}, facts)) for frame in (one, pd.concat(seeds[::-1]))
    )
    for a, b in zip(plain, seeded, strict=True):
        if a.claim.name == "seeds":
            assert (a.answer.n, b.answer.n) == (0, 19)
        else:
            assert (a.answer.verdict, a.answer.n) == (b.answer.verdict, b.answer.n)
            assert b.answer.estimate == pytest.approx(a.answer.estimate, nan_ok=True) if a.answer.estimate else True
    assert sum(one.answer.verdict != UNTOLD for one in plain) >= 5


def test_where_nothing_is_planted_little_is_found(papers):
    found = [asked(papers, "structural-gains-more", study(seed)) for seed in range(20)]
    assert found.count(UNTOLD) >= 17  # 5 % either way, +- what twenty studies give


def test_the_command_prints_answers_and_takes_names(capsys):
    assert main(["paper", "claims", "hammoud-2024", "--claim", "diversity,places-exception", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["claim"] for row in found["claims"]] == ["diversity", "places-exception"]
    assert found["claims"][0]["answer"] == HOLDS
    assert main(["paper", "claims", "hammoud-2024", "--claim", "diversity"]) == 0
    assert "HOLDS" in capsys.readouterr().out
    assert main(["paper", "claims", "hammoud-2024", "--claim", "none"]) == 2
    assert main(["paper", "claims", "hammoud"]) == 2
    assert "hammoud-2024" in capsys.readouterr().err
    assert main(["paper", "claims"]) == 2


def test_every_analysis_is_some_papers_or_says_whose_question_it_answers(papers):
    drawn = {part.analysis for paper in papers.values() for part in paper.parts if part.analysis}
    page = (ROOT / "docs" / "analyses.md").read_text(encoding="utf-8")
    section = page.split("## Whose question")[1].split("\n## ")[0]
    said = {line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| ")} - {"analysis"}
    every = {entry.name for entry in registry.entries("analyses") if entry.is_built_in}
    assert drawn | said == every
    assert not drawn & said


@pytest.mark.parametrize("name", NAMES)
def test_every_result_of_a_paper_is_a_part_or_says_why_not(papers, name):
    """Tables and figures as their numbers count them: none is passed over in silence."""
    wanted = {
        "kotar-2021": {f"Table {k}" for k in (1, 2, 3)} | {f"Figure {k}" for k in (*range(3, 8), 13, 14, 15, 16)},
        "cole-2022": {"Table 1", "Table 2", "Table 3", "Table A1", "Table A2", "Table A3"}
        | {f"Figure {k}" for k in (1, 2, 3, 4, 5, "A1", "A2", "A3", "A4", "A5")},
        "hammoud-2024": {f"Table {k}" for k in range(1, 6)}
        | {"Figure 3", "Figure 4"}
        | {f"Supplementary Table {k}" for k in range(1, 5)},
        "chen-2020": {f"Table {k}" for k in range(1, 9)}
        | {f"Table {k}" for k in ("B.2", "B.3", "B.4", "B.5", "C.1")}
        | {
            "Figure 1",
            "Figure 5",
            "Figure 7",
            "Figure 8",
            "Figure 9",
            "Figure B.1, Table B.1",
            "Figure B.3",
            "Figure B.4",
            "Figures B.5 and B.6",
            "Figures B.7 to B.9",
        },
    }[name]
    parts = papers[name].parts
    assert wanted <= {part.where for part in parts}
    assert all(bool(part.analysis) != bool(part.why_not) for part in parts)


def test_diversity_is_asked_of_a_sets_own_task(papers):
    """Where a scale says which set a task is of, encoders of other sets are no part of its curves."""
    rows = [
        ("cifar10", 5_000, "simclr-cifar-10", 0.40), ("cifar10", 50_000, "simclr-cifar-10", 0.50),
        ("cifar10", 5_000, "hammoud-tiny-imagenet", 0.09), ("cifar10", 50_000, "hammoud-tiny-imagenet", 0.08),
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["dataset", "dataset_size", "task", "score"])
    frame = frame.assign(method="simclr", unit="fraction")
    paper = papers["hammoud-2024"]
    claim = next(one for one in paper.claims if one.name == "diversity")
    assert claim.test(Evidence({"table1": frame}, paper.scale("photos").facts)).verdict == HOLDS
    assert claim.test(Evidence({"table1": frame})).verdict == FAILS


def test_gains_diminish_where_sets_have_other_sizes(papers):
    rows = [("A", "a", n, score) for n, score in ((10, 0.1), (20, 0.3), (40, 0.4))]
    rows += [("B", "b", n, score) for n, score in ((5, 0.2), (15, 0.5), (30, 0.595))]
    frame = pd.DataFrame(rows, columns=["dataset", "task", "dataset_size", "score"])
    frame = frame.assign(role="self-supervised", method="simclr", unit="fraction", encoder=[f"e{k}" for k in range(6)])
    claim = next(one for one in papers["cole-2022"].claims if one.name == "diminishing")
    found = claim.test(Evidence({"table2": frame}, {"home": {"a": "A", "b": "B"}}))
    assert (found.verdict, found.n) == (HOLDS, 2)
    assert 0 < found.low <= found.estimate <= found.high
    half = next(one for one in papers["cole-2022"].claims if one.name == "half-is-enough")
    found = half.test(Evidence({"table2": frame}, {"home": {"a": "A", "b": "B"}}))
    assert found.n == 2
    assert found.estimate == pytest.approx((0.1 + 0.095) / 2)

"""Every analysis on tables as people bring them: it ends with a result or a sentence, and one oddity costs itself alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from virb import registry
from virb.cli import main
from virb.figures import plots
from virb.figures.analysing import AnalysisRun, Outputs, run_by_name
from virb.figures.fonts import spell_out
from virb.scores.layout import complete_part
from virb.scores.read import read_scores

METHODS = ("simclr", "moco", "supervised")


def study(n_encoders: int = 12, n_tasks: int = 8, **columns: Callable[[int], object]) -> pd.DataFrame:
    """A table without roles on which some fifteen analyses run; ``columns`` say more about encoder k."""
    rows = []
    for k in range(n_encoders):
        about = {
            "method": METHODS[2 if k == 0 else k % 2],
            "dataset": "ab"[k // 4 % 2],
            "dataset_size": (100, 300, 1000)[k % 3],
            "epochs": 10 + k // 3 % 2,
            **{name: value(k) for name, value in columns.items()},
        }
        for j in range(n_tasks):
            score = 0.4 + 0.02 * k + 0.01 * j + 0.05 * ((7 * k + 3 * j) % 11) / 11
            rows.append({"encoder": f"e{k}", "task": f"t{j}", "score": round(score, 4), **about})
    return pd.DataFrame(rows)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are drawn and not written: writing takes longer than everything else."""

    def drawn(self: Outputs, figure: object, part: str = "") -> None:
        spell_out(figure)  # type: ignore[arg-type]
        figure.canvas.draw()  # type: ignore[attr-defined]
        plots.close(figure)  # type: ignore[arg-type]

    monkeypatch.setattr(Outputs, "figure", drawn)


def run_all(
    frame: pd.DataFrame, folder: Path, names: list[str] | None = None, **options: str
) -> dict[str, AnalysisRun]:
    folder.mkdir(exist_ok=True)
    frame.to_csv(folder / "s.csv", index=False)
    scores = read_scores(folder / "s.csv")
    chosen = {"resamples": "50", **options}
    return {name: run_by_name(name, scores, folder / "out", chosen) for name in names or registry.names("analyses")}


def done(runs: dict[str, AnalysisRun]) -> set[str]:
    assert {name: run.reason for name, run in runs.items() if run.status == "failed"} == {}
    return {name for name, run in runs.items() if run.status == "done"}


def lines(run: AnalysisRun) -> str:
    return " ".join(run.lines)


@pytest.mark.slow
def test_one_oddity_costs_no_analysis(tmp_path: Path) -> None:
    whole = study()
    expected = done(run_all(whole, tmp_path / "whole"))
    assert len(expected) >= 13
    missing = whole[(whole["encoder"] != "e4") | (whole["task"] != "t5")]
    runs = run_all(missing, tmp_path / "missing")
    assert done(runs) == expected
    assert all("e4 on t5" in lines(runs[name]) for name in ("correlation", "encoder-bars", "rank-stability"))
    constant = whole.assign(score=whole["score"].where(whole["task"] != "t7", 1.0))
    runs = run_all(constant, tmp_path / "constant")
    assert done(runs) == expected
    assert "t7" in lines(runs["correlation"])
    names = {"e3": "net$\\frac$", "t2": "$t$_", "moco": "mo$co^", "t3": "猫", "e5": "a_b^c"}
    assert done(run_all(whole.replace(names), tmp_path / "dollar")) == expected


ODD = st.sampled_from(["$a_{", "x^2$", "猫", "-", "'", 'quo"te', "a,b", "0", "None", "1.10", "Residual", "task", "f0"])


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Small studies with odd names, missing cells, constant tasks, empty and mixed columns, in any order."""
    n_encoders, n_tasks = draw(st.integers(1, 7)), draw(st.integers(1, 4))
    encoders = draw(
        st.lists(ODD | st.text("ab", min_size=1, max_size=3), min_size=n_encoders, max_size=n_encoders, unique=True)
    )
    tasks = draw(st.lists(ODD, min_size=n_tasks, max_size=n_tasks, unique=True))
    scores = st.sampled_from([0.1, 0.25, 0.5, 0.5, 0.75])
    values = st.sampled_from(["", "", "a", "b", "100", "1e3", "all", "0", "simclr", "a+b", "$"])
    columns = draw(
        st.lists(
            st.sampled_from(["method", "dataset", "dataset_size", "epochs", "corruption", "batch_size", "parts", "balance",
                             "resized", "augmentation_a", "augmentation_b", "head", "head_dim", "a b", "C(x)"]),
            max_size=6, unique=True,
        )
    )  # fmt: skip
    roles = st.sampled_from(["", "unknown", "supervised", "self-supervised", "self-supervised", "baseline"])
    has_roles = draw(st.booleans())
    rows = []
    for encoder in encoders:
        about = {column: draw(values) for column in columns}
        if has_roles:
            about["role"] = draw(roles)
        rows += [
            {"encoder": encoder, "task": task, "score": draw(scores), **about}
            for task in tasks
            if draw(st.integers(0, 9)) or len(rows) == 0
        ]
    frame = pd.DataFrame(rows)
    order = draw(st.permutations(range(len(frame))))
    return frame.iloc[order][draw(st.permutations(list(frame.columns)))]


PHASES = [phase for phase in Phase if phase not in (Phase.shrink, Phase.explain)]  # a table fails in a second or two
FAST = [
    "anova", "augmentation-matrix", "batch-epochs", "best-vs-supervised", "budget", "catalogue", "corruption-deltas",
    "critical-difference", "domain-matrix", "encoder-bars", "fusion-gain", "matched-pairs", "method-difference",
    "noise-layers", "normalised-violins", "pooling", "projection-heads", "rank-stability", "setting-change", "size-curves",
    "task-scatter", "task-tree", "correlation", "predictive-subset", "detectable-effects", "distance-transfer",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.long) for part in (1, 2, 3))])
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(frame=tables())
def test_any_table_ends_with_a_result_or_a_sentence(
    part: int, frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> None:
    runs = run_all(frame, tmp_path_factory.mktemp("odd"), FAST[part::4])
    done(runs)
    assert all(len(run.reason) > 15 for run in runs.values() if run.status == "skipped")


@settings(max_examples=50, deadline=None)
@example([[True]])
@given(
    st.integers(1, 6).flatmap(
        lambda n: st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=1, max_size=6)
    )
)
def test_what_is_kept_is_complete_and_nothing_is_lost_for_nothing(known: list[list[bool]]) -> None:
    wide = pd.DataFrame(np.where(known, 1.0, np.nan))
    kept = complete_part(wide)
    assert kept.notna().to_numpy().all()
    whole_rows = wide.dropna().index
    if len(whole_rows) == len(wide):
        assert kept.shape == wide.shape
    assert kept.size or not wide.notna().to_numpy().any()


def test_a_factor_that_some_lack_is_analysed_on_those_that_have_it(tmp_path: Path) -> None:
    frame = study(made_on=lambda k: f"day{k}", size=lambda k: "" if k == 4 else (100, 1000)[k // 2 % 2])
    run = run_all(frame, tmp_path, ["anova"], factors="method,size,made_on")["anova"]
    assert "left out, size being unknown: e4" in lines(run)
    assert "made_on is left out: with its 11 levels nothing of 11 encoders is left" in lines(run)
    terms = set(pd.read_csv(tmp_path / "out" / "anova.csv")["term"])
    assert terms == {"task", "method", "size", "Residual"}
    members = pd.read_csv(tmp_path / "out" / "anova-encoders.csv")
    assert set(members["encoder"]) == {f"e{k}" for k in range(12)} - {"e4"}
    assert set(members["role"]) == {"unknown"}


def test_a_usual_factor_that_is_left_out_is_named(tmp_path: Path) -> None:
    frame = study(dataset_size=lambda k: "" if k == 4 else 100 * (1 + k % 2), epochs=lambda k: 10)
    run = run_all(frame, tmp_path, ["anova"])["anova"]
    assert "dataset_size is left out: 1 of 12 encoders have none" in lines(run)
    assert "epochs is left out: all encoders have the same (10)" in lines(run)


@pytest.mark.parametrize(
    "name",
    [
        'a") + C(method.where(__import__("os").mkdir("started").__str__().__len__()>0)) + Q("a',
        "__import__('os').mkdir('started')",
        "size of the batch",
        "C(method)",
        "task",
    ],
)
def test_a_columns_name_is_never_code(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    column = f"{name} " if name == "task" else name  # a second column of that name is refused at the door
    frame = study(**{column.strip() + "x" if name == "task" else column: lambda k: "uv"[k // 3 % 2]})
    asked = column.strip() + "x" if name == "task" else column
    runs = run_all(frame, tmp_path, ["anova"], factors=f"method,{asked}" if "," not in asked else asked)
    assert runs["anova"].status in ("done", "skipped"), runs["anova"].reason
    assert not (tmp_path / "started").exists()
    if runs["anova"].status == "done":
        assert asked in set(pd.read_csv(tmp_path / "out" / "anova.csv")["term"])


@pytest.mark.parametrize("value", ["all", "0", "-3"])
@pytest.mark.parametrize("name", ["budget", "size-curves"])
def test_a_word_in_a_column_of_numbers_costs_its_encoder(name: str, value: str, tmp_path: Path) -> None:
    frame = study(dataset_size=lambda k: value if k == 5 else (100, 300, 1000)[k % 3])
    runs = run_all(frame, tmp_path, [name])
    assert done(runs) == {name}
    assert "e5" in lines(runs[name])
    assert "e5" not in (tmp_path / "out" / f"{name}.csv").read_text()


def test_encoders_of_no_known_family_move_alone(tmp_path: Path) -> None:
    frame = study(8, 4, method=lambda k: ["simclr", "simclr", "moco", "moco", "byol", "byol", "", ""][k])
    run = run_all(frame, tmp_path, ["correlation"], family="method")["correlation"]
    assert run.status == "done"
    assert "leaving out each of 5 families (method)" in lines(run)
    assert "e6 and e7: each is a family of its own" in lines(run)


def test_coles_table_is_taken_with_its_empty_cells(tmp_path: Path) -> None:
    """An in-domain encoder is printed with the one score that the table needs of it."""
    rows = [("a+b", "200", t, s) for t, s in (("a", 0.5), ("b", 0.6))]
    rows += [("a", "200", "a", 0.55), ("b", "200", "b", 0.65), ("a", "100", "a", 0.45)]
    frame = pd.DataFrame(
        [(f"{d}-{n}", t, s, d, n) for d, n, t, s in rows],
        columns=["encoder", "task", "score", "dataset", "dataset_size"],
    )
    run = run_all(frame, tmp_path, ["pooling"])["pooling"]
    assert run.status == "done"
    assert "pooled sets beat in-domain data of the same size in 0 of 2 cases" in lines(run)
    assert "pooled sets beat the in-domain part alone in 1 of 1 cases" in lines(run)


def test_figures_that_use_a_role_list_its_members(tmp_path: Path) -> None:
    roles = {0: "supervised", 1: "baseline", 2: "unknown"}
    frame = study(role=lambda k: roles.get(k, "self-supervised"))
    names = ["best-vs-supervised", "normalised-violins", "method-difference", "critical-difference", "domain-matrix"]
    assert done(run_all(frame, tmp_path, names)) == set(names)
    for name in names:
        text = (tmp_path / "out" / f"{name}.csv").read_text()
        assert "e3" in text
        if name != "critical-difference":
            assert "e1," not in text.replace("e1 +", "e1,")
            assert "e2," not in text.replace("e2 +", "e2,")
    ranks = pd.read_csv(tmp_path / "out" / "critical-difference.csv").set_index("encoder")["role"]
    assert (ranks["e1"], ranks["e2"]) == ("baseline", "unknown")


@pytest.mark.slow
def test_options_of_all_and_of_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = study()
    frame[(frame["encoder"] != "e4") | (frame["task"] != "t5")].to_csv(tmp_path / "s.csv", index=False)
    source = ["--results", str(tmp_path / "s.csv"), "--exclude", "e1", "--select", "dataset=a"]
    call = ["analyze", "all", *source, "--out", str(tmp_path / "o"), "--option", "missing=drop-tasks", "--json"]
    assert main(call) == 0
    printed = capsys.readouterr()
    runs = {run["name"]: run for run in json.loads(printed.out)}
    assert "note: left out as asked: 5 encoders (e1, e4, e5, e6 and e7)" in printed.err
    assert runs["encoder-bars"]["status"] == "done"
    call = ["report", *source[:4], "--out", str(tmp_path / "r"), "--analyses", "rank-stability", "--date", ""]
    assert main([*call, "--option", "missing=drop-tasks"]) == 0
    page = (tmp_path / "r" / "index.html").read_text()
    assert "missing: t5 (e4 on t5)" in page
    assert "Left out as asked: 1 encoder (e1)." in page
    assert "--option missing=drop-tasks" in page
    assert main([*call, "--option", "mising=drop-tasks"]) == 2
    assert "Did you mean 'missing'?" in capsys.readouterr().err


def test_where_all_score_the_same_nobody_leads(tmp_path: Path) -> None:
    """Ranks, strengths and axes of nothing: a leader by the alphabet, a nan, and an SVD that did not converge."""
    names = ["rank-stability", "paired-model", "factors", "critical-difference", "aggregate", "decide"]
    runs = run_all(study().assign(score=0.5), tmp_path, names)
    assert {name: (run.status, run.reason) for name, run in runs.items()} == dict.fromkeys(
        names, ("skipped", "On every task all encoders score the same.")
    )

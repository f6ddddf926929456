"""A paper is run from nothing to its page; what is there is kept, what is missing is named, and costs are what docs say."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from virb import registry
from virb.cli import main
from virb.contracts.examples import DataContext
from virb.evaluation.status import INCOMPLETE, Status
from virb.papers import status
from virb.papers.cost import evaluation_cost, gflops, images_seen, pretraining_hours
from virb.papers.status import HERE, MISSING, TO_FETCH, TO_MAKE, look


def tasks(suite: str):
    return registry.load_all([entry for entry in registry.entries("tasks") if entry.group == suite])[0]


def test_the_papers_grid_costs_what_the_page_on_scaling_says():
    found = evaluation_cost(35, tasks("virb"), card_name="one H100", embedding=2048, input_px=224)
    assert found.jobs == 735
    assert found.evaluate_hours == pytest.approx(14, abs=1.5)  # docs/scaling.md, without the pixelwise heads
    assert found.decoder_examples / 35 == pytest.approx(6.2e6, rel=0.1)
    assert found.head_steps / 35 == pytest.approx(1.6e6, rel=0.1)
    twice = evaluation_cost(35, tasks("virb"), card_name="one H100", embedding=2048, input_px=224, seeds=2)
    assert (twice.jobs, twice.head_steps, twice.forward_passes) == (2 * 735, 2 * found.head_steps, found.forward_passes)


def test_pretraining_counts_images_by_budget_or_epochs():
    assert images_seen({"budget": 60_000}, None) == 60_000
    assert images_seen({"epochs": 2.5}, 100) == 250
    assert images_seen({"epochs": 2.5}, None) is None
    mini = {"arch": "resnet18", "arch_options": {"width": 0.25}, "size": 64, "view_size": 48}
    assert pretraining_hours(mini, 120_000, "two cores") == pytest.approx(114 / 3600 / 2, rel=0.02)  # docs/study.md
    assert gflops({"arch": "resnet50", "size": 224, "arch_options": {"width": 2.0}}) == pytest.approx(4 * 4.1)


def test_status_of_the_mini_world_renders_nothing(tmp_path, capsys):
    assert main(["paper", "status", "kotar-2021", "--scale", "mini", "--out", str(tmp_path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    states = {one["encoder"]: one["state"] for one in said["encoders"]}
    assert set(states.values()) == {TO_MAKE}
    n_tasks = len(said["tasks"])
    assert said["jobs_left"] == said["total"]["jobs"] == 42 * n_tasks
    assert 0.5 < said["total"]["pretrain_hours"] < 1.5
    by_part = {one["part"]: one for one in said["parts"]}
    assert by_part["figure3"]["can_run"]
    assert not by_part["table2"]["can_run"]
    assert not by_part["cka"]["can_run"]


def test_status_says_what_is_missing_and_where_to_get_it(tmp_path):
    context = DataContext(root=None)
    state = look(registry.load("papers", "kotar-2021"), "full", context, tmp_path)
    assert state.encoders["SwAV ImageNet 800"].state in (TO_FETCH, HERE)
    assert state.encoders["MoCov2+MultiCrop"].state == MISSING
    assert all(
        "obtain" in one.reason or "get it" in one.reason for one in state.tasks.values() if one.state == "absent"
    )
    assert all(one.reason for one in state.parts if not one.tasks)
    assert state.jobs_left == 0 < state.total.jobs
    cole = look(registry.load("papers", "cole-2022"), "full", context, tmp_path, ("table1",))
    assert {one.state for one in cole.encoders.values()} == {MISSING}
    assert "inat21/train" in cole.encoders["SimCLR iNat21 1M"].how


def test_a_scale_of_parts_of_sets_takes_them_where_they_lie_and_says_how_much_is_there(tmp_path, monkeypatch, capsys):
    """Tiny ImageNet's fifth lies in a folder of its own name; a set of which a split cannot be listed is none."""
    asked = []

    def data_status(task, context):
        asked.append((task.name, context.place("tiny-imagenet").name))
        counts = {"train": 20, "test": 2} if task.name != "camvid" else {"train": 5}
        return Status(task.name, INCOMPLETE, counts, dict(task.n_examples), "train has 20 examples; expected 100,000.")

    monkeypatch.setattr(status, "data_status", data_status)
    (tmp_path / "tiny-imagenet-32").mkdir()
    argv = [
        "paper",
        "status",
        "kotar-2021",
        "--scale",
        "photos",
        "--data",
        str(tmp_path),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert "of another size than published, and used: hammoud-tiny-imagenet: train has 20 examples" in said
    assert "incomplete: camvid" in said
    assert {place for _, place in asked} == {"tiny-imagenet-32"}
    assert main([*argv, "--data", f"tiny-imagenet={tmp_path}"]) == 0  # what the user says goes before
    assert asked[-1][1] == tmp_path.name
    capsys.readouterr()
    kotar = registry.load("papers", "kotar-2021")
    full = look(kotar, "full", DataContext(root=tmp_path), tmp_path / "out", ("figure4",))
    assert {one.state for one in full.tasks.values()} == {INCOMPLETE}
    assert kotar.scale("photos").placed(DataContext(root=tmp_path / "out")).places == {}


CUT = ["paper", "run", "chen-2020", "--scale", "mini", "--part", "table4", "--encoder", "simclr,simclr-margin", "--limit", "24", "--epochs", "1"]  # fmt: skip


@pytest.mark.slow
def test_a_cut_run_goes_from_nothing_to_the_page_and_does_nothing_twice(tmp_path, capsys):
    call = [*CUT, "--budget", "128", "--out", str(tmp_path), "--json"]
    assert main(call) == 0
    first = capsys.readouterr()
    said = json.loads(first.out)
    assert said["drawn"]["table4"]["status"] == "done"
    assert said["failures"] == []
    assert "2 jobs run" in first.err
    out = tmp_path / "cut-128"
    page = (out / "chen-2020" / "index.html").read_text(encoding="utf-8")
    assert "a trial, no result" in page
    assert "of the mini world" in page
    known = pd.read_csv(out / "chen-2020" / "encoders.csv")
    assert sorted(known["member"]) == ["SimCLR Margin", "SimCLR NT-Xent"]
    claims = pd.read_csv(out / "chen-2020" / "claims.csv").query("numbers == 'ours'").set_index("claim")
    assert claims.loc["nt-xent", "n"] == 1  # of one other loss
    assert claims.loc["depth", "answer"] == "cannot be told"
    assert main(call) == 0
    assert "0 jobs run, 2 there already" in capsys.readouterr().err
    assert (
        main(["paper", "claims", "chen-2020", "--scale", "mini", "--results", str(out), "--claim", "nt-xent", "--json"])
        == 0
    )
    assert "2 of " in json.loads(capsys.readouterr().out)["of"]


def test_what_cannot_run_is_refused_with_its_reason(tmp_path, capsys):
    assert main(["paper", "run", "cole-2022", "--out", str(tmp_path), "--part", "table1"]) == 2
    assert "Nothing of cole-2022 can run" in capsys.readouterr().err
    assert (
        main(
            [
                "paper",
                "run",
                "chen-2020",
                "--scale",
                "mini",
                "--out",
                str(tmp_path),
                "--part",
                "table4",
                "--encoder",
                "nobody",
            ]
        )
        == 2
    )
    assert "no encoder 'nobody'" in capsys.readouterr().err
    assert main(["paper", "status", "chen-2020", "--part", "table99"]) == 2


def test_a_paper_of_ones_own_starts_sound_and_says_which_sentence_holds(tmp_path, capsys):
    assert main(["new", "paper", "my-paper", "--out", str(tmp_path / "parts")]) == 0
    assert main(["validate", str(tmp_path / "parts" / "my_paper.py")]) == 0
    capsys.readouterr()
    include = ["--include", str(tmp_path / "parts")]
    assert main(["paper", "claims", "my-paper", *include, "--json"]) == 0
    before = json.loads(capsys.readouterr().out)["claims"]
    assert {one["answer"] for one in before} == {"cannot be told"}
    tasks = ("mini-digits", "mini-scene", "mini-object-class", "mini-material")
    level = {"simclr-objects": 0.5, "supervised-objects": 0.6, "random": 0.3}
    rows = [
        {"encoder": encoder, "task": task, "score": value + 0.01 * k, "identity": encoder}
        for encoder, value in level.items()
        for k, task in enumerate(tasks)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "scores.csv", index=False)
    assert main(["paper", "claims", "my-paper", *include, "--results", str(tmp_path / "scores.csv"), "--json"]) == 0
    found = {one["claim"]: one for one in json.loads(capsys.readouterr().out)["claims"]}
    assert (found["beats-untrained"]["answer"], found["beats-untrained"]["n"]) == ("holds", 4)
    assert found["objects-most"]["answer"] == "cannot be told"

"""Arguments that are wrong: what was meant is said, and the help of the verb that they were given to."""

from __future__ import annotations

import pytest

from virb.cli import build_parser, main
from virb.cli.pretrain import _line
from virb.contracts.examples import DataContext
from virb.errors import DataError, UsageError
from virb.networks.backbones import canonical_architecture
from virb.pretraining.runs import Made
from virb.pretraining.sources import load


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("evalute x", "Did you mean evaluate? See: virb --help"),
        ("evaluate x --taks y", "virb evaluate: unknown: --taks y. Did you mean --tasks? See: virb evaluate --help"),
        ("results shw", "Did you mean show? See: virb results --help"),
        ("evaluate x --tasks", "expected one argument. See: virb evaluate --help"),
        ("report --results x --zzz", "virb report: unknown: --zzz. See: virb report --help"),
        ("evaluate x --executor", "virb evaluate: argument --executor: expected one argument."),
    ],
)
def test_what_was_meant_is_said_with_the_verbs_own_help(call, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(call.split())
    assert stopped.value.code == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (["evaluate", "x", "--tasks", ""], "virb evaluate: --tasks is empty, as an unset variable"),
        (["evaluate", "x", "--out="], "virb evaluate: --out is empty"),
        (["evaluate", " ", "--quiet"], "virb evaluate: an argument is empty"),
        (["report", "--results", "x", "--date", "", "--out", ""], "virb report: --out is empty"),
        (["analyze", "all", "--results", ""], "virb analyze: --results is empty"),
    ],
)
def test_what_an_unset_variable_of_the_shell_leaves_is_no_value(call, said, capsys):
    """It stood for the default: all of a suite, or the folder where one is."""
    with pytest.raises(SystemExit) as stopped:
        main(call)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
    assert build_parser().parse_args(["analyze", "all", "--results", "x", "--option", "title="]).option == ["title="]


@pytest.mark.parametrize(
    ("call", "name", "expected"),
    [
        ("results export --results R x.csv", "files", ["x.csv"]),
        ("results export x.csv --results R", "files", ["x.csv"]),
        ("evaluate a.pt --tasks t b.pt", "encoders", ["a.pt", "b.pt"]),
        ("evaluate --tasks t a.pt b.pt", "encoders", ["a.pt", "b.pt"]),
        ("validate --images 4 one two", "tasks", ["one", "two"]),
    ],
)
def test_files_may_stand_before_and_behind_options(call, name, expected):
    assert getattr(build_parser().parse_args(call.split()), name) == expected


def test_a_place_that_no_task_reads_is_named_with_what_was_meant(tmp_path):
    context = DataContext(root=tmp_path, places={"flowrs": tmp_path, "cars": tmp_path})
    assert context.unread() == []  # nothing was asked for yet
    context.place("flowers")
    first, second = context.unread()
    assert "flowrs" in first
    assert "did you mean flowers?" in first
    assert "what was read is called flowers" in second
    context.place("cars")
    assert len(context.unread()) == 1


def test_an_architecture_with_options_is_explained():
    with pytest.raises(UsageError, match=r"--arch resnet18 --arch-option width=0\.25 --arch-option stem=cifar"):
        canonical_architecture("resnet18:width=0.25,stem=cifar")


def test_a_count_behind_one_set_is_explained():
    with pytest.raises(DataError, match="--data world-objects --limit 200"):
        load("world-objects:200")


def test_whole_batches_that_end_before_the_epoch_are_explained(tmp_path):
    meta = {"method": "simclr", "dataset": "photos", "dataset_size": 360, "epochs": 0.7111, "images_seen": 256, "steps": 1,
            "batch_size": 256, "seconds": 1.0, "training": {"epochs": 1.0}}  # fmt: skip
    assert "(batches are whole: 1 updates of 256 fit into 1 epochs)" in _line(Made(tmp_path / "a.pt", True, meta))
    meta |= {"epochs": 0.9956, "training": {"epochs": 1.0}}
    assert "batches are" not in _line(Made(tmp_path / "a.pt", True, meta))


NET = """import torch


class Fixed(torch.nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3))


class OfTheBatch(torch.nn.Module):
    def forward(self, x):
        x = x.mean(dim=(2, 3))
        return x - x.mean(dim=0)


def make():
    return Fixed()


def make_batch():
    return OfTheBatch()
"""


def test_an_encoder_is_validated_as_a_task_is(tmp_path, capsys):
    (tmp_path / "net.py").write_text(NET)
    assert main(["validate", f"{tmp_path / 'net.py'}:make"]) == 0
    printed = capsys.readouterr().out
    assert "checks passed" in printed
    assert "role baseline" in printed  # it has no weights
    assert main(["validate", f"{tmp_path / 'net.py'}:make_batch", "random:resnet18:width=0.125,size=32"]) == 1
    printed = capsys.readouterr().out
    assert "FAILED an image's embedding does not depend on the others" in printed
    assert main(["validate", "random:resnet19"]) == 1
    assert "FAILED it loads: Unknown architecture 'resnet19'" in capsys.readouterr().out


def test_an_encoder_that_was_not_trained_has_no_budget_and_stops_no_analysis():
    import pandas as pd

    from virb.stats.budget import budget_columns

    table = budget_columns(pd.DataFrame({"dataset_size": [0, "0", 1000.0], "epochs": [0, 0.0, 10]}))
    assert table["C"].tolist()[2] == 10_000
    assert table["C"].isna().tolist() == [True, True, False]


def test_what_a_hub_could_not_get_is_said_once(monkeypatch, caplog):
    import logging

    import timm

    from virb.convert.load import load_encoder
    from virb.errors import CheckpointError

    real = timm.create_model

    def offline(name, *, pretrained=False, **given):
        if not pretrained:
            return real(name, **given)
        for k in range(5):
            logging.getLogger("huggingface_hub.utils._http").warning("retry %d", k)
        raise OSError("no network")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(CheckpointError, match="could not be had: no network"):
        load_encoder("timm:resnet18")
    assert "retry" not in caplog.text
    logging.getLogger("huggingface_hub").warning("later")
    assert "later" in caplog.text


def test_of_a_large_cache_the_largest_entries_are_shown(monkeypatch, capsys, tmp_path):
    from virb.system import cache

    entries = [
        cache.CacheEntry(
            kind="features", what=f"set-{k}", n_images=1, n_bytes=k, last_use=0.0, is_in_use=False, path=tmp_path
        )
        for k in range(50)
    ]
    monkeypatch.setattr(cache, "entries", lambda: entries)
    assert main(["data", "cache"]) == 0
    printed = capsys.readouterr().out
    assert "the 20 largest of 50 entries" in printed
    assert "set-49" in printed
    assert "set-29" not in printed

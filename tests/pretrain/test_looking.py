"""--eval, --snapshots and --ema from the command line: what is logged, what is written, and that nothing else changes."""

from __future__ import annotations

import csv

import pytest
import torch

from virb.convert.load import read_checkpoint

TASK = """
from virb.contracts.task import Category, Protocol, Task


def data(context, split):
    import numpy as np

    from virb.contracts.examples import Examples
    from virb.images.sets import ArrayImages

    rng = np.random.default_rng(split == "train")
    label = np.arange(40) % 2
    images = rng.integers(0, 60, (40, 16, 16, 3)).astype(np.uint8) + (150 * label)[:, None, None, None].astype(np.uint8)
    return Examples(ArrayImages.of("light-" + split, images), np.arange(40)[:, None], label, [str(k) for k in range(40)])


TASK = Task(name="light", summary="s", category=Category.SEMANTIC_IMAGE, head="linear", loss="cross_entropy", metric="top1",
            data=data, classes=2, protocol=Protocol(epochs=2))
"""


@pytest.fixture
def light(tmp_path, monkeypatch):
    folder = tmp_path / "content"
    folder.mkdir()
    (folder / "light.py").write_text(TASK)
    monkeypatch.setenv("VIRB_INCLUDE", str(folder))


def test_an_end_task_is_looked_at_while_it_trains(light, virb_pretrain, images, small, tmp_path):
    base = ("supervised", "--data", images, *small, "--epochs", 2)
    status, text = virb_pretrain(*base, "--eval", "light,own", "--snapshots", "1", "--out", tmp_path / "a.pt")
    assert status == 0, text
    rows = [row for row in csv.DictReader((tmp_path / "a.run" / "log.csv").open()) if row["light"]]
    assert [float(row["epoch"]) for row in rows] == [1.0, 2.0]
    assert all(
        float(row["light"]) > 0.7 and 0 <= float(row["knn_top1"]) <= 1 for row in rows
    )  # light: it cannot miss it

    status, text = virb_pretrain(*base, "--out", tmp_path / "b.pt")
    assert status == 0, text
    with_looks, without = (read_checkpoint(tmp_path / f"{name}.pt") for name in "ab")
    assert with_looks["meta"]["run"] == without["meta"]["run"]
    for key, value in without["state_dict"].items():
        assert torch.equal(with_looks["state_dict"][key], value), key

    snapshot = read_checkpoint(tmp_path / "a-epoch1.pt")
    assert (snapshot["meta"]["epochs"], snapshot["meta"]["images_seen"], snapshot["meta"]["steps"]) == (1.0, 40, 5)
    assert snapshot["meta"]["family"] == without["meta"]["family"]
    assert snapshot["meta"]["repeat"] != without["meta"]["repeat"]  # it differs by more than the seed
    assert not torch.equal(snapshot["state_dict"]["conv1.weight"], without["state_dict"]["conv1.weight"])
    # A snapshot that is there is not written over unasked.
    (tmp_path / "a.pt").unlink()
    status, text = virb_pretrain(*base, "--snapshots", "1", "--out", tmp_path / "a.pt")
    assert (status, "a-epoch1.pt exists; pass --force" in text) == (2, True)


def test_an_average_says_that_it_is_one(virb_pretrain, images, small, tmp_path):
    out = tmp_path / "a.pt"
    base = (
        "byol",
        "--data",
        images,
        *small,
        "--option",
        "hidden_dim=16",
        "--option",
        "projection_dim=8",
        "--epochs",
        1,
    )
    status, text = virb_pretrain(*base, "--ema", "0.9", "--out", out)
    assert status == 0, text
    assert read_checkpoint(out)["meta"]["ema"] == 0.9
    status, text = virb_pretrain(*base, "--out", out, "--resume")
    assert (status, "made with other settings" in text) == (2, True)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("--eval", "lihgt"), "lihgt"),
        (("--eval", "light", "--eval-probe", "nkn"), "nkn"),
        (("--snapshots", "3"), "the run is 2 epochs, and ends before 3"),
        (("--snapshots", "2,1"), "expected epochs, ascending"),
        (("--ema", "1.5"), "--ema must be at least 0 and below 1"),
        (("--eval-epochs", "0"), "--eval-epochs must be above 0"),
    ],
)
def test_what_cannot_be_is_refused(light, virb_pretrain, images, small, tmp_path, asked, message):
    status, text = virb_pretrain("simclr", "--data", images, *small, "--epochs", 2, *asked, "--out", tmp_path / "a.pt")
    assert (status, message in text) == (2, True), text
    assert not (tmp_path / "a.run" / "log.csv").exists()


def test_the_average_of_an_average_is_refused(virb_pretrain, images, small, tmp_path):
    heads = ("--option", "hidden_dim=16", "--option", "prototypes=12")
    status, text = virb_pretrain(
        "dino", "--data", images, *small, *heads, "--epochs", 1, "--ema", 0.9, "--out", tmp_path / "a.pt"
    )
    assert (status, "what dino keeps is a moving average already" in text) == (2, True), text

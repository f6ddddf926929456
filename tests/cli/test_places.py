"""Where data lie, as people say it: relative, with a `=` in it, by the environment, from any working folder."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import virb
from virb.cli import main
from virb.cli.common import data_context
from virb.contracts.examples import DataContext
from virb.errors import UsageError

CLASSES = ("AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture", "PermanentCrop",
           "Residential", "River", "SeaLake")  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with the EuroSAT layout below data/."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        folder = tmp_path / "data" / "eurosat" / "2750" / name
        folder.mkdir(parents=True)
        for k in range(5):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{name}_{k}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


WAYS = {
    "--data data": (["--data", "data"], {}),
    "--data ./data/": (["--data", "./data/"], {}),
    "VIRB_DATA=data": ([], {"VIRB_DATA": "data"}),
    "--data eurosat=data/eurosat": (["--data", "eurosat=data/eurosat"], {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_relative_folders_work_for_every_verb(here, way, monkeypatch, capsys):
    options, env = WAYS[way]
    for key, value in env.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr("virb.evaluation.validation._trains", lambda *_: "not asked here")

    def call(*words):
        code = main([*words, *options])
        return code, capsys.readouterr().out

    _, out = call("data", "status", "eurosat", "--json")
    assert json.loads(out)[0]["counts"] == {"train": 40, "test": 10}
    _, out = call("validate", "eurosat", "--json")
    found = {row["name"]: row["is_ok"] for row in json.loads(out)}
    assert [name for name, is_ok in found.items() if not is_ok] == ["sizes are as declared"]
    if way == "--data data":
        assert call("evaluate", "pixels:4:size=8", "--tasks", "eurosat", "--probe", "knn")[0] == 0
        assert call("tune", "pixels:4:size=8", "--tasks", "eurosat", "--epochs", "1")[0] == 0


def test_python_reads_the_environment_and_text(here, monkeypatch):
    monkeypatch.setenv("VIRB_DATA", "data")
    assert len(virb.evaluate(["pixels:4:size=8"], ["eurosat"], out="a", probe="knn", device="cpu")) == 1
    monkeypatch.delenv("VIRB_DATA")
    places = DataContext(places={"eurosat": "data/eurosat"})
    assert len(virb.evaluate(["pixels:4:size=8"], ["eurosat"], data=places, out="b", probe="knn", device="cpu")) == 1
    assert len(virb.evaluate(["pixels:4:size=8"], ["eurosat"], data="data", out="c", probe="knn", device="cpu")) == 1


def test_a_folder_with_an_equals_sign_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("split=1/mine", "deep/split=2", "1", "mine"):
        (tmp_path / name).mkdir(parents=True)
    assert data_context([str(tmp_path / "split=1")]).root == tmp_path / "split=1"
    assert data_context(["deep/split=2"]).root == tmp_path / "deep" / "split=2"
    assert data_context(["./split=1"]).root == tmp_path / "split=1"
    assert data_context(["set=split=1/mine"]).places == {"set": tmp_path / "split=1" / "mine"}
    assert data_context(["split=1"]).places == {"split": tmp_path / "1"}  # both are folders: a name and a place
    (tmp_path / "1").rmdir()
    assert data_context(["split=1"]).root == tmp_path / "split=1"
    for wrong in ("split=3", "mine=", "=mine", "deep/split=3", "nothing"):
        with pytest.raises(UsageError, match="there is no folder"):
            data_context([wrong])
    with pytest.raises(UsageError, match="names two folders"):
        data_context(["mine", "deep"])

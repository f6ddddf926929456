"""Analyses that run encoders, on a GPU: the CPU's numbers, and no pass where the features are in the cache."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from virb import registry
from virb.cli import main
from virb.networks.encoder import FrozenEncoder

ENCODERS = "random:resnet18:width=0.125,size=32"


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("photos", "others"):
        (tmp_path / kind).mkdir()
        for k in range(40):
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(tmp_path / kind / f"{k}.png")
    return tmp_path


@pytest.mark.parametrize("name", ["cka", "spectrum", "image-distance", "pretext-labels"])
def test_an_analysis_gives_the_cpus_numbers(card, photos, monkeypatch, name):
    analysis = registry.load("analyses", name)
    of = {"images": str(photos / "photos"), "sets": (str(photos / "photos"), str(photos / "others"))}
    given = {key: value for key, value in of.items() if key in {option.name for option in analysis.options}}
    found = {}
    for place in ("cpu", card):
        monkeypatch.setenv("VIRB_CACHE", str(photos / f"cache-{place}"))
        found[place] = analysis.tables(None, encoders=(ENCODERS,), device=place, **given)
    for part, table in found["cpu"].items():
        numbers = table.select_dtypes("number")
        assert len(numbers.columns)
        np.testing.assert_allclose(found[card][part][numbers.columns], numbers, rtol=1e-3, atol=1e-4)


def test_embeddings_are_computed_once(card, photos, monkeypatch, capsys):
    looked = []
    run = FrozenEncoder._run
    monkeypatch.setattr(
        FrozenEncoder, "_run", lambda self, *given: looked.append(self.device.type) or run(self, *given)
    )
    call = ["analyze", "spectrum", "--option", f"encoders={ENCODERS};", "--option", f"images={photos / 'photos'}"]
    for n_passes in (1, 1):
        assert main([*call, "--device", card, "--out", str(photos / "out")]) == 0
        assert looked == [card] * n_passes
    assert "effective rank" in capsys.readouterr().out


def test_a_device_is_for_analyses_that_run_encoders(tmp_path, capsys):
    (tmp_path / "scores.csv").write_text("encoder,task,score\na,t,1\nb,t,2\n")
    call = ["analyze", "correlation", "--results", str(tmp_path / "scores.csv"), "--out", str(tmp_path / "out")]
    assert main([*call, "--device", "cpu"]) != 0
    assert "device" in capsys.readouterr().err

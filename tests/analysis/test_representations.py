"""Analyses that look at images through encoders, through the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from virb.cli import main

ENCODERS = "encoders=random:resnet18:width=0.25,size=32;pixels:4:size=32"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for kind, side in (("photos", 4), ("noise", 32)):
        (tmp_path / kind / "inner").mkdir(parents=True)
        for k in range(40):
            image = Image.fromarray(rng.integers(0, 255, (side, side, 3)).astype(np.uint8)).resize((32, 32))
            image.save(tmp_path / kind / "inner" / f"{k}.png")
    return tmp_path


def run(name: str, out: Path, *options: str) -> int:
    pairs = [part for option in options for part in ("--option", option)]
    return main(["analyze", name, "--out", str(out), *pairs])


def test_cka_of_layers_and_encoders(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = photos / "out"
    assert run("cka", out, ENCODERS, f"images={photos / 'photos'}", "batch=8") == 0
    assert "mean CKA between different layers" in capsys.readouterr().out
    table = pd.read_csv(out / "cka.csv")
    same = table[(table["encoder_a"] == table["encoder_b"]) & (table["layer_a"] == table["layer_b"])]
    np.testing.assert_allclose(same["cka"], 1, atol=1e-5)
    assert (table["low"] <= table["cka"] + 1e-6).all()
    # The pixels are the same whichever encoder they are for.
    pixels = table[(table["layer_a"] == "pixels") & (table["layer_b"] == "pixels")]
    assert len(pixels) == 3
    for part in ("layers", "encoders", "pairs"):
        assert (out / f"cka-{part}.png").stat().st_size > 1000


def test_distances_between_image_sets(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = photos / "out"
    sets = f"sets={photos / 'photos'},{photos / 'noise'}"
    assert run("image-distance", out, ENCODERS, sets) == 0
    assert "fewer images than its" in capsys.readouterr().out
    table = pd.read_csv(out / "image-distance.csv")
    assert (table[["fid", "visual_dna"]] > 0).all(axis=None)
    layers = pd.read_csv(out / "image-distance-layers.csv")
    own = layers[layers["encoder"].str.startswith("random")]
    # Eight residual blocks of 16 to 128 channels and the embedding; their mean is over neurons, not over layers.
    assert own["n_neurons"].tolist() == [16, 16, 32, 32, 64, 64, 128, 128, 128]
    whole = table[table["encoder"].str.startswith("random")].iloc[0]
    assert whole["visual_dna"] == pytest.approx(np.average(own["visual_dna"], weights=own["n_neurons"]))
    assert run("image-distance", out, ENCODERS, sets, "neurons=embedding") == 0
    last = pd.read_csv(out / "image-distance.csv").iloc[0]
    # Read alone, an activation may differ in its last bit, and at a bin's edge it then counts for the next bin.
    assert last["visual_dna"] == pytest.approx(own["visual_dna"].iloc[-1], rel=1e-3)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("random:resnet50:width=0.25,size=32", [64] * 3 + [128] * 4 + [256] * 6 + [512] * 4),
        ("random:vit_tiny_patch16:image_size=32,depth=3,size=32", [192] * 4),
        ("random:torchvision:convnext_tiny:size=32", [96] * 3 + [192] * 3 + [384] * 9 + [768] * 4),
        ("pixels:4:size=32", [3, 3, 3, 3, 3, 48]),
    ],
)
def test_blocks_are_those_of_the_network_with_every_position(name: str, channels: list[int]) -> None:
    from virb.convert.load import load_encoder
    from virb.features.activations import watch_blocks
    from virb.images.sets import ArrayImages

    pixels = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3)).astype(np.uint8)
    seen: dict[str, list[np.ndarray]] = {}
    encoder = load_encoder(name)
    watch_blocks(
        encoder, ArrayImages.of("noise", pixels), lambda k, a: seen.setdefault(k, []).append(a.copy()), batch=2
    )
    assert [v[0].shape[1] for v in seen.values()] == channels
    assert list(seen)[-1] == "embedding"
    assert all(len(v) == 2 and len(v[0]) == 2 * len(v[1]) for v in seen.values())
    if name.startswith("random:resnet50"):
        # The last block's mean over positions is the embedding.
        last = seen["block15"][1]
        np.testing.assert_allclose(last.mean(axis=0), seen["embedding"][1][0], rtol=1e-4, atol=1e-5)


def test_a_probe_finds_what_was_done_to_the_image(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = photos / "out"
    assert run("pretext-labels", out, "encoders=pixels:4:size=16", f"images={photos / 'photos'}") == 0
    assert "kappa" in capsys.readouterr().out
    table = pd.read_csv(out / "pretext-labels.csv").set_index("task")
    assert table["chance"].round(2).tolist() == [0.8, 0.25, 0.5, 0.5]
    # Grey edges and coloured noise differ in every pixel; which way is up, nobody can see in noise.
    assert table.loc["original vs Sobel", "p"] < 0.05
    assert table.loc["rotation", "p"] > 0.01
    assert run("pretext-labels", out, "encoders=pixels:4:size=16", f"images={photos / 'photos'}", "n=20") == 2


def test_spectrum_of_embeddings_and_of_a_matrix(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    file = photos / "head.pt"
    torch.save({"state_dict": {"head.weight": torch.diag(torch.tensor([3.0, 1.0])), "head.bias": torch.zeros(2)}}, file)
    out = photos / "out"
    asked = (f"checkpoint={file}", "tensor=state_dict.head.weight")
    assert run("spectrum", out, ENCODERS, f"images={photos / 'photos'}", *asked) == 0
    assert "effective rank" in capsys.readouterr().out
    table = pd.read_csv(out / "spectrum.csv")
    assert table.loc[table["name"] == "state_dict.head.weight", "value"].tolist() == pytest.approx([3, 1])
    assert run("spectrum", out, f"checkpoint={file}", "tensor=tail") == 2
    assert "state_dict.head.weight" in capsys.readouterr().err


def test_tsne_of_an_end_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tsne", tmp_path, "encoders=pixels:4:size=16", "task=mini-digits", "n=60", "perplexity=10") == 0
    assert "nearest neighbours are of the same class" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "tsne.csv")) == 60


@pytest.mark.parametrize(
    ("name", "options", "named"),
    [
        ("cka", [], "encoders="),
        ("cka", ["encoders=pixels:4"], "images="),
        ("cka", ["encoders=pixels:4", "images=nowhere"], "nowhere"),
        ("cka", ["encoders=pixels:4,pixels:4", "images=."], "pixels-4"),
        ("image-distance", ["encoders=pixels:4"], "sets="),
        ("tsne", ["encoders=pixels:4", "task=mini-depth"], "one class"),
        ("correlation", [], "--results"),
        ("all", [], "--results"),
    ],
)
def test_what_is_missing_is_said(
    name: str,
    options: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)  # where `make demo` ran there is a results/, which is read where none is named
    assert run(name, tmp_path, *options) == 2
    assert named in capsys.readouterr().err


def test_a_folder_without_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert run("cka", tmp_path, "encoders=pixels:4", f"images={tmp_path / 'empty'}") == 2
    assert "no image" in capsys.readouterr().err

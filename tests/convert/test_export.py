"""An encoder in another program's format gives that program the same embeddings, or is not written."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from virb.cli import main
from virb.convert.export import export
from virb.convert.load import load_encoder
from virb.errors import UsageError


def images(size: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3, size, size, 3), dtype=np.uint8)


def input_of(encoder, rows: np.ndarray) -> torch.Tensor:
    mean, std = np.array(encoder.preprocess.mean), np.array(encoder.preprocess.std)
    return torch.from_numpy(((rows / 255 - mean) / std).transpose(0, 3, 1, 2)).float()


def close(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.abs(a - b).max() <= 1e-4 * np.abs(b).max())


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("random:resnet18:size=64", device="cpu")


def test_torchvision_loads_it_under_its_own_names(encoder, tmp_path):
    from torchvision import models

    done = export(encoder, tmp_path / "a.pth", "torchvision")
    model = models.resnet18()
    found = model.load_state_dict(torch.load(done.path, weights_only=True), strict=False)
    assert sorted(found.missing_keys) == ["fc.bias", "fc.weight"]
    assert found.unexpected_keys == []
    model.fc = torch.nn.Identity()
    rows = images(64)
    with torch.inference_mode():
        assert close(model.eval()(input_of(encoder, rows)).numpy(), encoder.embed(rows).numpy())


@pytest.mark.parametrize("source", ["random:resnet18:size=64", "random:timm:resnet18:size=64"])
def test_timm_loads_the_folder_with_its_preprocessing(source, tmp_path):
    import timm

    encoder = load_encoder(source, device="cpu")
    done = export(encoder, tmp_path / "folder", "timm")
    model = timm.create_model(f"local-dir:{done.path}", pretrained=True).eval()
    assert model.pretrained_cfg["input_size"] == (3, 64, 64)
    rows = images(64)
    with torch.inference_mode():
        assert close(model(input_of(encoder, rows)).numpy(), encoder.embed(rows).numpy())
    assert close(
        load_encoder(done.path, device="cpu").embed(rows).numpy(), encoder.embed(rows).numpy()
    )  # and virb reads it


def test_safetensors_hold_what_virb_knows(tmp_path):
    import json

    from safetensors import safe_open

    encoder = load_encoder("random:resnet18:width=0.25,size=32", device="cpu")
    done = export(encoder, tmp_path / "a.safetensors", "safetensors")
    with safe_open(done.path, "pt") as file:
        about = json.loads(file.metadata()["virb"])
    assert about["arch"] == "resnet18"
    assert about["preprocess"]["size"] == 32
    again = load_encoder(f"{done.path}:arch=resnet18,width=0.25,size=32", device="cpu")
    rows = images(32)
    assert np.array_equal(again.embed(rows).numpy(), encoder.embed(rows).numpy())


def test_onnx_runs_with_the_normalisation_inside(tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed (pip install virb[onnx])")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    encoder = load_encoder("random:resnet18:width=0.125,size=32", device="cpu")
    done = export(encoder, tmp_path / "a.onnx", "onnx")
    rows = images(32)
    session = runtime.InferenceSession(str(done.path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": (rows / 255).transpose(0, 3, 1, 2).astype(np.float32)})
    assert close(found, encoder.embed(rows).numpy())


def test_a_network_that_the_library_has_not_is_refused(tmp_path, capsys):
    narrow = load_encoder("random:resnet18:width=0.25,size=32", device="cpu")
    for to in ("torchvision", "timm"):
        with pytest.raises(UsageError, match="is another network"):
            export(narrow, tmp_path / to, to)
        assert not (tmp_path / to).exists()
    with pytest.raises(UsageError, match="torchvision has no network 'resnet19'"):
        export(narrow, tmp_path / "x", "torchvision", name="resnet19")
    assert main(["export", "pixels:8", "--to", "timm", "--out", str(tmp_path / "p")]) == 2
    assert "timm has no network" in capsys.readouterr().err


@pytest.mark.parametrize("to", ["timm", "torchvision", "safetensors", "onnx"])
def test_nothing_is_written_over_least_of_all_the_encoders_own_file(tmp_path, to):
    mine = tmp_path / "mine.pt"
    mine.write_bytes(b"a week of training")
    encoder = load_encoder("random:resnet18:width=0.125,size=32", device="cpu")
    with pytest.raises(UsageError, match=r"mine\.pt exists; it is left as it is"):
        export(encoder, mine, to)
    assert mine.read_bytes() == b"a week of training"
    both = load_encoder("pixels:2:size=8+pixels:3:size=8", device="cpu")
    with pytest.raises(UsageError, match="is several networks"):
        export(both, tmp_path / "both", to)

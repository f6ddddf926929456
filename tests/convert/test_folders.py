"""Folders of published networks: config.json decides, shards are put together, what is no image encoder is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from virb.convert.load import load_encoder
from virb.errors import CheckpointError
from virb.networks.backbones import build_backbone

VIT: dict[str, Any] = {
    "model_type": "vit",
    "architectures": ["ViTModel"],
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 16,
    "patch_size": 8,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
}
PROCESSOR: dict[str, Any] = {
    "size": {"height": 16, "width": 16},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.25, 0.25, 0.25],
    "do_normalize": True,
    "resample": 2,
}


def tensors() -> dict[str, torch.Tensor]:
    """Return a Vision Transformer under the names that save_pretrained writes."""
    torch.manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.cls_token": (1, 1, 32),
        "embeddings.position_embeddings": (1, 5, 32),
        "embeddings.patch_embeddings.projection.weight": (32, 3, 8, 8),
        "embeddings.patch_embeddings.projection.bias": (32,),
    }
    start = "encoder.layer.0."
    for name, out, into in (
        *((f"attention.attention.{part}", 32, 32) for part in ("query", "key", "value")),
        ("attention.output.dense", 32, 32),
        ("intermediate.dense", 48, 32),
        ("output.dense", 32, 48),
    ):
        shapes |= {f"{start}{name}.weight": (out, into), f"{start}{name}.bias": (out,)}
    for name in (f"{start}layernorm_before", f"{start}layernorm_after", "layernorm"):
        shapes |= {f"{name}.weight": (32,), f"{name}.bias": (32,)}
    return {key: torch.randn(shape) for key, shape in shapes.items()}


def write(folder: Path, config: dict[str, Any] | None = VIT, processor: dict[str, Any] | None = None) -> Path:
    folder.mkdir()
    save_file(tensors(), folder / "model.safetensors")
    for name, content in (("config.json", config), ("preprocessor_config.json", processor)):
        if content is not None:
            (folder / name).write_text(json.dumps(content))
    return folder


def test_a_folder_is_an_encoder_with_its_own_preprocessing(tmp_path: Path) -> None:
    encoder = load_encoder(write(tmp_path / "my-vit", processor=PROCESSOR))
    assert encoder.name == "my-vit"
    assert encoder.preprocess.as_dict() == {"size": 16, "mean": [0.5] * 3, "std": [0.25] * 3}
    assert encoder.arch == "vit"
    assert encoder.arch_options["heads"] == 2
    assert encoder.report is not None
    assert "Hugging Face" in str(encoder.report)
    by_name = load_encoder(f"hf:{tmp_path / 'my-vit'}:size=24")
    assert by_name.sha256 == encoder.sha256
    assert by_name.preprocess.size == 24
    assert by_name.embed(torch.zeros(1, 3, 24, 24)).shape == (1, 32)


def test_the_weights_file_inside_is_read_with_the_config_beside_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "net", processor=PROCESSOR)
    encoder = load_encoder(folder / "model.safetensors")
    assert encoder.identity == load_encoder(folder).identity
    assert encoder.name == "model"
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match="how many heads"):
        load_encoder(folder / "model.safetensors")


def test_openclip_s_folder_with_a_tower_of_timm_s(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = timm.create_model("resnet10t", num_classes=0).eval()
    state = {f"visual.trunk.{key}": value for key, value in net.state_dict().items()}
    state |= {"visual.head.proj.weight": torch.zeros(3, 512), "logit_scale": torch.zeros(())}
    (tmp_path / "net").mkdir()
    save_file(state, tmp_path / "net" / "open_clip_model.safetensors")
    said = {"vision_cfg": {"timm_model_name": "resnet10t", "image_size": 176}}
    config = {"model_cfg": said, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (tmp_path / "net" / "open_clip_config.json").write_text(json.dumps(config))
    encoder = load_encoder(tmp_path / "net")
    assert encoder.preprocess.as_dict() == {"size": 176, "mean": [0.5] * 3, "std": [0.5] * 3}
    assert "before OpenCLIP's projection" in str(encoder.report)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(encoder.embed(images), net(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("processor", "size", "mean", "std", "said"),
    [
        ({**PROCESSOR, "size": 20}, 20, 0.5, 0.25, ""),
        ({**PROCESSOR, "resample": 3}, 16, 0.5, 0.25, "bicubic"),
        (
            {
                **PROCESSOR,
                "size": {"shortest_edge": 18},
                "crop_size": {"height": 16, "width": 16},
                "do_center_crop": True,
            },
            16,
            0.5,
            0.25,
            "shortest side to 18 (bilinear) and crops 16",
        ),
        ({**PROCESSOR, "crop_size": {"height": 8, "width": 8}, "do_center_crop": False}, 16, 0.5, 0.25, ""),
        ({**PROCESSOR, "size": {"shortest_edge": 16}, "crop_pct": 0.875}, 16, 0.5, 0.25, "size / 0.875"),
        ({**PROCESSOR, "do_normalize": False}, 16, 0.0, 1.0, ""),
        ({**PROCESSOR, "rescale_factor": 1 / 127.5}, 16, 0.25, 0.125, ""),
        ({**PROCESSOR, "image_mean": 0.4}, 16, 0.4, 0.25, ""),
    ],
)
def test_a_processor_s_settings(tmp_path: Path, processor, size, mean, std, said) -> None:
    encoder = load_encoder(write(tmp_path / "net", processor=processor))
    assert encoder.preprocess.size == size
    assert encoder.preprocess.mean == pytest.approx((mean,) * 3)
    assert encoder.preprocess.std == pytest.approx((std,) * 3)
    assert said in str(encoder.report)


def test_without_a_processor_the_family_s_is_taken_and_said(tmp_path: Path) -> None:
    encoder = load_encoder(write(tmp_path / "net"))
    assert encoder.preprocess.as_dict() == {"size": 16, "mean": [0.5] * 3, "std": [0.5] * 3}
    assert "no preprocessor_config.json" in str(encoder.report)


def sharded(folder: Path) -> Path:
    write(folder, processor=PROCESSOR)
    (folder / "model.safetensors").unlink()
    state = tensors()
    names = {key: f"model-{1 + number % 2:05}-of-00002.safetensors" for number, key in enumerate(state)}
    for file in set(names.values()):
        save_file({key: value for key, value in state.items() if names[key] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    return folder


def test_shards_are_put_together(tmp_path: Path) -> None:
    whole = load_encoder(write(tmp_path / "whole", processor=PROCESSOR))
    assert load_encoder(sharded(tmp_path / "parts")).identity == whole.identity


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "parts")
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"lacks model-00002-of-00002\.safetensors of its 2 weights files"):
        load_encoder(folder)
    (folder / "model.safetensors.index.json").unlink()
    with pytest.raises(CheckpointError, match="one of several files of one network"):
        load_encoder(folder / "model-00001-of-00002.safetensors")


def test_an_index_that_names_what_no_shard_holds(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "parts")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    index["weight_map"]["encoder.more"] = "model-00001-of-00002.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"do not hold: encoder\.more"):
        load_encoder(folder)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 32000}, "a language model"),
        ({"model_type": "bert", "architectures": ["BertModel"], "vocab_size": 30522}, "a language model"),
        ({"model_type": "wav2vec2", "architectures": ["Wav2Vec2Model"]}, "'wav2vec2'.*no layout"),
        ({"hidden_size": 3}, "neither model_type nor architecture"),
    ],
)
def test_other_networks_are_refused_by_name_before_their_weights_are_read(tmp_path: Path, config, said) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=said):
        load_encoder(folder)


def test_a_folder_without_weights_and_one_with_several(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"none of model\.safetensors"):
        load_encoder(tmp_path / "empty")
    for name in ("a.pt", "b.pt"):
        torch.save({"x": torch.zeros(1)}, tmp_path / "empty" / name)
    with pytest.raises(CheckpointError, match=r"several weights files \(a\.pt, b\.pt\): name one"):
        load_encoder(tmp_path / "empty")


def test_a_folder_with_one_file_is_that_file(tmp_path: Path) -> None:
    state = build_backbone("resnet18", width=0.125).state_dict()
    (tmp_path / "run").mkdir()
    torch.save({"state_dict": state}, tmp_path / "run" / "checkpoint.pth.tar")
    assert load_encoder(tmp_path / "run").arch == "resnet18"


def test_a_folder_of_timm_s(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = timm.create_model("resnet10t", num_classes=3).eval()
    (tmp_path / "net").mkdir()
    save_file(net.state_dict(), tmp_path / "net" / "model.safetensors")
    said = {"input_size": [3, 176, 176], "mean": [0.4] * 3, "std": [0.2] * 3, "crop_pct": 0.95}
    (tmp_path / "net" / "config.json").write_text(json.dumps({"architecture": "resnet10t", "pretrained_cfg": said}))
    encoder = load_encoder(tmp_path / "net")
    assert encoder.arch == "timm:resnet10t"
    assert encoder.preprocess.as_dict() == {"size": 176, "mean": [0.4] * 3, "std": [0.2] * 3}
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = net.forward_head(net.forward_features(images), pre_logits=True)
    torch.testing.assert_close(encoder.embed(images), expected, rtol=1e-4, atol=1e-4)


def test_the_hub_out_of_reach_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", unreachable)
    with pytest.raises(CheckpointError, match=r"hf:someone/net could not be had: no route to host.*hf:FOLDER"):
        load_encoder("hf:someone/net")


def test_what_is_fetched_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    folder = write(tmp_path / "net", processor=PROCESSOR)
    asked: list[Any] = []
    names = ["config.json", "preprocessor_config.json", "model.safetensors", "pytorch_model.bin", "README.md"]
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda self, name: names)
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, allow_patterns: asked.append(allow_patterns) or str(folder)
    )
    encoder = load_encoder("hf:someone/net")
    assert encoder.name == "net"
    configs = ["config.json", "open_clip_config.json", "preprocessor_config.json"]
    assert asked == [configs, [*configs, "model.safetensors"]]
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 32000}))
    with pytest.raises(CheckpointError, match="a language model"):
        load_encoder("hf:someone/net")
    assert asked[2:] == [configs], "no weights are fetched for a network that is refused"


def test_what_was_taken_for_granted_is_said_and_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from virb.evaluation.about import About
    from virb.evaluation.encoders import load_encoders

    save_file(tensors(), tmp_path / "bare.safetensors")
    source = f"{tmp_path / 'bare.safetensors'}:heads=2"
    encoder = load_encoders([source])[0]
    said = capsys.readouterr().err
    for text in ("images of 16 px, mean and std 0.5/0.5/0.5", "eps 1e-12", "the class token", "resized bicubic"):
        assert text in said
        assert text in str(About({}).encoder(encoder)["loaded"])
    load_encoders([source])
    assert capsys.readouterr().err == "", "it is said once"

"""OpenAI's CLIP and OpenCLIP: encode_image of open_clip's own networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from virb.convert.published import convert
from virb.errors import CheckpointError

open_clip: Any = pytest.importorskip("open_clip")

TEXT: dict[str, Any] = {"context_length": 8, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1}
VIT: dict[str, Any] = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 64}
RESNET: dict[str, Any] = {"image_size": 64, "layers": (1, 2, 1, 1), "width": 8}
OPENAI = {"input_resolution": torch.tensor(32), "context_length": torch.tensor(8), "vocab_size": torch.tensor(20)}


def build(vision: dict[str, Any], *, quick_gelu: bool = False) -> Any:
    return open_clip.CLIP(24, open_clip.CLIPVisionCfg(**vision), open_clip.CLIPTextCfg(**TEXT), quick_gelu=quick_gelu)


VITS: dict[str, dict[str, Any]] = {"plain": {}, "narrow MLP": {"mlp_ratio": 1.5}, "layer scale": {"ls_init_value": 0.1}}


@pytest.mark.parametrize("name", VITS)
@pytest.mark.parametrize("quick_gelu", [False, True])
def test_openclip(name, quick_gelu, drawn, agrees) -> None:
    net = drawn(build({**VIT, **VITS[name]}, quick_gelu=quick_gelu))
    state = dict(net.state_dict())
    asked = {"mlp": "quick_gelu"} if quick_gelu else {}
    found = agrees(state, net.encode_image, **asked)
    assert any("say mlp=quick_gelu" in note for note in found.report.notes)
    assert found.dropped["transformer"] > 4
    training = {"epoch": 3, "name": "run", "state_dict": {f"module.{key}": value for key, value in state.items()}}
    assert agrees(training, net.encode_image, **asked).found.place == "state_dict/module."
    tower = {key.removeprefix("visual."): value for key, value in state.items() if key.startswith("visual.")}
    agrees(tower, net.encode_image, **asked)


@pytest.mark.parametrize("quick_gelu", [False, True])
def test_openclip_s_folder_says_the_activation_and_the_heads(quick_gelu, drawn, agrees) -> None:
    vision = {**VIT, "head_width": 16}
    net = drawn(build(vision, quick_gelu=quick_gelu))
    config = {"model_cfg": {"vision_cfg": vision, "text_cfg": TEXT, "embed_dim": 24, "quick_gelu": quick_gelu}}
    found = agrees(dict(net.state_dict()), net.encode_image, config=config)
    assert found.options["heads"] == 4


def test_openai_s_files_have_quick_gelu(drawn, agrees) -> None:
    net = drawn(build(VIT, quick_gelu=True))
    half = {key: value.half() for key, value in net.state_dict().items()}
    net.load_state_dict(half)
    found = agrees({**half, **OPENAI}, net.encode_image)
    assert found.options["mlp"] == "quick_gelu"


@pytest.mark.parametrize("is_openai", [False, True])
def test_resnets(is_openai, drawn, agrees) -> None:
    net = drawn(build(RESNET))
    state = {**net.state_dict(), **(OPENAI if is_openai else {})}
    found = agrees(state, net.encode_image, size=64)
    assert found.options == {"depths": "1/2/1/1", "channels": 8, "heads": 4, "image_size": 64, "project": 24}
    tower = {key.removeprefix("visual."): value for key, value in state.items() if key.startswith("visual.")}
    agrees(tower, net.encode_image, size=64)


@pytest.mark.parametrize("vision", [{**VIT, "attentional_pool": True}, {**VIT, "no_ln_pre": True}])
def test_other_towers_are_refused(vision, drawn) -> None:
    state = dict(drawn(build(vision)).state_dict())
    with pytest.raises(CheckpointError):
        convert(state)


@pytest.mark.parametrize("said", [{"pool_type": "avg"}, {"final_ln_after_pool": True}])
def test_what_only_the_configuration_tells_is_refused_too(said, drawn) -> None:
    state = dict(drawn(build({**VIT, **said})).state_dict())
    with pytest.raises(CheckpointError, match=next(iter(said))):
        convert(state, config={"model_cfg": {"vision_cfg": {**VIT, **said}}})


@pytest.mark.parametrize("vision", [VIT, RESNET])
def test_one_tensor_too_many_or_too_few_is_refused(vision, drawn) -> None:
    state = dict(drawn(build(vision)).state_dict())
    inside = [key for key in state if key.startswith("visual.") and not key.endswith("num_batches_tracked")]
    with pytest.raises(CheckpointError):
        convert({**state, "visual.more": torch.zeros(2)})
    for gone in inside[::9]:
        left = {key: value for key, value in state.items() if key != gone}
        try:
            assert convert(left) is None, gone
        except CheckpointError:
            continue

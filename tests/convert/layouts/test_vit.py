"""Vision Transformers under timm's names: which release a file is of is read off it, and its embedding is the release's."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.layers import SwiGLUPacked
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from virb.convert.published import convert
from virb.errors import CheckpointError

State = dict[str, Tensor]


def vit(dim: int = 64, heads: int = 1, kind: type[VisionTransformer] = VisionTransformer, **options: Any) -> Any:
    settings: dict[str, Any] = {"img_size": 32, "patch_size": 8, "depth": 2, "num_classes": 0, "mlp_ratio": 1.5}
    norm = partial(nn.LayerNorm, eps=1e-6)
    return kind(embed_dim=dim, num_heads=heads, norm_layer=norm, **{**settings, **options})


def state_of(net: nn.Module) -> State:
    return dict(net.state_dict())


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{key}": value for key, value in state.items()}


def sines(dim: int, side: int, *, first: str) -> Tensor:
    """Return the table (1, 1 + side², dim) that MAE (first="column") or MoCo v3 (first="row") is given, in float64."""
    table = np.zeros((1, 1 + side * side, dim))
    quarter = dim // 4
    for row in range(side):
        for column in range(side):
            for i in range(quarter):
                w = 1 / 10000 ** (i / quarter)
                a, b = (column, row) if first == "column" else (row, column)
                values = (np.sin(a * w), np.cos(a * w), np.sin(b * w), np.cos(b * w))
                for part, value in enumerate(values):
                    table[0, 1 + row * side + column, part * quarter + i] = value
    return torch.from_numpy(table).float()


# ------------------------------------------------------------------------------------------------------- containers

CONTAINERS: dict[str, Any] = {
    "bare": (lambda own, other: own, ""),
    "DDP": (lambda own, other: under("module.", own), "module."),
    "DINO": (
        lambda own, other: {
            "student": {**under("module.backbone.", other), "module.head.mlp.0.weight": torch.zeros(3, 3)},
            "teacher": {**under("backbone.", own), "head.last_layer.weight_g": torch.zeros(3, 1)},
            "epoch": 3,
            "dino_loss": {"center": torch.zeros(1, 3)},
        },
        "teacher/backbone.",
    ),
    "DINOv2 in training": (
        lambda own, other: {
            "model": {
                **under("student.backbone.", other),
                **under("teacher.backbone.", own),
                "teacher.dino_head.mlp.0.weight": torch.zeros(3, 3),
            }
        },
        "model/teacher.backbone.",
    ),
    "MoCo v3": (
        lambda own, other: {
            "state_dict": {
                **under("module.momentum_encoder.", other),
                **under("module.base_encoder.", own),
                "module.base_encoder.head.0.weight": torch.zeros(3, 3),
                "module.predictor.0.weight": torch.zeros(3, 3),
            }
        },
        "state_dict/module.base_encoder.",
    ),
    "MAE": (lambda own, other: {"model": own, "optimizer": {"state": {}}, "epoch": 1}, "model/"),
    "I-JEPA and MSN": (
        lambda own, other: {
            "encoder": under("module.", other),
            "target_encoder": under("module.", own),
            "predictor": {"module.predictor_norm.weight": torch.zeros(3)},
            "epoch": 3,
        },
        "target_encoder/module.",
    ),
    "I-JEPA on one GPU": (
        lambda own, other: {"encoder": other, "target_encoder": own, "epoch": 3},
        "target_encoder/",
    ),
    "a classifier": (lambda own, other: {**own, "head.weight": torch.zeros(3, 64), "head.bias": torch.zeros(3)}, ""),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_where_releases_keep_their_network(name, drawn, agrees) -> None:
    net = drawn(vit())
    other = {key: torch.randn_like(value) for key, value in net.state_dict().items()}
    build, place = CONTAINERS[name]
    found = agrees(build(state_of(net), other), net, **({"heads": 1} if name == "MoCo v3" else {}))
    assert found.found.place == place


def test_another_network_of_the_file_can_be_chosen(drawn, agrees) -> None:
    net, other = drawn(vit()), drawn(vit(), 1)
    content = CONTAINERS["I-JEPA and MSN"][0](state_of(net), state_of(other))
    found = agrees(content, net)
    assert found.alternatives == ("encoder/module.",)
    assert agrees(content, other, prefix="encoder/").found.place == "encoder/module."


# ------------------------------------------------------------------------------------------------------------ DINOv2


def dinov2(net: Any) -> State:
    """Return a network's state as facebookresearch/dinov2 names it."""
    names = {"mlp.fc1.": "mlp.w12.", "mlp.fc2.": "mlp.w3."} if "silu" in str(net.blocks[0].mlp.act).lower() else {}
    state = {"mask_token": torch.zeros(1, 64)}
    for key, value in net.state_dict().items():
        for old, new in names.items():
            key = key.replace(old, new)
        state[key.replace("reg_token", "register_tokens")] = value
    if "register_tokens" in state:  # its table has a row for the class token, which timm adds to the token itself
        row = torch.randn(1, 1, 64) * 0.2
        state["cls_token"] = state["cls_token"] - row
        state["pos_embed"] = torch.cat([row, state["pos_embed"]], dim=1)
    return state


DINOV2: dict[str, dict[str, Any]] = {
    "S": {},
    "g": {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU, "mlp_ratio": 3.0},
    "S with registers": {"reg_tokens": 4, "no_embed_class": True, "dynamic_img_size": True},
    "g with registers": {
        "mlp_layer": SwiGLUPacked,
        "act_layer": nn.SiLU,
        "reg_tokens": 4,
        "no_embed_class": True,
        "dynamic_img_size": True,
    },
}
CHUNKS = {"whole": None, "in chunks": 1}


@pytest.mark.parametrize("name", DINOV2)
@pytest.mark.parametrize("chunks", CHUNKS)
def test_dinov2(name, chunks, drawn, agrees) -> None:
    net = drawn(vit(patch_size=14, img_size=42, init_values=1e-5, **DINOV2[name]))
    state = dinov2(net)
    if CHUNKS[chunks]:
        state = {
            key.replace("blocks.0.", "blocks.0.0.").replace("blocks.1.", "blocks.1.1."): state[key] for key in state
        }
    found = agrees(state, net, size=42)
    assert found.report.preprocess["size"] == 224
    assert found.dropped == {"mask_token": 1}
    if "registers" in name:  # they are resized as timm does
        agrees(state, net, size=56)


def test_dinov2_and_dino_resize_their_positions_by_their_own_rule(drawn, agrees) -> None:
    net = drawn(vit(patch_size=14, img_size=42, init_values=1e-5))
    bigger = vit(patch_size=14, img_size=70, init_values=1e-5)
    state = state_of(net)
    grid = state["pos_embed"][:, 1:].reshape(1, 3, 3, 64).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, scale_factor=((5 + 0.1) / 3, (5 + 0.1) / 3), mode="bicubic")
    table = torch.cat([state["pos_embed"][:, :1], grid.permute(0, 2, 3, 1).reshape(1, 25, 64)], dim=1)
    bigger.load_state_dict({**state, "pos_embed": table})
    bigger.eval()
    found = agrees(dinov2(net), bigger, size=70)
    assert any("0.1" in note for note in found.report.notes)
    plain = {key: value for key, value in state.items() if ".ls" not in key}
    with pytest.raises(AssertionError):
        agrees(plain, bigger, size=70)
    assert any("say resize=dino" in note for note in convert(plain, asked={}).report.notes)  # type: ignore[union-attr]


# ------------------------------------------------------------------------------------------- heads by fixed positions


@pytest.mark.parametrize("prefix", ["", "module.", "module.base_encoder."])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_moco_v3_s_small_network_has_twelve_heads_under_any_name(prefix, dtype, drawn, agrees) -> None:
    net = drawn(vit(384, 12))
    net.load_state_dict({**net.state_dict(), "pos_embed": sines(384, 4, first="row")})
    state = {key: value.to(dtype) for key, value in net.state_dict().items()}
    net.load_state_dict(state)
    found = agrees(under(prefix, state), net)
    assert found.options["heads"] == 12
    assert any("12 heads, as MoCo v3" in note for note in found.report.notes)


@pytest.mark.parametrize("table", ["MAE", "learned"])
def test_dino_s_and_mae_s_small_networks_have_six(table, drawn, agrees) -> None:
    net = drawn(vit(384, 6))
    if table == "MAE":
        net.load_state_dict({**net.state_dict(), "pos_embed": sines(384, 4, first="column")})
    assert agrees(state_of(net), net).options["heads"] == 6


class Stem(nn.Module):
    """MoCo v3's stem, from its description: four 3x3 convolutions of stride 2 with BatchNorm and ReLU, then 1x1."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        widths = [3, dim // 8, dim // 4, dim // 2, dim]
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.proj = nn.Sequential(*layers, nn.Conv2d(dim, dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


@pytest.mark.parametrize("width", [64, 384])
def test_moco_v3_s_convolutional_stem(width, drawn, agrees) -> None:
    net = vit(width, 12 if width == 384 else 1, img_size=64, patch_size=16)
    net.patch_embed = Stem(width)
    drawn(net)
    net.load_state_dict({**net.state_dict(), "pos_embed": sines(width, 4, first="row")})
    state = {**state_of(net), "head.0.weight": torch.zeros(4, width)}
    found = agrees(
        {"state_dict": under("module.base_encoder.", state)}, net, size=64, **({"heads": 1} if width == 64 else {})
    )
    assert found.options["stem"] == "conv"


# ---------------------------------------------------------------------------------------------- MAE, I-JEPA and DeiT


def test_mae_pretrained_with_its_decoder(drawn, agrees) -> None:
    net = drawn(vit())
    net.load_state_dict({**net.state_dict(), "pos_embed": sines(64, 4, first="column")})
    decoder = {
        "mask_token": torch.zeros(1, 1, 32),
        "decoder_pos_embed": torch.zeros(1, 17, 32),
        "decoder_embed.weight": torch.zeros(32, 64),
        "decoder_blocks.0.attn.qkv.weight": torch.zeros(96, 32),
        "decoder_norm.weight": torch.zeros(32),
        "decoder_pred.weight": torch.zeros(192, 32),
    }
    found = agrees({"model": {**state_of(net), **decoder}}, net)
    assert sum(found.dropped.values()) == len(decoder)


@pytest.mark.parametrize("width", [64, 1280])
def test_mae_fine_tuned_normalises_what_it_pools(width, drawn, agrees) -> None:
    net = drawn(vit(width, 16 if width == 1280 else 1, patch_size=14, img_size=28, depth=1, global_pool="avg"))
    state = {**state_of(net), "head.weight": torch.zeros(3, width), "head.bias": torch.zeros(3)}
    found = agrees({"model": state}, net, size=28)
    assert found.report.notes[-2] == "embedding: fc_norm of the patch tokens' mean"


@pytest.mark.parametrize(("width", "heads"), [(64, 1), (1280, 16), (1408, 16)])
def test_ijepa_pools_the_mean_without_a_class_token(width, heads, drawn, agrees) -> None:
    net = drawn(vit(width, heads, depth=1, class_token=False, global_pool="avg", fc_norm=False))
    content = {
        "encoder": under("module.", state_of(drawn(vit(width, heads, depth=1)))),
        "target_encoder": under("module.", state_of(net)),
    }
    found = agrees(content, net)
    assert found.options["pool"] == "avg"


def test_deit_s_distillation_token(drawn, agrees) -> None:
    net = drawn(vit(kind=VisionTransformerDistilled))
    state = {**state_of(net), "head.weight": torch.zeros(3, 64), "head_dist.weight": torch.zeros(3, 64)}
    agrees({"model": state}, lambda x: net.forward_features(x)[:, 0])


def test_deit_iii_adds_positions_to_patches_alone(drawn, agrees) -> None:
    net = drawn(vit(no_embed_class=True, init_values=1e-5))
    state = {key.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): v for key, v in state_of(net).items()}
    found = agrees({"model": state}, net)
    assert found.options["positions"] == "patches"


def test_timm_s_own_registers(drawn, agrees) -> None:
    net = drawn(vit(init_values=1e-5, reg_tokens=2, no_embed_class=True))
    agrees(state_of(net), net)
    net = drawn(vit(reg_tokens=2))
    agrees(state_of(net), net)


# ------------------------------------------------------------------------------------------------------- near misses

NEAR: dict[str, Any] = {
    "a query norm": {"blocks.0.attn.q_norm.weight": torch.zeros(64)},
    "relative positions of SAM": {"blocks.0.attn.rel_pos_h": torch.zeros(7, 64)},
    "relative positions of BEiT": {"blocks.0.attn.relative_position_bias_table": torch.zeros(52, 1)},
    "CLIP's first norm": {"norm_pre.weight": torch.zeros(64), "norm_pre.bias": torch.zeros(64)},
    "SigLIP's pooling": {"attn_pool.latent": torch.zeros(1, 1, 64)},
    "rotary positions": {"rope.periods": torch.zeros(16)},
    "DINOv3's tokens": {"storage_tokens": torch.zeros(1, 4, 64)},
    "both last norms": {"fc_norm.weight": torch.zeros(64), "fc_norm.bias": torch.zeros(64)},
    "an adapter": {"blocks.0.adapter.weight": torch.zeros(3, 64)},
    "half a layer scale": {"blocks.0.ls1.gamma": torch.zeros(64)},
    "another convolution": {"patch_embed.more.weight": torch.zeros(3)},
}


@pytest.mark.parametrize("name", NEAR)
def test_what_is_another_network_is_not_read_as_this_one(name, drawn) -> None:
    state = {**state_of(drawn(vit())), **NEAR[name]}
    try:
        assert convert(state) is None
    except CheckpointError:
        return


@pytest.mark.parametrize("name", ["S", "g with registers"])
def test_one_tensor_too_few_is_refused(name, drawn) -> None:
    state = dinov2(drawn(vit(patch_size=14, img_size=42, init_values=1e-5, **DINOV2[name])))
    for gone in [
        key for key in state if key not in ("mask_token", "register_tokens")
    ]:  # without, it is a whole one too
        left = {key: value for key, value in state.items() if key != gone}
        try:
            assert convert(left) is None, gone
        except CheckpointError:
            continue


@pytest.mark.parametrize(
    ("dim", "heads", "name"), [(192, 3, "tiny"), (384, 6, "small"), (768, 12, "base"), (1024, 16, "large")]
)
def test_the_usual_sizes_stay_the_named_architectures(dim, heads, name, drawn, agrees) -> None:
    net = drawn(vit(dim, heads, depth=1, mlp_ratio=4.0))
    found = agrees(state_of(net), net)
    assert (found.arch, found.options) == (
        f"vit_{name}_patch8",
        {"image_size": 32, "depth": 1, "heads": heads, "pool": "token"},
    )
    assert set(found.state) == set(net.state_dict())

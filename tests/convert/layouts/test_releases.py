"""Official releases of DINOv3, BEiT, ConvNeXt, Swin, SimCLR v2 and detectron2's ResNets, against timm's networks."""

from __future__ import annotations

import itertools
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from timm.models.beit import Beit
from timm.models.convnext import ConvNeXt
from timm.models.eva import Eva
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from virb.convert.load import load_encoder
from virb.convert.published import convert
from virb.errors import CheckpointError

State = dict[str, Tensor]


def renamed(state: State, *pairs: tuple[str, str]) -> State:
    result = {}
    for key, value in state.items():
        for old, new in pairs:
            key = key.replace(old, new)
        result[key] = value
    return result


def is_refused(state: State) -> bool:
    try:
        return convert(state) is None
    except CheckpointError:
        return True


# ------------------------------------------------------------------------------------------------------------ DINOv3


def dinov3(**options: Any) -> Any:
    return Eva(
        img_size=32,
        patch_size=8,
        embed_dim=64,
        depth=2,
        num_heads=options.pop("num_heads", 1),
        num_classes=0,
        global_pool="token",
        init_values=1e-5,
        rope_type="dinov3",
        rope_temperature=100,
        use_rot_pos_emb=True,
        use_abs_pos_emb=False,
        rope_rotate_half=True,
        num_reg_tokens=4,
        use_fc_norm=False,
        dynamic_img_size=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
        **options,
    )


def dinov3_state(net: Any) -> State:
    """Return a network's state as facebookresearch/dinov3 names it."""
    width = 64 // net.blocks[0].attn.num_heads
    state = {"mask_token": torch.zeros(1, 64)}
    state["rope_embed.periods"] = torch.tensor([100.0 ** (2 * i / (width // 2)) for i in range(width // 4)])
    names = (("gamma_1", "ls1.gamma"), ("gamma_2", "ls2.gamma"), ("reg_token", "storage_tokens"))
    own = renamed(dict(net.state_dict()), *names, ("mlp.fc1_g", "mlp.w1"), ("mlp.fc1_x", "mlp.w2"))
    if any("mlp.w1" in key for key in own):
        own = renamed(own, ("mlp.fc2", "mlp.w3"))
    for key, value in own.items():
        if key.endswith("q_bias"):
            start = key.removesuffix("q_bias")
            state[f"{start}qkv.bias"] = torch.cat([value, torch.randn(64), own[f"{start}v_bias"]])
            state[f"{start}qkv.bias_mask"] = torch.cat([torch.ones(64), torch.zeros(64), torch.ones(64)])
        elif not key.endswith("v_bias"):
            state[key] = value
    return state


DINOV3: dict[str, dict[str, Any]] = {
    "S": {},
    "S with 2 heads": {"num_heads": 2},
    "S+": {"swiglu_mlp": True, "swiglu_align_to": 8},
    "7B": {"swiglu_mlp": True, "swiglu_align_to": 8, "qkv_bias": False},
}


@pytest.mark.parametrize("size", [32, 48])
@pytest.mark.parametrize("name", DINOV3)
def test_dinov3(name, size, drawn, agrees) -> None:
    net = drawn(dinov3(**DINOV3[name]))
    state = dinov3_state(net)
    if name == "7B":
        state |= {"local_cls_norm.weight": torch.zeros(64), "local_cls_norm.bias": torch.zeros(64)}
    if name == "S with 2 heads":
        with pytest.raises(CheckpointError, match="Say heads=2"):
            convert(state)
    agrees(state, net, size=size, **({"heads": 2} if name == "S with 2 heads" else {}))


def test_dinov3_s_own_rotary_periods_are_used(drawn, agrees) -> None:
    net = drawn(dinov3())
    state = dinov3_state(net)
    state["rope_embed.periods"] = state["rope_embed.periods"].bfloat16()  # as the release stores them
    net.rope.periods.copy_(state["rope_embed.periods"].float())
    agrees(state, net, size=48)


def test_dinov3_s_key_has_no_bias(drawn) -> None:
    state = dinov3_state(drawn(dinov3()))
    state["blocks.0.attn.qkv.bias_mask"] = torch.ones(192)
    with pytest.raises(CheckpointError, match="the key has a bias"):
        convert(state)


# -------------------------------------------------------------------------------------------------------------- BEiT


def beit(**options: Any) -> Any:
    norm: Any = partial(nn.LayerNorm, eps=1e-6)
    settings: dict[str, Any] = {"use_abs_pos_emb": False, "use_rel_pos_bias": True, "init_values": 1e-5, **options}
    return Beit(
        img_size=32,
        patch_size=8,
        embed_dim=64,
        depth=2,
        num_heads=2,
        mlp_ratio=1.5,
        num_classes=0,
        norm_layer=norm,
        **settings,
    )


BEIT: dict[str, dict[str, Any]] = {
    "fine-tuned": {},
    "pretrained": {"global_pool": "token", "use_rel_pos_bias": False, "use_shared_rel_pos_bias": True},
    "with positions": {"use_abs_pos_emb": True},
    "without layer scale": {"init_values": None},
    "without bias": {"qkv_bias": False},
}


@pytest.mark.parametrize("name", BEIT)
def test_beit(name, drawn, agrees) -> None:
    net = drawn(beit(**BEIT[name]))
    extra = {"head.weight": torch.zeros(3, 64), "head.bias": torch.zeros(3)}
    if name == "pretrained":
        extra = {"lm_head.weight": torch.zeros(3, 64), "mask_token": torch.zeros(1, 1, 64)}
        extra["rel_pos_bias.relative_position_index"] = torch.zeros(17, 17, dtype=torch.long)
    else:
        extra["blocks.0.attn.relative_position_index"] = torch.zeros(17, 17, dtype=torch.long)
    found = agrees({"model": {**net.state_dict(), **extra}}, net)
    assert found.report.preprocess["mean"] == (0.5, 0.5, 0.5)


def test_simmim_s_network_pools_the_mean(drawn, agrees) -> None:
    net = drawn(beit(global_pool="token"))
    state = {f"encoder.{key}": value for key, value in net.state_dict().items()}
    content = {"model": {**state, "encoder.mask_token": torch.zeros(1, 1, 64), "decoder.0.weight": torch.zeros(3, 64)}}
    found = agrees(content, lambda x: net.forward_features(x)[:, 1:].mean(1))
    assert found.report.preprocess["mean"] == (0.485, 0.456, 0.406)


# ---------------------------------------------------------------------------------------------------------- ConvNeXt


CONVNEXT: dict[str, dict[str, Any]] = {
    "V1": {},
    "V1 without scale": {"ls_init_value": None},
    "V2": {"use_grn": True, "ls_init_value": None},
}


@pytest.mark.parametrize("name", CONVNEXT)
def test_convnext(name, drawn, agrees) -> None:
    net = drawn(ConvNeXt(dims=(8, 16, 24, 32), depths=(1, 2, 1, 1), num_classes=3, **CONVNEXT[name]))
    state = renamed(
        dict(net.state_dict()),
        ("stem.", "downsample_layers.0."),
        *((f"stages.{stage}.downsample.", f"downsample_layers.{stage}.") for stage in (1, 2, 3)),
        (".blocks.", "."),
        ("conv_dw", "dwconv"),
        ("mlp.fc1", "pwconv1"),
        ("mlp.fc2", "pwconv2"),
        ("mlp.grn.weight", "grn.gamma"),
        ("mlp.grn.bias", "grn.beta"),
        ("head.norm", "norm"),
        ("head.fc", "head"),
    )
    state = {key: value.view(1, 1, 1, -1) if "grn" in key else value for key, value in state.items()}
    assert "downsample_layers.0.0.weight" in state
    agrees({"model": state}, lambda x: net.forward_head(net.forward_features(x), pre_logits=True), size=64)
    for gone in list(state)[::5]:
        if not gone.startswith("head"):
            assert is_refused({key: value for key, value in state.items() if key != gone}), gone


# -------------------------------------------------------------------------------------------------------------- Swin


def swin(**options: Any) -> Any:
    settings = {"img_size": 64, "window_size": 4, "depths": (2, 2, 1), "num_heads": (2, 4, 8), **options}
    return SwinTransformer(embed_dim=16, num_classes=3, **settings)


def swin_state(net: Any, *, has_masks: bool = True) -> State:
    """Return a network's state as microsoft/Swin-Transformer names it."""
    state = {}
    for key, value in net.state_dict().items():
        for stage in (1, 2):
            if key.startswith(f"layers.{stage}.downsample"):
                key = key.replace(f"layers.{stage}", f"layers.{stage - 1}")
                break
        state[key.replace("head.fc", "head")] = value
    state["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(16, 16, dtype=torch.long)
    if has_masks:
        state["layers.0.blocks.1.attn_mask"] = torch.zeros(16, 16, 16)
    return state


@pytest.mark.parametrize("has_masks", [True, False])
@pytest.mark.parametrize("options", [{}, {"qkv_bias": False, "mlp_ratio": 2.0}])
def test_swin(has_masks, options, drawn, agrees) -> None:
    net = drawn(swin(**options))
    asked = {} if has_masks else {"image_size": 64}
    state = swin_state(net, has_masks=has_masks)
    reference = lambda x: net.forward_head(net.forward_features(x), pre_logits=True)  # noqa: E731
    agrees({"model": state}, reference, size=64, **asked)
    agrees({"teacher": {f"backbone.{key}": value for key, value in state.items()}}, reference, size=64, **asked)
    agrees({f"encoder.{key}": value for key, value in state.items()}, reference, size=64, **asked)
    if not has_masks:
        agrees(dict(net.state_dict()), reference, size=64, **asked)  # timm's own order


def test_swin_v2_is_not_read_as_swin(drawn) -> None:
    state = swin_state(drawn(swin()))
    assert is_refused({**state, "layers.0.blocks.0.attn.logit_scale": torch.zeros(2, 1, 1)})
    assert is_refused(
        {key: value for key, value in state.items() if "layers.1.blocks.1." not in key or "norm1" not in key}
    )


# --------------------------------------------------------------------------------------------------------- detectron2


@pytest.mark.parametrize("kind", [BasicBlock, Bottleneck])
@pytest.mark.parametrize("is_file", [True, False])
def test_detectron2(kind, is_file, drawn, agrees, tmp_path: Path) -> None:
    net = drawn(ResNet(kind, [2, 2, 2, 2] if kind is BasicBlock else [3, 4, 6, 3], num_classes=3))
    net.fc = nn.Identity()
    state: dict[str, Any] = {}
    for key, value in net.state_dict().items():
        for layer in (1, 2, 3, 4):
            key = key.replace(f"layer{layer}.", f"res{layer + 1}.")
        key = key.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")
        key = key.replace(".bn1.", ".conv1.norm.").replace(".bn2.", ".conv2.norm.").replace(".bn3.", ".conv3.norm.")
        if not key.startswith("res"):
            key = f"stem.{key}".replace("stem.bn1.", "stem.conv1.norm.")
        state[key] = value
    if not is_file:
        found = agrees({"model": state, "__author__": "MOCO", "matching_heuristics": True}, net, size=64)
        assert found.options == {"width": 1.0, "stem": "imagenet"}
        return
    arrays = {key: value.numpy() for key, value in state.items()}
    with (tmp_path / "moco.pkl").open("wb") as file:
        pickle.dump({"model": arrays, "__author__": "MOCO", "matching_heuristics": True}, file)
    encoder = load_encoder(tmp_path / "moco.pkl")
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = net(images)
    assert float((encoder.embed(images) - expected).abs().max()) < 1e-4 * float(expected.abs().max())


# ---------------------------------------------------------------------------------------------------------- SimCLR v2


def conv(before: int, after: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)


def norm(channels: int, *rest: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), *rest)


class Mixed(nn.Module):
    """Selective kernels, from equations 1 to 6 of Li et al. 2019 with two kernels of one size."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.main_conv = nn.Sequential(conv(channels, 2 * channels, 3, stride), norm(2 * channels, nn.ReLU()))
        mid = max(channels // 16, 32)
        self.mixing_conv = nn.Sequential(conv(channels, mid, 1), norm(mid, nn.ReLU()), conv(mid, 2 * channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.main_conv(x).chunk(2, dim=1)
        a, b = self.mixing_conv(F.adaptive_avg_pool2d(first + second, 1)).chunk(2, dim=1)
        share = torch.sigmoid(a - b)  # a softmax over two
        return share * first + (1 - share) * second


class Shortcut(nn.Module):
    def __init__(self, before: int, after: int, stride: int, *, is_sk: bool) -> None:
        super().__init__()
        pool = [nn.ZeroPad2d((0, 1, 0, 1)), nn.AvgPool2d(2, stride)]
        self.shortcut: nn.Module = (
            nn.Sequential(*pool, conv(before, after, 1)) if is_sk else conv(before, after, 1, stride)
        )
        self.bn = norm(after)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.shortcut(x))


class Block(nn.Module):
    def __init__(self, before: int, channels: int, stride: int, *, is_sk: bool, is_first: bool) -> None:
        super().__init__()
        if is_first:
            self.projection = Shortcut(before, channels * 4, stride, is_sk=is_sk)
        middle = (
            [Mixed(channels, stride)] if is_sk else [conv(channels, channels, 3, stride), norm(channels, nn.ReLU())]
        )
        self.net = nn.Sequential(
            conv(before, channels, 1),
            norm(channels, nn.ReLU()),
            *middle,
            conv(channels, channels * 4, 1),
            norm(channels * 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.net(x) + (self.projection(x) if hasattr(self, "projection") else x))


class Stage(nn.Module):
    def __init__(self, blocks: list[Block]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class SimCLRv2(nn.Module):
    """The network that the converter writes, under its names."""

    def __init__(self, base: int, depths: tuple[int, ...], *, is_sk: bool) -> None:
        super().__init__()
        half = base // 2
        three = [
            conv(3, half, 3, 2),
            norm(half, nn.ReLU()),
            conv(half, half, 3),
            norm(half, nn.ReLU()),
            conv(half, base, 3),
        ]
        stem = [*(three if is_sk else [conv(3, base, 7, 2)]), norm(base, nn.ReLU()), nn.MaxPool2d(3, 2, 1)]
        parts: list[nn.Module] = [nn.Sequential(*stem)]
        before = base
        for number, depth in enumerate(depths):
            channels = base * 2**number
            blocks = []
            for index in range(depth):
                stride = 2 if number and not index else 1
                blocks.append(Block(before, channels, stride, is_sk=is_sk, is_first=not index))
                before = channels * 4
            parts.append(Stage(blocks))
        self.net = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).mean((2, 3))


@pytest.mark.parametrize("is_sk", [False, True])
@pytest.mark.parametrize(("base", "depths"), [(8, (1, 2, 1, 1)), (16, (3, 4, 6, 3))])
def test_simclr_v2(is_sk, base, depths, drawn, agrees) -> None:
    net = drawn(SimCLRv2(base, depths, is_sk=is_sk))
    state = {**net.state_dict(), "fc.weight": torch.zeros(3, 4), "fc.bias": torch.zeros(3)}
    head = {"layers.0.weight": torch.zeros(3, 3)}
    found = agrees({"resnet": state, "head": head}, net, size=64)
    assert found.report.preprocess["mean"] == (0.0, 0.0, 0.0)
    for gone in list(net.state_dict())[::11]:
        if not gone.endswith("num_batches_tracked"):
            assert is_refused({key: value for key, value in state.items() if key != gone}), gone
    assert is_refused({**state, "net.1.blocks.0.more.weight": torch.zeros(3)})


def test_every_layout_has_a_source_and_a_family_that_is_found() -> None:
    from virb.convert.layouts import all_layouts

    layouts = all_layouts()
    assert len(layouts) >= 16
    assert all(one.source and one.title and one.anchors and one.gives and one.checked for one in layouts)
    pairs = itertools.combinations([layout.title for layout in layouts], 2)
    assert all(one != other for one, other in pairs)

"""Of several networks in one file the one is taken that its release reads; ema= and prefix= take another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from virb.convert.load import load_encoder
from virb.errors import CheckpointError, UsageError
from virb.networks.backbones import build_backbone

State = dict[str, Tensor]


def network(seed: int, arch: str = "resnet18", **options: Any) -> State:
    torch.manual_seed(seed)
    options = options or {"width": 0.125}
    return {key: torch.rand_like(value.float()) for key, value in build_backbone(arch, **options).state_dict().items()}


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{key}": value for key, value in state.items()}


VIT: dict[str, Any] = {"arch": "vit_tiny_patch16", "depth": 1, "image_size": 32}
RAW, AVERAGE = 1, 2
FILES: dict[str, tuple[Any, int]] = {
    "timm": (lambda raw, ema: {"state_dict": raw, "state_dict_ema": ema, "epoch": 3, "arch": "net"}, AVERAGE),
    "torchvision": (
        lambda raw, ema: {"model": raw, "model_ema": {"n_averaged": torch.tensor(7), **under("module.", ema)}},
        AVERAGE,
    ),
    "ConvNeXt, DeiT": (lambda raw, ema: {"model": raw, "model_ema": ema, "optimizer": {}}, RAW),
    "MoCo": (
        lambda raw, ema: {"state_dict": {**under("module.encoder_q.", raw), **under("module.encoder_k.", ema)}},
        RAW,
    ),
    "mmengine": (
        lambda raw, ema: {"state_dict": under("backbone.", raw), "ema_state_dict": under("module.backbone.", ema)},
        RAW,
    ),
    "MSN": (
        lambda raw, ema: {
            "encoder": under("module.", raw),
            "target_encoder": under("module.", ema),
            "prototypes": torch.zeros(3, 3),
        },
        AVERAGE,
    ),
}


@pytest.mark.parametrize("kind", ["resnet", "vit"])
@pytest.mark.parametrize("name", FILES)
def test_the_release_s_own_choice(name, kind, tmp_path: Path) -> None:
    options = VIT if kind == "vit" else {}
    raw, average = network(RAW, **options), network(AVERAGE, **options)
    build, expected = FILES[name]
    torch.save(build(raw, average), tmp_path / "net.pth")
    same = {RAW: raw, AVERAGE: average}
    for asked, wanted in (("", expected), (":ema=yes", AVERAGE), (":ema=no", RAW)):
        encoder = load_encoder(f"{tmp_path / 'net.pth'}{asked}")
        key = next(key for key in raw if key.endswith("weight"))
        torch.testing.assert_close(encoder.state_dict()[key], same[wanted][key])
        if not asked:
            said = "ema=no takes the raw ones" if expected == AVERAGE else "ema=yes takes the averaged ones"
            assert said in str(encoder.report)


def test_no_such_weights_and_no_such_word(tmp_path: Path) -> None:
    torch.save({"state_dict": network(RAW)}, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="has no averaged weights; found 'state_dict/'"):
        load_encoder(f"{tmp_path / 'net.pth'}:ema=yes")
    with pytest.raises(UsageError, match="expected yes"):
        load_encoder(f"{tmp_path / 'net.pth'}:ema=maybe")

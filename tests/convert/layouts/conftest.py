"""Networks of the reference implementations with every tensor drawn at random, and what loading them must give."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from virb.convert.published import Converted, convert


def draw(net: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter and buffer values that no initialisation would: a tensor left out changes the outcome."""
    generator = torch.Generator().manual_seed(seed)
    state = net.state_dict()
    with torch.no_grad():
        for key, value in state.items():
            if not value.is_floating_point():
                continue
            if key.endswith("running_var"):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
            elif value.ndim <= 1:
                value.copy_(torch.randn(value.shape, generator=generator) * 0.2 + (key.endswith("weight")))
            else:
                fan_in = max(1, value[0].numel())
                value.copy_(torch.randn(value.shape, generator=generator) * (1.5 / fan_in**0.5))
    return net.eval()


@pytest.fixture
def drawn() -> Callable[[nn.Module], Any]:
    return draw


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[Any], tuple[dict[str, Tensor], dict[str, Any]]]:
    """Return a function that writes a Hugging Face network and returns the file's tensors and its config.json."""

    def write(net: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
        folder = tmp_path / f"folder-{len(list(tmp_path.iterdir()))}"
        net.save_pretrained(folder)
        return load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())

    return write


@pytest.fixture
def agrees() -> Callable[..., Converted]:
    """Return a function that loads ``content`` and compares its embeddings with ``reference``'s, images (N, 3, h, w)."""

    def check(
        content: Mapping[str, Any],
        reference: Callable[[Tensor], Tensor],
        *,
        size: int = 32,
        config: Mapping[str, Any] | None = None,
        prefix: str | None = None,
        n: int = 2,
        **asked: Any,
    ) -> Converted:
        converted = convert(content, config=config, prefix=prefix, asked=asked)
        assert converted is not None, "no layout was recognised"
        net = converted.backbone
        net.load_state_dict(converted.state)
        net.eval()
        images = torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            found, maps = net.features(images)
            expected = reference(images)
            alone = net.embed(images)
        scale = float(expected.abs().max())
        assert float((alone - found).abs().max()) < 1e-4 * scale
        assert expected.shape == found.shape == (n, net.dim)
        assert scale > 0.05
        assert n == 1 or float((expected - expected[:1]).abs().max()) > 1e-3 * scale, (
            "the reference does not look at its images"
        )
        assert float((found - expected).abs().max()) < 1e-4 * scale
        assert tuple(item.shape[1] for item in maps) == net.channels
        assert all(item.shape[2] == -(-size // stride) for item, stride in zip(maps, net.strides, strict=True))
        return converted

    return check

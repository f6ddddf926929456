"""How encoders begin, against what the authors' codes compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from virb.errors import UsageError
from virb.networks.backbones import build_backbone
from virb.networks.token_encoder import TokenEncoder
from virb.pretraining import initial

SMALL = {"dim": 16, "depth": 3, "heads": 2, "patch": 4, "hidden": 32, "image_size": 12}


def test_positions_are_those_of_the_published_code():
    def one(dim, place):  # util/pos_embed.py of MAE
        omega = 1.0 / 10000 ** (np.arange(dim // 2) / (dim / 2))
        out = np.outer(place, omega)
        return np.concatenate([np.sin(out), np.cos(out)], axis=1)

    row, column = (x.ravel() for x in np.meshgrid(np.arange(3.0), np.arange(3.0), indexing="ij"))
    expected = np.concatenate([one(8, column), one(8, row)], axis=1)
    np.testing.assert_allclose(initial.sin_cos(3, 16), expected, atol=1e-6)
    with pytest.raises(UsageError, match="that 4 divides; found 18"):
        initial.sin_cos(3, 18)


@pytest.mark.parametrize("options", [{}, {"registers": 2}, {"positions": "patches"}, {"cls": 0, "pool": "avg"}])
def test_positions_are_fixed(options):
    encoder = TokenEncoder(build_backbone("vit", **SMALL, **options), 12)
    initial.fix_positions(encoder.backbone)
    table = encoder.net.pos_embed
    assert not table.requires_grad
    torch.testing.assert_close(table[0, -9:], initial.sin_cos(3, 16))
    assert bool((table[0, :-9] == 0).all())


def test_a_network_without_positions_is_refused():
    with pytest.raises(UsageError, match="has no positions to fix"):
        initial.fix_positions(build_backbone("vit", **SMALL, positions="none"))


def test_draws():
    torch.manual_seed(0)
    encoder = TokenEncoder(build_backbone("vit", **{**SMALL, "dim": 64, "hidden": 256}), 12)
    layer = encoder.net.blocks[0].mlp.fc1
    initial.xavier(encoder)
    bound = (6 / (64 + 256)) ** 0.5
    assert 0.95 * bound < float(layer.weight.detach().abs().max()) <= bound
    patches = encoder.net.patch_embed.proj.weight.detach()
    bound = (6 / (64 + 3 * 16)) ** 0.5  # as of a linear layer of a patch's pixels
    assert 0.95 * bound < float(patches.abs().max()) <= bound
    initial.xavier(encoder, splits_qkv=True)
    bound = (6 / (64 + 64)) ** 0.5  # of queries, keys and values apart
    assert all(
        0.95 * bound < float(w.abs().max()) <= bound for w in encoder.net.blocks[0].attn.qkv.weight.detach().chunk(3)
    )
    initial.truncated_normal(encoder)
    assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert float(layer.bias.detach().abs().max()) == 0
    before = [block.attn.proj.weight.detach().clone() for block in encoder.net.blocks]
    initial.shrink_with_depth(encoder.net.blocks)
    for k, (old, block) in enumerate(zip(before, encoder.net.blocks, strict=True), 1):
        torch.testing.assert_close(block.attn.proj.weight.detach(), old / (2 * k) ** 0.5)


def test_drop_path():
    encoder = TokenEncoder(build_backbone("vit", **SMALL), 12)
    names = set(encoder.state_dict())
    initial.drop_path(encoder.backbone, 0.4)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in encoder.net.blocks]
    assert rates == pytest.approx([0.0, 0.2, 0.4])
    initial.drop_path(encoder.backbone, 0.4, is_uniform=True)
    assert [block.drop_path2.drop_prob for block in encoder.net.blocks] == [0.4] * 3
    assert set(encoder.state_dict()) == names
    x = torch.rand(2, 3, 12, 12)
    assert not torch.equal(encoder.train()(x), encoder(x))
    assert torch.equal(encoder.eval()(x), encoder(x))

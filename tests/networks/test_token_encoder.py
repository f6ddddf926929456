"""A transformer shown part of an image gives, shown all of it, what it gives as an encoder."""

from __future__ import annotations

import pytest
import torch

from virb.errors import UsageError
from virb.networks.backbones import build_backbone
from virb.networks.token_encoder import TokenEncoder, take

SMALL = {"dim": 16, "depth": 2, "heads": 2, "patch": 4, "hidden": 32, "image_size": 16}
ARCHS = {
    "by name": ("vit_tiny_patch8", {"image_size": 16, "depth": 1}),
    "of its patches": ("vit_tiny_patch8", {"image_size": 16, "depth": 1, "pool": "avg"}),
    "with registers": ("vit", {**SMALL, "registers": 3}),
    "without a class token": ("vit", {**SMALL, "cls": 0, "pool": "avg"}),
    "CLIP's": ("vit", {**SMALL, "norm_pre": 1, "project": 8}),
    "normalised after pooling": ("vit", {**SMALL, "pool": "avg", "norm": "pooled"}),
}


@pytest.mark.parametrize("name", ARCHS)
def test_all_tokens_give_the_embedding(name):
    arch, options = ARCHS[name]
    torch.manual_seed(0)
    encoder = TokenEncoder(build_backbone(arch, **options), 24).eval()  # another size than the positions'
    x = torch.rand(2, 3, 24, 24)
    tokens = encoder(x)
    assert tokens.shape == (2, encoder.n_prefix + encoder.n_patches, encoder.width)
    torch.testing.assert_close(encoder.embedding(tokens), encoder.backbone(x))
    assert encoder.embedding(tokens).shape == (2, encoder.dim)
    assert encoder.trains_all == (name not in ("CLIP's", "normalised after pooling"))


def test_a_hidden_patch_cannot_be_seen_and_a_left_out_one_neither():
    torch.manual_seed(0)
    encoder = TokenEncoder(build_backbone("vit", **SMALL, registers=1), 16, hides=True).eval()
    x = torch.rand(1, 3, 16, 16)
    other = x.clone()
    other[:, :, 4:8, 8:12] = 0  # patch 1 * 4 + 2
    hidden = torch.zeros(1, 16, dtype=torch.bool)
    keep = torch.tensor([[i for i in range(16) if i != 6]])
    assert not torch.allclose(encoder(x), encoder(other))
    torch.testing.assert_close(encoder(x, None, keep), encoder(other, None, keep))
    assert encoder(x, None, keep).shape == (1, 2 + 15, 16)
    hidden[0, 6] = True
    torch.testing.assert_close(encoder(x, hidden), encoder(other, hidden))
    # The mask token takes the patch's place before the positions are added.
    table, net = encoder.net.pos_embed, encoder.net
    patches = net.patch_embed(x).flatten(1, 2)
    patches[0, 6] = encoder.mask_token[0, 0]
    first = torch.cat([net.cls_token, net.reg_token, patches], dim=1) + table
    torch.testing.assert_close(encoder(x, hidden), net.norm(net.blocks(first)))


def test_what_the_masking_needs_is_not_in_the_backbone():
    backbone = build_backbone("vit", **SMALL)
    names = set(backbone.state_dict())
    assert set(TokenEncoder(backbone, 16, hides=True).backbone.state_dict()) == names


def test_rows_are_taken():
    tokens = torch.arange(12.0).view(2, 3, 2)
    assert take(tokens, torch.tensor([[2, 0], [1, 1]])).tolist() == [[[4, 5], [0, 1]], [[8, 9], [8, 9]]]


def test_other_networks_and_uneven_images_are_refused():
    with pytest.raises(UsageError, match=r"resnet18:width=0.125.* is none. Pass --arch vit_small_patch16"):
        TokenEncoder(build_backbone("resnet18", width=0.125), 32)
    with pytest.raises(UsageError, match="18 px cannot be cut into patches of 4"):
        TokenEncoder(build_backbone("vit", **SMALL), 18)

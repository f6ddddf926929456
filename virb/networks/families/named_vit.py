"""The Vision Transformers that go by one name: timm's (Dosovitskiy et al. 2021), vit_tiny_patch16 to vit_large_patch32."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from virb.errors import UsageError
from virb.images.geometry import centred
from virb.networks.base import Backbone
from virb.networks.families import MOST, Family
from virb.networks.families.members import VIT_NAME, VIT_SIZES


class ViT(VisionTransformer, Backbone):
    """timm's Vision Transformer (Dosovitskiy et al. 2021) without its head; the names are DINO's and MoCo v3's too.

    The embedding is the class token after the last norm (``pool="token"``) or the mean of the patch tokens
    (``pool="avg"``). The pyramid holds four maps of one stride, the outputs of the blocks at a quarter, half, three
    quarters and the whole of the depth, the last one normalised. Any image size works: the position embedding is
    interpolated, and sides that are no multiple of the patch are padded with zeros on the right and below.
    """

    head_names = ("head", "fc", "head_dist")
    # A network with these is another one, though everything else fits: registers, DeiT's distillation token.
    forbidden_names = ("reg_token", "register_tokens", "dist_token", "norm_pre", "fc_norm")

    def __init__(self, embed_dim: int, patch: int, *, image_size: int, depth: int, heads: int, pool: str) -> None:
        if embed_dim % heads:
            raise UsageError(f"A Vision Transformer of width {embed_dim} cannot have {heads} heads: it must divide.")
        super().__init__(
            img_size=image_size,
            patch_size=patch,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=heads,
            num_classes=0,
            global_pool="token",
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            dynamic_img_size=True,
            dynamic_img_pad=True,
        )
        self.pooling = pool  # timm has a method of the shorter name
        self.taps = sorted({max(1, round(depth * quarter / 4)) - 1 for quarter in range(1, 5)})
        self.dim = embed_dim
        self.channels = (embed_dim,) * len(self.taps)
        self.strides = (patch,) * len(self.taps)

    def features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        found: Any = self.forward_intermediates(x, indices=self.taps)
        tokens, maps = found
        rows, columns = maps[-1].shape[2:]
        maps[-1] = tokens[:, 1:].reshape(len(x), rows, columns, -1).permute(0, 3, 1, 2).contiguous()
        return self.pooled(tokens), maps

    def offsets_at(self, output_stride: int | None = None) -> tuple[float, ...]:
        return centred(self.strides_at(output_stride))

    def embed(self, x: Tensor) -> Tensor:
        return self.pooled(self.forward_features(x))

    def pooled(self, tokens: Tensor) -> Tensor:
        """Return one vector an image from the tokens after the last norm."""
        return tokens[:, 0] if self.pooling == "token" else tokens[:, 1:].mean(1)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return self.embed(x)


def member(name: str) -> Family:
    """Return the family of the networks called ``name``, such as vit_base_patch16."""
    found = VIT_NAME.fullmatch(name)
    assert found is not None
    size, patch = VIT_SIZES[found[1]], int(found[2])

    def build(options: Mapping[str, Any], is_initialised: bool) -> ViT:
        return ViT(size["embed_dim"], patch, **options)

    return Family(
        name,
        {"image_size": 224, "depth": size["depth"], "heads": size["heads"], "pool": "token"},
        build,
        {"pool": ("token", "avg")},
        limits={"image_size": (1, MOST), "depth": (1, MOST), "heads": (1, MOST)},
    )

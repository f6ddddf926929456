"""BEiT, BEiT v2 and SimMIM's Vision Transformer as released: relative position biases in every layer, or one for all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from virb.contracts.layout import Architecture, Facts, Layout, LayoutReport, Shapes
from virb.convert.source import HALF, IMAGENET, Source, count, window_of
from virb.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_PATCHES = "patch_embed.proj"
_TABLE = "relative_position_bias_table"


def recognise(keys: Collection[str], shapes: Shapes) -> Facts | None:
    is_one = f"{_PATCHES}.weight" in keys and "blocks.0.attn.qkv.weight" in keys and "cls_token" in keys
    has_bias = f"blocks.0.attn.{_TABLE}" in keys or f"rel_pos_bias.{_TABLE}" in keys
    is_other = any(key.startswith(("rope", "blocks.0.mlp.w", "blocks.0.attn.q_proj", "layers.")) for key in keys)
    return {} if is_one and has_bias and not is_other else None


def convert(state: Mapping[str, Tensor], facts: Facts) -> tuple[Architecture, dict[str, Tensor], LayoutReport]:
    source = Source(state)
    dim, _, patch, _ = source.shape(f"{_PATCHES}.weight")
    depth = count(state, "blocks.")
    target: dict[str, Tensor] = {}
    source.move(target, {_PATCHES: _PATCHES, "cls_token": "cls_token"})
    if "pos_embed" in source:
        target["pos_embed"] = source.take("pos_embed")
    shared = f"rel_pos_bias.{_TABLE}"
    is_shared = shared in source
    names = {name: name for name in ("norm1", "norm2", "attn.qkv.weight", "attn.proj", "mlp.fc1", "mlp.fc2")}
    if is_shared:
        target[shared] = source.take(shared)
        source.drop(r"blocks\.\d+\.attn\.relative_position_index")
    else:
        names[f"attn.{_TABLE}"] = f"attn.{_TABLE}"
    has_scale = "blocks.0.gamma_1" in source
    if has_scale:
        names |= {"gamma_1": "gamma_1", "gamma_2": "gamma_2"}
    has_bias = "blocks.0.attn.q_bias" in source
    if has_bias:
        names |= {"attn.q_bias": "attn.q_bias", "attn.v_bias": "attn.v_bias"}
    for number in range(depth):
        source.move(target, names, before=f"blocks.{number}.", after=f"blocks.{number}.")
    is_pooled = "fc_norm.weight" in source
    if is_pooled and "norm.weight" in source:
        raise CheckpointError("it has both norm and fc_norm, and no release of this layout has.")
    source.move(target, {"fc_norm": "fc_norm"} if is_pooled else {"norm": "norm"})
    source.drop(r"(.*\.)?relative_position_index", r"mask_token", r"(head|lm_head|cls_pt_layers|decoder)\..*")
    table = target[shared if is_shared else f"blocks.0.attn.{_TABLE}"]
    # SimMIM calls its network "encoder" and its images are ImageNet's; BEiT's are half.
    is_simmim = facts["place"].endswith("encoder.")
    has_mean = is_pooled or is_simmim
    options: dict[str, Any] = {
        "dim": dim,
        "depth": depth,
        "heads": table.shape[1],
        "patch": patch,
        "image_size": window_of(table.shape[0] - 3) * patch,
        "hidden": target["blocks.0.mlp.fc1.weight"].shape[0],
        "eps": 1e-6,
        "biases": "shared" if is_shared else "layers",
        "positions": "all" if "pos_embed" in target else "none",
        "qkv_bias": int(has_bias),
        "layer_scale": int(has_scale),
        "pool": "avg" if has_mean else "token",
        "norm": "pooled" if is_pooled else "tokens",
    }
    notes = [
        "embedding: fc_norm of the patch tokens' mean"
        if is_pooled
        else "embedding: the mean of the patch tokens after the last norm, as SimMIM has it"
        if is_simmim
        else "embedding: the class token after the last norm (pretrained, not fine-tuned); say pool=avg for the mean"
    ]
    preprocess = {"size": options["image_size"], **(IMAGENET if is_simmim else HALF)}
    return source.finish("beit", options, target, notes=notes, preprocess=preprocess)


LAYOUT = Layout(
    name="beit",
    source="microsoft/unilm: beit/modeling_finetune.py, beit2; microsoft/SimMIM: models/vision_transformer.py",
    title="BEiT, BEiT v2, SimMIM ViT",
    anchors=(f"{_PATCHES}.weight",),
    recognise=recognise,
    convert=convert,
    gives="fine-tuned: fc_norm of the patches' mean; pretrained: the class token; SimMIM: the mean",
    checked="timm",
)

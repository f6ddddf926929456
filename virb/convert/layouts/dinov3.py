"""DINOv3 as released: Vision Transformers with registers and rotary positions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from virb.contracts.layout import Architecture, Facts, Layout, LayoutReport, Shapes
from virb.convert.source import IMAGENET, Source, count, dinov3_heads, rotary_periods
from virb.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_PATCHES = "patch_embed.proj"


def recognise(keys: Collection[str], shapes: Shapes) -> Facts | None:
    is_one = {"storage_tokens", f"{_PATCHES}.weight", "blocks.0.attn.qkv.weight"} <= set(keys)
    return {} if is_one and "pos_embed" not in keys else None


def convert(state: Mapping[str, Tensor], facts: Facts) -> tuple[Architecture, dict[str, Tensor], LayoutReport]:
    source = Source(state)
    dim, _, patch, _ = source.shape(f"{_PATCHES}.weight")
    depth = count(state, "blocks.")
    target: dict[str, Tensor] = {}
    source.move(
        target, {_PATCHES: "patch_embed.proj", "cls_token": "cls_token", "storage_tokens": "reg_token", "norm": "norm"}
    )
    is_gated = "blocks.0.mlp.w1.weight" in source
    has_bias = "blocks.0.attn.qkv.bias" in source
    names = {
        "norm1": "norm1",
        "norm2": "norm2",
        "ls1.gamma": "gamma_1",
        "ls2.gamma": "gamma_2",
        "attn.qkv.weight": "attn.qkv.weight",
        "attn.proj": "attn.proj",
        **(
            {"mlp.w1": "mlp.fc1_g", "mlp.w2": "mlp.fc1_x", "mlp.w3": "mlp.fc2"}
            if is_gated
            else {"mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
        ),
    }
    for number in range(depth):
        start = f"blocks.{number}."
        source.move(target, names, before=start, after=start)
        if has_bias:
            target[f"{start}attn.q_bias"], target[f"{start}attn.v_bias"] = _biases(source, f"{start}attn.qkv.")
    heads = dinov3_heads(dim, {**facts, "config": {}})
    notes = ["embedding: the class token after the last norm"]
    if "rope_embed.periods" in source:
        target["rope.periods"] = source.take("rope_embed.periods")
        n_periods = target["rope.periods"].shape[0]
        if n_periods * 4 * heads != dim:
            raise CheckpointError(
                f"its {n_periods} rotary periods are of heads {4 * n_periods} wide, and {heads} heads of a width of {dim} "
                f"are {dim / heads:g} wide. Say heads={dim // (4 * n_periods)} if that is right."
            )
    else:
        target["rope.periods"] = rotary_periods(dim, heads, 100.0)
        notes.append("rotary periods of base 100, which the file does not hold")
    source.drop(r"mask_token", r"(local_cls_norm|cls_norm|dino_head|ibot_head|head)\..*")
    hidden = target["blocks.0.mlp.fc2.weight"].shape[1]
    notes.append("224 pixels and ImageNet's mean and std; the satellite (SAT) weights have others")
    options: dict[str, Any] = {
        "dim": dim,
        "depth": depth,
        "heads": heads,
        "patch": patch,
        "hidden": hidden,
        "mlp": "swiglu" if is_gated else "gelu",
        "eps": 1e-5,
        "registers": target["reg_token"].shape[1],
        "qkv_bias": int(has_bias),
    }
    return source.finish("dinov3", options, target, notes=notes, preprocess={"size": 224, **IMAGENET})


def _biases(source: Source, start: str) -> tuple[Tensor, Tensor]:
    """Return the biases of query and value; a mask multiplies them, and the key's has to come out as zero."""
    bias = source.take(f"{start}bias")
    if f"{start}bias_mask" in source:
        bias = bias * source.take(f"{start}bias_mask").to(bias.dtype)
    query, key, value = bias.chunk(3)
    if bool((key != 0).any()):
        raise CheckpointError(f"the key has a bias ({start}bias), which DINOv3's networks do not have.")
    return query, value


LAYOUT = Layout(
    name="dinov3",
    source="facebookresearch/dinov3: dinov3/models/vision_transformer.py, dinov3/hub/backbones.py",
    title="DINOv3 ViT",
    anchors=(f"{_PATCHES}.weight",),
    recognise=recognise,
    convert=convert,
    gives="class token after the last norm; the file's own rotary periods",
    checked="timm",
)

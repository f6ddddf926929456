"""Hugging Face's plain Vision Transformers: ViT, DeiT, ViT-MAE, MSN, I-JEPA, DINOv2 without and with registers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from virb.contracts.layout import Architecture, Facts, Layout, LayoutReport, Shapes
from virb.convert.source import HALF, IMAGENET, Source, activation_of, count, heads_of, square
from virb.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_TABLE = "embeddings.position_embeddings"
_PATCHES = "embeddings.patch_embeddings.projection"
# model_type -> eps of LayerNorm in its configuration class, normalisation, whether the published size is the table's
_KINDS: Mapping[str, tuple[float, Mapping[str, Any]]] = {
    "vit": (1e-12, HALF),
    "deit": (1e-12, IMAGENET),
    "vit_mae": (1e-12, IMAGENET),
    "vit_msn": (1e-6, IMAGENET),
    "ijepa": (1e-12, IMAGENET),
    "dinov2": (1e-6, IMAGENET),
    "dinov2_with_registers": (1e-6, IMAGENET),
}


def recognise(keys: Collection[str], shapes: Shapes) -> Facts | None:
    if _is_astray(keys):
        keys = {key.removeprefix(_ASTRAY) for key in keys}
    if f"{_PATCHES}.weight" not in keys or _TABLE not in keys:
        return None
    if any("relative_position_bias" in key or "lambda_1" in key for key in keys):
        return None  # BEiT
    if "embeddings.register_tokens" in keys:
        kind = "dinov2_with_registers"
    elif any(key.endswith("layer_scale1.lambda1") for key in keys):
        kind = "dinov2"
    elif "embeddings.distillation_token" in keys:
        kind = "deit"
    elif "embeddings.cls_token" not in keys:
        kind = "ijepa"
    else:
        kind = "vit"
    return {"kind": kind}


_ASTRAY = "vit."


def _is_astray(keys: Collection[str]) -> bool:
    """Whether ``vit.`` stands before the embeddings alone, as transformers 5 writes ViT-MSN's classifier."""
    return f"{_ASTRAY}{_TABLE}" in keys and not any(key.startswith(f"{_ASTRAY}encoder.") for key in keys)


def convert(state: Mapping[str, Tensor], facts: Facts) -> tuple[Architecture, dict[str, Tensor], LayoutReport]:
    if _is_astray(state):
        state = {key.removeprefix(_ASTRAY): value for key, value in state.items()}
    source, config = Source(state), facts["config"]
    kind, notes = _kind(state, facts)
    eps, normalisation = _KINDS[kind]
    dim, _, patch, _ = source.shape(f"{_PATCHES}.weight")
    n_positions = source.shape(_TABLE)[1]
    n_prefix = {"deit": 2, "ijepa": 0}.get(kind, 1)
    grid = square(n_positions - n_prefix, "the position embedding")
    depth = count(state, "encoder.layer.")
    is_dinov2 = kind.startswith("dinov2")

    target: dict[str, Tensor] = {}
    source.move(target, {_PATCHES: "patch_embed.proj", "layernorm": "norm"})
    table = source.take(_TABLE)
    options: dict[str, Any] = {"positions": "all", "pool": "token", "resize": "exact"}
    if kind == "ijepa":
        options.update(cls=0, pool="avg")
    else:
        target["cls_token"] = source.take("embeddings.cls_token")
    if kind == "deit":
        target["reg_token"] = source.take("embeddings.distillation_token")
        options["registers"] = 1
    if kind == "dinov2_with_registers":  # they are inserted after the position embedding was added
        target["reg_token"] = source.take("embeddings.register_tokens")
        target["cls_token"] = target["cls_token"] + table[:, :1]
        table = table[:, 1:]
        options.update(positions="patches", resize="timm", registers=target["reg_token"].shape[1])
    target["pos_embed"] = table

    names = {
        "attention.output.dense": "attn.proj",
        **(
            {
                "norm1": "norm1",
                "norm2": "norm2",
                "layer_scale1.lambda1": "ls1.gamma",
                "layer_scale2.lambda1": "ls2.gamma",
            }
            if is_dinov2
            else {"layernorm_before": "norm1", "layernorm_after": "norm2"}
        ),
    }
    is_gated = "encoder.layer.0.mlp.weights_in.weight" in source
    if is_gated:
        names |= {"mlp.weights_in": "mlp.fc1", "mlp.weights_out": "mlp.fc2"}
    elif is_dinov2:
        names |= {"mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
    else:
        names |= {"intermediate.dense": "mlp.fc1", "output.dense": "mlp.fc2"}
    has_bias = "encoder.layer.0.attention.attention.query.bias" in source
    for number in range(depth):
        old, new = f"encoder.layer.{number}.", f"blocks.{number}."
        source.move(target, names, before=old, after=new)
        for part in ("weight", "bias") if has_bias else ("weight",):
            target[f"{new}attn.qkv.{part}"] = source.stacked(
                [f"{old}attention.attention.{name}.{part}" for name in ("query", "key", "value")]
            )
    source.drop(r"embeddings\.mask_token", r"pooler\..*", r"(cls_|distillation_)?classifier\..*", r"decoder\..*")

    size = grid * patch
    if is_dinov2:
        size = 224
    options.update(
        dim=dim,
        depth=depth,
        heads=heads_of(dim, facts),
        patch=patch,
        image_size=grid * patch,
        hidden=target["blocks.0.mlp.fc1.weight"].shape[0] if depth else 0,
        mlp="swiglu" if is_gated else activation_of(config, "gelu"),
        eps=float(config.get("layer_norm_eps", eps)),
        qkv_bias=int(has_bias),
        layer_scale=int(is_dinov2),
    )
    if "layer_norm_eps" not in config:
        notes.append(f"eps {eps:g} of LayerNorm, as Hugging Face's {kind} has it (no config.json says it)")
    notes.append(
        "embedding: the mean of the patch tokens"
        if kind == "ijepa"
        else "embedding: the class token after the last norm"
    )
    if options["resize"] == "exact":
        notes.append("position embedding resized bicubic to the exact size without antialiasing, as transformers does")
    return source.finish("vit", options, target, notes=notes, preprocess={"size": size, **normalisation})


def _kind(state: Mapping[str, Tensor], facts: Facts) -> tuple[str, list[str]]:
    """Return the model_type and what to say of it: config.json's, if it is one that the tensors can be."""
    seen, named = facts["kind"], facts["config"].get("model_type")
    if named is None:
        if seen == "vit" and _is_mae(state):
            return "vit_mae", ["read as Hugging Face's ViT-MAE (a fixed sin-cos position embedding)"]
        return seen, [f"read as Hugging Face's {seen}"] + (
            ["ViT-MSN has the same tensors, and eps 1e-6: say eps=1e-6 if it is that"] if seen == "vit" else []
        )
    if named == seen or (seen == "vit" and named in ("vit_mae", "vit_msn")):
        return named, [f"read as Hugging Face's {named} (config.json)"]
    raise CheckpointError(f"config.json says model_type={named!r}, and its tensors are a {seen}'s.")


def _is_mae(state: Mapping[str, Tensor]) -> bool:
    from virb.convert.positions import fixed_table

    return fixed_table(state[_TABLE], n_prefix=1) == "mae"


LAYOUT = Layout(
    name="hf-vit",
    source="huggingface/transformers: src/transformers/models/{vit,deit,vit_mae,vit_msn,ijepa,dinov2,dinov2_with_registers}",
    title="Hugging Face ViT, DeiT, ViT-MAE, ViT-MSN, I-JEPA, DINOv2, DINOv2 with registers",
    anchors=(f"{_ASTRAY}{_PATCHES}.weight", f"{_PATCHES}.weight"),
    recognise=recognise,
    convert=convert,
    gives="class token after the last norm (I-JEPA: the patches' mean); 224 px for DINOv2, else the position table's size",
    checked="transformers",
    model_types=tuple(_KINDS),
)

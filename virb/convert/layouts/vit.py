"""Vision Transformers under timm's names: DINO, iBOT, DINOv2, MAE, MoCo v3, I-JEPA, MSN, DeiT and their relatives."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from virb.contracts.layout import Architecture, Facts, Layout, LayoutReport, Shapes
from virb.convert.positions import fixed_table
from virb.convert.source import IMAGENET, Source, count, heads_of, square
from virb.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_PATCHES = "patch_embed.proj"
_CHUNKED = re.compile(r"blocks\.\d+\.(\d+)\.(.+)")  # DINOv2's training: blocks.CHUNK.N, N counting over all chunks
# Other networks under the same names, which have layouts of their own or are timm's: their parts are not ours to drop.
_OTHERS = (
    "storage_tokens",
    "rel_pos_bias.relative_position_bias_table",
    "norm_pre.weight",
    "attn_pool.latent",
    "rope.periods",
)
_OTHER_BLOCKS = (
    "attn.q_bias",
    "attn.relative_position_bias_table",
    "attn.rel_pos_h",
    "attn.q_norm.weight",
    "attn.q_proj.weight",
)
_HEADS = (r"(head|head_dist|fc|projector|predictor)\..*", r"head|fc")
_UNUSED = (
    r"mask_token|masked_embed",
    r"decoder_(embed|pred|norm|blocks)\..*",
    r"decoder_pos_embed",
    r"projection_head\..*|prototypes.*",
)


def _plain(key: str) -> str:
    """Return a block's name without its chunk."""
    chunked = _CHUNKED.fullmatch(key)
    return f"blocks.{chunked[1]}.{chunked[2]}" if chunked else key


def recognise(keys: Collection[str], shapes: Shapes) -> Facts | None:
    names = {_plain(key) for key in keys}
    has_stem = f"{_PATCHES}.weight" in names or f"{_PATCHES}.12.weight" in names
    if not has_stem or "blocks.0.attn.qkv.weight" not in names or "pos_embed" not in names:
        return None
    if any(name in names for name in _OTHERS) or any(f"blocks.0.{name}" in names for name in _OTHER_BLOCKS):
        return None
    return {}


def convert(state: Mapping[str, Tensor], facts: Facts) -> tuple[Architecture, dict[str, Tensor], LayoutReport]:
    plain = {_plain(key): value for key, value in state.items()}
    if len(plain) != len(state):
        raise CheckpointError("blocks of several chunks have one number.")
    source = Source(plain)
    notes: list[str] = []
    table, dim = source.take("pos_embed"), source.shape("pos_embed")[2]
    is_conv = f"{_PATCHES}.12.weight" in source
    patch = 16 if is_conv else source.shape(f"{_PATCHES}.weight")[2]
    depth = count(plain, "blocks.")
    has_cls = "cls_token" in source
    extra = next((name for name in ("register_tokens", "reg_token", "dist_token") if name in source), None)
    n_extra = source.shape(extra)[1] if extra else 0

    target: dict[str, Tensor] = {}
    for key in [key for key in plain if key.startswith(f"{_PATCHES}.")]:
        target[key] = source.take(key)
    if has_cls:
        target["cls_token"] = source.take("cls_token")
    if extra:
        target["reg_token"] = source.take(extra)
    positions, grid = _positions(table.shape[1], has_cls, extra, n_extra)
    if positions == "class and patches":  # DINOv2's registers come in after the positions were added
        target["cls_token"] = target["cls_token"] + table[:, :1]
        table, positions = table[:, 1:], "patches"
    target["pos_embed"] = table

    start = "blocks.0."
    is_gated = f"{start}mlp.w12.weight" in source
    scale = "ls1.gamma" if f"{start}ls1.gamma" in source else "gamma_1" if f"{start}gamma_1" in source else None
    names = {name: name for name in ("norm1", "norm2", "attn.qkv", "attn.proj")}
    names |= {"mlp.w12": "mlp.fc1", "mlp.w3": "mlp.fc2"} if is_gated else {"mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
    if scale:
        names |= {scale: "ls1.gamma", scale.replace("1", "2"): "ls2.gamma"}
    for number in range(depth):
        source.move(target, names, before=f"blocks.{number}.", after=f"blocks.{number}.")
    is_pooled = "fc_norm.weight" in source and "norm.weight" not in source
    source.move(target, {"fc_norm": "fc_norm"} if is_pooled else {"norm": "norm"})
    source.drop(*_HEADS, *_UNUSED)

    kind = fixed_table(table, n_prefix=int(has_cls) if positions == "all" else 0)
    is_moco = kind == "moco-v3" or is_conv
    is_dinov2 = scale == "ls1.gamma" and patch == 14
    options: dict[str, Any] = {
        "dim": dim,
        "depth": depth,
        "heads": _heads(dim, is_moco, facts, notes),
        "patch": patch,
        "image_size": grid * patch,
        "hidden": target["blocks.0.mlp.fc1.weight"].shape[0],
        "mlp": "swiglu" if is_gated else "gelu",
        "eps": 1e-6,
        "cls": int(has_cls),
        "registers": n_extra,
        "positions": positions,
        "resize": "dino" if is_dinov2 and extra != "register_tokens" else "timm",
        "qkv_bias": int(f"{start}attn.qkv.bias" in source),
        "layer_scale": int(scale is not None),
        "pool": "avg" if is_pooled or not has_cls else "token",
        "norm": "pooled" if is_pooled else "tokens",
        "stem": "conv" if is_conv else "patch",
    }
    size = 224 if is_dinov2 else grid * patch
    if kind:
        notes.append(f"a fixed position embedding, {'MoCo v3' if is_moco else 'MAE and I-JEPA'}'s")
    notes.append(_embedding(options))
    notes.append(_resizing(options, size))
    arch, options, key_prefix = _architecture(options, facts["asked"])
    preprocess = {"size": size, **IMAGENET}
    return source.finish(arch, options, target, notes=notes, preprocess=preprocess, key_prefix=key_prefix)


def _positions(n: int, has_cls: bool, extra: str | None, n_extra: int) -> tuple[str, int]:
    """Return what ``n`` position embeddings cover, and the side of the grid of patches.

    Raises:
        CheckpointError: they fit no square of patches.
    """
    covered = {"all": has_cls + n_extra, "patches": 0}
    if extra == "register_tokens":
        covered = {"class and patches": int(has_cls)}
    for name, n_prefix in covered.items():
        side = round(max(n - n_prefix, 0) ** 0.5)
        if side and side * side == n - n_prefix:
            return name, side
    return "", square(n - has_cls, "the position embedding")


def _heads(dim: int, is_moco: bool, facts: Facts, notes: list[str]) -> int:
    if "heads" in facts["asked"]:
        return int(facts["asked"]["heads"])
    if (is_moco or "base_encoder" in facts["place"] or "momentum_encoder" in facts["place"]) and dim in (384, 768):
        notes.append("12 heads, as MoCo v3's ViTs have")
        return 12
    return heads_of(dim, {**facts, "config": {}})


def _embedding(options: Mapping[str, Any]) -> str:
    if options["norm"] == "pooled":
        return "embedding: fc_norm of the patch tokens' mean"
    if options["pool"] == "avg":
        return "embedding: the mean of the patch tokens after the last norm"
    return "embedding: the class token after the last norm"


def _resizing(options: Mapping[str, Any], size: int) -> str:
    how = {
        "dino": "as DINO's and DINOv2's code does (bicubic, scaled by (G' + 0.1) / G, no antialiasing)",
        "timm": "as timm does (bicubic, antialiased); DINO's own code does it without antialiasing: say resize=dino",
    }[options["resize"]]
    if options["registers"] and options["resize"] == "timm":
        how = "bicubic and antialiased, as DINOv2's code does for its networks with registers"
    return f"position embedding of {options['image_size']} pixels, resized for other sizes{' (224 here)' if size != options['image_size'] else ''} {how}"


def _architecture(options: dict[str, Any], asked: Mapping[str, Any]) -> tuple[str, dict[str, Any], str]:
    """Return one of the four named sizes where the network is one of them, else the family ``vit``; and the key prefix."""
    from virb.networks.families.members import VIT_NAME, VIT_SIZES
    from virb.networks.families.vit import DEFAULTS

    size = next((name for name, sizes in VIT_SIZES.items() if sizes["embed_dim"] == options["dim"]), None)
    own = {"image_size", "depth", "heads", "pool"}
    expected = {**DEFAULTS, **{key: options[key] for key in (*own, "dim", "patch")}, "hidden": 4 * options["dim"]}
    arch = f"vit_{size}_patch{options['patch']}"
    is_named = size and VIT_NAME.fullmatch(arch) and {**DEFAULTS, **options} == expected and not set(asked) - own
    if not is_named or options["pool"] != "token":
        return "vit", options, "net."
    return arch, {key: options[key] for key in ("image_size", "depth", "heads")}, ""


LAYOUT = Layout(
    name="vit",
    source=(
        "facebookresearch/dino: vision_transformer.py; bytedance/ibot: models/vision_transformer.py; facebookresearch/dinov2: "
        "dinov2/models/vision_transformer.py; facebookresearch/mae: models_mae.py, models_vit.py; facebookresearch/moco-v3: "
        "vits.py; facebookresearch/ijepa, msn: src; facebookresearch/deit: models.py, models_v2.py"
    ),
    title="DINO, iBOT, DINOv2 (registers, chunks), MAE, MoCo v3, I-JEPA, MSN, Mugs, DeiT",
    anchors=(f"{_PATCHES}.weight", f"{_PATCHES}.12.weight"),
    recognise=recognise,
    convert=convert,
    gives="class token after the last norm; `fc_norm` of the patches' mean where the file has it; the mean where there is no class token. MoCo v3's 12 heads are told by its fixed positions; DINOv2 is shown 224 px",
    checked="timm",
)

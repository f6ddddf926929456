"""Which architecture a checkpoint holds, read off the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from virb.convert import choice, timm_index
from virb.convert.tables import SECOND_CHOICE, listed, tables
from virb.errors import CheckpointError
from virb.networks.backbones import canonical_architecture, spell_architecture
from virb.networks.families.members import VIT_NAME, VIT_SIZES
from virb.networks.families.resnet import RESNETS, BasicBlock, Bottleneck, base_channels


def detect_architecture(
    state: Mapping[str, Any], *, prefix: str | None = None, what: str = "The checkpoint"
) -> tuple[str, dict[str, Any]]:
    """Infer a ResNet's depth, width and stem, or a Vision Transformer's size and patch, from a checkpoint's shapes.

    Raises:
        CheckpointError: nothing is recognised, or several different networks are; it asks for ``arch=``.
    """
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    reasons: list[str] = []
    for container, table in tables(state):
        for key in table:
            for tail, infer in (("conv1.weight", _infer_resnet), ("patch_embed.proj.weight", _infer_vit)):
                start = key[: len(key) - len(tail)]
                if not key.endswith(tail) or (start and not start.endswith(".")):
                    continue
                place = f"{container}/{start}" if container else start
                own = {name[len(start) :]: value for name, value in table.items() if name.startswith(start)}
                if "layer1.0.conv1.weight" not in own and "blocks.0.attn.qkv.weight" not in own:
                    continue
                if prefix is not None and prefix not in place:
                    continue
                try:
                    found[place] = infer(own, place)
                except CheckpointError as error:
                    reasons.append(str(error))
    ask = "Say which it is, for example FILE:arch=resnet50 or FILE:arch=timm:NAME."
    if not found:
        only = _only_model(state, prefix)
        if only is not None:
            return only, {}
        ask = f"{ask} {timm_index.suggestion(state)}".strip()
        reason = " ".join(reasons) or "it has neither a ResNet's conv1 and layer1 nor a Vision Transformer's blocks."
        raise CheckpointError(f"{what}: the architecture cannot be told from its tensors: {reason} {ask}")
    best = min(SECOND_CHOICE.search(place) is not None for place in found)
    kinds = {
        spell_architecture(*kind): kind
        for place, kind in found.items()
        if (SECOND_CHOICE.search(place) is not None) == best
    }
    if len(kinds) > 1:
        raise CheckpointError(f"{what} holds several architectures: {listed(list(kinds))}. {ask}")
    return next(iter(kinds.values()))


def _only_model(state: Mapping[str, Any], prefix: str | None) -> str | None:
    """Return timm:NAME if one of timm's models alone has exactly the tensors that stand first in the checkpoint."""
    places = [
        (choice.rank(container, start, table), names)
        for container, table in tables(state)
        for start, names in timm_index.fitting(table).items()
        if prefix is None or prefix in f"{container}/{start}"
    ]
    first = min((rank for rank, _ in places), default=0)
    names = {name for rank, found in places for name in found if rank == first}
    return f"timm:{names.pop()}" if len(names) == 1 else None


def _n_blocks(own: Mapping[str, Tensor], stage: str) -> int:
    numbers = {key.split(".")[1] for key in own if key.startswith(f"{stage}.") and key.split(".")[1].isdigit()}
    return len(numbers)


def _infer_resnet(own: Mapping[str, Tensor], place: str) -> tuple[str, dict[str, Any]]:
    first = tuple(own["conv1.weight"].shape)
    if len(first) != 4 or first[1] != 3 or first[2] not in (3, 7):
        raise CheckpointError(f"the first convolution is {first}; expected (C, 3, 7, 7) or (C, 3, 3, 3).")
    block = Bottleneck if "layer1.0.conv3.weight" in own else BasicBlock
    depths = tuple(_n_blocks(own, f"layer{number}") for number in range(1, 5))
    base = first[0]
    second = own.get("layer1.0.conv2.weight")
    for arch, spec in RESNETS.items():
        if (spec.block, spec.depths) != (block, depths):
            continue
        inner = round(base * spec.inner_width / 64) * spec.groups if block is Bottleneck else base
        if second is None or tuple(second.shape[:2]) == (inner, inner // spec.groups):
            width = base / 64
            if base_channels(width) == base:
                return canonical_architecture(arch, {"width": width, "stem": "imagenet" if first[2] == 7 else "cifar"})
    raise CheckpointError(
        f"a ResNet of {block.__name__}s with stages {depths} and {base} channels after the stem is not known."
    )


def _infer_vit(own: Mapping[str, Tensor], place: str) -> tuple[str, dict[str, Any]]:
    dim, n_channels, patch = own["patch_embed.proj.weight"].shape[:3]
    sizes = [name for name, size in VIT_SIZES.items() if size["embed_dim"] == dim]
    position = own.get("pos_embed")
    if not sizes or n_channels != 3 or VIT_NAME.fullmatch(f"vit_tiny_patch{patch}") is None or position is None:
        raise CheckpointError(f"a Vision Transformer of width {dim} with patches of {patch} is none that virb knows.")
    grid = round((position.shape[1] - 1) ** 0.5)
    if grid * grid != position.shape[1] - 1:
        raise CheckpointError(f"its position embedding has {position.shape[1]} tokens; expected 1 + a square.")
    options: dict[str, Any] = {"image_size": grid * patch, "depth": _n_blocks(own, "blocks")}
    if dim == 384 and ("base_encoder" in place or "momentum_encoder" in place):
        options["heads"] = 12  # MoCo v3's ViT-S has 12 heads where DeiT's and DINO's have 6; no shape tells them apart
    return canonical_architecture(f"vit_{sizes[0]}_patch{patch}", options)


def assumed(arch: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is taken for granted of a network because no tensor tells it, for the report of the match."""
    if arch not in RESNETS:
        return ()
    notes = ["BatchNorm with eps 1e-5 (TensorFlow's ports have 1e-3)"]
    if RESNETS[arch].block is Bottleneck:
        notes.append(
            "strides in the 3x3 convolutions (Caffe's and TensorFlow's networks have them in the first 1x1) and no "
            "anti-aliasing (timm's resnetaa and resnetblur have the same tensors: arch=timm:NAME)"
        )
    if options.get("stem") == "cifar":
        notes.append("padding 1 in the 3x3 stem (solo-learn's CIFAR networks have 2)")
    return (f"assumed, as no tensor tells: {'; '.join(notes)}",)

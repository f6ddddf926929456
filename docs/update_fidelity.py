"""Write the table of docs/fidelity.md: what the authors of each method publish, and what virb does by default.

    python docs/update_fidelity.py

Ours is read from the methods themselves. What the authors publish stands below, with where; learning rates are those of
256 images under the method's rule. A difference needs a reason (``DEVIATIONS``), or tests/pretrain/test_fidelity.py fails.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from virb import registry
from virb.contracts.method import Method

PAGE = Path(__file__).with_name("fidelity.md")
BEGIN, END = "<!-- fidelity: begin -->\n", "<!-- fidelity: end -->\n"

# method, network: (source, values). Training: optimizer, lr of 256 images, weight decay, epochs, warm-up; then options.
AUTHORS: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {
    ("simclr", "ResNet"): ("Section 2.2, Appendices A and B.1", {
        "optimizer": "lars", "lr": 0.3, "weight_decay": 1e-6, "epochs": 100, "warmup": 10, "temperature": 0.1,
        "projection_dim": 128, "head_norm": "all", "jitter": "0.8,0.8,0.8,0.2", "jitter_p": 0.8, "gray_p": 0.2,
        "blur_p": 0.5, "min_crop": 0.08,
    }),
    ("moco-v1", "ResNet"): ("Section 3.3; main_moco.py", {
        "optimizer": "sgd", "lr": 0.03, "weight_decay": 1e-4, "epochs": 200, "warmup": 0, "temperature": 0.07,
        "momentum": 0.999, "jitter": "0.4,0.4,0.4,0.4", "jitter_p": 1.0, "gray_p": 0.2, "blur_p": 0.0, "min_crop": 0.2,
    }),
    ("moco-v2", "ResNet"): ("main_moco.py --mlp --moco-t 0.2 --aug-plus --cos", {
        "optimizer": "sgd", "lr": 0.03, "weight_decay": 1e-4, "epochs": 200, "warmup": 0, "temperature": 0.2,
        "momentum": 0.999, "jitter": "0.4,0.4,0.4,0.1", "jitter_p": 0.8, "gray_p": 0.2, "blur_p": 0.5, "min_crop": 0.2,
    }),
    ("moco-v3", "ResNet"): ("CONFIG.md, 100 epochs", {
        "optimizer": "lars", "lr": 0.6, "weight_decay": 1e-6, "epochs": 100, "warmup": 10, "temperature": 1.0,
        "momentum": 0.99, "projector_layers": 2, "predictor_norm": False, "zero_init_residual": True,
        "jitter": "0.4,0.4,0.2,0.1", "blur_p": "1,0.1", "solarize_p": "0,0.2", "min_crop": 0.2,
    }),
    ("moco-v3", "ViT"): ("CONFIG.md, 300 epochs", {
        "optimizer": "adamw", "lr": 1.5e-4, "weight_decay": 0.1, "epochs": 300, "warmup": 40, "temperature": 0.2,
        "momentum": 0.99, "projector_layers": 3, "predictor_norm": True, "freeze_patches": True,
        "fixed_positions": True, "xavier": True,
        "jitter": "0.4,0.4,0.2,0.1", "blur_p": "1,0.1", "solarize_p": "0,0.2", "min_crop": 0.08,
    }),
    ("byol", "ResNet"): ("Appendices B and J, 300 epochs", {
        "optimizer": "lars", "lr": 0.3, "weight_decay": 1e-6, "epochs": 300, "warmup": 10, "momentum": 0.99,
        "hidden_dim": 4096, "projection_dim": 256, "resampling": "bicubic",
        "jitter": "0.4,0.4,0.2,0.1", "blur_p": "1,0.1", "solarize_p": "0,0.2", "min_crop": 0.08,
    }),
    ("simsiam", "ResNet"): ("Section 3; builder.py", {
        "optimizer": "sgd", "lr": 0.05, "weight_decay": 1e-4, "epochs": 100, "warmup": 0, "projection_dim": 2048,
        "bottleneck_dim": 512, "zero_init_residual": True, "jitter": "0.4,0.4,0.4,0.1", "blur_p": 0.5, "min_crop": 0.2,
    }),
    ("swav", "ResNet"): ("the script for 256 images, 200 epochs", {
        "optimizer": "larc", "lr": 0.6, "weight_decay": 1e-6, "epochs": 200, "warmup": 0, "temperature": 0.1,
        "epsilon": 0.05, "prototypes": 3000, "queue_epoch": 15.0, "small_crops": 6, "crop_split": 0.14,
        "jitter": "0.8,0.8,0.8,0.2", "jitter_p": 0.8, "gray_p": 0.2, "blur_p": 0.5, "min_crop": 0.05,
    }),
    ("pirl", "ResNet"): ("Section 3; VISSL, pirl_jigsaw_4node_resnet50.yaml", {
        "optimizer": "sgd", "lr": 0.03, "weight_decay": 1e-4, "epochs": 800, "warmup": 0, "temperature": 0.07,
        "weight": 0.5, "negatives": 32000, "negatives_of": "image", "memory_momentum": 0.5, "loss": "nce",
        "decay_bias": False, "jitter": "0.4,0.4,0.4,0.2", "jitter_p": 1.0, "gray_p": 0.2, "min_crop": 0.08,
    }),
    ("barlow-twins", "ResNet"): ("Section 2.2; main.py", {
        "optimizer": "lars", "lr": 0.2, "weight_decay": 1.5e-6, "epochs": 1000, "warmup": 10, "lambd": 0.005,
        "projection_dim": 8192, "zero_init_residual": True, "resampling": "bicubic",
        "jitter": "0.4,0.4,0.2,0.1", "blur_p": "1,0.1", "solarize_p": "0,0.2", "min_crop": 0.08,
    }),
    ("vicreg", "ResNet"): ("Section 4.2; main_vicreg.py", {
        "optimizer": "lars", "lr": 0.2, "weight_decay": 1e-6, "epochs": 1000, "warmup": 10, "invariance": 25.0,
        "variance": 25.0, "covariance": 1.0, "projection_dim": 8192, "zero_init_residual": True, "min_crop": 0.08,
    }),
    ("dino", "ViT"): ("main_dino.py", {
        "optimizer": "adamw", "lr": 5e-4, "weight_decay": 0.04, "epochs": 100, "warmup": 10, "momentum": 0.996,
        "student_temperature": 0.1, "first_teacher_temperature": 0.04, "prototypes": 65536, "clip": 3.0,
        "small_crops": 8, "crop_split": 0.4, "drop_path": 0.1, "resampling": "bicubic", "head_norm": False,
        "jitter": "0.4,0.4,0.2,0.1", "blur_p": "1,0.1,0.5", "solarize_p": "0,0.2,0", "min_crop": 0.05,
    }),
    ("mae", "ViT"): ("Section 4.3, Table 8; PRETRAIN.md", {
        "optimizer": "adamw", "lr": 1.5e-4, "weight_decay": 0.05, "beta2": 0.95, "epochs": 800, "warmup": 40,
        "mask_ratio": 0.75, "normalize": True, "decoder_dim": 512, "decoder_depth": 8, "decoder_heads": 16,
        "resampling": "bicubic", "positions": "fixed sin-cos", "initialisation": "Xavier",
        "strength": 0.0, "gray_p": 0.0, "min_crop": 0.2,
    }),
    ("i-jepa", "ViT"): ("Appendix A; configs/in1k_vith14_ep300.yaml", {
        "optimizer": "adamw", "lr": 1.25e-4, "weight_decay": 0.04, "final_weight_decay": 0.4, "epochs": 300, "warmup": 40,
        "momentum": 0.996, "n_targets": 4, "min_target": 0.15, "max_target": 0.2, "min_keep": 10, "predictor_dim": 384,
        "predictor_depth": 12, "positions": "fixed sin-cos", "blocks reach the edges": False,
        "strength": 0.0, "gray_p": 0.0, "min_crop": 0.3,
    }),
    ("ibot", "ViT"): ("Section 4; README, ViT-S/16", {
        "optimizer": "adamw", "lr": 5e-4, "weight_decay": 0.04, "final_weight_decay": 0.4, "epochs": 800, "warmup": 10,
        "momentum": 0.996, "student_temperature": 0.1, "first_teacher_temperature": 0.04, "teacher_temperature": 0.07,
        "center_momentum": 0.9, "prototypes": 8192, "mask_p": 0.5, "min_hidden": 0.1, "max_hidden": 0.5, "clip": 3.0,
        "drop_path": 0.1, "small_crops": 10, "crop_split": 0.25, "resampling": "bicubic",
        "jitter": "0.4,0.4,0.2,0.1", "blur_p": "1,0.1,0.5", "solarize_p": "0,0.2,0", "min_crop": 0.05,
    }),
    ("dinov2", "ViT"): ("Section 4; configs/train/vitl14.yaml", {
        "optimizer": "adamw", "lr": 1e-4, "weight_decay": 0.04, "final_weight_decay": 0.2, "epochs": 500, "warmup": 80,
        "momentum": 0.994, "student_temperature": 0.1, "first_teacher_temperature": 0.04, "teacher_temperature": 0.07,
        "prototypes": 131072, "bottleneck_dim": 384, "patch_bottleneck_dim": 256, "koleo": 0.1, "koleo is over": "a GPU",
        "mask_p": 0.5, "min_hidden": 0.1, "max_hidden": 0.5, "masked crops": "exactly half", "clip": 3.0, "drop_path": 0.4,
        "layer_decay": 1.0, "patch_lr": 0.2, "small_crops": 8, "crop_split": 0.32, "resampling": "bicubic",
        "jitter": "0.4,0.4,0.2,0.1", "blur_p": "1,0.1,0.5", "solarize_p": "0,0.2,0", "min_crop": 0.05,
    }),
    ("dino", "ResNet"): ("README, ResNet-50", {
        "optimizer": "sgd", "lr": 0.03, "weight_decay": 1e-4, "epochs": 100, "warmup": 10, "crop_split": 0.14,
    }),
    ("supervised", "ResNet"): ("Section 3.4; torchvision's reference", {
        "optimizer": "sgd", "lr": 0.1, "weight_decay": 1e-4, "epochs": 90, "warmup": 0, "min_crop": 0.08,
    }),
    ("rotation", "ResNet"): ("VISSL, rotnet_8gpu_resnet.yaml", {
        "optimizer": "sgd", "lr": 0.1, "weight_decay": 1e-4, "epochs": 105, "warmup": 0,
    }),
    ("jigsaw", "ResNet"): ("VISSL, jigsaw_8gpu_resnet.yaml", {
        "optimizer": "sgd", "lr": 0.1, "weight_decay": 1e-4, "epochs": 105, "warmup": 5, "permutations": 2000,
    }),
}  # fmt: skip

# What the code does where no option says it.
FIXED = {
    "positions": "fixed sin-cos", "initialisation": "Xavier",
    "blocks reach the edges": True, "koleo is over": "the batch", "masked crops": "half on average",
}  # fmt: skip

EARLIER = "the option says so; the default stays, so that earlier encoders can be made again"
DEVIATIONS = {
    ("simclr", "head_norm"): "the paper describes none; head_norm=all is the authors' code",
    ("byol", "resampling"): EARLIER,
    ("barlow-twins", "resampling"): EARLIER,
    ("dino", "resampling"): EARLIER,
    ("dino", "drop_path"): EARLIER,
    ("mae", "resampling"): EARLIER,
    ("i-jepa", "blocks reach the edges"): "on few patches those of the lower and right edge would never be seen",
    ("ibot", "resampling"): EARLIER,
    ("dinov2", "resampling"): EARLIER,
    ("dinov2", "koleo is over"): "several processes train what one would",
    ("dinov2", "masked crops"): "as iBOT's, each crop for itself",
    ("pirl", "negatives_of"): EARLIER,
    ("pirl", "decay_bias"): EARLIER,
}


def ours(method: Method, network: str, name: str) -> Any:
    """Return what ``method`` does by default on a network of that kind."""
    method = method.at({"ResNet": "resnet50", "ViT": "vit_small_patch16"}[network])
    training = method.training
    assert training is not None
    if name == "lr":
        return round(training.scaled_lr(256), 10)
    if name == "warmup":
        return training.warmup_epochs
    if name in ("optimizer", "weight_decay", "final_weight_decay", "beta2", "epochs"):
        return getattr(training, name)
    if name in FIXED:
        return FIXED[name]
    return next(option.default for option in method.options if option.name == name)


def rows() -> list[tuple[str, str, str, str, Any, Any]]:
    """Return (method, network, source, setting, authors' value, ours) of everything in the table."""
    return [
        (name, network, source, setting, value, ours(registry.load("methods", name), network, setting))
        for (name, network), (source, values) in AUTHORS.items()
        for setting, value in values.items()
    ]


def table() -> str:
    """Return the table: a row a method and network; what is equal is said once, what is not with its reason."""
    lines = ["| method | network | published in | as published | other than published |", "|---|---|---|---|---|"]
    for (name, network), (source, _) in AUTHORS.items():
        mine = [row for row in rows() if row[:2] == (name, network)]
        same = "; ".join(f"{setting} {_say(value)}" for *_, setting, value, own in mine if value == own)
        other = "; ".join(
            f"{setting} {_say(own)}, published {_say(value)}: {DEVIATIONS.get((name, setting), '?')}"
            for *_, setting, value, own in mine
            if value != own
        )
        lines.append(f"| {name} | {network} | {source} | {same} | {other or '–'} |")
    return "\n".join(lines) + "\n"


def _say(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def page(text: str) -> str:
    """Return the page ``text`` with the table as it is now."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

"""The methods that hide patches against the untrained Vision Transformer: is what they learn above the floor?

    python benchmarks/above_untrained_patches.py [--methods mae,ibot] [--seeds 3] [--images 20480] [--scores FILE.json]

A transformer of 64 dimensions and four blocks, on patches of 8 px, sees 48 px views of the rendered world's 6,000 pretraining
images of objects, or a quarter of them where a method gains more from seeing an image again (iBOT, DINOv2, three times as long;
``--images`` gives all another length); batches of 64. Two scores on the 2,800 other images of objects, of twelve classes: nearest neighbours as in
ssl_training.py, and a linear classifier (logistic regression of standardised features, the mean of five folds), as masked
reconstruction is little seen by the first (He et al. 2022, Section 4.3). Rates, momenta and heads are those of a small network on
few images, without small crops; all else is as published. MAE and I-JEPA are read off the patches' mean, which is what they
train, iBOT and DINOv2 off the class token; each is compared with an untrained network that is read the same way, and begins with
the same weights but for what the method's authors begin with (sine-cosine positions, Xavier's draws).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from ssl_training import DATA, SIZE, VIEW_SIZE, Score, Scores, arguments, difference, spread

from virb.convert.load import load_encoder
from virb.networks.encoder import FrozenEncoder
from virb.pretraining import runs, watch
from virb.pretraining.settings import Settings

LR = 0.002
ARCH = {"dim": 64, "depth": 4, "heads": 4, "hidden": 256, "patch": 8, "image_size": SIZE}
MILD = {"jitter": "0.4,0.4,0.4,0.1", "blur_p": "0", "solarize_p": "0", "crop_split": 0.4}
HEADS = {"prototypes": 1024, "hidden_dim": 512, "bottleneck_dim": 64, "freeze_epochs": 4.0}
STUDENT = {
    "small_crops": 0, "momentum": 0.98, "drop_path": 0.0, "clip": 0, "first_teacher_temperature": 0.03,
    "teacher_temperature": 0.03,
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A method's network, options (published ones where nothing is said), images seen, other settings."""

    arch: dict[str, Any]
    options: dict[str, Any]
    images: int = 20_480
    settings: dict[str, Any] = field(default_factory=dict)


# As DINO in above_untrained.py: few images, seen often.
FEW = {"images": 61_440, "settings": {"subset": "quarter", "warmup_epochs": 4}}
RUNS = {
    "mae": Run({"pool": "avg"}, {"decoder_dim": 64, "decoder_depth": 2, "decoder_heads": 4}),
    "i-jepa": Run(
        {"pool": "avg"},
        {"predictor_dim": 48, "predictor_depth": 2, "predictor_heads": 4, "momentum": 0.99, "min_keep": 4},
    ),
    "ibot": Run({}, {**HEADS, **STUDENT, **MILD}, **FEW),
    "dinov2": Run({"registers": 4}, {**HEADS, **STUDENT, **MILD, "patch_bottleneck_dim": 64}, **FEW),
}


class Scorer(Score):
    """Nearest neighbours and a linear classifier on images that no training saw."""

    def both(self, encoder: FrozenEncoder) -> dict[str, float]:
        features = torch.cat([encoder.embed(encoder.prepare(part)) for part in self.images.split(64)])
        linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        right = cross_val_score(linear, features.numpy(), self.label.numpy(), cv=folds)
        return {"knn": watch.knn_accuracy(features, self.label, k=20), "linear": float(right.mean())}


def made(method: str, folder: Path, *, seed: int, arch: dict[str, Any], **how: Any) -> FrozenEncoder:
    """Return what `virb pretrain` makes of it."""
    out = folder / f"{method}-{seed}.pt"
    settings = Settings(method=method, out=out, arch="vit", arch_options={**ARCH, **arch}, size=SIZE, seed=seed, **how)
    runs.pretrain(settings, force=True, quiet=True)
    return load_encoder(out)


def main() -> None:
    args = arguments(__doc__, list(RUNS), images=None)
    score, scores = Scorer(), Scores(args.scores)
    how = {"data": DATA, "batch_size": 64, "view_size": VIEW_SIZE, "lr": LR, "device": "cpu"}
    found: dict[str, list[tuple[dict[str, float], dict[str, float]]]] = {method: [] for method in args.methods}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(args.seeds):
            for method in args.methods:
                one = RUNS[method]
                images, settings = args.images or one.images, {**how, **one.settings}
                floor = partial(made, "random", Path(scratch), seed=seed, arch=one.arch)
                run = partial(
                    made,
                    method,
                    Path(scratch),
                    seed=seed,
                    arch=one.arch,
                    options=one.options,
                    budget=images,
                    **settings,
                )
                below = scores.get(f"untrained {one.arch}, seed {seed}", lambda make=floor: score.both(make()))
                what = f"{method}, {images} images, {one.settings}, {one.options}, seed {seed}"
                above = scores.get(what, lambda make=run: score.both(make()))
                found[method].append((above, below))
    for kind in ("knn", "linear"):
        print(f"| method | {kind} | untrained | difference |\n|---|---|---|---|")
        for method, pairs in found.items():
            above, below = ([found_of[kind] for found_of in side] for side in zip(*pairs, strict=True))
            print(f"| {method} | {spread(above)} | {spread(below)} | {difference(above, below)} |")


if __name__ == "__main__":
    main()

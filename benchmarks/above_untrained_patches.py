"""The methods that hide patches against the untrained Vision Transformer: is what they learn above the floor?

    python benchmarks/above_untrained_patches.py [--methods mae,ibot] [--seeds 3] [--images 20480] [--scores FILE.json]

A transformer of 64 dimensions and four blocks, on patches of 8 px, sees 48 px views of the rendered world's 6,000 pretraining
images of objects; batches of 64. Two scores on the 2,800 other images of objects, of twelve classes: nearest neighbours as in
ssl_training.py, and a linear classifier (logistic regression of standardised features, the mean of five folds), as masked
reconstruction is little seen by the first (He et al. 2022, Section 4.3). Rates, momenta and heads are those of a small network on
few images, without small crops; all else is as published. MAE and I-JEPA are read off the patches' mean, which is what they
train, iBOT and DINOv2 off the class token; each is compared with an untrained network that is read the same way, and begins with
the same weights but for what the method's authors begin with (sine-cosine positions, Xavier's draws).
"""

from __future__ import annotations

import tempfile
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
MILD = {"jitter": "0.4,0.4,0.4,0.1", "blur_p": "0.1", "solarize_p": "0"}
HEADS = {"prototypes": 256, "hidden_dim": 256, "bottleneck_dim": 64, "freeze_epochs": 0.2}
STUDENT = {"small_crops": 0, "momentum": 0.98, "drop_path": 0.0}
#: A method's network and options; published ones where nothing is said.
RUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mae": ({"pool": "avg"}, {"decoder_dim": 64, "decoder_depth": 2, "decoder_heads": 4}),
    "i-jepa": (
        {"pool": "avg"},
        {"predictor_dim": 48, "predictor_depth": 2, "predictor_heads": 4, "momentum": 0.99, "min_keep": 4},
    ),
    "ibot": ({}, {**HEADS, **STUDENT, **MILD}),
    "dinov2": ({"registers": 4}, {**HEADS, **STUDENT, **MILD, "patch_bottleneck_dim": 64}),
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
    args = arguments(__doc__, list(RUNS), images=20480)
    score, scores = Scorer(), Scores(args.scores)
    how = {"data": DATA, "budget": args.images, "batch_size": 64, "view_size": VIEW_SIZE, "lr": LR, "device": "cpu"}
    found: dict[str, list[tuple[dict[str, float], dict[str, float]]]] = {method: [] for method in args.methods}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(args.seeds):
            for method in args.methods:
                arch, options = RUNS[method]
                floor = partial(made, "random", Path(scratch), seed=seed, arch=arch)
                run = partial(made, method, Path(scratch), seed=seed, arch=arch, options=options, **how)
                below = scores.get(f"untrained {arch}, seed {seed}", lambda make=floor: score.both(make()))
                above = scores.get(f"{method}, {args.images} images, seed {seed}", lambda make=run: score.both(make()))
                found[method].append((above, below))
    for kind in ("knn", "linear"):
        print(f"| method | {kind} | untrained | difference |\n|---|---|---|---|")
        for method, pairs in found.items():
            above, below = ([one[kind] for one in side] for side in zip(*pairs, strict=True))
            print(f"| {method} | {spread(above)} | {spread(below)} | {difference(above, below)} |")


if __name__ == "__main__":
    main()

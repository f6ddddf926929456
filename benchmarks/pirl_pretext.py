"""PIRL against its covariant pretexts: does being invariant to a jigsaw or rotation beat predicting it?

    python benchmarks/pirl_pretext.py [--methods pirl-jigsaw,jigsaw] [--seeds 3] [--images 40960]

Misra and van der Maaten 2020, Section 4: PIRL is far above Jigsaw and Rotation trained on the same images, and all are
above random weights. Here all see as many images, with the same first weights and the settings of ssl_training.py.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ssl_training import Score, Scores, arguments, difference, settings, spread, train, untrained

# A name: the method, its options, and the run it is compared with. 100 orders of tiles are enough for so few images,
# and the temperature is the one of the other contrastive runs here.
RUNS: dict[str, tuple[str, dict[str, Any], str]] = {
    "jigsaw": ("jigsaw", {"permutations": 100, "tile_dim": 128}, "untrained"),
    "rotation": ("rotation", {"min_crop": 0.2}, "untrained"),
    "pirl-jigsaw": ("pirl", {"pretext": "jigsaw", "temperature": 0.2, "min_crop": 0.2, "projection": "nonlinear"}, "jigsaw"),
    "pirl-rotation": ("pirl", {"pretext": "rotation", "temperature": 0.2, "min_crop": 0.2, "projection": "nonlinear"}, "rotation"),
}  # fmt: skip


def main() -> None:
    args = arguments(__doc__, list(RUNS))
    score, scores, seeds = Score(), Scores(args.scores), range(args.seeds)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        floor = [scores.get(f"untrained, seed {k}", lambda k=k: score(untrained(folder, k))) for k in seeds]
        print("| pretraining | top-1 | less untrained | less its pretext |\n|---|---|---|---|")
        print(f"| untrained | {spread(floor)} | | |", flush=True)
        found = {"untrained": floor}
        for name in args.methods:
            method, options, rival = RUNS[name]
            found[name] = []
            for k in seeds:
                how = settings(method, folder / f"{name}-{k}.pt", seed=k, images=args.images, options=options)
                what = f"virb {name}, {args.images} images, seed {k}"
                found[name].append(scores.get(what, lambda how=how: score(train(how))))
            lead = difference(found[name], found[rival]) if rival != "untrained" and rival in found else ""
            print(f"| {name} | {spread(found[name])} | {difference(found[name], floor)} | {lead} |", flush=True)


if __name__ == "__main__":
    main()

"""Same data, same budget, same backbone: virb's pretraining methods against lightly's (https://docs.lightly.ai).

    pip install --no-deps lightly lightly_utils       # beside virb; what is used of it needs no more
    python benchmarks/ssl_against_lightly.py [--methods simclr,byol] [--seeds 3] [--images 120000] [--split train] [--scores FILE.json]

virb's side are the trainings of above_untrained.py, at settings and a length at which methods are above an untrained network; a file
of its scores (``--scores``) is taken as it is. lightly's side (beside_lightly/) is its losses, heads and loops as its examples write
them, with the same first weights of the backbone, the same images in the same order, the same views, and the same options, optimiser and
schedule. What is left to differ is what the libraries do differently: heads and their first weights, how batch normalisation is
fed, losses, momentum copies, queues.

First it compares the losses on the same numbers, and the weights after the first updates from equal heads; the last table has
seeds in pairs. ``--images`` is an epoch at least, which the warm-up takes. lightly is a development tool here and no dependency of virb.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

from above_untrained import RUNS, settings_of, what_run
from ssl_training import Score, Scores, arguments, difference, spread, train, untrained

try:
    from beside_lightly.losses import compare_losses
    from beside_lightly.models import MODELS
    from beside_lightly.training import train_lightly
    from beside_lightly.updates import compare_updates
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "lightly":
        raise
    sys.exit("This comparison needs lightly: pip install --no-deps lightly lightly_utils")


def main() -> None:
    args = arguments(__doc__, list(MODELS), images=None, split="test")
    print("| loss | relative difference of the loss | of its gradient |\n|---|---|---|")
    for name, (loss, gradient) in compare_losses().items():
        print(f"| {name} | {loss:.0e} | {gradient:.0e} |", flush=True)
    score, scores, seeds = Score(args.split), Scores(args.scores), range(args.seeds)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        starts = [untrained(folder, seed) for seed in seeds]
        print("\n| method | distance of the backbones after one update | after five |\n|---|---|---|")
        for name in args.methods:
            first, last = compare_updates(name, starts[0])
            print(f"| {name} | {first:.0e} | {last:.0e} |", flush=True)
        floor = [scores.get(f"untrained, {args.split}, seed {k}", partial(score, starts[k])) for k in seeds]
        print(
            "\n| method | images seen | virb | lightly | virb less lightly | virb less untrained | lightly less untrained |"
        )
        print(f"|---|---|---|---|---|---|---|\n| untrained | 0 | {spread(floor)} | | | | |", flush=True)
        for name in args.methods:
            ours, theirs = [], []
            for k in seeds:
                how = settings_of(name, folder / f"{name}-{k}.pt", seed=k, images=args.images)
                what = what_run(name, split=args.split, seed=k, images=args.images)
                other = partial(train_lightly, name, starts[k], seed=k, images=args.images)
                ours.append(scores.get(what, lambda how=how: score(train(how))))
                theirs.append(scores.get(f"lightly {what}", lambda run=other: score(run())))
            images = args.images or RUNS[name].images
            leads = difference(ours, theirs), difference(ours, floor), difference(theirs, floor)
            print(f"| {name} | {images:,} | {spread(ours)} | {spread(theirs)} | {' | '.join(leads)} |", flush=True)


if __name__ == "__main__":
    main()

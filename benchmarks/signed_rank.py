"""Exact signed-rank tests of all pairs of encoders: in batches against one pair at a time, equal p, in one process.

Run: python benchmarks/signed_rank.py [--encoders 60] [--tasks 21]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd

from virb.stats.ranking import holm_wilcoxon
from virb.stats.signed_rank import signed_rank_p


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoders", type=int, default=60)
    parser.add_argument("--tasks", type=int, default=21)
    args = parser.parse_args()
    scores = np.random.default_rng(0).normal(size=(args.encoders, args.tasks)).round(3)
    table = pd.DataFrame(scores, index=[f"e{k}" for k in range(args.encoders)]).rename(columns=str)
    begun = time.process_time()
    found = holm_wilcoxon(table)
    batched = time.process_time() - begun
    begun = time.process_time()
    alone = [signed_rank_p(scores[i] - scores[j]) for i in range(args.encoders) for j in range(i + 1, args.encoders)]
    one_by_one = time.process_time() - begun
    assert found["p"].tolist() == alone
    print(
        f"{len(alone):,} pairs of {args.encoders} encoders over {args.tasks} tasks: {one_by_one:.2f} s of a processor one at "
        f"a time, {batched:.2f} s in batches (Holm's correction too), ratio {one_by_one / batched:.1f}"
    )


if __name__ == "__main__":
    main()

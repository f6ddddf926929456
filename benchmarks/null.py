"""What every p and interval gives where nothing is there: nominal against found, with Monte Carlo errors.

Each row (benchmarks/nulls/, one file a subject) simulates studies under its null (small n, families, shared sources, categories whose
tasks agree, one task in percent, skewed scores) and counts how often .05 is reached, or how often an interval leaves out the
truth. Power rows run the same tests where something is there: a test that never rejects fails them; rows of "found four times in
five" count how often. A row passes where what is found is no more than three Monte Carlo errors beyond what is said.

Run: python benchmarks/null.py [--studies 1] [--row NAME]     (--studies 4: four times as many; exit status 1 if a row fails)
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from nulls import correlations, decisions, layers, rankings, sources
from nulls.row import LEVEL, Row

ROWS = [*correlations.ROWS, *rankings.ROWS, *decisions.ROWS, *sources.ROWS, *layers.ROWS]


@dataclass(frozen=True)
class Found:
    row: Row
    rate: float
    error: float
    studies: int

    @property
    def passes(self) -> bool:
        if self.row.is_power:
            return self.rate - 3 * self.error >= 3 * LEVEL
        if self.row.least:
            return self.rate >= self.row.least - 3 * self.error
        return self.rate <= self.row.bound + 3 * self.error

    @property
    def nominal(self) -> str:
        if self.row.is_power:
            return f"> {3 * LEVEL:.2f}"
        return f">= {self.row.least:.2f}" if self.row.least else f"{self.row.bound:.3g}"


def found(row: Row, times: float = 1, seed: int = 0) -> Found:
    """Simulate a row; the error is the spread between studies, for tests within one are not independent."""
    rng = np.random.default_rng(seed)
    rates = np.array([row.study(rng) for _ in range(max(20, int(row.studies * times)))])
    said = row.least or (2 * LEVEL if row.is_power else row.bound)
    floor = np.sqrt(said * (1 - said) / len(rates)) if np.ptp(rates) == 0 and not row.is_power else 0.0
    error = float(max(rates.std(ddof=1) / np.sqrt(len(rates)), floor))
    return Found(row, float(rates.mean()), error, len(rates))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=float, default=1, help="times the studies of every row")
    parser.add_argument("--row", default="", help="only rows whose name has this in it")
    args = parser.parse_args()
    failed = []
    print("| what is printed | nominal | found | ± | studies | |\n|---|---|---|---|---|---|")
    start = time.process_time()
    for row in ROWS:
        if args.row not in row.name:
            continue
        result = found(row, args.studies)
        if not result.passes:
            failed.append(row.name)
        print(
            f"| {row.name} | {result.nominal} | {result.rate:.3f} | {result.error:.3f} | {result.studies} | "
            f"{'' if result.passes else 'FAILS'} |",
            flush=True,
        )
    print(
        f"\n{len(failed)} of {len(ROWS)} rows fail; {time.process_time() - start:.0f} s of a processor", file=sys.stderr
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

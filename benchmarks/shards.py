"""How much memory a large WebDataset takes: tiny synthetic images in tar shards, evaluated by the real command.

    python benchmarks/shards.py 100000 1000000

For each number of rows: a tenth of them tests; the shards are written, `virb evaluate` runs on them in a process of its own,
and the peak of its resident memory is printed. Nothing is unpacked.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROWS_A_SHARD = 100_000
N_CLASSES = 10


def write(path: Path, first: int, n: int) -> None:
    """Write one shard of ``n`` samples: 4x4 pngs, each of its own, and their class."""
    rng = np.random.default_rng(first)
    pixels = rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for k in range(n):
            label = (first + k) % N_CLASSES
            pixels[k, 0] = 25 * label
            file = io.BytesIO()
            Image.fromarray(pixels[k]).save(file, "PPM")
            for ending, content in (("cls", str(label).encode()), ("ppm", file.getvalue())):
                about = tarfile.TarInfo(f"s{first + k:08d}.{ending}")
                about.size = len(content)
                tar.addfile(about, io.BytesIO(content))


def make(root: Path, n: int) -> int:
    """Write ``n`` rows, a tenth of them test; return the bytes."""
    parts = (("train", 0, n - n // 10), ("test", n - n // 10, n))
    for split, begin, end in parts:
        for number, first in enumerate(range(begin, end, ROWS_A_SHARD)):
            write(root / split / f"{number}.tar", first, min(ROWS_A_SHARD, end - first))
    (root / "classnames.txt").write_text("\n".join(f"class {k}" for k in range(N_CLASSES)))
    return sum(path.stat().st_size for path in root.rglob("*.tar"))


def measure(root: Path, work: Path, encoder: str, epochs: int) -> tuple[float, float]:
    """Return the seconds and the peak in GB of evaluating ``root``."""
    env = {**os.environ, "VIRB_CACHE": str(work / "cache")}
    run = [sys.executable, "-m", "virb"]
    subprocess.run([*run, "new", "task", "many", "--from", str(root), "--out", str(work / "own")], check=True, env=env)
    before = time.monotonic()
    command = [*run, "evaluate", encoder, "--include", str(work / "own"), "--tasks", "many", "--data", f"many={root}"]
    subprocess.run([*command, "--epochs", str(epochs), "--out", str(work / "results")], check=True, env=env)
    return time.monotonic() - before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "rows", type=int, nargs="+", help="how many, smallest first (the peak is that of all until then)"
    )
    parser.add_argument("--encoder", default="pixels:2:size=4")
    parser.add_argument("--epochs", type=int, default=1)
    args = parser.parse_args()
    print("rows  bytes of shards  seconds  peak GB")
    for n in sorted(args.rows):
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            n_bytes = make(work / "many", n)
            seconds, peak = measure(work / "many", work, args.encoder, args.epochs)
            print(f"{n:,}  {n_bytes / 1e9:.2f} GB  {seconds:.0f} s  {peak:.2f} GB", flush=True)


if __name__ == "__main__":
    main()

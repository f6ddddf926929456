"""Peak memory of a task with 100 times the images: `virb evaluate` on n and 100 n JPEG files, each in a process of its own.

The encoder is the image itself (pixels:32, D = 3,072), so that what is measured is the bookkeeping, the embeddings and
the head, not a network's buffers. Peak is the process's largest resident set (ru_maxrss), mapped files included.

Run: python benchmarks/memory.py [--images 1000] [--factor 100]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from virb.probes.gradient import MAX_STACKED_BYTES

N_CLASSES = 10
SIZE = 32
FILES_A_LINK = 50_000  # ext4 allows 65,000 names of a file

RUN = """
import json, resource, sys
from virb.cli import main
status = main(sys.argv[1:])
print(json.dumps({"status": status, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def write_images(root: Path, n_train: int, n_test: int) -> None:
    """Write an image folder of ``n_train`` and ``n_test`` names; names of one picture are links to it."""
    rng = np.random.default_rng(0)
    for split, n in (("train", n_train), ("test", n_test)):
        for label in range(N_CLASSES):
            folder = root / split / f"class{label}"
            folder.mkdir(parents=True)
            picture = folder / "0.jpg"
            for k in range(n // N_CLASSES):
                path = folder / f"{k}.jpg"
                if k % FILES_A_LINK == 0:
                    Image.fromarray(rng.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)).save(path, quality=90)
                    picture = path
                else:
                    os.link(picture, path)


def task_file(folder: Path) -> None:
    folder.mkdir()
    (folder / "many.py").write_text(
        "from virb.images.folders import image_folder\n"
        "from virb.contracts.task import Category, Protocol, Task\n\n"
        f"NAMES = tuple(f'class{{k}}' for k in range({N_CLASSES}))\n"
        "TASK = Task(name='many', summary='which folder', category=Category.SEMANTIC_IMAGE, head='linear',\n"
        "    loss='cross_entropy', metric='top1', data=image_folder('many'), classes=NAMES,\n"
        "    protocol=Protocol(epochs=1))\n"
    )


def measure(n: int, place: Path) -> tuple[float, float]:
    """Return the peak in MB and the seconds of an evaluation with ``n`` training and ``n / 10`` test images."""
    write_images(place / "data", n, max(N_CLASSES, n // 10))
    task_file(place / "tasks")
    argv = ["evaluate", f"pixels:{SIZE}:size={SIZE}", "--include", str(place / "tasks"), "--tasks", "many"]
    argv += ["--data", f"many={place / 'data'}", "--out", str(place / "out")]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", RUN, *argv],
        env={**os.environ, "VIRB_CACHE": str(place / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["status"] == 0, done.stdout
    return found["peak_mb"], time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument("--factor", type=int, default=100)
    args = parser.parse_args()
    peaks = []
    for n in (args.images, args.images * args.factor):
        with tempfile.TemporaryDirectory() as place:
            peak, seconds = measure(n, Path(place))
        peaks.append(peak)
        print(
            f"{n:10,} images: peak {peak:7.0f} MB, {seconds:6.1f} s, features {4e-6 * n * 3 * SIZE**2:8.0f} MB on disk"
        )
    print(
        f"ratio {peaks[1] / peaks[0]:.2f} for {args.factor} times the images ({peaks[1] - peaks[0]:+.0f} MB; at most "
        f"{MAX_STACKED_BYTES >> 20} MB of features are kept in memory, larger ones stay in their files)"
    )


if __name__ == "__main__":
    main()

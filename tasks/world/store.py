"""Rendered sets on disk: made in parallel, written whole or not at all, memory-mapped when read.

Layout: ``<cache>/world/<name>-<split>-<revision>/{images.npy, <annotation>.npy, manifest.json}``. While a set is being
made, finished chunks lie in ``<the same>.partial``; a render that was killed goes on from them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virb.tasks.world.sets import RENDER_VERSION, SETS, UNITS, SetSpec, make_example

from virb.errors import DataError
from virb.system import leases
from virb.system.paths import cache_root
from virb.system.threads import n_cores

if TYPE_CHECKING:
    import numpy as np

_FORMAT = "virb-world/1"
_FRAMES_PER_CHUNK = 48


@dataclass(frozen=True)
class WorldSet:
    """A rendered image set, read from disk as it is used."""

    name: str
    split: str
    revision: str
    n_examples: int
    n_frames: int
    path: Path
    lease: leases.Lease | None = field(default=None, compare=False, repr=False)  # nobody clears a set that is read

    @property
    def images(self) -> np.ndarray:
        """uint8 (n_examples * n_frames, size, size, 3), sRGB, memory-mapped; the frames of an example are adjacent."""
        return self._array("images")[: self.n_examples * self.n_frames]

    def annotation(self, name: str) -> np.ndarray:
        """The annotation ``name``, memory-mapped, one row an example; shapes and units are in ``SETS[...].units``."""
        known = SETS[self.name].annotations
        if name not in known:
            raise DataError(
                f"Image set {self.name!r} has no annotation {name!r}; it has: {', '.join(known) or 'none'}."
            )
        return self._array(name)[: self.n_examples]

    def __len__(self) -> int:
        return self.n_examples

    def _array(self, name: str) -> np.ndarray:
        import numpy as np

        try:
            return leases.keep(np.load(self.path / f"{name}.npy", mmap_mode="r"), self.lease)
        except (OSError, ValueError) as e:
            raise DataError(
                f"The rendered set in {self.path} cannot be read ({e}). Delete that folder: it is made again."
            ) from e


def find(name: str, split: str, size: int = 64) -> SetSpec:
    """The set's declaration, or an error that lists what there is."""
    if name not in SETS:
        import difflib

        near = difflib.get_close_matches(name, SETS, n=1)
        raise DataError(
            f"No image set {name!r} in the rendered world{f'; did you mean {near[0]!r}?' if near else ''} "
            f"Known: {', '.join(SETS)}."
        )
    spec = SETS[name]
    if split not in spec.splits:
        raise DataError(f"Image set {name!r} has no split {split!r}; it has: {', '.join(spec.splits)}.")
    if not 8 <= size <= 1024:
        raise DataError(f"The world is rendered at 8 to 1024 pixels; found size={size}.")
    return spec


def revision(name: str, split: str, size: int, n: int) -> str:
    """Names everything that determines the pixels; the same whatever machine or number of workers renders them."""
    key: list[str | int] = [_FORMAT, RENDER_VERSION, name, split, size, n]
    if SETS[name].version > 1:
        key.append(SETS[name].version)
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]


def folder(name: str, split: str, size: int, n: int, cache: Path | None) -> Path:
    return cache_root(cache) / "world" / f"{name}-{split}-{revision(name, split, size, n)}"


def load(
    name: str,
    split: str,
    *,
    cache: Path | None = None,
    size: int = 64,
    workers: int | None = None,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> WorldSet:
    """Open a set, rendering it first where it is missing.

    ``size`` is the side of the images in pixels; ``workers`` the number of rendering processes (default: one a core; it
    never changes the result); ``limit`` asks for the first examples only, equal to the first ones of the whole set;
    ``progress(done, total)`` is called with counts of examples while rendering.

    Raises DataError where the name, split or size is unknown, the cache cannot be written or rendering fails.
    """
    spec = find(name, split, size)
    total = spec.splits[split]
    if limit is not None and limit < 1:
        raise DataError(f"A limit of {limit} examples leaves nothing of image set {name!r}; give 1 or more.")
    n = total if limit is None else min(limit, total)
    path = folder(name, split, size, n, cache)
    whole = folder(name, split, size, total, cache)
    while True:
        place = whole if _is_done(whole) else path
        if not _is_done(place):
            _render(spec, split, size, n, path, workers, progress)
        lease = leases.hold(place)
        if _is_done(place):  # else it was cleared in this moment
            # The revision names the examples asked for, even where they are read from the whole set.
            return WorldSet(name, split, revision(name, split, size, n), n, spec.n_frames, place, lease)


def _render(
    spec: SetSpec,
    split: str,
    size: int,
    n: int,
    path: Path,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    from filelock import FileLock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not _is_done(path):  # another process may have made it meanwhile
                _make(spec, split, size, n, path, workers, progress)
    except OSError as e:
        raise DataError(
            f"The rendered world cannot be written to {path.parent} ({e}). Free some space, or name another "
            "folder in $VIRB_CACHE."
        ) from e


def status(*, cache: Path | None = None, size: int = 64) -> list[dict[str, Any]]:
    """One row for each set and split: name, split, n_examples, n_frames, is_rendered, bytes, path."""
    rows = []
    for spec in SETS.values():
        for split, n in spec.splits.items():
            path = folder(spec.name, split, size, n, cache)
            done = _is_done(path)
            rows.append(
                {
                    "name": spec.name,
                    "split": split,
                    "n_examples": n,
                    "n_frames": spec.n_frames,
                    "is_rendered": done,
                    "bytes": sum(f.stat().st_size for f in path.iterdir()) if done else 0,
                    "path": str(path),
                }
            )
    return rows


def render_chunk(name: str, split: str, size: int, start: int, stop: int, out: str) -> None:
    """Render the examples [start, stop) into the file ``out`` (npz), which appears only when it is whole."""
    import numpy as np

    examples = [make_example(name, split, i, size) for i in range(start, stop)]
    arrays: dict[str, Any] = {k: np.concatenate([e[k] for e in examples]) for k in ("images", *SETS[name].annotations)}
    aside = f"{out}.{os.getpid()}.tmp"
    with open(aside, "wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, out)


def _is_done(path: Path) -> bool:
    return (path / "manifest.json").is_file()


def _make(
    spec: SetSpec,
    split: str,
    size: int,
    n: int,
    path: Path,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    aside = path.with_name(path.name + ".partial")
    aside.mkdir(exist_ok=True)
    for torn in aside.glob("*.tmp"):
        torn.unlink()
    step = max(1, _FRAMES_PER_CHUNK // spec.n_frames)
    chunks = [(start, min(start + step, n)) for start in range(0, n, step)]
    files = [aside / f"{start:06d}-{stop:06d}.npz" for start, stop in chunks]
    jobs: list[dict[str, Any]] = [
        {"name": spec.name, "split": split, "size": size, "start": a, "stop": b, "out": str(f)}
        for (a, b), f in zip(chunks, files, strict=True)
        if not zipfile.is_zipfile(f)
    ]
    done = n - sum(j["stop"] - j["start"] for j in jobs)
    if progress:
        progress(done, n)
    began = time.perf_counter()
    for job in _run(jobs, workers or n_cores()):
        done += job["stop"] - job["start"]
        if progress:
            progress(done, n)
    _assemble(spec, split, size, n, path, aside, files, time.perf_counter() - began)


def _run(jobs: list[dict[str, Any]], workers: int) -> Iterator[dict[str, Any]]:
    """Do the jobs, in this process when there is little to do; yields each one done."""
    workers = min(workers, len(jobs))
    if workers <= 1:
        for job in jobs:
            render_chunk(**job)
            yield job
        return
    import virb

    root = str(Path(virb.__path__[0]).parent)  # so that the workers import this very package, installed or not
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    todo: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    for job in jobs:
        todo.put(job)
    answers: queue.SimpleQueue[tuple[dict[str, Any], str | None]] = queue.SimpleQueue()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "virb.tasks.world.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        for _ in range(workers)
    ]

    def drive(process: subprocess.Popen[str]) -> None:
        job: dict[str, Any] = {}
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            while True:
                job = todo.get_nowait()
                process.stdin.write(json.dumps(job) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
                answers.put(
                    (job, json.loads(line).get("error") if line else f"the process ended with code {process.wait()}")
                )
                if not line:
                    return
        except queue.Empty:
            return
        except (OSError, ValueError) as e:
            answers.put((job, str(e)))

    threads = [threading.Thread(target=drive, args=(p,), daemon=True) for p in processes]
    for thread in threads:
        thread.start()
    try:
        for _ in jobs:
            job, error = answers.get()
            if error:
                raise DataError(
                    f"Rendering {job['name']!r} ({job['split']}, from example {job['start']}) failed: {error.strip()}\n"
                    "What was finished is kept; the same command goes on from there."
                )
            yield job
    finally:
        for process in processes:
            with contextlib.suppress(OSError):
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    if pipe is not None:
                        pipe.close()


def _assemble(
    spec: SetSpec, split: str, size: int, n: int, path: Path, aside: Path, files: list[Path], seconds: float
) -> None:
    """Join the chunks into one array each, write the manifest last, and move the whole into place."""
    import numpy as np

    final = aside / "whole"
    shutil.rmtree(final, ignore_errors=True)
    final.mkdir()
    about: dict[str, Any] = {}
    for key in ("images", *spec.annotations):
        rows = n * spec.n_frames if key == "images" else n
        out: np.memmap[Any, Any] | None = None
        at = 0
        for file in files:
            with np.load(file) as chunk:
                part = chunk[key]
            if out is None:
                out = np.lib.format.open_memmap(
                    final / f"{key}.npy", mode="w+", dtype=part.dtype, shape=(rows, *part.shape[1:])
                )
            out[at : at + len(part)] = part
            at += len(part)
        assert out is not None
        assert at == rows, (key, at, rows)
        out.flush()
        about[key] = {
            "dtype": str(out.dtype),
            "shape": list(out.shape),
            "unit": UNITS.get(key, "sRGB, 0 to 255"),
            "sha256": hashlib.sha256(out.tobytes()).hexdigest(),
        }
        del out
    manifest = {
        "format": _FORMAT,
        "render_version": RENDER_VERSION,
        "name": spec.name,
        "split": split,
        "size": size,
        "n_examples": n,
        "n_frames": spec.n_frames,
        "revision": revision(spec.name, split, size, n),
        "arrays": about,
        "classes": {k: list(v) for k, v in spec.classes.items()},
        "render_seconds": round(seconds, 1),
    }
    with open(final / "manifest.json", "w") as stream:
        json.dump(manifest, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    shutil.rmtree(path, ignore_errors=True)  # a folder without its manifest is not a set
    os.replace(final, path)
    shutil.rmtree(aside, ignore_errors=True)

"""Predictions of single test examples, as they lie beside the records: read, line up between encoders, and compare."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import math
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from virb import registry
from virb.contracts.metric import Metric, Resampling
from virb.errors import RecordError, RegistryError, ScoresError, VirbError, option
from virb.records.record import place_of, read_bytes
from virb.records.store import MAX_PREDICTIONS, SHOWN, opened
from virb.stats.noise import jackknife_sd
from virb.stats.permutation import PermutationTest

Arrays = Mapping[str, np.ndarray]
MAX_SHOWN = 64 << 20  # bytes
MOST_DEFLATED = 1032  # bytes that a byte of a deflated file can stand for


def read_predictions(results: str | os.PathLike[str], frame: pd.DataFrame, task: str) -> dict[str, Arrays]:
    """Read one task's predictions of every encoder in ``frame``, on the examples in one order.

    Of several seeds the lowest is taken: predictions of two heads cannot be averaged.

    Args:
        results: the results folder, ``<encoder>/<task>/<probe>-seed<k>.npz``.
        frame: tidy scores with encoder, task, probe and seed.
        task: whose predictions.

    Returns:
        For each encoder the arrays of its file (ids, target, prediction, ...), rows ordered by id.

    Raises:
        ScoresError: a file is absent or cannot be read, or encoders were tested on different examples.
    """
    return predictions_of(results, frame[frame["task"] == task].to_dict("records"), task)


def predictions_of(results: str | os.PathLike[str], rows: Sequence[Mapping[Any, Any]], task: str) -> dict[str, Arrays]:
    """Read what :func:`read_predictions` does, of rows of its frame that are all of ``task``."""
    out: dict[str, Arrays] = {}
    first: tuple[str, np.ndarray] | None = None
    store = opened(results)
    chosen: dict[str, Mapping[Any, Any]] = {}
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        chosen.setdefault(str(row["encoder"]), row)
    for row in chosen.values():
        path = store.path(str(row["encoder"]), task, str(row["probe"]), int(row["seed"]))
        try:
            with contextlib.suppress(FileNotFoundError):
                store.check(path)  # whose predictions these must be
            arrays = read_arrays(path.with_suffix(".npz"))
        except FileNotFoundError as error:
            raise ScoresError(
                f"The predictions {error.filename} cannot be read: there is no such file. Run that evaluation again."
            ) from None
        except RecordError as error:
            raise ScoresError(f"{error} Run that evaluation again.") from None
        if "ids" not in arrays or any(len(values) != len(arrays["ids"]) for values in arrays.values()):
            raise ScoresError(
                f"{path} is not a file of predictions: it needs ids and one row an example in every array."
            )
        order = np.argsort(arrays["ids"], kind="stable")
        arrays = {name: values[order] for name, values in arrays.items()}
        if first is None:
            first = (str(row["encoder"]), arrays["ids"])
        elif not np.array_equal(first[1], arrays["ids"]):
            raise ScoresError(
                f"{first[0]} and {row['encoder']} were tested on different examples of {task} ({len(first[1])} and "
                f"{len(arrays['ids'])}). Evaluate them with the same settings (no {option('limit')} on one of them)."
            )
        out[str(row["encoder"])] = arrays
    return out


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the arrays of an ``.npz`` file; no more is allocated than it holds, and nothing of it is executed.

    Raises:
        FileNotFoundError: there is no such file.
        RecordError: it is not a whole file of plain arrays, or says of itself what is not so.
    """
    return _arrays(read_bytes(path, most=MAX_PREDICTIONS), path)


def read_shown(results: str | os.PathLike[str], record: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    """Return the pictures that lie beside a record (docs/records.md): ``rows``, ``ids``, and ``image_k``, ``target_k`` and
    ``prediction_k`` of the k-th; None where there are none, or not those of this record.
    """
    path = (opened(results).root / place_of(record)).with_suffix(SHOWN)
    wanted = record.get("shown_sha256")
    if wanted is None:
        return None
    try:
        content = read_bytes(path, most=MAX_SHOWN)
        return _arrays(content, path) if hashlib.sha256(content).hexdigest() == wanted else None
    except (FileNotFoundError, RecordError):
        return None


def _arrays(content: bytes, path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            names = [member.filename.removesuffix(".npy") for member in members]
            if len(set(names)) != len(names):
                raise ValueError("an array occurs twice")
            return {name: _array(archive, member) for name, member in zip(names, members, strict=True)}
    # What a damaged archive ends in: zipfile and numpy have no error of their own for each kind.
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise RecordError(f"The predictions {path} cannot be read ({error}).") from None


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    if member.file_size > MOST_DEFLATED * member.compress_size + 1024:
        raise ValueError(f"{member.filename[:60]} says that it is larger than it can be")
    with archive.open(member) as file:
        start = file.read(10)
        length = start[8:] if start[6:8] == b"\1\0" else start[8:] + file.read(2)  # what follows: 2 bytes say it, or 4
        head = start + length[2:] + file.read(int.from_bytes(length, "little"))
        shape, is_fortran, dtype = _header(head)
        if dtype.hasobject:
            raise ValueError(f"{member.filename[:60]} holds objects, not numbers or text")
        if math.prod(shape) * dtype.itemsize != member.file_size - len(head):
            raise ValueError(f"{member.filename[:60]} has not the size that its header says")
        content = bytearray(file.read())
    return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")


@functools.lru_cache(maxsize=256)  # the files of a task are alike
def _header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    file = io.BytesIO(head)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array has the unknown format {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    found: tuple[tuple[int, ...], bool, np.dtype] = read(file)
    return found


def labels(arrays: Arrays, task: str) -> tuple[np.ndarray, np.ndarray]:
    """Targets and predicted classes (N,), for tasks that predict one class an example.

    Raises:
        ScoresError: the task predicts something else.
    """
    if "prediction" not in arrays or arrays["prediction"].ndim != 1 or arrays["prediction"].dtype.kind not in "iu":
        raise ScoresError(f"{task} does not predict one class an example, which this analysis is about.")
    return arrays["target"], arrays["prediction"]


def compare(a: Arrays, b: Arrays, metric: str, *, samples: int = 100_000, seed: int = 0) -> PermutationTest:
    """Paired permutation test of two encoders' score on the same examples (Chen et al. 2020, Appendix B.8).

    What is exchanged is the metric's own (``Metric.resampling``): top-1 and mean per class exchange labels, mIOU an
    image's pixel counts, negative L1 and 1-All its error sums.

    Raises:
        ScoresError: the metric has no such test (average precision is no sum over examples), or arrays are absent.
    """
    made_of = resampling_of(metric)
    if made_of is None:
        raise ScoresError(
            f"Exchanging predictions is no valid test of {metric}: it is not made of single examples. Test an accuracy on "
            "the same predictions instead."
        )
    for arrays in (a, b):
        absent = [name for name in made_of.needs if name not in arrays]
        if absent:
            raise ScoresError(f"The predictions lack {', '.join(absent)}, which a test of {metric} needs.")
    return made_of.test(a, b, samples=samples, seed=seed)


def sampling_sd(arrays: Arrays, metric: str) -> float:
    """Standard error of a score over test examples, by leaving each out in turn.

    Raises:
        ScoresError: the metric is not made of single examples (average precision), or arrays are absent.
    """
    made_of = resampling_of(metric)
    if made_of is None or any(name not in arrays for name in made_of.needs):
        raise ScoresError(f"The error of {metric} over test examples cannot be had from these predictions.")
    return jackknife_sd(made_of.without_each(arrays))


def score_of(arrays: Arrays, metric: str) -> float | None:
    """Return the score that predictions give by a metric; None where it cannot be told from them, NaN where they are others."""
    made_of = resampling_of(metric)
    if made_of is None:
        return None
    try:
        return made_of.score(arrays)
    except (KeyError, ValueError, TypeError, IndexError):
        return float("nan")  # not the arrays that the metric leaves


def resampling_of(metric: str) -> Resampling | None:
    """Return what the statistics that the metric keeps of each example make; None where they make nothing, or none is known."""
    return _resampling_of(metric, os.environ.get("VIRB_INCLUDE", ""))


@functools.lru_cache(maxsize=64)  # asked for thousands of pairs of encoders; finding a part looks through folders
def _resampling_of(metric: str, _included: str) -> Resampling | None:
    try:
        found = registry.load("metrics", metric)
    except RegistryError:
        return None
    return found.resampling if isinstance(found, Metric) else None


def class_names(
    task: str,
    n_classes: int,
    *,
    results: str | os.PathLike[str] | None = None,
    frame: pd.DataFrame | None = None,
) -> list[str]:
    """Names of a task's classes: as its records say (those of ``frame`` in ``results``), its file declares, else numbers."""
    if results is not None and frame is not None:
        store = opened(results)
        for row in frame[frame["task"] == task].head(1).to_dict("records"):
            record = store.read(store.path(str(row["encoder"]), task, str(row["probe"]), int(row["seed"])))
            names = list((record or {}).get("per_class") or ())
            if len(names) >= n_classes:
                return names
    try:
        names = registry.load("tasks", task).class_names
    except VirbError:
        names = []
    return list(names) if len(names) >= n_classes else [str(k) for k in range(n_classes)]

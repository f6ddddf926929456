"""The store of records: one folder, one file a job, whole or not there at all.

A job is one head: (encoder, task, probe, seed) under some settings. Its record is
``<root>/<encoder>/<task>/<probe>-seed<k>.json``, written last and at once, with the predictions beside it as ``.npz``,
whose digest it holds. A probe name carries its overrides (``gradient+limit=100``), so that a shortened run never stands
in for a full one. A record counts where it lies only if that is the place that its contents say: a copy under another
name is another file, not another measurement.

The folder of an encoder or a task may be a link to a folder elsewhere (results on another disk); a record itself must be
a regular file, and no name that a file holds ever becomes a path.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from virb.errors import RecordError, UsageError, VirbError, option
from virb.records import record as schema
from virb.records.names import folded, is_record_name, same_name
from virb.records.problems import (
    DAMAGED,
    FOREIGN,
    LEFTOVER,
    MISPLACED,
    OLD,
    PREDICTIONS,
    MisplacedError,
    PredictionsError,
    Problem,
    Scan,
)
from virb.records.record import FIRST_SCHEMA, SCHEMA, Record
from virb.records.remembered import Remembered
from virb.system.files import FileState, atomic_write, collect_leftovers, file_state, settled_state

if TYPE_CHECKING:
    import pandas as pd

MAX_PREDICTIONS = 8 << 30  # bytes
OWN_FILES = ("failures.txt",)  # that a run leaves at the top
SHOWN = ".shown.npz"  # beside a record: a handful of test images with target and prediction, made small
SET_ASIDE = ".set-aside"  # where a repair puts what is no record
KEPT_BYTES = 64 << 20  # of records that one run looks at more than once


Checked = dict[str, tuple[FileState | None, FileState | None]]  # of each path that of the record and of its predictions


class ResultStore:
    """The records below one folder."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        # What was checked once holds while the file's state stays as it was.
        self._contents: dict[str, tuple[FileState, bytes]] = {}
        self._digests: dict[str, tuple[FileState, str]] = {}
        self.whole: Checked = {}  # another process may take it over
        self._room = KEPT_BYTES
        self._remembered: dict[str, Remembered] = {}
        self._with_leftovers: set[Path] = set()  # folders in which something of a killed run was seen

    def path(self, encoder: str, task: str, probe: str, seed: int) -> Path:
        return self.root / encoder / task / f"{probe}-seed{seed}.json"

    def remembered(self, encoder: str) -> Remembered:
        """Return what earlier runs remembered of an encoder's records; ``save`` it after adding to it."""
        found = self._remembered.get(encoder)
        if found is None:
            found = self._remembered[encoder] = Remembered(self.root / encoder)
        return found

    def save_remembered(self) -> None:
        """Write down what this run added to what is remembered of records."""
        for remembered in self._remembered.values():
            remembered.save()

    def check_writable(self) -> None:
        """Raise VirbError now if records could not be written later."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".writable-{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink(missing_ok=True)
        except OSError as error:
            raise VirbError(
                f"Results cannot be written to {self.root}: {error.strerror or error}. Choose another folder with "
                f"{option('out')}."
            ) from error

    # ------------------------------------------------------------------------------------------------------ reading

    def load(self, path: Path, *, is_renamed: bool = False) -> Record:
        """Return the whole record in ``path``.

        With ``is_renamed`` the encoder's and the task's names in it may be others than its folders'.

        Raises:
            FileNotFoundError: there is none.
            RecordError: the file is not a whole record, lies where it does not belong, or has not its predictions.
        """
        states = self._states(path)
        record = self._read_record(path, states[0])
        right = schema.place_of(record)
        is_right = path.name == right.name if is_renamed else str(path) == str(self.root / right)
        if not is_right and (is_renamed or not same_name(str(path.relative_to(self.root)), str(right))):
            raise MisplacedError(
                f"{path} is not the record of its place: by its contents it is {right.as_posix()}. A copy under another "
                "name is no measurement of its own."
            )
        if (
            record["schema"] == SCHEMA
            and (found := self._digest(path.with_suffix(".npz"), states[1])) != record["predictions_sha256"]
        ):
            what = "are missing" if found is None else "are damaged or another job's"
            raise PredictionsError(f"{path} has lost its predictions: those beside it (.npz) {what}.", record)
        if not is_renamed:
            self.whole[os.fspath(path)] = states
        return record

    def check(self, path: Path) -> None:
        """Raise what :meth:`load` does; a record that was whole is not read again while its files stay as they were."""
        states = self._states(path)
        if None in states or self.whole.get(os.fspath(path)) != states:
            self.load(path)

    def _states(self, path: Path) -> tuple[FileState | None, FileState | None]:
        text = os.fspath(path)
        return file_state(text), file_state(f"{text.removesuffix('.json')}.npz")

    def read(self, path: Path) -> Record | None:
        """Return the record in ``path``; None if there is none or it is not a whole record at its place."""
        try:
            return self.load(path)
        except (FileNotFoundError, RecordError):
            return None

    def _read_record(self, path: Path, now: FileState | None) -> Record:
        """Return what :func:`virb.records.record.read` does; a file whose state is the same ``now`` is checked once."""
        known = self._contents.get(os.fspath(path))
        if known is not None and known[0] == now:
            record: Record = json.loads(known[1])
            return record
        content = schema.read_bytes(path, most=schema.MAX_BYTES)
        record = schema.parse(content, path)
        if now is not None and len(content) <= self._room:
            self._room -= len(content)
            self._contents[os.fspath(path)] = (now, content)
        return record

    def _digest(self, path: Path, now: FileState | None) -> str | None:
        """Return the sha256 of a file's bytes, computed again where its state is another ``now``; None where there is none."""
        known = self._digests.get(os.fspath(path))
        if known is not None and known[0] == now:
            return known[1]
        found = _file_digest(path)
        if now is not None and found is not None:
            self._digests[os.fspath(path)] = (now, found)
        return found

    def scan(self) -> Scan:
        """Look at everything below the folder."""
        found = Scan()
        found.records.extend(self._each(found))
        return found

    def records(self) -> Iterator[Record]:
        """Yield every whole record, in the order of their paths."""
        yield from self._each(Scan())

    def _each(self, found: Scan) -> Iterator[Record]:
        """Yield every whole record, of which none is kept, and write down in ``found`` what else there is."""
        for path in self._files(found):
            try:
                record = self.load(path)
            except FileNotFoundError:
                continue  # gone since it was listed
            except MisplacedError as error:
                found.problems.append(Problem(path, MISPLACED, str(error)))
            except PredictionsError as error:
                found.problems.append(Problem(path, PREDICTIONS, str(error)))
                yield error.record
            except RecordError as error:
                found.problems.append(Problem(path, DAMAGED, str(error)))
            else:
                if record["schema"] == FIRST_SCHEMA:
                    found.problems.append(Problem(path, OLD, f"{path} is a record of virb 0.1."))
                yield record

    def table(self) -> pd.DataFrame:
        """Return the tidy table: one row a record (:mod:`virb.records.columns`).

        ``attrs["notes"]`` are sentences about the files that are no whole records.

        Raises:
            UsageError: the folder does not exist or holds no records.
        """
        from virb.records.columns import table

        found = Scan()
        frame = table(self._each(found))
        if frame.empty:
            what = "holds no records" if self.root.is_dir() else "does not exist"
            raise UsageError(
                f"The results folder {self.root} {what}. "
                + "".join(f"{sentence} " for sentence in found.sentences(most=5))
                + f"Run virb evaluate ENCODER... --out {self.root}."
            )
        frame.attrs["notes"] = found.sentences()
        return frame

    def _files(self, found: Scan) -> Iterator[Path]:
        """Yield the paths that are called like records; put all others among the problems."""

        def other(path: Path) -> None:
            is_left = path.name.startswith(".") and path.name.endswith(".tmp")
            what = "a file that a killed run left" if is_left else "no file of a results folder"
            found.problems.append(Problem(path, LEFTOVER if is_left else FOREIGN, f"{path} is {what}."))

        for encoder in _listed(self.root):
            if encoder.name in OWN_FILES or encoder.name == SET_ASIDE:
                continue
            if not encoder.is_dir():
                other(encoder)
                continue
            for task in _listed(encoder):
                if not task.is_dir():
                    other(task)
                    continue
                paths = _listed(task)
                names = {path.name for path in paths}
                for path in paths:
                    if is_record_name(path.name):
                        yield path
                        continue
                    ending = SHOWN if path.name.endswith(SHOWN) else ".npz"
                    owner = f"{path.name.removesuffix(ending)}.json"
                    if not path.name.endswith(ending) or not is_record_name(owner):
                        other(path)
                    elif owner not in names:
                        reason = f"{path} are predictions without a record, as a killed run leaves them."
                        found.problems.append(Problem(path, LEFTOVER, reason))

    # ------------------------------------------------------------------------------------------------------ writing

    def write(
        self,
        record: Mapping[str, Any],
        predictions: Mapping[str, np.ndarray],
        shown: Mapping[str, np.ndarray] | None = None,
    ) -> Path:
        """Write one job's record and predictions; the record comes last, so that it vouches for both.

        ``shown`` are the arrays to look at (:class:`virb.evaluation.shown.Shown`), which no score hangs on.

        Raises:
            VirbError: the record cannot be written, or would not be a whole one.
        """
        packed = io.BytesIO()
        np.savez_compressed(packed, **predictions)  # type: ignore[arg-type]
        content = packed.getvalue()
        whole = {"schema": SCHEMA, **record, "predictions_sha256": hashlib.sha256(content).hexdigest()}
        pictures = io.BytesIO()
        if shown is not None:
            np.savez_compressed(pictures, **shown)  # type: ignore[arg-type]
            whole["shown_sha256"] = hashlib.sha256(pictures.getvalue()).hexdigest()
        path, text = self._sealed(whole)
        if shown is not None:
            with atomic_write(path.with_suffix(SHOWN)) as file:
                file.write(pictures.getvalue())
        with atomic_write(path.with_suffix(".npz")) as file:
            file.write(content)
        with atomic_write(path) as file:
            file.write(text)
        return path

    def relabel(self, path: Path, record: Mapping[str, Any]) -> Record:
        """Write the record in ``path`` anew with other names and descriptions; its predictions stay."""
        right, text = self._sealed(record)
        assert same_name(str(right), str(path)), (right, path)
        with atomic_write(path) as file:
            file.write(text)
        return schema.parse(text, path)

    def _sealed(self, record: Mapping[str, Any]) -> tuple[Path, bytes]:
        """Return where a record belongs and its text, with a checksum."""
        plain = json.loads(json.dumps({k: v for k, v in record.items() if k != "checksum"}, allow_nan=False))
        sealed = {**plain, "checksum": schema.checksum(plain)}
        wrong = schema.problem(sealed)
        if wrong is not None:
            raise RecordError(f"The record of {_what(sealed)} would not be a whole one: {wrong}. It is not written.")
        return self.root / schema.place_of(sealed), json.dumps(sealed, indent=1, allow_nan=False).encode()

    # --------------------------------------------------------------------------------------------------------- names

    def check_identity(self, encoder: str, sha256: str, weights_sha256: str | None = None) -> None:
        """Raise UsageError if records of another network lie under this name: one whole record of each task is asked."""
        remembered = self.remembered(encoder)
        for task in self._seen(os.path.join(self.root, encoder)):
            found = remembered.whose(task) or self._any_encoder(encoder, task, remembered)
            if found is None:
                continue
            there, now = found["sha256"], sha256
            if weights_sha256 is not None and "weights_sha256" in found:
                there, now = found["weights_sha256"], weights_sha256
            if there != now:
                raise UsageError(
                    f"{self.root / encoder} holds scores of another encoder of the same name (sha256 {there[:12]} there, "
                    f"{now[:12]} now). Rename the encoder's file, use another {option('out')}, or remove {self.root / encoder}."
                )

    def _any_encoder(self, encoder: str, task: str, remembered: Remembered) -> Mapping[str, Any] | None:
        """Return what the first whole record of a task's folder says of its encoder; None if there is none of that name."""
        folder = self.root / encoder / task
        state = settled_state(folder)
        for name in self._seen(folder):
            if not name.endswith(".json"):
                continue
            with contextlib.suppress(FileNotFoundError, RecordError):
                found: Mapping[str, Any] = self._read_record(folder / name, file_state(folder / name))["encoder"]
                if same_name(found["name"], encoder):
                    # A folder in which a killed run left something is looked through until that is gone.
                    remembered.keep_whose(task, name, None if folder in self._with_leftovers else state, found)
                    return found
        return None

    def _seen(self, folder: str | Path) -> list[str]:
        names = _names(folder)
        if any(name.startswith(".") and name.endswith(".tmp") for name in names):
            self._with_leftovers.add(Path(folder))
        return names

    def collect_leftovers(self) -> None:
        """Remove what killed runs left in the folders of the encoders that were checked."""
        for folder in sorted(self._with_leftovers):
            collect_leftovers(folder)
        self._with_leftovers.clear()

    def check_names(self, encoders: Sequence[str]) -> None:
        """Raise UsageError if a folder there differs from an encoder's name by case alone."""
        with os.scandir(self.root) as there_are:
            folders = {folded(item.name): item.name for item in there_are if item.is_dir()}
        for encoder in encoders:
            there = folders.get(folded(encoder), encoder)
            if not same_name(there, encoder):
                raise UsageError(
                    f"{self.root} has a folder {there}, and {encoder} differs from it by case alone: on many file systems "
                    f"the two are one. Rename the encoder's file, or use another {option('out')}."
                )


def opened(root: str | os.PathLike[str]) -> ResultStore:
    """Return the store of a folder, the same one for all who read it in this process.

    A record that several look at is then checked once, as long as its file stays as it was.
    """
    return _opened(os.fspath(root), os.getcwd())


@functools.lru_cache(maxsize=2)
def _opened(root: str, _cwd: str) -> ResultStore:
    return ResultStore(root)


def _listed(folder: Path) -> list[Path]:
    return [folder / name for name in _names(folder)]


def _names(folder: str | Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _file_digest(path: Path) -> str | None:
    """Return the sha256 of a regular file's bytes; None where there is none that can be read."""
    try:
        return hashlib.sha256(schema.read_bytes(path, most=MAX_PREDICTIONS)).hexdigest()
    except (FileNotFoundError, RecordError):
        return None


def _what(record: Mapping[str, Any]) -> str:
    encoder, task = record.get("encoder"), record.get("task")
    names = [part.get("name") if isinstance(part, Mapping) else part for part in (encoder, task)]
    return f"{names[0]} on {names[1]}, seed {record.get('seed')},"

"""Run the grid on a Dask cluster: one piece of it (a task with its missing jobs, some of the encoders) at a time.

A worker runs its piece exactly as a local run would: it looks which records are missing, encodes through the feature
cache of its own machine and writes each record into the results folder, which all machines share. So a piece can be
given to another worker at any time, and the store ends up as after a local run. Nothing but names, paths and what went
wrong travels over the network.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import virb
from virb.contracts.examples import DataContext
from virb.contracts.executor import Chunk, Executor, Failure, Progress, Report, Work
from virb.contracts.options import RunOptions
from virb.contracts.task import Task
from virb.convert.load import load_encoder
from virb.errors import UsageError, VirbError, option
from virb.evaluation.executors import _cluster as cluster
from virb.networks.encoder import FrozenEncoder
from virb.networks.spec import split_code, split_fused, split_source
from virb.system import devices
from virb.system.progress import Progress as OwnProgress

MAX_ENCODERS = 32  # a piece: what is lost with a worker, and held in its memory, stays bounded


@dataclass(frozen=True)
class Shared:
    """What all pieces of a run have in common; paths are absolute."""

    context: DataContext
    options: RunOptions
    meta: Any
    may_leave_out: bool
    include: str  # $VIRB_INCLUDE
    run: Callable[..., Any]  # what a worker calls


@dataclass(frozen=True)
class Piece:
    """A unit's tasks, by name or themselves, and some encoders: (source, its identity where it was named)."""

    what: str
    tasks: tuple[str | Task, ...]
    encoders: tuple[tuple[str | FrozenEncoder, str], ...]
    n_jobs: int


def check(place: str) -> None:
    """Raise UsageError unless what it needs is installed."""
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"{option('executor')} dask needs the package distributed, which is not installed. Install the extra: "
            "pip install 'virb[dask]'."
        ) from error


def share(work: Work) -> Shared:
    """Return what the pieces share, with every path made absolute, because workers stand in other folders."""
    context, options, meta = work.context, work.options, work.meta
    places = {name: Path(path).absolute() for name, path in context.places.items()}
    root = None if context.root is None else Path(context.root).absolute()
    cache = None if context.cache is None else Path(context.cache).absolute()
    return Shared(
        replace(context, root=root, places=places, cache=cache, progress=None),
        replace(options, out=str(Path(options.out).absolute())),
        meta if meta is None or isinstance(meta, Mapping) else str(Path(meta).absolute()),
        work.may_leave_out,
        include=os.environ.get("VIRB_INCLUDE", ""),
        run=work.run,
    )


def absolute_source(source: str | os.PathLike[str] | FrozenEncoder) -> str | FrozenEncoder:
    """Return an encoder's source as a worker in another folder finds it."""
    if isinstance(source, FrozenEncoder):
        return source
    text = os.fspath(source)
    if len(members := split_fused(text)) > 1:
        return "+".join(str(absolute_source(member)) for member in members)
    base = split_source(text)[0]
    made_by = split_code(base)
    file = base if made_by is None or Path(base).exists() else made_by[0]
    return str(Path(file).absolute()) + text[len(file) :] if Path(file).exists() else text


def cut(
    chunks: Sequence[Chunk],
    encoders: Sequence[tuple[str | FrozenEncoder, str]],
    n_slots: int,
) -> list[Piece]:
    """Cut the grid: a chunk a piece, or several with a part of the encoders each where that keeps more workers busy.

    Args:
        encoders: source and identity of each.
        n_slots: how many pieces the cluster runs at a time.
    """
    pieces = []
    for chunk in chunks:
        missing, wanted = chunk.missing, sorted(chunk.missing)
        n_parts = min(len(wanted), max(-(-n_slots // len(chunks)), -(-len(wanted) // MAX_ENCODERS)))
        for k in range(n_parts):
            part = wanted[len(wanted) * k // n_parts : len(wanted) * (k + 1) // n_parts]
            n_jobs = sum(missing[index] for index in part)
            pieces.append(Piece(chunk.what, chunk.tasks, tuple(encoders[index] for index in part), n_jobs))
    return pieces


def run(work: Work, place: str, progress: Progress) -> Report:
    """Run all pieces on the cluster at ``place`` ("": workers on this machine), and return what became of them together.

    Raises:
        UsageError: the scheduler cannot be reached, or a worker has another version of virb.
    """
    import cloudpickle
    from distributed import as_completed

    total, shared = Report(), share(work)
    encoders = [(absolute_source(source), identity) for source, identity in work.encoders]
    progress.set_jobs(sum(sum(chunk.missing.values()) for chunk in work.chunks))
    n_pieces = sum(len(chunk.missing) for chunk in work.chunks)
    with cluster.connected(place, work.options.device, n_pieces) as (client, n_expected):
        workers = cluster.workers(client, n_expected, progress)
        shares = cluster.shares(workers)
        has_gpus = any(worker["n_gpus"] for worker in workers.values())
        n_slots = sum(cluster.slots_of(worker, has_gpus) for worker in workers.values())
        pieces = cut(work.chunks, encoders, max(1, n_slots))
        progress.note(f"Pieces of work: {len(pieces)}; Dask workers: {len(workers)}")
        futures = {}
        for k, piece in enumerate(pieces):
            blob = cloudpickle.dumps((shared, piece))
            future = client.submit(
                run_piece,
                virb.__version__,
                blob,
                shares,
                key=f"virb-{os.urandom(8).hex()}",
                priority=-k,
                pure=False,
                resources={"GPU": 1} if has_gpus else None,
            )
            futures[future] = piece
        with progress.stage("pieces on Dask") as advance:
            reports: dict[int, Report] = {}
            for done, future in enumerate(as_completed(futures, loop=client.loop), 1):
                piece = futures[future]
                report = reports[pieces.index(piece)] = _report_of(future, piece)
                for note in report.notes:
                    progress.note(note)
                progress.job_done(piece.n_jobs)
                progress.note(f"{piece.what}: {report.n_run} of {piece.n_jobs} jobs run [{done}/{len(pieces)} pieces]")
                advance(done, len(pieces))
    for k in sorted(reports):
        total.n_run += reports[k].n_run
        total.failures += reports[k].failures
        total.left_out += [skipped for skipped in reports[k].left_out if skipped not in total.left_out]
    return total


def _report_of(future: Any, piece: Piece) -> Report:
    from asyncio import CancelledError

    from distributed import KilledWorker

    names = ", ".join(_name(source) for source, _ in piece.encoders)
    what = f"{piece.what} with {names}"
    try:
        return future.result()
    except KilledWorker as error:
        reason = (
            f"the worker that ran it was lost {error.allowed_failures + 1} times, last {error.last_worker.address}; "
            "most often the memory ran out. Its own log says more. The same command runs what is missing."
        )
    except (Exception, CancelledError) as error:  # one piece must not take the others along
        reason = (
            f"the cluster could not run it ({type(error).__name__}: {error}). The same command runs what is missing."
        )
    lost = Failure(what, reason)
    return Report(failures=[lost], notes=[lost.line])


def _name(source: str | FrozenEncoder) -> str:
    return source.name if isinstance(source, FrozenEncoder) else Path(source).name


# ------------------------------------------------------------------------------------------------------- the worker


class _Notes(OwnProgress):
    """Keeps what a run has to say, for the command that waits."""

    def __init__(self) -> None:
        super().__init__(is_quiet=True)
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    @contextlib.contextmanager
    def stage(self, what: str) -> Iterator[Callable[[int, int], None]]:
        yield lambda done, total: None


_loading = threading.Lock()
_loaded: dict[tuple[str, str], FrozenEncoder] = {}


def run_piece(version: str, blob: bytes, shares: Mapping[str, int]) -> Report:
    """Run one piece in a worker; everything that goes wrong is in the report."""
    import cloudpickle
    import torch

    here = cluster.looker()()
    if version != virb.__version__:  # a worker that came later
        reason = f"the worker has virb {virb.__version__}, the command {version}. Install the same version."
        return Report(failures=[Failure("a piece of the grid", reason)])
    shared, piece = cloudpickle.loads(blob)
    cores = shares.get(here["cores"], 1)
    os.environ.update(VIRB_INCLUDE=shared.include, VIRB_CORES=str(cores))
    torch.set_num_threads(cores)
    progress = _Notes()
    try:
        outcome = shared.run(
            _encoders(piece, devices.resolve(shared.options.device)),
            piece.tasks,
            context=shared.context,
            options=replace(shared.options, executor="local"),
            meta=shared.meta,
            progress=progress,
            may_leave_out=shared.may_leave_out,
        )
    except VirbError as error:
        return Report(failures=[Failure(piece.what, str(error))], notes=progress.notes)
    return Report(outcome.n_run, outcome.failures, outcome.left_out, progress.notes)


def _encoders(piece: Piece, device: Any) -> list[FrozenEncoder]:
    """Load the piece's encoders; those of the piece before are kept, as the next one often has the same.

    Raises:
        VirbError: an encoder cannot be loaded, or is another than the command's.
    """
    import torch

    with _loading:
        wanted: dict[tuple[str, str], FrozenEncoder] = {}
        found = []
        for source, identity in piece.encoders:
            if isinstance(source, FrozenEncoder):
                found.append(source.to(device))
                continue
            key = (source, identity)
            encoder = _loaded.get(key) or load_encoder(source, device=device)
            encoder.to(dtype=torch.float32)  # a command before this one may have asked for another
            if encoder.identity != identity:
                raise VirbError(
                    f"{source} is another encoder on the worker (identity {encoder.identity[:12]}) than for the "
                    f"command ({identity[:12]}). All machines must see the same file."
                )
            wanted[key] = encoder
            found.append(encoder)
        _loaded.clear()
        _loaded.update(wanted)
        return found


EXECUTOR = Executor(
    name="dask",
    summary="workers on this machine, one a GPU; dask:tcp://HOST:PORT: those of an existing scheduler",
    run=run,
    check=check,
)

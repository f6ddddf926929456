"""Run the grid on a Dask cluster: one piece of it (a task with its missing jobs, some of the encoders) at a time.

A worker runs its piece exactly as a local run would: it looks which records are missing, encodes through the feature
cache of its own machine and writes each record into the results folder, which all machines share. So a piece can be
given to another worker at any time, and the store ends up as after a local run. Nothing but names, paths and what went
wrong travels over the network.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import virb
from virb.contracts.examples import DataContext
from virb.contracts.executor import Chunk, Executor, Failure, Progress, Report, Work
from virb.contracts.options import RunOptions
from virb.contracts.task import Task
from virb.convert.load import load_encoder
from virb.errors import UsageError, VirbError, option
from virb.networks.encoder import FrozenEncoder
from virb.networks.spec import split_code, split_fused, split_source
from virb.system import devices
from virb.system.progress import Progress as OwnProgress
from virb.system.threads import n_cores

if TYPE_CHECKING:
    from distributed import Client

CONNECT_S = 5
MAX_LOCAL_WORKERS = 8
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
    with _connected(place, work.options.device, n_pieces) as (client, n_expected):
        workers = _workers(client, n_expected, progress)
        shares = _shares(workers)
        has_gpus = any(worker["n_gpus"] for worker in workers.values())
        n_slots = sum(_n_slots(worker, has_gpus) for worker in workers.values())
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


# ------------------------------------------------------------------------------------------------------ the cluster


@contextlib.contextmanager
def _connected(address: str, device: str, n_pieces: int) -> Iterator[tuple[Client, int]]:
    """Yield a client and how many workers to wait for."""
    from distributed import Client

    with contextlib.ExitStack() as stack:
        n_expected = 1
        if not address:
            address, n_expected = stack.enter_context(_own_cluster(device, n_pieces))
        elif "://" not in address:
            address = f"tcp://{address}"
        try:
            client = stack.enter_context(Client(address, timeout=CONNECT_S, set_as_default=False))
        except (OSError, ValueError, TimeoutError) as error:
            raise UsageError(
                f"No Dask scheduler answers at {address} ({str(error).splitlines()[0] if str(error) else error!r}). "
                f"Start one with dask scheduler and name the address that it prints: {option('executor', 'dask:tcp://HOST:PORT')}."
            ) from error
        yield client, n_expected


@contextlib.contextmanager
def _own_cluster(device: str, n_pieces: int) -> Iterator[tuple[str, int]]:
    """Start a scheduler and workers on 127.0.0.1: one a GPU, or a few on the CPU; yield the address and their number."""
    from distributed import Nanny, Scheduler, SpecCluster

    options: dict[str, Any] = {
        "nthreads": 1,  # one piece at a time; it uses the worker's share of the cores
        "host": "127.0.0.1",
        "dashboard": False,
        "dashboard_address": "127.0.0.1:0",
        "memory_limit": 0,  # mapped features would count as memory, and end the worker
        "silence_logs": logging.ERROR,
    }
    gpus = _gpus() if device in ("auto", "cuda") else []
    if gpus:
        each = [{"resources": {"GPU": 1}, "env": {"CUDA_VISIBLE_DEVICES": gpu}} for gpu in gpus]
    elif device.startswith("cuda") or device == "mps":
        each = [{}]
    else:
        each = [{} for _ in range(max(1, min(n_cores(), n_pieces, MAX_LOCAL_WORKERS)))]
    scheduler = {"host": "127.0.0.1", "port": 0, "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    with SpecCluster(
        scheduler={"cls": Scheduler, "options": scheduler},
        workers={k: {"cls": Nanny, "options": {**options, **own}} for k, own in enumerate(each)},
        silence_logs=logging.ERROR,
    ) as cluster:
        yield cluster.scheduler_address, len(each)


def _gpus() -> list[str]:
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    n_found = torch.cuda.device_count()
    if named is not None:
        return [gpu.strip() for gpu in named.split(",") if gpu.strip()][:n_found]
    return [str(k) for k in range(n_found)]


def _workers(client: Client, n_expected: int, progress: Progress) -> dict[str, dict[str, Any]]:
    """Return what each worker says of itself.

    Raises:
        UsageError: a worker has another version of virb, or none.
    """
    if not client.nthreads():
        progress.note("Waiting for Dask workers")
    client.wait_for_workers(n_expected)
    seen = client.run(_looker(), on_error="return")
    wrong = []
    for address, found in sorted(seen.items()):
        if not isinstance(found, dict):
            wrong.append(f"{address}: {type(found).__name__}: {found}")
        elif found["version"] != virb.__version__:
            wrong.append(f"{address} has {found['version'] or 'none'}")
    if wrong:
        raise UsageError(
            f"Every Dask worker needs virb {virb.__version__}, as here: {'; '.join(wrong)}. Install the same version in "
            "the workers' environment."
        )
    return seen


def _shares(workers: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Return how many cores a piece may use, by the cores that a worker sees (on which machine, which of them).

    Workers that see the same cores share them, so that together they never use more than there are.
    """
    has_gpus = any(worker["n_gpus"] for worker in workers.values())
    n_slots: dict[str, int] = {}
    n_cores_seen: dict[str, int] = {}
    for worker in workers.values():
        cores = worker["cores"]
        n_cores_seen[cores] = worker["n_cores"]
        n_slots[cores] = n_slots.get(cores, 0) + _n_slots(worker, has_gpus)
    return {cores: max(1, n_cores_seen[cores] // max(1, n)) for cores, n in n_slots.items()}


def _n_slots(worker: Mapping[str, Any], has_gpus: bool) -> int:
    """Return how many pieces a worker runs at a time: one a GPU where the cluster declares any, else one a thread."""
    return int(worker["n_gpus"] if has_gpus else worker["n_threads"])


def _looker() -> Callable[[], dict[str, Any]]:
    """Return a function that travels by value, so that it runs where virb is another one, or is not installed."""

    def look(dask_worker: Any = None) -> dict[str, Any]:
        import os
        import socket

        try:
            import virb

            version = virb.__version__
        except ImportError:
            version = None
        mine = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
        state = getattr(dask_worker, "state", None)
        return {
            "version": version,
            "cores": f"{socket.gethostname()} {list(mine)}",
            "n_cores": len(mine),
            "n_threads": getattr(state, "nthreads", 1),
            "n_gpus": int(getattr(state, "total_resources", {}).get("GPU", 0)),
        }

    return look


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

    here = _looker()()
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

"""The Dask cluster that pieces run on: reached or started, its workers looked at, and their cores shared out."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import virb
from virb.contracts.executor import Progress
from virb.errors import UsageError, option
from virb.system.threads import n_cores

if TYPE_CHECKING:
    from distributed import Client

CONNECT_S = 5
MAX_LOCAL_WORKERS = 8


@contextlib.contextmanager
def connected(address: str, device: str, n_pieces: int) -> Iterator[tuple[Client, int]]:
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


def workers(client: Client, n_expected: int, progress: Progress) -> dict[str, dict[str, Any]]:
    """Return what each worker says of itself.

    Raises:
        UsageError: a worker has another version of virb, or none.
    """
    if not client.nthreads():
        progress.note("Waiting for Dask workers")
    client.wait_for_workers(n_expected)
    seen = client.run(looker(), on_error="return")
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


def shares(workers: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Return how many cores a piece may use, by the cores that a worker sees (on which machine, which of them).

    Workers that see the same cores share them, so that together they never use more than there are.
    """
    has_gpus = any(worker["n_gpus"] for worker in workers.values())
    n_slots: dict[str, int] = {}
    n_cores_seen: dict[str, int] = {}
    for worker in workers.values():
        cores = worker["cores"]
        n_cores_seen[cores] = worker["n_cores"]
        n_slots[cores] = n_slots.get(cores, 0) + slots_of(worker, has_gpus)
    return {cores: max(1, n_cores_seen[cores] // max(1, n)) for cores, n in n_slots.items()}


def slots_of(worker: Mapping[str, Any], has_gpus: bool) -> int:
    """Return how many pieces a worker runs at a time: one a GPU where the cluster declares any, else one a thread."""
    return int(worker["n_gpus"] if has_gpus else worker["n_threads"])


def looker() -> Callable[[], dict[str, Any]]:
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

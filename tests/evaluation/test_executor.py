"""The grid on a Dask cluster ends in the same store as a local run, whatever happens to a worker."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from virb.cli import main
from virb.contracts.executor import Chunk
from virb.errors import UsageError
from virb.evaluation.executors import _cluster as of_dask
from virb.evaluation.executors import dask as executor
from virb.evaluation.run import find_executor
from virb.system.threads import n_cores

pytest.importorskip("distributed")

PATIENCE_S = 600.0  # of a busy machine; a limit against hanging, not a measurement
TINY = "random:resnet18:width=0.125,size=32"
ENCODERS = [TINY, TINY + ",seed=1"]
# Reading leaves a file with the process's number, so that the test knows whom to kill, and takes its time.
TASK = """import os, time
from pathlib import Path
from virb.images.folders import image_folder
from virb.errors import DataError
from virb.contracts.task import Category, Protocol, Task

read = image_folder("textures")

def data(context, split):
    if {is_broken}:
        raise DataError("the disk is gone")
    if os.environ.get("VIRB_TEST_TRACES"):
        (Path(os.environ["VIRB_TEST_TRACES"]) / str(os.getpid())).write_text("{name}")
        time.sleep(0.7)
    return read(context, split)

TASK = Task(name="{name}", summary="two textures", category=Category.SEMANTIC_IMAGE, head="linear",
            loss="cross_entropy", metric="top1", data=data, classes=("flat", "rough"), protocol=Protocol(epochs={epochs}))
"""
NAMES = ["t1", "t2", "t3", "t4"]


@pytest.fixture
def place(tmp_path: Path) -> list[str]:
    """Content and images, and the arguments that name them."""
    content = tmp_path / "content"
    content.mkdir()
    for epochs, name in enumerate(NAMES, 1):
        (content / f"{name}.py").write_text(TASK.format(name=name, epochs=epochs, is_broken=False))
    (content / "broken.py").write_text(TASK.format(name="broken", epochs=1, is_broken=True))
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("flat", "rough"):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for k in range(6):
                noise = rng.integers(0, 255, (20, 24, 3)) if name == "rough" else np.full((20, 24, 3), 40 + k)
                Image.fromarray(noise.astype(np.uint8)).save(folder / f"{k}.png")
    return ["--include", str(content), "--data", f"textures={tmp_path / 'images'}", "--device", "cpu", "--seeds", "2"]


def store(root: Path) -> dict[str, object]:
    """Everything in a results folder but the seconds."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*.json")):
        record = json.loads(path.read_text())
        assert record.pop("seconds")
        found[str(path.relative_to(root))] = record
    for path in sorted(root.rglob("*.npz")):
        with np.load(path) as arrays:
            found[str(path.relative_to(root))] = {key: arrays[key].tolist() for key in arrays}
    return found


@contextlib.contextmanager
def cluster(tmp_path: Path, n_workers: int, *options: str, env: dict[str, str] | None = None) -> Iterator[str]:
    """A scheduler and workers as a user starts them, on 127.0.0.1; yields the address."""
    env = {**os.environ, **(env or {})}
    common = ["--host", "127.0.0.1", "--no-dashboard"]
    processes = []
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((tmp_path / "scheduler.log").open("w+"))
        argv = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", *common]
        processes.append(subprocess.Popen(argv, stdout=log, stderr=log, env=env, cwd=tmp_path))
        try:
            address = None
            deadline = time.monotonic() + PATIENCE_S
            while address is None and time.monotonic() < deadline:
                time.sleep(0.05)
                address = re.search(r"tcp://127\.0\.0\.1:\d+", (tmp_path / "scheduler.log").read_text())
            assert address is not None, (tmp_path / "scheduler.log").read_text()
            for k in range(n_workers):
                out = stack.enter_context((tmp_path / f"worker-{k}.log").open("w"))
                argv = [
                    sys.executable,
                    "-m",
                    "distributed.cli.dask_worker",
                    address[0],
                    "--no-nanny",
                    "--nthreads",
                    "1",
                ]
                argv += [*common, "--local-directory", str(tmp_path / f"worker-{k}"), *options]
                processes.append(subprocess.Popen(argv, stdout=out, stderr=out, env=env, cwd=tmp_path))
            yield address[0]
        finally:
            for process in reversed(processes):
                process.kill()
                process.wait()


@pytest.mark.slow
def test_a_killed_workers_work_is_done_elsewhere_and_the_store_is_that_of_a_local_run(place, tmp_path, capsys):
    traces = tmp_path / "traces"
    traces.mkdir()
    argv = ["evaluate", *ENCODERS, *place, "--tasks", ",".join([*NAMES, "broken"])]
    assert main([*argv, "--out", str(tmp_path / "local")]) == 1
    local = capsys.readouterr()
    env = {"VIRB_TEST_TRACES": str(traces), "VIRB_CACHE": str(tmp_path / "cache")}
    with cluster(tmp_path, 2, "--resources", "GPU=1", env=env) as address:
        command = subprocess.Popen(
            [sys.executable, "-m", "virb", *argv, "--out", "remote", "--executor", f"dask:{address}"],
            cwd=tmp_path,
            env=dict(os.environ),  # not the C library's, in which the readline of a terminal's pytest puts COLUMNS
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + PATIENCE_S
        while not list(traces.iterdir()) and time.monotonic() < deadline and command.poll() is None:
            time.sleep(0.01)
        victims = [int(path.name) for path in traces.iterdir()]
        if victims:
            os.kill(victims[0], signal.SIGKILL)  # it reads a task's data now
        out, err = command.communicate(timeout=PATIENCE_S)
    assert victims, err
    assert command.returncode == 1, err
    assert len(list(traces.iterdir())) == 2
    assert store(tmp_path / "remote") == store(tmp_path / "local")
    assert len(store(tmp_path / "remote")) == 2 * 16
    assert out.replace(str(tmp_path), "").splitlines()[:-1] == local.out.replace(str(tmp_path), "").splitlines()[:-1]
    assert "16 jobs run" in out
    assert "[4/4 pieces]" in err
    assert [line for line in err.splitlines() if line.startswith("FAILED")] == [
        line for line in local.err.splitlines() if line.startswith("FAILED")
    ]


@pytest.mark.slow
def test_workers_of_its_own(place, tmp_path, capsys):
    """From Python and the command line: tasks by name and as objects; a second run finds everything done."""
    argv = ["evaluate", *ENCODERS, *place, "--tasks", "t1,t2"]
    assert main([*argv, "--out", str(tmp_path / "local")]) == 0
    capsys.readouterr()
    assert main([*argv, "--out", str(tmp_path / "remote"), "--executor", "dask"]) == 0
    assert "8 jobs run" in capsys.readouterr().out
    assert store(tmp_path / "remote") == store(tmp_path / "local")
    assert main([*argv, "--out", str(tmp_path / "remote"), "--executor", "dask"]) == 0
    assert "0 jobs run, 8 were there already" in capsys.readouterr().out


@pytest.mark.slow
def test_a_worker_with_another_version_is_named(place, tmp_path, capsys):
    old = tmp_path / "old" / "virb"
    old.mkdir(parents=True)
    (old / "__init__.py").write_text("__version__ = '0.0.9'")
    with cluster(tmp_path, 1, env={"PYTHONPATH": str(tmp_path / "old")}) as address:
        status = main(
            ["evaluate", TINY, *place, "--tasks", "t1", "--out", str(tmp_path / "out"), "--executor", f"dask:{address}"]
        )
    assert status == 2
    printed = capsys.readouterr().err
    assert "has 0.0.9" in printed
    assert "Every Dask worker needs virb" in printed


def test_an_address_where_nobody_answers_is_named(place, tmp_path, capsys):
    argv = ["evaluate", TINY, *place, "--tasks", "t1", "--out", str(tmp_path / "out")]
    assert main([*argv, "--executor", "dask:tcp://127.0.0.1:9"]) == 2
    assert "No Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err


def test_what_cannot_be_an_executor(monkeypatch):
    for name in ("ray", "dask:", "local:x", ""):
        with pytest.raises(UsageError, match="Unknown executor"):
            find_executor(name)
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert find_executor("local")[0].is_here
    with pytest.raises(UsageError, match=r"pip install 'virb\[dask\]'"):
        find_executor("dask")


def test_a_piece_that_is_lost_too_often_becomes_a_failure_that_says_so():
    from distributed import Future, KilledWorker
    from distributed.scheduler import WorkerState

    class Lost(Future):
        def __init__(self):
            pass

        def result(self, timeout=None):
            worker = WorkerState.__new__(WorkerState)
            worker.address = "tcp://127.0.0.1:1"
            raise KilledWorker("task", worker, 3)

        def __del__(self):
            pass

    piece = executor.Piece("t1", ("t1",), (("encoders/a.pt", ""),), 1)
    (failure,) = executor._report_of(Lost(), piece).failures
    assert failure.what == "t1 with a.pt"
    assert "was lost 4 times, last tcp://127.0.0.1:1" in failure.reason


def test_the_grid_is_cut_by_task_and_further_only_where_workers_would_wait():
    encoders = [(f"e{k}", "") for k in range(5)]
    units = [Chunk("a", ("a",), {0: 1, 1: 2, 4: 1}), Chunk("b", ("b",), {2: 1})]
    few = executor.cut(units, encoders, 2)
    assert [(p.what, [e for e, _ in p.encoders], p.n_jobs) for p in few] == [
        ("a", ["e0", "e1", "e4"], 4),
        ("b", ["e2"], 1),
    ]
    many = executor.cut(units, encoders, 4)
    assert [[e for e, _ in p.encoders] for p in many] == [["e0"], ["e1", "e4"], ["e2"]]
    assert sum(p.n_jobs for p in many) == 5
    large = executor.cut([Chunk("a", ("a",), dict.fromkeys(range(100), 1))], [("e", "")] * 100, 1)
    assert max(len(p.encoders) for p in large) <= executor.MAX_ENCODERS


def test_workers_that_see_the_same_cores_share_them(monkeypatch):
    def worker(cores: str, n_cores: int, n_threads: int) -> dict[str, object]:
        return {"cores": cores, "n_cores": n_cores, "n_threads": n_threads, "n_gpus": 0}

    together = {"a": worker("x 0-7", 8, 1), "b": worker("x 0-7", 8, 1), "c": worker("y 0-3", 4, 8)}
    assert of_dask.shares(together) == {"x 0-7": 4, "y 0-3": 1}
    with_gpus = {name: {**seen, "n_gpus": 1} for name, seen in together.items()}
    assert of_dask.shares(with_gpus) == {"x 0-7": 4, "y 0-3": 4}  # one piece a GPU, however many threads
    monkeypatch.setenv("VIRB_CORES", "1")
    assert n_cores() == 1


def test_each_gpu_that_the_user_shows_gets_a_worker(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert of_dask._gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert of_dask._gpus() == ["3", "5"]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert of_dask._gpus() == []


def test_an_encoders_file_is_named_so_that_a_worker_finds_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.pt").write_bytes(b"")
    assert executor.absolute_source("mine.pt:size=48") == f"{tmp_path / 'mine.pt'}:size=48"
    assert executor.absolute_source("random:resnet18:seed=1") == "random:resnet18:seed=1"

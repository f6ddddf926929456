"""Jobs that share the memory wait for each other, and a job larger than all of it still runs."""

from __future__ import annotations

import threading
import time

from virb.system.threads import MemoryShare, memory_bytes


def test_what_runs_side_by_side_fits_and_a_large_job_runs_alone():
    share = MemoryShare(10)
    lock, running, most, done = threading.Lock(), [], [], []

    def job(n_bytes: int) -> None:
        with share.take(n_bytes):
            with lock:
                running.append(n_bytes)
                most.append(list(running))
            time.sleep(0.01)
            with lock:
                running.remove(n_bytes)
                done.append(n_bytes)

    threads = [threading.Thread(target=job, args=(n,)) for n in (4, 4, 4, 25, 4, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=600)
    assert sorted(done) == [4, 4, 4, 4, 6, 25]
    assert all(sum(together) <= 10 or together == [25] for together in most)


def test_an_error_gives_the_memory_back():
    share = MemoryShare(10)
    for _ in range(2):
        try:
            with share.take(10):
                raise ValueError
        except ValueError:
            pass
    with share.take(10):
        pass


def test_a_machine_has_memory():
    assert memory_bytes() > 1 << 28

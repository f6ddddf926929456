"""A rendering process: reads jobs, one JSON line each, from its standard input, and answers each with a line.

A plain process with pipes instead of multiprocessing: it neither forks a process that may hold torch's threads nor runs
the caller's main module again, and it ends by itself when its parent dies.
"""

from __future__ import annotations

import json
import signal
import sys
import traceback

from virb.tasks.world.store import render_chunk


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends its workers
    for line in sys.stdin:
        job = json.loads(line)
        try:
            render_chunk(**job)
        except Exception:  # whatever it is, the parent shall say it
            answer = {"error": traceback.format_exc()}
        else:
            answer = {}
        try:
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:  # nobody waits for the answer any more; the chunk is on disk
            sys.stderr.close()
            return


if __name__ == "__main__":
    main()

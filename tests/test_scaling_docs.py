"""The Slurm script of docs/scaling.md runs: with an srun that starts its command on this machine, and no GPU."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("distributed")
ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="needs bash")
def test_the_slurm_script_runs_as_printed(tmp_path):
    text = (ROOT / "docs" / "scaling.md").read_text()
    script = re.search(r"<!-- slurm script: begin -->\n```bash\n(.*?)```", text, re.S)
    assert script is not None
    (tmp_path / "virb.sbatch").write_text(script[1])
    fakes = {
        "hostname": "echo 127.0.0.1",
        "srun": 'exec "$@"',
        "dask": f'exec {sys.executable} -m dask "$@"',
        "virb": f'exec {sys.executable} -m virb "$@"',
    }
    for name, line in fakes.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{line}\n")
        (tmp_path / name).chmod(0o755)
    argv = ["/bin/bash", "virb.sbatch", "pixels:4:size=32", "--tasks", "mini-digits", "--limit", "40", "--epochs", "1"]
    job = str(os.getpid())  # it makes the port, so that runs side by side have their own
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": job}
    # A group of its own, so that nothing that the script started outlives the test, however it ends.
    with subprocess.Popen(
        [*argv, "--device", "cpu"],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            out, err = running.communicate(timeout=600)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == 0, err
    assert "1 jobs run" in out
    assert len(list((tmp_path / "results").rglob("*.json"))) == 1

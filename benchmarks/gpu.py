"""Everything that is to be known of a GPU, in minutes: is it right, and how fast. JSON after every row, a table at the end.

Run: python benchmarks/gpu.py --out FOLDER [--minutes 8] [--parts 0,a,b,c,d,e] [--small] [--device cpu]

Each part is a process of its own with a time of its own: what fails or hangs there costs no other part its numbers.
    0 the card and its copies        a tests/devices on the card (pytest -m gpu)      b encoding, beside a plain compiled loop
    c heads and probes               d pretraining, beside the same step on synthetic tensors     e two Dask workers on one card
--small takes small networks and images and a few steps, so that everything can be tried on a CPU.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

SECONDS = {"0": 20, "a": 80, "b": 120, "c": 80, "d": 140, "e": 40}  # of 8 minutes; other times in proportion
MODULES = {"0": "start", "a": "equal", "b": "encoding", "c": "heads", "d": "training", "e": "workers"}
HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu-results"))
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--parts", default=",".join(SECONDS))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--part", help=argparse.SUPPRESS)  # in a process of its own
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        run_part(args)
    else:
        run_all(args)


def run_part(args: argparse.Namespace) -> None:
    """Run one part here; its rows go to a file as they come."""
    from on_gpu.rows import Part

    part = Part(args.out, args.until, args.device, is_small=args.small)
    try:
        importlib.import_module(f"on_gpu.{MODULES[args.part]}").run(part)
    except Exception:
        part.write({"row": "the part itself", "error": traceback.format_exc()})
        raise


def run_all(args: argparse.Namespace) -> None:
    """Run the parts one after the other and keep what they found in gpu.json and gpu.md."""
    args.out.mkdir(parents=True, exist_ok=True)
    begun = time.time()
    end = begun + 60 * args.minutes
    parts = [part for part in args.parts.split(",") if part]
    found: dict[str, Any] = {
        "command": " ".join(sys.argv),
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "parts": {},
    }
    with tempfile.TemporaryDirectory() as place:
        env = {
            **os.environ,
            "TORCHINDUCTOR_CACHE_DIR": f"{place}/inductor",
            "TRITON_CACHE_DIR": f"{place}/triton",
            "VIRB_CACHE": f"{place}/cache",
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0)))),
        }
        compiler = None
        for part in parts:
            if (
                compiler is None
                and part not in ("0", "b")
                and "b" in parts
                and not args.small
                and args.device == "cuda"
            ):
                command = [sys.executable, str(HERE / "on_gpu" / "compiling.py")]
                compiler = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if part == "b" and compiler is not None:  # nothing else may be on the card from here on
                wait(compiler, 45)
            left = end - time.time()
            if left < 10:
                found["parts"][part] = {"left_out": "no time was left"}
                continue
            limit = left * SECONDS[part] / sum(SECONDS[other] for other in parts[parts.index(part) :])
            found["parts"][part] = run_child(part, args, limit, Path(place) / f"{part}.jsonl", env)
            found["seconds"] = round(time.time() - begun, 1)
            keep(found, args.out)
        wait(compiler, 0)
        for part in parts:  # a part that lost something gets what is left
            left, rows = end - time.time(), found["parts"][part]
            if left > 40 and (rows.get("rc") or rows.get("left_out")):
                again = run_child(part, args, left, Path(place) / f"{part}-again.jsonl", env)
                found["parts"][f"{part} again"] = again
                keep(found, args.out)
    found["seconds"] = round(time.time() - begun, 1)
    keep(found, args.out)


def wait(process: subprocess.Popen | None, seconds: float) -> None:
    if process is not None:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_child(part: str, args: argparse.Namespace, limit: float, rows: Path, env: dict[str, str]) -> dict[str, Any]:
    """Run ``part`` for at most ``limit`` seconds and return its rows, whatever became of it."""
    begun = time.time()
    command = [
        *(sys.executable, __file__, "--part", part, "--out", str(rows), "--device", args.device),
        *("--until", str(begun + limit - 5)),
        *(["--small"] if args.small else []),
    ]
    print(f"== {part} ({MODULES[part]}), at most {limit:.0f} s", flush=True)
    log = rows.with_suffix(".log")
    with log.open("w") as file:
        process = subprocess.Popen(command, env=env, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code: int | str = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)  # its workers too
            process.wait()
            code = "out of time"
    lines = rows.read_text().splitlines() if rows.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("}")]
    for row in found:
        print(shown(row), flush=True)
    result: dict[str, Any] = {"seconds": round(time.time() - begun, 1), "rc": code, "rows": found}
    if code or any("error" in row for row in found):
        result["log"] = log.read_text(errors="replace")[-6000:]
        print(f"   rc {code}: {result['log'][-1500:]}", flush=True)
    return result


def shown(row: dict[str, Any]) -> str:
    values = {key: value for key, value in row.items() if key not in ("row", "error", "all", "layers")}
    text = ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items()
    )
    error = f" FAILED: {row['error'].strip().splitlines()[-1][:200]}" if "error" in row else ""
    return f"   {row['row']}: {text}{error}"


def keep(found: dict[str, Any], out: Path) -> None:
    """Write what was found so far, as JSON and as a table to read."""
    (out / "gpu.json").write_text(json.dumps(found, indent=1))
    lines = [f"{found['began']} `{found['command']}`, {found.get('seconds', 0)} s", ""]
    for part, result in found["parts"].items():
        lines += [f"## {part}: {result.get('seconds')} s, rc {result.get('rc')} {result.get('left_out', '')}", ""]
        lines += [f"- {shown(row).strip()}" for row in result.get("rows", [])] + [""]
    (out / "gpu.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()

"""Part a: tests/devices on the card; every test keeps its numbers as a row."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as Tree
from pathlib import Path

from on_gpu.rows import Part

ROOT = Path(__file__).resolve().parents[2]


def run(part: Part) -> None:
    marks = "gpu" if part.device.type == "cuda" else "not gpu and not slow"
    with tempfile.TemporaryDirectory() as place:
        kept, report = Path(place) / "rows.jsonl", Path(place) / "report.xml"
        env = {**os.environ, "VIRB_GPU_ROWS": str(kept), "OMP_NUM_THREADS": "2"}
        env["VIRB_TEST_CACHE"] = f"{place}/cache"
        command = [sys.executable, "-m", "pytest", "-m", marks, f"--junitxml={report}", "-o", "addopts="]
        command += [
            "--import-mode=importlib",
            "-q",
            "--tb=short",
            "-p",
            "no:cacheprovider",
            str(ROOT / "tests" / "devices"),
        ]
        if importlib.util.find_spec("xdist") is not None and part.device.type == "cuda":
            command += ["-n", "8"]
        if part.is_small:
            command += ["-k", "classes or simclr"]
        process = subprocess.Popen(command, cwd=ROOT, env=env)
        try:
            process.wait(max(5.0, part.left - 5))
        except subprocess.TimeoutExpired:
            process.send_signal(2)  # pytest then still writes its report
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
        numbers = {}
        for line in kept.read_text().splitlines() if kept.exists() else []:
            row = json.loads(line)
            numbers.setdefault(row.pop("row"), {}).update(row)
        if not report.exists():
            part.write({"row": "pytest", "error": f"it left no report; ended with {process.returncode}"})
            for name, values in numbers.items():
                part.write({"row": name, **values})
            return
        for case in Tree.parse(report).iter("testcase"):
            name = case.get("name", "")
            skipped, wrong = case.find("skipped"), case.find("failure")
            wrong = case.find("error") if wrong is None else wrong
            if skipped is not None:
                continue
            row = {"row": name, "took_s": float(case.get("time", 0)), **numbers.get(name, {})}
            if wrong is not None:
                row["error"] = f"{wrong.text or ''}\n{wrong.get('message', '')}"[-3000:]
            part.write(row)

"""`virb demo`: the whole way on what comes with virb: evaluate the reference encoders, print the table, draw the heatmap."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = (
    "evaluate the reference encoders on nine of the mini suite's tasks, print the table, draw the correlation heatmap"
)
EPILOG = """examples:
  virb demo                                 # results/ and figures/; about 6 minutes of processor time; nothing is downloaded
  virb demo --tasks mini-scene,mini-count   # a taste, in a minute
  virb demo && virb report --results results

Run it again after an interruption: only what is missing is computed. It does what these two do:
  virb evaluate ENCODER... --tasks A,B --out results
  virb analyze correlation --results results --out figures
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", default="results", metavar="DIR", help="the results folder (default: results)")
    parser.add_argument("--figures", default="figures", metavar="DIR", help="where the figure goes (default: figures)")
    parser.add_argument("--tasks", metavar="A,B", help="evaluate on these tasks instead")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(args: argparse.Namespace) -> int:
    from virb.cli import main

    encoders = [str(path) for path in reference_encoders()]
    tasks = args.tasks or ",".join(demo_tasks())
    quiet = ["--quiet"] if args.quiet else []
    status = main(["evaluate", *encoders, "--tasks", tasks, "--out", args.out, *quiet])
    if status == 2:
        return status
    return max(status, main(["analyze", "correlation", "--results", args.out, "--out", args.figures]))


def reference_encoders() -> list[Path]:
    """The encoder files that come with virb."""
    return sorted(path for folder in _folders("virb.encoders") for path in folder.glob("*.pt"))


def demo_tasks() -> list[str]:
    """The tasks of the demo, as their suite's file says."""
    (path,) = [path for folder in _folders("virb.tasks") for path in folder.glob("*/demo.txt")]
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _folders(package: str) -> list[Path]:
    import importlib.util

    spec = importlib.util.find_spec(package)
    return [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []

"""What ``virb new`` writes: for each kind the smallest part that works, a file of ``starts/`` with NAME and TITLE to fill in."""

from __future__ import annotations

from importlib import resources

#: What one asks for, and its kind in the registry. The text is ``starts/WORD.txt``.
KINDS = {
    "task": "tasks",
    "method": "methods",
    "analysis": "analyses",
    "head": "heads",
    "loss": "losses",
    "metric": "metrics",
    "probe": "probes",
    "backbone": "backbones",
    "layout": "layouts",
    "reader": "readers",
    "dataset": "datasets",
    "column": "columns",
    "importer": "importers",
    "executor": "executors",
    "style": "styles",
    "paper": "papers",
}


def start(word: str) -> str:
    """Return the text of ``starts/WORD.txt``; ``test`` is the test that is written beside a part."""
    return resources.files("virb.cli").joinpath("starts", f"{word}.txt").read_text(encoding="utf-8")

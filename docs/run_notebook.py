"""Run docs/notebook.ipynb in an empty folder and keep what it prints and draws: `python docs/run_notebook.py [OUT.ipynb]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent


def run(path: Path, folder: str | Path) -> nbformat.NotebookNode:
    """Return the notebook with what its cells say, run from top to bottom in ``folder``; an error in a cell is raised."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when each cell ran
        if cell.cell_type == "code":  # libraries' warnings, with paths of this machine
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    return notebook


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as empty:
        done = run(HERE / "notebook.ipynb", empty)
    nbformat.write(done, sys.argv[1] if len(sys.argv) > 1 else HERE / "notebook.ipynb")

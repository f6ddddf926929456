"""Which of timm's models have exactly the names and shapes of a file: the ``arch=`` that would fit.

The answer is looked up in timm_index.json, digests of names and shapes without classifiers, which
``python -m virb.convert.timm_index`` writes from the installed timm (one model after the other, on the meta device).
Models that differ in nothing a tensor tells share a digest, and all of them are named.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from virb.convert.tables import tables

_FILE = Path(__file__).with_name("timm_index.json")
_HEAD = re.compile(r"(head|head_dist|fc|classifier|last_linear|aux_head|head\.fc|head\.l|head\.fc\.fc2)\.(weight|bias)")


def signature(shapes: Mapping[str, Iterable[int]]) -> str:
    """Return the digest of names and shapes; classifiers and BatchNorm's counters do not count."""
    lines = sorted(
        f"{key} {tuple(shape)}"
        for key, shape in shapes.items()
        if not _HEAD.fullmatch(key) and not key.endswith("num_batches_tracked")
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


@functools.cache
def _known() -> Mapping[str, list[str]]:
    if not _FILE.is_file():
        return {}  # nothing is suggested
    found: dict[str, list[str]] = json.loads(_FILE.read_text(encoding="utf-8"))["models"]
    return found


def names_for(shapes: Mapping[str, Iterable[int]]) -> list[str]:
    """Return the names of timm's models that have exactly these tensors."""
    return _known().get(signature(shapes), [])


def fitting(table: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return, for each prefix in a table of tensors below which a whole model of timm stands, the names of the models."""
    shapes = {key: tuple(value.shape) for key, value in table.items()}
    starts = {""} | {key[: match.end()] for key in shapes for match in re.finditer(r"\.", key) if match.end() < 60}
    found = {}
    for start in sorted(starts, key=len):
        if re.search(r"\d", start) or start.count(".") > 4:
            continue
        names = names_for({key[len(start) :]: shape for key, shape in shapes.items() if key.startswith(start)})
        if names:
            found[start] = names
    return found


def suggestion(state: Mapping[str, Any]) -> str:
    """Return a sentence that names the ``arch=`` with exactly a checkpoint's tensors; empty if there is none."""
    names = sorted({name for _, table in tables(state) for found in fitting(table).values() for name in found})
    if not names:
        return ""
    shown = " or ".join(f"arch=timm:{name}" for name in names[:6])
    more = f" (and {len(names) - 6} more)" if len(names) > 6 else ""
    return f"Its tensors are exactly those of {shown}{more}."


def main() -> None:
    """Write the index of the installed timm."""
    import timm
    import torch

    models: dict[str, list[str]] = {}
    for name in timm.list_models():
        if name.startswith("test_"):
            continue
        try:
            with torch.device("meta"):
                state = timm.create_model(name, num_classes=0).state_dict()
        except Exception as error:  # some cannot be built on the meta device, or need a package of their own
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        models.setdefault(signature({key: value.shape for key, value in state.items()}), []).append(name)
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(models[key])}" for key in sorted(models))
    _FILE.write_text(f'{{"timm": {json.dumps(timm.__version__)},\n "models": {{\n{lines}\n}}}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()

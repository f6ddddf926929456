"""WordNet 3.0's tree of nouns over the classes of ImageNet and its kin, whose names are WordNet's offsets."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path

from virb.contracts.examples import DataContext
from virb.contracts.tree import LabelTree
from virb.errors import DataError
from virb.images.decode import read_bytes
from virb.stats.granularity import depth_levels

#: Where Debian's wordnet-base and NLTK put data.noun.
PLACES = ("/usr/share/wordnet", "~/nltk_data/corpora/wordnet", "/usr/share/nltk_data/corpora/wordnet")
RULE = "Of several hypernyms the first that WordNet lists counts, an instance's too."


def find(context: DataContext) -> Path | None:
    """Return the file data.noun, in the place that the user named or where packages put it; None where it is nowhere.

    Raises:
        DataError: it is not in the place that the user named.
    """
    if "wordnet" in context.places:
        path = context.places["wordnet"] / "data.noun"
        if not path.is_file():
            raise DataError(f"wordnet: there is no {path}; expected data.noun of WordNet 3.0.")
        return path
    nltk = [f"{place}/corpora/wordnet" for place in os.environ.get("NLTK_DATA", "").split(os.pathsep) if place]
    places = [Path(place).expanduser() / "data.noun" for place in (*nltk, *PLACES)]
    return next((path for path in places if path.is_file()), None)


def tree(context: DataContext, wnids: Sequence[str]) -> LabelTree | None:
    """Return the levels over classes such as n01440764, coarser and coarser; None where there is no WordNet.

    "depth k" merges the deepest classes into their parents until none is more than k steps below the root, as Cole et al.
    2022 (Appendix C.3) do; levels that merge nothing, or all, are left out. WordNet is no tree: see :data:`RULE`.

    Raises:
        DataError: the file cannot be read, or has no such noun (another version numbers them otherwise).
    """
    path = find(context)
    if path is None:
        return None
    parents = _parents(path, path.stat().st_mtime_ns)
    unknown = [wnid for wnid in wnids if wnid not in parents]
    if unknown:
        raise DataError(f"wordnet: {path} has no noun {unknown[0]}; expected WordNet 3.0, by which ImageNet numbers.")
    levels = depth_levels(parents, wnids)  # the classes first, the root last
    kept: dict[str, list[str]] = {}
    n_before = len(wnids)  # a level with as many groups as the one below it has the same
    for k, level in enumerate(levels):
        ancestors = [level[wnid] for wnid in wnids]
        if 1 < len(set(ancestors)) < n_before:
            kept[f"depth {len(levels) - 1 - k}"] = ancestors
            n_before = len(set(ancestors))
    return LabelTree(kept, RULE) if kept else None


@functools.lru_cache(maxsize=2)
def _parents(path: Path, mtime_ns: int) -> dict[str, str | None]:
    """Return the first hypernym of every noun, by offset; None for the root. The file: see wndb(5WN)."""
    parents: dict[str, str | None] = {}
    try:
        for line in read_bytes(path).decode("ascii").splitlines():
            if line.startswith("  "):  # the licence
                continue
            words = line.split("|", 1)[0].split()
            at = 4 + 2 * int(words[3], 16)  # after the offset, two codes, the number of words and the words
            pointers = words[at + 1 : at + 1 + 4 * int(words[at])]
            above = [pointers[k + 1] for k in range(0, len(pointers), 4) if pointers[k] in ("@", "@i")]
            parents[f"n{words[0]}"] = f"n{above[0]}" if above else None
    except (DataError, UnicodeDecodeError, ValueError, IndexError) as error:
        raise DataError(f"wordnet: {path} is not a readable data.noun ({error}).") from error
    return parents

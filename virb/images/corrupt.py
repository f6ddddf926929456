"""Find the examples whose image or target cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from virb.contracts.examples import Examples
from virb.errors import DataError
from virb.system.threads import n_cores


def unreadable(
    examples: Examples, *, is_dense: bool, progress: Callable[[int, int], None] | None = None
) -> dict[int, str]:
    """Return what is wrong with each example that cannot be read, by its row; every image is decoded for it.

    Args:
        is_dense: whether the targets are files too, that is, whether the task is pixelwise.
        progress: called as ``progress(done, total)`` in images and targets.
    """
    used = np.unique(examples.frames)
    n_targets = len(examples) if is_dense else 0
    total = len(used) + n_targets
    bad_images: dict[int, str] = {}
    bad_targets: dict[int, str] = {}

    def look(k: int) -> None:
        try:
            if k < len(used):
                examples.images.image(int(used[k]))
            else:
                np.asarray(examples.targets[k - len(used)])
        except DataError as error:
            if k < len(used):
                bad_images[int(used[k])] = str(error)
            else:
                bad_targets[k - len(used)] = str(error)

    with ThreadPoolExecutor(max_workers=min(8, n_cores())) as pool:  # decoding lets go of Python's lock
        for done in range(0, total, 256):
            list(pool.map(look, range(done, min(done + 256, total))))
            if progress is not None:
                progress(min(done + 256, total), total)
    found = dict(bad_targets)
    for row in np.flatnonzero(np.isin(examples.frames, list(bad_images)).any(axis=1)) if bad_images else ():
        found[int(row)] = next(bad_images[int(k)] for k in examples.frames[row] if int(k) in bad_images)
    return dict(sorted(found.items()))

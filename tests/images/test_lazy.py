"""Dense targets are read when they are used, and no sooner."""

from __future__ import annotations

import numpy as np
import pytest

from virb.images.lazy import LazyTargets


def test_only_what_is_asked_for_is_read():
    read: list[int] = []

    def one(k: int) -> np.ndarray:
        read.append(k)
        return np.full((2, 2), k)

    targets = LazyTargets(5, one)
    assert len(targets) == 5
    assert read == []
    assert targets[-1][0, 0] == 4
    assert [int(found[0, 0]) for found in targets[1:4:2]] == [1, 3]
    assert targets[np.int64(2)][0, 0] == 2
    assert read == [4, 1, 3, 2]
    with pytest.raises(IndexError):
        targets[5]
    assert not hasattr(targets, "digest_rows"), "what the targets are made of is not known without reading them"
    assert LazyTargets(5, one, lambda rows: rows[:, None]).digest_rows(np.array([3])).tolist() == [[3]]

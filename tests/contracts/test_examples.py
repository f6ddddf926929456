"""Examples: the limit, and subsets that carry their own images only."""

from __future__ import annotations

import numpy as np
import pytest
from virb.tasks.readers.common import LazyTargets

from virb.contracts.examples import DataContext, Examples
from virb.contracts.task import Category, Protocol, Task
from virb.errors import DataAbsent, DataError
from virb.images.corrupt import unreadable
from virb.images.sets import ArrayImages, ImageSet


def pairs(n=50):
    """Examples of two frames each; frame k is an image of the grey level k."""
    array = np.broadcast_to(np.arange(2 * n, dtype=np.uint8)[:, None, None, None], (2 * n, 2, 2, 3)).copy()
    frames = np.arange(2 * n).reshape(n, 2)
    return Examples(ArrayImages.of("greys", array), frames, np.arange(n) % 3, [f"pair {k}" for k in range(n)])


def test_a_limit_is_a_fixed_choice_in_order_with_its_own_images():
    whole = pairs()
    few, again = whole.limited(7), whole.limited(7)
    assert len(few) == 7
    assert few.ids == again.ids
    assert few.ids == sorted(few.ids, key=whole.ids.index)
    assert few.images.digest == again.images.digest != whole.images.digest
    assert isinstance(few.images, ImageSet)
    assert len(few.images) == 14  # of 100
    for k, name in enumerate(few.ids):
        row = whole.ids.index(name)
        assert few.targets[k] == whole.targets[row]
        for frame in range(2):
            index = int(few.frames[k, frame])
            assert few.images.image(index)[0, 0, 0] == whole.frames[row, frame]
            assert few.images.describe(index) == f"frame {whole.frames[row, frame]} of greys"
    assert whole.limited(None) is whole
    assert whole.limited(50) is whole
    assert whole.limited(8).images.digest != few.images.digest


def test_a_limit_leaves_lazy_targets_lazy():
    read = []
    whole = pairs()
    lazy = Examples(
        whole.images, whole.frames, LazyTargets(50, lambda k: (read.append(k), np.full((2, 2), k))[1]), whole.ids
    )
    few = lazy.limited(5)
    assert read == []
    assert int(few.targets[4][0, 0]) == whole.ids.index(few.ids[4])
    assert len(read) == 1


def test_examples_refuse_what_does_not_fit_together():
    whole = pairs(3)
    with pytest.raises(DataError, match="3 examples but 2 targets and 3 ids"):
        Examples(whole.images, whole.frames, whole.targets[:2], whole.ids)
    with pytest.raises(DataError, match="the split is empty"):
        Examples(whole.images, whole.frames[:0], whole.targets[:0], [])
    with pytest.raises(DataError, match="but there are 6 images"):
        Examples(whole.images, whole.frames + 1, whole.targets, whole.ids)


def test_a_task_says_how_to_obtain_what_is_absent():
    def data(context, split):
        return context.place("flowers")

    task = Task(
        name="flowers",
        summary="",
        category=Category.SEMANTIC_IMAGE,
        head="linear",
        loss="cross_entropy",
        metric="top1",
        data=data,
        protocol=Protocol(epochs=1),
        classes=2,
        obtain="pick them.",
    )
    with pytest.raises(DataAbsent, match=r"pass data=DIR .* To obtain it: pick them\."):
        task.examples(DataContext(), "train")


def test_what_cannot_be_read_is_found_by_example():
    whole = pairs(6)

    class Damaged(ArrayImages):
        def image(self, index):
            if index in (3, 8):  # of examples 1 and 4
                raise DataError(f"frame {index} is damaged")
            return super().image(index)

    def target(k):
        if k == 4 or k == 5:
            raise DataError(f"target {k} is damaged")
        return np.zeros((2, 2))

    images = Damaged("damaged", "revision", whole.images.array)
    examples = Examples(images, whole.frames, LazyTargets(6, target), whole.ids)
    seen = []
    found = unreadable(examples, is_dense=True, progress=lambda done, total: seen.append((done, total)))
    assert found == {1: "frame 3 is damaged", 4: "frame 8 is damaged", 5: "target 5 is damaged"}
    assert seen == [(18, 18)]
    assert unreadable(whole, is_dense=False) == {}
    kept = examples.subset(np.array([0, 2, 3])).with_own_images()
    assert len(kept.images) == 6
    assert unreadable(kept, is_dense=True) == {}

"""Centre squares: which pixels they are, what they are known by, and that a task's protocol asks for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from virb.contracts.examples import DataContext, Examples
from virb.contracts.images import UNREADABLE, Digested, centre_squares
from virb.contracts.options import RunOptions
from virb.contracts.task import Category, Protocol, Task
from virb.errors import RegistryError
from virb.evaluation import fields
from virb.features.encode import resize
from virb.images.sets import ArrayImages
from virb.probes import find


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width] / 12.0
    return np.stack([127 + 100 * np.sin(y + k) * np.cos(x - k) for k in range(3)], axis=-1).astype(np.uint8)


def array(*shape: int) -> ArrayImages:
    return ArrayImages.of("set", np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("height", "width", "share", "side"), [(6, 9, 1, 6), (9, 6, 1, 6), (8, 20, 0.875, 7), (1, 3, 0.4, 1)]
)
def test_the_square_lies_in_the_middle(height, width, share, side):
    images = array(2, height, width)
    squares = centre_squares(images, share)
    top, left = (height - side) // 2, (width - side) // 2
    np.testing.assert_array_equal(squares.image(1), images.array[1, top : top + side, left : left + side])
    assert squares.size(1) == squares.image(1).shape[:2] == (side, side)


@pytest.mark.parametrize(("height", "width"), [(40, 61), (75, 50), (64, 64), (30, 97)])
def test_resized_it_is_the_shorter_side_and_a_centre_crop_but_for_a_pixel(height, width):
    image, size = smooth(height, width), 32
    squares = centre_squares(ArrayImages.of("one", image[None]), 1.0)
    ours = resize(squares.image(0), size).numpy().astype(int)
    crop = v2.Compose([v2.Resize(size, antialias=True), v2.CenterCrop(size)])
    reference = crop(torch.from_numpy(image).permute(2, 0, 1)).permute(1, 2, 0).numpy().astype(int)
    steepest = max(np.abs(np.diff(reference, axis=axis)).max() for axis in (0, 1))  # between neighbouring pixels
    assert np.abs(ours - reference).max() <= steepest + 1


def test_squares_are_known_by_the_image_and_the_share_and_what_is_square_stays_itself():
    images = array(3, 4, 6)
    found = [centre_squares(images, share).digest for share in (1.0, 0.875)]
    assert len({images.digest, *found}) == 3
    assert found[0] == centre_squares(array(3, 4, 6), 1.0).digest
    square = array(3, 5, 5)
    assert centre_squares(square, 1.0) is square

    class Broken(Digested):
        name = "broken"

        def __len__(self):
            return 1

        def image(self, index):
            return np.zeros((2, 3, 3), np.uint8)

        def compute_digests(self, rows):
            return np.frombuffer(UNREADABLE * len(rows), np.uint8).reshape(-1, 32)

    assert not centre_squares(Broken(), 1.0).digests.any()


def a_task(**changes: object) -> Task:
    def data(context: DataContext, split: str) -> Examples:
        images = ArrayImages.of(split, np.zeros((2, 4, 8, 3), np.uint8))
        return Examples(images, np.arange(2)[:, None], np.array([0, 1]), ["a", "b"])

    return Task(
        name="t", summary="", category=Category.SEMANTIC_IMAGE, head="linear", loss="cross_entropy", metric="top1",
        data=data, classes=2, protocol=Protocol(epochs=2, **changes),
    )  # fmt: skip


def test_a_task_crops_what_its_reader_returns_and_its_fingerprint_says_so():
    squash, crop = a_task(), a_task(resize="crop", resize_share=0.875)
    assert [task.examples(DataContext(), "test").images.size(0) for task in (squash, crop)] == [(4, 8), (4, 4)]
    before, after = fields.task_fields(squash, squash), fields.task_fields(crop, crop)
    assert after == {**before, "resize": "crop", "resize_share": 0.875}
    assert not {"resize", "resize_share"} & before.keys()
    for probe in ("gradient", "knn", "finetune"):  # squashing is not spelled out: fingerprints are what they were
        settings = fields.probe_fields(find(probe), squash, RunOptions(), 0)["settings"]
        assert not {"resize", "resize_share"} & settings.keys()


def test_what_cannot_be_cropped_is_refused():
    with pytest.raises(RegistryError, match="resize='fit'"):
        Protocol(epochs=1, resize="fit")
    with pytest.raises(RegistryError, match=r"resize_share=0\.5 needs resize='crop'"):
        Protocol(epochs=1, resize_share=0.5)
    with pytest.raises(RegistryError, match="would crop images and not their"):
        replace(a_task(resize="crop"), category=Category.SEMANTIC_PIXEL)

"""ADE20K and Pascal VOC 2012 in their public layouts: masks to the digit, void as void, and errors that name the file."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from virb.tasks.readers import ade20k, voc_masks

from virb import registry
from virb.contracts.examples import DataContext
from virb.errors import DataAbsent, DataError, UsageError
from virb.evaluation.status import data_status

NAMES = "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.1\t9\t2\t1\twall\n2 \t0.1\t9\t2\t0\tbed \n3\t0.1\t9\t2\t0\tbus, autobus, coach\n"
STORED = np.array([[0, 1, 3], [2, 2, 0]], dtype=np.uint8)


def ade_files(root: Path, layouts: SimpleNamespace) -> Path:
    for part, short, n in (("training", "train", 2), ("validation", "val", 1)):
        for k in range(n):
            stem = f"ADE_{short}_{k + 1:08d}"
            layouts.picture(root / "images" / part / f"{stem}.jpg", seed=k, size=(3, 2))
            layouts.grey(root / "annotations" / part / f"{stem}.png", np.roll(STORED, k))
    (root / "objectInfo150.txt").write_text(NAMES)
    return root


def palette_png(path: Path, indices: np.ndarray) -> None:
    """Write a mask as VOC's are: one index a pixel, whose colours (0 black, 1 dark red, 255 cream) are for looking at."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(indices)
    colours = np.zeros((256, 3), np.uint8)
    colours[1], colours[15], colours[255] = (128, 0, 0), (192, 128, 128), (224, 224, 192)
    image.putpalette(colours.ravel().tolist())
    assert image.mode == "P"
    image.save(path)


def voc_files(root: Path, layouts: SimpleNamespace) -> Path:
    top = root / "VOC2012"
    lists = {"train": ["2007_000032", "2007_000039"], "val": ["2007_000033"], "trainval": ["2007_000032"]}
    for part, stems in lists.items():
        listing = top / "ImageSets" / "Segmentation" / f"{part}.txt"
        listing.parent.mkdir(parents=True, exist_ok=True)
        listing.write_text("".join(f"{stem}\n" for stem in stems))
        for k, stem in enumerate(stems):
            layouts.picture(top / "JPEGImages" / f"{stem}.jpg", seed=k, size=(3, 2))
            palette_png(top / "SegmentationClass" / f"{stem}.png", np.roll(MASK, k))
    layouts.picture(top / "JPEGImages" / "2007_000027.jpg")  # of the other tasks of the challenge: without a mask
    return root


MASK = np.array([[0, 1, 255], [20, 15, 0]], dtype=np.uint8)


def test_ade20k_counts_from_one_and_what_is_0_is_void(tmp_path, layouts):
    ade_files(tmp_path, layouts)
    train, test = (ade20k.scenes(tmp_path, split, n_classes=3) for split in ("train", "test"))
    assert train.ids == [f"images/training/ADE_train_0000000{k}.jpg" for k in (1, 2)]
    assert test.ids == ["images/validation/ADE_val_00000001.jpg"]
    assert train.classes == test.classes == ("wall", "bed", "bus")
    np.testing.assert_array_equal(test.targets[0], [[255, 0, 2], [1, 1, 255]])
    np.testing.assert_array_equal(train.targets[1], [[255, 255, 0], [2, 1, 1]])
    (tmp_path / "objectInfo150.txt").write_text(NAMES.replace("\tStuff", "").replace("\t1\twall", "\twall"))
    assert ade20k.scenes(tmp_path, "test", n_classes=3).classes == ("wall", "bed", "bus")


def test_ade20k_refuses_what_is_not_as_published(tmp_path, layouts):
    ade_files(tmp_path, layouts)
    with pytest.raises(DataError, match=r"objectInfo150\.txt numbers 3 classes; expected .* the classes 1 to 150"):
        ade20k.scenes(tmp_path, "train")
    mask = tmp_path / "annotations" / "validation" / "ADE_val_00000001.png"
    layouts.grey(mask, np.full((2, 3), 4, np.uint8))
    with pytest.raises(
        DataError, match=r"ADE_val_00000001\.png has the label 4; expected one class a pixel, 1 to 3, or 0"
    ):
        ade20k.scenes(tmp_path, "test", n_classes=3).targets[0]
    layouts.grey(mask, np.ones((3, 3), np.uint8))
    with pytest.raises(DataError, match="expected one size"):
        ade20k.scenes(tmp_path, "test", n_classes=3).targets[0]
    mask.unlink()
    with pytest.raises(DataError, match=r"1 of the 1 files that .*validation lists are missing"):
        ade20k.scenes(tmp_path, "test", n_classes=3)


def test_voc_masks_are_the_indices_of_a_palette(tmp_path, layouts):
    voc_files(tmp_path, layouts)
    train, test = (voc_masks.masks(tmp_path, split) for split in ("train", "test"))
    assert train.ids == ["JPEGImages/2007_000032.jpg", "JPEGImages/2007_000039.jpg"]
    np.testing.assert_array_equal(test.targets[0], MASK)
    np.testing.assert_array_equal(train.targets[1], np.roll(MASK, 1))
    from torchvision.datasets import VOCSegmentation

    theirs = VOCSegmentation(str(place_for_torchvision(tmp_path, layouts)), year="2012", image_set="val")
    np.testing.assert_array_equal(np.asarray(theirs[0][1]), test.targets[0])


def place_for_torchvision(root: Path, layouts: SimpleNamespace) -> Path:
    voc_files(root / "tv" / "VOCdevkit", layouts)
    return root / "tv"


def test_voc_refuses_masks_in_colour_and_classes_that_are_none(tmp_path, layouts):
    voc_files(tmp_path, layouts)
    mask = tmp_path / "VOC2012" / "SegmentationClass" / "2007_000033.png"
    palette_png(mask, np.full((2, 3), 21, np.uint8))
    with pytest.raises(DataError, match=r"2007_000033\.png has the label 21; expected a palette's index a pixel"):
        voc_masks.masks(tmp_path, "test").targets[0]
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(mask)
    with pytest.raises(DataError, match="has the label '3 channels'"):
        voc_masks.masks(tmp_path, "test").targets[0]
    mask.unlink()
    with pytest.raises(DataError, match=r"1 of the 2 files that .*val\.txt lists are missing"):
        voc_masks.masks(tmp_path, "test")


@pytest.mark.parametrize("read", [ade20k.scenes, voc_masks.masks])
def test_an_absent_set_and_an_unknown_split_are_named(read, tmp_path):
    with pytest.raises(DataAbsent, match=r"there is no .*; expected "):
        read(tmp_path, "train")
    with pytest.raises(UsageError, match="unknown split 'val'"):
        read(tmp_path, "val")


@pytest.mark.parametrize(
    ("name", "folder", "write", "says"),
    [
        ("ade20k", "ADEChallengeData2016", ade_files, "numbers 3 classes"),
        ("voc2012", "VOCdevkit", voc_files, r"2 .* 1,464"),
    ],
)
def test_the_tasks_look_where_the_archives_unpack(name, folder, write, says, tmp_path, layouts):
    task = registry.load("tasks", name)
    assert registry.find("tasks", name).group == "dense"
    found = data_status(task, DataContext(tmp_path))
    assert (found.state, task.obtain in found.reason) == ("absent", True)
    write(tmp_path / folder, layouts)
    found = data_status(task, DataContext(tmp_path))
    assert found.state == "incomplete", found
    assert re.search(says, f"{found.reason} {found}")

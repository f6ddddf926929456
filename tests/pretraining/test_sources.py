"""Folders and lists to pretrain on: what is read of them, and what the user is told."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from virb.errors import DataError
from virb.pretraining import sources


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(3):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{k}.png")
    return tmp_path / "photos"


def test_images_beside_class_folders_are_left_out_and_said(photos):
    shutil.copy(photos / "a" / "0.png", photos / "cover.png")
    data = sources.load(str(photos), short_side=8)
    assert (len(data), data.classes) == (6, ("a", "b"))
    assert data.notes == (f"{photos}: 7 files found, 6 used; left out: 1 beside the class folders (as cover.png).",)
    assert sources.load(f"{photos}:1.0+{photos / 'a'}", short_side=8).notes == data.notes


@pytest.mark.parametrize("other", ["test", "val"])
def test_of_a_set_with_splits_the_train_folder_is_read(photos, other):
    alone = sources.load(str(photos), short_side=8)
    root = photos.parent / "set"
    root.mkdir()
    photos.rename(root / "train")
    shutil.copytree(root / "train", root / other)
    data = sources.load(str(root), short_side=8)
    assert (data.revision, data.classes) == (alone.revision, ("a", "b"))
    assert data.notes == (f"{root}: class-folders: 2 class folders in train/, {other}/; train alone is trained on.",)


def test_a_class_may_be_called_train(photos):
    (photos / "b").rename(photos / "train")
    data = sources.load(str(photos), short_side=8)
    assert (data.classes, data.notes) == (("a", "train"), ())


def test_a_flat_folder_has_no_labels(photos):
    data = sources.load(str(photos / "a"), short_side=8)
    assert (len(data), data.label, data.classes) == (3, None, ())
    assert data.paths == ("0.png", "1.png", "2.png")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_list_may_come_from_any_editor(photos, encoding, end):
    lines = [f"photos/{name}/{k}.png\t{name}" for name in ("a", "b") for k in range(3)]
    (photos.parent / "list.txt").write_bytes((end.join(lines) + end).encode(encoding))
    data = sources.load(str(photos.parent / "list.txt"), short_side=8)
    assert (len(data), data.classes, data.label.tolist()) == (6, ("a", "b"), [0, 0, 0, 1, 1, 1])


def test_a_list_with_one_image_under_two_classes_is_refused(photos):
    (photos.parent / "list.txt").write_text("photos/a/0.png\ta\nphotos/b/0.png\tb\nphotos/a/0.png\tb\n")
    with pytest.raises(DataError, match=r"photos/a/0\.png is listed under two classes, 'a' and 'b'"):
        sources.load(str(photos.parent / "list.txt"), short_side=8)


def test_names_that_are_not_utf8_are_read(photos):
    try:
        (photos / "a" / "0.png").rename(photos / "a" / os.fsdecode(b"caf\xe9.png"))
    except OSError:
        pytest.skip("this file system has no such names")
    assert len(sources.load(str(photos), short_side=8)) == 6


def test_what_is_decoded_is_known_by_content_wherever_it_lies(photos, monkeypatch):
    first = sources.load(str(photos), short_side=8)
    before = first.batch(np.arange(6))
    photos.rename(photos.parent / "moved")
    monkeypatch.setattr("virb.pretraining.decoding._read_all", None)  # the set is not decoded again
    again = sources.load(str(photos.parent / "moved"), short_side=8)
    assert again.revision == first.revision
    assert np.array_equal(again.batch(np.arange(6)), before)

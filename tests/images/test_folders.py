"""One reader of folders: what it uses, what it leaves out, and which class has which number."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from virb.contracts.examples import DataContext, Examples
from virb.contracts.images import Accounting
from virb.contracts.task import Category, Protocol, Task
from virb.errors import DataError, RegistryError
from virb.images import listing
from virb.images.decode import SUFFIXES
from virb.images.folders import image_folder, scan_image_folder
from virb.images.listing import account, class_folders, list_images
from virb.images.sets import ArrayImages


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def reasons(found: Accounting) -> dict[str, int]:
    return {reason: n for reason, (n, _) in found.left_out.items()}


def test_every_ending_in_every_case_is_an_image(tmp_path):
    names = [f"{k}{suffix.upper() if k % 2 else suffix}" for k, suffix in enumerate(SUFFIXES)]
    touch(*(tmp_path / name for name in names))
    found = list_images(tmp_path)
    assert sorted(names) == found.paths
    assert not found.left_out


def test_linked_folders_count_and_a_link_back_does_not_turn_for_ever(tmp_path):
    touch(tmp_path / "a" / "0.png", tmp_path / "elsewhere" / "1.png")
    (tmp_path / "a" / "batch").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    found = list_images(tmp_path / "a")
    # the loop leads to the folder above a, which is not on the way down; its own a is
    assert found.paths == ["0.png", "batch/1.png", "gone.png", "loop/elsewhere/1.png"]
    assert {reason: n for reason, (n, _) in found.left_out.items()} == {listing.LOOP: 1, listing.NOWHERE: 1}


def test_what_tools_leave_is_left_out_and_counted(tmp_path):
    touch(
        tmp_path / "0.png",
        tmp_path / "._0.png",
        tmp_path / ".DS_Store",
        tmp_path / "Thumbs.db",
        tmp_path / "desktop.ini",
        tmp_path / ".ipynb_checkpoints" / "0-checkpoint.png",
        tmp_path / "@eaDir" / "0.png" / "SYNOPHOTO_THUMB_M.jpg",
        tmp_path / "@eaDir" / "0.png" / "SYNOPHOTO_THUMB_S.jpg",
        tmp_path / "__MACOSX" / "._0.png",
        tmp_path / "labels.csv",
    )
    found = account(tmp_path, [list_images(tmp_path)])
    assert (found.found, found.used) == (10, 1)
    assert reasons(found) == {listing.TOOLS: 8, listing.OTHER: 1}
    assert "10 files found, 1 used; left out: " in found.line()
    assert "1 no image by its ending (as labels.csv)" in found.line()
    assert found.as_dict() == {"found": 10, "used": 1, "left_out": {listing.TOOLS: 8, listing.OTHER: 1}}


NAMES = st.sampled_from(["a", "b.png", ".h.png", "c.txt", "@eaDir", "d.JFIF", "Thumbs.db", "e", "f.gif"])


@settings(max_examples=50, deadline=None)
@given(st.sets(st.lists(NAMES, min_size=1, max_size=3).map(tuple), max_size=12))
def test_every_file_is_accounted_for(tmp_path_factory, files):
    root = tmp_path_factory.mktemp("tree")
    made = set()
    for parts in sorted(files, key=len):
        path = root.joinpath(*parts)
        if any(parent in made for parent in path.parents) or path.is_dir():
            continue
        touch(path)
        made.add(path)
    for is_deep in (True, False):
        found = account(root, [list_images(root, is_deep=is_deep)])
        assert found.found == len(made)
        assert found.used + sum(n for n, _ in found.left_out.values()) == len(made)


def test_numbers_sort_as_numbers_and_names_as_text(tmp_path):
    for k in range(12):
        touch(tmp_path / "numbers" / str(k) / "x.png", tmp_path / "names" / f"n{k}" / "x.png")
    assert scan_image_folder(tmp_path / "numbers").classes == tuple(map(str, range(12)))
    assert scan_image_folder(tmp_path / "numbers").labels.tolist() == list(range(12))
    assert class_folders(tmp_path / "names") == tuple(sorted(f"n{k}" for k in range(12)))


@pytest.mark.parametrize("twin", ["a ", " a", "a\u00a0"])
def test_classes_that_look_the_same_are_refused(tmp_path, twin):
    touch(tmp_path / "a" / "0.png", tmp_path / twin / "0.png")
    with pytest.raises(DataError, match="which look the same"):
        scan_image_folder(tmp_path)


def test_one_accent_written_in_two_ways_is_refused(tmp_path):
    touch(tmp_path / "caf\u00e9" / "0.png", tmp_path / "cafe\u0301" / "0.png")
    if len(os.listdir(tmp_path)) < 2:
        pytest.skip("this file system joins them")
    with pytest.raises(DataError, match="which look the same"):
        scan_image_folder(tmp_path)


def test_what_lies_beside_class_folders_is_left_out_and_said(tmp_path):
    touch(tmp_path / "a" / "0.png", tmp_path / "b" / "deep" / "0.png", tmp_path / "cover.jpg", tmp_path / "LICENSE")
    (tmp_path / "@eaDir").mkdir()
    found = scan_image_folder(tmp_path)
    assert found.classes == ("a", "b")
    assert found.paths == ("a/0.png", "b/deep/0.png")
    assert reasons(found.accounting) == {listing.STRAY: 1, listing.OTHER: 1}


def test_a_folder_of_splits_gives_ids_classes_and_an_account(tmp_path):
    for split in ("train", "test"):
        for name in ("a", "b"):
            touch(tmp_path / split / name / f"{split}.png")
    touch(tmp_path / "train" / "a" / "notes.txt")
    read = image_folder("mine")
    train = read(DataContext(places={"mine": tmp_path}), "train")
    assert (train.classes, list(train.ids)) == (("a", "b"), ["a/train.png", "b/train.png"])
    assert train.accounting is not None
    assert train.accounting.line().startswith("3 files found, 2 used; left out: 1 no image by its ending")
    part = train.subset(np.array([1])).with_own_images()
    assert (part.classes, part.accounting) == (train.classes, train.accounting)


# --------------------------------------------------------------------------------------------- classes and numbers


def task(classes, data):
    return Task(
        name="mine",
        summary="",
        category=Category.SEMANTIC_IMAGE,
        head="linear",
        loss="cross_entropy",
        metric="top1",
        data=data,
        classes=classes,
        protocol=Protocol(epochs=1),
    )


def flowers(context, split):
    images = ArrayImages.of("flowers", np.zeros((6, 2, 2, 3), np.uint8))
    names = ("daisy", "rose", "tulip")
    return Examples(images, np.arange(6)[:, None], np.array([0, 0, 1, 1, 2, 2]), list("uvwxyz"), classes=names)


@settings(max_examples=10, deadline=None)
@given(st.permutations(["daisy", "rose", "tulip"]))
def test_a_task_that_orders_its_classes_otherwise_is_refused(order):
    if order == ["daisy", "rose", "tulip"]:
        found = task(order, flowers).examples(DataContext(), "test")
        assert found.classes == tuple(order)
        assert found.targets.tolist() == [0, 0, 1, 1, 2, 2]
        return
    with pytest.raises(DataError, match="in another order than the data's"):
        task(order, flowers).examples(DataContext(), "test")


def test_a_task_may_have_names_or_numbers_of_its_own():
    for classes in (3, ("Gänseblümchen", "Rose", "Tulpe")):
        assert task(classes, flowers).examples(DataContext(), "test").targets.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("classes", [("daisy", "rose", "lily"), ("daisy", "rose"), ("a", "b", "c", "d")])
def test_names_that_fit_in_part_are_refused(classes):
    with pytest.raises(DataError, match=r"the data have 3 classes.*not declared: .*tulip"):
        task(classes, flowers).examples(DataContext(), "test")


def test_two_classes_of_one_name_are_refused():
    with pytest.raises(RegistryError, match=r"several classes are called 'crane'.*kept by name"):
        task(("crane", "crane", "maillot"), flowers)


@pytest.mark.parametrize("returned", [None, [], {"images": 1}, (1, 2)])
def test_a_reader_that_returns_something_else_is_one_sentence(returned):
    with pytest.raises(DataError, match=r"mine/test: the reader returned \w+; expected Examples\(images"):
        task(2, lambda context, split: returned).examples(DataContext(), "test")


# ----------------------------------------------------------------------------------------------------------- places


def test_places_are_absolute_at_the_door(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    context = DataContext(root="data", places={"mine": "./data/../data", "home": "~/x"}, cache="cache")
    monkeypatch.chdir("/")
    assert context.root == tmp_path / "data"
    assert context.place("mine") == tmp_path / "data"
    assert context.place("other") == tmp_path / "data" / "other"
    assert context.place("home") == Path.home() / "x"
    assert context.cache == tmp_path / "cache"


def test_the_environment_names_the_root_for_python_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRB_DATA", "some")
    assert DataContext().root == tmp_path / "some"
    assert DataContext(root="other").root == tmp_path / "other"
    monkeypatch.setenv("VIRB_DATA", "")
    assert DataContext().root is None


def save(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (value,) * 3).save(path)


@pytest.mark.parametrize("linked", [False, True])
def test_images_are_read_from_where_they_lie(tmp_path, linked):
    save(tmp_path / "real" / "a" / "0.png", 7)
    save(tmp_path / "set" / "b" / "0.png", 9)
    if linked:
        (tmp_path / "set" / "a").symlink_to(tmp_path / "real" / "a")
    else:
        (tmp_path / "real" / "a").rename(tmp_path / "set" / "a")
    (tmp_path / "set").rename(tmp_path / "train")
    found = image_folder("mine", test="train")(DataContext(places={"mine": tmp_path}), "test")
    assert [int(found.images.image(k)[0, 0, 0]) for k in range(2)] == [7, 9]

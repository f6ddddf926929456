"""What must hold of data: one set of rules, for virb validate and for every evaluation."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import virb
from virb.contracts.examples import DataContext, Examples
from virb.contracts.task import Category, Protocol, Task
from virb.errors import DataError, VirbError
from virb.evaluation import checks, validation
from virb.evaluation.parts import parts_of
from virb.images.folders import image_folder
from virb.images.sets import ArrayImages, FileImages

SIZE = (4, 6)


def class_task(data, **options):
    options = {"classes": ("a", "b"), "category": Category.SEMANTIC_IMAGE, "head": "linear", **options}
    return Task(
        name="mine",
        summary="",
        loss="cross_entropy",
        metric="top1",
        data=data,
        protocol=Protocol(epochs=1),
        **options,
    )


def mask_task(data=None, **options):
    return Task(
        name="mine",
        summary="",
        category=Category.SEMANTIC_PIXEL,
        head="unet",
        loss="cross_entropy",
        metric="miou",
        data=data or (lambda context, split: None),
        classes=2,
        protocol=Protocol(epochs=1, batch_size=4),
        options=options,
    )


def map_task(metric="neg_l1", head="unet", **options):
    return Task(
        name="mine",
        summary="",
        category=Category.STRUCTURAL_PIXEL,
        head=head,
        loss="l1",
        metric=metric,
        data=lambda context, split: None,
        protocol=Protocol(epochs=1, batch_size=4),
        options=options,
    )


def mask(value=1, dtype=np.uint8, shape=SIZE):
    found = np.zeros(shape, dtype)
    found.reshape(-1)[3] = value
    return found


# ---------------------------------------------------------------------------------------------------------- targets


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (mask(shape=(6, 4)), r"shape \(6, 4\); expected one class a pixel, \(4, 6\).*Height and width are exchanged"),
        (mask(shape=(*SIZE, 3)), r"shape \(4, 6, 3\); expected one class a pixel, \(4, 6\).*a picture in colour"),
        (mask(shape=(8, 12)), r"shape \(8, 12\)"),
        (mask(255), r"the value 255 in 1 of its 24 pixels; expected 0\.\.1\..*\"ignore_index\": 255"),
        (mask(-1, np.int8), r"the value -1 in 1"),
        (mask(np.nan, np.float32), "holds NaN.*ignore_index"),
        (mask(0.5, np.float32), "no whole numbers"),
        (mask(1, np.complex64), "holds complex64"),
        (np.full(SIZE, "a"), "holds <U1"),
    ],
)
def test_masks_that_are_none_are_said_in_a_sentence(target, said):
    assert re.search(said, checks.problem_of(parts_of(mask_task()), target, SIZE))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool, np.float32])
def test_masks_of_any_type_may_hold_whole_numbers(dtype):
    assert checks.problem_of(parts_of(mask_task()), mask(1, dtype), SIZE) == ""


@settings(max_examples=40, deadline=None)
@given(st.integers(-3, 300), st.sampled_from([None, 255, 7, -1]))
def test_a_mask_holds_its_classes_and_what_is_ignored_and_nothing_else(value, ignore):
    task = mask_task() if ignore is None else mask_task(ignore_index=ignore)
    problem = checks.problem_of(parts_of(task), mask(value, np.int64), SIZE)
    assert (problem == "") == (value in (0, 1) or value == ignore)


def test_crops_are_padded_with_255():
    task = replace(mask_task(), protocol=Protocol(epochs=1, crop=4))
    assert checks.problem_of(parts_of(task), mask(255), SIZE) == ""


def test_maps_may_lack_values_and_must_have_the_right_ones():
    depth = parts_of(replace(map_task(), quantity="depth"))
    assert checks.problem_of(depth, mask(np.nan, np.float32), SIZE) == ""
    assert "value -2; expected none below 0" in checks.problem_of(depth, mask(-2, np.float32), SIZE)
    assert checks.problem_of(parts_of(map_task()), mask(-2, np.float32), SIZE) == "", "only a depth has no sign"
    flow = parts_of(map_task("neg_epe", out_channels=2))
    assert checks.problem_of(flow, np.zeros((*SIZE, 2), np.float32), SIZE) == ""
    assert "expected numbers, (4, 6, 2)" in checks.problem_of(flow, np.zeros(SIZE, np.float32), SIZE)
    assert "holds complex64" in checks.problem_of(depth, mask(1, np.complex64), SIZE)


def dense(targets, n=40):
    images = ArrayImages.of("m", np.random.default_rng(n).integers(0, 255, (n, *SIZE, 3)).astype(np.uint8))
    return Examples(images, np.arange(n)[:, None], targets, [f"example {k}" for k in range(n)])


@pytest.mark.parametrize("as_array", [True, False])
def test_some_targets_are_looked_at_before_and_each_when_it_is_read(as_array):
    targets = np.stack([mask()] * 40)
    task = mask_task()
    fine = checks.checked(task, "train", dense(targets if as_array else list(targets)))
    np.testing.assert_array_equal(fine.targets[3], mask())
    assert len(fine.targets[1:4]) == 3
    assert fine.digests()["targets"] == dense(targets).digests()["targets"]
    looked_at = checks.spread(40, checks.N_LOOKED_AT)
    assert (looked_at[0], looked_at[-1], len(looked_at)) == (0, 39, 16)
    targets[looked_at[5]] = 9
    with pytest.raises(DataError, match=f"mine/train: the target of example {looked_at[5]} has the value 9 in 24"):
        checks.checked(task, "train", dense(targets))
    late = next(k for k in range(40) if k not in looked_at)
    targets[looked_at[5]], targets[late] = 0, 9
    found = checks.checked(task, "train", dense(targets))
    with pytest.raises(DataError, match=f"example {late} has the value 9"):
        found.targets[late]
    with pytest.raises(DataError, match=f"example {late} has the value 9"):
        found.subset(np.array([late])).targets[0]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.array([0, 1, 2]), r"1 labels lie outside 0\.\.1; the first is 2 of c \(frame 2 of m\)"),
        (np.array([0, -1, 1]), r"the first is -1 of b"),
        (np.array([0.0, 1.0, 1.0]), r"integers \(N,\); found float64"),
        (np.zeros((3, 2), int), r"found int64 \(3, 2\)"),
    ],
)
def test_labels_are_checked_and_the_first_wrong_one_named(labels, said):
    images = ArrayImages.of("m", np.zeros((3, 2, 2, 3), np.uint8))
    task = class_task(lambda context, split: Examples(images, np.arange(3)[:, None], labels, list("abc")))
    with pytest.raises(DataError, match=said):
        checks.read(task, "test", DataContext())


def numbers_task(loss, metric, **options):
    return replace(class_task(lambda context, split: None), loss=loss, metric=metric, **options)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (np.array([[0, 1], [1, -1], [1, 1]]), ""),
        (np.array([[0, 1], [1, 2], [1, 1]]), r"the first is \[1, 2\] of b"),
        (np.array([0, 1, 1]), r"numbers \(N, 2\)"),
    ],
)
def test_several_labels_hold_or_do_not_or_are_not_known(targets, said):
    images = ArrayImages.of("m", np.zeros((3, 2, 2, 3), np.uint8))
    parts = parts_of(numbers_task("bce", "map", target="labels"))
    examples = Examples(images, np.arange(3)[:, None], targets, list("abc"))
    if said:
        with pytest.raises(DataError, match=said):
            checks.check_labels(parts, "mine", examples, is_train=True)
    else:
        checks.check_labels(parts, "mine", examples, is_train=True)


# ------------------------------------------------------------------------------------------------ both splits, files


def noise(seed, n=20):
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)


def examples_of(array, labels=None):
    n = len(array)
    labels = np.arange(n) % 2 if labels is None else labels
    return Examples(ArrayImages("mine", "1", array), np.arange(n)[:, None], labels, [str(k) for k in range(n)])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 19), st.integers(0, 3))
def test_shared_images_are_counted_by_content(n_shared, n_repeated):
    train, test = noise(0), noise(1)
    test[:n_shared] = train[-n_shared:] if n_shared else test[:0]
    if n_shared:
        test[-n_repeated or len(test) :] = train[-1]  # one training image several times over
    assert checks.shared_images(examples_of(train), examples_of(test)) == len(
        {*range(n_shared), *(range(20 - n_repeated, 20) if n_shared else ())}
    )


def test_evaluate_says_and_keeps_how_many_images_are_shared(tmp_path):
    train = noise(0)

    def task(test):
        return class_task(lambda context, split: examples_of(train if split == "train" else test))

    def evaluate(test, out):
        return virb.evaluate(["pixels:8:size=8"], [task(test)], out=tmp_path / out, probe="knn", device="cpu")

    same = train[::-1].copy()
    (said,) = checks.notes(task(same), examples_of(train), [(task(same), examples_of(same))])
    assert "ALL 20 test images are in train too" in said
    evaluate(same, "equal")
    kept = json.loads(next((tmp_path / "equal").rglob("*-seed0.json")).read_text())
    assert kept["files"]["shared_images"] == 20
    part = noise(1)
    part[4:11] = train[:7]
    found = checks.notes(task(part), examples_of(train), [(task(part), examples_of(part))])
    assert found == [
        "mine: 7 of the 20 images of test are in train too; the first is frame 4 of mine, equal to frame 0 of mine. "
        "The score counts them."
    ]
    table = evaluate(noise(1), "noise")
    assert 0.2 < table["score"].iloc[0] < 0.8  # both splits claim the same revision, and are other images


def test_one_image_of_two_classes_is_said():
    train = noise(0)
    train[9] = train[4]
    assert checks.contradiction(examples_of(train)) == "1 image has two classes, as 4 and 9, which are equal"
    train[9] = train[3]
    assert checks.contradiction(examples_of(train)) == ""


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    for seed, split in enumerate(("train", "test")):
        for k, pixels in enumerate(noise(seed, 8)):
            write(tmp_path / "data" / split / "ab"[k % 2] / f"{k}.png", pixels)
    return tmp_path / "data"


def folder_task(folder, monkeypatch, **options):
    monkeypatch.setattr(validation, "_trains", lambda *_: "not asked here")
    return class_task(image_folder("mine"), **options), DataContext(places={"mine": folder})


def rows(task, context, **options):
    return {check.name: check for check in validation.validate(task, context, **options)}


@pytest.mark.parametrize("kind", ["dangling", "pipe", "folder"])
def test_files_that_cannot_be_read_stop_a_task_at_once_or_are_left_out(folder, monkeypatch, kind, tmp_path):
    path = folder / "train" / "a" / "0.png"
    path.unlink()
    if kind == "dangling":
        path.symlink_to("gone.png")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path, target_is_directory=True)
    task, context = folder_task(folder, monkeypatch)
    if kind == "folder":  # a folder that is called like an image is a folder, and its files count
        with pytest.raises(VirbError):
            checks.read(task, "train", replace(context, places={"mine": path}))
        return
    with pytest.raises(DataError, match=r"0\.png is not a readable image .*skip_corrupt="):
        checks.read(task, "train", context)
    assert len(checks.read(task, "train", context, skip_corrupt=True)) == 8


def test_what_is_left_out_is_noted(folder, monkeypatch):
    (folder / "train" / "a" / "labels.txt").write_text("x")
    task, context = folder_task(folder, monkeypatch)
    train, test = (checks.read(task, split, context) for split in ("train", "test"))
    assert checks.notes(task, train, [(task, test)]) == [
        "mine: train: 9 files found, 8 used; left out: 1 no image by its ending (as labels.txt)."
    ]
    assert rows(task, context)["train is read"].detail.endswith("(as labels.txt)")


def test_validate_finds_images_saved_anew(folder, monkeypatch):
    task, context = folder_task(folder, monkeypatch)
    assert all(check.is_ok for check in rows(task, context).values())
    Image.open(folder / "train" / "a" / "2.png").save(folder / "test" / "a" / "anew.bmp")
    found = rows(task, context)["no image is in both splits"]
    assert not found.is_ok
    assert re.search(r"1 images of test have the pixels .*anew\.bmp, equal to .*2\.png", found.detail)
    assert checks.shared_images(*(task.examples(context, split) for split in ("train", "test"))) == 0


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", ["a/0.png", "b/7.png"])
def test_validate_names_an_image_that_is_cut_off_wherever_it_lies(folder, monkeypatch, split, name):
    path = folder / split / name
    path.write_bytes(path.read_bytes()[:-40])
    task, context = folder_task(folder, monkeypatch)
    found = rows(task, context, n_images=2)["images decode"]
    assert not found.is_ok
    assert re.search(rf"{path.name} is not a readable image", found.detail)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda pixels: pixels * 0 + 7, "of one colour each"),
        (lambda pixels: np.where(pixels > 127, 255, 0).astype(np.uint8), "clipped to black and white"),
    ],
)
def test_validate_fails_on_images_that_show_nothing(folder, monkeypatch, change, said):
    for k, path in enumerate(sorted((folder / "test").rglob("*.png"))):
        pixels = np.asarray(Image.open(path).resize((8 + k, 9)))
        write(path, change(pixels))
    found = rows(*folder_task(folder, monkeypatch))["images show something"]
    assert not found.is_ok
    assert said in found.detail
    assert "8 of 8 images of test" in found.detail


def test_validate_finds_one_image_under_two_classes(folder, monkeypatch):
    shutil.copy(folder / "train" / "a" / "2.png", folder / "train" / "b" / "copy.png")
    found = rows(*folder_task(folder, monkeypatch))["no image has two classes"]
    assert not found.is_ok
    assert found.detail == "train: 1 image has two classes, as a/2.png and b/copy.png, which are equal."


@pytest.mark.parametrize(
    ("target", "said"), [(mask(255), "255"), (mask(shape=(6, 4)), "exchanged"), (mask(np.nan, np.float32), "NaN")]
)
def test_validate_and_evaluate_refuse_the_same_targets(target, said, tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "_trains", lambda *_: "not asked here")

    def data(context, split):
        images = ArrayImages.of(split, noise(len(split), 5)[:, :4, :6].copy())
        return Examples(images, np.arange(5)[:, None], [target] * 5, list("abcde"))

    task = mask_task(data)
    found = rows(task, DataContext())["targets are in range"]
    assert not found.is_ok
    with pytest.raises(VirbError, match=said) as caught:
        virb.evaluate(["random:resnet18:width=0.125,size=32"], [task], out=tmp_path, device="cpu")
    assert found.detail.partition("the target of")[2] in str(caught.value)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("is_dense", [False, True])
def test_a_contact_sheet_shows_the_images_and_their_targets(folder, monkeypatch, tmp_path, is_dense):
    if is_dense:
        monkeypatch.setattr(validation, "_trains", lambda *_: "not asked here")

        def data(context, split):
            images = ArrayImages.of(split, noise(len(split), 5)[:, :4, :6].copy())
            return Examples(images, np.arange(5)[:, None], [mask()] * 5, list("abcde"))

        task, context = mask_task(data), DataContext()
    else:
        task, context = folder_task(folder, monkeypatch)
    rows(task, context, sheet=tmp_path / "sheet.png")
    found = np.asarray(Image.open(tmp_path / "sheet.png"))
    first = task.examples(context, "train").limited(16).images.image(0)
    factor = 112 // max(first.shape[:2])
    top = 6 + 14
    part = found[top : top + first.shape[0] * factor : factor, 6 : 6 + first.shape[1] * factor : factor]
    np.testing.assert_array_equal(part, first)


def test_digests_of_a_set_are_computed_once(folder, monkeypatch):
    from virb.images import digests

    images = FileImages("f", folder, ["train/a/0.png", "train/b/1.png"])
    asked = []
    of_files = digests.of_files
    monkeypatch.setattr(digests, "of_files", lambda root, paths: (asked.append(len(paths)), of_files(root, paths))[1])
    images.digest_rows(np.array([1, 1]))
    assert images.digests.shape == (2, 32)
    assert images.digest == images.digest
    assert asked == [1, 1]

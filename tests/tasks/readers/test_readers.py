"""Every reader against a tiny set in the public layout: values to the digit, and errors that name the file."""

from __future__ import annotations

import hashlib
import json
import sys

import numpy as np
import pytest
from PIL import Image
from virb.tasks.readers import (
    cifar,
    cityscapes,
    clevr,
    common,
    dtd,
    egohands,
    folders,
    kinetics,
    kitti,
    nuscenes,
    nyu,
    pets,
    taskonomy,
    thor,
)

from virb.contracts.examples import DataContext
from virb.errors import DataAbsent, DataError, UsageError
from virb.images.sets import ImageSet


def pixels(path):
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


# ------------------------------------------------------------------------------------------------ a folder a class


def test_imagenet_numbers_sorted_wnids_and_tests_on_val(tmp_path, layouts):
    for part, n in (("train", 2), ("val", 1)):
        layouts.folders(tmp_path / part, ["n02000000", "n01440764"], n, "x_{}.JPEG")
    (tmp_path / "train" / "not-a-class").mkdir()
    train, test = (folders.imagenet(tmp_path, split, n_classes=2) for split in ("train", "test"))
    assert (len(train), len(test)) == (4, 2)
    assert test.ids == ["n01440764/x_1.JPEG", "n02000000/x_1.JPEG"]
    np.testing.assert_array_equal(train.targets, [0, 0, 1, 1])
    np.testing.assert_array_equal(test.images.image(1), pixels(tmp_path / "val" / "n02000000" / "x_1.JPEG"))
    with pytest.raises(DataError, match=r"has 2 classes; expected 1,000"):
        folders.imagenet(tmp_path, "train")


def test_imagenet_v2_takes_the_class_from_the_number_and_not_from_its_place(tmp_path, layouts):
    layouts.folders(tmp_path, [str(k) for k in range(12)], 1, "{}.jpeg")
    examples = folders.imagenet_v2(tmp_path, "test", n_classes=12)
    assert {path: int(label) for path, label in zip(examples.ids, examples.targets, strict=True)} == {
        f"{k}/1.jpeg": k for k in range(12)
    }
    with pytest.raises(DataError, match="test split only"):
        folders.imagenet_v2(tmp_path, "train", n_classes=12)


def test_caltech_labels_are_folders_and_thirty_a_class_train(tmp_path, layouts):
    """Defect 7 of the public code took the label from the file's name, and image_0001.jpg is in every folder."""
    names = ["BACKGROUND_Google", "Faces", "accordion"]
    layouts.folders(tmp_path / "101_ObjectCategories", names, 6)
    (tmp_path / "101_ObjectCategories" / "Faces" / "tmp").write_text("not an image")
    train, test = (folders.caltech101(tmp_path, s, n_classes=3, n_train_per_class=4) for s in ("train", "test"))
    assert (len(train), len(test)) == (12, 6)
    assert not set(train.ids) & set(test.ids)
    for examples in (train, test):
        assert [names.index(path.partition("/")[0]) for path in examples.ids] == examples.targets.tolist()
    again = folders.caltech101(tmp_path, "train", n_classes=3, n_train_per_class=4)
    assert again.ids == train.ids


def test_eurosat_splits_each_class_four_to_one(tmp_path, layouts):
    layouts.folders(tmp_path / "2750", ["AnnualCrop", "River"], 10, "X_{}.jpg")
    train, test = (folders.eurosat(tmp_path, split, n_classes=2) for split in ("train", "test"))
    np.testing.assert_array_equal(np.bincount(train.targets), [8, 8])
    np.testing.assert_array_equal(np.bincount(test.targets), [2, 2])
    assert not set(train.ids) & set(test.ids)


def test_sun397_reads_nested_classes(tmp_path, layouts):
    layouts.sun397(tmp_path)
    train, test = (folders.sun397(tmp_path, split, n_classes=3) for split in ("train", "test"))
    assert (len(train), len(test)) == (12, 3)
    for examples in (train, test):
        for path, label in zip(examples.ids, examples.targets, strict=True):
            assert path.startswith(["a/abbey/", "a/apartment_building/outdoor/", "z/zoo/"][label])


def test_an_empty_class_is_named(tmp_path, layouts):
    layouts.folders(tmp_path / "2750", ["AnnualCrop", "River"], 2)
    for path in (tmp_path / "2750" / "River").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"River holds no image"):
        folders.eurosat(tmp_path, "train", n_classes=2)


# --------------------------------------------------------------------------------------------- torchvision's layouts


def test_pets_breeds(tmp_path, layouts):
    layouts.pets(tmp_path)
    train, test = (pets.breeds(tmp_path, split) for split in ("train", "test"))
    np.testing.assert_array_equal(train.targets, [0, 4])
    np.testing.assert_array_equal(test.targets, [36])
    assert test.ids == ["images/yorkshire_terrier_3.jpg"]


def test_pets_masks_count_the_border_as_animal_and_are_not_inverted(tmp_path, layouts):
    """Defect 4 of the public code: its masks were inverted."""
    layouts.pets(tmp_path)
    mask = pets.masks(tmp_path, "train").targets[0]
    np.testing.assert_array_equal(mask, [[1, 1, 1, 0], [0, 1, 1, 0]])


def test_pets_refuses_what_it_should(tmp_path, layouts):
    layouts.pets(tmp_path)
    trimap = tmp_path / "annotations" / "trimaps" / "Abyssinian_1.png"
    layouts.grey(trimap, np.array([[1, 1, 3, 0]] * 2, dtype=np.uint8))
    with pytest.raises(DataError, match=r"Abyssinian_1\.png holds values other than"):
        pets.masks(tmp_path, "train").targets[0]
    layouts.grey(trimap, np.ones((3, 4), dtype=np.uint8))
    with pytest.raises(DataError, match=r"Abyssinian_1\.png is 4x3, but its image .*Abyssinian_1\.jpg is 4x2"):
        pets.masks(tmp_path, "train").targets[0]
    trimap.write_bytes(trimap.read_bytes()[:20])
    with pytest.raises(DataError, match=r"Abyssinian_1\.png is not a readable image"):
        pets.masks(tmp_path, "train").targets[0]
    (tmp_path / "annotations" / "test.txt").write_text("yorkshire_terrier_3 38 1 1\n")
    with pytest.raises(DataError, match=r"yorkshire_terrier_3 in .*test\.txt has the label '38'; expected 1 to 37"):
        pets.breeds(tmp_path, "test")
    (tmp_path / "images" / "beagle_2.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of the 2 files that .*trainval\.txt lists are missing.*beagle_2\.jpg"):
        pets.breeds(tmp_path, "train")


def test_dtd_joins_train_and_val_of_split_one(tmp_path, layouts):
    layouts.dtd(tmp_path)
    train, test = (dtd.textures(tmp_path, split, n_classes=2) for split in ("train", "test"))
    assert train.ids == ["bubbly/0001.jpg", "banded/0001.jpg", "bubbly/0002.jpg", "banded/0002.jpg"]
    np.testing.assert_array_equal(train.targets, [1, 0, 1, 0])
    assert test.ids == ["bubbly/0003.jpg", "banded/0003.jpg"]


def test_cifar_checks_the_md5_before_it_unpickles(tmp_path, layouts, monkeypatch):
    from torchvision.datasets import CIFAR100

    layouts.cifar100(tmp_path)
    with pytest.raises(DataError, match=r"the MD5 of .*cifar-100-python/train is not the published one"):
        cifar.cifar100(tmp_path, "train")

    def md5(name):
        return hashlib.md5((tmp_path / "cifar-100-python" / name).read_bytes()).hexdigest()

    monkeypatch.setattr(CIFAR100, "train_list", [["train", md5("train")]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", md5("test")]])
    monkeypatch.setattr(CIFAR100, "meta", {"filename": "meta", "key": "fine_label_names", "md5": md5("meta")})
    train = cifar.cifar100(tmp_path, "train")
    np.testing.assert_array_equal(train.targets, [99, 0, 7, 3])
    expected = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)[2].reshape(3, 32, 32)
    np.testing.assert_array_equal(train.images.image(2), expected.transpose(1, 2, 0))
    assert len(cifar.cifar100(tmp_path, "test")) == 2


def test_cityscapes_maps_label_ids_to_train_ids(tmp_path, layouts):
    layouts.cityscapes(tmp_path)
    train = cityscapes.streets(tmp_path, "train")
    # road 7, sidewalk 8, bicycle 33; unlabeled 0, licence plate -1 stored as 255, caravan 29 are void
    np.testing.assert_array_equal(train.targets[0], [[0, 1, 18], [255, 255, 255]])
    assert cityscapes.streets(tmp_path, "test").ids == [
        "leftImg8bit/val/frankfurt/frankfurt_000000_000019_leftImg8bit.png"
    ]
    path = tmp_path / "gtFine" / "train" / "aachen" / "aachen_000000_000019_gtFine_labelIds.png"
    layouts.grey(path, np.full((2, 3), 40, np.uint8))
    with pytest.raises(DataError, match=r"gtFine_labelIds\.png has the label 40"):
        train.targets[0]


def test_kitti_flow_to_the_digit(tmp_path, layouts):
    """Defect 5 of the public code took the grey level of a picture of the flow."""
    layouts.kitti(tmp_path)
    train, test = (kitti.flow(tmp_path, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (9, 2)
    assert test.ids == ["000000_10", "000010_10"]
    assert [test.images.describe(int(k))[-13:] for k in test.frames[1]] == ["000010_10.png", "000010_11.png"]
    row = [[1.0, -0.5], [np.nan, np.nan]]
    np.testing.assert_array_equal(train.targets[0], np.array([row, row], np.float32))
    assert train.targets[0].dtype == np.float32


def test_kitti_refuses_an_8_bit_png(tmp_path, layouts):
    layouts.kitti(tmp_path)
    layouts.picture(tmp_path / "training" / "flow_occ" / "000001_10.png", size=(2, 2))
    with pytest.raises(DataError, match=r"000001_10\.png is not a 16-bit colour png"):
        kitti.flow(tmp_path, "train").targets[0]


# --------------------------------------------------------------------------------------------------- other layouts


def test_clevr_counts_objects(tmp_path, layouts):
    layouts.clevr(tmp_path)
    train, test = (clevr.count(tmp_path, split) for split in ("train", "test"))
    np.testing.assert_array_equal(train.targets, [0, 7, 2])
    np.testing.assert_array_equal(test.targets, [1, 1])
    scenes = tmp_path / "scenes" / "CLEVR_val_scenes.json"
    scenes.write_text(json.dumps({"scenes": [{"image_filename": "CLEVR_val_000000.png", "objects": [{}, {}]}]}))
    with pytest.raises(DataError, match=r"CLEVR_val_000000\.png in .* has the label 2; expected 3 to 10 objects"):
        clevr.count(tmp_path, "test")
    scenes.write_text("{")
    with pytest.raises(DataError, match=r"CLEVR_val_scenes\.json is not readable JSON"):
        clevr.count(tmp_path, "test")
    scenes.write_text(json.dumps({"scenes": [{"objects": [{}] * 3}]}))
    with pytest.raises(DataError, match=r"is not a list of scenes with image_filename"):
        clevr.count(tmp_path, "test")


def test_kinetics_takes_six_frames_in_the_order_of_their_numbers(tmp_path, layouts):
    layouts.kinetics(tmp_path)
    train, test = (kinetics.actions(tmp_path, split, n_classes=2) for split in ("train", "test"))
    assert train.frames.shape == (2, 6)
    assert train.ids == ["train/0a/0a_b-cdefgh", "train/zz/zz123456789"]  # the clip without frames is left out
    np.testing.assert_array_equal(train.targets, [0, 1])
    names = [train.images.describe(int(k)).rpartition("_")[2] for k in train.frames[0]]
    assert names == ["5.jpg", "6.jpg", "7.jpg", "8.jpg", "9.jpg", "10.jpg"]
    np.testing.assert_array_equal(test.targets, [1])
    assert len(kinetics.actions(tmp_path, "train", n_classes=2, max_clips=1)) == 1
    for number in (5, 6):
        (tmp_path / "train" / "zz" / f"zz123456789_{number}.jpg").unlink()
    with pytest.raises(DataError, match="clip zz123456789 has 5 frames"):
        kinetics.actions(tmp_path, "train", n_classes=2)


FFMPEG = """#!{python}
import pathlib, shutil, sys
words = sys.argv[1:]
video, start = pathlib.Path(words[words.index("-i") + 1]), float(words[words.index("-ss") + 1])
assert words[words.index("-vf") + 1] == "fps=6"
if video.read_text() == "broken" or (video.read_text() == "short" and start > 0):
    sys.exit(1)
for k in range(1, int(words[words.index("-frames:v") + 1]) + 1):
    shutil.copy({picture!r}, words[-1] % k)
"""


def test_kinetics_takes_frames_from_clips(tmp_path, layouts, monkeypatch):
    """With a stand-in for ffmpeg that knows its options; clips may be short or broken."""
    root = tmp_path / "kinetics400"
    layouts.kinetics(root)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(DataError, match="holds no clips"):
        kinetics.extract_frames(root)
    clips = {"train/bowling/new45678901_000001_000011": "long", "train/bowling/sho45678901": "short"}
    clips["validate/dining/bro45678901"] = "broken"
    for name, text in clips.items():
        (root / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "videos" / f"{name}.mp4").write_text(text)
    with pytest.raises(DataError, match="ffmpeg is not installed"):
        kinetics.extract_frames(root)
    (tmp_path / "bin").mkdir()
    script = FFMPEG.format(python=sys.executable, picture=str(layouts.picture(tmp_path / "frame.jpg")))
    (tmp_path / "bin" / "ffmpeg").write_text(script)
    (tmp_path / "bin" / "ffmpeg").chmod(0o755)
    kinetics.extract_frames(root)
    assert sorted(path.name for path in (root / "train" / "ne").iterdir()) == [
        f"new45678901_{k}.jpg" for k in range(1, 7)
    ]
    assert len(list((root / "train" / "sh").iterdir())) == 6
    assert list((root / "validate" / "br").iterdir()) == []
    assert (root / "frames_failed.txt").read_text().count("\n") == 1
    monkeypatch.setattr("subprocess.run", None)  # what is there is not done again
    (root / "videos" / "validate" / "dining" / "bro45678901.mp4").unlink()
    kinetics.extract_frames(root)
    assert len(kinetics.actions(root, "train", n_classes=2)) == 2  # the new clips are in no annotation


def test_thor_num_steps(tmp_path, layouts):
    layouts.thor_num_steps(tmp_path)
    np.testing.assert_array_equal(thor.num_steps(tmp_path, "train").targets, [0, 4, 2])
    assert thor.num_steps(tmp_path, "test").ids == ["val/FloorPlan1/0_rgb.jpg"]
    (tmp_path / "val_labels.txt").write_text("val/FloorPlan1/0 5\n")
    with pytest.raises(DataError, match=r"0_rgb\.jpg in .*val_labels\.txt has the label '5'; expected 0 to 4"):
        thor.num_steps(tmp_path, "test")
    (tmp_path / "val_labels.txt").write_text("\n")
    with pytest.raises(DataError, match=r"val_labels\.txt is empty"):
        thor.num_steps(tmp_path, "test")


def test_thor_egomotion(tmp_path, layouts):
    layouts.thor_egomotion(tmp_path)
    train = thor.egomotion(tmp_path, "train")
    np.testing.assert_array_equal(train.targets, [0, 4])
    np.testing.assert_array_equal(train.frames, [[0, 1], [2, 3]])
    assert train.ids == ["train/FloorPlan1/0", "train/FloorPlan1/1"]
    np.testing.assert_array_equal(train.images.image(3), pixels(tmp_path / "train" / "FloorPlan1" / "1_rgb_b.jpg"))
    (tmp_path / "train_labels.txt").write_text("train/FloorPlan1/0 Jump\n")
    with pytest.raises(DataError, match=r"has the label 'Jump'; expected one of MoveAhead"):
        thor.egomotion(tmp_path, "train")


def test_thor_depth_is_in_metres(tmp_path, layouts):
    """Defect 6 of the public code: (x - .5) / .25 of the grey level is no length."""
    layouts.thor_depth(tmp_path)
    depth_m = thor.depth(tmp_path, "train").targets[0]
    np.testing.assert_allclose(depth_m, np.full((8, 16), 0.1 + 51 / 255 * 19.9), rtol=1e-6)
    (tmp_path / "test" / "FloorPlan1" / "7_depth.jpg").unlink()
    with pytest.raises(DataError, match="1 of the 1 files"):
        thor.depth(tmp_path, "test")


def test_nuscenes(tmp_path, layouts):
    layouts.nuscenes(tmp_path)
    train, test = (nuscenes.egomotion(tmp_path, split) for split in ("train", "test"))
    np.testing.assert_array_equal(train.targets, [3, 0, 1, 2])  # forward, forward-left, forward-right, none
    np.testing.assert_array_equal(test.targets, [1])
    assert train.images.describe(1).endswith("sweeps/CAM_FRONT/train_0.jpg")
    (tmp_path / "nuScenes_test.json").write_text(json.dumps([{"img_a": "a", "img_b": "b", "label": "backward"}]))
    with pytest.raises(DataError, match="has the label 'backward'"):
        nuscenes.egomotion(tmp_path, "test")


def test_egohands_fills_polygons_and_splits_videos(tmp_path, layouts):
    layouts.egohands(tmp_path)
    sizes = {"n_train": 2, "n_valid": 1, "n_test": 1, "frames_per_video": 2}
    train, test = (egohands.hands(tmp_path, split, **sizes) for split in ("train", "test"))
    assert (len(train), len(test)) == (4, 2)
    videos = [{path.partition("/")[0] for path in examples.ids} for examples in (train, test)]
    assert (len(videos[0]), len(videos[1])) == (2, 1)
    assert not videos[0] & videos[1]
    expected = np.zeros((7, 10), np.uint8)
    expected[1:4, 1:5] = 1  # MATLAB's (2, 2) to (6, 5) are our (1, 1) to (5, 4), the lower and right edges outside
    expected[2:5, 4:8] = 4  # the other's right hand lies on top
    np.testing.assert_array_equal(train.targets[0], expected)
    assert not train.targets[1].any()
    with pytest.raises(DataError, match=r"4 videos with polygons\.mat; expected 48"):
        egohands.hands(tmp_path, "train")
    first = tmp_path / "_LABELLED_SAMPLES" / sorted(videos[1])[0]
    next(first.glob("*.jpg")).unlink()
    with pytest.raises(DataError, match="has 1 frames and 2 rows of polygons"):
        egohands.hands(tmp_path, "test", **sizes)
    (first / "polygons.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(DataError, match=r"polygons\.mat is not a table 'polygons'"):
        egohands.hands(tmp_path, "test", **sizes)


def test_polygons_against_matplotlib():
    from matplotlib.path import Path as Outline

    rng = np.random.default_rng(0)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
    points = np.stack([20 + 17 * np.cos(angles) * rng.uniform(0.4, 1, 12), 15 + 13 * np.sin(angles)], 1)
    y, x = np.mgrid[:30, :40]
    expected = Outline(points).contains_points(np.stack([x.ravel(), y.ravel()], 1)).reshape(30, 40)
    np.testing.assert_array_equal(egohands.fill_polygon(points, 30, 40), expected)


def test_taskonomy_depth_to_the_digit_and_no_building_in_both_splits(tmp_path, layouts):
    """Defect 6 of the public code: it normalised each image by itself."""
    layouts.taskonomy(tmp_path)
    train, test = (taskonomy.depth(tmp_path, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (8, 2)
    assert not {i.split("/")[1] for i in train.ids} & {i.split("/")[1] for i in test.ids}
    expected = np.array([[0, 1.0, np.nan], [2.0, 257 / 512, 65534 / 512]], np.float32)
    np.testing.assert_array_equal(train.targets[0], expected)
    assert len(taskonomy.depth(tmp_path, "train", max_train=3)) == 3


def test_taskonomy_takes_a_split_made_by_folders(tmp_path, layouts):
    layouts.taskonomy(tmp_path / "train", ("Allensville", "Darden"))
    layouts.taskonomy(tmp_path / "test", ("Merom",))
    assert len(taskonomy.depth(tmp_path, "train")) == 4
    assert taskonomy.depth(tmp_path, "test").ids[0].startswith("rgb/Merom/")


def test_nyu_reads_matlabs_hdf5(tmp_path, layouts):
    import h5py

    layouts.nyu(tmp_path)
    train, test = (nyu.depth(tmp_path, split) for split in ("train", "test"))
    assert len(train) + len(test) == 5
    with h5py.File(tmp_path / nyu.FILE) as file:
        row = int(train.frames[0, 0])
        np.testing.assert_array_equal(train.targets[0], file["depths"][row].T)
        np.testing.assert_array_equal(train.images.image(row), file["images"][row].transpose(2, 1, 0))
        labels = file["labels"][int(test.frames[0, 0])].T
    assert train.targets[0].shape == (3, 4)
    mask = nyu.walkable(tmp_path, "test").targets[0]
    np.testing.assert_array_equal(mask, np.array([255, 0, 1, 1], np.uint8)[labels])  # none, wall, floor, rug
    (tmp_path / nyu.FILE).write_bytes(b"not HDF5")
    with pytest.raises(DataError, match="cannot be read as the labelled set"):
        nyu.depth(tmp_path, "train")


def test_nyu_reads_folders_of_png_and_tiff(tmp_path, layouts):
    depth_m = np.array([[0.0, 1.5, 2.25], [9.75, np.nan, 0.5]], np.float32)
    for split, n in (("train", 2), ("test", 1)):
        for k in range(n):
            layouts.picture(tmp_path / split / "images" / f"{k}.png", seed=k + len(split), size=(3, 2))
            layouts.grey(tmp_path / split / "depth" / f"{k}.tiff", depth_m)
            layouts.grey(tmp_path / split / "walkable" / f"{k}.png", np.array([[0, 1, 255]] * 2, np.uint8))
    train = nyu.depth(tmp_path, "train")
    assert len(train) == 2
    np.testing.assert_array_equal(train.targets[0], np.where(depth_m == 0, np.nan, depth_m))
    np.testing.assert_array_equal(nyu.walkable(tmp_path, "test").targets[0], [[0, 1, 1]] * 2)
    layouts.grey(tmp_path / "test" / "depth" / "0.tiff", np.ones((2, 3), np.uint8))
    with pytest.raises(DataError, match=r"0\.tiff holds uint8 from 1 to 1; expected metres as floats"):
        nyu.depth(tmp_path, "test").targets[0]


def test_nyu_keeps_scenes_together_and_reaches_the_papers_size():
    scenes = [f"scene_{k // 3}" for k in range(1200)] + [f"single_{k}" for k in range(249)]
    is_train = nyu.split_scenes(scenes, 1449 * 4 // 5)
    assert is_train.sum() == 1159
    assert not {s for s, t in zip(scenes, is_train, strict=True) if t} & {
        s for s, t in zip(scenes, is_train, strict=True) if not t
    }


# ------------------------------------------------------------------------------------------------------ all of them

READERS = {
    "imagenet": folders.imagenet,
    "imagenet-v2": lambda root, split: folders.imagenet_v2(root, "test"),
    "caltech-101": folders.caltech101,
    "eurosat": folders.eurosat,
    "sun397": folders.sun397,
    "pets": pets.breeds,
    "pets masks": pets.masks,
    "dtd": dtd.textures,
    "cifar-100": cifar.cifar100,
    "cityscapes": cityscapes.streets,
    "kitti": kitti.flow,
    "clevr": clevr.count,
    "kinetics": kinetics.actions,
    "thor-num-steps": thor.num_steps,
    "thor-egomotion": thor.egomotion,
    "thor-depth": thor.depth,
    "nuscenes": nuscenes.egomotion,
    "egohands": egohands.hands,
    "taskonomy": taskonomy.depth,
    "nyu depth": nyu.depth,
    "nyu walkable": nyu.walkable,
}


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", READERS)
def test_an_absent_set_says_what_was_expected(name, split, tmp_path):
    with pytest.raises(DataAbsent, match=r"there is no .*; expected "):
        READERS[name](tmp_path / "nothing here", split)


@pytest.mark.parametrize("name", [name for name in READERS if name != "imagenet-v2"])
def test_an_unknown_split_is_a_usage_error(name, tmp_path):
    with pytest.raises(UsageError, match="unknown split 'val'"):
        READERS[name](tmp_path, "val")


def test_a_corrupt_image_is_named_when_it_is_read(tmp_path, layouts):
    layouts.clevr(tmp_path)
    path = tmp_path / "images" / "train" / "CLEVR_train_000001.png"
    path.write_bytes(path.read_bytes()[:40])
    examples = clevr.count(tmp_path, "train")
    assert isinstance(examples.images, ImageSet)
    with pytest.raises(DataError, match=r"CLEVR_train_000001\.png is not a readable image"):
        examples.images.image(1)


def test_the_hash_order_is_the_same_everywhere():
    """Written out, because changing it would change every split and thereby what the scores mean."""
    assert common.hash_order(["a", "b", "c", "d"]) == [3, 2, 1, 0]
    np.testing.assert_array_equal(common.first_by_hash(["a", "b", "c", "d"], 2), [False, False, True, True])


def test_lazy_targets_read_when_they_are_used():
    read = []
    targets = common.LazyTargets(5, lambda k: (read.append(k), np.full((1, 1), k))[1])
    assert len(targets) == 5
    assert int(targets[-1][0, 0]) == 4
    assert [int(t[0, 0]) for t in targets[1:3]] == [1, 2]
    assert read == [4, 1, 2]
    with pytest.raises(IndexError):
        targets[5]


def test_a_torchvision_set_may_be_placed_by_its_folder_or_its_parent(tmp_path):
    (tmp_path / "a" / "oxford-iiit-pet").mkdir(parents=True)
    for place in (tmp_path / "a", tmp_path / "a" / "oxford-iiit-pet"):
        context = DataContext(places={"pets": place})
        found = common.torchvision_folder(context, "pets", "pets-segmentation", folder="oxford-iiit-pet")
        assert found == tmp_path / "a" / "oxford-iiit-pet"
    by_task = DataContext(places={"pets-segmentation": tmp_path / "a"})
    assert common.torchvision_folder(by_task, "pets", "pets-segmentation", folder="oxford-iiit-pet") == found
    assert common.place(DataContext(root=tmp_path), "clevr", folder="CLEVR_v1.0") == tmp_path / "CLEVR_v1.0"

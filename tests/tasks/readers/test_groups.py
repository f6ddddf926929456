"""Groups, validation parts and published splits of the public sets, and archives as they come."""

from __future__ import annotations

import re

import numpy as np
import pytest
from virb.tasks.readers import cifar, dtd, egohands, folders, kinetics, kitti, nuscenes, nyu, taskonomy, thor

from virb import registry
from virb.contracts.examples import DataContext
from virb.contracts.executor import Failure
from virb.contracts.task import FROM_DATA, Category, Protocol, Task
from virb.errors import DataAbsent, DataError
from virb.evaluation.status import data_status
from virb.evaluation.validation import validate
from virb.images.folders import image_folder

FEW = {"n_train": 1, "n_valid": 1, "n_test": 2, "frames_per_video": 2}


def held_of(examples):
    """Return the groups that are fitted and held out; none is on both sides."""
    fitted, held = examples.hold_out(0.3)
    assert not set(fitted.groups) & set(held.groups)
    return set(fitted.groups), set(held.groups)


def test_egohands_keeps_four_videos_to_choose_on(tmp_path, layouts):
    layouts.egohands(tmp_path)
    train, test = (egohands.hands(tmp_path, split, **FEW) for split in ("train", "test"))
    parts = [set(part.groups) for part in (train, train.validation, test)]
    assert [len(part) for part in parts] == [1, 1, 2]
    assert len(set.union(*parts)) == 4
    assert [len(part) for part in train.hold_out(0.2)] == [2, 2]
    assert (train.validation.targets[0] > 0).any()


def test_egohands_archive_without_a_top_folder_is_found(tmp_path, layouts):
    task = registry.load("tasks", "egohands")
    for root in (tmp_path / "a", tmp_path / "b" / "egohands_data"):
        layouts.egohands(root)
    for place in (tmp_path / "a", tmp_path / "b"):
        with pytest.raises(DataError, match="has 4 videos"):  # found, and counted
            task.examples(DataContext(root=place), "train")


@pytest.mark.parametrize(
    "points", [[[3.0, 3.0]], [[3.0, 3.0], [4.0, 4.0]], [[-5.0, 2.0], [6.0, 2.0], [6.0, 5.0], [-5.0, 5.0]]]
)
def test_polygons_that_are_short_or_leave_the_frame(points, tmp_path, layouts, monkeypatch):
    layouts.egohands(tmp_path)
    found = egohands._points(np.array(points))
    covered = egohands.fill_polygon(found - 1, 7, 10).sum() if len(found) else 0
    assert covered == (0 if len(points) < 3 else 15)  # columns 0 to 4, rows 1 to 3
    monkeypatch.setattr(egohands, "_polygons", lambda path: [[found, *[np.zeros((0, 2))] * 3]] * 2)
    train = egohands.hands(tmp_path, "train", **FEW)
    assert (train.targets[0] == 1).sum() == covered


def test_groups_are_scenes_drives_and_buildings(tmp_path, layouts):
    layouts.nyu(tmp_path / "nyu")
    train = nyu.depth(tmp_path / "nyu", "train")
    assert set(train.groups) | set(nyu.depth(tmp_path / "nyu", "test").groups) == {
        "kitchen_1",
        "office_2",
        "den_3",
        "bath_4",
    }
    held_of(train)
    layouts.thor_num_steps(tmp_path / "thor")
    assert set(thor.num_steps(tmp_path / "thor", "train").groups) == {"FloorPlan1"}
    layouts.nuscenes(tmp_path / "nu")
    assert len(nuscenes.egomotion(tmp_path / "nu", "train").groups) == 4
    layouts.taskonomy(tmp_path / "t")
    held_of(taskonomy.depth(tmp_path / "t", "train"))


def test_taskonomy_by_its_published_list_and_downloader(tmp_path, layouts):
    layouts.taskonomy(tmp_path)
    for kind in ("rgb", "depth_zbuffer"):
        (tmp_path / kind).rename(tmp_path / "aside")
        (tmp_path / kind).mkdir()
        (tmp_path / "aside").rename(tmp_path / kind / "taskonomy")
    listed = {"Allensville": "train", "Hanson": "train", "Darden": "val", "Merom": "test", "Klickitat": "test"}
    rows = [
        f"{name},{','.join(str(int(part == of)) for part in ('train', 'val', 'test'))}" for name, of in listed.items()
    ]
    (tmp_path / "train_val_test_tiny.csv").write_text("id,train,val,test\n" + "\n".join(rows) + "\n")
    train, test = (taskonomy.depth(tmp_path, split) for split in ("train", "test"))
    assert set(train.groups) == {"Allensville", "Hanson"}
    assert set(train.validation.groups) == {"Darden"}
    assert set(test.groups) == {"Merom", "Klickitat"}
    np.testing.assert_array_equal(train.validation.targets[0][1], np.float32([2, 257 / 512, 65534 / 512]))


def test_kitti_by_drive_where_the_kit_says_them(tmp_path, layouts):
    layouts.kitti(tmp_path, n=20)
    assert kitti.flow(tmp_path, "train").groups is None
    drives = [f"2011_09_26 2011_09_26_drive_{k // 2:04d}_sync {k:010d}" if k != 7 else "" for k in range(20)]
    (tmp_path / "mapping").mkdir()
    (tmp_path / "mapping" / "train_mapping.txt").write_text("\n".join(drives) + "\n")
    train, test = (kitti.flow(tmp_path, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (18, 2)
    assert not set(train.groups) & set(test.groups)
    assert "unknown" in {*train.groups, *test.groups}
    held_of(train)


def test_nyu_by_its_published_split(tmp_path, layouts):
    from scipy.io import savemat

    layouts.nyu(tmp_path)
    with pytest.raises(DataAbsent, match=re.escape("splits.mat, the published split")):
        nyu.depth(tmp_path, "train", is_standard=True)
    savemat(tmp_path / "splits.mat", {"trainNdxs": np.array([[1], [4], [5]]), "testNdxs": np.array([[2], [3]])})
    assert nyu.depth(tmp_path, "train", is_standard=True).frames.ravel().tolist() == [0, 3, 4]
    assert nyu.depth(tmp_path, "test", is_standard=True).frames.ravel().tolist() == [1, 2]
    savemat(tmp_path / "splits.mat", {"trainNdxs": np.array([[1]]), "testNdxs": np.array([[2], [3]])})
    with pytest.raises(DataError, match="expected each of the 5 once"):
        nyu.depth(tmp_path, "test", is_standard=True)


@pytest.mark.parametrize("second", ["validate", "val"])
def test_kinetics_csv_annotations_are_those_of_the_json(second, tmp_path, layouts):
    layouts.kinetics(tmp_path)
    wanted = [kinetics.actions(tmp_path, split, n_classes=2) for split in ("train", "test")]
    for part in ("train", "validate"):
        listing = tmp_path / "annotations" / f"{part}.json"
        rows = [f"{label},{clip},0,10,{part},0" for clip, label in kinetics._labels(listing).items()]
        name = second if part == "validate" else part
        (tmp_path / "annotations" / f"{name}.csv").write_text(
            "label,youtube_id,time_start,time_end,split,is_cc\n" + "\n".join(rows)
        )
        listing.unlink()
    (tmp_path / "validate").rename(tmp_path / second)
    for split, found in zip(("train", "test"), wanted, strict=True):
        now = kinetics.actions(tmp_path, split, n_classes=2)
        assert now.targets.tolist() == found.targets.tolist()
        assert now.images.digest == found.images.digest


def test_a_flat_val_folder_of_imagenet_is_named_and_sorted(tmp_path, layouts):
    import torch

    for k in range(3):
        layouts.picture(tmp_path / "val" / f"ILSVRC2012_val_{k + 1:08d}.JPEG", seed=k)
    with pytest.raises(DataError, match=r"is flat, .* virb data prepare imagenet sorts it"):
        folders.imagenet(tmp_path, "test")
    with pytest.raises(DataError, match=r"needs ILSVRC2012_devkit_t12\.tar\.gz"):
        folders.sort_val(tmp_path)
    torch.save(({}, ["n02", "n01", "n02"]), tmp_path / "meta.bin")
    folders.sort_val(tmp_path)
    folders.sort_val(tmp_path)
    found = folders.imagenet(tmp_path, "test", n_classes=2)
    names = ["n01/ILSVRC2012_val_00000002.JPEG", "n02/ILSVRC2012_val_00000001.JPEG", "n02/ILSVRC2012_val_00000003.JPEG"]
    assert list(found.ids) == names


def test_dtd_has_its_validation_part_and_may_lie_in_its_own_folder(tmp_path, layouts):
    layouts.dtd(tmp_path)
    for root in (tmp_path, tmp_path / "dtd"):
        train = dtd.textures(root, "train", n_classes=2)
        assert (len(train), len(train.validation)) == (4, 2)
        assert [name.split("/")[1] for name in train.validation.ids] == ["0002.jpg"] * 2
        assert [len(part) for part in train.hold_out(0.5)] == [2, 2]


def test_a_missing_file_of_cifars_is_named(tmp_path, layouts):
    layouts.cifar100(tmp_path)
    (tmp_path / "cifar-100-python" / "meta").unlink()
    with pytest.raises(DataError, match=r"cifar-100: there is no .*cifar-100-python/meta\. Extract"):
        cifar.cifar100(tmp_path, "train")
    status = data_status(registry.load("tasks", "cifar-100"), DataContext(root=tmp_path))
    assert status.reason.count("there is no") == 1  # said once, not once a split
    assert Failure("dtd", "dtd: there is no x.").line == "FAILED dtd: there is no x."


def test_validate_decodes_an_image_of_every_class(tmp_path, layouts):
    names = [f"class {k}" for k in range(30)]
    for split in ("train", "test"):
        layouts.folders(tmp_path / split, names, 3)
    (tmp_path / "test" / "class 29" / "image_0001.jpg").write_bytes(b"no image")
    task = Task(
        name="many", summary="s", category=Category.SEMANTIC_IMAGE, head="linear", loss="cross_entropy", metric="top1",
        data=image_folder("many"), classes=FROM_DATA, protocol=Protocol(epochs=1),
    )  # fmt: skip
    found = {check.name: check for check in validate(task, DataContext(places={"many": tmp_path}), n_images=2)}
    assert not found["images decode"].is_ok
    (tmp_path / "test" / "class 29" / "image_0001.jpg").unlink()
    found = {check.name: check for check in validate(task, DataContext(places={"many": tmp_path}), n_images=2)}
    assert re.match(r"6\d images", found["images decode"].detail)

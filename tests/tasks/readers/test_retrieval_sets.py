"""Revisited Oxford and Paris, and Copydays, in their published layouts, and the whole way to their scores."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from virb.tasks.readers import copydays, landmarks

import virb
from virb import registry
from virb.contracts.examples import DataContext
from virb.errors import DataAbsent, DataError
from virb.evaluation.validation import validate

SEARCHED = ["all_souls_000013", "ashmolean_000058", "radcliffe_camera_000519", "oxford_002904"]
ASKED = ["all_souls_000026", "radcliffe_camera_000031"]


def write(root, layouts, *, bbx=(2.0, 1.0, 6.4, 5.0), easy=(1,)):
    """Two queries and four images, as gnd_roxford5k.mat holds them: rows from 1, boxes from 0, empty lists as 0x0."""
    for k, stem in enumerate([*SEARCHED, *ASKED]):
        layouts.picture(root / "jpg" / f"{stem}.jpg", seed=k)
    kind = [(name, object) for name in ("bbx", "easy", "hard", "junk")]
    gnd = np.empty((1, 2), dtype=kind)
    gnd[0, 0] = (np.array([bbx]), np.array([easy], float), np.array([[2.0, 4.0]]), np.zeros((0, 0)))
    gnd[0, 1] = (np.array([[0.0, 0.0, 90.0, 90.0]]), np.zeros((0, 0)), np.array([[3.0]]), np.array([[1.0, 2.0]]))
    cells = {key: np.array(stems, dtype=object)[:, None] for key, stems in (("imlist", SEARCHED), ("qimlist", ASKED))}
    savemat(root / "gnd_roxford5k.mat", {**cells, "gnd": gnd})
    return root


def test_what_is_searched_and_what_is_to_be_found_are_those_of_the_file(tmp_path, layouts):
    root = write(tmp_path / "roxford5k", layouts)
    train, test = (landmarks.revisited(root, split) for split in ("train", "test"))
    assert (list(train.ids), list(test.ids)) == (SEARCHED, ASKED)
    np.testing.assert_array_equal(train.targets, [0, 1, 2, 3])
    np.testing.assert_array_equal(test.targets, [[1, 2, 0, 2], [-1, -1, 2, 0]])
    whole = landmarks.FileImages("x", root, [root / "jpg" / f"{stem}.jpg" for stem in ASKED])
    np.testing.assert_array_equal(test.images.image(0), whole.image(0)[1:5, 2:6])  # cut to its box
    np.testing.assert_array_equal(test.images.image(1), whole.image(1))  # a box that is larger than the image
    assert test.images.size(0) == (4, 4)
    assert (test.images.digests != whole.digests).any(axis=1).all()


def test_the_task_runs_and_is_valid(tmp_path, layouts):
    write(tmp_path / "roxford5k", layouts)
    context = DataContext(root=tmp_path, cache=tmp_path / "cache")
    table = virb.evaluate("pixels:2:size=16", "roxford5k", out=tmp_path / "results", data=context)
    assert 0 < table["score"][0] <= 1
    checks = {check.name: check for check in validate(registry.load("tasks", "roxford5k"), context)}
    assert [name for name, check in checks.items() if not check.is_ok] == ["sizes are as declared"]
    assert "1 to 3 of 4 things to be found" in checks["there is something to be found"].detail


def test_what_is_wrong_is_named(tmp_path, layouts):
    with pytest.raises(DataAbsent, match=r"there is no .*gnd_roxford5k\.mat; expected jpg/ and"):
        landmarks.revisited(tmp_path / "roxford5k", "train")
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "gnd_pickled.pkl").write_bytes(b"")
    with pytest.raises(DataAbsent, match="a pickle can run anything"):
        landmarks.revisited(tmp_path / "pickled", "train")
    with pytest.raises(DataError, match=r"easy of all_souls_000026: 1 to 5; expected rows of imlist, 1 to 4"):
        landmarks.revisited(write(tmp_path / "rows", layouts, easy=(1, 5)), "test")
    with pytest.raises(DataError, match="bbx of all_souls_000026 has 3 numbers; expected 4"):
        landmarks.revisited(write(tmp_path / "box", layouts, bbx=(1.0, 2.0, 3.0)), "test")
    beyond = landmarks.revisited(write(tmp_path / "beyond", layouts, bbx=(20.0, 20.0, 30.0, 30.0)), "test")
    with pytest.raises(DataError, match="holds nothing of its 8x6 pixels"):
        beyond.images.image(0)
    broken = write(tmp_path / "broken", layouts)
    (broken / "gnd_roxford5k.mat").write_text("not MATLAB")
    with pytest.raises(DataError, match=r"gnd_roxford5k\.mat is not a readable MATLAB file"):
        landmarks.revisited(broken, "train")
    gone = write(tmp_path / "gone", layouts)
    (gone / "jpg" / f"{SEARCHED[1]}.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of the 4 files that .*gnd_roxford5k\.mat lists are missing"):
        landmarks.revisited(gone, "train")


# ------------------------------------------------------------------------------------------------------------- Copydays


def copies(root, layouts, *, strong=("200001", "200102", "200101")):
    for k, stem in enumerate(("200000", "200100", "200200")):
        layouts.picture(root / "original" / f"{stem}.jpg", seed=k)
    (root / "strong").mkdir()
    for stem in strong:
        original = Image.open(root / "original" / f"200{int(stem[3]) % 3}00.jpg")
        original.save(root / "strong" / f"{stem}.jpg", quality=40 + int(stem[5]))
    return root


def test_a_copy_is_of_the_photograph_whose_name_begins_alike(tmp_path, layouts):
    root = copies(tmp_path / "copydays", layouts)
    train, test = (copydays.copies(root, split) for split in ("train", "test"))
    assert list(train.ids) == ["original/200000.jpg", "original/200100.jpg", "original/200200.jpg"]
    assert list(test.ids) == ["strong/200001.jpg", "strong/200101.jpg", "strong/200102.jpg"]
    np.testing.assert_array_equal(train.targets, [0, 1, 2])
    np.testing.assert_array_equal(test.targets, [[1, 0, 0], [0, 1, 0], [0, 1, 0]])
    layouts.picture(root / "distractors" / "2001.jpg", seed=9)  # whatever it is called
    train, test = (copydays.copies(root, split) for split in ("train", "test"))
    assert train.ids[3] == "distractors/2001.jpg"
    np.testing.assert_array_equal(test.targets[:, 3], [0, 0, 0])


def test_copies_that_are_only_saved_anew_are_all_found(tmp_path, layouts):
    copies(tmp_path / "copydays", layouts)
    context = DataContext(root=tmp_path, cache=tmp_path / "cache")
    table = virb.evaluate("pixels:2:size=16", "copydays", out=tmp_path / "results", data=context)
    assert table["score"][0] == 1.0
    assert table["n_train"][0] == 3
    checks = {check.name: check for check in validate(registry.load("tasks", "copydays"), context)}
    assert [name for name, check in checks.items() if not check.is_ok] == ["sizes are as declared"]


def test_what_is_wrong_with_copies_is_named(tmp_path, layouts):
    with pytest.raises(DataAbsent, match=r"there is no .*original; expected original/200000\.jpg"):
        copydays.copies(tmp_path, "train")
    with pytest.raises(DataError, match=r"200901\.jpg is a copy of nothing .* begins with '2009'"):
        copydays.copies(copies(tmp_path / "alone", layouts, strong=("200901",)), "test")
    (tmp_path / "empty" / "original").mkdir(parents=True)
    (tmp_path / "empty" / "strong").mkdir()
    with pytest.raises(DataError, match=r"original holds no image"):
        copydays.copies(tmp_path / "empty", "train")

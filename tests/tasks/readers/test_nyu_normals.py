"""NYU's surface normals from the published pickle: read as arrays alone, put in the order of the frames, void as NaN."""

from __future__ import annotations

import gzip
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from virb.tasks.readers import nyu_normals

from virb import registry
from virb.cli import main
from virb.contracts.examples import DataContext
from virb.errors import DataAbsent, DataError
from virb.evaluation import checks

ORDER = (3, 1, 2, 5, 4)  # the frames' numbers, in the order of the pickle


def write(root: Path, layouts, **changes) -> np.ndarray:
    """Write five frames of 3 x 4 pixels as published, and return the normals (5, 3, 4, 3), NaN for void, by frame."""
    layouts.nyu(root)
    savemat(root / "splits.mat", {"trainNdxs": np.array([[1], [4], [5]]), "testNdxs": np.array([[2], [3]])})
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(5, 3, 4, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=3, keepdims=True)
    masks = (rng.random((5, 3, 4)) < 0.7).astype(np.uint8)
    content = {
        "all_normals": vectors * 1.001,  # rounding left them of nearly unit length
        "all_valid_depth_masks": masks,
        "all_filenames": [f"{k:04d}" for k in ORDER],
        **changes,
    }
    path = root / nyu_normals.PUBLISHED
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wb") as file:
        pickle.dump(content, file, protocol=2)  # as Python 2 wrote it
    return np.where(masks[..., None] != 0, vectors, np.nan)[np.argsort(ORDER)]


def test_frames_have_the_normals_of_their_own_number(tmp_path, layouts):
    expected = write(tmp_path, layouts)
    with pytest.raises(
        DataAbsent, match=r"virb data prepare nyu-normals makes of surfacenormal_metadata/all_normals\.pklz"
    ):
        nyu_normals.normals(tmp_path, "train")
    nyu_normals.prepare(tmp_path)
    train, test = (nyu_normals.normals(tmp_path, split) for split in ("train", "test"))
    assert train.frames.ravel().tolist() == [0, 3, 4]
    for examples in (train, test):
        for row, target in zip(examples.frames.ravel(), examples.targets, strict=True):
            np.testing.assert_allclose(target, expected[row], atol=1e-6)
    before = test.digests()
    assert nyu_normals.normals(tmp_path, "test").digests() == before
    changed = np.load(tmp_path / nyu_normals.ARRAY)
    changed[1, 0, 0] = (1, 0, 0)
    np.save(tmp_path / nyu_normals.ARRAY, changed)
    assert nyu_normals.normals(tmp_path, "test").digests()["targets"] != before["targets"]
    task = registry.load("tasks", "nyu-normals")
    checks.checked(task, "test", task.examples(DataContext(places={"nyu": tmp_path}), "test"))


class Attack:
    def __reduce__(self):
        return (os.mkdir, ("attacked",))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"all_filenames": [Attack()]}, "is code: nothing was run"),
        ({"all_filenames": ["0001", "0002"]}, "has 5 normals, 5 masks and names of 2 frames"),
        ({"all_filenames": ["0001"] * 5}, "expected one each of the frames"),
        ({"all_filenames": None}, "is not as published"),
        ({"all_valid_depth_masks": np.ones((5, 2, 4))}, "differ in size"),
    ],
)
def test_a_pickle_that_is_not_as_published_is_refused(changes, says, tmp_path, layouts, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, layouts, **changes)
    with pytest.raises(DataError, match=says):
        nyu_normals.prepare(tmp_path)
    assert not Path("attacked").exists()
    assert not (tmp_path / nyu_normals.ARRAY).exists()


def test_a_damaged_pickle_and_an_array_of_other_frames_are_named(tmp_path, layouts):
    write(tmp_path, layouts)
    path = tmp_path / nyu_normals.PUBLISHED
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"all_normals\.pklz cannot be read"):
        nyu_normals.prepare(tmp_path)
    np.save(tmp_path / nyu_normals.ARRAY, np.zeros((4, 3, 4, 3), np.float32))
    with pytest.raises(DataError, match=r"has the shape \(4, 3, 4, 3\); expected \(5, H, W, 3\)"):
        nyu_normals.normals(tmp_path, "test")


def test_virb_data_prepare_makes_the_array(tmp_path, layouts, capsys):
    write(tmp_path, layouts)
    main(["data", "prepare", "nyu-normals", "--data", f"nyu={tmp_path}"])
    assert "train has 3 examples; expected 795" in capsys.readouterr().out
    assert np.load(tmp_path / nyu_normals.ARRAY, mmap_mode="r").shape == (5, 3, 4, 3)

"""SPair-71k in its published layout: points to the pixel, and the whole way to its score."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from virb.tasks.readers import spair

import virb
from virb.contracts.examples import DataContext
from virb.errors import DataAbsent, DataError
from virb.evaluation.show import show

NAME = "000001-2007_000027-2008_002719:cat"


def write(root, *, images=None, **changes):
    """One pair of a wide and a tall image, as the published archive holds it; test and trn are the same."""
    first, second = images or (np.zeros((30, 60, 3), np.uint8), np.full((120, 80, 3), 9, np.uint8))
    stems = NAME.split(":")[0].split("-")[1:]
    (root / "JPEGImages" / "cat").mkdir(parents=True)
    for stem, image in zip(stems, (first, second), strict=True):
        Image.fromarray(image).save(root / "JPEGImages" / "cat" / f"{stem}.jpg", quality=100)
    pair = {
        "filename": NAME, "src_imname": f"{stems[0]}.jpg", "trg_imname": f"{stems[1]}.jpg", "category": "cat",
        "src_imsize": [first.shape[1], first.shape[0], 3], "trg_imsize": [second.shape[1], second.shape[0], 3],
        "src_bndbox": [1, 1, 50, 29], "trg_bndbox": [10, 20, 70, 110],
        "src_kps": [[10, 5], [10, 5], [59, 29]], "trg_kps": [[20, 30], [40, 50], [79, 119]], "kps_ids": ["0", "3", "9"],
        "mirror": 0, "viewpoint_variation": 1, "scale_variation": 0, "truncation": 0, "occlusion": 0, **changes,
    }  # fmt: skip
    for part in ("trn", "test"):
        for folder in ("Layout/large", f"PairAnnotation/{part}"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "Layout" / "large" / f"{part}.txt").write_text(f"{NAME}\n")
        (root / "PairAnnotation" / part / f"{NAME}.json").write_text(json.dumps(pair))
    return root


def test_points_lie_in_padded_squares_and_the_second_is_brought_to_the_first(tmp_path):
    found = spair.pairs(write(tmp_path), "test")
    assert (found.ids, found.frames.tolist()) == ([NAME], [[0, 1]])
    assert [found.images.size(k) for k in (0, 1)] == [(60, 60), (120, 120)]
    first, second = found.images.image(0), found.images.image(1)
    assert first.shape == (60, 60, 3)
    assert (second[:, :20] == 0).all()  # the margin left of a tall image
    assert second[:, 25:95].mean() == pytest.approx(9, abs=1)
    target = found.targets[0]
    y, x = np.nonzero(~np.isnan(target[..., 0]))
    # 15 rows of margin lie above the first image; two points of one pixel are side by side.
    assert set(zip(x.tolist(), y.tolist(), strict=True)) == {(10, 20), (9, 20), (59, 44)}
    # The second: 20 columns of margin, half as large as it is there.
    np.testing.assert_allclose(target[20, 10, :2], [(40 + 0.5) / 2 - 0.5 - 10, (30 + 0.5) / 2 - 0.5 - 20])
    np.testing.assert_allclose(target[44, 59, :2], [(99 + 0.5) / 2 - 0.5 - 59, (119 + 0.5) / 2 - 0.5 - 44])
    assert target[20, 10, 2] == 45  # half of the box's longer side, 90


def test_an_image_moved_by_whole_cells_is_found_to_the_point(tmp_path):
    rng = np.random.default_rng(0)
    wide = np.repeat(np.repeat(rng.integers(0, 256, (4, 5, 3)), 32, 0), 32, 1).astype(np.uint8)
    images = (wide[:, 32:], wide[:, :128])  # what is at x in the first is at x + 32 in the second
    points = [[16 + 32 * x, 16 + 32 * y] for x in range(3) for y in range(4)]
    moved = [[x + 32, y] for x, y in points]
    write(tmp_path / "SPair-71k", images=images, src_kps=points, trg_kps=moved, trg_bndbox=[0, 0, 30, 60])
    context = DataContext(root=tmp_path, cache=tmp_path / "cache")
    results = tmp_path / "results"
    table = virb.evaluate("pixels:16:size=64", "spair-71k", out=results, data=context, progress=False)
    assert table["score"][0] == 1.0
    assert table["chance"][0] is not None
    task = virb.registry.load("tasks", "spair-71k")
    encoder = virb.load_encoder("pixels:16:size=64")
    lines = show(task, context, tmp_path / "pair.png", encoder=encoder, results=results)
    assert "spair-71k" in lines[0]
    shown = np.asarray(Image.open(tmp_path / "pair.png"))
    assert not (shown == (255, 0, 255)).all(-1).any()  # spots on the image, not on magenta


def test_what_is_wrong_is_named(tmp_path):
    with pytest.raises(DataAbsent, match=r"there is no .*trn\.txt; expected JPEGImages/<kind>/"):
        spair.pairs(tmp_path, "train")
    root = write(tmp_path / "short", src_kps=[[1, 1]])
    with pytest.raises(DataError, match="has 1 points in the first image and 3 in the second"):
        spair.pairs(root, "test").targets[0]
    root = write(tmp_path / "box", trg_bndbox=None)
    with pytest.raises(DataError, match="is not as published"):
        spair.pairs(root, "test").targets[0]
    root = write(tmp_path / "line")
    (root / "Layout" / "large" / "test.txt").write_text("000001-a-b\n")
    with pytest.raises(DataError, match="expected NUMBER-FIRST-SECOND:KIND"):
        spair.pairs(root, "test")
    root = write(tmp_path / "gone")
    next((root / "JPEGImages" / "cat").iterdir()).unlink()
    with pytest.raises(DataError, match=r"1 of the 3 files that .*test\.txt lists are missing"):
        spair.pairs(root, "test")

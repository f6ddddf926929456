"""NAVI in its published layout: the motion of points against a homography of scipy's, and the whole way to a score."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation
from virb.tasks.readers import navi

import virb
from virb import registry
from virb.contracts.examples import DataContext
from virb.errors import DataAbsent, DataError
from virb.evaluation.show import show
from virb.evaluation.validation import validate

HALF = 40.0  # the object is a card of 80 mm at z = 0 of its own axes
WILD, MULTI = "card/wild_set", "card/multiview-00-pixel_5"


def camera(rotvec, t, focal=320.0):
    x, y, z, w = Rotation.from_rotvec(rotvec).as_quat()
    return {"q": [2 * w, 2 * x, 2 * y, 2 * z], "t": list(t), "focal_length": focal, "camera_model": "pixel_5"}


def axes(found):
    w, x, y, z = found["q"]
    return Rotation.from_quat([x, y, z, w]).as_matrix(), np.array(found["t"], float)


def card(found, height, width):
    """Return the card's depth in mm, 0 beside it, and where on the card each pixel is, by its plane."""
    turn, t = axes(found)
    y, x = np.mgrid[:height, :width] + 0.5
    rays = np.stack(
        [(x - width // 2) / found["focal_length"], (y - height // 2) / found["focal_length"], np.ones_like(x)]
    )
    normal = turn[:, 2]
    depth = (normal @ t) / np.tensordot(normal, rays, 1)
    on = np.tensordot(turn.T, rays * depth - t[:, None, None], 1)[:2]
    return np.where((np.abs(on) <= HALF).all(0) & (depth > 0), depth, 0), on


def write(root, scene, found, size, name, *, orientation=1, **changes):
    """Add one photograph of the card, whose red and green say the place on it, as the release holds it."""
    depth, on = card(found, *size)
    colours = np.stack([*((on + HALF) * 255 / (2 * HALF)), np.full(size, 128.0 if scene == WILD else 100.0)], axis=-1)
    photo = np.where((depth > 0)[..., None], colours, 0).astype(np.uint8)
    for folder in ("images", "depth"):
        (root / scene / folder).mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.rot90(photo) if orientation == 6 else photo  # 6: turn it clockwise to see it
    Image.fromarray(stored).save(root / scene / "images" / f"{name}.jpg", quality=95, subsampling=0, exif=exif)
    value = np.zeros(depth.shape)
    np.divide(655350, depth, out=value, where=depth > 0)
    Image.fromarray(np.round(value).astype(np.uint16)).save(root / scene / "depth" / f"{name}.png")
    path = root / scene / "annotations.json"
    entries = json.loads(path.read_text()) if path.is_file() else []
    entries.append(
        {"object_id": "card", "camera": found, "filename": f"{name}.jpg", "image_size": list(size), **changes}
    )
    path.write_text(json.dumps(entries))


def release(root, *, second=None, lines=None):
    """Two photographs in each collection: upright, and portrait, turned by EXIF, from 40 degrees aside."""
    views = [camera([0, 0, 0], [3, -5, 300]), second or camera([0.1, 0.7, 0.3], [-10, 4, 280], focal=260.0)]
    for scene in (WILD, MULTI):
        for k, (found, size) in enumerate(zip(views, ((96, 128), (128, 96)), strict=True)):
            write(root, scene, found, size, f"{k:03d}", orientation=6 if k else 1)
    folder = root / "custom_splits" / "pairwise_pixel_correspondences"
    folder.mkdir(parents=True)
    for part, scene in (("wild_set", WILD), ("multiview", MULTI)):
        pair = f"{scene}/images/000.jpg {scene}/images/001.jpg 41.3"
        (folder / f"pairs-{part}.txt").write_text("\n".join(lines or [pair]) + "\n")
    return views


def test_points_move_as_the_homography_of_the_card_says(tmp_path):
    views = release(tmp_path)
    for split, scene in (("test", WILD), ("train", MULTI)):
        found = navi.pairs(tmp_path, split)
        assert list(found.ids) == [f"{scene}/images/000.jpg {scene}/images/001.jpg 41.3"]
        assert (found.frames.tolist(), found.groups) == ([[0, 1]], ["card"])
    target = found.targets[0]
    assert (target.shape, target.dtype) == ((512, 512, 2), np.float32)
    y, x = np.nonzero(~np.isnan(target[..., 0]))
    assert 0.8 * 256 * 256 < len(x) <= 256 * 256  # nearly all of the card shows in both
    assert set((x % 2).tolist()) == {0}
    # By hand: pixels of the square to the photograph, to the card, to the other photograph, to its square.
    boxes = []
    for view, size in zip(views, ((96, 128), (128, 96)), strict=True):
        rows, columns = (np.flatnonzero((card(view, *size)[0] > 0).any(axis)) for axis in (1, 0))
        side = max(np.ptp(rows), np.ptp(columns)) + 1
        boxes.append(((columns[0] + columns[-1] + 1 - side) // 2, (rows[0] + rows[-1] + 1 - side) // 2, side))
    planes = []
    for view, (height, width) in zip(views, ((96, 128), (128, 96)), strict=True):
        turn, t = axes(view)
        k = np.array([[view["focal_length"], 0, width // 2], [0, view["focal_length"], height // 2], [0, 0, 1]])
        planes.append(k @ np.column_stack([turn[:, 0], turn[:, 1], t]))
    (left, top, side), (left2, top2, side2) = boxes
    start = np.stack([(x + 0.5) * side / 512 + left, (y + 0.5) * side / 512 + top, np.ones(len(x))])
    goal = planes[1] @ np.linalg.solve(planes[0], start)
    goal = (goal[:2] / goal[2] - [[left2], [top2]]) * 512 / side2 - 0.5
    # A depth is read at its nearest pixel and kept in steps of .1 mm of 300.
    np.testing.assert_allclose(x + target[y, x, 0], goal[0], atol=1.5)
    np.testing.assert_allclose(y + target[y, x, 1], goal[1], atol=1.5)


def test_images_are_the_objects_squares_upright(tmp_path):
    release(tmp_path)
    images = navi.pairs(tmp_path, "test").images
    for k in (0, 1):
        assert images.image(k).shape == (512, 512, 3)
        assert images.size(k) == (512, 512)
    left, top, side = images.square(0)
    whole = Image.open(tmp_path / WILD / "images" / "000.jpg").crop((left, top, left + side, top + side))
    np.testing.assert_array_equal(images.image(0), whole.resize((512, 512), Image.Resampling.BILINEAR))
    assert images.digest_rows(np.array([0]))[0].any()
    before = images.digest_rows(np.array([0]))
    write(tmp_path, WILD, camera([0, 0, 0], [9, 0, 300]), (96, 128), "000")
    assert (navi.pairs(tmp_path, "test").images.digest_rows(np.array([0])) != before).any()


def test_what_another_part_of_the_object_hides_has_no_place(tmp_path):
    behind = camera([0, np.pi, 0], [0, 0, 300])  # from the other side: an object without thickness, so in front
    release(tmp_path, second=behind)
    shown = navi.pairs(tmp_path, "test")
    assert np.isfinite(shown.targets[0]).any()
    path = tmp_path / WILD / "depth" / "001.png"
    value = np.asarray(Image.open(path)).astype(np.float64)
    closer = np.where(value > 0, np.round(655350 / (655350 / np.maximum(value, 1) - 30)), 0)  # 30 mm of body before it
    Image.fromarray(closer.astype(np.uint16)).save(path)
    assert not np.isfinite(navi.pairs(tmp_path, "test").targets[0]).any()


def test_one_image_in_four_asks_and_one_in_sixteen_where_views_are_many(tmp_path):
    names = [f"card/wild_set/images/{k:03d}.jpg" for k in range(9)]
    listing = tmp_path / "pairs.txt"
    listing.write_text(
        "".join(f"{a} {b} {130.0 if i == 8 else 20.5 + i}\n" for i, b in enumerate(names) for a in names[:i])
    )
    chosen = navi._chosen(listing, 4)
    assert [first for first, _, _ in chosen] == [names[0], names[4]]  # the ninth has no partner near enough
    assert all(second != names[8] for _, second, _ in chosen)
    assert chosen == navi._chosen(listing, 4)
    listing.write_text(f"{names[0]} {names[1]} 121\n")
    with pytest.raises(DataError, match="no pair of up to 120 degrees"):
        navi._chosen(listing, 4)


def test_the_task_finds_a_card_that_was_turned_upside_down(tmp_path):
    release(tmp_path / "navi", second=camera([0, 0, np.pi], [0, 0, 300]))
    context = DataContext(root=tmp_path, cache=tmp_path / "cache")
    results = tmp_path / "results"
    table = virb.evaluate("pixels:8:size=256", "navi", out=results, data=context, progress=False)
    assert table["score"][0] > 0.75
    assert table["chance"][0] == 1.0  # the one training pair moves alike: a blind map is made of it
    task = registry.load("tasks", "navi")
    assert all(check.is_ok for check in validate(task, context)), [c for c in validate(task, context) if not c.is_ok]
    lines = show(task, context, tmp_path / "pair.png", encoder=virb.load_encoder("pixels:8:size=256"), results=results)
    assert "navi" in lines[0]


def test_what_is_wrong_is_named(tmp_path):
    with pytest.raises(DataAbsent, match=r"there is no .*pairs-wild_set\.txt; expected custom_splits/"):
        navi.pairs(tmp_path, "test")
    for name, line, message in (
        ("angle", "a/b/images/0.jpg a/b/images/1.jpg near", "expected IMAGE IMAGE DEGREES"),
        ("two", "a/b/images/0.jpg a/b/images/1.jpg", "expected IMAGE IMAGE DEGREES"),
        ("path", "0.jpg 1.jpg 12.0", "each OBJECT/SCENE/images/NNN.jpg"),
    ):
        release(tmp_path / name, lines=[line])
        with pytest.raises(DataError, match=message):
            navi.pairs(tmp_path / name, "test")
    root = tmp_path / "broken"
    release(root)
    notes = root / WILD / "annotations.json"
    whole = json.loads(notes.read_text())
    for entries, message in (
        (whole[:1], r"annotations\.json says nothing of 001\.jpg"),
        ([{**whole[0], "camera": {**whole[0]["camera"], "q": [1, 0, 0]}}, whole[1]], "is not as published"),
        ([{"filename": "000.jpg"}], "is not as published"),
        ("nothing", "is not as published"),
    ):
        notes.write_text(json.dumps(entries))
        with pytest.raises(DataError, match=message):
            navi.pairs(root, "test")
    notes.write_text(json.dumps(whole))
    depth = root / WILD / "depth" / "000.png"
    Image.fromarray(np.zeros((96, 128), np.uint16)).save(depth)
    with pytest.raises(DataError, match=r"000\.png is 0 everywhere"):
        navi.pairs(root, "test").images.image(0)
    Image.fromarray(np.ones((128, 96), np.uint16)).save(depth)
    with pytest.raises(DataError, match="expected one size"):
        navi.pairs(root, "test").targets[0]
    depth.unlink()
    with pytest.raises(DataError, match=r"1 of the 5 files that .*pairs-wild_set\.txt lists are missing"):
        navi.pairs(root, "test")

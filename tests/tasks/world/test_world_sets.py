"""What the sets promise: labels that agree with the geometry, balance, determinism, no image in two places."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from virb.tasks.world import SETS, aerial, animals
from virb.tasks.world.designs import draw_design, is_test_design
from virb.tasks.world.interiors import STEP_M, _steps_scene
from virb.tasks.world.render import free_path
from virb.tasks.world.sets import ROLES, UNITS, make_example, stream

SIZE = 24


@pytest.mark.parametrize("name", list(SETS))
def test_an_example_has_what_its_declaration_says(name: str) -> None:
    spec = SETS[name]
    for split in spec.splits:
        example = make_example(name, split, 1, SIZE)
        assert example["images"].shape == (spec.n_frames, SIZE, SIZE, 3)
        assert example["images"].dtype == np.uint8
        assert example["images"].std() > 3  # not a blank
        for annotation in spec.annotations:
            assert len(example[annotation]) == 1
            assert annotation in UNITS
            if annotation in spec.classes and annotation != "count":
                assert example[annotation].max() < len(spec.classes[annotation])


@pytest.mark.parametrize("name", ["objects", "rooms", "egomotion", "actions", "animals", "aerial"])
def test_the_same_example_has_the_same_bits(name: str) -> None:
    first, again = (make_example(name, "train", 3, SIZE) for _ in range(2))
    for key, value in first.items():
        np.testing.assert_array_equal(value, again[key])


def test_streams_differ_in_each_part_of_their_key() -> None:
    draws = {
        stream(*key).integers(1 << 62)
        for key in [("objects", "train", 0), ("objects", "test", 0), ("objects", "train", 1), ("rooms", "train", 0)]
    }
    assert len(draws) == 4


def test_no_image_occurs_twice_in_any_set_or_split() -> None:
    seen: dict[str, str] = {}
    for name, spec in SETS.items():
        for split in spec.splits:
            for index in range(3):
                for frame in make_example(name, split, index, SIZE)["images"]:
                    key = hashlib.sha256(frame.tobytes()).hexdigest()
                    where = f"{name}/{split}/{index}"
                    assert key not in seen, (where, seen[key])
                    seen[key] = where


def test_class_labels_are_balanced() -> None:
    for name, annotation, n in (
        ("objects", "class_id", 12),
        ("steps", "steps", 5),
        ("count", "count", 6),
        ("animals", "class_id", 8),
        ("aerial", "class_id", 6),
    ):
        labels = [int(make_example(name, "train", k, 8)[annotation][0]) for k in range(n)]
        assert len(set(labels)) == n


def test_steps_are_what_the_geometry_allows() -> None:
    made = 0
    for seed in range(60):
        n_free = seed % 5
        scene = _steps_scene(np.random.default_rng(seed), n_free, False)
        if scene is None:
            continue
        room, camera, _ = scene
        forward = camera.axes[2]
        reach = free_path(room.scene, camera.position, float(np.arctan2(-forward[0], forward[1])))
        assert min(int(reach / STEP_M), 4) == n_free
        made += 1
    assert made > 15


def test_counted_things_are_as_many_as_the_label_says() -> None:
    # Seen from above nothing hides another thing, so the coloured blobs can be counted in the geometry itself.
    from virb.tasks.world import objects

    counted = []
    original = objects.render

    def spy(scene, *args, **kwargs):
        counted.append(scene.n_instances)
        return original(scene, *args, **kwargs)

    objects.render = spy
    try:
        labels = [int(make_example("count", "test", k, 8)["count"][0]) for k in range(6)]
    finally:
        objects.render = original
    assert counted == labels == [3, 4, 5, 6, 7, 8]


def test_room_masks_agree_with_each_other() -> None:
    room = make_example("rooms", "train", 2, 32)
    mask, floor, instance = room["class_mask"][0], room["floor"][0], room["instance"][0]
    names = SETS["rooms"].classes["class_mask"]
    assert ((mask == names.index("floor")) == floor.astype(bool)).all()
    assert not (instance[mask <= names.index("ceiling")]).any()
    assert (room["depth_m"][0] > 0.1).all()
    assert room["depth_m"].max() < 8


def test_foreground_is_the_object_and_is_most_of_what_is_near() -> None:
    for index in range(12):
        e = make_example("objects", "test", index, 32)
        share = e["foreground"].mean()
        assert 0.02 < share < 0.9
        assert np.isfinite(e["depth_m"]).all()


def test_an_animal_fills_a_good_part_of_the_frame_and_stands_on_the_floor() -> None:
    share = []
    for index in range(24):
        share.append(make_example("animals", "test", index, 32)["foreground"].mean())
        kind = animals.ANIMALS[index % 8]
        model, materials = animals.draw_animal(kind, stream("animals", "test", index), is_test=True)
        low, _ = model.bounds()
        assert abs(low[2]) < 0.06, kind
        assert max(model.slots) < len(materials)
    assert min(share) > 0.04
    assert 0.12 < np.mean(share) < 0.5


@pytest.mark.parametrize("options", [animals.OPTIONS, aerial.OPTIONS])
def test_every_design_of_animals_and_land_is_of_one_side_and_every_option_on_both(options: dict) -> None:
    for name, own in options.items():
        for side in (True, False):
            drawn = [draw_design(own, np.random.default_rng(k), is_test=side) for k in range(150)]
            assert all(is_test_design(own, d) == side for d in drawn)
            for key, values in own.items():
                assert {d[key] for d in drawn} == set(values), (name, key, side)


def test_land_is_seen_from_above_in_colours_that_say_nothing_of_its_use(monkeypatch: pytest.MonkeyPatch) -> None:
    views = []
    real = aerial.render

    def spy(scene, camera, *args, **kwargs):
        views.append(camera)
        return real(scene, camera, *args, **kwargs)

    monkeypatch.setattr(aerial, "render", spy)
    images = np.concatenate([make_example("aerial", "train", k, 16)["images"] for k in range(72)])
    assert all(camera.axes[2][2] < -0.97 for camera in views)  # within 14 degrees of straight down
    headings = np.array([np.arctan2(camera.axes[0][1], camera.axes[0][0]) for camera in views])
    assert abs(np.exp(1j * headings).mean()) < 0.35
    mean = images.reshape(12, 6, -1, 3).mean(2) / 255  # (round, class, channel)
    assert (np.ptp(mean.mean(0), axis=0) < 3 * mean.std(0).mean()).all()
    assert mean.std(0).min() > 0.05


def test_roles_are_at_most_the_four() -> None:
    seen = np.unique([make_example("roles", "train", k, 32)["role_mask"] for k in range(4)])
    assert seen.tolist() == list(range(len(ROLES)))


def test_flow_of_turning_left_moves_the_picture_right() -> None:
    for index, sign in ((1, 1), (2, -1)):
        e = make_example("egomotion", "train", index, 32)
        assert e["action"][0] == index
        assert np.sign(np.nanmedian(e["flow_px"][0, ..., 0].astype(float))) == sign

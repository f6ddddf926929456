"""The renderer against cases worked out by hand: depths, masks, motion, free paths."""

from __future__ import annotations

import math

import numpy as np
import pytest
from virb.tasks.world.models import OPTIONS, draw_design, draw_model, is_test_design
from virb.tasks.world.render import FAR_M, Camera, Frame, Light, free_path, motion, render
from virb.tasks.world.scene import Material, Scene, class_of
from virb.tasks.world.sets import OBJECT_CLASSES
from virb.tasks.world.shapes import Model, rotation

GREY = Material(np.full(3, 0.5))
LIGHT = Light(np.array([1.0, -1.0, 3.0]), np.ones(3), np.full(3, 0.5), np.full(3, 0.3))


def shoot(scene: Scene, camera: Camera, size: int = 32) -> Frame:
    return render(scene, camera, LIGHT, size=size, rng=np.random.default_rng(0), noise=0)


def wall_at(y: float) -> Scene:
    scene = Scene()
    scene.box((-50, y, -50), (50, y + 1, 50), GREY, "wall")
    return scene


def test_depth_of_a_wall_is_its_distance_along_the_axis_in_every_pixel() -> None:
    frame = shoot(wall_at(3.0).build(), Camera.at((0, 0, 0), yaw=0, pitch=0, fov=1.2))
    assert frame.depth_m == pytest.approx(3.0, abs=1e-5)
    assert (frame.class_id == class_of("wall")).all()
    assert (frame.instance == 0).all()


def test_depth_of_the_floor_follows_the_pinhole_equation() -> None:
    scene = Scene()
    scene.box((-90, -90, -1), (90, 90, 0), GREY, "floor")
    height, pitch, fov, size = 1.4, -0.7, 0.9, 16
    frame = shoot(scene.build(), Camera.at((0, 0, height), yaw=0.3, pitch=pitch, fov=fov), size)
    row = (np.arange(size) + 0.5 - size / 2) / (size / 2) * math.tan(fov / 2)  # downwards
    drop = row * math.cos(pitch) - math.sin(pitch)  # of a ray with forward part 1
    assert frame.depth_m == pytest.approx(np.repeat((height / drop)[:, None], size, 1), rel=1e-4)


def test_sky_is_nothing_hit() -> None:
    frame = shoot(wall_at(3.0).build(), Camera.at((0, 0, 0), yaw=math.pi, pitch=0))
    assert (frame.depth_m == FAR_M).all()
    assert (frame.class_id == 0).all()


def test_turning_left_shows_what_is_left_and_up_shows_what_is_above() -> None:
    scene = Scene()
    left = scene.box((-5, 4, -0.5), (-4, 5, 0.5), GREY, "thing", is_instance=True)
    above = scene.box((-0.5, 4, 4), (0.5, 5, 5), GREY, "thing", is_instance=True)
    scene.build()
    middle = (slice(14, 18), slice(14, 18))
    assert (shoot(scene, Camera.at((0, 0, 0), yaw=math.pi / 4, pitch=0)).instance[middle] == left).all()
    assert (shoot(scene, Camera.at((0, 0, 0), yaw=0, pitch=math.pi / 4)).instance[middle] == above).all()


def test_instance_mask_of_a_box_covers_the_rectangle_it_projects_to() -> None:
    scene = wall_at(8.0)
    box = Model()
    box.box((0, 0, 0), (1.0, 1.0, 2.0))
    number = scene.add(box, [GREY], place=(0, 4.5, 0), class_name="table")
    size, fov = 64, math.pi / 2
    frame = shoot(scene.build(), Camera.at((0, 0, 0), yaw=0, pitch=0, fov=fov), size)
    # The front face lies at y = 4; half sizes 0.5 and 1 m project to 4 and 8 pixels around the centre.
    expected = np.zeros((size, size), bool)
    expected[24:40, 28:36] = True
    assert ((frame.instance == number) == expected).all()
    assert ((frame.class_id == class_of("table")) == expected).all()
    assert frame.depth_m[expected] == pytest.approx(4.0, abs=1e-5)


def test_moving_ahead_of_a_wall_spreads_the_flow_from_the_centre() -> None:
    size, fov, far, step = 32, 1.0, 4.0, 1.0
    scene = wall_at(far).build()
    before, after = (Camera.at((0, y, 0), yaw=0, pitch=0, fov=fov) for y in (0.0, step))
    flow = motion(shoot(scene, before, size), scene, before, after, size)
    offset = np.arange(size) + 0.5 - size / 2
    expected = offset * (far / (far - step) - 1)
    seen = np.abs(offset * far / (far - step)) < size / 2
    inside = np.ix_(seen, seen)
    assert flow[inside][..., 0] == pytest.approx(np.broadcast_to(expected[seen], (seen.sum(), seen.sum())), abs=2e-3)
    assert flow[inside][..., 1] == pytest.approx(
        np.broadcast_to(expected[seen][:, None], (seen.sum(), seen.sum())), abs=2e-3
    )
    outside = np.ones((size, size), bool)
    outside[inside] = False
    assert np.isnan(flow[outside]).all()


def test_sideways_motion_is_parallax_and_hidden_points_have_none() -> None:
    scene = wall_at(4.0)
    scene.box((0.2, 1.9, -9), (0.6, 2.0, 9), GREY, "thing")
    scene.build()
    size, fov, step = 32, 1.0, 0.5
    before, after = (Camera.at((x, 0, 0), yaw=0, pitch=0, fov=fov) for x in (0.0, step))
    frame = shoot(scene, before, size)
    flow = motion(frame, scene, before, after, size)
    per_m = size / (2 * math.tan(fov / 2))
    for depth in (1.9, 4.0):
        at = (np.abs(frame.depth_m - depth) < 0.01) & ~np.isnan(flow[..., 0])
        assert at.sum() > 20
        assert flow[at][:, 0] == pytest.approx(-step * per_m / depth, abs=1e-2)
        assert flow[at][:, 1] == pytest.approx(0, abs=1e-3)
    # From x = 0.5 the post hides the wall at -0.1 .. 0.7 m: part of it was in view before.
    wall_x = frame.point[..., 0]
    hidden = (frame.depth_m > 3) & (wall_x > -0.07) & (wall_x < 0.38)
    assert hidden.any()
    assert np.isnan(flow[hidden]).all()


@pytest.mark.parametrize(("yaw", "expected"), [(0.0, 2.0), (math.pi / 2, math.inf), (math.pi, math.inf)])
def test_free_path_to_a_wall(yaw: float, expected: float) -> None:
    assert free_path(wall_at(2.0).build(), np.zeros(3), yaw) == pytest.approx(expected)


def test_free_path_sees_edges_inside_the_corridor_and_nothing_beside_it() -> None:
    scene = Scene()
    scene.box((-9, -9, -1), (9, 9, 0), GREY, "floor")
    scene.box((0.15, 1.0, 0), (3, 2, 1), GREY, "thing")  # reaches 5 cm into a corridor of half width 0.2
    scene.build()
    assert free_path(scene, np.zeros(3), 0.0, half_width=0.2) == pytest.approx(1.0)
    assert free_path(scene, np.zeros(3), 0.0, half_width=0.14) == math.inf
    # Turned by 45 degrees, a long wall along x = 1 touches the corridor's outer side first.
    other = Scene()
    other.box((1, -9, 0), (2, 9, 3), GREY, "wall")
    reach = free_path(other.build(), np.zeros(3), -math.pi / 4, half_width=0.2)
    assert reach == pytest.approx(math.sqrt(2) - 0.2)


def test_shadow_falls_on_the_side_away_from_the_lamp() -> None:
    scene = Scene()
    scene.box((-9, -9, -1), (9, 9, 0), GREY, "floor")
    scene.box((-0.2, -0.2, 0), (0.2, 0.2, 1), GREY, "thing", is_instance=True)
    light = Light(np.array([3.0, 0.0, 3.0]), np.ones(3), np.full(3, 0.3), np.full(3, 0.3), radius=0.0)
    camera = Camera.at((0, 0, 8), yaw=0, pitch=-math.pi / 2, fov=0.5)
    image = render(scene.build(), camera, light, size=32, rng=np.random.default_rng(0), noise=0).image.mean(2)
    assert image[16, 8] < 0.8 * image[16, 24]  # x right in the image: left of the box lies its shadow


def test_all_models_stand_on_the_floor_and_have_human_sizes() -> None:
    for name in OBJECT_CLASSES:
        for seed in range(12):
            model = draw_model(name, np.random.default_rng(seed), is_test=seed % 2 == 0)
            low, high = model.bounds()
            assert -0.06 < low[2] < 0.05, name
            assert 0.35 < (high - low).max() < 2.6, name
            rough = model.coarse().bounds()
            assert np.abs(rough - model.bounds()).max() < 0.08, name


def test_every_design_is_of_one_side_and_every_option_is_on_both() -> None:
    for name, options in OPTIONS.items():
        drawn = {
            side: [draw_design(name, np.random.default_rng(k), is_test=side) for k in range(150)]
            for side in (True, False)
        }
        for side, designs in drawn.items():
            assert all(is_test_design(name, d) == side for d in designs)
            for key, values in options.items():
                assert {d[key] for d in designs} == set(values), (name, key, side)


def test_turned_and_scaled_normals_stay_normal() -> None:
    model = Model()
    model.ball((0, 0, 0), (1, 2, 3), turn=rotation(0.3, 0.4, 0.5))
    scene = Scene()
    scene.add(model, [GREY], scale=0.5)
    scene.build()
    flat = np.cross(scene.tri[:, 1] - scene.tri[:, 0], scene.tri[:, 2] - scene.tri[:, 0])
    smooth = scene.normal9.T.reshape(-1, 3, 3).mean(1)
    cosine = (flat * smooth).sum(1) / np.linalg.norm(flat, axis=1) / np.linalg.norm(smooth, axis=1)
    assert (np.abs(cosine) > 0.8).all()

"""Streets in daylight, and the image set made of them: depth outdoors."""

from __future__ import annotations

import math

import numpy as np
from virb.tasks.world.furniture import Rng, _u
from virb.tasks.world.models import draw_colours, draw_model, hsv_to_linear
from virb.tasks.world.objects import Example
from virb.tasks.world.render import Camera, Light, render
from virb.tasks.world.rooms import room_labels
from virb.tasks.world.scene import Material, Scene
from virb.tasks.world.shapes import Model
from virb.tasks.world.stage import draw_materials, draw_surface

_LENGTH_M = 26.0


def _house(scene: Scene, rng: Rng, side: int, front: float, y0: float, y1: float) -> None:
    """A house along the street: walls, rows of windows, a door, sometimes a pitched roof."""
    height, deep = _u(rng, 3.2, 8.5), 4.0
    m = Model()
    x = side * (front + deep / 2)
    m.box((x, (y0 + y1) / 2, height / 2), (deep, y1 - y0, height), 0)
    if rng.random() < 0.5:
        m.box((x, (y0 + y1) / 2, height + 0.7), (deep + 0.4, y1 - y0 + 0.2, 1.4), 2, top=(0.1, 1.0))
    face = side * (front - 0.02)
    columns = max(1, int((y1 - y0) / 2.0))
    for row in range(max(1, int(height / 2.7))):
        for k in range(columns):
            y = y0 + (k + 0.5) * (y1 - y0) / columns
            if row == 0 and k == 0:
                m.box((face, y, 1.0), (0.08, 0.9, 2.0), 3)
            else:
                m.box((face, y, 1.7 + 2.7 * row), (0.08, 1.0, 1.3), 1)
    wall = draw_surface(rng, patterned=0.35, vivid=0.5)
    glass, roof, door = draw_colours(rng, 3)
    scene.add(
        m,
        [wall, Material(glass * 0.3, gloss=0.6), Material(roof), Material(door)],
        class_name="wall",
        is_instance=False,
    )


def draw_street(rng: Rng, *, is_test: bool) -> Scene:
    """A street along +y, from y = -3 to 26 m, not yet built.

    Houses, pavements, parked and driving cars, people, trees. The class of road, pavement and grass is floor, that of
    houses wall.
    """
    scene = Scene()
    half, pavement = _u(rng, 2.6, 3.6), _u(rng, 1.2, 2.2)
    front = half + pavement + _u(rng, 0.0, 2.0)
    road = Material(draw_surface(rng, patterned=0, vivid=0.15).colour * _u(rng, 0.15, 1.0))
    kerb = draw_surface(rng, patterned=0.5, vivid=0.2)
    grass = Material(hsv_to_linear(np.array([_u(rng, 0.15, 0.4)]), np.array([0.5]), np.array([_u(rng, 0.3, 0.7)]))[0])
    paint = Material(np.full(3, 0.8))

    def put(
        model: Model,
        materials: list[Material],
        place: tuple[float, float, float],
        yaw: float,
        name: str,
        scale: float = 1,
    ) -> None:
        scene.add(model, materials, place=place, yaw=yaw, class_name=name, scale=scale, contact=0.35)

    scene.box((-40, -6, -0.2), (40, 60, -0.02), grass, "floor")
    scene.box((-half, -6, -0.1), (half, 40, 0), road, "floor")
    for sx in (-1, 1):
        low, high = sorted((sx * half, sx * (half + pavement)))
        scene.box((low, -6, -0.1), (high, 40, 0.1), kerb, "floor")
    stripe = _u(rng, 1.2, 2.2)
    offset = _u(rng, 0, 2 * stripe)
    for k in range(-1, 8):
        y = k * 2 * stripe + offset
        scene.box((-0.07, y, 0.0), (0.07, y + stripe, 0.006), paint, "floor")
    for side in (-1, 1):
        y = -4.0 + _u(rng, 0, 2)
        while y < _LENGTH_M:
            wide = _u(rng, 4.0, 8.0)
            if rng.random() < 0.85:
                seed = int(rng.integers(1 << 62))
                _house(scene, np.random.default_rng(seed), side, front, y, y + wide)
            y += wide + (_u(rng, 0.5, 4.0) if rng.random() < 0.4 else 0.0)
        for _ in range(int(rng.integers(1, 4))):
            y = _u(rng, 1.5, 20)
            kind = rng.random()
            if kind < 0.45:
                put(
                    draw_model("car", rng, is_test=is_test).coarse(),
                    draw_materials(rng, patterned=0),
                    (side * (half - 0.9), y, 0),
                    math.pi if side > 0 else 0.0,
                    "car",
                    scale=1.9,
                )
            elif kind < 0.7:
                put(
                    draw_model("person", rng, is_test=is_test).coarse(),
                    draw_materials(rng, patterned=0),
                    (side * (half + pavement * 0.5), y, 0.1),
                    float(rng.choice([0.0, math.pi])),
                    "person",
                )
            else:
                put(_tree(rng), _tree_colours(rng), (side * (half + pavement * 0.8), y, 0.1), 0.0, "plant")
    for side, yaw in ((-1, 0.0), (1, math.pi)):  # driving: towards us on the left, ahead of us on the right
        if rng.random() < 0.5:
            put(
                draw_model("car", rng, is_test=is_test).coarse(),
                draw_materials(rng, patterned=0),
                (side * half * 0.45, _u(rng, 6, 16), 0),
                yaw,
                "car",
                scale=1.9,
            )
            rng.random()  # a draw without use: without it every later one, and so every pixel of version 2, would change
    end = draw_surface(rng, patterned=0.3)
    scene.box(
        (-9, _LENGTH_M + 2, 0), (9, _LENGTH_M + 3, _u(np.random.default_rng(int(offset * 1e6)), 3, 8)), end, "wall"
    )
    return scene


def _tree(rng: Rng) -> Model:
    m = Model()
    tall = _u(rng, 1.4, 2.4)
    m.cylinder((0, 0, tall / 2), _u(rng, 0.08, 0.16), tall, 1, taper=0.7, segments=7)
    if rng.random() < 0.35:
        for k in range(3):
            m.cylinder((0, 0, tall * 0.6 + 0.7 * k + 0.5), 0.95 - 0.25 * k, 1.2, 0, taper=0.05, segments=9)
    else:
        for _ in range(3):
            m.ball(
                (_u(rng, -0.4, 0.4), _u(rng, -0.4, 0.4), tall + _u(rng, 0.1, 0.9)),
                _u(rng, 1.2, 1.8),
                0,
                segments=8,
                rings=6,
            )
    return m


def _tree_colours(rng: Rng) -> list[Material]:
    hue = np.array([_u(rng, 0.08, 0.42), 0.08])
    leaves, bark = hsv_to_linear(hue, np.array([_u(rng, 0.4, 0.8), 0.5]), np.array([_u(rng, 0.3, 0.75), 0.35]))
    return [Material(leaves, leaves * 0.5, "clouds" if rng.random() < 0.5 else "plain", 0.4), Material(bark)]


def day_light(rng: Rng) -> Light:
    """A sun, a sky of blue, white or evening, and some haze."""
    a, up = _u(rng, 0, 2 * math.pi), _u(rng, 0.35, 1.2)
    away = 200 * np.array([math.cos(a) * math.cos(up), math.sin(a) * math.cos(up), math.sin(up)])
    warm = _u(rng, 0, 1)
    hue = _u(rng, 0.52, 0.64) if rng.random() < 0.75 else _u(rng, 0.0, 0.1)
    zenith = hsv_to_linear(np.array([hue]), np.array([_u(rng, 0.1, 0.6)]), np.array([_u(rng, 0.7, 1.0)]))[0]
    horizon = 0.5 * zenith + 0.5
    # From a dark evening's sky to a white one: it must not always be the brightest thing in view.
    shown = _u(rng, 0.08, 1.1)
    sun = _u(rng, 0.4, 2.2) * np.array([1.0, 1.0 - 0.12 * warm, 1.0 - 0.3 * warm])
    return Light(
        away,
        sun,
        0.8 * zenith,
        0.35 * np.ones(3) * zenith.mean(),
        radius=4.0,
        sky=(shown * horizon, shown * zenith),
        fog_per_m=_u(rng, 0.0, 0.03),
        fog_colour=shown * horizon,
    )


def rooms_outdoor(rng: Rng, index: int, size: int, split: str) -> Example:
    """A street, seen from anywhere on it at a walker's height."""
    street = draw_street(rng, is_test=split == "test")
    street.build()
    camera = Camera.at(
        (_u(rng, -3.5, 3.5), _u(rng, -1.5, 6.0), _u(rng, 1.2, 1.9)),
        yaw=_u(rng, -0.7, 0.7),
        pitch=_u(rng, -0.3, 0.05),
        roll=float(rng.normal(0, 0.03)),
        fov=_u(rng, 0.9, 1.2),
    )
    return room_labels(render(street, camera, day_light(rng), size=size, rng=rng, brightness=_u(rng, 0.4, 0.65)))

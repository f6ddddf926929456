"""Halls with things of all twelve classes, seen from anywhere: what a room's layout does not tell beforehand.

In ``rooms`` the camera stands before the front wall at standing height, so that the floor is below and the far wall in the
middle of every picture: the median map of the training images is nearly as good a depth as any network's. Here the camera's
place, height, pitch, roll and lens, the size of the hall and what stands in it are all drawn anew.
"""

from __future__ import annotations

import math

import numpy as np
from virb.tasks.world.furniture import Rng, _u
from virb.tasks.world.interiors import _any_light, _glimpse
from virb.tasks.world.objects import Example
from virb.tasks.world.render import Camera, render
from virb.tasks.world.room import Room, shell
from virb.tasks.world.rooms import room_labels
from virb.tasks.world.scene import Scene
from virb.tasks.world.sets import OBJECT_CLASSES


def draw_hall(rng: Rng, *, is_test: bool) -> tuple[Room, list[tuple[float, float, float]]]:
    """Return a hall with five to nine things, each class as often as any other, not yet built; and the things' middles."""
    width, depth, height = _u(rng, 4.5, 9.0), _u(rng, 4.5, 9.0), _u(rng, 2.4, 4.2)
    room = Room(Scene(), rng, is_test, width, depth, height, 0.1)
    shell(room.scene, rng, width, depth, height, patterned=0.25)
    around = rng.uniform(-0.25, 0.25, 2) * [width, depth]
    names = rng.permutation(OBJECT_CLASSES)[: int(rng.integers(5, 10))]
    middles = []
    for name in names:
        model = room.model(str(name))
        for _ in range(12):
            x, y = around + rng.normal(0, 1.3, 2)
            if room.put(model, str(name), float(x), float(y), _u(rng, 0, 2 * math.pi)):
                low, high = model.bounds()
                middles.append((float(x), float(y), float(low[2] + high[2]) / 2))
                break
    return room, middles


def hall_camera(rng: Rng, room: Room, middles: list[tuple[float, float, float]]) -> Camera:
    """A camera at any height that sees one of the things, at any place of the picture; the scene must be built."""
    half = np.array([room.width, room.depth]) / 2 - 0.15
    camera = None
    for _ in range(60):
        x, y, z = middles[int(rng.integers(len(middles)))]
        angle, far = _u(rng, 0, 2 * math.pi), _u(rng, 1.0, 3.2)
        eye = np.array([x + far * math.sin(angle), y - far * math.cos(angle)])
        if (np.abs(eye) > half).any() or not room.is_free(*eye, 0.1, 0.1, margin=0.15):
            continue
        height = _u(rng, 0.25, min(2.6, room.height - 0.2))
        target = np.array([x, y, z]) + rng.normal(0, 0.25, 3) * far / 2
        camera = Camera.look((*eye, height), target, roll=float(rng.normal(0, 0.12)), fov=_u(rng, 0.7, 1.35))
        _, instances = _glimpse(room.scene, camera)
        if len(np.unique(instances)) > 2 and 0.25 < (instances > 0).mean() < 0.8:
            break
    if camera is None:
        camera = Camera.look((0.0, -half[1], 1.5), middles[0], fov=1.1)
    return camera


def halls(rng: Rng, index: int, size: int, split: str) -> Example:
    """A hall with things of several classes, from anywhere."""
    while True:
        room, middles = draw_hall(rng, is_test=split == "test")
        if len(middles) > 2:
            break
    room.scene.build()
    camera = hall_camera(rng, room, middles)
    return room_labels(
        render(room.scene, camera, _any_light(rng, room), size=size, rng=rng, brightness=_u(rng, 0.36, 0.6))
    )

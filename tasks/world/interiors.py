"""Image sets of rooms: scene type and pixel labels, free steps ahead, egomotion, and views to pretrain on."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from virb.tasks.world.furniture import Rng, _u
from virb.tasks.world.objects import Example
from virb.tasks.world.render import Camera, Light, free_path, motion, render
from virb.tasks.world.room import Room, shell
from virb.tasks.world.rooms import draw_room, room_camera, room_labels, room_light
from virb.tasks.world.scene import Material, Scene, class_of
from virb.tasks.world.sets import EGOMOTIONS, OBJECT_CLASSES, ROOM_KINDS
from virb.tasks.world.shapes import Model
from virb.tasks.world.stage import draw_light, draw_materials, draw_surface

STEP_M = 0.25


def rooms(rng: Rng, index: int, size: int, split: str) -> Example:
    """A furnished room; the class is its kind."""
    kind = index % len(ROOM_KINDS)
    room = draw_room(rng, kind, is_test=split == "test")
    room.scene.build()
    frame = render(
        room.scene, room_camera(rng, room), room_light(rng, room), size=size, rng=rng, brightness=_u(rng, 0.4, 0.62)
    )
    return {**room_labels(frame), "scene_id": np.array([kind], "i8")}


def rooms_dark(rng: Rng, index: int, size: int, split: str) -> Example:
    """A furnished room at night: one weak lamp near by, haze, and a noisy sensor."""
    room = draw_room(rng, index % len(ROOM_KINDS), is_test=split == "test", has_window=False)
    room.scene.build()
    lamp = np.array([_u(rng, -0.4, 0.4) * room.width, _u(rng, -0.35, 0.35) * room.depth, _u(rng, 0.9, 2.2)])
    warm = np.array([1.0, _u(rng, 0.6, 0.95), _u(rng, 0.35, 0.9)])
    veil = np.full(3, _u(rng, 0.0, 0.12))
    light = Light(
        lamp,
        1.6 * warm,
        0.1 * np.ones(3),
        0.06 * np.ones(3),
        radius=0.1,
        falloff=1.0,
        fog_per_m=_u(rng, 0.02, 0.15),
        fog_colour=veil,
    )
    frame = render(
        room.scene, room_camera(rng, room), light, size=size, rng=rng, brightness=_u(rng, 0.16, 0.3), noise=0.035
    )
    return room_labels(frame)


def pretrain_rooms(rng: Rng, index: int, size: int, split: str) -> Example:
    """Two views of one place: a room from the front as in ``rooms``, from anywhere or close to a thing, or a corridor."""
    if rng.random() < 0.15:
        return _corridor_views(rng, size)
    room = draw_room(
        rng, int(rng.integers(len(ROOM_KINDS))), is_test=False, patterned=0.12, spare=float(rng.choice([0.0, 0.0, 0.8]))
    )
    room.scene.build()
    light = room_light(rng, room)
    how = rng.random()
    views = []
    for _ in range(2):
        if how < 0.4:
            camera = room_camera(rng, room)
        elif how < 0.7 and room.taken[1:]:
            x, y, hx, hy = room.taken[1 + int(rng.integers(len(room.taken) - 1))]
            a, far = _u(rng, -1.0, 1.0), max(hx, hy) + _u(rng, 0.6, 1.3)
            eye = np.array([x + far * math.sin(a), y - far * math.cos(a)])
            eye = np.clip(
                eye, [-room.width / 2 + 0.15, -room.depth / 2 + 0.15], [room.width / 2 - 0.15, room.depth / 2 - 0.15]
            )
            camera = Camera.look(
                (*eye, _u(rng, 0.9, 1.7)),
                (x, y, _u(rng, 0.3, 0.7)),
                roll=float(rng.normal(0, 0.04)),
                fov=_u(rng, 0.8, 1.2),
            )
        else:
            camera = free_camera(rng, room, clear_m=0.6)
        views.append(render(room.scene, camera, light, size=size, rng=rng, brightness=_u(rng, 0.35, 0.65)).image)
    return {"images": np.stack(views)}


def _corridor_views(rng: Rng, size: int) -> Example:
    width, depth, height = _u(rng, 1.8, 2.8), _u(rng, 5.0, 8.0), _u(rng, 2.3, 2.8)
    room = Room(Scene(), rng, False, width, depth, height, 0.1)
    shell(room.scene, rng, width, depth, height, patterned=0.2)
    room.taken.append((0.0, 0.0, 0.35, depth / 2))  # the way through
    for _ in range(6):
        room.against(room.model(OBJECT_CLASSES[int(rng.integers(len(OBJECT_CLASSES)))]), "thing", ("left", "right"))
    room.scene.build()
    light = _any_light(rng, room)
    views = []
    for _ in range(2):
        eye = (_u(rng, -0.3, 0.3), _u(rng, -0.48, -0.1) * depth, _u(rng, 1.0, 1.7))
        camera = Camera.at(
            eye,
            yaw=_u(rng, -0.4, 0.4),
            pitch=_u(rng, -0.4, 0.0),
            roll=float(rng.normal(0, 0.03)),
            fov=_u(rng, 0.9, 1.3),
        )
        views.append(render(room.scene, camera, light, size=size, rng=rng, brightness=_u(rng, 0.35, 0.65)).image)
    return {"images": np.stack(views)}


def free_camera(rng: Rng, room: Room, *, clear_m: float) -> Camera:
    """A camera somewhere in the room with at least ``clear_m`` before it; the scene must be built."""
    for _ in range(40):
        x, y = _u(rng, -0.42, 0.42) * room.width, _u(rng, -0.42, 0.42) * room.depth
        if not room.is_free(x, y, 0.1, 0.1, margin=0.1):
            continue
        yaw = math.atan2(x - _u(rng, -1, 1), _u(rng, -1, 1) - y)  # towards the middle, roughly
        if free_path(room.scene, np.array([x, y, 0]), yaw) > clear_m:
            return Camera.at(
                (x, y, _u(rng, 1.1, 1.6)),
                yaw=yaw,
                pitch=_u(rng, -0.4, 0.05),
                roll=float(rng.normal(0, 0.03)),
                fov=_u(rng, 1.0, 1.35),
            )
    return room_camera(rng, room)


def sparse_room(rng: Rng, *, is_test: bool, n_things: int, patterned: float = 0.08) -> Room:
    """A room of any proportions with a few things of any class, not yet built: cheaper than a furnished one."""
    width, depth, height = _u(rng, 4.0, 5.5), _u(rng, 4.0, 5.5), _u(rng, 2.35, 2.8)
    room = Room(Scene(), rng, is_test, width, depth, height, patterned)
    shell(room.scene, rng, width, depth, height, patterned=patterned)
    for _ in range(n_things):
        model = room.model(OBJECT_CLASSES[int(rng.integers(len(OBJECT_CLASSES)))])
        name = "thing"
        if rng.random() < 0.5:
            room.against(model, name, ("back", "left", "right", "front"))
        else:
            room.somewhere(model, name)
    return room


def egomotion(rng: Rng, index: int, size: int, split: str) -> Example:
    """Two views, before and after one of five actions of the camera, each with its own tremor, noise and exposure.

    Actions: move ahead 0.35 to 0.6 m, rotate left or right 14 to 24 degrees, look up or down 10 to 17 degrees.
    """
    action = index % len(EGOMOTIONS)
    room = sparse_room(rng, is_test=split == "test", n_things=4)
    room.scene.build()
    for _ in range(60):
        x, y = _u(rng, -0.42, 0.42) * room.width, _u(rng, -0.42, 0.42) * room.depth
        yaw = math.atan2(x - _u(rng, -1, 1), _u(rng, -1, 1) - y)
        pose = {"yaw": yaw, "pitch": _u(rng, -0.3, 0.0), "roll": float(rng.normal(0, 0.03)), "fov": _u(rng, 1.0, 1.2)}
        z = _u(rng, 1.0, 1.6)
        before = Camera.at((x, y, z), **pose)
        # Something must show that has a place; a bare wall tells nothing.
        if (
            free_path(room.scene, np.array([x, y, 0]), yaw) > 1.1
            and 0.06 < (_glimpse(room.scene, before)[1] > 0).mean() < 0.6
        ):
            break
    shift, turn, tilt = 0.0, 0.0, 0.0
    if action == 0:
        shift = _u(rng, 0.35, 0.6)
    elif action in (1, 2):
        turn = math.radians(_u(rng, 14, 24)) * (1 if action == 1 else -1)
    else:
        tilt = math.radians(_u(rng, 10, 17)) * (1 if action == 3 else -1)
    tremor = rng.normal(0, 1, 6) * [0.015, 0.015, 0.012, 0.02, 0.02, 0.015]
    eye = np.array([x - math.sin(yaw) * shift, y + math.cos(yaw) * shift, z]) + tremor[:3]
    after = Camera.at(
        eye,
        yaw=yaw + turn + tremor[3],
        pitch=pose["pitch"] + tilt + tremor[4],
        roll=pose["roll"] + tremor[5],
        fov=pose["fov"],
    )
    light = _any_light(rng, room)
    level = _u(rng, 0.4, 0.6)
    views = [
        render(room.scene, c, light, size=size, rng=rng, brightness=level * _u(rng, 0.8, 1.2), noise=0.02)
        for c in (before, after)
    ]
    flow = motion(views[0], room.scene, before, after, size)
    return {
        "images": np.stack([v.image for v in views]),
        "action": np.array([action], "i8"),
        "flow_px": flow[None].astype("f2"),
    }


def _any_light(rng: Rng, room: Room) -> Light:
    """A lamp at any height and light from above or below: brightness shall not tell floor from ceiling."""
    where = np.array(
        [_u(rng, -0.45, 0.45) * room.width, _u(rng, -0.45, 0.45) * room.depth, _u(rng, 0.3, room.height - 0.1)]
    )
    light = draw_light(rng, where=where)
    if rng.random() < 0.5:
        light = replace(light, ambient_above=light.ambient_below, ambient_below=light.ambient_above)
    return light


def steps(rng: Rng, index: int, size: int, split: str) -> Example:
    """How often a plate 0.4 m wide, at the camera, can move 0.25 m straight ahead before it touches something (0 to 4).

    What blocks is a wall or an object of any kind, size and colour; other things stand beside the path. The free
    distance stays 3 cm clear of the next whole step, so that no label hangs on a hair. Height, pitch and lens vary.
    """
    n_free = index % 5
    while True:
        made = _steps_scene(rng, n_free, split == "test")
        if made is None:
            continue
        room, camera, blocker = made
        classes, instances = _glimpse(room.scene, camera)
        # What stands in the way must show: the object itself, or where the wall meets the floor.
        shows = (instances == blocker).mean() > 0.1 if blocker else (classes == class_of("floor")).mean() > 0.06
        if n_free == 0 or shows:
            break
    frame = render(room.scene, camera, _any_light(rng, room), size=size, rng=rng, brightness=_u(rng, 0.38, 0.62))
    return {"images": frame.image[None], "steps": np.array([n_free], "i8")}


def _glimpse(scene: Scene, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Classes and instances seen along a coarse grid of rays."""
    y, x = np.mgrid[0:16, 0:16].astype("f4") + np.float32(0.5)
    d = camera.directions(x.ravel(), y.ravel(), 16)
    hit = scene.embree.run(np.tile(camera.position.astype("f4"), (len(d), 1)), d, query="INTERSECT")
    prim = np.maximum(hit, 0)
    return np.where(hit >= 0, scene.class_id[prim], 0), np.where(hit >= 0, scene.instance[prim], 0)


def _steps_scene(rng: Rng, n_free: int, is_test: bool) -> tuple[Room, Camera, int] | None:
    width, depth, height = _u(rng, 3.6, 5.0), _u(rng, 3.6, 5.0), _u(rng, 2.35, 2.8)
    room = Room(Scene(), rng, is_test, width, depth, height, 0.15)
    tiles = None
    if rng.random() < 0.7:
        a, b = draw_surface(rng, patterned=0).colour, draw_surface(rng, patterned=0).colour
        tiles = Material(a, b, ("tiles", "checks", "wood")[int(rng.integers(3))], 0.25)
    shell(room.scene, rng, width, depth, height, patterned=0.15, floor=tiles)
    free = STEP_M * n_free + _u(rng, 0.04, 0.21) if n_free < 4 else _u(rng, 1.04, 2.2)
    yaw = _u(rng, -math.pi, math.pi)
    ahead, side = np.array([-math.sin(yaw), math.cos(yaw)]), np.array([math.cos(yaw), math.sin(yaw)])
    half = np.array([width, depth]) / 2
    # Distance from the origin to the walls for the nearer edge of the plate.
    to_wall = min(
        min((math.copysign(h, a) - e * s) / a for e in (-0.2, 0.2))
        for a, s, h in zip(ahead, side, half, strict=True)
        if abs(a) > 1e-6
    )
    by_wall = rng.random() < 0.25
    if by_wall:
        eye = ahead * (to_wall - free)
    else:
        eye = ahead * (to_wall - free - _u(rng, 0.5, 1.6)) + side * _u(rng, -0.5, 0.5)
    if (np.abs(eye) > half - 0.12).any():
        return None
    at = np.array([*eye, 0.0])
    blocker = 0
    if not by_wall:
        kind = int(rng.integers(len(OBJECT_CLASSES) + 6))
        model = room.model(OBJECT_CLASSES[kind]) if kind < len(OBJECT_CLASSES) else _block(rng)
        low, high = model.bounds()
        turn, across = _u(rng, 0, 2 * math.pi), _u(rng, -0.25, 0.25)
        alone = Scene()
        start = at[:2] + ahead * 3 + side * across - (low + high)[:2] / 2
        alone.add(model, draw_materials(rng), place=(*start, 0), yaw=turn)
        reach = free_path(alone.build(), at, yaw)
        if not math.isfinite(reach):
            return None
        where = start + ahead * (free - reach)
        blocker = room.scene.add(model, draw_materials(rng, patterned=0.3), place=(*where, 0), yaw=turn, contact=0.4)
    for _ in range(int(rng.integers(1, 4))):  # beside the path
        kind = int(rng.integers(len(OBJECT_CLASSES) + 8))
        model = room.model(OBJECT_CLASSES[kind]) if kind < len(OBJECT_CLASSES) else _block(rng)
        low, high = model.bounds()
        r = float(np.hypot(*(high - low)[:2])) / 2
        p = at[:2] + ahead * _u(rng, 0.3, 2.2) + side * (0.28 + r + _u(rng, 0, 0.5)) * rng.choice([-1, 1])
        if (np.abs(p) < half - 0.1).all():
            room.scene.add(
                model,
                draw_materials(rng, patterned=0.3),
                place=(*(p - (low + high)[:2] / 2), 0),
                yaw=_u(rng, 0, 2 * math.pi),
                contact=0.4,
            )
    room.scene.build()
    reach = free_path(room.scene, at, yaw)
    in_step = reach - STEP_M * n_free
    if in_step < 0.03 or (n_free < 4 and in_step > STEP_M - 0.03):
        return None
    camera = Camera.at(
        (*eye, _u(rng, 1.05, 1.35)),
        yaw=yaw,
        pitch=_u(rng, -0.8, -0.5),
        roll=float(rng.normal(0, 0.03)),
        fov=_u(rng, 1.25, 1.45),
    )
    return room, camera, blocker


def _block(rng: Rng) -> Model:
    """A plain solid of any size: a crate, a pillar, a drum, a wall's end."""
    m = Model()
    wide, tall = _u(rng, 0.2, 1.2), _u(rng, 0.3, 2.2)
    if rng.random() < 0.6:
        m.box((0, 0, tall / 2), (wide, _u(rng, 0.2, 0.9), tall))
    else:
        m.cylinder((0, 0, tall / 2), wide / 2, tall, taper=_u(rng, 0.6, 1.0), segments=14)
    return m

"""Rooms with complete sets of furniture, and the image sets made of them."""

from __future__ import annotations

import math

import numpy as np
from virb.tasks.world.furniture import Rng, _u
from virb.tasks.world.models import draw_colours, hsv_to_linear
from virb.tasks.world.objects import Example, labels
from virb.tasks.world.render import Camera, Frame, Light
from virb.tasks.world.room import Room, shell
from virb.tasks.world.scene import Material, Scene, class_of
from virb.tasks.world.shapes import Model, rotation
from virb.tasks.world.stage import draw_light, draw_materials, draw_surface


def _rug(room: Room, x: float, y: float) -> None:
    """A rug is floor: one can walk on it."""
    m = Model()
    if room.rng.random() < 0.35:
        m.cylinder((0, 0, 0.004), _u(room.rng, 0.6, 0.95), 0.008, segments=20)
    else:
        m.box((0, 0, 0.004), (_u(room.rng, 1.1, 1.8), _u(room.rng, 0.8, 1.3), 0.008))
    room.scene.add(
        m,
        [draw_surface(room.rng, patterned=0.4, vivid=0.9)],
        place=(x, y, 0),
        yaw=_u(room.rng, -0.1, 0.1),
        class_name="floor",
        is_instance=False,
    )


def _on_top(
    room: Room,
    base: Model,
    at: tuple[float, float, float],
    model: Model,
    name: str,
    materials: list[Material] | None = None,
) -> None:
    x, y, _ = at
    room.put(model, name, x, y, at[2], z=float(base.bounds()[1, 2]), takes=False, materials=materials)


def _screen(rng: Rng, wide: float) -> tuple[Model, list[Material]]:
    m = Model()
    tall = wide * 0.6
    m.box((0, 0, 0.1 + tall / 2), (wide, 0.05, tall), 0)
    m.box((0, -0.03, 0.1 + tall / 2), (wide * 0.93, 0.02, tall * 0.9), 1)
    m.cylinder((0, 0, 0.05), 0.04, 0.1, 0)
    m.box((0, 0, 0.01), (wide * 0.4, 0.18, 0.02), 0)
    lit = hsv_to_linear(rng.random(1), rng.uniform(0.1, 0.6, 1), np.array([0.9]))[0]
    return m, [
        Material(np.full(3, 0.02), gloss=0.3),
        Material(lit, lit * 0.2, "clouds", 0.2, emission=_u(rng, 0.0, 1.2)),
    ]


def _boxes(rng: Rng) -> Model:
    m = Model()
    z = 0.0
    for k in range(int(rng.integers(1, 4))):
        h, w = _u(rng, 0.22, 0.4), _u(rng, 0.32, 0.55)
        m.box((0, 0, z + h / 2), (w, w * _u(rng, 0.7, 1), h), k, turn=rotation(_u(rng, -0.3, 0.3)))
        z += h
    return m


def _units(rng: Rng, wide: float) -> tuple[Model, list[Material]]:
    """A kitchen's row of cupboards with a worktop, a cooker or a sink, and cupboards on the wall above."""
    m = Model()
    n = max(2, round(wide / 0.55))
    step = wide / n
    cooker = int(rng.integers(n))
    m.box((0, 0.02, 0.43), (wide, 0.54, 0.86), 0)
    m.box((0, 0, 0.89), (wide + 0.02, 0.62, 0.05), 2)
    for k in range(n):
        x = (k - (n - 1) / 2) * step
        if k == cooker:
            m.box((x, -0.26, 0.42), (step * 0.94, 0.04, 0.7), 3)
            m.box((x, -0.285, 0.4), (step * 0.7, 0.02, 0.3), 4)
            m.rod((x - step * 0.3, -0.31, 0.66), (x + step * 0.3, -0.31, 0.66), 0.015, 2)
            for sx in (-0.2, 0.2):
                for sy in (-0.13, 0.13):
                    m.cylinder((x + sx * step * 1.1, sy, 0.925), 0.08, 0.02, 4, segments=8)
        else:
            m.box((x, -0.26, 0.45), (step * 0.92, 0.03, 0.72), 1)
            m.box((x, -0.29, 0.74), (0.14, 0.03, 0.025), 2)
    if rng.random() < 0.85:
        for k in range(n):
            x = (k - (n - 1) / 2) * step
            if k == cooker:
                m.box((x, 0.1, 1.65), (step * 0.8, 0.36, 0.25), 3, top=(0.4, 0.6))
            else:
                m.box((x, 0.12, 1.72), (step, 0.34, 0.6), 0)
                m.box((x, -0.06, 1.72), (step * 0.92, 0.03, 0.55), 1)
    body, door, top = draw_colours(rng, 3)
    steel = np.full(3, _u(rng, 0.35, 0.7))
    return m, [
        Material(body),
        Material(door),
        Material(top, gloss=0.4),
        Material(steel, gloss=0.6),
        Material(np.full(3, 0.02), gloss=0.5),
    ]


def _fridge(rng: Rng) -> tuple[Model, list[Material]]:
    m = Model()
    h, split = _u(rng, 1.5, 1.9), _u(rng, 0.5, 0.7)
    m.box((0, 0.02, h / 2), (0.62, 0.58, h), 0)
    m.box((0, -0.29, split * h / 2), (0.6, 0.04, split * h - 0.03), 1)
    m.box((0, -0.29, (1 + split) * h / 2), (0.6, 0.04, (1 - split) * h - 0.03), 1)
    for z in (split * h * 0.75, split * h + 0.18):
        m.rod((0.24, -0.34, z - 0.13), (0.24, -0.34, z + 0.13), 0.018, 2)
    body = np.full(3, _u(rng, 0.5, 0.9)) if rng.random() < 0.6 else draw_colours(rng, 1)[0]
    return m, [Material(body * 0.85, gloss=0.4), Material(body, gloss=0.5), Material(np.full(3, 0.25), gloss=0.5)]


def _bedroom(r: Room) -> None:
    bed = r.model("bed")
    at = r.against(bed, "bed", ("back", "left", "right") if r.width > 4 else ("back",))
    table = r.model("cabinet", form="low")
    at2 = r.against(table, "cabinet")
    if at2:
        _on_top(r, table, at2, r.model("lamp", form="table"), "lamp")
    r.against(r.model("cabinet", form="tall"), "cabinet")
    if at:
        _rug(r, at[0] * 0.4, at[1] * 0.2)
    if r.rng.random() < 0.6:
        r.against(r.model("chair"), "chair")
    if r.rng.random() < 0.4:
        r.against(r.model("plant"), "plant")


def _living(r: Room) -> None:
    fabric = draw_materials(r.rng, patterned=r.patterned)
    sofa = r.model("sofa", seats=3)
    at = r.against(sofa, "sofa", materials=fabric)
    if at:
        x, y, yaw = at
        ahead = np.array([math.sin(yaw), -math.cos(yaw)])
        table = r.model("table", height="low")
        r.put(table, "table", x + ahead[0] * 1.15, y + ahead[1] * 1.15, yaw)
        _rug(r, x + ahead[0] * 1.2, y + ahead[1] * 1.2)
    if r.rng.random() < 0.6:
        r.against(r.model("sofa"), "sofa", materials=fabric)
    low = r.model("cabinet", form="low")
    at = r.against(low, "cabinet")
    if at:
        screen, ms = _screen(r.rng, _u(r.rng, 0.8, 1.1))
        _on_top(r, low, at, screen, "thing", ms)
    r.against(r.model("lamp", form=("floor", "tripod", "arc")[int(r.rng.integers(3))]), "lamp")
    if r.rng.random() < 0.6:
        r.against(r.model("shelf"), "shelf")
    if r.rng.random() < 0.7:
        r.against(r.model("plant"), "plant")


def _dining(r: Room) -> None:
    table = r.model("table", height="high")
    size = table.bounds()[1] - table.bounds()[0]
    yaw = 0.0 if r.rng.random() < 0.5 else math.pi / 2
    x, y = _u(r.rng, -0.5, 0.5), _u(r.rng, -0.1, 0.6)
    r.put(table, "table", x, y, yaw)
    model, ms = r.model("chair"), draw_materials(r.rng, patterned=r.patterned)
    n = 2 if size[0] > 1.15 else 1
    half = (model.bounds()[1] - model.bounds()[0])[1] / 2
    turn = rotation(yaw)
    for side in (-1, 1):
        for k in range(n):
            p = turn @ np.array([(k - (n - 1) / 2) * size[0] * 0.46, side * (size[1] / 2 + half * 0.75), 0])
            r.put(
                model,
                "chair",
                x + p[0],
                y + p[1],
                yaw + (math.pi if side < 0 else 0) + _u(r.rng, -0.15, 0.15),
                materials=ms,
                takes=False,
            )
        if r.rng.random() < 0.6:
            p = turn @ np.array([side * (size[0] / 2 + half * 0.75), 0, 0])
            r.put(
                model,
                "chair",
                x + p[0],
                y + p[1],
                yaw - side * math.pi / 2 + _u(r.rng, -0.15, 0.15),
                materials=ms,
                takes=False,
            )
    r.taken.append((x, y, size[:2].max() / 2 + 0.4, size[:2].max() / 2 + 0.4))
    pendant = Model()
    z = _u(r.rng, 1.5, 1.7)
    pendant.cylinder((0, 0, z), _u(r.rng, 0.18, 0.3), 0.22, 0, taper=_u(r.rng, 0.3, 0.8), segments=12)
    pendant.rod((0, 0, z), (0, 0, r.height), 0.012, 1)
    shade = draw_colours(r.rng, 1)[0]
    r.scene.add(
        pendant,
        [Material(shade, emission=_u(r.rng, 0, 1)), Material(np.full(3, 0.1))],
        place=(x, y, 0),
        class_name="lamp",
    )
    if r.rng.random() < 0.5:
        _rug(r, x, y)
    r.against(r.model("cabinet", form="low"), "cabinet")
    if r.rng.random() < 0.6:
        r.against(r.model("cabinet", form="tall"), "cabinet")
    if r.rng.random() < 0.5:
        r.against(r.model("plant"), "plant")


def _office(r: Room) -> None:
    for _ in range(2 if r.rng.random() < 0.4 else 1):
        desk = r.model("table", height="high")
        at = r.against(desk, "table")
        if at:
            screen, ms = _screen(r.rng, _u(r.rng, 0.5, 0.7))
            _on_top(r, desk, at, screen, "thing", ms)
            x, y, yaw = at
            ahead = np.array([math.sin(yaw), -math.cos(yaw)]) * _u(r.rng, 0.6, 0.75)
            r.put(
                r.model("chair"), "chair", x + ahead[0], y + ahead[1], yaw + math.pi + _u(r.rng, -0.5, 0.5), takes=False
            )
            r.taken.append((x + ahead[0], y + ahead[1], 0.35, 0.35))
    wood = draw_materials(r.rng, patterned=r.patterned)
    for _ in range(int(r.rng.integers(2, 4))):
        r.against(r.model("shelf"), "shelf", materials=wood)
    r.against(r.model("cabinet", form="low"), "cabinet")
    if r.rng.random() < 0.5:
        r.against(r.model("plant"), "plant")
    if r.rng.random() < 0.4:
        _rug(r, _u(r.rng, -0.4, 0.4), _u(r.rng, -0.3, 0.5))
    if r.rng.random() < 0.35:  # a table to meet at
        r.put(r.model("table"), "table", _u(r.rng, -0.5, 0.5), _u(r.rng, -0.2, 0.4), _u(r.rng, -0.2, 0.2))
    if r.rng.random() < 0.3:
        r.against(r.model("lamp"), "lamp")


def _kitchen(r: Room) -> None:
    for wall in (("back",), ("left",) if r.rng.random() < 0.5 else ("right",))[: 1 + int(r.rng.random() < 0.5)]:
        units, ms = _units(r.rng, _u(r.rng, 1.9, 2.8) if wall[0] == "back" else _u(r.rng, 1.5, 2.0))
        r.against(units, "cabinet", wall, gap=0.02, materials=ms)
    fridge, ms = _fridge(r.rng)
    r.against(fridge, "thing", gap=0.02, materials=ms, tries=25)
    table = r.model("table", height="high")
    x, y = _u(r.rng, -0.5, 0.5), _u(r.rng, -0.3, 0.3)
    if r.rng.random() < 0.7 and r.put(table, "table", x, y, 0.0):
        chair, ms = r.model("chair"), draw_materials(r.rng, patterned=r.patterned)
        half = float((table.bounds()[1] - table.bounds()[0])[0]) / 2 + 0.2
        for side in (-1, 1):
            r.put(chair, "chair", x + side * half, y, -side * math.pi / 2, materials=ms, takes=False)


def _garage(r: Room) -> None:
    car = r.model("car")
    ms = draw_materials(r.rng, patterned=0)
    for _ in range(6):
        if r.put(
            car,
            "car",
            _u(r.rng, -0.8, 0.8),
            _u(r.rng, -0.2, 0.6),
            _u(r.rng, -0.5, 0.5) + (math.pi if r.rng.random() < 0.5 else 0),
            materials=ms,
        ):
            break
    r.against(r.model("ladder"), "ladder", gap=0.02)
    steel = draw_materials(r.rng, patterned=0)
    for _ in range(int(r.rng.integers(1, 3))):
        r.against(r.model("shelf"), "shelf", materials=steel)
    for _ in range(int(r.rng.integers(2, 5))):
        brown = [
            Material(
                hsv_to_linear(np.array([_u(r.rng, 0.06, 0.1)]), np.array([0.5]), np.array([_u(r.rng, 0.5, 0.8)]))[0]
            )
            for _ in range(4)
        ]
        r.against(_boxes(r.rng), "thing", materials=brown)
    if r.rng.random() < 0.5:
        r.against(r.model("table", height="high"), "table")


_FURNISH = (_bedroom, _living, _dining, _office, _kitchen, _garage)


def draw_room(
    rng: Rng, kind: int, *, is_test: bool, patterned: float = 0.05, spare: float = 0.0, has_window: bool = True
) -> Room:
    """A furnished room of ``ROOM_KINDS[kind]``, not yet built; ``spare`` metres are added to its width and depth."""
    width, depth, height = _u(rng, 3.8, 4.6) + spare, _u(rng, 3.8, 4.8) + spare, _u(rng, 2.35, 2.7)
    scene = Scene()
    room = Room(scene, rng, is_test, width, depth, height, patterned)
    shell(scene, rng, width, depth, height, has_window=has_window)
    room.taken.append((0.0, -depth / 2, 0.5, 0.55))  # where the camera stands
    _FURNISH[kind](room)
    return room


def room_light(rng: Rng, room: Room, dim: float = 1.0) -> Light:
    """A lamp under the ceiling (sometimes light from the side, as through a window)."""
    x, y = _u(rng, -0.35, 0.35) * room.width, _u(rng, -0.4, 0.2) * room.depth
    return draw_light(rng, where=np.array([x, y, room.height - _u(rng, 0.1, 0.5)]), dim=dim)


def room_camera(rng: Rng, room: Room) -> Camera:
    """From before the front wall into the room, at standing height, with a wide lens."""
    eye = np.array([_u(rng, -0.36, 0.36) * room.width, -room.depth / 2 + _u(rng, 0.12, 0.35), _u(rng, 1.25, 1.75)])
    target = np.array([-0.2 * eye[0] + _u(rng, -0.85, 0.85), 0.28 * room.depth, _u(rng, 0.45, 0.8)])
    return Camera.look(eye, target, roll=float(rng.normal(0, 0.025)), fov=_u(rng, 1.15, 1.4))


def room_labels(frame: Frame) -> Example:
    """The image and all pixel labels of a view."""
    out = labels(frame)
    out["class_mask"] = frame.class_id[None]
    out["instance"] = frame.instance[None]
    out["floor"] = (frame.class_id == class_of("floor"))[None].astype("u1")
    return out

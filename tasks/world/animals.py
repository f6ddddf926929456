"""Image set of animals: eight kinds on one body plan, told apart by their parts and proportions."""

# ruff: noqa: RUF005  (a point plus a list of three numbers is numpy's addition, no concatenation)
from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from virb.tasks.world.designs import draw_design
from virb.tasks.world.furniture import Design, Rng, _u
from virb.tasks.world.models import draw_colours
from virb.tasks.world.objects import Example
from virb.tasks.world.render import render
from virb.tasks.world.scene import Material, Scene
from virb.tasks.world.sets import ANIMALS
from virb.tasks.world.shapes import Model, rotation
from virb.tasks.world.stage import backdrop, draw_light, frame_box

COAT, TRIM, DARK, HORN = range(4)  # slots: the coat; mane, face and ears; nose, eyes and hooves; horns and tusks


@dataclass(frozen=True)
class Plan:
    """Proportions of a kind in metres, each a range: neighbours overlap, so that no single one tells the kind."""

    length: tuple[float, float]
    girth: tuple[float, float]
    leg: tuple[float, float]
    leg_radius: tuple[float, float]  # as a share of the girth
    neck: tuple[float, float]
    neck_up: float  # angle over the horizon when it stands at ease, in radians
    head: tuple[float, float]
    snout: tuple[float, float]  # length and width as shares of the head's


PLANS = {
    "dog": Plan((0.6, 0.8), (0.22, 0.32), (0.3, 0.44), (0.14, 0.18), (0.14, 0.22), 0.8, (0.22, 0.28), (0.75, 0.42)),
    "pig": Plan((0.7, 0.9), (0.38, 0.48), (0.14, 0.24), (0.13, 0.17), (0.05, 0.1), 0.2, (0.3, 0.36), (0.5, 0.5)),
    "bull": Plan((0.85, 1.05), (0.38, 0.48), (0.34, 0.46), (0.13, 0.17), (0.14, 0.22), 0.4, (0.27, 0.33), (0.7, 0.62)),
    "horse": Plan((0.8, 1.0), (0.3, 0.4), (0.5, 0.64), (0.11, 0.15), (0.4, 0.54), 0.95, (0.22, 0.26), (1.25, 0.6)),
    "deer": Plan((0.65, 0.85), (0.24, 0.32), (0.46, 0.62), (0.1, 0.13), (0.32, 0.44), 1.0, (0.19, 0.23), (0.9, 0.45)),
    "rabbit": Plan((0.5, 0.62), (0.3, 0.38), (0.08, 0.14), (0.15, 0.2), (0.06, 0.1), 0.8, (0.26, 0.32), (0.35, 0.5)),
    "elephant": Plan((0.8, 1.0), (0.5, 0.62), (0.3, 0.44), (0.2, 0.24), (0.1, 0.16), 0.5, (0.38, 0.46), (0.2, 0.5)),
    "sheep": Plan((0.6, 0.78), (0.34, 0.44), (0.22, 0.34), (0.09, 0.12), (0.12, 0.2), 0.7, (0.2, 0.25), (0.7, 0.55)),
}

# Options of every kind, and one more that only it has: what it can look like besides its proportions.
_COMMON: dict[str, tuple[Any, ...]] = {
    "coat": ("plain", "patches", "spots", "bands"),
    "pose": ("stand", "walk", "graze", "alert"),
    "build": ("lean", "stout"),
}
_OWN: dict[str, dict[str, tuple[Any, ...]]] = {
    "dog": {"ears": ("pointed", "floppy")},
    "pig": {"ears": ("up", "hanging")},
    "bull": {"horns": ("up", "wide")},
    "horse": {"mane": ("upright", "falling")},
    "deer": {"tines": (2, 3)},
    "rabbit": {"ears": ("up", "back")},
    "elephant": {"trunk": ("down", "raised")},
    "sheep": {"horns": (False, True)},
}
OPTIONS = {kind: _COMMON | _OWN[kind] for kind in ANIMALS}


@dataclass(frozen=True)
class _Torso:
    """What a kind's own parts are fixed to: the model so far, its sizes, and the frames of neck, head and rump."""

    m: Model
    length: float
    girth: float
    z: float  # of the trunk's axis
    neck: tuple[np.ndarray, np.ndarray]  # both ends
    head: np.ndarray
    head_turn: np.ndarray
    size: float  # of the head
    snout: float
    rump: np.ndarray
    rng: Rng

    def at(self, x: float, y: float, z: float) -> np.ndarray:
        """A point in the head's frame, in units of the head: x to its left, -y to the nose."""
        return self.head + self.head_turn @ (self.size * np.array([x, y, z]))

    def rods(self, points: list[Any], radius: float, slot: int, *, end: float = 1.0) -> None:
        """A chain of rods whose radius goes down to the share ``end``."""
        n = len(points) - 1
        for k, (a, b) in enumerate(itertools.pairwise(points)):
            self.m.rod(a, b, radius * (1 + (end - 1) * k / n), slot, taper=0.85, has_caps=k == n - 1)


def _torso(kind: str, d: Design, rng: Rng) -> _Torso:
    """Trunk, four legs, neck, head and snout in the proportions of a kind."""
    plan, m = PLANS[kind], Model()
    stout = 1.12 if d["build"] == "stout" else 0.94
    length, girth, leg = _u(rng, *plan.length), stout * _u(rng, *plan.girth), _u(rng, *plan.leg) / stout
    z = leg + 0.42 * girth
    m.ball((0, 0, z), (0.92 * girth, length, girth), COAT, squareness=0.8, rings=8)
    m.ball((0, -0.27 * length, z), (0.9 * girth, 0.46 * length, 1.04 * girth), COAT)
    if kind != "rabbit":
        m.ball((0, 0.29 * length, z + 0.02 * girth), (0.92 * girth, 0.42 * length, girth), COAT)
        stride = _u(rng, 0.25, 0.45) if d["pose"] == "walk" else _u(rng, -0.05, 0.05)
        radius = _u(rng, *plan.leg_radius) * girth
        for sx in (-1, 1):
            for sy in (-1, 1):
                hip = np.array([sx * 0.27 * girth, sy * 0.34 * length, z - 0.1 * girth])
                swing = sx * sy * stride
                knee = hip + [0, 0.5 * leg * math.sin(swing) - 0.03, -0.55 * (hip[2])]
                foot = np.array([hip[0], hip[1] + leg * math.sin(swing), 0.0])
                m.rod(hip, knee, 1.2 * radius, COAT, taper=0.75, has_caps=False)
                m.rod(knee, foot, 0.95 * radius, COAT)
                m.cylinder(foot + [0, -0.2 * radius, 0.4 * radius], 1.25 * radius, 0.8 * radius, DARK, segments=8)
    up = {"graze": -0.75, "alert": plan.neck_up + 0.3, "walk": plan.neck_up - 0.2}.get(d["pose"], plan.neck_up)
    up += _u(rng, -0.15, 0.15)
    start = np.array([0, -0.4 * length, z + 0.18 * girth])
    reach = _u(rng, *plan.neck)
    if d["pose"] == "graze":
        reach = min(reach, 0.8 * start[2])
    look = _u(rng, -0.5, 0.5)
    along = rotation(0.4 * look) @ np.array([0, -math.cos(up), math.sin(up)])
    head = start + (reach + 0.04) * along
    size = _u(rng, *plan.head)
    head[2] = max(head[2], 0.55 * size)
    m.rod(start - 0.12 * along, head, 0.3 * girth if reach > 0.11 else 0.4 * girth, COAT, taper=0.6, has_caps=False)
    turn = rotation(look, {"graze": 0.75, "alert": 0.05}.get(d["pose"], 0.3) + _u(rng, -0.1, 0.1))
    m.ball(head, (0.82 * size, 0.95 * size, 0.9 * size), COAT, turn=turn, segments=10, rings=6)
    snout = plan.snout[0] * _u(rng, 0.85, 1.15)
    torso = _Torso(m, length, girth, z, (start, head), head, turn, size, snout, np.array([0, 0.48 * length, z]), rng)
    width = plan.snout[1] * size / 2
    m.rod(torso.at(0, -0.1, -0.1), torso.at(0, -0.4 - snout, -0.18), 1.15 * width, COAT, taper=0.75)
    for sx in (-1, 1):
        m.ball(torso.at(0.32 * sx, -0.32, 0.2), 0.15 * size, DARK, segments=6, rings=4)
    return torso


def _dog(t: _Torso, d: Design) -> None:
    t.m.ball(t.at(0, -0.42 - t.snout, -0.1), 0.2 * t.size, DARK, segments=6, rings=4)
    for sx in (-1, 1):
        if d["ears"] == "pointed":
            turn = t.head_turn @ rotation(roll=0.3 * sx)
            t.m.cylinder(t.at(0.3 * sx, 0.1, 0.6), 0.19 * t.size, 0.6 * t.size, TRIM, taper=0.0, turn=turn, segments=6)
        else:
            flap = t.size * np.array([0.16, 0.42, 0.75])
            t.m.ball(t.at(0.45 * sx, 0.05, 0.0), flap, TRIM, turn=t.head_turn, segments=8, rings=5)
    up = _u(t.rng, 0.3, 1.2)
    tip = t.rump + 0.32 * np.array([0, math.cos(up), math.sin(up)])
    t.rods([t.rump, (t.rump + tip) / 2 + [0, 0.05, -0.02], tip], 0.032, COAT, end=0.6)


def _pig(t: _Torso, d: Design) -> None:
    t.m.cylinder(
        t.at(0, -0.42 - t.snout, -0.18), 0.3 * t.size, 0.1 * t.size, TRIM,
        turn=t.head_turn @ rotation(pitch=math.pi / 2),
    )  # fmt: skip
    for sx in (-1, 1):
        up = 0.55 if d["ears"] == "up" else 0.3
        turn = t.head_turn @ rotation(pitch=0.5 if d["ears"] == "up" else 1.4, roll=0.5 * sx)
        t.m.cylinder(t.at(0.36 * sx, -0.05, up), 0.24 * t.size, 0.42 * t.size, TRIM, taper=0.05, turn=turn, segments=6)
    t.m.torus(t.rump + [0, 0.05, 0.1], 0.13, 0.3, COAT, turn=rotation(roll=math.pi / 2))


def _bull(t: _Torso, d: Design) -> None:
    t.m.ball((0, -0.26 * t.length, t.z + 0.35 * t.girth), t.girth * np.array([0.55, 0.9, 0.6]), COAT)
    t.m.ball(t.at(0, -0.4 - t.snout, -0.2), t.size * np.array([0.62, 0.3, 0.5]), TRIM, turn=t.head_turn)
    wide = d["horns"] == "wide"
    for sx in (-1, 1):
        bend, tip = ((0.95, 0.55), (1.3, 0.75)) if wide else ((0.75, 0.5), (0.7, 1.1))
        points = [t.at(0.25 * sx, 0.1, 0.35), t.at(bend[0] * sx, 0, bend[1]), t.at(tip[0] * sx, -0.15, tip[1])]
        t.rods(points, 0.12 * t.size, HORN, end=0.5)
        t.m.ball(t.at(0.55 * sx, 0.15, 0.1), t.size * np.array([0.5, 0.14, 0.24]), TRIM, segments=8, rings=5)
    end = np.array([0, t.rump[1] + 0.08, 0.45 * t.z])
    t.rods([t.rump + [0, 0, 0.12], t.rump + [0, 0.07, 0], end], 0.022, COAT)
    t.m.ball(end, (0.08, 0.08, 0.16), TRIM, segments=7, rings=5)


def _horse(t: _Torso, d: Design) -> None:
    t.m.ball(t.at(0, -0.38 - t.snout, -0.18), t.size * np.array([0.48, 0.4, 0.45]), DARK, turn=t.head_turn)
    low, high = t.neck
    across = np.array([0.0, 0.1, 0.06]) if d["mane"] == "upright" else np.array([0.05, 0.09, 0.0])
    for k in np.linspace(0, 1, 6):
        size = (0.05, 0.14, 0.16) if d["mane"] == "upright" else (0.1, 0.1, 0.24)
        t.m.ball(low + (high - low) * k + across, size, TRIM, segments=7, rings=4)
    for sx in (-1, 1):
        t.m.cylinder(t.at(0.25 * sx, 0.2, 0.55), 0.11 * t.size, 0.4 * t.size, COAT, taper=0.0, segments=6)
    out = _u(t.rng, 0.06, 0.2)
    t.rods([t.rump + [0, -0.03, 0.08], t.rump + [0, out, 0.02]], 0.04, TRIM)
    t.m.ball(t.rump + [0, out + 0.03, -0.22], (0.12, 0.13, 0.52), TRIM, segments=8, rings=6)


def _deer(t: _Torso, d: Design) -> None:
    t.m.ball(t.at(0, -0.42 - t.snout, -0.15), 0.22 * t.size, DARK, segments=6, rings=4)
    for sx in (-1, 1):
        stem = [(0.2, 0.1, 0.4), (0.55, 0.35, 1.0), (0.85, 0.3, 1.7), (0.8, -0.1, 2.2)]
        t.rods([t.at(sx * x, y, z) for x, y, z in stem], 0.09 * t.size, HORN, end=0.7)
        tines = [((0.5, 0.3, 0.9), (0.5, -0.35, 1.25)), ((0.8, 0.3, 1.6), (1.2, 0.4, 2.0)),
                 ((0.68, 0.33, 1.3), (1.0, -0.2, 1.7))]  # fmt: skip
        for (ax, ay, az), (bx, by, bz) in tines[: d["tines"]]:
            t.m.rod(t.at(sx * ax, ay, az), t.at(sx * bx, by, bz), 0.075 * t.size, HORN, taper=0.5)
        turn = t.head_turn @ rotation(roll=1.0 * sx)
        t.m.ball(t.at(0.6 * sx, 0.2, 0.3), t.size * np.array([0.2, 0.12, 0.6]), TRIM, turn=turn, segments=7, rings=5)
    t.m.ball(t.rump + [0, 0, 0.08], (0.09, 0.1, 0.15), TRIM, segments=7, rings=5)


def _rabbit(t: _Torso, d: Design) -> None:
    t.m.ball((0, 0.22 * t.length, 0.85 * t.z), t.girth * np.array([1.1, 1.05, 1.15]), COAT)
    for sx in (-1, 1):
        x = sx * 0.38 * t.girth
        t.m.ball((x, 0.22 * t.length, 0.6 * t.z), (0.35 * t.girth, 0.34, 0.3), COAT)
        t.m.ball((x, 0.06 * t.length, 0.03), (0.09, 0.3, 0.07), TRIM, segments=8, rings=5)
        t.m.rod((0.6 * x, -0.36 * t.length, t.z), (0.6 * x, -0.42 * t.length, 0), 0.05, COAT)
        turn = t.head_turn @ rotation(roll=_u(t.rng, 0.05, 0.35) * sx)
        back = -1.0 if d["ears"] == "back" else -0.15
        turn = turn @ rotation(pitch=back)
        root = t.at(0.2 * sx, 0.15, 0.3)
        tall = _u(t.rng, 1.2, 1.6) * t.size
        t.m.ball(
            root + turn @ np.array([0, 0, tall / 2]), (0.26 * t.size, 0.14 * t.size, tall), TRIM,
            turn=turn, segments=8, rings=6,
        )  # fmt: skip
    t.m.ball(t.rump + [0, 0.02, -0.02], 0.16, TRIM, segments=8, rings=5)


def _elephant(t: _Torso, d: Design) -> None:
    raised = d["trunk"] == "raised"
    path = (
        [(0, -0.3, -0.15), (0, -0.75, -0.4), (0, -1.1, -0.25), (0, -1.3, 0.15), (0, -1.3, 0.55)]
        if raised
        else [(0, -0.3, -0.15), (0, -0.65, -0.4), (0, -0.75, -0.8), (0, -0.75, -1.15), (0, -0.95, -1.35)]
    )
    points = [t.at(*p) for p in path]
    for p in points:
        p[2] = max(p[2], 0.05)
    t.rods(points, 0.2 * t.size, COAT, end=0.45)
    for sx in (-1, 1):
        turn = t.head_turn @ rotation(_u(t.rng, 0.35, 0.8) * sx)
        t.m.ball(t.at(0.68 * sx, 0.25, -0.05), t.size * np.array([0.85, 0.12, 1.15]), TRIM, turn=turn)
        t.rods(
            [t.at(0.22 * sx, -0.35, -0.3), t.at(0.3 * sx, -0.7, -0.55), t.at(0.3 * sx, -1.0, -0.5)], 0.08 * t.size, HORN
        )
    t.rods([t.rump + [0, 0, 0.05], t.rump + [0, 0.07, -0.25]], 0.025, COAT)


def _sheep(t: _Torso, d: Design) -> None:
    # Wool: tufts evenly spread over the trunk (a spiral), and one on the head.
    n, spin = 34, _u(t.rng, 0, 2 * math.pi)
    for k in range(n):
        y = 1 - 2 * (k + 0.5) / n
        a, r = spin + 2.4 * k, math.sqrt(1 - y * y)
        at = np.array([0.5 * t.girth * r * math.cos(a), 0.5 * t.length * y, 0.52 * t.girth * r * math.sin(a)])
        t.m.ball(at + [0, 0, t.z], _u(t.rng, 0.36, 0.46) * t.girth, COAT, segments=7, rings=4)
    t.m.ball(t.at(0, 0.2, 0.4), t.size * np.array([0.8, 0.8, 0.5]), COAT, segments=8, rings=5)
    t.m.rod(t.at(0, -0.1, -0.08), t.at(0, -0.45 - t.snout, -0.2), 0.36 * t.size, TRIM, taper=0.7)
    for sx in (-1, 1):
        t.m.ball(t.at(0.6 * sx, 0.1, 0.1), t.size * np.array([0.55, 0.2, 0.25]), TRIM, segments=8, rings=5)
        if d["horns"]:
            t.m.torus(
                t.at(0.5 * sx, 0.1, 0.25), 0.75 * t.size, 0.35, HORN, turn=t.head_turn @ rotation(roll=math.pi / 2)
            )
    t.m.ball(t.rump + [0, 0.03, -0.05], (0.1, 0.1, 0.2), COAT, segments=7, rings=5)


_PARTS: dict[str, Callable[[_Torso, Design], None]] = {
    "dog": _dog, "pig": _pig, "bull": _bull, "horse": _horse,
    "deer": _deer, "rabbit": _rabbit, "elephant": _elephant, "sheep": _sheep,
}  # fmt: skip


def draw_animal(kind: str, rng: Rng, *, is_test: bool) -> tuple[Model, list[Material]]:
    """A new individual of a kind, and its materials: any colours and any coat, whatever the kind."""
    design = draw_design(OPTIONS[kind], rng, is_test=is_test)
    torso = _torso(kind, design, rng)
    _PARTS[kind](torso, design)
    colours = draw_colours(rng, 5)
    pattern = {"plain": "plain", "patches": "clouds", "spots": "dots", "bands": "stripes"}[design["coat"]]
    mixed = colours[0] + _u(rng, 0.25, 0.7) * (colours[4] - colours[0])
    period = _u(rng, 0.25, 0.5) if pattern == "clouds" else _u(rng, 0.14, 0.24)
    coat = Material(colours[0], mixed, pattern, period, _u(rng, 0, math.pi), int(rng.integers(1 << 16)))
    trim = Material(colours[0] if rng.random() < 0.3 else colours[1])
    return torso.m, [coat, trim, Material(0.3 * colours[2]), Material(colours[3])]


def animals(rng: Rng, index: int, size: int, split: str) -> Example:
    """One animal on a floor before a wall, from any side; the class is ``index`` modulo the number of kinds."""
    class_id = index % len(ANIMALS)
    model, materials = draw_animal(ANIMALS[class_id], rng, is_test=split == "test")
    scene = Scene()
    instance = scene.add(model, materials, yaw=_u(rng, 0, 2 * math.pi), class_name="animal", contact=0.45)
    backdrop(scene, rng, away_from=materials[0].colour, patterned=0.06)
    scene.build()
    corners = scene.tri[scene.instance == instance].reshape(-1, 3)
    camera = frame_box(
        corners.min(0).astype("f8"), corners.max(0).astype("f8"), rng,
        fill=_u(rng, 0.88, 1.12), elevation=_u(rng, 0.05, 0.45), fov=_u(rng, 0.6, 0.9), off_centre=0.1,
    )  # fmt: skip
    frame = render(scene, camera, draw_light(rng), size=size, rng=rng, brightness=_u(rng, 0.36, 0.6), noise=0.008)
    return {
        "images": frame.image[None],
        "class_id": np.array([class_id], "i8"),
        "foreground": (frame.instance == instance)[None].astype("u1"),
    }

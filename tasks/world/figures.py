"""Parametric living things and vehicles: people, animals, plants, cars. Metres; the front faces -y."""

# ruff: noqa: RUF005  (a point plus a list of three numbers is numpy's addition, no concatenation)
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from virb.tasks.world.furniture import Design, Rng, _u
from virb.tasks.world.shapes import Model, lathe, rotation


@dataclass(frozen=True)
class Pose:
    """Joint angles of a person in radians: 0 hangs straight down; ``swing`` is forwards (-y), ``raise`` sideways."""

    arm_swing: tuple[float, float] = (0.0, 0.0)
    arm_raise: tuple[float, float] = (0.15, 0.15)
    elbow: tuple[float, float] = (0.2, 0.2)
    leg_swing: tuple[float, float] = (0.0, 0.0)
    knee: tuple[float, float] = (0.0, 0.0)
    bend: float = 0.0  # of the trunk, forwards
    head_turn: float = 0.0


@dataclass(frozen=True)
class Body:
    """Proportions and dress of one person; drawn once, posed often."""

    height: float
    girth: float
    outfit: str
    hair: str


def draw_body(d: Design, rng: Rng) -> Body:
    return Body(_u(rng, 1.45, 1.9), _u(rng, 0.85, 1.3), d["outfit"], d["hair"])


def _limb(
    m: Model,
    start: np.ndarray,
    swing: float,
    side: float,
    lengths: tuple[float, float],
    bend: float,
    radius: float,
    slots: tuple[int, int],
    turn: np.ndarray,
) -> np.ndarray:
    """Two jointed rods from ``start``; returns the far end."""
    point = start
    for length, angle, slot, r in zip(lengths, (swing, swing + bend), slots, (radius, radius * 0.85), strict=True):
        d = turn @ np.array([math.sin(side), -math.cos(side) * math.sin(angle), -math.cos(side) * math.cos(angle)])
        end = point + length * d
        m.rod(point, end, r, slot, taper=0.85, has_caps=False)
        m.ball(end, 2.1 * r, slot, segments=6, rings=4)
        point = end
    return point


def person_in_pose(body: Body, pose: Pose) -> Model:
    """Slots: 0 top, 1 trousers or skirt, 2 skin, 3 hair, 4 shoes. The lower foot stands on z = 0."""
    m = Model()
    h, g = body.height, body.girth
    thigh = calf = 0.245 * h
    drop = max(thigh * math.cos(s) + calf * math.cos(s - k) for s, k in zip(pose.leg_swing, pose.knee, strict=True))
    hip = np.array([0, 0, drop + 0.03 * h])
    trunk = rotation(pitch=pose.bend)
    leg_slots = {"trousers": (1, 1), "shorts": (1, 2), "skirt": (2, 2)}[body.outfit]
    for k, sx in enumerate((-1, 1)):
        start = hip + [sx * 0.052 * h * g, 0, 0]
        foot = _limb(
            m, start, pose.leg_swing[k], sx * 0.03, (thigh, calf), -pose.knee[k], 0.043 * h * g, leg_slots, np.eye(3)
        )
        m.ball(foot + [0, -0.03 * h, -0.005 * h], (0.06 * h, 0.14 * h, 0.05 * h), 4, segments=8, rings=5)
    chest = hip + trunk @ [0, 0, 0.17 * h]
    m.ball(
        hip + trunk @ np.array([0, 0, 0.03 * h]), (0.2 * h * g, 0.13 * h * g, 0.14 * h), 1, squareness=0.8, turn=trunk
    )
    m.ball(chest, (0.23 * h * g, 0.14 * h * g, 0.32 * h), 0, squareness=0.7, turn=trunk)
    if body.outfit == "skirt":
        m.cylinder(hip + [0, 0, -0.1 * h], 0.15 * h * g, 0.26 * h, 1, taper=0.6, segments=14)
    for k, sx in enumerate((-1, 1)):
        shoulder = hip + trunk @ np.array([sx * 0.125 * h * g, 0, 0.29 * h])
        m.ball(shoulder, 0.08 * h * g, 0, segments=8, rings=5)
        hand = _limb(
            m,
            shoulder,
            pose.arm_swing[k],
            sx * pose.arm_raise[k],
            (0.17 * h, 0.16 * h),
            pose.elbow[k],
            0.03 * h * g,
            (0, 2),
            trunk,
        )
        m.ball(hand, 0.06 * h, 2, segments=7, rings=5)
    neck = hip + trunk @ np.array([0, 0, 0.34 * h])
    look = trunk @ rotation(pose.head_turn)
    head = neck + trunk @ np.array([0, 0, 0.085 * h])
    m.rod(neck - [0, 0, 0.02 * h], head, 0.03 * h, 2)
    m.ball(head, (0.105 * h, 0.12 * h, 0.14 * h), 2, turn=look)
    m.ball(head + look @ np.array([0, -0.062 * h, -0.005 * h]), 0.026 * h, 2, segments=6, rings=4)
    if body.hair != "bald":
        m.ball(head + look @ np.array([0, 0.018 * h, 0.022 * h]), (0.118 * h, 0.115 * h, 0.125 * h), 3, turn=look)
        if body.hair == "long":
            m.ball(head + look @ np.array([0, 0.045 * h, -0.05 * h]), (0.12 * h, 0.06 * h, 0.2 * h), 3, turn=look)
        elif body.hair == "hat":
            m.cylinder(head + look @ np.array([0, 0, 0.05 * h]), 0.11 * h, 0.012 * h, 1, turn=look)
            m.cylinder(head + look @ np.array([0, 0, 0.085 * h]), 0.065 * h, 0.07 * h, 1, turn=look, taper=0.85)
    return m


def standing_pose(d: Design, rng: Rng) -> Pose:
    """A still pose of the kind that ``d["pose"]`` names."""
    s, e = _u(rng, 0.3, 0.6), _u(rng, 0.1, 0.6)
    if d["pose"] == "walk":
        return Pose((s, -s), (0.12, 0.12), (e, e), (-s, s), (0.2, 0.3))
    if d["pose"] == "wave":
        return Pose((0.0, 0.2), (_u(rng, 2.2, 2.8), 0.15), (0.2, e))
    if d["pose"] == "wide":
        return Pose((0, 0), (_u(rng, 0.9, 1.5), _u(rng, 0.9, 1.5)), (0.1, 0.1))
    return Pose((_u(rng, -0.2, 0.2), _u(rng, -0.2, 0.2)), (0.15, 0.2), (e, e))


def person(d: Design, rng: Rng) -> Model:
    return person_in_pose(draw_body(d, rng), standing_pose(d, rng))


def animal(d: Design, rng: Rng) -> Model:
    """Slots: 0 coat, 1 second colour (mane, ears, tail), 2 nose, 3 hooves. Four legs, the head towards -y."""
    m = Model()
    length, leg, girth = _u(rng, 0.55, 0.85), _u(rng, 0.25, 0.5), _u(rng, 0.22, 0.36)
    if d["body"] == "stout":
        girth, leg = girth * 1.35, leg * 0.75
    z = leg + girth / 2
    m.ball((0, 0, z), (girth, length, girth), 0, squareness=0.8, segments=12, rings=8)
    r, stride = girth * _u(rng, 0.12, 0.18), _u(rng, -0.25, 0.25)
    for sx in (-1, 1):
        for sy in (-1, 1):
            foot = np.array([sx * girth * 0.3, sy * length * 0.34 + sx * sy * stride * leg * 0.5, 0])
            m.rod(foot, (sx * girth * 0.28, sy * length * 0.34, z), r, 0)
            m.cylinder(foot + [0, -0.01, 0.03], r * 1.2, 0.06, 3)
    rise = {"long": _u(rng, 0.45, 0.75), "short": _u(rng, 0.08, 0.16), "medium": _u(rng, 0.2, 0.32)}[d["neck"]]
    base = np.array([0, -length * 0.4, z + girth * 0.2])
    head = base + [0, -0.12 - rise * 0.35, rise]
    m.rod(base, head, girth * 0.22, 0, taper=0.75)
    size = girth * _u(rng, 0.6, 0.75)
    m.ball(head, (size * 0.85, size * 1.2, size * 0.9), 0, segments=10, rings=6)
    m.ball(head + [0, -size * 0.65, -size * 0.15], (size * 0.5, size * 0.7, size * 0.45), 1, segments=8, rings=6)
    m.ball(head + [0, -size * 1.0, -size * 0.1], size * 0.2, 2, segments=6, rings=4)
    for sx in (-1, 1):
        at = head + [sx * size * 0.32, size * 0.2, size * 0.42]
        if d["ears"] == "pointed":
            m.cylinder(
                at + [0, 0, size * 0.15],
                size * 0.16,
                size * 0.5,
                1,
                taper=0.0,
                segments=6,
                turn=rotation(roll=sx * 0.3),
            )
        elif d["ears"] == "floppy":
            m.ball(
                at + [sx * size * 0.15, 0, -size * 0.3], (size * 0.16, size * 0.4, size * 0.75), 1, segments=8, rings=5
            )
        else:  # horns
            m.rod(at, at + [sx * size * 0.5, 0, size * 0.15], size * 0.1, 3)
            m.rod(
                at + [sx * size * 0.5, 0, size * 0.15],
                at + [sx * size * 0.6, -0.02, size * 0.6],
                size * 0.08,
                3,
                taper=0.3,
            )
    rump = np.array([0, length * 0.46, z + girth * 0.25])
    if d["tail"] == "up":
        m.rod(rump, rump + [0, 0.14, 0.28], 0.022, 1, taper=0.6)
    elif d["tail"] == "down":
        m.rod(rump, rump + [0, 0.1, -0.3], 0.022, 1)
        m.ball(rump + [0, 0.1, -0.3], (0.06, 0.06, 0.12), 1, segments=7, rings=5)
    else:
        m.ball(rump, 0.11, 1, segments=8, rings=5)
    return m


def plant(d: Design, rng: Rng) -> Model:
    """Slots: 0 leaves, 1 pot, 2 stem, 3 blossom."""
    m = Model()
    r, h = _u(rng, 0.14, 0.22), _u(rng, 0.2, 0.34)
    if d["pot"] == "square":
        m.box((0, 0, h / 2), (1.5 * r, 1.5 * r, h), 1, top=(1.25, 1.25))
    elif d["pot"] == "round":
        m.add(
            lathe([(0.0, 0), (r * 0.7, 0), (r * 1.05, h * 0.45), (r * 0.8, h * 0.9), (r * 0.9, h), (0, h * 0.92)]),
            (0, 0, 0),
            (1, 1, 1),
            1,
        )
    else:
        m.cylinder((0, 0, h / 2), r * 0.75, h, 1, taper=1.35, segments=14)
        m.cylinder((0, 0, h - 0.02), r * 1.08, 0.06, 1, segments=14)
    kind = d["foliage"]
    if kind in ("blades", "fan"):
        n = int(rng.integers(9, 15))
        for k in range(n):
            steep = _u(rng, 0.9, 1.35) if kind == "blades" else _u(rng, 0.35, 1.0)
            turn = rotation(2 * math.pi * k / n + _u(rng, -0.2, 0.2)) @ rotation(roll=-steep)
            m.leaf(
                (0, 0, h),
                _u(rng, 0.5, 0.85),
                _u(rng, 0.09, 0.2) * (1 if kind == "blades" else 1.6),
                turn,
                0,
                bend=_u(rng, 0.1, 0.6),
            )
    elif kind == "palm":
        trunk = _u(rng, 0.5, 0.9)
        m.rod((0, 0, h * 0.8), (0.05, 0.03, h + trunk), 0.04, 2, taper=0.7)
        for k in range(10):
            turn = rotation(2 * math.pi * k / 10 + _u(rng, -0.2, 0.2)) @ rotation(roll=-_u(rng, 0.1, 0.7))
            m.leaf((0.05, 0.03, h + trunk), _u(rng, 0.4, 0.6), 0.15, turn, 0, bend=_u(rng, 0.4, 0.8))
    elif kind == "tree":
        trunk = _u(rng, 0.35, 0.6)
        m.rod((0, 0, h * 0.8), (0, 0, h + trunk), 0.035, 2)
        for _ in range(int(rng.integers(3, 6))):
            m.ball(
                (_u(rng, -0.15, 0.15), _u(rng, -0.15, 0.15), h + trunk + _u(rng, 0, 0.3)),
                _u(rng, 0.28, 0.45),
                0,
                segments=10,
                rings=6,
            )
    elif kind == "cactus":
        tall = _u(rng, 0.5, 0.9)
        m.ball((0, 0, h + tall / 2), (0.2, 0.2, tall * 1.15), 0, squareness=0.7)
        for sx in (-1, 1):
            z = h + tall * _u(rng, 0.3, 0.6)
            m.rod((0, 0, z), (sx * 0.22, 0, z), 0.05, 0)
            m.ball((sx * 0.22, 0, z + 0.13), (0.11, 0.11, 0.34), 0, segments=9, rings=6)
        m.ball((0, 0, h + tall * 1.05), 0.1, 3, segments=7, rings=5)
    else:  # flowers
        for k in range(int(rng.integers(5, 8))):
            a, tall, out = k * 2.4, _u(rng, 0.3, 0.6), _u(rng, 0.05, 0.28)
            tip = np.array([out * math.cos(a), out * math.sin(a), h + tall])
            m.rod((0, 0, h), tip, 0.012, 2)
            m.ball(tip, (0.15, 0.15, 0.09), 3, segments=8, rings=5)
            m.leaf((0, 0, h), 0.35, 0.13, rotation(a + 0.5) @ rotation(roll=-_u(rng, 0.4, 1.0)), 0, bend=0.3)
    return m


def car(d: Design, rng: Rng) -> Model:
    """Slots: 0 paint, 1 glass, 2 tyres, 3 trim, 4 lights. A large toy: 1.5 to 2 m long, the bonnet towards -y."""
    m = Model()
    length, w = _u(rng, 1.5, 2.0), _u(rng, 0.68, 0.85)
    wheel, low = _u(rng, 0.15, 0.2), _u(rng, 0.12, 0.18)
    hood = _u(rng, 0.28, 0.36)
    z = low + hood / 2
    if d["corner"] == "rounded":
        m.ball((0, 0, z), (w, length, hood * 1.15), 0, squareness=0.3, segments=16, rings=8)
    else:
        m.box((0, 0, z), (w, length, hood), 0, top=(0.94, 0.97))
    top = low + hood
    cabin = {
        "sedan": (0.5, 0.03, 0.28),
        "hatch": (0.58, 0.18, 0.3),
        "van": (0.9, 0.04, 0.48),
        "pickup": (0.32, -0.1, 0.32),
        "jeep": (0.56, 0.16, 0.36),
        "truck": (0.25, -0.33, 0.42),
    }[d["form"]]
    share, shift, tall = cabin
    slant = (0.84, 0.66) if d["form"] in ("sedan", "hatch", "pickup") else (0.92, 0.9)
    centre = (0, shift * length, top + tall / 2 - 0.02)
    m.box(centre, (w * 0.9, share * length, tall), 1, top=slant)
    m.box((0, shift * length, top + tall - 0.03), (w * 0.9 * slant[0], share * length * slant[1], 0.05), 0)
    for sx in (-1, 1):  # pillars
        for sy in (-1, 0, 1):
            foot = (sx * w * 0.45, shift * length + sy * share * length * 0.49, top - 0.02)
            roof = (sx * w * 0.45 * slant[0], shift * length + sy * share * length * 0.49 * slant[1], top + tall - 0.03)
            m.rod(foot, roof, 0.025, 0, is_square=True)
    if d["form"] == "pickup":
        for sx in (-1, 1):
            m.box((sx * w * 0.44, length * 0.28, top + 0.06), (0.05, length * 0.42, 0.16), 0)
        m.box((0, length * 0.48, top + 0.06), (w * 0.9, 0.05, 0.16), 0)
    elif d["form"] == "truck":
        m.box((0, length * 0.14, top + 0.22), (w * 1.02, length * 0.66, 0.52), 3)
    elif d["form"] == "jeep":
        m.cylinder((0, length / 2 + 0.04, top + 0.02), wheel, 0.1, 2, turn=rotation(pitch=math.pi / 2))
    for sx in (-1, 1):
        for along in (-0.31, 0.31):
            turn = rotation(roll=math.pi / 2)
            m.cylinder((sx * w * 0.47, along * length, wheel), wheel, 0.14, 2, turn=turn, segments=14)
            m.cylinder((sx * w * 0.485, along * length, wheel), wheel * 0.55, 0.14, 3, turn=turn, segments=10)
        m.ball((sx * w * 0.34, -length / 2, z + 0.03), (0.13, 0.06, 0.1), 4, segments=8, rings=5)
        m.box((sx * w * 0.36, length / 2, z + 0.04), (0.12, 0.03, 0.08), 3)
    m.box((0, -length / 2 - 0.01, low + 0.05), (w * 0.95, 0.06, 0.09), 3)
    m.box((0, length / 2 + 0.01, low + 0.05), (w * 0.95, 0.06, 0.09), 3)
    return m

"""Parametric furniture: chairs, tables, shelves, lamps, sofas, beds, cabinets, ladders. Metres; the front faces -y."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from virb.tasks.world.shapes import Model, rotation

Design = dict[str, Any]
Rng = np.random.Generator


def _u(rng: Rng, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def chair(d: Design, rng: Rng) -> Model:
    m = Model()
    w, depth, seat = _u(rng, 0.40, 0.54), _u(rng, 0.40, 0.52), _u(rng, 0.40, 0.50)
    back, thick, leg = _u(rng, 0.35, 0.60), _u(rng, 0.04, 0.07), _u(rng, 0.017, 0.032)
    if d["seat"] == "round":
        m.cylinder((0, 0, seat - thick / 2), w / 2, thick, 0, segments=14)
    else:
        m.box((0, 0, seat - thick / 2), (w, depth, thick), 0)
        if d["seat"] == "cushion":
            m.ball((0, 0, seat + 0.02), (w * 0.98, depth * 0.98, 0.10), 2, squareness=0.4)
    x, y = w / 2 - leg, depth / 2 - leg
    low = seat - thick
    if d["legs"] == "four":
        splay = _u(rng, 0, 0.06)
        for sx in (-1, 1):
            for sy in (-1, 1):
                m.rod(
                    (sx * (x + splay), sy * (y + splay), 0),
                    (sx * x, sy * y, low),
                    leg,
                    1,
                    is_square=bool(rng.random() < 0.5),
                )
    elif d["legs"] == "star":
        m.cylinder((0, 0, low / 2 + 0.04), 0.03, low - 0.06, 1)
        for k in range(5):
            a = 2 * math.pi * k / 5
            m.rod((0, 0, 0.09), (0.28 * math.cos(a), 0.28 * math.sin(a), 0.06), 0.022, 1)
            m.ball((0.28 * math.cos(a), 0.28 * math.sin(a), 0.03), 0.06, 3, segments=6, rings=4)
    elif d["legs"] == "sled":
        for sx in (-1, 1):
            m.rod((sx * x, -y, 0), (sx * x, -y, low), leg, 1)
            m.rod((sx * x, y, 0), (sx * x, y, low), leg, 1)
            m.rod((sx * x, -y - leg, leg), (sx * x, y + leg, leg), leg, 1)
    else:  # pedestal
        m.cylinder((0, 0, low / 2), 0.05, low, 1, taper=0.7)
        m.cylinder((0, 0, 0.02), 0.21, 0.04, 1, taper=0.8)
    top, lean = seat + back, _u(rng, 0.03, 0.12)
    tilt = rotation(pitch=-math.atan2(lean, back))
    mid = (seat + top) / 2
    by = depth / 2 - 0.03 + lean / 2
    if d["back"] == "solid":
        m.box((0, by, mid), (w, 0.05, back), 0, turn=tilt, top=(_u(rng, 0.8, 1.05), 1))
    elif d["back"] == "padded":
        m.box((0, by + 0.03, mid), (w, 0.03, back), 1, turn=tilt)
        m.ball((0, by - 0.01, mid + 0.03), (w * 0.95, 0.12, back * 0.85), 2, squareness=0.4, turn=tilt)
    else:
        for sx in (-1, 1):
            m.rod((sx * x, depth / 2 - 0.03, seat), (sx * x, depth / 2 - 0.03 + lean, top), leg * 1.1, 1)
        m.box((0, depth / 2 - 0.03 + lean, top - 0.03), (w, 0.04, 0.08), 0)
        if d["back"] == "ladder":
            for t in (0.25, 0.5, 0.75):
                m.box((0, depth / 2 - 0.03 + lean * t, seat + back * t - 0.02), (w - 2 * leg, 0.025, 0.05), 0)
        else:  # spindles
            for across in (-0.5, 0.0, 0.5):
                m.rod(
                    (across * w * 0.62, depth / 2 - 0.03, seat),
                    (across * w * 0.62, depth / 2 - 0.03 + lean, top - 0.04),
                    0.016,
                    0,
                )
    if d["arms"]:
        h = seat + _u(rng, 0.18, 0.24)
        for sx in (-1, 1):
            m.box((sx * (w / 2 + 0.02), 0.0, h), (0.05, depth, 0.035), 0)
            m.rod((sx * (w / 2 + 0.02), -depth * 0.4, seat - 0.03), (sx * (w / 2 + 0.02), -depth * 0.4, h), 0.02, 1)
    return m


def table(d: Design, rng: Rng) -> Model:
    m = Model()
    w, depth = _u(rng, 0.85, 1.6), _u(rng, 0.65, 0.95)
    h = _u(rng, 0.42, 0.52) if d["height"] == "low" else _u(rng, 0.68, 0.80)
    thick, leg = _u(rng, 0.03, 0.07), _u(rng, 0.025, 0.05)
    if d["top"] == "round":
        w = depth = _u(rng, 0.75, 1.15)
        m.cylinder((0, 0, h - thick / 2), w / 2, thick, 0, segments=22)
    elif d["top"] == "oval":
        m.ball((0, 0, h - thick / 2), (w, depth, thick * 1.4), 0, squareness=0.8, segments=18, rings=6)
    else:
        m.box((0, 0, h - thick / 2), (w, depth, thick), 0)
    reach = 0.36 if d["top"] in ("round", "oval") else 0.5
    x, y, low = w * reach - 1.5 * leg, depth * reach - 1.5 * leg, h - thick
    if d["legs"] == "four":
        taper, is_square = _u(rng, 1.0, 1.6), bool(rng.random() < 0.6)
        for sx in (-1, 1):
            for sy in (-1, 1):
                m.rod((sx * x, sy * y, 0), (sx * x, sy * y, low), leg, 1, is_square=is_square, taper=taper)
        if d["top"] == "rectangle":
            m.box((0, 0, low - 0.04), (2 * x, 2 * y, 0.08), 1)
    elif d["legs"] == "pedestal":
        m.cylinder((0, 0, low / 2), 0.07, low, 1, taper=_u(rng, 0.6, 1.4))
        m.cylinder((0, 0, 0.025), 0.3 * min(w, depth), 0.05, 1, taper=0.6)
    elif d["legs"] == "trestle":
        for sx in (-1, 1):
            for sy in (-1, 1):
                m.rod((sx * x, sy * y, 0), (sx * x, sy * 0.08, low), leg * 0.9, 1, is_square=True)
        m.rod((-x, 0, h * 0.45), (x, 0, h * 0.45), leg * 0.7, 1, is_square=True)
    else:  # slabs
        for sx in (-1, 1):
            m.box((sx * x, 0, low / 2), (0.05, 2 * y, low), 1)
    if d["shelf"] and d["legs"] in ("four", "slabs"):
        m.box((0, 0, h * 0.3), (2 * x, 2 * y, 0.03), 0)
    return m


def shelf(d: Design, rng: Rng) -> Model:
    m = Model()
    w, depth, h = _u(rng, 0.65, 1.1), _u(rng, 0.26, 0.38), _u(rng, 1.2, 1.9)
    t = _u(rng, 0.025, 0.045)
    for sx in (-1, 1):
        if d["sides"] == "panels":
            m.box((sx * (w / 2 - t / 2), 0, h / 2), (t, depth, h), 0)
        else:
            for sy in (-1, 1):
                m.rod(
                    (sx * (w / 2 - t / 2), sy * (depth / 2 - t / 2), 0),
                    (sx * (w / 2 - t / 2), sy * (depth / 2 - t / 2), h),
                    t / 2,
                    1,
                    is_square=True,
                )
    if d["back"] == "closed":
        m.box((0, depth / 2 - 0.01, h / 2), (w - t, 0.02, h), 1)
    n = d["rows"]
    gap = (h - 0.08) / n
    for k in range(n + 1):
        m.box((0, 0, 0.06 + k * gap), (w - t, depth * 0.98, t), 0)
        if k == n or d["filling"] == "empty":
            continue
        floor = 0.06 + k * gap + t / 2
        if d["filling"] == "books":
            x = -w / 2 + t + 0.02
            while x < w / 2 - 0.14:
                thick, tall = _u(rng, 0.06, 0.11), gap * _u(rng, 0.5, 0.85)
                if rng.random() < 0.75:
                    m.box(
                        (x + thick / 2, 0.02, floor + tall / 2),
                        (thick * 0.92, depth * 0.7, tall),
                        int(rng.integers(2, 5)),
                    )
                x += thick
        else:
            for sx in (-1, 1):
                if rng.random() < 0.7:
                    tall = gap * _u(rng, 0.35, 0.65)
                    if rng.random() < 0.6:
                        m.box(
                            (sx * w * 0.23, 0, floor + tall / 2), (w * 0.3, depth * 0.7, tall), int(rng.integers(2, 5))
                        )
                    else:
                        m.cylinder(
                            (sx * w * 0.23, 0, floor + tall / 2),
                            w * 0.1,
                            tall,
                            int(rng.integers(2, 5)),
                            taper=_u(rng, 0.5, 1.2),
                        )
    return m


def lamp(d: Design, rng: Rng) -> Model:
    m = Model()
    h, r = (
        (_u(rng, 1.35, 1.75), _u(rng, 0.2, 0.3)) if d["form"] != "table" else (_u(rng, 0.5, 0.7), _u(rng, 0.16, 0.24))
    )
    tall = r * _u(rng, 0.9, 1.5)
    x = 0.0
    if d["form"] == "tripod":
        for k in range(3):
            a = 2 * math.pi * k / 3 + 0.4
            m.rod(
                (0.3 * math.cos(a), 0.3 * math.sin(a), 0), (0.03 * math.cos(a), 0.03 * math.sin(a), h - tall), 0.02, 1
            )
    elif d["form"] == "arc":
        x = _u(rng, 0.3, 0.5)
        m.cylinder((0, 0, 0.03), 0.18, 0.06, 1)
        points = [(x * (1 - math.cos(a)), 0.0, (h - tall) * math.sin(a) ** 0.7) for a in np.linspace(0, math.pi / 2, 7)]
        for start, end in itertools.pairwise(points):
            m.rod(start, end, 0.017, 1)
    elif d["form"] == "table":
        m.ball((0, 0, (h - tall) * 0.42), (r * 1.3, r * 1.3, (h - tall) * 0.85), 1)
        m.cylinder((0, 0, 0.015), r * 0.6, 0.03, 1)
        m.cylinder((0, 0, (h - tall) * 0.85), 0.02, (h - tall) * 0.4, 1)
    else:
        m.cylinder((0, 0, (h - tall) / 2), _u(rng, 0.015, 0.03), h - tall, 1)
        m.cylinder((0, 0, 0.02), _u(rng, 0.13, 0.2), 0.04, 1, taper=0.85)
    centre = (x, 0, h - tall / 2)
    if d["shade"] == "cone":
        m.cylinder(centre, r, tall, 0, taper=0.45, segments=16, has_caps=False)
    elif d["shade"] == "drum":
        m.cylinder(centre, r * 0.9, tall, 0, taper=0.9, segments=16, has_caps=False)
    elif d["shade"] == "globe":
        m.ball(centre, 1.5 * r, 0, segments=14, rings=8)
    else:  # dome
        m.cylinder((x, 0, h - tall * 0.65), r, tall * 0.3, 0, taper=0.85, segments=16, has_caps=False)
        m.cylinder((x, 0, h - tall * 0.3), r * 0.85, tall * 0.4, 0, taper=0.3, segments=16)
    m.ball((x, 0, h - tall * 0.6), 0.1, 2, segments=8, rings=5)
    return m


def sofa(d: Design, rng: Rng) -> Model:
    m = Model()
    n = d["seats"]
    seat_w = _u(rng, 0.55, 0.68)
    w, depth, seat, h = n * seat_w, _u(rng, 0.78, 0.95), _u(rng, 0.38, 0.46), _u(rng, 0.72, 0.92)
    arm = _u(rng, 0.14, 0.22)
    foot = 0.1 if d["base"] == "feet" else 0.02
    m.box((0, 0, (seat - 0.12 + foot) / 2), (w, depth, seat - 0.12 - foot), 0)
    if d["base"] == "feet":
        for sx in (-1, 1):
            for sy in (-1, 1):
                m.cylinder((sx * (w / 2 - 0.06), sy * (depth / 2 - 0.08), foot / 2), 0.03, foot, 3, taper=1.4)
    m.box((0, depth / 2 - 0.1, h / 2), (w, 0.2, h - 0.05), 0, top=(1, 0.8))
    for k in range(n):
        x = (k - (n - 1) / 2) * seat_w
        m.ball((x, -0.08, seat - 0.06), (seat_w * 1.0, depth - 0.16, 0.2), 1, squareness=0.3)
        if d["back"] == "cushions":
            m.ball(
                (x, depth / 2 - 0.26, seat + 0.19),
                (seat_w * 0.96, 0.24, 0.46),
                1,
                squareness=0.4,
                turn=rotation(pitch=-0.2),
            )
    if d["arms"] != "none":
        for sx in (-1, 1):
            x, top = sx * (w / 2 + arm / 2), seat + _u(rng, 0.14, 0.2)
            m.box((x, 0, top / 2 + foot / 2), (arm, depth, top - foot), 0)
            if d["arms"] == "round":
                m.cylinder((x, 0, top), arm * 0.6, depth, 0, turn=rotation(pitch=math.pi / 2))
    if d["pillow"]:
        for _ in range(int(rng.integers(1, 3))):
            m.ball(
                (_u(rng, -w / 3, w / 3), 0.05, seat + 0.2),
                (0.38, 0.16, 0.36),
                2,
                squareness=0.5,
                turn=rotation(_u(rng, -0.4, 0.4), -0.4, _u(rng, -0.5, 0.5)),
            )
    return m


def bed(d: Design, rng: Rng) -> Model:
    m = Model()
    n = d["pillows"]
    w, length, h = (_u(rng, 0.9, 1.1) if n == 1 else _u(rng, 1.4, 1.7)), _u(rng, 1.85, 2.05), _u(rng, 0.34, 0.5)
    head = h + _u(rng, 0.3, 0.6)
    if d["base"] == "plinth":
        m.box((0, 0, (h - 0.14) / 2), (w, length, h - 0.16), 0)
    else:
        m.box((0, 0, h - 0.21), (w, length, 0.12), 0)
        for sx in (-1, 1):
            for sy in (-1, 1):
                m.rod(
                    (sx * (w / 2 - 0.05), sy * (length / 2 - 0.05), 0),
                    (sx * (w / 2 - 0.05), sy * (length / 2 - 0.05), h - 0.15),
                    0.04,
                    0,
                    is_square=True,
                )
    m.ball((0, 0, h - 0.05), (w * 0.99, length * 0.99, 0.26), 3, squareness=0.2)
    for k in range(n):
        m.ball(
            ((k - (n - 1) / 2) * w * 0.46, length / 2 - 0.27, h + 0.11),
            (min(0.62, w * 0.72), 0.4, 0.18),
            2,
            squareness=0.5,
        )
    cover = 0.68 if d["blanket"] == "most" else 0.42
    m.ball((0, -length / 2 + length * cover / 2 - 0.01, h - 0.03), (w * 1.05, length * cover, 0.31), 1, squareness=0.2)
    y = length / 2 + 0.03
    if d["head"] == "panel":
        m.box((0, y, head / 2), (w * 1.04, 0.07, head), 0, top=(_u(rng, 0.8, 1.0), 1))
    elif d["head"] == "padded":
        m.ball((0, y, head * 0.55), (w * 1.06, 0.18, head * 0.9), 1, squareness=0.3)
    elif d["head"] == "bars":
        for x in np.linspace(-w / 2, w / 2, 6):
            m.rod((x, y, 0.1), (x, y, head), 0.02, 0)
        m.rod((-w / 2, y, head), (w / 2, y, head), 0.035, 0)
    if d["foot"]:
        m.box((0, -y, (h + 0.12) / 2), (w * 1.04, 0.06, h + 0.12), 0)
    return m


def cabinet(d: Design, rng: Rng) -> Model:
    m = Model()
    if d["form"] == "tall":
        w, depth, h = _u(rng, 0.7, 1.1), _u(rng, 0.42, 0.58), _u(rng, 1.45, 1.95)
    else:
        w, depth, h = _u(rng, 0.9, 1.5), _u(rng, 0.38, 0.52), _u(rng, 0.7, 1.0)
    foot = _u(rng, 0.1, 0.16) if d["base"] == "feet" else 0.05
    m.box((0, 0, (h + foot) / 2), (w, depth, h - foot), 0)
    m.box((0, -0.01, h + 0.015), (w + 0.06, depth + 0.06, 0.03), 2 if rng.random() < 0.5 else 0)
    if d["base"] == "feet":
        for sx in (-1, 1):
            for sy in (-1, 1):
                m.rod(
                    (sx * (w / 2 - 0.05), sy * (depth / 2 - 0.05), 0),
                    (sx * (w / 2 - 0.05), sy * (depth / 2 - 0.05), foot),
                    0.03,
                    2,
                )
    else:
        m.box((0, 0.03, foot / 2), (w * 0.96, depth * 0.9, foot), 2)

    def front(cx: float, cz: float, fw: float, fh: float, knob_x: float, knob_z: float) -> None:
        m.box((cx, -depth / 2 - 0.012, cz), (fw - 0.035, 0.03, fh - 0.035), 1)
        if d["handle"] == "knob":
            m.ball((cx + knob_x, -depth / 2 - 0.05, cz + knob_z), 0.06, 3, segments=7, rings=5)
        else:
            along = np.array([0.1, 0, 0]) if knob_x == 0 else np.array([0, 0, 0.12])
            at = np.array([cx + knob_x, -depth / 2 - 0.05, cz + knob_z])
            m.rod(at - along, at + along, 0.016, 3)

    space = h - foot
    layout = d["front"]
    split = foot + (0.4 * space if layout == "mixed" else 0)
    if layout in ("drawers", "mixed"):
        n, top = (3 if d["form"] == "low" else 5, h) if layout == "drawers" else (2, split)
        fh = (top - foot) / n
        for k in range(n):
            front(0, foot + fh * (k + 0.5), w, fh, 0.0, 0.0)
    if layout in ("doors", "mixed"):
        for sx in (-1, 1):
            front(
                sx * w / 4,
                (split + h) / 2 if layout == "mixed" else foot + space / 2,
                w / 2,
                h - (split if layout == "mixed" else foot),
                -sx * (w / 4 - 0.07),
                0.0,
            )
    if layout == "single":
        front(0, foot + space / 2, w, space, w / 2 - 0.1, 0.0)
    return m


def ladder(d: Design, rng: Rng) -> Model:
    m = Model()
    h, w, n = _u(rng, 1.2, 1.9), _u(rng, 0.34, 0.5), int(rng.integers(4, 8))
    r = _u(rng, 0.02, 0.034)
    is_square = d["rail"] == "square"

    def flight(foot_y: float, top_y: float, foot_w: float, top_w: float, has_rungs: bool) -> None:
        for sx in (-1, 1):
            m.rod((sx * foot_w / 2, foot_y, 0), (sx * top_w / 2, top_y, h), r, 0, is_square=is_square)
        for k in range(n):
            t = (k + 0.7) / (n + 0.3)
            y, z, half = foot_y + t * (top_y - foot_y), t * h, 0.5 * (foot_w + t * (top_w - foot_w))
            if not has_rungs:
                continue
            if d["rung"] == "tread":
                m.box((0, y, z), (2 * half, 0.12, 0.03), 1)
            else:
                m.rod((-half, y, z), (half, y, z), r * 0.8, 1)

    top_w = w * (_u(rng, 0.6, 0.85) if d["sides"] == "tapered" else 1.0)
    if d["form"] == "steps":
        flight(-0.34, 0.0, w, top_w, True)
        flight(0.38, 0.03, w, top_w, False)
        m.box((0, 0.01, h), (top_w + 0.08, 0.2, 0.04), 1)
        m.rod((-w * 0.45, 0.3, h * 0.3), (w * 0.45, 0.3, h * 0.3), r * 0.7, 0)
    elif d["form"] == "double":
        flight(-0.36, 0.0, w, top_w, True)
        flight(0.36, 0.0, w, top_w, True)
    else:  # a straight one, leaning
        flight(-0.12, 0.12, w, top_w, True)
    return m

"""What is built on a piece of land: houses, industry, fields, orchards, rivers and motorways."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from virb.tasks.world.furniture import Design, Rng, _u
from virb.tasks.world.shapes import Model, rotation

# Slots of the one model a site is: its materials are drawn anew for each image, whatever the kind of land.
GROUND, ROAD, ROOF, ROOF2, WALL, LEAF, LEAF2, MARK, PAINT, PAINT2, WATER, BANK = range(12)
N_PARCELS = 8  # materials of fields, in the slots from FIRST_PARCEL
FIRST_PARCEL = 12


@dataclass
class Site:
    """A piece of land being built, and the square of it that the camera sees."""

    m: Model
    rng: Rng
    heading: float
    centre: tuple[float, float]
    half: float  # of the side of the square in view
    bend: float  # 1 over the radius of the circle that x runs along; 0: straight
    is_free: Callable[[float, float], bool] = field(default=lambda x, y: True)  # for what is scattered

    def place(self, s: float, t: float) -> tuple[float, float, float]:
        """Where the point s along and t across the layout's lines lies, and how far it is turned there."""
        if not self.bend:
            return s, t, 0.0
        r = 1 / self.bend
        a = s / r
        return (r - t) * math.sin(a), r - (r - t) * math.cos(a), a

    def sees(self, x: float, y: float, margin: float = 1.0) -> bool:
        dx, dy = x - self.centre[0], y - self.centre[1]
        c, s = math.cos(self.heading), math.sin(self.heading)
        return max(abs(dx * c + dy * s), abs(dy * c - dx * s)) < self.half + margin

    @property
    def reach(self) -> float:
        """Half the side of an upright square that holds what is seen."""
        return 1.42 * self.half + 1.5

    def steps(self, spacing: float) -> np.ndarray:
        """Evenly spaced places over the reach, from a random start."""
        return np.arange(-self.reach + _u(self.rng, 0, spacing), self.reach, spacing)

    def box(
        self, s: float, t: float, size: Sequence[float], slot: int, *, z: float = 0.0, yaw: float = 0.0, **form: Any
    ) -> bool:
        """A box standing at height z on the layout's point (s, t); False where it is out of view."""
        x, y, turn = self.place(s, t)
        seen = self.sees(x, y, 0.6 * max(size[0], size[1]))
        if seen:
            self.m.box((x, y, z + size[2] / 2), size, slot, turn=rotation(turn + yaw), **form)
        return seen

    def line(self, t: float, width: float, slot: int, *, z: float) -> None:
        """A flat band along the layout's line t, through all the view."""
        if not self.bend:
            self.m.box((0, t, z), (4 * self.reach, width, 0.01), slot)
        else:
            self.ribbon([self.place(s, t)[:2] for s in np.linspace(-1.3, 1.3, 22) * self.reach], width, slot, z=z)

    def cross(self, s: float, width: float, slot: int, *, z: float) -> None:
        """A flat band across the layout's lines."""
        x, y, turn = self.place(s, 0.0)
        self.m.box((x, y, z), (width, 4 * self.reach, 0.01), slot, turn=rotation(turn))

    def ribbon(self, points: Sequence[Any], width: float, slot: int, *, z: float, thick: float = 0.01) -> None:
        """A band through points, of short boxes that overlap."""
        for (ax, ay), (bx, by) in itertools.pairwise(points):
            x, y, dx, dy = (ax + bx) / 2, (ay + by) / 2, bx - ax, by - ay
            length = math.hypot(dx, dy)
            if self.sees(x, y, length + width):
                self.m.box((x, y, z), (length + 0.12 * width, width, thick), slot, turn=rotation(math.atan2(dy, dx)))

    def tree(self, x: float, y: float, radius: float, slot: int = LEAF) -> None:
        if self.sees(x, y, 2 * radius):
            size = (2 * radius, 2 * radius, 2.2 * radius)
            self.m.ball((x, y, 1.1 * radius), size, slot, segments=6, rings=3)

    def leaf(self) -> int:
        return LEAF if self.rng.random() < 0.6 else LEAF2

    def car(self, s: float, t: float, *, yaw: float = 0.0, z: float = 0.0, length: float = 0.42) -> None:
        slot = (PAINT, PAINT2, MARK)[int(self.rng.integers(3))]
        self.box(s, t, (length, 0.2, 0.17 if length < 0.6 else 0.36), slot, z=z, yaw=yaw)


def _house(site: Site, s: float, t: float, w: float, d: float, roof: str, yaw: float) -> None:
    wall = _u(site.rng, 0.22, 0.42)
    if not site.box(s, t, (w, d, wall), WALL, yaw=yaw):
        return
    slot = ROOF if site.rng.random() < 0.65 else ROOF2
    if roof == "flat":
        site.box(s, t, (1.06 * w, 1.06 * d, 0.06), slot, z=wall, yaw=yaw)
        site.box(s + 0.15 * w, t, (0.25 * w, 0.3 * d, 0.1), WALL, z=wall + 0.06, yaw=yaw)
    else:
        top = (1.0, 0.05) if roof == "gable" else (0.45, 0.05)
        site.box(s, t, (1.12 * w, 1.15 * d, _u(site.rng, 0.6, 0.85) * d), slot, z=wall, yaw=yaw, top=top)


def _houses(site: Site, d: Design) -> None:
    """Rows of houses on both sides of parallel streets, with gardens behind."""
    rng = site.rng
    depth, street = _u(rng, 1.25, 1.6), _u(rng, 0.45, 0.65)
    spacing = {"detached": _u(rng, 1.3, 1.7), "pairs": _u(rng, 1.9, 2.3), "terraces": _u(rng, 3.4, 4.4)}[d["plan"]]
    w = {"detached": 0.95, "pairs": 1.35, "terraces": 0.82 * spacing}[d["plan"]] * _u(rng, 0.9, 1.1)
    deep = _u(rng, 0.6, 0.75)
    for t in site.steps(2 * depth + street):
        site.line(t, street, ROAD, z=0.012)
        for side in (-1, 1):
            house = t + side * (street / 2 + 0.3 + deep / 2)
            back = t + side * (street / 2 + depth - 0.12)
            for s in site.steps(spacing):
                x, y, _ = site.place(s, house)
                if not site.sees(x, y, 0.6 * spacing) or rng.random() < 0.08:
                    continue
                shift, yaw = _u(rng, -0.08, 0.08), 0.0
                if d["plan"] == "detached" and rng.random() < 0.3:
                    yaw = math.pi / 2
                _house(site, s, house + shift, w * _u(rng, 0.9, 1.1), deep, d["roof"], yaw)
                x, y, _ = site.place(s + _u(rng, -0.4, 0.4) * spacing, back)
                if d["garden"] == "trees" and rng.random() < 0.7:
                    site.tree(x, y, _u(rng, 0.18, 0.36), site.leaf())
                elif d["garden"] == "sheds" and rng.random() < 0.5:
                    site.box(s + 0.3 * w, back, (0.3, 0.25, 0.22), ROOF2)
                elif d["garden"] == "hedges":
                    site.box(s + spacing / 2, (house + back) / 2, (0.1, depth * 0.6, 0.18), LEAF)
                if rng.random() < 0.3:
                    site.car(s + _u(rng, -0.5, 0.5), t + side * street * 0.33)
    if rng.random() < 0.6:
        site.cross(_u(rng, -0.5, 0.5) * site.half, street, ROAD, z=0.013)


def _industry(site: Site, d: Design) -> None:
    """A few large halls on paved ground, with what stands in yards between them."""
    rng = site.rng
    w, deep, lane = _u(rng, 3.4, 4.6), _u(rng, 2.2, 3.0), _u(rng, 1.5, 2.0)
    site.m.box((0, 0, 0.008), (6 * site.reach, 6 * site.reach, 0.01), ROAD)
    for row, t in enumerate(site.steps(deep + lane)):
        shift = 0.5 * (w + 1) * (row % 2) if d["plan"] == "staggered" else 0.0
        for s in site.steps(w + 1.0) + shift:
            ww, dd, h = w * _u(rng, 0.7, 1.05), deep * _u(rng, 0.75, 1.05), _u(rng, 0.5, 0.95)
            slot = ROOF if rng.random() < 0.6 else ROOF2
            if not site.box(s, t, (ww, dd, h), WALL):
                continue
            if d["hall"] == "flat":
                site.box(s, t, (ww + 0.06, dd + 0.06, 0.05), slot, z=h)
                for _ in range(int(rng.integers(3, 7))):
                    at = (s + _u(rng, -0.38, 0.38) * ww, t + _u(rng, -0.36, 0.36) * dd)
                    site.box(*at, (_u(rng, 0.15, 0.5), _u(rng, 0.15, 0.3), 0.18), WALL, z=h + 0.05)
            elif d["hall"] == "sawtooth":
                n = int(rng.integers(4, 7))
                for k in range(n):
                    along = s + ww * ((k + 0.5) / n - 0.5)
                    size = (dd, ww / n, 0.3)
                    site.box(along, t, size, slot, z=h, yaw=math.pi / 2, top=(1.0, 0.05), shift=0.45)
            else:
                n = int(rng.integers(2, 4))
                for k in range(n):
                    across = t + dd * ((k + 0.5) / n - 0.5)
                    x, y, turn = site.place(s, across)
                    along = np.array([math.cos(turn), math.sin(turn), 0]) * ww / 2
                    middle = np.array([x, y, h])
                    site.m.rod(middle - along, middle + along, 0.49 * dd / n, slot)
        yard = t + (deep + lane) / 2
        for s in site.steps(_u(rng, 0.8, 1.3)):
            if rng.random() < 0.35:
                continue
            if d["yard"] == "tanks":
                x, y, _ = site.place(s, yard)
                r = _u(rng, 0.25, 0.42)
                if site.sees(x, y):
                    site.m.cylinder((x, y, 0.3), r, 0.6, MARK, segments=14)
            elif d["yard"] == "containers":
                for k in range(int(rng.integers(1, 4))):
                    slot = (PAINT, PAINT2, ROOF2)[int(rng.integers(3))]
                    site.box(s, yard + 0.28 * (k - 1), (0.62, 0.24, 0.25), slot)
            else:
                site.car(
                    s, yard + _u(rng, -0.3, 0.3), length=_u(rng, 0.7, 1.0), yaw=float(rng.choice([0, math.pi / 2]))
                )


def _fields(site: Site, d: Design) -> None:
    """Parcels with rows of crops, each its own way, between hedges or tracks."""
    rng = site.rng
    long, wide = {"strips": (12.0, 2.2), "blocks": (4.5, 4.0), "shifted": (5.5, 3.0)}[d["plan"]]
    long, wide = long * _u(rng, 0.85, 1.2), wide * _u(rng, 0.85, 1.3)
    gap = {"hedge": 0.12, "track": 0.4, "none": 0.05}[d["border"]]
    for t in site.steps(wide):
        shift = _u(rng, 0, long) if d["plan"] != "blocks" else 0.0
        for s in np.arange(-site.reach - long, site.reach + long, long) + shift:
            slot = FIRST_PARCEL + int(rng.integers(N_PARCELS))
            if not site.box(s, t, (long - gap, wide - gap, 0.03), slot):
                continue
            if d["border"] == "hedge":
                for k in np.arange(0, long, 0.55):
                    if rng.random() < 0.75:
                        at = site.place(s + k - long / 2, t + wide / 2)
                        site.tree(at[0], at[1], _u(rng, 0.12, 0.24), LEAF)
            elif d["border"] == "none" and rng.random() < 0.3:
                at = site.place(s + _u(rng, -0.5, 0.5) * long, t + wide / 2)
                site.tree(at[0], at[1], _u(rng, 0.2, 0.4), LEAF)


def _orchard(site: Site, d: Design) -> None:
    """Trees or bushes on a lattice, over most of the frame; a path between blocks."""
    rng = site.rng
    spacing = _u(rng, 1.0, 1.35)
    along = spacing * (_u(rng, 0.55, 0.65) if d["plan"] == "lines" else 1.0)
    radius = _u(rng, 0.27, 0.36) * spacing
    path = _u(rng, -0.6, 0.6) * site.half
    if rng.random() < 0.6:
        site.line(path, 0.7 * spacing, ROAD, z=0.014)
    else:
        path = 1e3
    for row, t in enumerate(site.steps(spacing)):
        if abs(t - path) < 0.55 * spacing:
            continue
        if d["ground"] == "strips":
            site.line(t, 0.45 * spacing, BANK, z=0.012)
        shift = 0.5 * along * (row % 2) if d["plan"] == "quincunx" else 0.0
        for s in np.arange(-site.reach, site.reach, along) + shift:
            x, y, _ = site.place(s, t)
            if not site.sees(x, y, 0.5) or rng.random() < 0.06:
                continue
            x, y = x + _u(rng, -0.05, 0.05), y + _u(rng, -0.05, 0.05)
            r = radius * _u(rng, 0.8, 1.12) * (0.8 if d["plan"] == "lines" else 1.0)
            if d["crown"] == "cone":
                site.m.cylinder((x, y, 1.4 * r), r, 2.8 * r, LEAF, taper=0.0, segments=6, has_caps=False)
            elif d["crown"] == "bush":
                site.m.ball((x, y, 0.4 * r), (2.1 * r, 2.1 * r, 1.2 * r), LEAF, segments=6, rings=3, squareness=0.8)
            else:
                site.tree(x, y, r)


def _river(site: Site, d: Design) -> None:
    """A wide, smooth, winding band with its banks; sometimes forked, sometimes bridged."""
    rng = site.rng
    width = _u(rng, 0.38, 0.62) * site.half
    swing = {"bend": 0.55, "meander": 0.4, "fork": 0.3}[d["course"]] * site.half * _u(rng, 0.8, 1.2)
    wave = {"bend": 4.2, "meander": 2.3, "fork": 3.2}[d["course"]] * site.half * _u(rng, 0.85, 1.15)
    phase, middle = _u(rng, 0, 2 * math.pi), _u(rng, -0.3, 0.3) * site.half

    def course(x: float, side: float = 0.0) -> float:
        split = 0.25 * width + 0.8 * max(0.0, x) if d["course"] == "fork" else 0.0
        return middle + swing * math.sin(2 * math.pi * x / wave + phase) + side * split

    def is_dry(x: float, y: float) -> bool:
        return all(abs(y - course(x, side)) > 0.6 * width + 0.5 for side in (-1, 0, 1))

    site.is_free = is_dry
    xs = np.linspace(-site.reach, site.reach, 30)
    arms = (-1.0, 1.0) if d["course"] == "fork" else (0.0,)
    share = 0.72 if d["course"] == "fork" else 1.0
    for side in arms:
        points = [(x, course(x, side)) for x in xs]
        if d["bank"] == "sand":
            site.ribbon(points, 1.35 * share * width, BANK, z=0.012)
        site.ribbon(points, share * width, WATER, z=0.024)
    for x in np.arange(-site.reach, site.reach, 0.5):
        for side in (-1, 1):
            if d["bank"] == "trees" and rng.random() < 0.6:
                off = side * (0.5 * share * width + _u(rng, 0.25, 0.7))
                site.tree(x, course(x, side if d["course"] == "fork" else 0.0) + off, _u(rng, 0.18, 0.4), site.leaf())
    if d["bridge"]:
        x = _u(rng, -0.5, 0.5) * site.half
        for w, slot, z in ((0.5, ROAD, 0.3), (0.62, WALL, 0.27)):
            site.m.box((x, 0, z), (w, 4 * site.reach, 0.05), slot)


def _motorway(site: Site, d: Design) -> None:
    """Two carriageways with lane marks and traffic; a crossing road on a bridge, or ramps that leave it."""
    rng = site.rng
    lane = _u(rng, 0.36, 0.46)
    wide = 3 * lane
    middle = _u(rng, -0.35, 0.35) * site.half
    gap = _u(rng, 0.2, 0.4)
    if d["median"] == "green":
        gap *= 1.6
    for side in (-1, 1):
        t = middle + side * (gap + wide) / 2
        site.line(t, wide, ROAD, z=0.012)
        for k in (-1, 1):
            site.line(t + k * 0.47 * wide, 0.07, MARK, z=0.02)
            for s in site.steps(1.0):
                site.box(s, t + k * lane / 2, (0.45, 0.07, 0.01), MARK, z=0.018)
        for s in site.steps({"sparse": 2.2, "dense": 1.1}[d["traffic"]]):
            which = t + lane * int(rng.integers(-1, 2))
            site.car(s + _u(rng, -0.4, 0.4), which, length=1.0 if rng.random() < 0.25 else 0.45)
    if d["median"] == "barrier":
        for s in np.arange(-1.3 * site.reach, 1.3 * site.reach, 0.5):
            site.box(s, middle, (0.51, 0.08, 0.16), WALL)
    else:
        for s in site.steps(0.7):
            x, y, _ = site.place(s, middle)
            site.tree(x, y, 0.14, LEAF)

    def is_beside(x: float, y: float) -> bool:
        r = 1 / site.bend if site.bend else 1e6
        return abs(r - math.copysign(math.hypot(x, r - y), r) - middle) > gap / 2 + wide + 0.4

    site.is_free = is_beside
    at = _u(rng, -0.5, 0.5) * site.half
    if d["junction"] != "none":
        x, y, turn = site.place(at, middle)
        turn += _u(rng, -0.35, 0.35)
        for w, slot, z in ((0.75, ROAD, 0.55), (0.9, WALL, 0.52)):
            site.m.box((x, y, z), (w, 4 * site.reach, 0.05), slot, turn=rotation(turn))
        for k in site.steps(1.6):
            where = (x - math.sin(turn) * k, y + math.cos(turn) * k)
            if site.sees(*where):
                site.m.box((*where, 0.64), (0.2, 0.42, 0.16), PAINT, turn=rotation(turn))
    if d["junction"] == "ramps":
        out = gap / 2 + wide
        for side in (-1, 1):
            for way in (-1, 1):
                far = 0.85 * site.half
                points = [
                    site.place(at + way * (0.4 + far * (1 - k) ** 2), middle + side * (out + 0.1 + far * k**2))[:2]
                    for k in np.linspace(0, 1, 12)
                ]
                site.ribbon(points, 0.42, ROAD, z=0.03)


BUILD: dict[str, Callable[[Site, Design], None]] = {
    "houses": _houses, "industry": _industry, "fields": _fields,
    "orchard": _orchard, "river": _river, "motorway": _motorway,
}  # fmt: skip

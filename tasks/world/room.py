"""A box-shaped room that is being furnished: its shell, what stands where in it, and what is free."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from virb.tasks.world.furniture import Rng, _u
from virb.tasks.world.models import draw_colours, draw_model
from virb.tasks.world.scene import Material, Scene
from virb.tasks.world.shapes import Model
from virb.tasks.world.stage import draw_materials, draw_surface

_WALL_YAW = {"back": 0.0, "left": math.pi / 2, "right": -math.pi / 2, "front": math.pi}


@dataclass
class Room:
    """A box-shaped room around the origin (floor at z = 0) that is being furnished."""

    scene: Scene
    rng: Rng
    is_test: bool
    width: float
    depth: float
    height: float
    patterned: float = 0.05
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    def is_free(self, x: float, y: float, hx: float, hy: float, margin: float = 0.04) -> bool:
        if abs(x) + hx > self.width / 2 + 1e-6 or abs(y) + hy > self.depth / 2 + 1e-6:
            return False
        return all(abs(x - a) > hx + c + margin or abs(y - b) > hy + d + margin for a, b, c, d in self.taken)

    def model(self, name: str, **wanted: Any) -> Model:
        """A new model from the room's side of the split, with few triangles."""
        return draw_model(name, self.rng, is_test=self.is_test, **wanted).coarse()

    def put(
        self,
        model: Model,
        name: str,
        x: float,
        y: float,
        yaw: float,
        *,
        z: float = 0.0,
        materials: list[Material] | None = None,
        takes: bool = True,
    ) -> bool:
        """Place a model's centre at (x, y) where it is free; False where it is not."""
        low, high = model.bounds()
        mid, half = (low + high) / 2, (high - low) / 2
        c, s = math.cos(yaw), math.sin(yaw)
        hx, hy = abs(c) * half[0] + abs(s) * half[1], abs(s) * half[0] + abs(c) * half[1]
        if takes and not self.is_free(x, y, hx, hy):
            return False
        place = (x - c * mid[0] + s * mid[1], y - s * mid[0] - c * mid[1], z)
        materials = draw_materials(self.rng, patterned=self.patterned) if materials is None else materials
        self.scene.add(model, materials, place=place, yaw=yaw, class_name=name, contact=0.4 if z == 0 else 0.0)
        if takes:
            self.taken.append((x, y, hx, hy))
        return True

    def against(
        self,
        model: Model,
        name: str,
        walls: tuple[str, ...] = ("back", "left", "right"),
        *,
        gap: float = 0.05,
        materials: list[Material] | None = None,
        tries: int = 12,
    ) -> tuple[float, float, float] | None:
        """Place a model with its back to one of ``walls``; returns (x, y, yaw), or None where there was no room."""
        low, high = model.bounds()
        wide, deep = (high - low)[:2] / 2
        materials = draw_materials(self.rng, patterned=self.patterned) if materials is None else materials
        for _ in range(tries):
            wall = walls[int(self.rng.integers(len(walls)))]
            yaw = _WALL_YAW[wall]
            if wall in ("back", "front"):
                reach = max(self.width / 2 - wide - 0.05, 0)
                x, y = _u(self.rng, -reach, reach), (self.depth / 2 - deep - gap) * (1 if wall == "back" else -1)
            else:
                reach = max(self.depth / 2 - wide - 0.05, 0)
                x, y = (
                    (self.width / 2 - deep - gap) * (1 if wall == "right" else -1),
                    _u(self.rng, max(-reach, -self.depth / 4), reach),
                )
            if self.put(model, name, x, y, yaw, materials=materials):
                return x, y, yaw
        return None

    def somewhere(self, model: Model, name: str, *, tries: int = 12) -> None:
        """Place a model anywhere but close to the front wall, turned at random."""
        for _ in range(tries):
            if self.put(
                model,
                name,
                _u(self.rng, -0.45, 0.45) * self.width,
                _u(self.rng, -0.15, 0.45) * self.depth,
                _u(self.rng, 0, 2 * math.pi),
            ):
                return


def shell(
    scene: Scene,
    rng: Rng,
    width: float,
    depth: float,
    height: float,
    *,
    patterned: float = 0.12,
    has_window: bool = True,
    walls: Material | None = None,
    floor: Material | None = None,
) -> None:
    """Floor, ceiling, four walls, skirting board, often a window, a door and a picture (all class wall or fixture)."""
    x, y, t = width / 2, depth / 2, 0.1
    scene.room = (-x, x, -y, y, height)
    wall = draw_surface(rng, patterned=patterned, vivid=0.45) if walls is None else walls
    other = wall if rng.random() < 0.6 else draw_surface(rng, patterned=patterned, vivid=0.5)
    scene.box(
        (-x - t, -y - t, -t),
        (x + t, y + t, 0),
        draw_surface(rng, patterned=0.3, vivid=0.5) if floor is None else floor,
        "floor",
    )
    ceiling = (
        Material(np.full(3, _u(rng, 0.5, 0.9))) if rng.random() < 0.5 else draw_surface(rng, patterned=0, vivid=0.4)
    )
    scene.box((-x - t, -y - t, height), (x + t, y + t, height + t), ceiling, "ceiling")
    scene.box((-x, y, 0), (x, y + t, height), other, "wall")
    scene.box((-x, -y - t, 0), (x, -y, height), wall, "wall")
    for sx in (-1, 1):
        scene.box((min(sx * x, sx * (x + t)), -y, 0), (max(sx * x, sx * (x + t)), y, height), wall, "wall")
    board = Material(np.full(3, _u(rng, 0.3, 0.9)))
    tall = _u(rng, 0.07, 0.12)
    scene.box((-x, y - 0.015, 0), (x, y, tall), board, "wall")
    for sx in (-1, 1):
        scene.box(
            (min(sx * x, sx * (x - 0.015)), -y, 0), (max(sx * x, sx * (x - 0.015)), y - 0.015, tall), board, "wall"
        )
    if has_window and rng.random() < 0.75:
        _panel(scene, rng, x, y, low=_u(rng, 0.9, 1.2), high=_u(rng, 1.9, 2.2), wide=_u(rng, 0.8, 1.5), is_window=True)
    for _ in range(int(rng.integers(0, 3))):
        z = _u(rng, 1.2, 1.5)
        _panel(scene, rng, x, y, low=z, high=z + _u(rng, 0.3, 0.6), wide=_u(rng, 0.3, 0.8), is_window=False)


def _panel(
    scene: Scene, rng: Rng, x: float, y: float, *, low: float, high: float, wide: float, is_window: bool
) -> None:
    """A window or a picture on one of the walls in view."""
    wall = ("back", "left", "right")[int(rng.integers(3))]
    frame = Material(np.full(3, _u(rng, 0.2, 0.95)) if is_window else draw_colours(rng, 1)[0])
    if is_window:
        inside = Material(np.array([0.75, 0.88, 1.0]) * _u(rng, 0.5, 1.0), emission=_u(rng, 0.8, 1.8))
    else:
        a, b = draw_colours(rng, 2)
        inside = Material(a, b, "clouds", _u(rng, 0.08, 0.2), seed=int(rng.integers(1 << 16)))
    m = Model()
    m.box((0, 0, (low + high) / 2), (wide, 0.05, high - low), 0)
    bars = ((-0.25, 0.25) if wide > 0.9 else (0.0,)) if is_window else (0.0,)
    pane = (wide - 0.1) / len(bars) - (0.05 if len(bars) > 1 else 0)
    for c in bars:
        m.box((c * wide, -0.025, (low + high) / 2), (pane, 0.02, high - low - 0.1), 1)
    reach = (x if wall == "back" else y) - wide / 2 - 0.1
    along = _u(rng, -reach, reach) if wall == "back" else _u(rng, -reach * 0.2, reach)
    place = {"back": (along, y - 0.02, 0), "left": (-x + 0.02, along, 0), "right": (x - 0.02, along, 0)}[wall]
    scene.add(m, [frame, inside], place=place, yaw=_WALL_YAW[wall], class_name="fixture", is_instance=False)

"""What a picture of one thing needs around it: materials, a floor and walls, light, and a camera that frames it."""

from __future__ import annotations

import math

import numpy as np
from virb.tasks.world.furniture import Rng, _u
from virb.tasks.world.models import draw_colours, hsv_to_linear
from virb.tasks.world.render import Camera, Light
from virb.tasks.world.scene import Material, Scene

BACKDROP_PATTERNS = ("stripes", "checks", "dots", "bricks", "stone", "clouds", "wood", "tiles")
N_SLOTS = 5


def draw_materials(
    rng: Rng, *, n: int = N_SLOTS, patterned: float = 0.06, palette: np.ndarray | None = None
) -> list[Material]:
    """Random materials for a model's slots; each is patterned with probability ``patterned``."""
    colours = draw_colours(rng, 2 * n) if palette is None else palette
    out = []
    for k, (is_patterned, period, angle, which, seed, shine) in enumerate(rng.random((n, 6)).tolist()):
        pattern = BACKDROP_PATTERNS[int(6 * which)] if is_patterned < patterned else "plain"
        gloss = (0.0, 0.1, 0.5)[int(3 * shine)]
        out.append(
            Material(
                colours[k], colours[n + k], pattern, 0.08 + 0.17 * period, math.pi * angle, int(65536 * seed), gloss
            )
        )
    return out


def draw_surface(
    rng: Rng, *, patterned: float = 0.2, away_from: np.ndarray | None = None, vivid: float = 0.6
) -> Material:
    """A material for floors and walls: calmer than furniture, and not of the (linear) colour ``away_from``."""
    for _ in range(20):
        hue, pale = rng.random(2), rng.uniform(0, vivid, 2)
        colours = hsv_to_linear(hue, pale, rng.uniform(0.25, 0.95, 2))
        if away_from is None or np.abs(colours[0] ** (1 / 2.2) - away_from ** (1 / 2.2)).max() > 0.22:
            break
    if rng.random() < patterned:
        pattern = BACKDROP_PATTERNS[int(rng.integers(len(BACKDROP_PATTERNS)))]
        share = _u(rng, 0.4, 1.0)
        return Material(
            colours[0],
            colours[0] * (1 - share) + colours[1] * share,
            pattern,
            _u(rng, 0.2, 0.6),
            0.0 if pattern in ("bricks", "wood", "tiles") else _u(rng, 0, math.pi),
            int(rng.integers(1 << 16)),
        )
    return Material(colours[0])


def draw_light(rng: Rng, *, where: np.ndarray | None = None, dim: float = 1.0) -> Light:
    """A lamp somewhere above and before the scene (around ``where``), tinted; contrast and softness vary."""
    tint = hsv_to_linear(np.array([rng.random()]), np.array([rng.uniform(0, 0.3)]), np.array([1.0]))[0]
    around = hsv_to_linear(np.array([rng.random()]), np.array([rng.uniform(0, 0.25)]), np.array([1.0]))[0]
    if where is None:
        a = _u(rng, -1.3, 1.3)
        where = np.array([2.6 * math.sin(a), -2.6 * math.cos(a), _u(rng, 1.6, 3.8)])
    ambient = _u(rng, 0.3, 0.8)
    return Light(
        where,
        dim * _u(rng, 1.1, 2.0) * tint,
        dim * ambient * around,
        dim * ambient * _u(rng, 0.35, 0.7) * around,
        radius=_u(rng, 0.05, 0.3),
    )


def backdrop(
    scene: Scene, rng: Rng, *, away_from: np.ndarray | None = None, patterned: float = 0.2, depth: float | None = None
) -> None:
    """A floor, a wall behind, sometimes a second wall at its side and a skirting board."""
    y = _u(rng, 1.3, 2.6) if depth is None else depth
    x = _u(rng, 1.4, 2.4)
    side = int(rng.integers(-1, 2))
    x0, x1 = (-x if side < 0 else -7.0), (x if side > 0 else 7.0)
    scene.room = (x0, x1, -9.0, y, 9.0)
    scene.box(
        (x0 - 0.2, -9, -0.1), (x1 + 0.2, y, 0), draw_surface(rng, patterned=patterned, away_from=away_from), "floor"
    )
    wall = draw_surface(rng, patterned=patterned, away_from=away_from)
    scene.box((x0 - 0.2, y, -0.1), (x1 + 0.2, y + 0.1, 9), wall, "wall")
    if side:
        scene.box(
            (x1, -9, -0.1) if side > 0 else (x0 - 0.1, -9, -0.1),
            (x1 + 0.1, y + 0.1, 9) if side > 0 else (x0, y + 0.1, 9),
            wall,
            "wall",
        )
    if rng.random() < 0.4:
        scene.box((x0, y - 0.02, 0), (x1, y, _u(rng, 0.08, 0.14)), draw_surface(rng, patterned=0), "wall")


def frame_box(
    low: np.ndarray,
    high: np.ndarray,
    rng: Rng,
    *,
    fill: float,
    elevation: float,
    fov: float,
    azimuth: float = 0.0,
    off_centre: float = 0.08,
) -> Camera:
    """A camera from which the box between two corners spans the share ``fill`` of the frame in its longer direction."""
    centre = (low + high) / 2
    corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    direction = np.array(
        [math.sin(azimuth) * math.cos(elevation), -math.cos(azimuth) * math.cos(elevation), math.sin(elevation)]
    )
    distance = 3.0
    for _ in range(4):  # the span is nearly inverse to the distance: a few steps settle it
        camera = Camera.look(centre + distance * direction, centre, fov=fov)
        pixel, depth = camera.project(corners, 1)
        if (depth < 0.1).any():
            distance *= 1.5
            continue
        distance *= float(np.ptp(pixel, axis=0).max()) / fill
    shift = rng.uniform(-off_centre, off_centre, 2) * 2 * distance * math.tan(fov / 2)
    target = centre + shift[0] * camera.axes[0] + shift[1] * camera.axes[1]
    position = centre + distance * direction
    position[2] = max(position[2], 0.08)
    return Camera.look(position, target, roll=float(rng.normal(0, 0.03)), fov=fov)

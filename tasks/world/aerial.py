"""Image set of land use from above: six kinds of land in any colours, told apart by shapes and how they lie.

One unit is about ten metres. Every kind may hold a few trees, buildings and a track, so that none of these is a sign by
itself; what makes the kind is what fills the frame.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from virb.tasks.world.designs import draw_design
from virb.tasks.world.furniture import Rng, _u
from virb.tasks.world.models import hsv_to_linear
from virb.tasks.world.objects import Example
from virb.tasks.world.render import Camera, Light, render
from virb.tasks.world.scene import Material, Scene
from virb.tasks.world.sets import LAND_USES
from virb.tasks.world.shapes import Model, rotation
from virb.tasks.world.sites import BANK, BUILD, FIRST_PARCEL, GROUND, LEAF, N_PARCELS, ROAD, ROOF, WALL, WATER, Site

OPTIONS: dict[str, dict[str, tuple[Any, ...]]] = {
    "houses": {
        "roof": ("gable", "hip", "flat"),
        "plan": ("detached", "pairs", "terraces"),
        "garden": ("trees", "hedges", "sheds"),
    },
    "industry": {
        "hall": ("flat", "sawtooth", "vault"),
        "yard": ("tanks", "containers", "lorries"),
        "plan": ("aligned", "staggered"),
    },
    "fields": {
        "rows": ("fine", "wide", "mixed"),
        "plan": ("strips", "blocks", "shifted"),
        "border": ("hedge", "track", "none"),
    },
    "orchard": {
        "crown": ("round", "cone", "bush"),
        "plan": ("square", "quincunx", "lines"),
        "ground": ("plain", "strips"),
    },
    "river": {
        "course": ("bend", "meander", "fork"),
        "bank": ("trees", "sand", "bare"),
        "bridge": (False, True),
    },
    "motorway": {
        "junction": ("none", "bridge", "ramps"),
        "median": ("barrier", "green"),
        "traffic": ("sparse", "dense"),
    },
}


def _scatter(site: Site, kind: str) -> None:
    """What may stand on any land: single trees, a farm or two, a track, plain patches of ground."""
    rng = site.rng
    spot = rng.uniform(-site.half, site.half, (40, 2)) + site.centre
    n_trees = int(rng.integers(0, 9))
    for x, y in spot[:n_trees]:
        radius, slot = _u(rng, 0.18, 0.4), site.leaf()
        if site.is_free(x, y):
            site.tree(x, y, radius, slot)
    if kind in ("river", "motorway"):
        for k in range(int(rng.integers(0, 5))):
            size = (_u(rng, 2, 5), _u(rng, 2, 5), 0.008)
            slot = FIRST_PARCEL + int(rng.integers(N_PARCELS)) if rng.random() < 0.4 else (LEAF, BANK, GROUND)[k % 3]
            site.m.box((*spot[20 + k], 0.004 + 0.001 * k), size, slot, turn=rotation(_u(rng, 0, math.pi)))
    if kind in ("fields", "river", "orchard"):
        for x, y in spot[30 : 30 + int(rng.integers(0, 3))]:
            wall, yaw = _u(rng, 0.25, 0.4), rotation(_u(rng, 0, math.pi))
            if not site.is_free(x, y):
                continue
            site.m.box((x, y, wall / 2), (1.0, 0.65, wall), WALL, turn=yaw)
            site.m.box((x, y, wall + 0.2), (1.1, 0.72, 0.4), ROOF, turn=yaw, top=(1.0, 0.05))
    if kind in ("fields", "river") and rng.random() < 0.35:
        a, (x, y) = _u(rng, 0, math.pi), spot[39]
        site.m.box((x, y, 0.034 if kind == "fields" else 0.011), (5 * site.reach, 0.35, 0.01), ROAD, turn=rotation(a))


def _materials(rng: Rng, rows: str) -> list[Material]:
    """Colours of all slots: any hue, calm or vivid, light on dark or dark on light, whatever the kind of land."""
    n = FIRST_PARCEL + N_PARCELS
    anchor = rng.random()
    hue = (anchor + rng.normal(0, 0.1, 2 * n) + rng.random(2 * n) * (rng.random(2 * n) < 0.45)) % 1
    colour = hsv_to_linear(hue, rng.beta(1.5, 2.5, 2 * n) * 0.9, rng.uniform(0.15, 0.95, 2 * n))
    out = [Material(c) for c in colour[:FIRST_PARCEL]]
    ground = float(rng.random())
    mixed = colour[GROUND] + _u(rng, 0.1, 0.5) * (colour[n] - colour[GROUND])
    pattern = "plain" if ground < 0.4 else "clouds" if ground < 0.8 else "speckle"
    out[GROUND] = Material(colour[GROUND], mixed, pattern, _u(rng, 0.8, 2.5), seed=int(rng.integers(1 << 16)))
    out[WATER] = Material(colour[WATER], gloss=float(rng.choice([0.0, 0.2])))
    for k in range(FIRST_PARCEL, n):
        fine = rows == "fine" or (rows == "mixed" and rng.random() < 0.5)
        second = colour[k] + _u(rng, 0.35, 0.9) * (colour[n + k] - colour[k])
        angle = float(rng.choice([0, math.pi / 2])) if rng.random() < 0.6 else _u(rng, 0, math.pi)
        period = _u(rng, 0.5, 0.7) if fine else _u(rng, 0.75, 1.15)
        out.append(Material(colour[k], second, "stripes", period, angle))
    return out


def _sun(rng: Rng) -> Light:
    """From any side, at 25 to 65 degrees, tinted; hazy or clear."""
    a, up = _u(rng, 0, 2 * math.pi), _u(rng, 0.45, 1.15)
    away = 200 * np.array([math.cos(a) * math.cos(up), math.sin(a) * math.cos(up), math.sin(up)])
    tint = hsv_to_linear(rng.random(2), rng.uniform(0, 0.3, 2), np.ones(2))
    ambient = _u(rng, 0.25, 0.7)
    return Light(away, _u(rng, 0.9, 2.0) * tint[0], ambient * tint[1], 0.5 * ambient * tint[1], radius=3.0)


def aerial(rng: Rng, index: int, size: int, split: str) -> Example:
    """A piece of land from (nearly) straight above; the class is ``index`` modulo the number of kinds."""
    class_id = index % len(LAND_USES)
    kind = LAND_USES[class_id]
    design = draw_design(OPTIONS[kind], rng, is_test=split == "test")
    half, fov, heading = _u(rng, 3.6, 5.4), _u(rng, 0.5, 0.8), _u(rng, -math.pi, math.pi)
    centre = (_u(rng, -1, 1), _u(rng, -1, 1))
    bend = _u(rng, 0.02, 0.05) * float(rng.choice([-1, 1])) if rng.random() < 0.4 and kind != "river" else 0.0
    site = Site(Model(), rng, heading, centre, 1.1 * half, bend)
    site.m.box((0, 0, -0.5), (120, 120, 1), GROUND)
    BUILD[kind](site, design)
    _scatter(site, kind)
    scene = Scene()
    scene.add(site.m, _materials(rng, design.get("rows", "mixed")), is_instance=False)
    scene.build()
    height = half / math.tan(fov / 2)
    tilt, aside = _u(rng, 0, 0.2), _u(rng, -math.pi, math.pi)
    eye = np.array([centre[0] + height * math.sin(tilt) * math.cos(aside),
                    centre[1] + height * math.sin(tilt) * math.sin(aside), height])  # fmt: skip
    camera = Camera.look(eye, (*centre, 0.0), fov=fov)
    camera = _turned(camera, heading)
    frame = render(scene, camera, _sun(rng), size=size, rng=rng, brightness=_u(rng, 0.35, 0.6), noise=0.012)
    return {"images": frame.image[None], "class_id": np.array([class_id], "i8")}


def _turned(camera: Camera, heading: float) -> Camera:
    """The camera turned about its own axis so that the world's y axis points to ``heading`` in the image."""
    right, up, forward = camera.axes
    north = math.atan2(float(right[1]), float(up[1]))  # of y in the image, from up to the right
    a = heading + north
    c, s = math.cos(a), math.sin(a)
    return Camera(camera.position, np.stack([c * right - s * up, s * right + c * up, forward]), camera.fov)

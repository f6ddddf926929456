"""The image set ``roles``: two people's hands over a table, each hand labelled by whose it is."""

from __future__ import annotations

import math

import numpy as np
from virb.tasks.world.furniture import Rng, _u
from virb.tasks.world.models import draw_colours, hsv_to_linear
from virb.tasks.world.objects import Example
from virb.tasks.world.render import Camera, render
from virb.tasks.world.scene import Material, Scene
from virb.tasks.world.shapes import Model
from virb.tasks.world.stage import draw_light, draw_materials, draw_surface

_TABLE_M = 0.75


def _arm(rng: Rng, elbow: np.ndarray, wrist: np.ndarray, *, is_left: bool, girth: float) -> Model:
    """Forearm, palm, thumb and four fingers, from the elbow to beyond the wrist. Slots: 0 skin, 1 sleeve."""
    m = Model()
    ahead = (wrist - elbow) / np.linalg.norm(wrist - elbow)
    flat = np.array([ahead[0], ahead[1], 0.0]) / math.hypot(ahead[0], ahead[1])
    across = np.array([flat[1], -flat[0], 0.0]) * (1 if is_left else -1)  # towards the thumb, palm down
    sleeve = _u(rng, 0.3, 0.95)
    cut = elbow + sleeve * (wrist - elbow)
    m.rod(elbow, cut, 0.048 * girth, 1, taper=0.85)
    m.rod(cut, wrist, 0.036 * girth, 0, taper=0.8)
    palm = wrist + 0.045 * flat
    frame = np.stack([across, flat, np.array([0.0, 0.0, 1.0])], 1)
    m.ball(palm, np.array([0.095, 0.12, 0.05]) * girth, 0, squareness=0.7, turn=frame, segments=10, rings=6)
    curl, spread = _u(rng, 0.0, 0.8), _u(rng, 0.02, 0.18)
    for k in range(4):
        root = palm + 0.05 * flat + across * (0.03 - 0.02 * k)
        way = flat + across * spread * (1.5 - k)
        middle = root + 0.04 * way + [0, 0, 0.012]
        m.rod(root, middle, 0.0115 * girth, 0, has_caps=False)
        m.rod(middle, middle + 0.038 * (way * (1 - 0.5 * curl) - [0, 0, 0.2 + curl]), 0.0105 * girth, 0)
    m.rod(palm + 0.03 * across, palm + 0.085 * across + 0.045 * flat, 0.013 * girth, 0)
    return m


def roles(rng: Rng, index: int, size: int, split: str) -> Example:
    """One's own hands from below and another person's from across a table; each of the four may be missing."""
    scene = Scene()
    half, deep = _u(rng, 0.45, 0.7), _u(rng, 0.6, 0.85)
    skins = hsv_to_linear(rng.uniform(0.03, 0.1, 2), rng.uniform(0.25, 0.65, 2), rng.uniform(0.35, 0.95, 2))
    sleeves = draw_colours(rng, 2)
    if rng.random() < 0.3:
        skins[1] = skins[0]
    top = draw_surface(rng, patterned=0.3, vivid=0.7, away_from=skins[0])
    scene.box((-half, 0.0, _TABLE_M - 0.04), (half, deep, _TABLE_M), top, "table")
    scene.box((-6, -6, -0.1), (6, 6, 0), draw_surface(rng, patterned=0.2), "floor")
    scene.box((-6, deep + _u(rng, 0.9, 2.0), 0), (6, 6, 4), draw_surface(rng, patterned=0.2), "wall")

    body = Model()  # of the other: only the hands and arms count
    y = deep + 0.22
    body.ball((0, y, 0.95), (0.42, 0.24, 0.62), 1, squareness=0.7)
    body.rod((0, y, 1.2), (0, y, 1.35), 0.05, 0)
    body.ball((0, y - 0.01, 1.43), (0.16, 0.19, 0.22), 0)
    body.ball((0, y + 0.03, 1.47), (0.18, 0.18, 0.2), 2)
    lean = _u(rng, -0.12, 0.12)
    hair = Material(draw_colours(rng, 1)[0])
    scene.add(body, [Material(skins[1]), Material(sleeves[1]), hair], place=(lean, 0, 0), class_name="person")
    for _ in range(int(rng.integers(2, 6))):  # what lies on the table
        m = Model()
        s = _u(rng, 0.06, 0.13)
        if rng.random() < 0.5:
            m.box((0, 0, s / 4), (s * _u(rng, 0.7, 1.6), s, s / 2))
        else:
            m.cylinder((0, 0, s / 2), s * 0.4, s, taper=_u(rng, 0.7, 1.2))
        place = (_u(rng, -half * 0.8, half * 0.8), _u(rng, 0.15, 0.85) * deep, _TABLE_M)
        scene.add(m, draw_materials(rng, patterned=0.15), place=place, yaw=_u(rng, 0, math.pi), class_name="thing")

    role_of = {}
    girths = rng.uniform(0.95, 1.25, 2)
    for role in (1, 2, 3, 4):
        if rng.random() > 0.85:
            continue
        is_own, is_left = role <= 2, role in (1, 3)
        side = -1.0 if is_own == is_left else 1.0  # the other's left is on our right
        reach = _u(rng, 0.12, 0.5) * deep
        # Hands mostly stay on their own side, and sometimes cross the middle.
        x = side * _u(rng, -0.06 if rng.random() < 0.2 else 0.06, half * 0.6)
        z = _TABLE_M + _u(rng, 0.03, 0.12)
        if is_own:
            elbow = np.array([side * _u(rng, 0.2, 0.38), -0.2, _TABLE_M + _u(rng, 0.0, 0.1)])
            wrist = np.array([x, reach - 0.02, z])
        else:
            elbow = np.array([lean + side * _u(rng, 0.22, 0.34), deep + 0.12, _TABLE_M + _u(rng, 0.08, 0.16)])
            wrist = np.array([x, deep - reach + 0.02, z])
        arm = _arm(rng, elbow, wrist, is_left=is_left, girth=float(girths[0 if is_own else 1]))
        k = 0 if is_own else 1
        role_of[scene.add(arm, [Material(skins[k]), Material(sleeves[k])], class_name="person")] = role
    scene.build()
    eye = np.array([_u(rng, -0.08, 0.08), -_u(rng, 0.25, 0.4), _u(rng, 1.25, 1.5)])
    camera = Camera.look(
        eye,
        (_u(rng, -0.06, 0.06), deep * _u(rng, 0.45, 0.65), _TABLE_M),
        roll=float(rng.normal(0, 0.06)),
        fov=_u(rng, 0.95, 1.2),
    )
    light = draw_light(rng, where=np.array([_u(rng, -1.5, 1.5), _u(rng, -0.5, 1.5), _u(rng, 2.0, 2.8)]))
    frame = render(scene, camera, light, size=size, rng=rng, brightness=_u(rng, 0.35, 0.6))
    table = np.zeros(256, "u1")
    for instance, role in role_of.items():
        table[instance] = role
    return {"images": frame.image[None], "role_mask": table[frame.instance][None]}

"""Image sets with people in them: actions in six frames."""

# ruff: noqa: RUF005  (a point plus a list of three numbers is numpy's addition, no concatenation)
from __future__ import annotations

import math

import numpy as np
from virb.tasks.world.figures import Pose, draw_body, person_in_pose
from virb.tasks.world.furniture import Rng, _u
from virb.tasks.world.models import draw_design, draw_model
from virb.tasks.world.objects import Example
from virb.tasks.world.render import Camera, render
from virb.tasks.world.scene import Scene
from virb.tasks.world.sets import ACTIONS
from virb.tasks.world.shapes import rotation
from virb.tasks.world.stage import backdrop, draw_light, draw_materials

N_FRAMES = 6


def _ease(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)


def _moment(action: str, t: float, style: dict[str, float]) -> tuple[Pose, np.ndarray, float, float]:
    """Pose, shift (3,), turn about z and fall angle of a person at the time t in [0, 1] of an action."""
    sway = 0.08 * math.sin(2 * math.pi * (t + style["phase"]))
    rest = Pose((sway, -sway), (0.15, 0.18), (style["elbow"], style["elbow"]))
    shift, turn, fall = np.zeros(3), 0.0, 0.0
    p = _ease((t - style["start"]) / (0.95 - style["start"]))
    pose = rest
    if action == "jump":
        cycle = (t * style["times"] + style["phase"]) % 1
        air = max(0.0, math.sin(2 * math.pi * cycle))
        bend = max(0.0, -math.sin(2 * math.pi * cycle)) * 0.7
        shift[2] = style["height"] * air
        pose = Pose(
            (-0.4 * bend, -0.4 * bend),
            (0.2 + 0.9 * air, 0.2 + 0.9 * air),
            (0.3, 0.3),
            (bend, bend),
            (2 * bend, 2 * bend),
            0.4 * bend,
        )
    elif action == "fall":
        fall = 1.5 * p * style["way"]
        pose = Pose(
            (0.8 * p, 0.6 * p), (0.3 + 0.8 * p, 0.3 + 0.6 * p), (0.3, 0.3), (0.3 * p, -0.1 * p), (0.3 * p, 0.2 * p)
        )
    elif action == "crouch":
        b = 1.15 * p
        pose = Pose((0.9 * p, 0.7 * p), (0.2, 0.2), (0.5, 0.5), (b, b), (2 * b, 2 * b), 0.7 * p)
    elif action == "wave":
        up = _ease(t / (0.15 + style["start"]))
        swing = 0.35 * math.sin(2 * math.pi * (1.5 * t * style["times"] + style["phase"]))
        raised = 0.15 + up * (2.35 + swing)
        pair = (raised, 0.18) if style["way"] > 0 else (0.15, raised)
        pose = Pose(rest.arm_swing, pair, (0.2 + 0.2 * up, 0.2))
    elif action == "turn round":
        turn = style["way"] * style["angle"] * p
    elif action == "walk up":
        gait = math.sin(2 * math.pi * (2 * t + style["phase"]))
        shift[1] = -style["distance"] * t
        pose = Pose(
            (0.5 * gait, -0.5 * gait),
            (0.12, 0.12),
            (0.4, 0.4),
            (-0.5 * gait, 0.5 * gait),
            (0.35 * max(gait, 0), 0.35 * max(-gait, 0)),
        )
    return pose, shift, turn, fall


def actions(rng: Rng, index: int, size: int, split: str) -> Example:
    """Six frames of a person doing one of six things, while the camera trembles and something passes by."""
    action = index % len(ACTIONS)
    is_test = split == "test"
    body = draw_body(draw_design("person", rng, is_test=is_test), rng)
    dress = draw_materials(rng, patterned=0.1)
    style = {
        "phase": rng.random(),
        "elbow": _u(rng, 0.1, 0.6),
        "start": _u(rng, 0.0, 0.3),
        "times": float(rng.choice([1.0, 1.5])),
        "height": _u(rng, 0.3, 0.5),
        "way": float(rng.choice([-1.0, 1.0])),
        "angle": _u(rng, 2.6, 5.5),
        "distance": _u(rng, 1.4, 2.2),
    }
    facing, place = _u(rng, -0.9, 0.9), np.array([_u(rng, -0.3, 0.3), _u(rng, -0.2, 0.4), 0.0])
    passer, passer_name = None, ("animal", "car", "ball", "none")[int(rng.integers(4))]
    if passer_name in ("animal", "car"):
        passer = draw_model(passer_name, rng, is_test=is_test).coarse()
    paint = draw_materials(rng, patterned=0.1)
    from_x, to_x = (_u(rng, -2.2, 2.2) for _ in range(2))
    lane = place[1] + float(rng.choice([-0.9, 1.1]))
    distance, fov = _u(rng, 3.2, 4.4), _u(rng, 0.75, 0.95)
    eye = np.array([_u(rng, -0.8, 0.8), place[1] - distance, _u(rng, 0.9, 1.8)])
    target = place + [_u(rng, -0.2, 0.2), 0, _u(rng, 0.7, 0.95)]
    pan = rng.normal(0, 0.12, 3)
    light, level = draw_light(rng), _u(rng, 0.38, 0.6)
    stage_seed = int(rng.integers(1 << 62))
    frames = []
    for k in range(N_FRAMES):
        t = k / (N_FRAMES - 1)
        pose, shift, turn, fall = _moment(ACTIONS[action], t, style)
        scene = Scene()
        backdrop(scene, np.random.default_rng(stage_seed), away_from=dress[0].colour, depth=1.9 + place[1])
        # A fall tips the whole figure over its feet, forwards or backwards.
        posture = rotation(facing + turn) @ rotation(pitch=fall)
        scene.add(
            person_in_pose(body, pose).coarse(),
            dress,
            place=place + shift + [0, 0, 0.08 * abs(math.sin(fall))],
            turn=posture,
            class_name="person",
            contact=0.3 if abs(fall) < 0.4 else 0.0,
        )
        x = from_x + (to_x - from_x) * t
        if passer is not None:
            yaw = math.copysign(math.pi / 2, to_x - from_x)
            scene.add(passer, paint, place=(x, lane, 0), yaw=yaw, class_name=passer_name, contact=0.3, scale=0.6)
        elif passer_name == "ball":
            scene.add(_ball(), paint, place=(x, lane, 0), class_name="thing", contact=0.2, turn=rotation(roll=4 * x))
        scene.build()
        tremor = rng.normal(0, 1, 7) * [0.03, 0.03, 0.03, 0.05, 0.02, 0.05, 0.015]
        camera = Camera.look(eye + tremor[:3], target + pan * (t - 0.5) + tremor[3:6], roll=tremor[6], fov=fov)
        frames.append(
            render(scene, camera, light, size=size, rng=rng, brightness=level * _u(rng, 0.92, 1.08), noise=0.015).image
        )
    return {"images": np.stack(frames), "action": np.array([action], "i8")}


def _ball():
    from virb.tasks.world.shapes import Model

    m = Model()
    m.ball((0, 0, 0.25), 0.5)
    return m

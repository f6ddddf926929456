"""Image sets of single things: object classes (two conditions), surface materials, counting."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from virb.tasks.world.furniture import Rng, _u
from virb.tasks.world.models import draw_colours, draw_model, hsv_to_linear
from virb.tasks.world.render import FAR_M, Camera, Frame, normals, render
from virb.tasks.world.scene import Material, Scene
from virb.tasks.world.sets import COUNTS, MATERIALS, OBJECT_CLASSES
from virb.tasks.world.shapes import Model, rotation
from virb.tasks.world.stage import backdrop, draw_light, draw_materials, draw_surface, frame_box

COUNT_KINDS = ("ball", "cube", "cone", "cylinder", "ring", "chair", "plant", "car")

N_VIEWS = 3  # of a model

Example = dict[str, np.ndarray]


def labels(frame: Frame) -> Example:
    """The image and depth of a frame, as stored: uint8, and float16 with NaN beyond FAR_M."""
    depth = np.where(frame.depth_m < FAR_M, frame.depth_m, np.nan)
    return {"images": frame.image[None], "depth_m": depth[None].astype("f2")}


def single_object(rng: Rng, index: int, size: int, *, is_test: bool, is_shifted: bool = False) -> Example:
    """One object of a class on a floor before a wall; the class is ``index`` modulo the number of classes."""
    class_id = index % len(OBJECT_CLASSES)
    name = OBJECT_CLASSES[class_id]
    model = draw_model(name, rng, is_test=is_test)
    scene = Scene()
    materials = draw_materials(rng, patterned=0.35 if is_shifted else 0.06)
    main = materials[0].colour
    instance = scene.add(model, materials, yaw=_u(rng, 0, 2 * math.pi), class_name=name, contact=0.45)
    backdrop(scene, rng, away_from=None if is_shifted else main, patterned=0.55 if is_shifted else 0.15)
    if is_shifted:
        _occluder(scene, rng)
    scene.build()
    tri = scene.tri[scene.instance == instance].reshape(-1, 3)
    low, high = tri.min(0).astype("f8"), tri.max(0).astype("f8")
    fill = _u(rng, 0.45, 1.1) if is_shifted else _u(rng, 0.68, 0.95)
    elevation = _u(rng, 0.0, 0.95) if is_shifted else _u(rng, 0.08, 0.6)
    camera = frame_box(
        low, high, rng, fill=fill, elevation=elevation, fov=_u(rng, 0.5, 1.3) if is_shifted else _u(rng, 0.6, 1.0)
    )
    light = draw_light(rng)
    brightness = _u(rng, 0.2, 0.65) if is_shifted else _u(rng, 0.36, 0.6)
    frame = render(scene, camera, light, size=size, rng=rng, brightness=brightness, noise=0.03 if is_shifted else 0.008)
    out = labels(frame)
    out["class_id"] = np.array([class_id], "i8")
    foreground = frame.instance == instance
    out["foreground"] = foreground[None].astype("u1")
    normal = normals(frame, scene, camera)
    normal[~foreground] = np.nan
    out["normal"] = normal[None].astype("f2")
    return out


def _occluder(scene: Scene, rng: Rng) -> None:
    """With even odds, a box or a post that hides a part of the object."""
    if rng.random() < 0.5:
        x, y = _u(rng, 0.15, 0.5) * rng.choice([-1, 1]), _u(rng, -1.1, -0.7)
        if rng.random() < 0.5:
            scene.box(
                (x - 0.12, y - 0.1, 0),
                (x + 0.12, y + 0.1, _u(rng, 0.25, 0.5)),
                draw_surface(rng, patterned=0.3),
                "thing",
            )
        else:
            scene.box((x - 0.04, y - 0.04, 0), (x + 0.04, y + 0.04, 3), draw_surface(rng, patterned=0.3), "thing")


def objects(rng: Rng, index: int, size: int, split: str) -> Example:
    return single_object(rng, index, size, is_test=split == "test")


def objects_shift(rng: Rng, index: int, size: int, split: str) -> Example:
    return single_object(rng, index, size, is_test=True, is_shifted=True)


def pretrain_objects(rng: Rng, index: int, size: int, split: str) -> Example:
    return single_object(rng, index, size, is_test=False)


def materials(rng: Rng, index: int, size: int, split: str) -> Example:
    """A patterned surface, curved or slanted, that fills most of the frame; the class is the pattern."""
    material_id = index % len(MATERIALS)
    hue, grey = rng.random(2), rng.uniform(0.0, 0.8, 2)
    dark, bright = _u(rng, 0.1, 0.5), _u(rng, 0.6, 1.0)
    value = np.array([dark, bright]) if rng.random() < 0.5 else np.array([bright, dark])
    a, b = hsv_to_linear(hue, grey, value)
    pattern = Material(
        a,
        b,
        MATERIALS[material_id],
        _u(rng, 0.17, 0.34),
        _u(rng, 0, 2 * math.pi),
        int(rng.integers(1 << 16)),
        gloss=float(rng.choice([0.0, 0.3])),
    )
    m = Model()
    form = int(rng.integers(4))
    tilt = rotation(_u(rng, -0.6, 0.6), _u(rng, -0.6, 0.6), _u(rng, -0.5, 0.5))
    if form == 0:
        m.ball((0, 0, 0), _u(rng, 1.9, 2.4), turn=tilt @ rotation(pitch=_u(rng, 0.4, 1.2)), segments=36, rings=20)
    elif form == 1:
        m.cylinder((0, 0, 0), _u(rng, 0.7, 1.1), 3.2, turn=tilt @ rotation(roll=_u(rng, 0, math.pi)), segments=36)
    elif form == 2:
        m.box((0, 0, 0), (1.7, 1.7, 1.7), turn=tilt @ rotation(_u(rng, 0.3, 1.2), _u(rng, -0.4, 0.4)))
    else:
        m.box((0, 0.3, 0), (4.5, 0.2, 4.5), turn=tilt)
    scene = Scene()
    instance = scene.add(m, [pattern])
    scene.box((-20, 5, -20), (20, 5.1, 20), draw_surface(rng, patterned=0), "wall")
    scene.build()
    light = replace(draw_light(rng), has_shadows=False)
    distance = _u(rng, 2.5, 2.9)
    while True:
        camera = Camera.look(
            (_u(rng, -0.3, 0.3), -distance, _u(rng, -0.3, 0.3)),
            rng.uniform(-0.12, 0.12, 3),
            roll=_u(rng, -0.3, 0.3),
            fov=0.8,
        )
        frame = render(scene, camera, light, size=size, rng=rng, brightness=_u(rng, 0.35, 0.6), noise=0.01)
        if (frame.instance == instance).mean() > 0.72:
            break
        distance *= 0.88
    return {"images": frame.image[None], "material_id": np.array([material_id], "i8")}


def _unit(kind: str, rng: Rng, is_test: bool) -> Model:
    """One thing to be counted, about 1 m across."""
    m = Model()
    if kind == "ball":
        m.ball((0, 0, 0.5), 1.0, 0)
    elif kind == "cube":
        m.box((0, 0, 0.4), (0.8, 0.8, 0.8), 0)
    elif kind == "cone":
        m.cylinder((0, 0, 0.55), 0.5, 1.1, 0, taper=0.0, segments=16)
    elif kind == "cylinder":
        m.cylinder((0, 0, 0.45), 0.42, 0.9, 0, segments=16)
    elif kind == "ring":
        m.torus((0, 0, 0.17), 1.1, 0.4)
    else:
        model = draw_model(kind, rng, is_test=is_test).coarse()
        low, high = model.bounds()
        m.extend(model, np.eye(3), (0, 0, 0), scale=1.15 / float((high - low).max()))
    return m


def count(rng: Rng, index: int, size: int, split: str) -> Example:
    """3 to 8 things of one kind on a plain floor, all together of one area whatever their number."""
    n = COUNTS[index % len(COUNTS)]
    kind = COUNT_KINDS[int(rng.integers(len(COUNT_KINDS)))]
    unit = _unit(kind, rng, split == "test")
    width = 0.82 * math.sqrt(5.0 / n) * _u(rng, 0.92, 1.08)  # n * width**2 is constant
    half = 1.75
    floor = draw_surface(rng, patterned=0, vivid=0.5)
    while True:  # scatter without touching; start anew when the last ones find no room
        places: list[np.ndarray] = []
        for _ in range(60):
            p = rng.uniform(-half + width / 2, half - width / 2, 2)
            if all(np.hypot(*(p - q)) > width * 1.12 for q in places):
                places.append(p)
            if len(places) == n:
                break
        if len(places) == n:
            break
    scene = Scene()
    scene.box((-9, -9, -0.1), (9, 9, 0), floor, "floor")
    same = draw_colours(rng, 1)[0] if rng.random() < 0.5 else None
    for p in places:
        for _ in range(20):
            colour = draw_colours(rng, 1)[0] if same is None else same
            if np.abs(colour ** (1 / 2.2) - floor.colour ** (1 / 2.2)).max() > 0.25:
                break
            same = None if same is None else draw_colours(rng, 1)[0]
        second = draw_colours(rng, 4)
        scene.add(
            unit,
            [Material(colour), *(Material(c) for c in second)],
            place=(*p, 0),
            yaw=_u(rng, 0, 2 * math.pi),
            scale=width,
            contact=0.35,
        )
    scene.build()
    elevation, fov = _u(rng, 0.75, 1.25), _u(rng, 0.6, 0.85)
    distance = 2.35 / math.tan(fov / 2)
    a = _u(rng, 0, 2 * math.pi)
    eye = distance * np.array(
        [math.sin(a) * math.cos(elevation), -math.cos(a) * math.cos(elevation), math.sin(elevation)]
    )
    camera = Camera.look(eye, (_u(rng, -0.1, 0.1), _u(rng, -0.1, 0.1), 0.1), roll=_u(rng, -0.05, 0.05), fov=fov)
    light = draw_light(rng, where=np.array([_u(rng, -3, 3), _u(rng, -3, 3), _u(rng, 3.5, 6)]))
    frame = render(scene, camera, light, size=size, rng=rng, brightness=_u(rng, 0.35, 0.6))
    return {"images": frame.image[None], "count": np.array([n], "i8")}


def views(rng: Rng, index: int, size: int, split: str) -> Example:
    """One model seen :data:`N_VIEWS` times: of the same materials, turned a little, each time in another room, light and lens."""
    class_id = index % len(OBJECT_CLASSES)
    name = OBJECT_CLASSES[class_id]
    model = draw_model(name, rng, is_test=split == "test")
    materials, yaw = draw_materials(rng), _u(rng, 0, 2 * math.pi)
    images = []
    for _ in range(N_VIEWS):
        scene = Scene()
        turned = yaw + _u(rng, -0.5, 0.5)
        instance = scene.add(model, materials, yaw=turned, class_name=name, contact=0.45)
        backdrop(scene, rng, patterned=0.15)
        scene.build()
        tri = scene.tri[scene.instance == instance].reshape(-1, 3)
        low, high = tri.min(0).astype("f8"), tri.max(0).astype("f8")
        elevation, fov = _u(rng, 0.08, 0.7), _u(rng, 0.6, 1.0)
        camera = frame_box(low, high, rng, fill=_u(rng, 0.85, 1.05), elevation=elevation, fov=fov)
        frame = render(scene, camera, draw_light(rng), size=size, rng=rng, brightness=_u(rng, 0.3, 0.6))
        images.append(frame.image)
    return {"images": np.stack(images), "class_id": np.array([class_id], "i8")}

"""Cast rays into a scene: colours with shadows, exact depth, instances and classes, and motion between two views.

The world is x right, y forward, z up, in metres. One ray through each pixel's centre gives depth and labels; pixels
whose colour differs from a neighbour's get three rays more, each with its own point of the lamp (soft edges of
shadows). Embree does the intersections (through embreex); everything else is numpy on all rays at once.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from virb.tasks.world import textures
from virb.tasks.world.shapes import rotation

if TYPE_CHECKING:
    from virb.tasks.world.scene import Scene

FAR_M = 30.0  # the depth given to the sky and to what lies beyond
# Three points around the centre; with the centre itself, four samples a pixel.
_SUBPIXELS = np.array([[0.0, 0.3, -0.3], [-0.34, 0.17, 0.17]], "f4")  # x, y
_LAMP_POINTS = np.array([[0.7, -0.6, 0.0], [0.3, 0.4, -0.8], [-0.4, 0.5, 0.3]], "f4")  # x, y, z


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: the rows of ``axes`` (3, 3) point right, up and forward; ``fov`` is vertical, in radians."""

    position: np.ndarray
    axes: np.ndarray
    fov: float

    @classmethod
    def at(cls, position: Any, *, yaw: float, pitch: float, roll: float = 0.0, fov: float = 1.0) -> Camera:
        """Yaw turns left from +y, pitch upwards, in radians."""
        turn = rotation(yaw, pitch, 0.0) @ rotation(roll=roll)
        return cls(np.asarray(position, "f8"), np.stack([turn[:, 0], turn[:, 2], turn[:, 1]]), fov)

    @classmethod
    def look(cls, position: Any, target: Any, *, roll: float = 0.0, fov: float = 1.0) -> Camera:
        d = np.asarray(target, "f8") - np.asarray(position, "f8")
        return cls.at(
            position, yaw=math.atan2(-d[0], d[1]), pitch=math.atan2(d[2], math.hypot(d[0], d[1])), roll=roll, fov=fov
        )

    def directions(self, x_px: np.ndarray, y_px: np.ndarray, size: int) -> np.ndarray:
        """Ray directions (K, 3) through image points; their forward part is 1, so that hit distances are depths."""
        half, k = np.float32(size / 2), np.float32(math.tan(self.fov / 2) * 2 / size)
        x, y = (x_px - half) * k, (half - y_px) * k
        right, up, forward = self.axes
        out = np.empty((len(x), 3), "f4")
        for i in range(3):
            out[:, i] = x * np.float32(right[i]) + y * np.float32(up[i]) + np.float32(forward[i])
        return out

    def project(self, points: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Image positions (..., 2) in pixels (x right, y down, centres at .5) and depths (...) of world points."""
        d = points - self.position
        right, up, forward = (d[..., 0] * a[0] + d[..., 1] * a[1] + d[..., 2] * a[2] for a in self.axes)
        k = size / (2 * math.tan(self.fov / 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.stack([right / forward * k + size / 2, size / 2 - up / forward * k], -1), forward


@dataclass(frozen=True)
class Light:
    """One lamp or sun with a soft edge, and light from everywhere. Colours are linear RGB."""

    position: np.ndarray  # of the lamp, or a point far away towards the sun
    colour: np.ndarray
    ambient_above: np.ndarray
    ambient_below: np.ndarray
    radius: float = 0.15
    falloff: float = 0.0  # 0: none (a sun); 1: inverse square, relative to 2.5 m
    sky: tuple[np.ndarray, np.ndarray] | None = None  # horizon and zenith
    fog_per_m: float = 0.0
    has_shadows: bool = True  # False for one convex thing alone: nothing it could throw a shadow on
    fog_colour: np.ndarray | None = None


@dataclass(frozen=True)
class Frame:
    """An image and what is known of its pixels' centres, all (size, size[, ...])."""

    image: np.ndarray  # uint8 (.., 3), sRGB
    depth_m: np.ndarray  # float32, along the optical axis; FAR_M for the sky
    class_id: np.ndarray  # uint8, into scene.CLASSES
    instance: np.ndarray  # uint8, 0: none
    point: np.ndarray  # float32 (.., 3): the surface point seen, in the world
    prim: np.ndarray  # int32, the triangle hit, -1 for none


@dataclass
class _Hits:
    prim: np.ndarray  # (K,) triangle hit, -1 for none
    depth: np.ndarray  # (K,)
    colour: np.ndarray  # (3, K), linear


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _column(v: np.ndarray) -> np.ndarray:
    return np.asarray(v, "f4")[:, None]


def _shade(
    scene: Scene, light: Light, origin: np.ndarray, directions: np.ndarray, lamp_offset: np.ndarray | None = None
) -> _Hits:
    """What K rays from one point see. Arrays are (3, K) inside: numpy is several times faster along the long axis."""
    n_rays = len(directions)
    origins = np.empty((n_rays, 3), "f4")
    origins[:] = origin
    hit = scene.embree.run(origins, directions, query="INTERSECT", output=1)
    prim = hit["primID"]
    at: Any = slice(None)
    if (prim < 0).any():
        at = np.flatnonzero(prim >= 0)
    d = np.ascontiguousarray(directions[at].T)
    f, u, v, t = prim[at], hit["u"][at], hit["v"][at], hit["tfar"][at]
    colour = _surface(scene, light, _column(origin), d, f, u, v, t, None if lamp_offset is None else lamp_offset[:, at])
    if isinstance(at, slice):
        return _Hits(prim, t, colour)
    all_colours = np.empty((3, n_rays), "f4")
    depth = np.full(n_rays, FAR_M, "f4")
    depth[at], all_colours[:, at] = t, colour
    sky = np.flatnonzero(prim < 0)
    horizon, zenith = light.sky if light.sky is not None else (light.ambient_below, light.ambient_above)
    d = directions[sky].T
    height = np.clip(d[2] / np.sqrt(_dot(d, d)), 0, 1) ** np.float32(0.6)
    all_colours[:, sky] = _column(horizon) * (1 - height) + _column(zenith) * height
    return _Hits(prim, depth, all_colours)


def _surface(
    scene: Scene,
    light: Light,
    origin: np.ndarray,
    d: np.ndarray,
    f: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    t: np.ndarray,
    lamp_offset: np.ndarray | None,
) -> np.ndarray:
    """Colour (3, K) of points on triangles ``f`` at barycentric (u, v) and depth t along the directions d (3, K)."""
    p = origin + t * d
    w = 1 - u - v
    corner = scene.normal9.take(f, axis=1)
    n = corner[0:3] * w
    n += corner[3:6] * u
    n += corner[6:9] * v
    n /= np.sqrt(_dot(n, n)) + np.float32(1e-9)
    # Over 0.25: the inside of a shade, the back of a leaf; less is only the rim of a smooth ball.
    n *= np.where(_dot(n, d) > 0.25, np.float32(-1), np.float32(1))
    m = scene.material.take(f)
    albedo = _albedo(scene, m, f, u, v, w)

    to_lamp = _column(light.position) - p
    if lamp_offset is not None:
        to_lamp += np.float32(light.radius) * lamp_offset
    dist2 = _dot(to_lamp, to_lamp)
    key = _dot(n, to_lamp) / np.sqrt(dist2)
    np.maximum(key, 0, out=key)
    if light.has_shadows:
        lit = np.flatnonzero(key)
        start = np.ascontiguousarray((p + np.float32(2e-3) * n).T.take(lit, axis=0))
        ends = np.full(len(lit), 0.999, "f4")
        towards = np.ascontiguousarray(to_lamp.T.take(lit, axis=0))
        key[lit] *= scene.embree.run(start, towards, dists=ends, query="OCCLUDED") != 0
    shine = None
    gloss = scene.gloss.take(m)
    glossy = np.flatnonzero((gloss > 0) & (key > 0))
    if len(glossy):
        view = d[:, glossy]
        half = to_lamp[:, glossy] / np.sqrt(dist2[glossy]) - view / np.sqrt(_dot(view, view))
        half /= np.sqrt(_dot(half, half)) + np.float32(1e-9)
        shine = np.maximum(_dot(half, n[:, glossy]), 0) ** np.float32(40) * gloss[glossy]
    if light.falloff:
        key *= np.float32(1 - light.falloff) + np.float32(light.falloff * 6.25) / np.maximum(dist2, np.float32(0.3))
    above = np.float32(0.5) + np.float32(0.5) * n[2]
    ambient = _column(light.ambient_below) + _column(light.ambient_above - light.ambient_below) * above
    ambient *= scene.openness(p, n)
    ambient += _column(light.colour) * key
    if scene.emission.any():
        ambient += scene.emission.take(m)
    out = albedo * ambient
    if shine is not None:
        out[:, glossy] += _column(light.colour) * shine
    if light.fog_per_m:
        veil = 1 - np.exp(np.float32(-light.fog_per_m) * t)
        out = out * (1 - veil) + _column(light.ambient_above if light.fog_colour is None else light.fog_colour) * veil
    return out


def _albedo(scene: Scene, m: np.ndarray, f: np.ndarray, u: np.ndarray, v: np.ndarray, w: np.ndarray) -> np.ndarray:
    albedo = scene.colour_a.take(m, axis=1)
    if not scene.pattern.any():
        return albedo
    pattern = scene.pattern.take(m)
    at = np.flatnonzero(pattern)
    if len(at):
        k, corner = m[at], scene.uv6.take(f[at], axis=1)
        a, b = corner[0:2] * w[at] + corner[2:4] * u[at] + corner[4:6] * v[at]
        c, s, period = scene.cos[k], scene.sin[k], scene.period[k]
        share = textures.mix_share(pattern[at], (a * c - b * s) / period, (a * s + b * c) / period, scene.seed[k])
        albedo[:, at] += (scene.colour_b.take(k, axis=1) - albedo[:, at]) * share
    return albedo


def _display(linear: np.ndarray, exposure: float) -> np.ndarray:
    """Film-like: highlights roll off, then the display's gamma; in [0, 1]."""
    return (1 - np.exp(-exposure * np.maximum(linear, 0))) ** np.float32(1 / 2.2)


def render(
    scene: Scene,
    camera: Camera,
    light: Light,
    *,
    size: int,
    rng: np.random.Generator,
    brightness: float = 0.36,
    noise: float = 0.01,
    exposure: float | None = None,
) -> Frame:
    """Draw one frame.

    ``brightness`` is the mean display value that the exposure aims at (unless ``exposure`` is given); ``noise`` is the
    standard deviation of the sensor noise, in display units (1 is white).
    """
    x, y = _pixel_centres(size)
    origin = camera.position.astype("f4")
    directions = camera.directions(x, y, size)
    centre = _shade(scene, light, origin, directions)
    if exposure is None:
        level = np.minimum(centre.colour.mean(0), 4.0).mean()
        exposure = -math.log(1 - min(max(brightness, 0.05), 0.9) ** 2.2) / max(float(level), 1e-4)
    image = _display(centre.colour, exposure)  # (3, size * size)
    again = _busy(image.reshape(3, size, size), centre.prim.reshape(size, size), scene)
    if len(again):
        k = np.repeat(again, 3)
        sub = np.tile(_SUBPIXELS, (1, len(again)))
        fine = _shade(
            scene,
            light,
            origin,
            camera.directions(x[k] + sub[0], y[k] + sub[1], size),
            np.tile(_LAMP_POINTS, (1, len(again))),
        )
        image[:, again] += _display(fine.colour, exposure).reshape(3, -1, 3).sum(2)
        image[:, again] *= np.float32(0.25)
    if noise:
        image += np.float32(noise) * rng.standard_normal(image.shape, dtype="f4")
    hit = centre.prim >= 0
    prim = np.maximum(centre.prim, 0)
    image8 = np.clip(np.rint(image * np.float32(255)), 0, 255).astype(np.uint8)
    return Frame(
        image=np.ascontiguousarray(image8.reshape(3, size, size).transpose(1, 2, 0)),
        depth_m=np.minimum(centre.depth, FAR_M).reshape(size, size),
        class_id=np.where(hit, scene.class_id[prim], 0).astype(np.uint8).reshape(size, size),
        instance=np.where(hit, scene.instance[prim], 0).astype(np.uint8).reshape(size, size),
        point=(origin + centre.depth[:, None] * directions).reshape(size, size, 3),
        prim=np.asarray(centre.prim, "i4").reshape(size, size),
    )


@functools.lru_cache(maxsize=4)
def _pixel_centres(size: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0:size, 0:size].astype("f4") + np.float32(0.5)
    return x.ravel(), y.ravel()


def _busy(image: np.ndarray, prim: np.ndarray, scene: Scene) -> np.ndarray:
    """Flat indices of the pixels that one ray does not draw well: next to an edge of colour or of an object."""
    part = np.where(prim >= 0, scene.prim.take(np.maximum(prim, 0)), -1)
    busy = np.zeros(prim.shape, bool)
    for low, high in ((np.s_[:-1, :], np.s_[1:, :]), (np.s_[:, :-1], np.s_[:, 1:])):
        step = np.abs(image[(slice(None), *high)] - image[(slice(None), *low)]).max(0)
        edge = (step > 0.07) | ((part[high] != part[low]) & (step > 0.03))
        busy[low] |= edge
        busy[high] |= edge
    return np.flatnonzero(busy)


def motion(frame: Frame, scene: Scene, before: Camera, after: Camera, size: int) -> np.ndarray:
    """Flow in pixels (size, size, 2), x right and y down, of each pixel's surface point from one camera to another.

    The scene is at rest. NaN where the point leaves the second view or is hidden there.
    """
    pixel, depth = after.project(frame.point.astype("f8"), size)
    y, x = np.mgrid[0:size, 0:size] + 0.5
    flow = pixel - np.stack([x, y], -1)
    seen = (depth > 0.05) & (frame.depth_m < FAR_M) & (pixel >= 0).all(-1) & (pixel < size).all(-1)
    at = np.flatnonzero(seen)
    if len(at):
        points = frame.point.reshape(-1, 3)[at]
        start = np.empty_like(points)
        start[:] = after.position
        hidden = scene.embree.run(start, points - start, dists=np.full(len(at), 0.995, "f4"), query="OCCLUDED") == 0
        seen.reshape(-1)[at[hidden]] = False
    flow[~seen] = np.nan
    return flow.astype("f4")


def normals(frame: Frame, scene: Scene, camera: Camera) -> np.ndarray:
    """Directions of the surfaces seen (size, size, 3), of length 1: right, up and towards the camera. NaN at the sky.

    They are those of the triangles, not of the smoothed shading, and point to the side that is seen.
    """
    a, b, c = np.moveaxis(scene.tri[np.maximum(frame.prim, 0)].astype("f8"), -2, 0)
    n = np.cross(b - a, c - a)
    with np.errstate(invalid="ignore"):
        n /= np.linalg.norm(n, axis=-1, keepdims=True)
    towards = camera.position - frame.point
    n *= np.where((n * towards).sum(-1, keepdims=True) < 0, -1, 1)
    right, up, forward = camera.axes
    out = np.stack([n @ right, n @ up, -(n @ forward)], axis=-1)
    out[frame.prim < 0] = np.nan
    return out.astype("f4")


def free_path(scene: Scene, position: np.ndarray, yaw: float, *, half_width: float = 0.2) -> float:
    """How far in metres a plate ``2 * half_width`` wide can move straight ahead before it touches something.

    Exact on the triangles: within a corridor the nearest point of a triangle is one of its corners or where an edge
    crosses the corridor's side. Floor and ceiling do not block; anything else does, at any height.
    """
    ahead, side = np.array([-math.sin(yaw), math.cos(yaw)]), np.array([math.cos(yaw), math.sin(yaw)])
    tri = scene.tri[scene.is_solid][..., :2].astype("f8") - np.asarray(position, "f8")[:2]
    s = tri[..., 0] * ahead[0] + tri[..., 1] * ahead[1]
    r = tri[..., 0] * side[0] + tri[..., 1] * side[1]
    reach = [s[np.abs(r) <= half_width]]
    s2, r2 = np.roll(s, -1, 1), np.roll(r, -1, 1)
    for edge in (-half_width, half_width):
        crosses = (r - edge) * (r2 - edge) < 0
        t = (edge - r[crosses]) / (r2[crosses] - r[crosses])
        reach.append(s[crosses] + t * (s2[crosses] - s[crosses]))
    distance = np.concatenate(reach)
    distance = distance[distance >= 0]
    return float(distance.min()) if len(distance) else math.inf

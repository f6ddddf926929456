"""Primitive solids, and the builder that assembles them into models.

A primitive is a unit template (a triangle soup with smooth normals and surface coordinates) under an affine map. A
model only lists its primitives; all triangles of a scene are made at once in :func:`realise`, which is what keeps a
scene of eighty primitives at about a millisecond. Units are metres, z points up.
"""

# ruff: noqa: RUF005  (a point plus a list of three numbers is numpy's addition, no concatenation)
from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

Vec = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Template:
    """A unit solid: corners ``tri`` and normals ``nrm`` (F, 3, 3), surface coordinates ``uv`` (F, 3, 2) in units of the
    two lengths of the primitive named by ``axes`` (F, 2): 0, 1, 2 the sizes along x, y, z, and 3 the circumference."""

    tri: np.ndarray
    nrm: np.ndarray
    uv: np.ndarray
    axes: np.ndarray


def _grid(points: np.ndarray, normals: np.ndarray, axes: tuple[int, int] = (3, 2)) -> Template:
    """Triangulate a (rows, columns, 3) grid of points; rows run along v, columns along u."""
    rows, cols = points.shape[:2]
    v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, cols), indexing="ij")
    uv = np.stack([u, v], -1)
    quads = []
    for field_ in (points, normals, uv):
        a, b, c, d = field_[:-1, :-1], field_[:-1, 1:], field_[1:, 1:], field_[1:, :-1]
        quads.append(np.concatenate([np.stack([a, b, c], 2), np.stack([a, c, d], 2)]).reshape(-1, 3, field_.shape[-1]))
    tri, nrm, uvs = quads
    area = np.linalg.norm(np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0]), axis=1)
    keep = area > 1e-9  # a pole's triangles have no area
    return _template(tri[keep], nrm[keep], uvs[keep], np.tile(axes, (int(keep.sum()), 1)))


def _template(tri: np.ndarray, nrm: np.ndarray, uv: np.ndarray, axes: np.ndarray) -> Template:
    return Template(tri.astype("f4"), nrm.astype("f4"), uv.astype("f4"), axes.astype("i8"))


def _flat_normals(tri: np.ndarray) -> np.ndarray:
    n = np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0])
    n /= np.linalg.norm(n, axis=1, keepdims=True) + 1e-12
    return np.repeat(n[:, None], 3, 1)


def _stack(*parts: Template) -> Template:
    return Template(*(np.concatenate([getattr(p, k) for p in parts]) for k in ("tri", "nrm", "uv", "axes")))


@functools.cache
def _box(top_x: float, top_y: float, shift_y: float) -> Template:
    """The unit cube around the origin, its top face scaled and shifted (a wedge, a hood, a seat)."""
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    top = corners[:, 2] > 0
    corners[top] = corners[top] * [top_x, top_y, 1] + [0, shift_y, 0]
    faces, axes, uvs = [], [], []
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    for side, pair in zip(sides, [(1, 2), (1, 2), (0, 2), (0, 2), (0, 1), (0, 1)], strict=True):
        a, b, c, d = (corners[k] for k in side)
        for t in ([a, b, c], [a, c, d]):
            faces.append(t)
            axes.append(pair)
            uvs.append([[p[pair[0]], p[pair[1]]] for p in t])
    tri = np.array(faces)
    normals = _flat_normals(tri)
    normals *= np.sign((normals[:, 0] * tri.mean(1)).sum(1))[:, None, None]  # outwards
    return _template(tri, normals, np.array(uvs), np.array(axes))


@functools.cache
def _cylinder(segments: int, taper: float, has_caps: bool) -> Template:
    """Radius .5 at z = -.5, ``.5 * taper`` at z = +.5."""
    angle = np.linspace(0, 2 * math.pi, segments + 1)
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], -1)
    up = np.array([0, 0, 0.5])
    points = np.stack([0.5 * ring - up, 0.5 * taper * ring + up])
    normal = ring + [0, 0, 0.5 * (1 - taper)]
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    parts = [_grid(points, np.stack([normal, normal]))]
    for z, radius in ((-0.5, 0.5), (0.5, 0.5 * taper)):
        if has_caps and radius > 1e-3:
            rim = ring * radius + [0, 0, z]
            tri = np.stack([np.broadcast_to([0, 0, z], (segments, 3)), rim[:-1], rim[1:]], 1)
            nrm = np.broadcast_to([0, 0, math.copysign(1, z)], tri.shape)
            parts.append(_template(tri, nrm, tri[..., :2], np.tile((0, 1), (segments, 1))))
    return _stack(*parts)


@functools.cache
def _ball(segments: int, rings: int, squareness: float) -> Template:
    """A superellipsoid of unit diameter: squareness 1 is a sphere, towards 0 a rounded box."""
    phi = np.linspace(-math.pi / 2, math.pi / 2, rings + 1)[:, None]
    theta = np.linspace(0, 2 * math.pi, segments + 1)[None]

    def power(x: np.ndarray, e: float) -> np.ndarray:
        return np.sign(x) * np.abs(np.where(np.abs(x) < 1e-9, 0, x)) ** e

    e = squareness
    one = np.ones_like(theta)
    points = 0.5 * np.stack(
        [
            power(np.cos(phi), e) * power(np.cos(theta), e),
            power(np.cos(phi), e) * power(np.sin(theta), e),
            power(np.sin(phi), e) * one,
        ],
        -1,
    )
    f = 2 - e  # the exact normal of a superellipsoid
    normals = np.stack(
        [
            power(np.cos(phi), f) * power(np.cos(theta), f),
            power(np.cos(phi), f) * power(np.sin(theta), f),
            power(np.sin(phi), f) * one,
        ],
        -1,
    )
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-9
    return _grid(points, normals)


@functools.lru_cache(maxsize=128)
def _torus(ratio: float, segments: int, sides: int) -> Template:
    """Outer diameter 1 in the xy plane; ``ratio`` is the tube's radius over the ring's."""
    ring = 0.5 / (1 + ratio)
    a, b = np.meshgrid(np.linspace(0, 2 * math.pi, sides + 1), np.linspace(0, 2 * math.pi, segments + 1), indexing="ij")
    normal = np.stack([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)], -1)
    centre = ring * np.stack([np.cos(b), np.sin(b), np.zeros_like(b)], -1)
    return _grid(centre + ring * ratio * normal, normal)


@functools.lru_cache(maxsize=64)
def _leaf(bend: float) -> Template:
    """A pointed blade from the origin along +x, unit length and width, drooping by ``bend``."""
    s = np.linspace(0, 1, 5)
    width = 0.5 * np.sin(math.pi * np.clip(s * 0.9 + 0.08, 0, 1))
    mid = np.stack([s, np.zeros_like(s), -bend * s**2], -1)
    points = np.stack([mid - np.stack([0 * s, width, 0 * s], -1), mid + np.stack([0 * s, width, 0 * s], -1)])
    slope = np.stack([2 * bend * s, 0 * s, np.ones_like(s)], -1)
    slope /= np.linalg.norm(slope, axis=1, keepdims=True)
    return _grid(points, np.stack([slope, slope]), axes=(0, 1))


def coarser(template: Template) -> Template:
    """The same solid with fewer triangles, where it has a coarser one."""
    return _COARSER.get(id(template), template)


_COARSER: dict[int, Template] = {}  # by identity: templates live as long as the process, in their caches


def _cached(make: Callable[..., Template], first: int, second: int | None, *rest: float | bool) -> Template:
    """A round template, with its coarser sibling made known."""
    numbers = (first,) if second is None else (first, second)
    template = make(*numbers, *rest)
    if id(template) not in _COARSER:
        low = (
            (max(5, round(first * 0.6)),)
            if second is None
            else (max(5, round(first * 0.6)), max(3, round(second * 0.65)))
        )
        _COARSER[id(template)] = make(*low, *rest)
    return template


def _round(x: float) -> float:
    return round(float(x) * 20) / 20  # so that templates are few and stay cached


def lathe(profile: Sequence[tuple[float, float]], segments: int = 12) -> Template:
    """A solid of revolution about z: ``profile`` is (radius, z) from bottom to top, in metres."""
    p = np.asarray(profile, dtype=float)
    tangent = np.gradient(p, axis=0)
    normal2 = np.stack([tangent[:, 1], -tangent[:, 0]], -1)
    normal2 /= np.linalg.norm(normal2, axis=1, keepdims=True) + 1e-9
    angle = np.linspace(0, 2 * math.pi, segments + 1)
    c, s = np.cos(angle)[None], np.sin(angle)[None]
    points = np.stack([p[:, :1] * c, p[:, :1] * s, np.repeat(p[:, 1:], segments + 1, 1)], -1)
    normals = np.stack([normal2[:, :1] * c, normal2[:, :1] * s, np.repeat(normal2[:, 1:], segments + 1, 1)], -1)
    return _grid(points, normals)


def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Rz(yaw) Rx(pitch) Ry(roll), angles in radians, as (3, 3)."""
    cz, sz, cx, sx = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    cy, sy = math.cos(roll), math.sin(roll)
    return np.array(
        [
            [cz * cy - sz * sx * sy, -sz * cx, cz * sy + sz * sx * cy],
            [sz * cy + cz * sx * sy, cz * cx, sz * sy - cz * sx * cy],
            [-cx * sy, sx, cx * cy],
        ]
    )


def _frame_to(direction: np.ndarray) -> np.ndarray:
    """A rotation that takes +z to ``direction``."""
    # Plain floats: numpy's cross and norm cost more than the arithmetic on three numbers.
    a, b, c = (float(v) for v in direction)
    n = math.sqrt(a * a + b * b + c * c) + 1e-12
    a, b, c = a / n, b / n, c / n
    y = (-c, 0.0, a) if abs(a) > 0.9 else (0.0, c, -b)  # z x (0,1,0) or z x (1,0,0)
    n = math.sqrt(sum(v * v for v in y))
    p, q, r = (v / n for v in y)
    return np.array([[q * c - r * b, p, a], [r * a - p * c, q, b], [p * b - q * a, r, c]])


@dataclass
class Model:
    """A list of primitives in the model's own frame: it stands on z = 0 around the origin and faces -y.

    ``slot`` of a primitive says which of the model's materials it wears.
    """

    templates: list[Template] = field(default_factory=list)
    maps: list[np.ndarray] = field(default_factory=list)  # (3, 4): linear part and translation
    lengths: list[tuple[float, float, float, float]] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    _bounds: tuple[int, np.ndarray] | None = field(default=None, repr=False)  # for how many primitives, and the corners

    def add(self, template: Template, centre: Vec, size: Vec, slot: int = 0, turn: np.ndarray | None = None) -> None:
        """Append ``template``, scaled by ``size``, then turned, then moved to ``centre``."""
        sx, sy, sz = (float(s) for s in size)
        m = np.zeros((3, 4))
        if turn is None:
            m[0, 0], m[1, 1], m[2, 2] = sx, sy, sz
        else:
            m[:, :3] = turn * np.array((sx, sy, sz))
        m[:, 3] = centre
        self.templates.append(template)
        self.maps.append(m)
        self.lengths.append((sx, sy, sz, math.pi * 0.5 * (sx + sy)))
        self.slots.append(slot)

    def box(
        self,
        centre: Vec,
        size: Vec,
        slot: int = 0,
        *,
        turn: np.ndarray | None = None,
        top: tuple[float, float] = (1.0, 1.0),
        shift: float = 0.0,
    ) -> None:
        """A box; ``top`` scales its upper face, ``shift`` moves that along y (as a share of the size)."""
        self.add(_box(_round(top[0]), _round(top[1]), _round(shift)), centre, size, slot, turn)

    def cylinder(
        self,
        centre: Vec,
        radius: float,
        height: float,
        slot: int = 0,
        *,
        taper: float = 1.0,
        turn: np.ndarray | None = None,
        segments: int = 12,
        has_caps: bool = True,
    ) -> None:
        """A cylinder along z; ``taper`` is the top radius over the bottom one (0: a cone)."""
        self.add(
            _cached(_cylinder, segments, None, _round(taper), has_caps),
            centre,
            (2 * radius, 2 * radius, height),
            slot,
            turn,
        )

    def rod(
        self,
        start: Vec,
        end: Vec,
        radius: float,
        slot: int = 0,
        *,
        is_square: bool = False,
        taper: float = 1.0,
        has_caps: bool = True,
    ) -> None:
        """A straight bar between two points."""
        a, b = np.asarray(start, float), np.asarray(end, float)
        d = b - a
        length = math.sqrt(float(d @ d))
        size = (2 * radius, 2 * radius, length)
        template = (
            _box(_round(taper), _round(taper), 0.0)
            if is_square
            else _cached(_cylinder, 7, None, _round(taper), has_caps)
        )
        self.add(template, (a + b) / 2, size, slot, _frame_to(d))

    def ball(
        self,
        centre: Vec,
        size: Vec | float,
        slot: int = 0,
        *,
        squareness: float = 1.0,
        turn: np.ndarray | None = None,
        segments: int = 12,
        rings: int = 7,
    ) -> None:
        """An ellipsoid (or a cushion, at a low squareness) of the given diameters."""
        size = (size,) * 3 if isinstance(size, (int, float)) else size
        self.add(_cached(_ball, segments, rings, _round(squareness)), centre, size, slot, turn)

    def torus(
        self, centre: Vec, diameter: float, ratio: float, slot: int = 0, *, turn: np.ndarray | None = None
    ) -> None:
        self.add(_torus(_round(ratio), 16, 8), centre, (diameter,) * 3, slot, turn)

    def leaf(
        self, start: Vec, length: float, width: float, turn: np.ndarray, slot: int = 0, *, bend: float = 0.3
    ) -> None:
        self.add(_leaf(_round(bend)), start, (length, width, length), slot, turn)

    def extend(self, other: Model, turn: np.ndarray, shift: Vec, *, slot: int = 0, scale: float | Vec = 1.0) -> None:
        """Append all primitives of ``other``, scaled, turned and moved; its slots are raised by ``slot``."""
        linear = turn * scale
        new = _mapped(np.broadcast_to(linear, (len(other.maps), 3, 3)), np.stack(other.maps).transpose(0, 2, 1))
        new = np.ascontiguousarray(new.transpose(0, 2, 1))
        new[:, :, 3] += shift
        self.maps += list(new)
        self.templates += other.templates
        self.lengths += other.lengths
        self.slots += [s + slot for s in other.slots]

    def coarse(self) -> Model:
        """The same model with fewer triangles, for where it is seen from afar."""
        return Model([coarser(t) for t in self.templates], self.maps, self.lengths, self.slots)

    def bounds(self) -> np.ndarray:
        """Lowest and highest corner, (2, 3), from the exact vertices."""
        if self._bounds is None or self._bounds[0] != len(self.templates):
            corners = np.concatenate([t.tri.reshape(-1, 3) for t in self.templates])
            prim = np.repeat(np.arange(len(self.templates)), [3 * len(t.tri) for t in self.templates])
            maps = np.stack(self.maps)[prim]
            points = _mapped(maps[:, :, :3], corners[:, None])[:, 0] + maps[:, :, 3]
            self._bounds = (len(self.templates), np.stack([points.min(0), points.max(0)]))
        return self._bounds[1]


@dataclass(frozen=True)
class Triangles:
    """What :func:`realise` makes: ``tri`` and ``nrm`` (F, 3, 3), ``uv`` (F, 3, 2) in metres, ``prim`` (F,)."""

    tri: np.ndarray
    nrm: np.ndarray
    uv: np.ndarray
    prim: np.ndarray


def _mapped(linear: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (K, C, 3) under one linear map (K, 3, 3) each, written out: no BLAS, whose bits may depend on its threads."""
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    out = np.empty(points.shape, linear.dtype)
    for i in range(3):
        out[..., i] = linear[:, i, 0, None] * x + linear[:, i, 1, None] * y + linear[:, i, 2, None] * z
    return out


def realise(templates: Sequence[Template], maps: np.ndarray, lengths: np.ndarray) -> Triangles:
    """Make the triangles of P primitives from their templates, maps (P, 3, 4) and lengths (P, 4), all at once."""
    counts = np.array([len(t.tri) for t in templates])
    prim = np.repeat(np.arange(len(templates)), counts)
    tri = np.concatenate([t.tri for t in templates])
    nrm = np.concatenate([t.nrm for t in templates])
    uv = np.concatenate([t.uv for t in templates])
    axes = np.concatenate([t.axes for t in templates])
    linear = maps[:, :, :3].astype("f4")
    # The cofactor matrix carries normals as the inverse transpose does, and needs no inverse.
    after, later = linear[:, [1, 2, 0]], linear[:, [2, 0, 1]]
    cofactor = after[:, :, [1, 2, 0]] * later[:, :, [2, 0, 1]] - after[:, :, [2, 0, 1]] * later[:, :, [1, 2, 0]]
    out = _mapped(linear[prim], tri)
    out += maps[:, :, 3].astype("f4")[prim][:, None]
    normals = _mapped(cofactor[prim], nrm)
    return Triangles(out, normals, uv * lengths.astype("f4")[prim[:, None], axes][:, None], prim)

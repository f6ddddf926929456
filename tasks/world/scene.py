"""A scene: models with places, materials and labels, made into one set of triangles."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from virb.tasks.world import shapes
from virb.tasks.world.sets import SEMANTIC_CLASSES
from virb.tasks.world.shapes import Model
from virb.tasks.world.textures import PATTERNS


def class_of(name: str) -> int:
    """Index of a semantic class in :data:`SEMANTIC_CLASSES`."""
    return SEMANTIC_CLASSES.index(name)


@dataclass(frozen=True)
class Material:
    """A surface: one or two linear colours mixed by a pattern of the given period (metres) and angle (radians)."""

    colour: np.ndarray
    second: np.ndarray | None = None
    pattern: str = "plain"
    period_m: float = 0.2
    angle: float = 0.0
    seed: int = 0
    gloss: float = 0.0
    emission: float = 0.0


@functools.lru_cache(maxsize=1)
def _device() -> Any:
    """Embree, with one thread: it asks how many it may have when it starts, and the renderer runs one process a core."""
    from embreex.rtcore import EmbreeDevice

    try:
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(allowed)})
    except (AttributeError, OSError):  # not on this platform
        return EmbreeDevice()
    try:
        return EmbreeDevice()
    finally:
        os.sched_setaffinity(0, allowed)


class Scene:
    """Collects models with :meth:`add`, then :meth:`build` makes the arrays that rendering reads.

    After :meth:`build`: ``tri`` (F, 3, 3), the corners' normals ``normal9`` (9, F), surface coordinates ``uv6`` (6, F),
    per triangle ``prim``, ``material``, ``class_id``, ``instance``, ``is_solid`` (F,), per material ``colour_a`` and
    ``colour_b`` (3, M), ``pattern``, ``period``, ``gloss``, ``emission``, ... (M,).
    """

    def __init__(self) -> None:
        self._all = Model()
        self._material_of_prim: list[int] = []
        self._class_of_prim: list[int] = []
        self._instance_of_prim: list[int] = []
        self._materials: list[Material] = []
        self._feet: list[tuple[int, int, float, float, np.ndarray, float]] = []
        self.n_instances = 0
        self.room: tuple[float, float, float, float, float] | None = None  # x0, x1, y0, y1, height: shades the corners

    def add(
        self,
        model: Model,
        materials: Sequence[Material],
        *,
        place: Any = (0.0, 0.0, 0.0),
        yaw: float = 0.0,
        class_name: str = "thing",
        is_instance: bool = True,
        scale: float = 1.0,
        turn: np.ndarray | None = None,
        contact: float = 0.0,
    ) -> int:
        """Place a model; returns its instance number (0 for none).

        ``turn`` replaces ``yaw`` where the model leans or lies; ``contact`` in [0, 1] darkens the floor around it.
        """
        first = len(self._materials)
        self._materials += materials
        linear = shapes.rotation(yaw) if turn is None else turn
        self._all.extend(model, linear, np.asarray(place, float), scale=scale)
        n = len(model.slots)
        instance = 0
        if is_instance:
            self.n_instances += 1
            instance = self.n_instances
        self._material_of_prim += [first + min(s, len(materials) - 1) for s in model.slots]
        self._class_of_prim += [class_of(class_name)] * n
        self._instance_of_prim += [instance] * n
        if contact:
            where = np.asarray(place, float)
            self._feet.append(
                (len(self._material_of_prim) - n, len(self._material_of_prim), where[0], where[1], linear, contact)
            )
        return instance

    def box(self, low: Any, high: Any, material: Material, class_name: str, *, is_instance: bool = False) -> int:
        """An axis-aligned box between two corners."""
        low, high = np.asarray(low, float), np.asarray(high, float)
        m = Model()
        m.box((low + high) / 2, high - low)
        return self.add(m, [material], class_name=class_name, is_instance=is_instance)

    def build(self) -> Scene:
        """Make the triangles and all that is looked up by triangle or material."""
        t = shapes.realise(self._all.templates, np.stack(self._all.maps), np.array(self._all.lengths))
        self.tri, self.prim = t.tri, t.prim
        self.material = np.array(self._material_of_prim)[t.prim]
        self.class_id = np.array(self._class_of_prim, "u1")[t.prim]
        self.instance = np.array(self._instance_of_prim, "u1")[t.prim]
        self.is_solid = (self.class_id != class_of("floor")) & (self.class_id != class_of("ceiling"))
        self.dark_floor = [self._foot(*foot) for foot in self._feet]
        ms = self._materials
        # Long axes last: see render._shade.
        self.normal9 = np.ascontiguousarray(t.nrm.reshape(-1, 9).T)
        self.uv6 = np.ascontiguousarray(t.uv.reshape(-1, 6).T)
        self.colour_a = np.array([m.colour for m in ms], "f4").T.copy()
        self.colour_b = np.array([m.colour if m.second is None else m.second for m in ms], "f4").T.copy()
        self.pattern = np.array([PATTERNS.index(m.pattern) for m in ms])
        self.period = np.array([m.period_m for m in ms], "f4")
        self.cos, self.sin = (f(np.array([m.angle for m in ms])).astype("f4") for f in (np.cos, np.sin))
        self.seed = np.array([m.seed for m in ms], "i8")
        self.gloss = np.array([m.gloss for m in ms], "f4")
        self.emission = np.array([m.emission for m in ms], "f4")
        return self

    @functools.cached_property
    def embree(self) -> Any:
        """The triangles in Embree's hands, for its ``run``; made when the first ray is cast."""
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        scene = EmbreeScene(_device())
        self._mesh = TriangleMesh(scene, self.tri)
        return scene

    def _foot(
        self, first: int, last: int, x: float, y: float, linear: np.ndarray, strength: float
    ) -> tuple[float, ...]:
        """The box around a model's footprint: centre, direction of its x axis, half sizes, and how much it darkens."""
        at = slice(*np.searchsorted(self.prim, [first, last]))
        d = self.tri[at].reshape(-1, 3)[:, :2] - np.array([x, y], "f4")
        across = np.array([linear[:2, 0], linear[:2, 1]]) / (np.linalg.norm(linear[:2, :2], axis=0)[:, None] + 1e-9)
        a, b = (d[:, 0] * c[0] + d[:, 1] * c[1] for c in across.astype("f4"))
        mid = np.array([a.min() + a.max(), b.min() + b.max()]) / 2
        centre = mid @ across + [x, y]
        return (*centre, *across[0], np.ptp(a) / 2, np.ptp(b) / 2, strength)

    def openness(self, p: np.ndarray, n: np.ndarray) -> np.ndarray:
        """Share (K,) of the ambient light at points p with normals n (3, K): less in corners and under furniture."""
        one = np.float32(1)
        share = np.ones(p.shape[1], "f4")
        if self.room is not None:
            for axis, low, high in ((0, *self.room[:2]), (1, *self.room[2:4]), (2, 0.0, self.room[4])):
                # The nearer of two opposite walls; not on that wall itself.
                near = np.minimum(p[axis] - np.float32(low), np.float32(high) - p[axis])
                dark = np.exp(np.maximum(near, 0) * np.float32(-4))
                share *= one - np.float32(0.35) * dark * (np.abs(n[axis]) < 0.5)
        ground = np.flatnonzero((p[2] < 0.02) & (n[2] > 0.7)) if self.dark_floor else np.empty(0, int)
        if len(ground):
            px, py = p[0, ground], p[1, ground]
            dark = np.ones(len(ground), "f4")
            for foot in self.dark_floor:
                x, y, c, s, hx, hy, strength = (np.float32(v) for v in foot)
                dx, dy = px - x, py - y
                a = np.maximum(np.abs(dx * c + dy * s) - hx * np.float32(0.9), 0)
                b = np.maximum(np.abs(dy * c - dx * s) - hy * np.float32(0.9), 0)
                dark *= one - strength * np.exp(np.float32(-7) * np.sqrt(a * a + b * b))
            share[ground] *= dark
        return share

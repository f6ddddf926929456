"""What the world contains: the image sets, their splits, annotations, units and class names."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

# Raise it whenever a change moves pixels or labels of all sets (of one set: its own version), so that what was rendered
# before, and every feature cached from it, is made anew.
RENDER_VERSION = 5

OBJECT_CLASSES = (
    "chair", "table", "shelf", "lamp", "sofa", "bed", "cabinet", "plant", "person", "animal", "car", "ladder",
)  # fmt: skip
# Semantic classes of a pixel: nothing hit, the shell of a room, the twelve objects, and all else.
SEMANTIC_CLASSES = ("sky", "wall", "floor", "ceiling", *OBJECT_CLASSES, "fixture", "thing")
ROOM_KINDS = ("bedroom", "living room", "dining room", "office", "kitchen", "garage")
MATERIALS = ("stripes", "checks", "dots", "bricks", "stone", "clouds")
COUNTS = (3, 4, 5, 6, 7, 8)
EGOMOTIONS = ("move ahead", "rotate left", "rotate right", "look up", "look down")
ACTIONS = ("jump", "fall", "crouch", "wave", "turn round", "walk up")
ANIMALS = ("dog", "pig", "bull", "horse", "deer", "rabbit", "elephant", "sheep")
LAND_USES = ("houses", "industry", "fields", "orchard", "river", "motorway")
ROLES = ("background", "own left", "own right", "other left", "other right")

# Units and meaning of every annotation; N counts examples, H and W are the image's height and width.
UNITS: Mapping[str, str] = {
    "class_id": "class index (N,) int64",
    "scene_id": "class index (N,) int64",
    "material_id": "class index (N,) int64",
    "action": "class index (N,) int64",
    "count": "number of things, 3 to 8 (N,) int64",
    "steps": "free steps of 0.25 m straight ahead, 0 to 4, where 4 means four or more (N,) int64",
    "depth_m": "metres along the optical axis (z-depth) at the pixel's centre, NaN beyond 30 m (N, H, W) float16",
    "foreground": "1 on the object, 0 elsewhere (N, H, W) uint8",
    "class_mask": "index into SEMANTIC_CLASSES (N, H, W) uint8",
    "instance": "1, 2, ... for each object of the scene, 0 for the room (N, H, W) uint8",
    "floor": "1 where one can walk (floor and rugs in view), 0 elsewhere (N, H, W) uint8",
    "normal": "direction of the surface, of length 1: right, up, towards the camera; NaN off the object (N, H, W, 3) float16",
    "flow_px": "pixels (x right, y down) from first to second frame, NaN where hidden there (N, H, W, 2) float16",
    "role_mask": "0 background, 1 own left, 2 own right, 3 other's left, 4 other's right hand and arm (N, H, W) uint8",
}


@dataclass(frozen=True)
class SetSpec:
    """One image set.

    ``splits`` counts examples; an example has ``n_frames`` adjacent frames; ``classes`` names the values of its class
    annotations; ``maker`` is ``module:function`` with (rng, index, size, split) -> arrays of one example.
    """

    name: str
    summary: str
    maker: str
    splits: Mapping[str, int]
    annotations: tuple[str, ...]
    n_frames: int = 1
    version: int = 1
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def units(self) -> dict[str, str]:
        return {a: UNITS[a] for a in self.annotations}


_VIEW_LABELS = ("depth_m", "class_mask", "instance", "floor")
_ROOM_LABELS = ("scene_id", *_VIEW_LABELS)

_SPECS = (
    SetSpec(
        "objects",
        "one object of twelve classes, a new model in every image",
        "objects:objects",
        {"train": 1800, "test": 1000},
        ("class_id", "foreground", "depth_m", "normal"),
        version=2,
        classes={"class_id": OBJECT_CLASSES},
    ),
    SetSpec(
        "rooms",
        "furnished rooms of six kinds",
        "interiors:rooms",
        {"train": 1400, "test": 800},
        _ROOM_LABELS,
        classes={"scene_id": ROOM_KINDS, "class_mask": SEMANTIC_CLASSES},
    ),
    SetSpec(
        "materials",
        "a curved or slanted surface with one of six patterns",
        "objects:materials",
        {"train": 1000, "test": 600},
        ("material_id",),
        classes={"material_id": MATERIALS},
    ),
    SetSpec(
        "count",
        "three to eight things of one kind on a plain floor",
        "objects:count",
        {"train": 1300, "test": 900},
        ("count",),
        classes={"count": tuple(str(n) for n in COUNTS)},
    ),
    SetSpec(
        "steps",
        "how many steps of 0.25 m are free straight ahead",
        "interiors:steps",
        {"train": 1200, "test": 800},
        ("steps",),
        classes={"steps": ("0", "1", "2", "3", "4 or more")},
    ),
    SetSpec(
        "egomotion",
        "two views in a room: which way did the camera move",
        "interiors:egomotion",
        {"train": 1000, "test": 600},
        ("action", "flow_px"),
        n_frames=2,
        classes={"action": EGOMOTIONS},
    ),
    SetSpec(
        "actions",
        "six frames of a person doing something",
        "actions:actions",
        {"train": 400, "test": 240},
        ("action",),
        n_frames=6,
        classes={"action": ACTIONS},
    ),
    SetSpec(
        "objects-shift",
        "the classes of objects under other patterns, lenses, distances, noise and occlusion",
        "objects:objects_shift",
        {"test": 1000},
        ("class_id", "foreground", "depth_m"),
        classes={"class_id": OBJECT_CLASSES},
    ),
    SetSpec(
        "rooms-dark",
        "furnished rooms at night: one weak lamp, haze, a noisy sensor",
        "interiors:rooms_dark",
        {"train": 800, "test": 400},
        _VIEW_LABELS,
        classes={"class_mask": SEMANTIC_CLASSES},
    ),
    SetSpec(
        "rooms-outdoor",
        "streets in daylight, to 28 m",
        "streets:rooms_outdoor",
        {"train": 800, "test": 400},
        _VIEW_LABELS,
        version=2,
        classes={"class_mask": SEMANTIC_CLASSES},
    ),
    SetSpec(
        "halls",
        "halls with things of all twelve classes, seen from anywhere",
        "halls:halls",
        {"train": 1000, "test": 500},
        _VIEW_LABELS,
        classes={"class_mask": SEMANTIC_CLASSES},
    ),
    SetSpec(
        "roles",
        "two people's hands over a table, by whose they are",
        "hands:roles",
        {"train": 600, "test": 300},
        ("role_mask",),
        classes={"role_mask": ROLES},
    ),
    SetSpec(
        "animals",
        "one animal of eight kinds that share a body plan, a new individual in every image",
        "animals:animals",
        {"train": 1000, "test": 720},
        ("class_id", "foreground"),
        classes={"class_id": ANIMALS},
    ),
    SetSpec(
        "aerial",
        "land use from above: six kinds in any colours",
        "aerial:aerial",
        {"train": 1020, "test": 720},
        ("class_id",),
        classes={"class_id": LAND_USES},
    ),
    SetSpec(
        "views",
        "one model three times: another room, light and camera each time",
        "objects:views",
        {"test": 300},
        ("class_id",),
        n_frames=3,
        classes={"class_id": OBJECT_CLASSES},
    ),
    SetSpec(
        "pretrain-objects",
        "unlabelled use: as objects, from its own random stream",
        "objects:pretrain_objects",
        {"train": 6000},
        ("class_id", "foreground", "depth_m"),
        classes={"class_id": OBJECT_CLASSES},
    ),
    SetSpec(
        "pretrain-rooms",
        "unlabelled use: pairs of views of rooms, closeups and corridors",
        "interiors:pretrain_rooms",
        {"train": 3000},
        (),
        n_frames=2,
    ),
)

SETS: dict[str, SetSpec] = {s.name: s for s in _SPECS}


def stream(name: str, split: str, index: int) -> np.random.Generator:
    """The random stream of one example, keyed by what it is and nothing else (no order, process or Python hash)."""
    import numpy as np

    key = (zlib.crc32(name.encode()), zlib.crc32(split.encode()), index)
    return np.random.default_rng(np.random.SeedSequence(entropy=20210811, spawn_key=key))


def make_example(name: str, split: str, index: int, size: int) -> dict[str, np.ndarray]:
    """Render one example: ``images`` (n_frames, size, size, 3) uint8 and its annotations with a leading axis of 1."""
    module, function = SETS[name].maker.split(":")
    make: Callable[..., dict[str, np.ndarray]] = getattr(
        importlib.import_module(f"virb.tasks.world.{module}"), function
    )
    return make(stream(name, split, index), index, size, split)

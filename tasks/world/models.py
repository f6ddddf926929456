"""The twelve object classes, their designs, and which designs a split may use.

A design is a choice of discrete options (kind of legs, of back, ...). Every design belongs to exactly one side, train
or test, so that a test image shows a model whose combination of parts was never seen; sizes and proportions are drawn
anew for each image on both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from virb.tasks.world import figures, furniture
from virb.tasks.world.furniture import Design, Rng
from virb.tasks.world.shapes import Model

BUILDERS: dict[str, Callable[[Design, Rng], Model]] = {
    "chair": furniture.chair,
    "table": furniture.table,
    "shelf": furniture.shelf,
    "lamp": furniture.lamp,
    "sofa": furniture.sofa,
    "bed": furniture.bed,
    "cabinet": furniture.cabinet,
    "plant": figures.plant,
    "person": figures.person,
    "animal": figures.animal,
    "car": figures.car,
    "ladder": furniture.ladder,
}

OPTIONS: dict[str, dict[str, tuple[Any, ...]]] = {
    "chair": {
        "legs": ("four", "star", "sled", "pedestal"),
        "back": ("solid", "padded", "ladder", "spindles"),
        "seat": ("square", "round", "cushion"),
        "arms": (False, True),
    },
    "table": {
        "top": ("rectangle", "round", "oval"),
        "legs": ("four", "pedestal", "trestle", "slabs"),
        "height": ("low", "high"),
        "shelf": (False, True),
    },
    "shelf": {
        "sides": ("panels", "posts"),
        "back": ("open", "closed"),
        "rows": (3, 4, 5),
        "filling": ("books", "things", "empty"),
    },
    "lamp": {"form": ("floor", "tripod", "arc", "table"), "shade": ("cone", "drum", "globe", "dome")},
    "sofa": {
        "seats": (2, 3),
        "base": ("feet", "plinth"),
        "back": ("plain", "cushions"),
        "arms": ("block", "round", "none"),
        "pillow": (False, True),
    },
    "bed": {
        "pillows": (1, 2),
        "head": ("panel", "padded", "bars", "none"),
        "foot": (False, True),
        "base": ("plinth", "posts"),
        "blanket": ("most", "half"),
    },
    "cabinet": {
        "form": ("tall", "low"),
        "front": ("doors", "drawers", "mixed", "single"),
        "handle": ("knob", "bar"),
        "base": ("plinth", "feet"),
    },
    "plant": {"pot": ("tapered", "round", "square"), "foliage": ("blades", "fan", "palm", "tree", "cactus", "flowers")},
    "person": {
        "outfit": ("trousers", "shorts", "skirt"),
        "hair": ("bald", "short", "long", "hat"),
        "pose": ("still", "walk", "wave", "wide"),
    },
    "animal": {
        "body": ("slim", "stout"),
        "neck": ("short", "medium", "long"),
        "ears": ("pointed", "floppy", "horns"),
        "tail": ("up", "down", "bob"),
    },
    "car": {"form": ("sedan", "hatch", "van", "pickup", "jeep", "truck"), "corner": ("sharp", "rounded")},
    "ladder": {
        "form": ("straight", "steps", "double"),
        "rail": ("round", "square"),
        "rung": ("round", "tread"),
        "sides": ("parallel", "tapered"),
    },
}


def is_test_design(name: str, design: Design) -> bool:
    """Whether this combination is kept for test splits: a quarter of them (a half or a third of the small tables).

    The sum of the options' indices modulo m decides; m is so small that every single option occurs on both sides.
    """
    spans = [len(v) - 1 for v in OPTIONS[name].values()]
    m = min(4, sum(spans) - max(spans) + 1)
    return sum(OPTIONS[name][k].index(v) for k, v in design.items()) % m == m - 1


def draw_design(name: str, rng: Rng, *, is_test: bool, **wanted: Any) -> Design:
    """Draw a design of class ``name`` from its own side of the split, with the options ``wanted`` fixed."""
    while True:
        design = {k: values[int(rng.integers(len(values)))] for k, values in OPTIONS[name].items()} | wanted
        if is_test_design(name, design) == is_test:
            return design


def draw_model(name: str, rng: Rng, *, is_test: bool, **wanted: Any) -> Model:
    """A new random model of class ``name``, in metres, standing on the origin."""
    return BUILDERS[name](draw_design(name, rng, is_test=is_test, **wanted), rng)


def draw_colours(rng: Rng, n: int) -> np.ndarray:
    """(n, 3) linear colours that go together: hues around one or two anchors, free saturation and lightness."""
    anchor = rng.random()
    hue = (anchor + rng.normal(0, 0.06, n) + 0.5 * (rng.random(n) < 0.3)) % 1
    saturation = rng.beta(1.6, 1.6, n) * 0.9
    value = rng.uniform(0.18, 0.95, n)
    return hsv_to_linear(hue, saturation, value)


def hsv_to_linear(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """(n, 3) linear-light RGB of display-referred HSV."""
    k = (np.array([5.0, 3.0, 1.0]) + np.asarray(hue)[..., None] * 6) % 6
    v, s = np.asarray(value)[..., None], np.asarray(saturation)[..., None]
    return (v - v * s * np.clip(np.minimum(k, 4 - k), 0, 1)) ** 2.2

"""The augmentations that every method has options for, under the same names, at the values that it was published with.

A text of several numbers says one for each view: BYOL's first always blurs, its second one image in ten.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from virb.contracts.method import Option, Setup
from virb.errors import UsageError
from virb.training import augment
from virb.training.transforms import Transform

ALL = "crop+flip+jitter+gray+blur+solarize"
SIMCLR_JITTER = (0.8, 0.8, 0.8, 0.2)  # Chen et al. 2020, Appendix A, at strength 1; SwAV's too
BYOL_JITTER = (0.4, 0.4, 0.2, 0.1)  # Grill et al. 2020, Table 6; also Barlow Twins', VICReg's, MoCo v3's and DINO's
MOCO_JITTER = (0.4, 0.4, 0.4, 0.1)  # Chen et al. 2020 (MoCo v2), Section 3; SimSiam's too
PIRL_JITTER = (0.4, 0.4, 0.4, 0.2)  # of each image and each tile, always
RESAMPLING = Option(
    "resampling", "bilinear", "how crops are resized, antialiased", choices=("bilinear", "bicubic"), is_later=True
)


def options(
    *,
    min_crop: float,
    jitter: Sequence[float] = MOCO_JITTER,
    jitter_p: float = 0.8,
    gray_p: float = 0.2,
    blur_p: float | Sequence[float] = 0.0,
    solarize_p: float | Sequence[float] = 0.0,
    strength: float = 1.0,
    is_cropped: bool = True,
) -> tuple[Option, ...]:
    """Return the common options, with a method's published values as their defaults; where views are no crops, but for how
    those are resized."""

    def of_views(value: float | Sequence[float]) -> float | str:
        return value if isinstance(value, float) else ",".join(f"{x:g}" for x in value)

    return (
        Option("min_crop", min_crop, "smallest crop, as a share of the image's area"),
        Option("strength", strength, "strength of the colour jitter; 0: none", low=0.0),
        Option("jitter", of_views(jitter), "brightness, contrast, saturation and hue of the jitter at strength 1"),
        Option("jitter_p", jitter_p, "probability of the jitter", low=0.0, high=1.0),
        Option("gray_p", gray_p, "probability of grey", low=0.0, high=1.0),
        Option(
            "blur_p", of_views(blur_p), "probability of the blur (sigma .1 to 2 at 224 px, in proportion at others)"
        ),
        Option("solarize_p", of_views(solarize_p), "probability of solarisation"),
        *((RESAMPLING,) if is_cropped else ()),
    )


def chain(
    chosen: Mapping[str, Any],
    size: int,
    *,
    view: int = 0,
    names: str = ALL,
    crop_scale: tuple[float, float] | None = None,
) -> tuple[Transform, ...]:
    """Return the transforms of the ``view``-th view as the ``chosen`` options say.

    Args:
        chosen: the method's options, with those of :func:`options` among them.
        size: side of the view in pixels.
        names: which kinds there are (:func:`virb.training.augment.compose`).
        crop_scale: smallest and largest share of the area; by default min_crop to 1.

    Raises:
        UsageError: an option is no number, or no probability.
    """
    strength = float(chosen["strength"])
    jitter = _numbers("jitter", chosen["jitter"])
    if len(jitter) != 4 or min(jitter) < 0 or strength < 0 or jitter[3] * strength > 0.5:
        raise UsageError(
            f"Options jitter={chosen['jitter']!r}, strength={strength:g}: expected four numbers from 0 as 0.4,0.4,0.4,0.1, "
            "whose hue times the strength is at most 0.5."
        )
    low, high = crop_scale or (float(chosen["min_crop"]), 1.0)
    if not 0 < low <= high <= 1:
        raise UsageError(f"Option min_crop={low:g}: expected a share of the area, above 0 and at most {high:g}.")
    brightness, contrast, saturation, hue = (x * strength for x in jitter)
    return augment.compose(
        names,
        size,
        crop_scale=(low, high),
        cubic=chosen.get("resampling") == "bicubic",
        jitter=(brightness, contrast, saturation, hue),
        jitter_p=_probability("jitter_p", chosen["jitter_p"], 0) if strength else 0.0,
        gray_p=_probability("gray_p", chosen["gray_p"], 0),
        blur_p=_probability("blur_p", chosen["blur_p"], view),
        solarize_p=_probability("solarize_p", chosen["solarize_p"], view),
    )


def view(
    chosen: Mapping[str, Any], setup: Setup, number: int = 0, *, size: int | None = None, **how: Any
) -> augment.View:
    """Return the ``number``-th view of a run, of its size (or ``size``), normalised; ``how`` as in :func:`chain`."""
    return augment.View(chain(chosen, size or setup.image_size, view=number, **how), setup.mean, setup.std)


def colours(chosen: Mapping[str, Any], setup: Setup) -> augment.View:
    """Return the colour part of a view alone, for tiles that are cut already."""
    whole = chain(chosen, setup.image_size)
    return augment.View(whole[1:], setup.mean, setup.std)


def _numbers(name: str, value: Any) -> list[float]:
    try:
        found = [float(part) for part in str(value).split(",")]
    except ValueError:
        found = [math.nan]
    if not all(map(math.isfinite, found)):
        raise UsageError(f"Option {name}={value!r}: expected a number, or one for each view as 1,0.1.")
    return found


def _probability(name: str, value: Any, number: int) -> float:
    found = _numbers(name, value)
    p = found[min(number, len(found) - 1)]
    if not 0 <= p <= 1:
        raise UsageError(f"Option {name}={value!r}: expected probabilities between 0 and 1.")
    return p

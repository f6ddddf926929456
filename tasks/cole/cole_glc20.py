"""Land covers from the air (Cole et al. 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.tasks.cole._suite import DEVIATIONS, PROTOCOL

from virb.contracts.task import FROM_DATA, Category, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import land_cover
    from virb.tasks.readers.common import place

    return land_cover.covers(place(context, "glc20", folder="geolifeclef-2020"), split)


def prepare(context: DataContext) -> None:
    from virb.tasks.readers import land_cover
    from virb.tasks.readers.common import place

    land_cover.prepare(place(context, "glc20", folder="geolifeclef-2020"), context)


TASK = Task(
    name="cole-glc20",
    summary="which of 16 land covers lie in an aerial image",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="bce",
    metric="map",
    data=data,
    protocol=PROTOCOL,
    classes=FROM_DATA,
    is_optional=True,
    source="GeoLifeCLEF 2020 (US), Cole et al. 2020",
    license="Community Data License Agreement, permissive",
    obtain=(
        "get annotations_train.json, annotations_val.json and patches_us_01 to 20 "
        "(lila.science/datasets/geolifeclef-2020) into geolifeclef-2020/ in the data folder, and run virb data "
        "prepare cole-glc20, which reads every patch once."
    ),
    prepare=prepare,
    n_examples={},
    deviations=(
        (
            "A land cover counts as present where any pixel of the patch has it, as in the paper; codes outside the"
            " sixteen count for nothing."
        ),
        *DEVIATIONS,
    ),
    target="labels",
)

"""Surface normals in NYU Depth V2 by its published split of 795 and 654 frames (Silberman et al. 2012; Ladicky et al. 2014)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from pathlib import Path

    from virb.contracts.examples import DataContext, Examples


def _root(context: DataContext) -> Path:
    from virb.tasks.readers.common import place

    return place(context, "nyu", "nyu-depth", folder="nyu")


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import nyu_normals

    return nyu_normals.normals(_root(context), split)


def prepare(context: DataContext) -> None:
    from virb.tasks.readers import nyu_normals

    nyu_normals.prepare(_root(context))


TASK = Task(
    name="nyu-normals",
    summary="which way the surfaces of real rooms face, in degrees, by the published split",
    category=Category.STRUCTURAL_PIXEL,
    head="unet",
    loss="l1",
    metric="mean_angle",
    quantity="direction",
    data=data,
    protocol=Protocol(epochs=250, batch_size=32),
    is_optional=True,
    source="NYU Depth V2 (labelled), Silberman et al. 2012; normals of Ladicky et al. 2014, as Goyal et al. 2019 published them",
    license="none stated",
    obtain=(
        "put nyu_depth_v2_labeled.mat and splits.mat (cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html; reading them needs h5py) "
        "into the folder nyu/ of the data folder, extract nyuv2_surfacenormal_metadata.zip (FAIR's self-supervision benchmark) there, "
        "and run virb data prepare nyu-normals: it writes the normals one by one, 5.3 GB, with the whole pickle in memory."
    ),
    prepare=prepare,
    n_examples={"train": 795, "test": 654},
    deviations=(
        (
            "Probe3D trains on 30,816 frames of the raw videos with GeoNet's normals, and tests on the middle 480 x 480 of these frames; "
            "here the 795 labelled frames train, and whole frames are tested, at the annotation's own resolution."
        ),
        "Pixels count where the published masks of valid depth say so; Probe3D takes those whose raw depth is above 0.",
        "The angle is over all pixels of the split; Probe3D averages each image's shares and root mean square.",
        "The head and its training are those of nyu-depth. Probe3D's loss and optimiser on one linear layer: --probe linear-dense.",
    ),
    options={"out_channels": 3},
)

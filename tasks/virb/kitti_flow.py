"""Optical flow between two frames of KITTI 2015 (Menze and Geiger 2015)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import kitti
    from virb.tasks.readers.common import torchvision_folder

    root = torchvision_folder(context, "kitti", "kitti-flow", folder="KittiFlow")
    return kitti.flow(root, split)


TASK = Task(
    name="kitti-flow",
    version=2,  # maps lie where their cells do
    summary="motion of every pixel between two frames, in pixels",
    category=Category.STRUCTURAL_PIXEL,
    head="siamese_unet",
    loss="l1",
    metric="one_minus_all",
    quantity="flow",
    data=data,
    protocol=Protocol(epochs=250, batch_size=8, crop=513, crop_scales=(1.0, 1.5), crop_mirror=True),
    n_frames=2,
    is_optional=True,
    source="KITTI 2015 optical flow, Menze and Geiger 2015",
    license="CC BY-NC-SA 3.0",
    obtain=(
        "extract data_scene_flow.zip (cvlibs.net/datasets/kitti) in the folder KittiFlow/ of the data folder, as "
        "torchvision.datasets.KittiFlow expects."
    ),
    n_examples={"train": 180, "test": 20},
    deviations=(
        (
            "180 of the 200 pairs train and every tenth tests; Table 2 prints all 200. With the development kit's "
            "mapping/train_mapping.txt beside them whole drives test instead, so that none is on both sides."
        ),
        "Images are 375 pixels high, so crops of 513 are padded below; padding has no target.",
    ),
    options={"out_channels": 2},
)

"""The linear layer of :mod:`virb.probes.linear_dense` on all maps of the pyramid: DINOv2's "lin. 4" and "+ms".

A transformer's four maps are the blocks at the quarters of its depth, as DINOv2 takes them for depth.
"""

from __future__ import annotations

from virb.probes import linear_recipes as recipes
from virb.probes.linear_dense import linear_probe

PROBE = linear_probe(
    name="linear-dense-layers",
    summary="linear-dense on all maps of the pyramid: a transformer's blocks at the quarters of its depth",
    segmentation=recipes.DINOV2_SEGMENTATION,
    gradient=0.5,
    n_maps=None,
)

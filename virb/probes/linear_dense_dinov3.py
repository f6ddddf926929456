"""The linear layer of :mod:`virb.probes.linear_dense` by DINOv3's settings where they differ from DINOv2's.

A tenth of the channels dropped in training, more weight decay and a cosine for classes; no gradient loss for depths.
"""

from __future__ import annotations

from virb.probes import linear_recipes as recipes
from virb.probes.linear_dense import linear_probe

PROBE = linear_probe(
    name="linear-dense-dinov3",
    summary="linear-dense by DINOv3's recipe: dropout and a cosine for classes, SigLoss alone for depths",
    segmentation=recipes.DINOV3_SEGMENTATION,
    gradient=0.0,
    n_maps=1,
)

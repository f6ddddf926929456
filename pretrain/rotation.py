"""Rotation: tell by how many quarter turns an image was rotated (Gidaris et al. 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from virb.contracts.method import Method, Training
from virb.pretraining import views
from virb.pretraining.learner import Learner, Outcome
from virb.training import image_ops

TURNS = 4


class Rotation(Learner):
    def __init__(self, encoder, options, setup):
        super().__init__(encoder, options, setup)
        self.classifier = nn.Linear(encoder.dim, TURNS)
        self.view = views.view(options, setup)

    def views(self, images, generator):
        view = self.view(images, generator)
        # All turns of an image in one batch: the authors found this better than one drawn at random (Section 3.1).
        return [image_ops.rotate90(view, torch.full((len(view),), k, device=view.device)) for k in range(TURNS)]

    def forward(self, views, batch, progress):
        logits = self.classifier(self.encoder(torch.cat(views))).float()
        turns = torch.arange(TURNS, device=logits.device).repeat_interleave(len(views[0]))
        with torch.no_grad():
            accuracy = (logits.argmax(dim=1) == turns).float().mean()
        # No output to watch: a classifier of four classes may rightly map many images to one point.
        return Outcome(F.cross_entropy(logits, turns), metrics={"train_top1": accuracy})


METHOD = Method(
    name="rotation",
    role="self-supervised",
    source="Gidaris, Singh, Komodakis 2018, Unsupervised Representation Learning by Predicting Image Rotations (ICLR)",
    learner=Rotation,
    # VISSL's rotnet_8gpu_resnet.yaml, by PIRL's authors, as the paper's own recipe is AlexNet's: SGD 0.1 at 256, weight
    # decay 1e-4, a tenth at epochs 30, 60, 90 and 100 of 105.
    training=Training(
        "sgd", lr=0.1, batch_size=256, epochs=105, weight_decay=1e-4, schedule="step",
        milestones=(30 / 105, 60 / 105, 90 / 105, 100 / 105),
    ),
    options=views.options(min_crop=0.08, jitter_p=0.0, gray_p=0.0),
)  # fmt: skip

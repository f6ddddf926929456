"""Supervised classification on the data set's own labels: the baseline every normalised score needs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from virb.contracts.method import Method, Option, Training
from virb.pretraining import views
from virb.pretraining.learner import Learner, Outcome
from virb.training import augment


class Supervised(Learner):
    def __init__(self, encoder, options, setup):
        super().__init__(encoder, options, setup)
        self.classifier = nn.Linear(encoder.dim, setup.n_classes)
        self.view = views.view(options, setup, names=options["augment"])

    def views(self, images, generator):
        return [self.view(images, generator)]

    def forward(self, views, batch, progress):
        logits = self.classifier(self.encoder(views[0])).float()
        loss = F.cross_entropy(logits, batch.label, label_smoothing=self.options["label_smoothing"])
        with torch.no_grad():
            accuracy = (logits.argmax(dim=1) == batch.label).float().mean()
        # No output to watch: a classifier of few classes may rightly map many images to one point.
        return Outcome(loss, metrics={"train_top1": accuracy})


METHOD = Method(
    name="supervised",
    role="supervised",
    source="He et al. 2016, Deep Residual Learning for Image Recognition (CVPR)",
    learner=Supervised,
    needs_labels=True,
    # He et al. 2016, Section 3.4, with the 90 epochs and steps at 30 and 60 that torchvision's reference made common.
    training=Training(
        optimizer="sgd",
        lr=0.1,
        batch_size=256,
        epochs=90,
        weight_decay=1e-4,
        schedule="step",
        milestones=(1 / 3, 2 / 3),
    ),
    options=(
        Option("augment", "crop+flip", f"any of {'+'.join(augment.COMPOSABLE)}"),
        *views.options(min_crop=0.08, jitter=views.SIMCLR_JITTER, blur_p=0.5, solarize_p=0.2, strength=0.5),
        Option("label_smoothing", 0.0, "how much of the target is spread over all classes", low=0.0, high=1.0),
    ),
)

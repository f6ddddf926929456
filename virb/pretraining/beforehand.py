"""What can be known to be wrong with a run before its images are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from virb import registry
from virb.contracts.method import Method, Setup
from virb.errors import UsageError, VirbError
from virb.networks.backbones import build_backbone, canonical_architecture
from virb.pretraining.asked import architecture, batch_size_of, is_world
from virb.pretraining.learner import check_batch
from virb.pretraining.outputs import MEAN, STD, snapshot_path
from virb.pretraining.settings import Settings, training_of
from virb.system.threads import own_generator

STAND_IN = 1_000_000  # images: no method's options hang on their number


def checked(settings: Settings, *, resume: bool, force: bool) -> tuple[Method, dict[str, Any]]:
    """Return the method of a run and all its options, if nothing but its images can be wrong with the settings.

    The learner is built without memory for its weights, so that a method which is not for the architecture, or options
    that contradict each other, are said before hours of decoding.

    Raises:
        VirbError: the method, an option, the architecture, the length or the file is wrong.
    """
    method: Method = registry.load("methods", settings.method).at(settings.arch)
    if settings.out.suffix != ".pt":
        raise UsageError(f"--out {settings.out}: an encoder file's name ends in .pt.")
    if settings.out.is_dir():
        raise UsageError(f"--out {settings.out} is a folder; name a file.")
    options = method.resolve(settings.options)
    canonical_architecture(settings.arch, dict(settings.arch_options))
    if method.learner is None or settings.data is None:
        return method, options
    assert method.training is not None
    _refuse_what_is_there(settings, resume=resume, force=force)
    batch_size = batch_size_of(method.training, settings)
    epochs = settings.epochs or (None if settings.budget else method.training.epochs)
    if epochs is not None:
        training_of(method.training, settings, batch_size, epochs)
        late = [asked for asked in settings.snapshot_epochs if asked > epochs]
        if late:
            raise UsageError(
                f"--snapshots {settings.snapshots}: the run is {epochs:g} epochs, and ends before {late[0]:g}."
            )
    # The world's images have a size of their own, which only reading them tells.
    size = settings.size or (None if is_world(settings.data) else 224)
    if size is not None:
        _rehearse(method, settings, options, size, batch_size)
    return method, options


def _refuse_what_is_there(settings: Settings, *, resume: bool, force: bool) -> None:
    if resume or force:
        return
    if settings.out.exists():
        raise UsageError(
            f"{settings.out} exists. Choose another --out, pass --resume to keep it if it is this run's, or --force."
        )
    for epochs in settings.snapshot_epochs:
        if snapshot_path(settings.out, epochs).exists():
            raise UsageError(f"{snapshot_path(settings.out, epochs)} exists; pass --force to write it again.")


def _rehearse(
    method: Method,
    settings: Settings,
    options: Mapping[str, Any],
    size: int,
    batch_size: int,
) -> None:
    """Build the learner on no device. What cannot be built so, for another reason than a user's, is left to the run."""
    assert method.learner is not None
    setup = Setup(
        image_size=settings.view_size or size,
        n_images=STAND_IN,
        n_classes=2,
        batch_size=batch_size // settings.accumulate,
        steps=STAND_IN,
        steps_per_epoch=STAND_IN // batch_size,
        mean=MEAN,
        std=STD,
        seed=settings.seed,
    )
    arch, arch_options = architecture(settings, size)
    check_batch(method.name, setup, 2)
    try:
        with own_generator(0), torch.device("meta"):
            method.learner(build_backbone(arch, **arch_options), options, setup)
    except VirbError:
        raise
    except Exception:
        return

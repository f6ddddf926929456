"""What settings ask for: images, an architecture, a length, and the identity that these make, before a network is built."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virb import registry
from virb.contracts.method import Method, Training
from virb.errors import UsageError, VirbError
from virb.networks.backbones import build_backbone, canonical_architecture
from virb.networks.base import Backbone
from virb.pretraining import about, sources
from virb.pretraining.data import PretrainingData, check_batch_size
from virb.pretraining.outputs import Made, existing
from virb.pretraining.plan import stream_seed
from virb.pretraining.reporting import Reporter
from virb.pretraining.settings import Settings, training_of
from virb.pretraining.subsets import Manifest
from virb.system.threads import own_generator

UNTRAINED_SIZE = 64  # px, of images for a network that is not trained, where the settings say none
Load = Callable[..., PretrainingData]  # as sources.load


@dataclass(frozen=True)
class Images:
    """What to train on; ``dataset`` is the name of the set without its subset, which ``manifest`` says."""

    data: PretrainingData
    dataset: str
    manifest: Manifest | None


@dataclass(frozen=True)
class Asked:
    """A run before its network is built: ``steps`` updates, ``lr`` at their peak, encoders for images of ``size`` px."""

    size: int
    view_size: int
    batch_size: int
    per_epoch: int
    steps: int
    training: Training
    lr: float
    arch: str
    arch_options: Mapping[str, Any]
    identity: Mapping[str, Any]


def images_of(method: Method, settings: Settings, reporter: Reporter, load: Load = sources.load) -> Images:
    """Return the images to train on.

    Raises:
        VirbError: there are none, they cannot be read, or the method needs labels that they have not.
    """
    if settings.data is None:
        raise UsageError(f"{method.name} needs images: pass --data with {', '.join(sources.named())} or a folder.")
    data = load(
        settings.data,
        short_side=settings.resolution_px,
        root=None if settings.data_root is None else Path(settings.data_root),
        skip_unreadable=settings.skip_unreadable,
        seed=settings.subset_seed,
        progress=reporter.note,
    )
    name, manifest = data.name, None
    if settings.subset is not None:
        data, manifest = data.subset(settings.subset, seed=settings.subset_seed, class_order=settings.class_order)
    if settings.corrupt is not None:
        data = data.corrupted(settings.corrupt, reporter.note)
    if settings.limit is not None:
        data = data.limited(settings.limit, settings.seed)
    if method.needs_labels and data.label is None:
        raise UsageError(
            f"{method.name} needs labels, and {settings.data} has none. Use a folder with one subfolder a class, "
            "or a named set with classes."
        )
    if method.needs_labels and len(data.classes) < 2:
        raise UsageError(f"{method.name} tells classes apart, and {settings.data} has {len(data.classes)}.")
    return Images(data, name, manifest)


def asked_of(method: Method, settings: Settings, options: Mapping[str, Any], data: PretrainingData) -> Asked:
    """Return what ``settings`` amount to on ``data``.

    Raises:
        UsageError: they do not fit together, or the images.
    """
    assert method.training is not None
    assert settings.data is not None
    size = settings.size or (data.size if is_world(settings.data) and data.size else 224)
    view_size = settings.view_size or size
    batch_size = batch_size_of(method.training, settings)
    check_batch_size(data, batch_size)
    per_epoch = len(data) // batch_size
    if settings.budget is not None:
        steps = max(1, settings.budget // batch_size)
    else:
        steps = max(1, round((settings.epochs or method.training.epochs) * per_epoch))
    training, lr = training_of(method.training, settings, batch_size, steps / per_epoch)
    arch, arch_options = architecture(settings, size)
    identity = {
        "method": method.name,
        "options": method.called(options),
        "arch": arch,
        "arch_options": arch_options,
        "data": data.name,
        "data_revision": data.revision,
        "size": size,
        "short_side": data.short_side,
        "view_size": view_size,
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "training": training.plain(),
        "seed": settings.seed,
        "precision": settings.precision,
        "accumulate": settings.accumulate,
        **({"ema": settings.ema} if settings.ema else {}),  # so that runs without it are called as ever
    }
    return Asked(size, view_size, batch_size, per_epoch, steps, training, lr, arch, arch_options, identity)


def architecture(settings: Settings, size: int) -> tuple[str, dict[str, Any]]:
    """Return the name and all options of the network that sees images of ``size`` px.

    Raises:
        UsageError: there is none of the name, or it cannot see images of this size.
    """
    given = dict(settings.arch_options)
    if re.fullmatch("vit(_.*)?", settings.arch):
        given.setdefault("image_size", size)
    arch, arch_options = canonical_architecture(settings.arch, given)
    patch = re.fullmatch(r"vit_\w+_patch(\d+)", arch)
    for side in (size, settings.view_size or size):
        if patch and side % int(patch[1]):
            raise UsageError(f"{arch} cuts images into patches of {patch[1]} px; {side} px is no multiple of that.")
    return arch, arch_options


def backbone_of(settings: Settings, arch: str, arch_options: Mapping[str, Any]) -> Backbone:
    """Return the network with the fresh weights of the run's seed."""
    with own_generator(stream_seed(settings.seed, "encoder")):
        return build_backbone(arch, **arch_options)


def untrained(method: Method, settings: Settings, options: Mapping[str, Any]) -> tuple[Mapping[str, Any], Backbone]:
    """Return the identity of a network that is not trained, and the network; without parameters it has no seed."""
    size = settings.size or UNTRAINED_SIZE
    arch, arch_options = architecture(settings, size)
    backbone = backbone_of(settings, arch, arch_options)
    identity = {
        "method": method.name,
        "options": method.called(options),
        "arch": arch,
        "arch_options": arch_options,
        "size": size,
        "seed": settings.seed if any(True for _ in backbone.parameters()) else 0,
    }
    return identity, backbone


def finished(several: Iterable[Settings], *, quiet: bool) -> dict[Path, Made]:
    """Return those encoders that are there, of the same settings and data, by their files.

    Each set of images is read once for all, and no network is trained or made to be. What is at fault is left to the run to say.
    """
    found: dict[Path, Made] = {}
    load = functools.cache(sources.load)
    with Reporter("what is there", quiet=quiet) as reporter:
        for settings in several:
            with contextlib.suppress(VirbError):
                if settings.out.exists():
                    digest = about.digest(_identity(settings, reporter, load))
                    made = existing(settings.out, digest, resume=True, force=False)
                    found |= {settings.out: made} if made else {}
    return found


def _identity(settings: Settings, reporter: Reporter, load: Load) -> Mapping[str, Any]:
    method: Method = registry.load("methods", settings.method).at(settings.arch)
    options = method.resolve(settings.options)
    if method.learner is None:
        return untrained(method, settings, options)[0]
    data = images_of(method, settings, reporter, load).data
    return asked_of(method, settings, options, data).identity


def batch_size_of(published: Training, settings: Settings) -> int:
    """Return how many images an update takes: what the settings say, else what is published, up to 256."""
    return settings.batch_size or min(256, published.batch_size)


def is_world(source: str) -> bool:
    """Whether all of a source has the world's own size."""
    return all(sources.split_amount(part)[0] in sources.named() for part in source.split("+"))

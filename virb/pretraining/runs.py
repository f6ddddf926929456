"""One pretraining run from its settings to an encoder file."""

from __future__ import annotations

import dataclasses
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from virb import registry
from virb.contracts.method import Method, Setup
from virb.errors import UsageError
from virb.networks import projections
from virb.networks.backbones import build_backbone, canonical_architecture
from virb.networks.base import Backbone
from virb.networks.encoder import FrozenEncoder
from virb.pretraining import about, sources
from virb.pretraining.data import PretrainingData, check_batch_size
from virb.pretraining.learner import Learner, check_batch
from virb.pretraining.outputs import MEAN, STD, Made, clear, existing, frozen, snapshot_path, write_encoder
from virb.pretraining.plan import Plan, stream_seed
from virb.pretraining.reporting import Reporter
from virb.pretraining.settings import Settings, training_of
from virb.pretraining.subsets import Manifest
from virb.pretraining.trainer import Trainer
from virb.system import files
from virb.system.threads import own_generator
from virb.training import distributed

Look = Callable[[FrozenEncoder], Mapping[str, float]]


def pretrain(
    settings: Settings, *, resume: bool = False, force: bool = False, quiet: bool = False, look: Look | None = None
) -> Made:
    """Train an encoder and write it to ``settings.out``; return it.

    The run's state lies in ``<out without .pt>.run/`` while it trains (checkpoint.pt, log.csv); of it the log stays.
    Under torchrun (``with distributed.processes():``) the processes train this encoder together, and the first of them
    reads and writes those files.

    Args:
        resume: go on from that state if there is one; a finished encoder of the same settings is left as it is.
        force: start again, whatever is there.
        quiet: no progress.
        look: scores the encoder on the end tasks that ``settings.eval`` names (:func:`virb.evaluation.during.look`).

    Raises:
        VirbError: the settings, the data or the training are at fault; the text says which.
    """

    def check() -> tuple[Method, dict[str, Any]]:
        tasks = [name for name in settings.looks if name != "own"]
        if tasks and look is None:
            raise UsageError(f"--eval {tasks[0]}: pass pretrain(look=...) with what scores an encoder on it.")
        method: Method = registry.load("methods", settings.method).at(settings.arch)
        if settings.out.suffix != ".pt":
            raise UsageError(f"--out {settings.out}: an encoder file's name ends in .pt.")
        if settings.out.is_dir():
            raise UsageError(f"--out {settings.out} is a folder; name a file.")
        if distributed.rank() == 0:  # before any image is read
            files.check_writable(settings.out.parent)
            files.check_writable(settings.out.with_suffix(".run")) if method.learner is not None else None
        return method, method.resolve(settings.options)

    method, options = distributed.together(check)
    with Reporter(settings.out.stem, quiet=quiet or distributed.rank() > 0) as reporter:
        if method.learner is None:
            return _untrained(method, settings, options, resume=resume, force=force)
        return _trained(method, settings, options, reporter, resume=resume, force=force, look=look)


def resolve_device(name: str) -> str:
    """Return ``name``, or for "auto" the GPU if there is one.

    Raises:
        UsageError: there is no such device.
    """
    name = distributed.own_device(name)
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {name} cannot be used here: {str(error).splitlines()[0]}") from error
    return name


def _backbone(settings: Settings, size: int) -> tuple[str, dict[str, Any], Backbone]:
    given = dict(settings.arch_options)
    if re.fullmatch("vit(_.*)?", settings.arch):
        given.setdefault("image_size", size)
    arch, arch_options = canonical_architecture(settings.arch, given)
    patch = re.fullmatch(r"vit_\w+_patch(\d+)", arch)
    for side in (size, settings.view_size or size):
        if patch and side % int(patch[1]):
            raise UsageError(f"{arch} cuts images into patches of {patch[1]} px; {side} px is no multiple of that.")
    with own_generator(stream_seed(settings.seed, "encoder")):
        return arch, arch_options, build_backbone(arch, **arch_options)


def _untrained(method: Method, settings: Settings, options: Mapping[str, Any], *, resume: bool, force: bool) -> Made:
    size = settings.size or 64
    arch, arch_options, backbone = distributed.together(lambda: _backbone(settings, size))
    has_parameters = any(True for _ in backbone.parameters())
    identity = {
        "method": method.name,
        "options": method.called(options),
        "arch": arch,
        "arch_options": arch_options,
        "size": size,
        "seed": settings.seed if has_parameters else 0,
    }
    digest = about.digest(identity)
    found = distributed.by_first(lambda: existing(settings.out, digest, resume=resume, force=force))
    if found:
        return found
    meta = about.untrained(method, settings, identity, has_parameters=has_parameters)
    distributed.by_first(lambda: write_encoder(settings.out, arch, arch_options, backbone, size, meta))
    return Made(settings.out, True, meta)


@dataclass(frozen=True)
class _Run:
    """What a run is made of before anything is written or trained. ``dataset`` is the images' name without their subset."""

    data: PretrainingData
    dataset: str
    manifest: Manifest | None
    size: int
    plan: Plan
    arch: str
    arch_options: Mapping[str, Any]
    learner: Learner
    head: Mapping[str, Any]
    identity: Mapping[str, Any]

    @property
    def n_bytes(self) -> int:
        """About what the run writes: two checkpoints (the new one beside the old), with the optimiser's moments, and the encoders."""
        state = sum(x.nbytes for x in self.learner.state_dict().values())
        moments = 2 if self.plan.training.optimizer == "adamw" else 1
        trained = sum(p.nbytes for p in self.learner.parameters() if p.requires_grad)
        encoder = sum(x.nbytes for x in self.learner.encoder.state_dict().values())
        average = encoder if self.plan.ema else 0
        return 2 * (state + moments * trained + average) + encoder * (1 + len(self.plan.snapshots))


def _trained(
    method: Method,
    settings: Settings,
    options: Mapping[str, Any],
    reporter: Reporter,
    *,
    resume: bool,
    force: bool,
    look: Look | None,
) -> Made:
    device = distributed.together(lambda: resolve_device(settings.device))
    data, dataset, manifest = distributed.machine_by_machine(lambda: _images(method, settings, reporter))
    run = distributed.together(lambda: _planned(method, settings, options, device, data, dataset, manifest))
    digest = about.digest(run.identity)
    distributed.check_same(digest, "data set, or other settings,")
    folder = settings.out.with_suffix(".run")
    state = folder / "checkpoint.pt"

    def begin() -> Made | None:
        found = existing(settings.out, digest, resume=resume, force=force)
        if found:
            return found
        for epochs in settings.snapshot_epochs:
            if not resume and not force and snapshot_path(settings.out, epochs).exists():
                raise UsageError(f"{snapshot_path(settings.out, epochs)} exists; pass --force to write it again.")
        if state.exists() and not resume and not force:
            raise UsageError(
                f"{folder} holds an unfinished run. Pass --resume to go on with it, or --force to start again."
            )
        if not resume:
            clear(folder)
        files.check_room(settings.out.parent, run.n_bytes, f"The state of {settings.out.name} while it trains")
        if manifest is not None:
            manifest.save(folder / "subset.json")
        return None

    found = distributed.by_first(begin)
    if found:
        return found
    where = device if device != "cpu" else f"{platform.machine()}, {torch.get_num_threads()} threads"

    def write(out: Path, identity: Mapping[str, Any], steps: int) -> Mapping[str, Any]:
        plan = dataclasses.replace(run.plan, steps=steps)
        meta = about.trained(
            method, settings, identity, plan, data, dataset, manifest, run.head,
            seconds=trainer.seconds, device=where, processes=distributed.world_size(),
        )  # fmt: skip
        write_encoder(out, run.arch, run.arch_options, trainer.kept, run.size, meta, trainer.projection)
        return meta

    def snapshot(step: int) -> None:
        epochs = settings.snapshot_epochs[run.plan.snapshots.index(step)]
        with trainer.settled():
            write(snapshot_path(settings.out, epochs), {**run.identity, "snapshot": step}, step)

    def scores() -> Mapping[str, float]:
        assert look is not None
        with trainer.settled():
            return look(frozen(settings.out.stem, run.arch, run.arch_options, trainer.kept, run.size, run.plan.device))

    trainer = Trainer(
        run.learner, data, run.plan, folder=folder, identity=run.identity, snapshot=snapshot,
        look=scores if set(settings.looks) - {"own"} else None,
    )  # fmt: skip
    if resume:
        trainer.resume()
    trainer.run(reporter)
    trainer.settle()

    def finish() -> Mapping[str, Any]:
        meta = write(settings.out, run.identity, run.plan.steps)
        state.unlink(missing_ok=True)
        return meta

    return Made(settings.out, True, distributed.by_first(finish))


def _images(method: Method, settings: Settings, reporter: Reporter) -> tuple[PretrainingData, str, Manifest | None]:
    """The images to train on, the name of the set they are from, and which of it they are."""
    if settings.data is None:
        raise UsageError(f"{method.name} needs images: pass --data with {', '.join(sources.named())} or a folder.")
    data = sources.load(
        settings.data,
        short_side=settings.resolution_px,
        root=None if settings.data_root is None else Path(settings.data_root),
        skip_unreadable=settings.skip_unreadable,
        seed=settings.subset_seed,
        progress=reporter.note,
    )
    for note in data.notes:
        reporter.say(note)
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
    return data, name, manifest


def _planned(
    method: Method,
    settings: Settings,
    options: Mapping[str, Any],
    device: str,
    data: PretrainingData,
    dataset: str,
    manifest: Manifest | None,
) -> _Run:
    assert method.learner is not None
    assert method.training is not None
    assert settings.data is not None
    size = settings.size or (data.size if _is_world(settings.data) and data.size else 224)
    batch_size = settings.batch_size or min(256, method.training.batch_size)
    check_batch_size(data, batch_size)
    per_epoch = len(data) // batch_size
    if settings.budget is not None:
        steps = max(1, settings.budget // batch_size)
    else:
        steps = max(1, round((settings.epochs or method.training.epochs) * per_epoch))
    training, lr = training_of(method.training, settings, batch_size, steps / per_epoch)
    plan = Plan(
        training=training,
        lr=lr,
        steps=steps,
        batch_size=batch_size,
        seed=settings.seed,
        device=device,
        precision=settings.precision,
        accumulate=settings.accumulate,
        checkpoint_steps=settings.checkpoint_steps,
        eval_epochs=(settings.eval_epochs or 1.0) if settings.looks else 0.0,
        eval_own="own" in settings.looks,
        snapshots=_snapshot_steps(settings, per_epoch, steps),
        ema=settings.ema or 0.0,
        knn_size=size,
        compile=settings.compile,
        recompute=settings.recompute,
    )
    setup = Setup(
        image_size=settings.view_size or size,
        n_images=len(data),
        n_classes=len(data.classes),
        batch_size=batch_size // settings.accumulate,
        steps=steps,
        steps_per_epoch=per_epoch,
        mean=MEAN,
        std=STD,
        seed=settings.seed,
    )
    check_batch(method.name, setup, 2)
    arch, arch_options, backbone = _backbone(settings, size)
    if not any(p.requires_grad for p in backbone.parameters()):
        raise UsageError(f"{arch} has no weights to train; use the method 'random' to write it as an encoder.")
    with own_generator(stream_seed(settings.seed, "heads")):
        learner = method.learner(backbone, options, setup)
    identity = {
        "method": method.name,
        "options": method.called(options),
        "arch": arch,
        "arch_options": arch_options,
        "data": data.name,
        "data_revision": data.revision,
        "size": size,
        "short_side": data.short_side,
        "view_size": setup.image_size,
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "training": training.plain(),
        "seed": settings.seed,
        "precision": settings.precision,
        "accumulate": settings.accumulate,
        **({"ema": settings.ema} if settings.ema else {}),  # so that runs without it are called as ever
    }
    exported = learner.exported()
    if settings.ema and not any(p.requires_grad for p in exported.parameters()):
        raise UsageError(f"--ema: what {method.name} keeps is a moving average already; change its option momentum.")
    head = projections.head_meta(learner.projection(), backbone.dim)  # now, so that nothing is trained in vain
    return _Run(data, dataset, manifest, size, plan, arch, arch_options, learner, head, identity)


def _snapshot_steps(settings: Settings, per_epoch: int, steps: int) -> tuple[int, ...]:
    """Return after which updates snapshots are due.

    Raises:
        UsageError: an epoch is past the run, or two are the same update.
    """
    found = tuple(round(epochs * per_epoch) for epochs in settings.snapshot_epochs)
    if any(not 0 < step <= steps for step in found) or len(set(found)) < len(found):
        raise UsageError(
            f"--snapshots {settings.snapshots}: the run is {steps / per_epoch:g} epochs of {per_epoch} updates; expected "
            "epochs within it, an update or more apart."
        )
    return found


def _is_world(source: str) -> bool:
    """Whether all of a source has the world's own size."""
    return all(sources.split_amount(part)[0] in sources.named() for part in source.split("+"))

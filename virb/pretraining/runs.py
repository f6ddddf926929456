"""One pretraining run from its settings to an encoder file."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from virb.contracts.method import Method, Setup
from virb.errors import UsageError
from virb.networks import projections
from virb.networks.encoder import FrozenEncoder
from virb.pretraining import about
from virb.pretraining.asked import Asked, asked_of, backbone_of, images_of, untrained
from virb.pretraining.beforehand import checked
from virb.pretraining.data import PretrainingData
from virb.pretraining.learner import Learner, check_batch
from virb.pretraining.outputs import MEAN, STD, Made, clear, existing, frozen, snapshot_path, write_encoder
from virb.pretraining.plan import Plan, stream_seed
from virb.pretraining.reporting import Reporter
from virb.pretraining.settings import Settings
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
        found = checked(settings, resume=resume, force=force)
        if distributed.rank() == 0:  # before any image is read
            files.check_writable(settings.out.parent)
            files.check_writable(settings.out.with_suffix(".run")) if found[0].learner is not None else None
        return found

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


def _untrained(method: Method, settings: Settings, options: Mapping[str, Any], *, resume: bool, force: bool) -> Made:
    identity, backbone = distributed.together(lambda: untrained(method, settings, options))
    digest = about.digest(identity)
    found = distributed.by_first(lambda: existing(settings.out, digest, resume=resume, force=force))
    if found:
        return found
    has_parameters = any(True for _ in backbone.parameters())
    meta = about.untrained(method, settings, identity, has_parameters=has_parameters)
    arch, arch_options, size = identity["arch"], identity["arch_options"], identity["size"]
    distributed.by_first(lambda: write_encoder(settings.out, arch, arch_options, backbone, size, meta))
    return Made(settings.out, True, meta)


@dataclass(frozen=True)
class _Run:
    """What a run is made of before anything is written or trained."""

    asked: Asked
    plan: Plan
    learner: Learner
    head: Mapping[str, Any]

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
    images = distributed.machine_by_machine(lambda: images_of(method, settings, reporter))
    for note in images.data.notes:
        reporter.say(note)
    run = distributed.together(lambda: _planned(method, settings, options, device, images.data))
    asked = run.asked
    digest = about.digest(asked.identity)
    distributed.check_same(digest, "data set, or other settings,")
    folder = settings.out.with_suffix(".run")
    state = folder / "checkpoint.pt"

    def begin() -> Made | None:
        found = existing(settings.out, digest, resume=resume, force=force)
        if found:
            return found
        if state.exists() and not resume and not force:
            raise UsageError(
                f"{folder} holds an unfinished run. Pass --resume to go on with it, or --force to start again."
            )
        if not resume:
            clear(folder)
        files.check_room(settings.out.parent, run.n_bytes, f"The state of {settings.out.name} while it trains")
        if images.manifest is not None:
            images.manifest.save(folder / "subset.json")
        return None

    found = distributed.by_first(begin)
    if found:
        return found
    where = device if device != "cpu" else f"{platform.machine()}, {torch.get_num_threads()} threads"

    def write(out: Path, identity: Mapping[str, Any], steps: int) -> Mapping[str, Any]:
        plan = dataclasses.replace(run.plan, steps=steps)
        meta = about.trained(
            method, settings, identity, plan, images.data, images.dataset, images.manifest, run.head,
            seconds=trainer.seconds, device=where, processes=distributed.world_size(),
        )  # fmt: skip
        write_encoder(out, asked.arch, asked.arch_options, trainer.kept, asked.size, meta, trainer.projection)
        return meta

    def snapshot(step: int) -> None:
        epochs = settings.snapshot_epochs[run.plan.snapshots.index(step)]
        with trainer.settled():
            write(snapshot_path(settings.out, epochs), {**asked.identity, "snapshot": step}, step)

    def scores() -> Mapping[str, float]:
        assert look is not None
        with trainer.settled():
            of_encoder = (asked.arch, asked.arch_options, trainer.kept, asked.size)
            return look(frozen(settings.out.stem, *of_encoder, run.plan.device))

    trainer = Trainer(
        run.learner, images.data, run.plan, folder=folder, identity=asked.identity, snapshot=snapshot,
        look=scores if set(settings.looks) - {"own"} else None,
    )  # fmt: skip
    if resume:
        trainer.resume()
    trainer.run(reporter)
    trainer.settle()

    def finish() -> Mapping[str, Any]:
        meta = write(settings.out, asked.identity, run.plan.steps)
        state.unlink(missing_ok=True)
        return meta

    return Made(settings.out, True, distributed.by_first(finish))


def _planned(
    method: Method, settings: Settings, options: Mapping[str, Any], device: str, data: PretrainingData
) -> _Run:
    assert method.learner is not None
    asked = asked_of(method, settings, options, data)
    plan = Plan(
        training=asked.training,
        lr=asked.lr,
        steps=asked.steps,
        batch_size=asked.batch_size,
        seed=settings.seed,
        device=device,
        precision=settings.precision,
        accumulate=settings.accumulate,
        checkpoint_steps=settings.checkpoint_steps,
        eval_epochs=(settings.eval_epochs or 1.0) if settings.looks else 0.0,
        eval_own="own" in settings.looks,
        snapshots=_snapshot_steps(settings, asked.per_epoch, asked.steps),
        ema=settings.ema or 0.0,
        knn_size=asked.size,
        compile=settings.compile,
        recompute=settings.recompute,
    )
    setup = Setup(
        image_size=asked.view_size,
        n_images=len(data),
        n_classes=len(data.classes),
        batch_size=asked.batch_size // settings.accumulate,
        steps=asked.steps,
        steps_per_epoch=asked.per_epoch,
        mean=MEAN,
        std=STD,
        seed=settings.seed,
    )
    check_batch(method.name, setup, 2)
    backbone = backbone_of(settings, asked.arch, asked.arch_options)
    if not any(p.requires_grad for p in backbone.parameters()):
        raise UsageError(f"{asked.arch} has no weights to train; use the method 'random' to write it as an encoder.")
    with own_generator(stream_seed(settings.seed, "heads")):
        learner = method.learner(backbone, options, setup)
    exported = learner.exported()
    if settings.ema and not any(p.requires_grad for p in exported.parameters()):
        raise UsageError(f"--ema: what {method.name} keeps is a moving average already; change its option momentum.")
    head = projections.head_meta(learner.projection(), backbone.dim)  # now, so that nothing is trained in vain
    return _Run(asked, plan, learner, head)


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

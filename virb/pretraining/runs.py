"""One pretraining run from its settings to an encoder file; and recipes, lists of runs in a file."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

import virb
from virb import registry
from virb.convert.load import read_checkpoint, save_encoder
from virb.errors import UsageError, VirbError
from virb.networks import projections
from virb.networks.backbones import Backbone, build_backbone, canonical_architecture
from virb.pretraining import data as pretraining
from virb.pretraining import distributed
from virb.pretraining.learner import Learner, check_batch
from virb.pretraining.method import Method, Setup, Training
from virb.pretraining.reporting import Reporter
from virb.pretraining.subsets import Manifest
from virb.pretraining.trainer import Plan, StaleRun, Trainer, stream_seed
from virb.system.threads import n_cores, own_generator
from virb.training import augment

MEAN, STD = augment.IMAGENET_MEAN, augment.IMAGENET_STD


@dataclass(frozen=True)
class Settings:
    """What makes an encoder. A None stands for the method's published value, or for what the data set says.

    ``epochs`` and ``budget`` (images seen) exclude each other; ``size`` is the side in pixels at which the encoder will
    see images, ``view_size`` that of its training views (None: the same; somewhat smaller trains faster and, as random
    crops enlarge what they show, hardly worse: Touvron et al. 2019). ``lr`` is the peak at this batch size.

    ``subset`` is a rule of ``virb.pretraining.subsets`` or a manifest's file; ``subset_seed`` draws it, so that runs of several
    seeds can share one. ``corrupt`` is a kind of ``virb.pretraining.corruptions``. ``compile`` changes the speed, and the weights
    by rounding: it does not make another encoder.
    """

    method: str
    out: Path
    data: str | None = None
    data_root: str | None = None
    arch: str = "resnet18"
    arch_options: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    epochs: float | None = None
    budget: int | None = None
    batch_size: int | None = None
    size: int | None = None
    view_size: int | None = None
    limit: int | None = None
    subset: str | None = None
    subset_seed: int = 0
    class_order: str = "seeded"
    corrupt: str | None = None
    skip_unreadable: bool = False
    seed: int = 0
    device: str = "auto"
    precision: str = "fp32"
    accumulate: int = 1
    optimizer: str | None = None
    lr: float | None = None
    weight_decay: float | None = None
    warmup_epochs: float | None = None
    schedule: str | None = None
    knn_epochs: float = 0.0
    checkpoint_steps: int = 0
    compile: bool = False

    def __post_init__(self) -> None:
        if self.epochs is not None and self.budget is not None:
            raise UsageError("--epochs and --budget both say how long to train; give one of them.")
        for name in ("epochs", "budget", "batch_size", "size", "view_size", "limit", "lr"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"--{name.replace('_', '-')} must be above 0; found {value}.")
        for name in ("weight_decay", "warmup_epochs", "knn_epochs", "checkpoint_steps"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise UsageError(f"--{name.replace('_', '-')} must be at least 0; found {value}.")


@dataclass(frozen=True)
class Made:
    """An encoder file, and whether it was made now or had been there."""

    path: Path
    is_new: bool
    meta: Mapping[str, Any]


def pretrain(settings: Settings, *, resume: bool = False, force: bool = False, quiet: bool = False) -> Made:
    """Train an encoder and write it to ``settings.out``; return it.

    The run's state lies in ``<out without .pt>.run/`` while it trains (checkpoint.pt, log.csv); of it the log stays.
    Under torchrun (``with distributed.processes():``) the processes train this encoder together, and the first of them
    reads and writes those files.

    Args:
        resume: go on from that state if there is one; a finished encoder of the same settings is left as it is.
        force: start again, whatever is there.
        quiet: no progress.

    Raises:
        VirbError: the settings, the data or the training are at fault; the text says which.
    """

    def check() -> tuple[Method, dict[str, Any]]:
        method: Method = registry.load("methods", settings.method)
        if settings.out.suffix != ".pt":
            raise UsageError(f"--out {settings.out}: an encoder file's name ends in .pt.")
        return method, method.resolve(settings.options)

    method, options = distributed.together(check)
    with Reporter(settings.out.stem, quiet=quiet or distributed.rank() > 0) as reporter:
        if method.learner is None:
            return _untrained(method, settings, options, resume=resume, force=force)
        return _trained(method, settings, options, reporter, resume=resume, force=force)


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
    if settings.arch.startswith("vit_"):
        given.setdefault("image_size", size)
    arch, arch_options = canonical_architecture(settings.arch, given)
    patch = re.fullmatch(r"vit_\w+_patch(\d+)", arch)
    for side in (size, settings.view_size or size):
        if patch and side % int(patch[1]):
            raise UsageError(f"{arch} cuts images into patches of {patch[1]} px; {side} px is no multiple of that.")
    with own_generator(stream_seed(settings.seed, "encoder")):
        return arch, arch_options, build_backbone(arch, **arch_options)


def _digest(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _repeat(identity: Mapping[str, Any]) -> str:
    """What runs have in common that differ in their seed alone."""
    return _digest({key: value for key, value in identity.items() if key != "seed"})[:12]


def _existing(out: Path, digest: str, *, resume: bool, force: bool) -> Made | None:
    """The finished encoder at ``out`` if it is this run's; refuse to overwrite any other."""
    if force or not out.exists():
        return None
    if not resume:
        raise UsageError(
            f"{out} exists. Choose another --out, pass --resume to keep it if it is this run's, or --force."
        )
    meta = read_checkpoint(out).get("meta", {})
    if not isinstance(meta, Mapping) or meta.get("run") != digest:
        raise StaleRun(f"{out} was made with other settings or other data. Choose another --out, or pass --force.")
    return Made(out, False, meta)


def _untrained(method: Method, settings: Settings, options: Mapping[str, Any], *, resume: bool, force: bool) -> Made:
    size = settings.size or 64
    arch, arch_options, backbone = distributed.together(lambda: _backbone(settings, size))
    has_parameters = any(True for _ in backbone.parameters())
    identity = {
        "method": method.name,
        "options": dict(options),
        "arch": arch,
        "arch_options": arch_options,
        "size": size,
        "seed": settings.seed if has_parameters else 0,
    }
    digest = _digest(identity)
    found = distributed.by_first(lambda: _existing(settings.out, digest, resume=resume, force=force))
    if found:
        return found
    meta = {
        "method": method.name if has_parameters else "none",
        "role": method.role if has_parameters else "baseline",
        **({"repeat": _repeat(identity)} if has_parameters else {}),
        "dataset": "none",
        "dataset_size": 0,
        "balance": "none",
        "epochs": 0,
        "images_seen": 0,
        "seed": settings.seed,
        "run": digest,
        "virb": virb.__version__,
    }
    distributed.by_first(lambda: _write(settings.out, arch, arch_options, backbone, size, meta))
    return Made(settings.out, True, meta)


def _write(
    out: Path,
    arch: str,
    arch_options: Mapping[str, Any],
    backbone: Backbone,
    size: int,
    meta: Mapping[str, Any],
    projection: nn.Module | None = None,
) -> None:
    save_encoder(
        out,
        arch=arch,
        arch_options=arch_options,
        state_dict={k: v.detach().cpu().contiguous() for k, v in backbone.state_dict().items()},
        preprocess={"size": size, "mean": list(MEAN), "std": list(STD)},
        meta=meta,
        projection=projection,
    )


@dataclass(frozen=True)
class _Run:
    """What a run is made of before anything is written or trained. ``dataset`` is the images' name without their subset."""

    data: pretraining.PretrainingData
    dataset: str
    manifest: Manifest | None
    size: int
    plan: Plan
    arch: str
    arch_options: Mapping[str, Any]
    learner: Learner
    head: Mapping[str, Any]
    identity: Mapping[str, Any]


def _trained(
    method: Method, settings: Settings, options: Mapping[str, Any], reporter: Reporter, *, resume: bool, force: bool
) -> Made:
    device = distributed.together(lambda: resolve_device(settings.device))
    data, dataset, manifest = distributed.machine_by_machine(lambda: _images(method, settings, reporter))
    run = distributed.together(lambda: _planned(method, settings, options, device, data, dataset, manifest))
    digest = _digest(run.identity)
    distributed.check_same(digest, "data set, or other settings,")
    folder = settings.out.with_suffix(".run")
    state = folder / "checkpoint.pt"

    def begin() -> Made | None:
        found = _existing(settings.out, digest, resume=resume, force=force)
        if found:
            return found
        if state.exists() and not resume and not force:
            raise UsageError(
                f"{folder} holds an unfinished run. Pass --resume to go on with it, or --force to start again."
            )
        if not resume:
            _clear(folder)
        if manifest is not None:
            manifest.save(folder / "subset.json")
        return None

    found = distributed.by_first(begin)
    if found:
        return found
    trainer = Trainer(run.learner, data, run.plan, folder=folder, identity=run.identity)
    if resume:
        trainer.resume()
    trainer.run(reporter)
    if run.learner.trains_on_tiles:
        trainer.settle_statistics()

    plan, setup = run.plan, run.learner.setup
    meta = {
        "method": method.name,
        "role": method.role,
        "family": f"{method.name}-{dataset}",
        "repeat": _repeat(run.identity),
        "dataset": dataset,
        "dataset_size": len(data),
        "balance": data.balance,
        **({} if manifest is None else _subset_meta(manifest)),
        **({} if settings.corrupt is None else {"corruption": settings.corrupt}),
        "epochs": round(plan.steps * plan.batch_size / len(data), 4),
        "images_seen": plan.steps * plan.batch_size,
        "seed": settings.seed,
        **run.head,
        "options": dict(options),
        "training": run.identity["training"],
        "lr": plan.lr,
        "batch_size": plan.batch_size,
        "view_size": setup.image_size,
        "steps": plan.steps,
        "precision": settings.precision,
        **({"compile": True} if settings.compile else {}),
        **({"processes": distributed.world_size()} if distributed.world_size() > 1 else {}),
        "data_revision": data.revision,
        "run": digest,
        "seconds": round(trainer.seconds, 1),
        "device": device if device != "cpu" else f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "virb": virb.__version__,
    }

    def finish() -> None:
        learner = run.learner
        _write(settings.out, run.arch, run.arch_options, learner.exported(), run.size, meta, learner.projection())
        state.unlink(missing_ok=True)

    distributed.by_first(finish)
    return Made(settings.out, True, meta)


def _images(
    method: Method, settings: Settings, reporter: Reporter
) -> tuple[pretraining.PretrainingData, str, Manifest | None]:
    """The images to train on, the name of the set they are from, and which of it they are."""
    if settings.data is None:
        raise UsageError(f"{method.name} needs images: pass --data with {', '.join(pretraining.WORLD)} or a folder.")
    data = pretraining.load(
        settings.data,
        size=None if _is_world(settings.data) else round((settings.size or 224) * 8 / 7),
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
    return data, name, manifest


def _planned(
    method: Method,
    settings: Settings,
    options: Mapping[str, Any],
    device: str,
    data: pretraining.PretrainingData,
    dataset: str,
    manifest: Manifest | None,
) -> _Run:
    assert method.learner is not None
    assert method.training is not None
    assert settings.data is not None
    size = settings.size or (data.size if _is_world(settings.data) else 224)
    batch_size = settings.batch_size or min(256, method.training.batch_size)
    pretraining.check_batch_size(data, batch_size)
    per_epoch = len(data) // batch_size
    if settings.budget is not None:
        steps = max(1, settings.budget // batch_size)
    else:
        steps = max(1, round((settings.epochs or method.training.epochs) * per_epoch))
    training, lr = _training(method.training, settings, batch_size)
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
        knn_epochs=settings.knn_epochs,
        knn_size=size,
        compile=settings.compile,
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
        "options": dict(options),
        "arch": arch,
        "arch_options": arch_options,
        "data": data.name,
        "data_revision": data.revision,
        "size": size,
        "view_size": setup.image_size,
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "training": {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(training).items()},
        "seed": settings.seed,
        "precision": settings.precision,
        "accumulate": settings.accumulate,
    }
    head = projections.head_meta(learner.projection(), backbone.dim)  # now, so that nothing is trained in vain
    return _Run(data, dataset, manifest, size, plan, arch, arch_options, learner, head, identity)


def _is_world(source: str) -> bool:
    """Whether all of a source has the world's own size."""
    return all(pretraining.split_amount(part)[0] in pretraining.WORLD for part in source.split("+"))


def _subset_meta(manifest: Manifest) -> dict[str, Any]:
    kind = manifest.rule.split("(")[0]
    return {
        **({"balance": kind} if kind in ("lin", "log") else {}),
        "subset": manifest.rule,
        "subset_seed": manifest.seed,
        "subset_sha256": manifest.sha256,
        "subset_notes": list(manifest.notes),
    }


def _clear(folder: Path) -> None:
    """Remove what an earlier run left in its folder, and nothing else."""
    for name in ("checkpoint.pt", "log.csv", "subset.json"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)


def _training(published: Training, settings: Settings, batch_size: int) -> tuple[Training, float]:
    """The published training with what the settings replace, and the peak learning rate at ``batch_size``."""
    training = published.replace(
        optimizer=settings.optimizer,
        weight_decay=settings.weight_decay,
        warmup_epochs=settings.warmup_epochs,
        schedule=settings.schedule,
    )
    if settings.lr is None and settings.optimizer not in (None, published.optimizer):
        raise UsageError(
            f"--optimizer {settings.optimizer} needs a --lr of its own: the published one is for {published.optimizer}."
        )
    if settings.weight_decay is not None and settings.weight_decay != published.weight_decay:
        training = dataclasses.replace(training, final_weight_decay=None)  # the published rise belongs to its start
    if training.schedule == "step" and not training.milestones:
        training = training.replace(milestones=(0.6, 0.8))  # MoCo v1's 120 and 160 of 200 epochs
    lr = settings.lr if settings.lr is not None else published.scaled_lr(batch_size)
    share = lr / published.lr  # the start and the floor keep their published shares of the peak
    training = training.replace(warmup_lr=training.warmup_lr * share, final_lr=training.final_lr * share)
    return training, lr


# -------------------------------------------------------------------------------------------------------------- recipes


def read_recipe(path: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """Return the runs of a recipe by name, in order: each a mapping of ``Settings``' fields without ``out``.

    A recipe is YAML: ``defaults`` (settings for all) and ``encoders`` (name: settings). A run's own settings replace
    the defaults; its ``arch_options`` and ``options`` are added to theirs, unless it has another arch or method.

    Raises:
        UsageError: the file is missing, is not a recipe, or a key is unknown.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read the recipe {path}: {error.strerror or error}.") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, Mapping) or set(content) - {"defaults", "encoders"} or not content.get("encoders"):
        raise UsageError(
            f"{path} is not a recipe: expected the keys defaults (may be absent) and encoders (name: settings)."
        )
    known = {f.name for f in dataclasses.fields(Settings)} - {"out"}
    defaults = dict(content.get("defaults") or {})
    runs: dict[str, dict[str, Any]] = {}
    for name, given in content["encoders"].items():
        own = dict(given or {})
        base = dict(defaults)
        if "epochs" in own or "budget" in own:
            base = {k: v for k, v in base.items() if k not in ("epochs", "budget")}
        run = {**base, **own}
        for key, owner in (("arch_options", "arch"), ("options", "method")):
            inherited = {} if owner in own and own[owner] != defaults.get(owner) else defaults.get(key) or {}
            run[key] = {**inherited, **(own.get(key) or {})}
        for key in run:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else f" Known are {', '.join(sorted(known))}."
                raise UsageError(f"{path}, encoder {name}: unknown setting {key!r}.{hint}")
        if "method" not in run:
            raise UsageError(f"{path}, encoder {name}: which method? It names none.")
        runs[str(name)] = run
    return runs


def check_names(path: str | os.PathLike[str], runs: Mapping[str, Any], only: tuple[str, ...]) -> None:
    """Refuse names that a recipe does not have.

    Raises:
        UsageError: there is such a name.
    """
    for name in only:
        if name not in runs:
            raise UsageError(f"{path} has no encoder {name!r}; it has {', '.join(runs)}.")


def run_recipe(
    path: str | os.PathLike[str], out: Path, *, only: tuple[str, ...] = (), force: bool = False, quiet: bool = False
) -> tuple[list[Made], dict[str, str]]:
    """Make the encoders of a recipe in ``out``; return those that are there now, and why the others are not.

    An encoder that is there with the same settings and data is left; one that differs is made again; an unfinished run
    goes on if it is the same run. One that fails does not stop the rest.
    """
    runs = read_recipe(path)
    check_names(path, runs, only)
    made, failed = [], {}
    for name, run in runs.items():
        if only and name not in only:
            continue
        try:
            made.append(_up_to_date(Settings(out=out / f"{name}.pt", **run), force=force, quiet=quiet))
        except VirbError as error:
            if distributed.world_size() > 1 and not distributed.is_shared(error):
                raise  # the others are still at it: they cannot go on to the next one
            failed[name] = str(error)
    return made, failed


def run_recipe_in_parallel(
    path: str | os.PathLike[str],
    out: Path,
    *,
    jobs: int,
    only: tuple[str, ...] = (),
    force: bool = False,
    quiet: bool = False,
) -> dict[str, int]:
    """Make the encoders of a recipe in ``jobs`` processes at a time, the cores shared among them; return exit statuses.

    On a CPU a small network trains faster as two runs of one thread than as one run of two. The children's lines are
    passed on as they come.
    """
    runs = read_recipe(path)
    check_names(path, runs, only)
    names = only or tuple(runs)
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, n_cores() // jobs))}

    def make(name: str) -> int:
        command = [sys.executable, "-m", "virb", "pretrain", "--recipe", str(path), "--out", str(out), "--only", name]
        with subprocess.Popen(
            [*command, *(["--force"] if force else []), *(["--quiet"] if quiet else [])],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as child:
            assert child.stdout is not None
            for line in child.stdout:
                print(line, end="", file=sys.stderr, flush=True)
        return child.returncode

    with ThreadPoolExecutor(jobs) as pool:
        return dict(zip(names, pool.map(make, names), strict=True))


def _up_to_date(settings: Settings, *, force: bool, quiet: bool) -> Made:
    if force:
        return pretrain(settings, force=True, quiet=quiet)
    try:
        return pretrain(settings, resume=True, quiet=quiet)
    except StaleRun:
        return pretrain(settings, force=True, quiet=quiet)

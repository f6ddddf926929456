"""The training loop: by iteration, repeatable by seed, resumable to the bit, and stopped when it makes no sense.

Nothing random is carried from step to step: the data order is a function of (seed, epoch), and the augmentations of
(seed, step). A checkpoint therefore needs the weights, the optimiser and the step, and a resumed run on a CPU gives the
bits of an undisturbed one (with the same number of threads).

Several processes (``virb.pretraining.distributed``) train on slices of the same batches with the same views, and give the
weights of one process but for rounding. Process 0 alone reads and writes files; what stops a run is decided together.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import math
import os
import pickle
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from virb.errors import CheckpointError, TrainingError, UsageError, VirbError
from virb.networks.backbones import Backbone
from virb.pretraining import distributed, watch
from virb.pretraining.data import PretrainingData
from virb.pretraining.learner import Batch, Learner, Outcome, Progress
from virb.pretraining.method import Training
from virb.pretraining.reporting import Reporter
from virb.system import devices
from virb.system.files import atomic_write
from virb.training import augment, schedules
from virb.training.optimizers import build_optimizer

FORMAT = "virb-training/1"
PRECISIONS = devices.DTYPES
COLLAPSED_SPREAD = 0.01  # of outputs that fill the sphere (1); random ones of any depth stay above 0.05
COLLAPSED_STEPS = 50


def stream_seed(seed: int, *keys: int | str) -> int:
    """Return a 63-bit seed for the random stream called ``keys`` of the run ``seed``; the same everywhere."""
    digest = hashlib.sha256("/".join(str(k) for k in (seed, *keys)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


class StaleRun(UsageError):
    """What is there belongs to a run with other settings or other data."""


@dataclass(frozen=True)
class Plan:
    """How long and how a run goes. ``lr`` is the peak; counts are in updates, ``checkpoint_s`` in seconds.

    ``batch_size`` counts the images of all processes. ``compile`` has PyTorch compile the encoder's forward pass.
    """

    training: Training
    lr: float
    steps: int
    batch_size: int
    seed: int = 0
    device: str = "cpu"
    precision: str = "fp32"
    accumulate: int = 1
    checkpoint_s: float = 60.0
    checkpoint_steps: int = 0
    log_steps: int = 10
    knn_epochs: float = 0.0
    knn_images: int = 2000
    knn_size: int = 64  # side in pixels at which the network is used afterwards
    compile: bool = False

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UsageError(f"Unknown precision {self.precision!r}; expected one of {', '.join(PRECISIONS)}.")
        if self.precision in ("fp16", "tf32") and torch.device(self.device).type == "cpu":
            raise UsageError(f"{self.precision} trains on a GPU only; on a CPU choose --precision bf16 or fp32.")
        if self.accumulate < 1 or self.batch_size % self.accumulate:
            raise UsageError(f"--accumulate {self.accumulate} does not divide the batch of {self.batch_size}.")
        share, rest = divmod(self.batch_size // self.accumulate, distributed.world_size())
        if rest or not share:
            parts = f" in {self.accumulate} parts" if self.accumulate > 1 else ""
            raise UsageError(
                f"{distributed.world_size()} processes cannot share a batch of {self.batch_size}{parts} equally; choose "
                f"a --batch-size that is a multiple of {distributed.world_size() * self.accumulate}."
            )


class Trainer:
    """Trains ``learner`` on ``data`` as ``plan`` says, keeping its state in ``folder``.

    ``identity`` says what run this is; a checkpoint of another run is refused with what differs.
    """

    def __init__(
        self, learner: Learner, data: PretrainingData, plan: Plan, *, folder: Path, identity: Mapping[str, Any]
    ) -> None:
        self.data = data
        self.plan = plan
        self.folder = folder
        self.identity = dict(identity)
        self.device = torch.device(plan.device)
        self.learner = learner.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if distributed.world_size() > 1 and learner.sync_batch_norm:
            distributed.synchronise_batch_norm(self.learner, self.device)
        if plan.compile:
            _compile(self.learner, self.device)
        self.model = distributed.averaging(self.learner)
        self.steps_per_epoch = len(data) // plan.batch_size
        training = plan.training
        self.optimizer = build_optimizer(
            training.optimizer,
            self.learner.groups(training.weight_decay),
            lr=plan.lr,
            momentum=training.momentum,
            weight_decay=training.weight_decay,
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=plan.precision == "fp16")
        # Never more than a tenth of the run, so that a short one still spends its time at the learning rate.
        self.warmup = min(round(training.warmup_epochs * self.steps_per_epoch), plan.steps // 10)
        self.step = 0
        self.seconds = 0.0
        self.last_good: int | None = None
        self._low_spread = 0
        self._order: tuple[int, np.ndarray] | None = None
        self._labels = None if data.label is None else torch.from_numpy(np.array(data.label))

    @property
    def checkpoint_path(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def log_path(self) -> Path:
        return self.folder / "log.csv"

    # ------------------------------------------------------------------------------------------------------- state

    def save(self) -> None:
        """Write the whole state, on process 0; the old checkpoint stays until the new one is complete."""
        self.last_good = self.step
        if distributed.rank():
            return
        state = {
            "format": FORMAT,
            "identity": self.identity,
            "step": self.step,
            "seconds": self.seconds,
            "low_spread": self._low_spread,
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        with atomic_write(self.checkpoint_path) as file:
            torch.save(state, file)

    def resume(self) -> bool:
        """Load the checkpoint, if there is one; return whether there was. Process 0 reads it for all.

        Raises:
            CheckpointError: the file is damaged.
            StaleRun: it belongs to another run; the text says what differs.
        """
        state = distributed.by_first(self._read)
        if state is None:
            return False
        self.learner.load_state_dict(state["learner"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.step, self.seconds, self._low_spread = state["step"], state["seconds"], state["low_spread"]
        self.last_good = self.step
        return True

    def _read(self) -> dict[str, Any] | None:
        if not self.checkpoint_path.exists():
            return None
        try:
            state = torch.load(self.checkpoint_path, map_location="cpu", weights_only=True)
            if state["format"] != FORMAT:
                raise ValueError(f"format {state['format']!r}")
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
            raise CheckpointError(
                f"{self.checkpoint_path} is not a readable training state ({error}). Remove the folder to start again."
            ) from error
        differences = [
            f"{key}: {state['identity'].get(key)!r} there, {self.identity.get(key)!r} asked for"
            for key in sorted({*state["identity"], *self.identity})
            if state["identity"].get(key) != self.identity.get(key)
        ]
        if differences:
            raise StaleRun(
                f"{self.checkpoint_path} belongs to another run ({'; '.join(differences)}). Repeat those settings, "
                "or choose another --out, or pass --force to start again."
            )
        return state

    # --------------------------------------------------------------------------------------------------------- loop

    def run(self, reporter: Reporter) -> None:
        """Train to the end.

        Raises:
            TrainingError: a loss or weight is not finite, or the output has collapsed; the last good state is kept.
        """
        plan = self.plan
        total = plan.steps * plan.batch_size
        saved_at = started = time.perf_counter()
        before = self.seconds
        with (
            devices.tf32(plan.precision == "tf32"),
            torch.random.fork_rng(devices=self._cuda_devices()),
            _Log(self.log_path, self.step) if distributed.rank() == 0 else contextlib.nullcontext() as log,
            self._reader() as read,
        ):
            self.learner.train()
            reporter.begin(self.step * plan.batch_size)
            upcoming = read(self.step)
            while self.step < plan.steps:
                index, images = upcoming.result()
                if self.step + 1 < plan.steps:
                    upcoming = read(self.step + 1)
                lr, loss, spread, metrics = self._update(index, images)
                self.step += 1
                self.seconds = before + time.perf_counter() - started
                self._check(loss, spread)
                if self._knn_is_due() and log is not None:  # once, by the process that writes it down
                    metrics["knn_top1"] = self.knn()
                is_logged = self.step % plan.log_steps == 0 or self.step == plan.steps or "knn_top1" in metrics
                if log is not None and is_logged:
                    progress = self._progress()
                    log.write(
                        {
                            "step": self.step,
                            "epoch": round(progress.epoch, 4),
                            "images": self.step * plan.batch_size,
                            "seconds": round(self.seconds, 2),
                            "lr": lr,
                            "loss": loss,
                            "spread": spread,
                            **metrics,
                        }
                    )
                shown = {k: v for k, v in metrics.items() if v is not None}
                reporter.update(self.step * plan.batch_size, total, loss=loss, **shown)
                by_step = plan.checkpoint_steps and self.step % plan.checkpoint_steps == 0
                by_time = distributed.flag(time.perf_counter() - saved_at > plan.checkpoint_s)
                if self.step == plan.steps or by_step or by_time:
                    self._check_weights()
                    if self._low_spread == 0:
                        if log is not None:
                            log.flush()
                        self.save()
                        saved_at = time.perf_counter()

    def _cuda_devices(self) -> list[int]:
        return [self.device.index or 0] if self.device.type == "cuda" else []

    def _progress(self) -> Progress:
        return Progress(self.step, self.plan.steps, self.steps_per_epoch)

    @contextlib.contextmanager
    def _reader(self) -> Any:
        """A function that begins to fetch the images of a step while another trains."""
        with ThreadPoolExecutor(1) as pool:

            def fetch(step: int) -> tuple[np.ndarray, np.ndarray]:
                index = self._own(self._batch_index(step))
                return index, self.data.batch(index)

            def read(step: int) -> Future[tuple[np.ndarray, np.ndarray]]:
                return pool.submit(fetch, step)

            yield read

    def _batch_index(self, step: int) -> np.ndarray:
        """Positions of the images of ``step``: a fresh permutation every epoch, its last partial batch dropped."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            generator = np.random.Generator(np.random.PCG64(stream_seed(self.plan.seed, "order", epoch)))
            self._order = (epoch, generator.permutation(len(self.data)))
        size = self.plan.batch_size
        return self._order[1][place * size : (place + 1) * size]

    def _own(self, index: np.ndarray) -> np.ndarray:
        """This process's images of a batch: its slice of every part that is accumulated, as the one process's order."""
        return index.reshape(self.plan.accumulate, distributed.world_size(), -1)[:, distributed.rank()].reshape(-1)

    def _update(
        self, index: np.ndarray, images: np.ndarray
    ) -> tuple[float, float, float | None, dict[str, float | None]]:
        plan, training, progress = self.plan, self.plan.training, self._progress()
        lr = schedules.learning_rate(
            self.step,
            plan.steps,
            peak=plan.lr,
            warmup=self.warmup,
            schedule=training.schedule,
            start=training.warmup_lr,
            end=training.final_lr,
            milestones=training.milestones,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = (plan.lr if group.get("constant_lr") else lr) * group.get("lr_scale", 1.0)
            if training.final_weight_decay is not None and group["weight_decay"] != 0:
                group["weight_decay"] = schedules.cosine(
                    self.step, plan.steps, training.weight_decay, training.final_weight_decay
                )
        # What is drawn outside the views (dropout) differs between processes, and is one process's on the first.
        others = ("process", distributed.rank()) if distributed.rank() else ()
        torch.manual_seed(stream_seed(plan.seed, "step", self.step, *others))
        generator = torch.Generator(self.device).manual_seed(stream_seed(plan.seed, "views", self.step))
        self.learner.before_step(progress)
        self.optimizer.zero_grad(set_to_none=True)
        loss, spread = 0.0, None
        sums: dict[str, float] = {}
        for k, part in enumerate(np.array_split(np.arange(len(index)), plan.accumulate)):
            with self._averaging(is_last=k == plan.accumulate - 1):
                outcome = self._outcome(index[part], images[part], generator, progress)
                self.scaler.scale(outcome.loss / plan.accumulate).backward()
            loss += distributed.mean_number(outcome.loss) / plan.accumulate
            if outcome.output is not None:
                spread = watch.output_spread(outcome.output)
            for key, value in outcome.metrics.items():
                sums[key] = sums.get(key, 0.0) + distributed.mean_number(value) / plan.accumulate
        self.scaler.unscale_(self.optimizer)
        self.learner.after_backward(progress)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.learner.after_step(progress)
        metrics: dict[str, float | None] = {**sums}
        return lr, loss, spread, metrics

    def _outcome(
        self, index: np.ndarray, images: np.ndarray, generator: torch.Generator, progress: Progress
    ) -> Outcome:
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self.device, non_blocking=True)
        views = [v.contiguous(memory_format=torch.channels_last) for v in self.learner.views(pixels, generator)]
        position = torch.from_numpy(index)
        label = None if self._labels is None else self._labels[position].to(self.device)
        with self._autocast():
            return self.model(views, Batch(position.to(self.device), label), progress)

    def _averaging(self, *, is_last: bool) -> contextlib.AbstractContextManager[Any]:
        """Several processes exchange the gradients of an update once, with those of its last part."""
        return contextlib.nullcontext() if is_last or self.model is self.learner else self.model.no_sync()

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.plan.precision in ("fp32", "tf32"):
            return contextlib.nullcontext()
        dtype = torch.bfloat16 if self.plan.precision == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype=dtype)

    # ------------------------------------------------------------------------------------------------------- checks

    def _kept(self) -> str:
        if self.last_good is None:
            return "No checkpoint had been written yet."
        return f"The last good checkpoint, of update {self.last_good}, is kept in {self.folder}."

    @staticmethod
    def _stop(text: str) -> VirbError:
        """What to raise for something that all processes have seen."""
        return distributed.shared(TrainingError(text))

    def _check(self, loss: float, spread: float | None) -> None:
        if not math.isfinite(loss):
            raise self._stop(
                f"The loss is {loss} at update {self.step} of {self.plan.steps}. {self._kept()} Lower --lr, lengthen "
                "the warm-up, or train in fp32, and start again with --force."
            )
        self._low_spread = self._low_spread + 1 if spread is not None and spread < COLLAPSED_SPREAD else 0
        if self._low_spread >= COLLAPSED_STEPS:
            raise self._stop(
                f"The embeddings have collapsed: for {COLLAPSED_STEPS} updates, to {self.step} of {self.plan.steps}, "
                f"the normalised outputs of a batch spread by less than {COLLAPSED_SPREAD} (1: they fill the sphere). "
                f"{self._kept()} Change --lr or the method's options, and start again with --force."
            )

    def _check_weights(self) -> None:
        state = self.learner.state_dict().items()
        bad = [k for k, v in state if v.is_floating_point() and not bool(torch.isfinite(v).all())]
        if distributed.mean_number(len(bad)) > 0:
            raise self._stop(
                f"{bad[0] if bad else 'A buffer'} is not finite after update {self.step} of {self.plan.steps}. "
                f"{self._kept()} Lower --lr or train in fp32, and start again with --force."
            )

    def _knn_is_due(self) -> bool:
        every = round(self.plan.knn_epochs * self.steps_per_epoch)
        return bool(every) and self._labels is not None and (self.step % every == 0 or self.step == self.plan.steps)

    @torch.no_grad()
    def knn(self) -> float:
        """Return the leave-one-out nearest-neighbour accuracy of the exported network on a fixed part of the data."""
        assert self._labels is not None
        chosen = self._draw("knn", self.plan.knn_images)
        encoder = self.learner.exported()
        was_training = encoder.training
        encoder.eval()
        features = []
        with self._autocast():
            for start in range(0, len(chosen), 256):
                view = self._whole(chosen[start : start + 256])
                features.append(encoder.forward(view).float())  # not compiled: another mode and another size
        encoder.train(was_training)
        return watch.knn_accuracy(torch.cat(features), self._labels[torch.from_numpy(chosen)].to(self.device))

    @torch.no_grad()
    def settle_statistics(self, n_images: int = 2048) -> None:
        """Measure the exported network's batch statistics anew, on whole training images at the size it will see."""
        encoder = self.learner.exported()
        layers = [layer for layer in encoder.modules() if isinstance(layer, _BatchNorm)]
        if not layers:
            return
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the plain mean over the batches
        chosen = self._draw("statistics", n_images)
        encoder.train()
        for part in np.array_split(chosen, -(-len(chosen) // 256)):
            encoder.forward(self._whole(np.sort(part)))
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum

    def _draw(self, stream: str, n_images: int) -> np.ndarray:
        """Return the positions of at most ``n_images`` images, drawn without replacement: the same ones every time."""
        rng = np.random.Generator(np.random.PCG64(stream_seed(self.plan.seed, stream)))
        return rng.permutation(len(self.data))[:n_images]

    def _whole(self, index: np.ndarray) -> Tensor:
        """Return the images at ``index`` whole, at the size that the exported network will see."""
        setup = self.learner.setup
        pixels = torch.from_numpy(self.data.batch(index)).to(self.device)
        return augment.center_view(pixels, self.plan.knn_size, setup.mean, setup.std)


def _compile(learner: Learner, device: torch.device) -> None:
    """Have the forward pass of every encoder in ``learner`` compiled when it is first used; names stay as they are.

    Raises:
        UsageError: nothing can be compiled here, or batch normalisation would have to wait for other processes.
    """
    encoders = [module for module in learner.modules() if isinstance(module, Backbone)]
    if distributed.world_size() > 1 and any(isinstance(m, _BatchNorm) for e in encoders for m in e.modules()):
        raise distributed.shared(
            UsageError(
                "--compile: batch normalisation that waits for other processes cannot be compiled. Train with one process, "
                "without --compile, or a network without it (a ViT)."
            )
        )
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.zeros(8, device=device))
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"--compile: PyTorch cannot compile for {device.type} here: {reason}. It needs a C++ compiler (on GPUs "
            "Triton); install it, or train without --compile."
        ) from error
    for encoder in encoders:
        encoder.compile(dynamic=False)  # one program a view size


def _tensorboard(folder: Path, step: int) -> Any:
    """A TensorBoard writer beside the log, where TensorBoard is installed; what comes after ``step`` was lost."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)


class _Log:
    """The CSV log; rows past ``step`` belong to work that was lost, and are removed when it opens."""

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        self.step = step
        self.rows: list[dict[str, str]] = []
        if step and path.exists():
            with path.open(newline="") as file:
                self.rows = [
                    row for row in csv.DictReader(file) if row.get("step", "").isdigit() and int(row["step"]) <= step
                ]
        self.columns: list[str] = list(self.rows[0]) if self.rows else []

    def __enter__(self) -> _Log:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = self.path.open("w", newline="")
        self._header()
        self.board = _tensorboard(self.path.parent, self.step)
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        if self.board is not None:
            self.board.close()

    def _header(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.writer = csv.DictWriter(self.file, self.columns)
        if self.columns:
            self.writer.writeheader()
            self.writer.writerows(self.rows)

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row; a number that is new (the nearest neighbours' accuracy, once an epoch) adds a column."""
        text = {
            key: "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
            for key, value in row.items()
        }
        self.rows.append(text)
        new = [key for key in row if key not in self.columns]
        if new:
            self.columns += new
            self._header()
        else:
            self.writer.writerow(text)
        self.file.flush()
        if self.board is not None:
            for key, value in row.items():
                if key not in ("step", "images", "seconds") and value is not None:
                    self.board.add_scalar(key, value, row["step"])

    def flush(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())

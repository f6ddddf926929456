"""The training loop: by iteration, repeatable by seed, resumable to the bit, and stopped when it makes no sense.

Nothing random is carried from step to step: the data order is a function of (seed, epoch), and the augmentations of
(seed, step). A checkpoint therefore needs the weights, the optimiser and the step, and a resumed run on a CPU gives the
bits of an undisturbed one (with the same number of threads).

Several processes (``virb.training.distributed``) train on slices of the same batches with the same views, and give the
weights of one process but for rounding. Process 0 alone reads and writes files; what stops a run is decided together.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from virb.errors import TrainingError, VirbError
from virb.networks.base import Backbone
from virb.pretraining import watch
from virb.pretraining.average import Average
from virb.pretraining.compiled import compile_encoders
from virb.pretraining.data import PretrainingData
from virb.pretraining.learner import Batch, Learner, Outcome, Progress
from virb.pretraining.log import Log
from virb.pretraining.looks import Looks, buffers_restored, on_device
from virb.pretraining.parts import in_parts, recomputed
from virb.pretraining.pixels import Padded
from virb.pretraining.plan import Plan, stream_seed
from virb.pretraining.reader import batches
from virb.pretraining.reporting import Reporter
from virb.pretraining.state import read_state, restore, write_state
from virb.pretraining.stopping import Stopped, on_request
from virb.system import devices
from virb.training import distributed, schedules
from virb.training.optimizers import build_optimizer

COLLAPSED_SPREAD = 0.01  # of outputs that fill the sphere (1); random ones of any depth stay above 0.05
COLLAPSED_STEPS = 50
Numbers = dict[str, Tensor | float | None]


class Trainer:
    """Trains ``learner`` on ``data`` as ``plan`` says, keeping its state in ``folder``.

    ``identity`` says what run this is; a checkpoint of another run is refused with what differs. ``look`` gives numbers for
    the log when the run looks at what it makes, and ``snapshot`` writes it down when a snapshot is due; process 0 calls both.
    """

    def __init__(
        self,
        learner: Learner,
        data: PretrainingData,
        plan: Plan,
        *,
        folder: Path,
        identity: Mapping[str, Any],
        look: Callable[[], Mapping[str, float]] | None = None,
        snapshot: Callable[[int], None] | None = None,
    ) -> None:
        self.look, self.snapshot = look, snapshot
        self.data = data
        self.plan = plan
        self.folder = folder
        self.identity = dict(identity)
        self.device = torch.device(plan.device)
        self.learner = learner.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if distributed.world_size() > 1 and learner.sync_batch_norm:
            distributed.synchronise_batch_norm(self.learner, self.device)
        self.average = Average(self.learner, plan.ema) if plan.ema else None
        if plan.compile:
            compile_encoders(self.learner, self.device)
        self.model = distributed.averaging(self.learner)
        self.steps_per_epoch = len(data) // plan.batch_size
        training = plan.training
        self.optimizer = build_optimizer(
            training.optimizer,
            self.learner.groups(training.weight_decay),
            lr=plan.lr,
            momentum=training.momentum,
            weight_decay=training.weight_decay,
            beta2=training.beta2,
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=plan.precision == "fp16")
        self.warmup = round(training.warmup_epochs * self.steps_per_epoch)
        self.step = 0
        self.seconds = 0.0
        self.last_good: int | None = None
        self._low_spread = 0
        self._labels = None if data.label is None else torch.from_numpy(np.array(data.label))
        self._looks = Looks(data, plan, learner.setup)

    @property
    def kept(self) -> Backbone:
        """The network that the run keeps, as it is now."""
        return self.learner.exported() if self.average is None else self.average.encoder

    @property
    def projection(self) -> nn.Module | None:
        """The head that is kept beside it."""
        return self.learner.projection() if self.average is None else self.average.projection

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
            "step": self.step,
            "seconds": self.seconds,
            "low_spread": self._low_spread,
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            **({} if self.average is None else {"average": self.average.state_dict()}),
        }
        write_state(self.checkpoint_path, self.identity, state)

    def resume(self) -> bool:
        """Load the checkpoint, if there is one; return whether there was. Process 0 reads it for all.

        Raises:
            CheckpointError: the file is damaged.
            StaleRun: it belongs to another run; the text says what differs.
        """
        state = distributed.by_first(lambda: read_state(self.checkpoint_path, self.identity))
        if state is None:
            return False
        restore(
            self.checkpoint_path, state, self.learner, self.optimizer, self.scaler, self.average, steps=self.plan.steps
        )
        self.step, self.seconds, self._low_spread = state["step"], state["seconds"], state["low_spread"]
        self.last_good = self.step
        return True

    # --------------------------------------------------------------------------------------------------------- loop

    def run(self, reporter: Reporter) -> None:
        """Train to the end.

        Raises:
            TrainingError: a loss or weight is not finite, or the output has collapsed; the last good state is kept.
            Stopped: SIGTERM or SIGINT came; the state after the update under way is saved.
        """
        plan = self.plan
        total = plan.steps * plan.batch_size
        saved_at = started = time.perf_counter()
        before = self.seconds
        with (
            on_request() as request,
            devices.tf32(plan.precision == "tf32"),
            devices.sound_bf16(self.device, plan.precision),
            torch.random.fork_rng(devices=self._cuda_devices()),
            Log(self.log_path, self.step) if distributed.rank() == 0 else contextlib.nullcontext() as log,
            contextlib.closing(batches(self.data, plan, self.step)) as read,
        ):
            if log is not None and log.note:
                reporter.say(log.note)
            self.learner.train()
            reporter.begin(self.step * plan.batch_size)
            pending: list[Numbers] = []
            seen: dict[str, float | None] = {}
            for index, images in read:
                pending.append(self._update(index, images))
                self.step += 1
                self.seconds = before + time.perf_counter() - started
                is_last = self.step == plan.steps
                by_step = plan.checkpoint_steps and self.step % plan.checkpoint_steps == 0
                by_time = distributed.flag(time.perf_counter() - saved_at > plan.checkpoint_s)
                is_asked = distributed.mean_number(float(request.number is not None)) > 0
                is_saved = is_last or by_step or by_time or is_asked
                is_looked = self._is_looked()
                is_logged = self.step % plan.log_steps == 0 or is_last or is_looked
                if is_logged or is_saved or self.device.type == "cpu":
                    seen = self._look(pending)
                    pending = []
                if is_looked and log is not None:  # once, by the process that writes it down
                    seen |= self._numbers(reporter)
                if self.snapshot is not None and self.step in plan.snapshots and distributed.rank() == 0:
                    self.snapshot(self.step)
                if log is not None and is_logged:
                    log.write(
                        {
                            "step": self.step,
                            "epoch": round(self._progress().epoch, 4),
                            "images": self.step * plan.batch_size,
                            "seconds": round(self.seconds, 2),
                            **seen,
                        }
                    )
                shown = {k: v for k, v in seen.items() if v is not None and k not in ("lr", "spread")}
                reporter.update(self.step * plan.batch_size, total, **shown)
                if is_saved:
                    self._check_weights()
                    if self._low_spread == 0:
                        if log is not None:
                            log.flush()
                        self.save()
                        saved_at = time.perf_counter()
                if is_asked and not is_last:
                    raise Stopped(
                        f"stopped after update {self.step} of {plan.steps}. {self._kept()} Go on with --resume.",
                        request.number or signal.SIGTERM,
                    )

    def _look(self, pending: list[Numbers]) -> dict[str, float | None]:
        """Read the numbers of the last updates from the device, all at once, check them, and return the last ones."""
        waiting = [value for numbers in pending for value in numbers.values() if isinstance(value, Tensor)]
        read = iter(torch.stack([value.double() for value in waiting]).tolist())
        seen: dict[str, float | None] = {}
        for k, numbers in enumerate(pending):
            seen = {name: next(read) if isinstance(value, Tensor) else value for name, value in numbers.items()}
            loss = seen["loss"]
            assert loss is not None
            self._check(loss, seen["spread"], self.step - len(pending) + k + 1)
        return seen

    def _cuda_devices(self) -> list[int]:
        return [self.device.index or 0] if self.device.type == "cuda" else []

    def _progress(self) -> Progress:
        return Progress(self.step, self.plan.steps, self.steps_per_epoch)

    def _update(self, index: np.ndarray, images: np.ndarray | Padded) -> Numbers:
        """Train on a batch; return what the log says of it, on the device where it is from there."""
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
        generator = torch.Generator().manual_seed(stream_seed(plan.seed, "views", self.step))
        self.learner.before_step(progress)
        self.optimizer.zero_grad(set_to_none=True)
        with in_parts(self.learner, plan.accumulate), recomputed(self.learner, plan.recompute):
            outcome = self._outcome(index, images, generator, progress)
            self.scaler.scale(outcome.loss).backward()
        numbers: Numbers = {"lr": lr, "loss": distributed.mean_number(outcome.loss), "spread": None}
        if outcome.output is not None:
            numbers["spread"] = watch.output_spread(outcome.output)
        numbers |= {key: distributed.mean_number(value) for key, value in outcome.metrics.items()}
        self.scaler.unscale_(self.optimizer)
        self.learner.after_backward(progress)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.learner.after_step(progress)
        if self.average is not None:
            self.average.follow(self.learner)
        return numbers

    def _outcome(
        self, index: np.ndarray, images: np.ndarray | Padded, generator: torch.Generator, progress: Progress
    ) -> Outcome:
        pixels = on_device(images, self.device)
        views = [
            view.contiguous(memory_format=torch.channels_last) if view.ndim == 4 else devices.upload(view, self.device)
            for view in self.learner.views(pixels, generator)
        ]
        position = torch.from_numpy(index)
        label = None if self._labels is None else devices.upload(self._labels[position], self.device)
        with self._autocast():
            return self.model(views, Batch(devices.upload(position, self.device), label), progress)

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

    def _check(self, loss: float, spread: float | None, step: int) -> None:
        if not math.isfinite(loss):
            raise self._stop(
                f"The loss is {loss} at update {step} of {self.plan.steps}. {self._kept()} Lower --lr, lengthen "
                "the warm-up, or train in fp32, and start again with --force."
            )
        self._low_spread = self._low_spread + 1 if spread is not None and spread < COLLAPSED_SPREAD else 0
        if self._low_spread >= COLLAPSED_STEPS:
            raise self._stop(
                f"The embeddings have collapsed: for {COLLAPSED_STEPS} updates, to {step} of {self.plan.steps}, "
                f"the normalised outputs of a batch spread by less than {COLLAPSED_SPREAD} (1: they fill the sphere). "
                f"{self._kept()} Change --lr or the method's options, and start again with --force."
            )

    def _check_weights(self) -> None:
        state = {name: value for name, value in self.learner.state_dict().items() if value.is_floating_point()}
        is_good = torch.stack([torch.isfinite(value).all() for value in state.values()]).tolist()  # one wait
        bad = [name for name, is_finite in zip(state, is_good, strict=True) if not is_finite]
        if float(distributed.mean_number(len(bad))) > 0:
            raise self._stop(
                f"{bad[0] if bad else 'A buffer'} is not finite after update {self.step} of {self.plan.steps}. "
                f"{self._kept()} Lower --lr or train in fp32, and start again with --force."
            )

    # -------------------------------------------------------------------------------------------------------- looks

    def _is_looked(self) -> bool:
        every = round(self.plan.eval_epochs * self.steps_per_epoch)
        is_asked = self.look is not None or (self.plan.eval_own and self._labels is not None)
        return is_asked and bool(every) and (self.step % every == 0 or self.step == self.plan.steps)

    def _numbers(self, reporter: Reporter) -> dict[str, float | None]:
        """Return what is seen of the kept network; what cannot be seen is said and costs nothing else."""
        numbers: dict[str, float | None] = {}
        if self.plan.eval_own and self._labels is not None:
            numbers["knn_top1"] = self._looks.knn(self.kept, self._labels, self._autocast)
        if self.look is not None:
            try:
                numbers |= self.look()
            except VirbError as error:
                reporter.say(f"nothing was evaluated after update {self.step}: {error}")
        return numbers

    def settle(self) -> None:
        """Measure the kept network's batch statistics anew, on whole training images, if it was trained on tiles."""
        if self.learner.trains_on_tiles:
            self._looks.settle_statistics(self.kept)

    @contextlib.contextmanager
    def settled(self) -> Iterator[None]:
        """Have the kept network as it would be if training ended here, for the block; nothing of it stays."""
        with buffers_restored(self.kept):
            self.settle()
            yield

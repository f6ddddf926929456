"""The training loop: repeatable, resumable to the bit, and stopped when it makes no sense."""

from __future__ import annotations

import csv
import dataclasses
import math
import shutil
import signal

import numpy as np
import pytest
import torch
from torch import nn

from virb.contracts.method import Setup, Training
from virb.errors import TrainingError, UsageError
from virb.networks.backbones import Backbone, build_backbone
from virb.pretraining import losses
from virb.pretraining.data import PretrainingData
from virb.pretraining.learner import Learner, Outcome
from virb.pretraining.parts import in_parts, recomputed
from virb.pretraining.pixels import ArrayPixels
from virb.pretraining.plan import Plan
from virb.pretraining.reporting import Reporter
from virb.pretraining.state import StaleRun
from virb.pretraining.stopping import Stopped
from virb.pretraining.trainer import Trainer
from virb.training import augment

SETUP = Setup(16, 40, 2, 8, 10, 5, augment.IMAGENET_MEAN, augment.IMAGENET_STD)
TRAINING = Training("sgd", 0.05, 8, 2, warmup_epochs=1)


def data() -> PretrainingData:
    rng = np.random.default_rng(0)
    label = np.arange(40) % 2
    images = rng.integers(0, 100, (40, 16, 16, 3)).astype(np.uint8) + (150 * label[:, None, None, None]).astype(
        np.uint8
    )
    return PretrainingData("toy", "r1", ArrayPixels(images), np.arange(40), 16, label, ("dark", "bright"))


class Toy(Learner):
    """A small contrastive method; ``poison`` makes its loss not a number at that step, ``constant`` its output one point."""

    poison = -1
    constant = False

    def __init__(self):
        torch.manual_seed(0)
        super().__init__(build_backbone("resnet18", width=0.125, stem="cifar"), {}, SETUP)
        self.head = nn.Linear(self.encoder.dim, 8)
        self.dropout = nn.Dropout(0.1)  # draws from torch's global generator, which a resumed run must find as it was
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.view = augment.View(augment.compose("crop+flip+jitter", 16))

    def views(self, images, generator):
        return [self.view(images, generator), self.view(images, generator)]

    def forward(self, views, batch, progress):
        z1, z2 = self.dropout(self.head(self.encoder(torch.cat(views)))).chunk(2)
        loss = losses.nt_xent(z1, z2, 0.5)
        if progress.step == self.poison:
            loss = loss * float("nan")
        return Outcome(loss, torch.ones_like(z1) if self.constant else z1, {"extra": 1.0})

    def after_step(self, progress):
        self.count += 1


def trainer(folder, learner=None, **changes) -> Trainer:
    plan = Plan(TRAINING, lr=0.05, steps=changes.pop("steps", 12), batch_size=8, checkpoint_s=1e9, log_steps=1)
    plan = dataclasses.replace(plan, **changes)
    return Trainer(learner or Toy(), data(), plan, folder=folder, identity={"method": "toy", "seed": plan.seed})


def run(t: Trainer) -> Trainer:
    with Reporter("toy", quiet=True) as reporter:
        t.run(reporter)
    return t


def weights(t: Trainer) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in t.learner.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[k], b[k]) for k in a)


def test_a_seed_fixes_the_weights(tmp_path):
    first, again = run(trainer(tmp_path / "a")), run(trainer(tmp_path / "b"))
    other = run(trainer(tmp_path / "c", seed=1))
    assert same(weights(first), weights(again))
    assert not same(weights(first), weights(other))


def test_the_callers_random_state_is_left_alone(tmp_path):
    t = trainer(tmp_path)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    run(t)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("optimizer", ["sgd", "lars", "adamw"])
def test_resume_gives_the_bits_of_an_undisturbed_run(tmp_path, optimizer):
    training = dataclasses.replace(TRAINING, optimizer=optimizer)
    whole = run(trainer(tmp_path / "whole", training=training))

    class Stop(Exception):
        pass

    class Stopping(Toy):
        def after_step(self, progress):
            super().after_step(progress)
            if progress.step == 7:
                raise Stop

    broken = trainer(tmp_path / "broken", Stopping(), training=training, checkpoint_steps=5)
    with pytest.raises(Stop):
        run(broken)
    resumed = trainer(tmp_path / "broken", training=training, checkpoint_steps=5)
    assert resumed.resume()
    assert resumed.step == 5
    run(resumed)
    assert same(weights(whole), weights(resumed))
    assert int(resumed.learner.count) == 12
    rows = list(csv.DictReader(resumed.log_path.open()))
    assert [int(row["step"]) for row in rows] == list(range(1, 13))
    expected = [row["loss"] for row in csv.DictReader(whole.log_path.open())]
    assert [row["loss"] for row in rows] == expected


def test_nan_stops_and_keeps_the_last_good_state(tmp_path):
    learner = Toy()
    learner.poison = 7
    t = trainer(tmp_path, learner, checkpoint_steps=3)
    with pytest.raises(TrainingError, match=r"loss is nan at update 8 of 12.*update 6, is kept"):
        run(t)
    state = torch.load(t.checkpoint_path, weights_only=True)
    assert state["step"] == 6
    assert all(torch.isfinite(v).all() for v in state["learner"].values() if v.is_floating_point())


def test_collapse_stops(tmp_path):
    learner = Toy()
    learner.constant = True
    t = trainer(tmp_path, learner, steps=80, checkpoint_steps=10)
    with pytest.raises(TrainingError, match="collapsed"):
        run(t)
    assert not t.checkpoint_path.exists()


def test_another_runs_checkpoint_is_refused(tmp_path):
    run(trainer(tmp_path, checkpoint_steps=3))
    t = trainer(tmp_path, seed=3)
    with pytest.raises(StaleRun, match="seed: 0 there, 3 asked for"):
        t.resume()


class Unnormalised(Backbone):
    """Nothing in it depends on the other images of a batch."""

    dim = 8

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU())

    def forward(self, x):
        return self.layers(x).mean(dim=(2, 3))


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_a_batch_in_parts_has_the_loss_and_the_gradient_of_the_whole(tmp_path, parts):
    """A loss that compares all images of a batch, and batch normalisation in the head."""

    def make(folder, **changes):
        learner = Toy()
        torch.manual_seed(0)
        learner.encoder = Unnormalised()
        learner.head, learner.dropout = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)), nn.Identity()
        return trainer(folder, learner, **changes)

    one, two = (run(make(tmp_path / str(n), steps=3, accumulate=n)) for n in (1, parts))
    for a, b in zip(weights(one).values(), weights(two).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    logs = [[float(row["loss"]) for row in csv.DictReader(t.log_path.open())] for t in (one, two)]
    assert logs[0] == pytest.approx(logs[1], rel=1e-4)


def test_blocks_that_are_computed_twice_give_the_same_bits_for_less_memory(tmp_path):
    once, twice = (trainer(tmp_path / str(is_so), steps=4, recompute=is_so) for is_so in (False, True))
    run(once), run(twice)
    assert same(weights(once), weights(twice))  # running statistics among them
    held = []  # bytes that autograd keeps for the backward pass
    for is_so in (False, True):
        seen: dict[int, int] = {}

        def keep(tensor, seen=seen):
            seen[tensor.data_ptr()] = tensor.nbytes
            return tensor

        with recomputed(once.learner, is_so), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            once.learner.encoder(torch.rand(8, 3, 16, 16))
        held.append(sum(seen.values()))
    assert held[1] < 0.5 * held[0]
    with pytest.raises(UsageError, match="--recompute does not go with --accumulate"):
        trainer(tmp_path, recompute=True, accumulate=2)


def test_running_statistics_see_each_part_once(tmp_path):
    t = run(trainer(tmp_path, steps=3, accumulate=2))
    assert int(t.learner.encoder.bn1.num_batches_tracked) == 6
    assert t.learner.encoder.bn1.momentum == 0.1
    learner = Toy()
    images = torch.rand(4, 3, 16, 16)
    with in_parts(learner, 2):
        learner.encoder(images).sum().backward()
    seen = learner.encoder.bn1.running_mean.clone()
    again = Toy()
    for part in images.chunk(2):
        again.encoder(part)
    torch.testing.assert_close(seen, again.encoder.bn1.running_mean)


def test_online_accuracy_and_precision(tmp_path):
    t = run(trainer(tmp_path, eval_epochs=1.0, eval_own=True, knn_size=16, precision="bf16"))
    rows = [row for row in csv.DictReader(t.log_path.open()) if row["knn_top1"]]
    assert [int(row["step"]) for row in rows] == [5, 10, 12]
    assert all(float(row["knn_top1"]) > 0.9 for row in rows)
    assert t.learner.training
    assert all(math.isfinite(float(row["loss"])) for row in rows)


def test_the_average_is_that_of_the_updates(tmp_path):
    states = []

    class Watched(Toy):
        def before_step(self, progress):
            states.append({k: v.clone() for k, v in self.encoder.state_dict().items()})

    t = run(trainer(tmp_path, Watched(), steps=4, ema=0.5))
    states.append(t.learner.encoder.state_dict())
    expected = states[0]
    for n, new in enumerate(states[1:]):
        share = min(0.5, (1 + n) / (10 + n))
        expected = {
            k: share * old + (1 - share) * new[k] if old.is_floating_point() else new[k] for k, old in expected.items()
        }
    found = t.kept.state_dict()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, msg=key)
    assert t.kept is not t.learner.encoder
    assert not any(p.requires_grad for p in t.kept.parameters())
    assert same(weights(t), weights(run(trainer(tmp_path / "without", steps=4))))  # what is trained does not know of it


def test_the_average_goes_on_too(tmp_path):
    whole = run(trainer(tmp_path / "whole", ema=0.9))
    broken = trainer(tmp_path / "broken", ema=0.9, checkpoint_steps=5)
    broken._is_looked = lambda: (_ for _ in ()).throw(KeyboardInterrupt) if broken.step == 7 else False
    with pytest.raises(KeyboardInterrupt):
        run(broken)
    resumed = trainer(tmp_path / "broken", ema=0.9, checkpoint_steps=5)
    assert resumed.resume()
    run(resumed)
    assert same(whole.average.state_dict(), resumed.average.state_dict())


def test_looks_and_snapshots_come_when_due_and_change_nothing(tmp_path):
    looked, kept, said = [], [], []
    t = trainer(tmp_path / "a", steps=12, eval_epochs=1.0, snapshots=(3, 10))

    def look():
        looked.append(t.step)
        torch.rand(3)
        if t.step == 10:
            raise UsageError("the task has no data")
        return {"my-task": 0.25 + t.step}

    t.look, t.snapshot = look, kept.append
    with Reporter("toy", quiet=True) as reporter:
        reporter.say = said.append
        t.run(reporter)
    assert (looked, kept) == ([5, 10, 12], [3, 10])
    assert said == ["nothing was evaluated after update 10: the task has no data"]
    rows = {row["step"]: row["my-task"] for row in csv.DictReader(t.log_path.open())}
    assert (rows["5"], rows["10"], rows["12"]) == ("5.25", "", "12.25")
    assert same(weights(t), weights(run(trainer(tmp_path / "b", steps=12))))


def test_tensorboard_where_it_is_installed(tmp_path, monkeypatch):
    import sys
    import types

    written = []

    class SummaryWriter:
        def __init__(self, folder, purge_step=None):
            assert folder == str(tmp_path / "tensorboard")

        def add_scalar(self, key, value, step):
            written.append((key, step))

        def close(self):
            written.append("closed")

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    run(trainer(tmp_path, steps=2))
    assert ("loss", 1) in written
    assert ("spread", 2) in written
    assert written[-1] == "closed"


def test_other_boards_where_their_own_variables_ask_for_them(tmp_path, monkeypatch):
    import sys
    import types

    said = []
    run_of = types.SimpleNamespace(
        log=lambda row, step: said.append(("wandb", sorted(row), step)), finish=lambda: said.append("end")
    )
    fake = types.SimpleNamespace(init=lambda **given: said.append(given) or run_of)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    flow = types.SimpleNamespace(start_run=lambda run_name: said.append(run_name), end_run=lambda: said.append("ended"),
                                 log_metrics=lambda row, step: said.append(("mlflow", sorted(row), step)))  # fmt: skip
    monkeypatch.setitem(sys.modules, "mlflow", flow)
    run(trainer(tmp_path / "quiet", steps=1))
    assert said == []
    monkeypatch.setenv("WANDB_PROJECT", "project")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:here")
    run(trainer(tmp_path / "named", steps=2))
    assert said[0]["project"] == "project"
    for name in ("wandb", "mlflow"):
        rows = [entry for entry in said if isinstance(entry, tuple) and entry[0] == name]
        assert [step for _, _, step in rows] == [1, 2]
        assert "loss" in rows[0][1]
        assert "seconds" not in rows[0][1]
    assert said[-2:] == ["end", "ended"]


def test_statistics_are_measured_anew_on_whole_images(tmp_path):
    learner = Toy()
    learner.trains_on_tiles = True
    t = run(trainer(tmp_path, learner, steps=3, knn_size=16))
    before = weights(t)
    with t.settled():
        assert not same(before, weights(t))
    assert same(before, weights(t))  # a look leaves nothing behind
    with pytest.raises(UsageError), t.settled():
        raise UsageError("the look failed")
    assert same(before, weights(t))
    t.settle()
    encoder = t.learner.encoder
    whole = augment.center_view(torch.from_numpy(data().pixels.array), 16, SETUP.mean, SETUP.std)
    with torch.no_grad():
        expected = encoder.conv1(whole).mean(dim=(0, 2, 3))
    torch.testing.assert_close(encoder.bn1.running_mean, expected, rtol=1e-4, atol=1e-5)
    assert encoder.bn1.momentum == 0.1
    after = weights(t)
    changed = {k.rsplit(".", 1)[1] for k in after if not torch.equal(before[k], after[k])}
    assert changed == {"running_mean", "running_var", "num_batches_tracked"}


def test_fp16_and_bad_accumulation_are_refused(tmp_path):
    with pytest.raises(UsageError, match="GPU"):
        trainer(tmp_path, precision="fp16")
    with pytest.raises(UsageError, match="does not divide"):
        trainer(tmp_path, accumulate=3)


class Small(Backbone):
    dim = 8

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU())

    def forward(self, x):
        return self.layers(x).mean(dim=(2, 3))


@pytest.mark.slow
@pytest.mark.compiler
@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="needs a C++ compiler")
def test_a_compiled_encoder_trains_alike_and_goes_on(tmp_path):
    def make(folder, **changes):
        learner = Toy()
        torch.manual_seed(0)
        learner.encoder, learner.head, learner.dropout = Small(), nn.Linear(8, 8), nn.Identity()
        return trainer(folder, learner, steps=6, **changes)

    plain = run(make(tmp_path / "plain"))
    compiled = make(tmp_path / "compiled", compile=True, checkpoint_steps=3)
    assert compiled.learner.encoder._compiled_call_impl is not None
    run(compiled)
    assert weights(plain).keys() == weights(compiled).keys()
    for a, b in zip(weights(plain).values(), weights(compiled).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    resumed = make(tmp_path / "compiled")  # without compiling: it is the same run
    assert resumed.resume()
    assert resumed.step == 6


def test_compiling_where_nothing_can_be_compiled_is_refused(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(UsageError, match=r"cannot compile for cpu here.*No working C\+\+ compiler"):
        trainer(tmp_path, compile=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_saves_its_state_at_once(tmp_path, number):
    whole = run(trainer(tmp_path / "whole"))

    class Asked(Toy):
        def after_step(self, progress):
            super().after_step(progress)
            if progress.step == 4:
                signal.raise_signal(number)

    before = signal.getsignal(number)
    asked = trainer(tmp_path / "asked", Asked())
    with pytest.raises(Stopped, match=r"stopped after update 5 of 12.*--resume") as stopped:
        run(asked)
    assert stopped.value.status == 128 + number
    assert signal.getsignal(number) is before
    resumed = trainer(tmp_path / "asked")
    assert resumed.resume()
    assert resumed.step == 5
    assert same(weights(whole), weights(run(resumed)))

"""--resume from damaged files: a state that is not sound is refused, a log that is not sound does not stop the run."""

from __future__ import annotations

import csv
import os
import signal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from virb.errors import CheckpointError, VirbError
from virb.pretraining.log import Log
from virb.pretraining.state import FORMAT, StaleRun, read_state, restore, write_state

IDENTITY = {"method": "toy", "milestones": (0.5, 0.75)}


def parts() -> tuple[nn.Module, torch.optim.Optimizer, torch.amp.GradScaler]:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return model, optimizer, torch.amp.GradScaler("cpu", enabled=False)


def state(**changes):
    model, optimizer, scaler = parts()
    content = {
        "step": 3, "seconds": 1.5, "low_spread": 0, "learner": model.state_dict(), "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
    }  # fmt: skip
    return {**content, **changes}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("state") / "checkpoint.pt"
    write_state(path, IDENTITY, state())
    return path.read_bytes()


def test_a_state_comes_back(tmp_path):
    path = tmp_path / "c.pt"
    assert read_state(path, IDENTITY) is None
    write_state(path, IDENTITY, state())
    found = read_state(path, IDENTITY)
    model, optimizer, scaler = parts()
    with torch.no_grad():
        model.weight.zero_()
    restore(path, found, model, optimizer, scaler, steps=3)
    assert torch.equal(model.weight, parts()[0].weight)
    with pytest.raises(StaleRun, match="method: 'toy' there, 'simclr' asked for"):
        read_state(path, {**IDENTITY, "method": "simclr"})


@settings(max_examples=150)
@given(data=st.data())
def test_flipped_bytes_are_refused_or_change_nothing(tmp_path_factory, sound, data):
    at = data.draw(st.integers(0, len(sound) - 1))
    flipped = data.draw(st.integers(1, 255))
    content = bytearray(sound)
    content[at] ^= flipped
    path = tmp_path_factory.mktemp("state") / "checkpoint.pt"
    path.write_bytes(content)
    try:
        found = read_state(path, IDENTITY)
    except (CheckpointError, StaleRun):
        return
    whole = state()
    assert found["step"] == 3
    assert all(torch.equal(found["learner"][k], whole["learner"][k]) for k in whole["learner"])


@settings(max_examples=40)
@given(st.data())
def test_cut_files_are_refused(tmp_path_factory, sound, data):
    path = tmp_path_factory.mktemp("state") / "checkpoint.pt"
    path.write_bytes(sound[: data.draw(st.integers(0, len(sound) - 1))])
    with pytest.raises(CheckpointError, match="not a readable training state"):
        read_state(path, IDENTITY)


def test_other_files_are_refused(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "folder").mkdir()
    for path in (pipe, tmp_path / "folder"):
        with pytest.raises(CheckpointError, match="no regular file"):
            read_state(path, IDENTITY)
    for content in ([], {"format": FORMAT}, {"format": "x", "identity": {}}):
        torch.save(content, tmp_path / "other.pt")
        with pytest.raises(CheckpointError, match="not of the format"):
            read_state(tmp_path / "other.pt", IDENTITY)
    torch.save({"format": FORMAT, "identity": {"method": [float("nan")]}}, tmp_path / "other.pt")
    with pytest.raises(StaleRun):
        read_state(tmp_path / "other.pt", IDENTITY)


WRONG = {
    "step": [None, -1, 4, 2.0, True, "3"],
    "seconds": [None, -1.0, float("nan"), float("inf"), "1"],
    "low_spread": [None, -1, 0.5],
    "learner": [
        None, [], {}, {"weight": torch.zeros(2, 3)},
        {"weight": torch.zeros(3, 2), "bias": torch.zeros(2)},
        {"weight": torch.zeros(2, 3, dtype=torch.float64), "bias": torch.zeros(2)},
        {"weight": torch.full((2, 3), float("nan")), "bias": torch.zeros(2)},
        {"weight": 1.0, "bias": torch.zeros(2)},
    ],
    "optimizer": [None, {}, {"state": {}, "param_groups": []}],
    "scaler": [None, 3],
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, found in WRONG.items() for value in found])
def test_contents_of_another_kind_are_refused(tmp_path, key, value):
    model, optimizer, _ = parts()
    enabled = torch.amp.GradScaler("cpu", enabled=True)
    given = state(scaler=enabled.state_dict())
    restore(tmp_path, given, model, optimizer, enabled, steps=3)
    with pytest.raises(CheckpointError, match="not a readable training state"):
        restore(tmp_path, {**given, key: value}, model, optimizer, enabled, steps=3)


def test_moments_of_another_shape_are_refused(tmp_path):
    model, optimizer, scaler = parts()
    content = state()
    content["optimizer"]["state"][0]["exp_avg"] = torch.zeros(7)
    with pytest.raises(CheckpointError, match="exp_avg is not of its parameter's shape"):
        restore(tmp_path, content, model, optimizer, scaler, steps=3)


def test_a_disk_that_takes_no_more_is_a_sentence_and_the_old_state_stays(tmp_path):
    import resource

    path = tmp_path / "c.pt"
    write_state(path, IDENTITY, state())
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
        with pytest.raises(VirbError, match="Cannot write"):
            write_state(path, IDENTITY, state(seconds=2.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


LOG = "step,epoch,loss\n1,0.2,3.5\n2,0.4,3.25\n3,0.6,3\n"


@settings(max_examples=60)
@given(st.binary(max_size=40), st.integers(0, len(LOG)), st.integers(0, 6))
def test_a_damaged_log_does_not_keep_a_run_from_going_on(tmp_path_factory, noise, place, cut):
    path = tmp_path_factory.mktemp("log") / "log.csv"
    content = LOG.encode()
    path.write_bytes(content[:place] + noise + content[place + cut :])
    log = Log(path, 2)
    with log:
        log.write({"step": 3, "epoch": 0.6, "loss": 3.0})
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    assert steps == sorted(set(steps))
    assert steps[-1] == 3
    assert all(float(row["loss"] or 0) is not None for row in rows)


def test_what_a_log_held_is_kept_aside(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(LOG.replace("2,0.4", "2,x"))
    log = Log(path, 3)
    assert "log.csv was damaged: 2 sound rows are kept, the file is now log.damaged.csv" in log.note
    assert (tmp_path / "log.damaged.csv").read_text() == LOG.replace("2,0.4", "2,x")
    path.write_text(LOG)
    assert Log(path, 2).note == ""

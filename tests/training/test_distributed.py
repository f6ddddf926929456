"""Two processes over gloo give what one gives on the same batch: losses, gradients, weights, queues, banks, statistics."""

from __future__ import annotations

import csv
import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from virb.contracts.method import Training
from virb.errors import UsageError
from virb.pretraining.plan import Plan
from virb.training import distributed

WORKER = Path(__file__).with_name("distributed_worker.py")
_spec = importlib.util.spec_from_file_location("distributed_worker", WORKER)
worker = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(worker)

PROCESSES = 2


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, list[dict]]:
    """What one process wrote ("one"), and each of two ("several")."""
    root = tmp_path_factory.mktemp("distributed")
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    plain = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    runs = {"one": [plain]}
    runs["several"] = [
        {**plain, **common, "RANK": str(k), "LOCAL_RANK": str(k), "WORLD_SIZE": str(PROCESSES)}
        for k in range(PROCESSES)
    ]
    children = []
    for kind, environments in runs.items():
        (root / kind).mkdir()
        for environment in environments:
            command = [sys.executable, str(WORKER), str(root / kind)]
            children.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    try:
        for child in children:
            _, text = child.communicate(timeout=600)
            assert child.returncode == 0, text
    finally:
        for child in children:
            child.kill()
    return {
        kind: [torch.load(root / kind / f"{k}.pt", weights_only=True) for k in range(len(environments))]
        for kind, environments in runs.items()
    }


def rows(log: str) -> list[dict[str, str]]:
    return list(csv.DictReader(log.splitlines()))


@pytest.mark.parametrize("name", worker.cases())
def test_several_processes_train_as_one(results, name):
    one, first, second = results["one"][0][name], results["several"][0][name], results["several"][1][name]
    assert len(one["gradients"]) == worker.STEPS
    for expected, found in zip(one["gradients"], first["gradients"], strict=True):
        assert expected.keys() == found.keys()
        for key in expected:
            size = float(expected[key].abs().max())
            error = float((found[key] - expected[key]).abs().max())
            assert error <= 1e-5 * size + 1e-9, f"{key}: {error:.2g} of {size:.2g}"
    assert one["state"].keys() == first["state"].keys() == second["state"].keys()
    for key, expected in one["state"].items():
        torch.testing.assert_close(first["state"][key], expected, rtol=1e-5, atol=1e-6, msg=key)
        assert torch.equal(first["state"][key], second["state"][key]), key
    for expected, found in zip(rows(one["log"]), rows(first["log"]), strict=True):
        for key in expected:
            if key != "seconds" and expected[key]:
                assert float(found[key]) == pytest.approx(float(expected[key]), rel=2e-5), key
    # Something was compared: the weights moved, and not by rounding alone.
    assert any(g.abs().max() > 1e-4 for g in one["gradients"][0].values())


def test_rows_are_gathered_in_order_and_their_gradients_added_up(results):
    parts = [result["pieces"] for result in results["several"]]
    x = parts[0]["x"]
    for part, mine in zip(parts, x.chunk(2), strict=True):
        assert torch.equal(part["gather"], x)
        # Process r squares (r + 1) x: the sum over both of 2 (r + 1)^2 x.
        torch.testing.assert_close(part["gather_grad"], 2 * (1 + 4) * mine)
        torch.testing.assert_close(part["mean"], x.mean(dim=0))
        # d/dx of the sum over both of (r + 1) mean: (1 + 2) / 6 images.
        torch.testing.assert_close(part["mean_grad"], torch.full_like(mine, 3 / 6))


def test_shuffling_is_one_permutation_and_is_undone(results):
    parts = [result["pieces"] for result in results["several"]]
    x, order = parts[0]["x"], parts[0]["order"]
    assert sorted(order.tolist()) == list(range(6))
    assert torch.equal(order, parts[1]["order"])
    assert torch.equal(torch.cat([part["mixed"] for part in parts]), x[order])
    assert torch.equal(torch.cat([part["restored"] for part in parts]), x)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("kind", "shape"), [(nn.BatchNorm2d, (6, 5, 4, 3)), (nn.BatchNorm1d, (6, 60))])
def test_batch_norm_is_that_of_the_whole_batch(results, kind, shape, affine):
    parts = [result["pieces"][f"{kind.__name__}, {affine}"] for result in results["several"]]
    assert {part["kind"] for part in parts} == {"SyncBatchNorm"}
    torch.manual_seed(1)
    norm = kind(shape[1], affine=affine, momentum=0.3)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    norm.double()
    x = results["several"][0]["pieces"]["x"].view(shape).clone().requires_grad_()
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    y = norm(x)
    (y * weight).sum().backward()
    close = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(torch.cat([part["y"] for part in parts]), y.detach(), **close)
    torch.testing.assert_close(torch.cat([part["grad"] for part in parts]), x.grad, **close)
    for k, p in enumerate(norm.parameters()):
        torch.testing.assert_close(sum(part["parameters"][k] for part in parts), p.grad, **close)
    norm.eval()
    for part in parts:
        for key, value in norm.state_dict().items():
            torch.testing.assert_close(part["state"][f"0.{key}"], value, **close)
    torch.testing.assert_close(torch.cat([part["eval"] for part in parts]), norm(x).detach(), **close)


def test_one_process_is_left_as_it_is():
    x = torch.randn(4, 3)
    assert distributed.gather(x) is x
    assert distributed.mean(x) is x
    assert distributed.first(x) is x
    assert distributed.own_rows(x) is x
    assert distributed.sinkhorn_reduce(x) is x
    assert distributed.averaging(module := nn.Linear(2, 2)) is module
    shuffle = distributed.Shuffle(4, torch.device("cpu"))
    assert shuffle.mix(x) is x
    assert shuffle.restore(x) is x
    assert distributed.by_first(lambda: 7) == distributed.together(lambda: 7) == 7
    with distributed.processes():
        assert (distributed.rank(), distributed.world_size()) == (0, 1)


def test_what_cannot_be_shared_or_synchronised_is_refused(monkeypatch):
    class Own(nn.BatchNorm2d):
        pass

    with pytest.raises(UsageError, match="Own cannot be synchronised"):
        distributed.synchronise_batch_norm(nn.Sequential(nn.Sequential(Own(3))), torch.device("cpu"))
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    training = Training("sgd", 0.1, 8, 1)
    with pytest.raises(UsageError, match=r"3 processes cannot share a batch of 8 equally.*multiple of 3"):
        Plan(training, lr=0.1, steps=1, batch_size=8)
    with pytest.raises(UsageError, match=r"in 2 parts equally.*multiple of 6"):
        Plan(training, lr=0.1, steps=1, batch_size=8, accumulate=2)
    with pytest.raises(UsageError, match="on one device"):
        distributed.own_device("cuda:1")
    assert distributed.own_device("cpu") == "cpu"

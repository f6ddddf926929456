"""Batched heads train exactly as each would alone, and as plain PyTorch trains them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from virb.contracts.task import Protocol
from virb.errors import TrainingError
from virb.heads import build_head, find_head
from virb.losses import find_loss
from virb.probes import gradient
from virb.training.curves import points
from virb.training.head_optimizers import Adam

N, D, K = 150, 12, 4
PROTOCOL = Protocol(epochs=3, batch_size=64, lr=1e-2)


def data(seed: int, n_images: int = N) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n_images, D)).astype(np.float32)


TARGETS = np.random.default_rng(9).integers(0, K, N)
FRAMES = np.arange(N)[:, None]


def build(seed: int) -> torch.nn.Module:
    return build_head("linear", n_out=K, dim=D, seed=seed)


def train_heads(make, features, frames, targets, **options) -> list[torch.nn.Module]:
    head = find_head("linear" if frames.shape[1] == 1 else "fusion")
    return gradient.train_heads(make, features, frames, targets, head=head, loss=find_loss("cross_entropy"), **options)


def weights(head: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in head.parameters()])


@pytest.mark.parametrize(
    ("dim", "n_classes", "n_frames"), [(12, 4, 1), (13, 7, 1), (128, 12, 1), (192, 5, 1), (33, 6, 2), (64, 3, 6)]
)
def test_a_heads_bits_do_not_depend_on_its_company(dim, n_classes, n_frames):
    rng = np.random.default_rng(0)
    features = [rng.normal(size=(N, dim)).astype(np.float32) for _ in range(4)]
    targets = rng.integers(0, n_classes, N)
    frames = np.arange(N - N % n_frames).reshape(-1, n_frames)

    def fit(sources: list[np.ndarray], seeds: list[int]) -> list[torch.nn.Module]:
        def build(seed: int) -> torch.nn.Module:
            kind = "linear" if n_frames == 1 else "fusion"
            return build_head(kind, n_out=n_classes, dim=dim, n_frames=n_frames, seed=seed)

        wanted = targets[: len(frames)]
        return train_heads(build, sources, frames, wanted, seeds=seeds, protocol=PROTOCOL)

    together = fit([*features, features[1]], [0, 1, 0, 2, 3])  # two seeds share an encoder
    for k, source, seed in ((0, 0, 0), (1, 1, 1), (3, 3, 2), (4, 1, 3)):
        assert torch.equal(weights(together[k]), weights(fit([features[source]], [seed])[0]))


def test_it_is_plain_adam_on_the_mean_cross_entropy():
    features = data(0)
    trained = train_heads(build, [features], FRAMES, TARGETS, seeds=[5], protocol=PROTOCOL)[0]
    head = build(5)
    optimizer = torch.optim.Adam(head.parameters(), lr=PROTOCOL.lr)
    generator = torch.Generator().manual_seed(5)
    x, y = torch.from_numpy(features), torch.from_numpy(TARGETS)
    for _ in range(PROTOCOL.epochs):
        order = torch.randperm(N, generator=generator)
        for start in range(0, N, PROTOCOL.batch_size):  # the last batch, of 22, is used
            chosen = order[start : start + PROTOCOL.batch_size]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(head(x[chosen]), y[chosen]).backward()
            optimizer.step()
    assert torch.allclose(weights(trained), weights(head), atol=1e-6)


@pytest.mark.parametrize("kind", ["adam", "nesterov"])
def test_a_schedule_over_steps_with_decay_is_plain_pytorchs(kind):
    n_steps = 8  # of three batches an epoch
    how = Protocol(epochs=1, batch_size=64, lr=5e-2, optimizer=kind, steps=n_steps, weight_decay=0.1, schedule="cosine")
    (found,) = train_heads(build, [data(0)], FRAMES, TARGETS, seeds=[3], protocol=how)
    head, order = build(3), torch.Generator().manual_seed(3)
    optimizer = (
        torch.optim.Adam(head.parameters(), weight_decay=0.1)
        if kind == "adam"
        else torch.optim.SGD(head.parameters(), lr=1.0, momentum=0.9, nesterov=True, weight_decay=0.1)
    )
    x, y = torch.from_numpy(data(0)), torch.from_numpy(TARGETS)
    batches = [part for _ in range(3) for part in torch.randperm(N, generator=order).split(64)]
    for step, rows in enumerate(batches[:n_steps]):
        optimizer.param_groups[0]["lr"] = 5e-2 * (1 + np.cos(np.pi * step / n_steps)) / 2
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(x[rows]), y[rows]).backward()
        optimizer.step()
    assert torch.allclose(weights(found), weights(head), atol=1e-5)


@pytest.mark.parametrize("on_disk", [False, True])
def test_the_curve_is_the_loss_on_the_training_examples_and_costs_no_bit(monkeypatch, on_disk):
    if on_disk:
        monkeypatch.setattr(gradient, "MAX_STACKED_BYTES", 1)
    how = Protocol(epochs=30, batch_size=64, lr=1e-2)
    losses: list[dict[int, float]] = [{}, {}]
    pair = train_heads(build, [data(0), data(1)], FRAMES, TARGETS, seeds=[5, 6], protocol=how, losses=losses)
    of_one: dict[int, float] = {}
    (alone,) = train_heads(build, [data(1)], FRAMES, TARGETS, seeds=[6], protocol=how, losses=[of_one])
    assert of_one == losses[1]
    assert sorted(losses[0]) == sorted(points(30))
    for head, features, found in zip(pair, (data(0), data(1)), losses, strict=True):
        last = torch.nn.functional.cross_entropy(head(torch.from_numpy(features)), torch.from_numpy(TARGETS))
        assert found[30] == pytest.approx(last.item(), rel=1e-5)
        assert found[30] < found[1]
    monkeypatch.setattr("virb.training.curves.points", lambda n_epochs: frozenset())
    (unwatched,) = train_heads(build, [data(1)], FRAMES, TARGETS, seeds=[6], protocol=how)
    assert torch.equal(weights(alone), weights(unwatched))


def test_adam_is_torchs_to_the_bit():
    ours = [torch.randn(7, 5, generator=torch.Generator().manual_seed(k)).requires_grad_() for k in range(2)]
    theirs = [p.detach().clone().requires_grad_() for p in ours]
    mine, reference = Adam(ours, lr=3e-4), torch.optim.Adam(theirs, lr=3e-4, fused=True)
    generator = torch.Generator().manual_seed(9)
    for _ in range(20):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = torch.randn(p.shape, generator=generator)
            q.grad = p.grad.clone()
        mine.step()
        reference.step()
    assert all(torch.equal(p, q) for p, q in zip(ours, theirs, strict=True))
    mine.zero_grad()
    assert all(p.grad is None for p in ours)


def test_a_large_head_trains_on_one_core_and_gives_the_threads_back():
    """However many cores there are: its bits must not depend on them."""
    seen = []

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        train_heads(
            lambda seed: build_head("linear", n_out=100, dim=3000, seed=seed),
            [np.random.default_rng(0).normal(size=(64, 3000)).astype(np.float32)],
            np.arange(64)[:, None],
            np.arange(64),
            seeds=[0],
            protocol=Protocol(epochs=1),
            progress=lambda *_: seen.append(torch.get_num_threads()),
        )
        assert seen == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_fusion_head_sees_its_frames_in_order():
    features = data(0, n_images=3 * N)
    frames = np.arange(3 * N).reshape(N, 3)
    heads = train_heads(
        lambda seed: build_head("fusion", n_out=K, dim=D, n_frames=3, seed=seed, hidden=8),
        [features],
        frames,
        TARGETS,
        seeds=[0],
        protocol=PROTOCOL,
    )
    logits = gradient.predict(heads[0], features, frames)
    expected = heads[0](torch.from_numpy(features).view(N, 3, D)).detach().numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-6)
    assert not np.allclose(logits, gradient.predict(heads[0], features, frames[:, ::-1].copy()))


def test_large_groups_are_split_without_changing_the_bits(monkeypatch):
    features = [data(k) for k in range(3)]
    whole = train_heads(build, features, FRAMES, TARGETS, seeds=[0, 0, 0], protocol=PROTOCOL)
    monkeypatch.setattr(gradient, "MAX_STACKED_PARAMETERS", 2 * (D + 1) * K)
    seen = []
    split = train_heads(
        build, features, FRAMES, TARGETS, seeds=[0, 0, 0], protocol=PROTOCOL, progress=lambda *at: seen.append(at)
    )
    assert all(torch.equal(weights(a), weights(b)) for a, b in zip(whole, split, strict=True))
    assert seen[-1] == (6, 6)


@pytest.mark.parametrize(("kind", "n_frames"), [("linear", 1), ("fusion", 2)])
def test_a_grid_of_settings_trains_together_with_the_bits_of_each_alone(kind, n_frames):
    frames = np.arange(N - N % n_frames).reshape(-1, n_frames)

    def fit(settings: list[tuple[str, float]], protocol: Protocol = PROTOCOL) -> list[torch.nn.Module]:
        return train_heads(
            lambda seed: build_head(kind, n_out=K, dim=D, n_frames=n_frames, seed=seed),
            [data(0)] * len(settings),
            frames,
            TARGETS[: len(frames)],
            seeds=[1] * len(settings),
            protocol=protocol,
            settings=settings or None,
        )

    grid = [("sgd", 1e-1), ("adam", 1e-2), ("sgd", 1e-2), ("adam", 1e-3), ("adam", 1e-2)]
    together = fit(grid)
    for setting, head in zip(grid, together, strict=True):
        assert torch.equal(weights(head), weights(fit([setting])[0]))
    assert len({float(weights(head).sum().detach()) for head in together}) == 4  # one setting came twice


def test_it_learns():
    centres = np.eye(K, D, dtype=np.float32) * 4
    features = centres[TARGETS] + data(1) * 0.1
    head = train_heads(build, [features], FRAMES, TARGETS, seeds=[0], protocol=Protocol(epochs=40, lr=1e-2))[0]
    assert (gradient.predict(head, features, FRAMES).argmax(1) == TARGETS).all()


def test_a_loss_that_is_not_finite_stops_with_the_epoch():
    features = data(0)
    features[3] = np.inf
    with pytest.raises(TrainingError, match=r"not finite in epoch 1 of 3 .*seeds \[7\]"):
        train_heads(build, [features], FRAMES, TARGETS, seeds=[7], protocol=PROTOCOL)


@pytest.mark.parametrize(("dim", "n_frames"), [(12, 1), (32, 1), (33, 2)])
def test_features_that_stay_on_disk_give_the_bits_of_those_in_memory(tmp_path, monkeypatch, dim, n_frames):
    sources = []
    for k in range(3):
        np.save(tmp_path / f"{k}.npy", np.random.default_rng(k).normal(size=(N, dim)).astype(np.float32))
        sources.append(np.load(tmp_path / f"{k}.npy", mmap_mode="r"))
    frames = np.random.default_rng(3).permutation(N - N % n_frames).reshape(-1, n_frames)

    def fit() -> list[torch.nn.Module]:
        return train_heads(
            lambda seed: build_head(
                "linear" if n_frames == 1 else "fusion", n_out=K, dim=dim, n_frames=n_frames, seed=seed
            ),
            sources,
            frames,
            TARGETS[: len(frames)],
            seeds=[0, 1, 0],
            protocol=PROTOCOL,
        )

    in_memory = fit()
    monkeypatch.setattr(gradient, "MAX_STACKED_BYTES", 1000)
    from_disk = fit()
    assert all(torch.equal(weights(a), weights(b)) for a, b in zip(in_memory, from_disk, strict=True))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files as Linux shows them")
def test_heads_of_one_encoder_share_an_open_file(tmp_path, monkeypatch):
    np.save(tmp_path / "f.npy", data(0))
    features = np.load(tmp_path / "f.npy", mmap_mode="r")
    monkeypatch.setattr(gradient, "MAX_STACKED_BYTES", 1000)

    def n_open() -> int:
        return sum(path.resolve().name == "f.npy" for path in Path("/proc/self/fd").iterdir())

    before, seen = n_open(), []
    train_heads(
        build,
        [features] * 20,
        FRAMES,
        TARGETS,
        seeds=range(20),
        protocol=Protocol(epochs=1),
        progress=lambda *_: seen.append(n_open() - before),
    )
    assert seen == [1]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of anonymous memory")
def test_a_large_set_does_not_need_its_size_in_memory(tmp_path):
    """300 MB of features under a budget of 1 MB: the process grows by what a batch takes, not by the features."""
    code = f"""
import numpy as np, threading, time
from virb.heads import build_head, find_head
from virb.losses import find_loss
from virb.probes import gradient
from virb.contracts.task import Protocol
n, d = 150_000, 512
np.lib.format.open_memmap({str(tmp_path / "f.npy")!r}, mode="w+", dtype=np.float32, shape=(n, d)).flush()
features = np.load({str(tmp_path / "f.npy")!r}, mmap_mode="r")
gradient.MAX_STACKED_BYTES = 1 << 20
def used():
    return int(next(x for x in open("/proc/self/status") if x.startswith("RssAnon")).split()[1]) / 1e3
def fit(m):
    seen = []
    targets = np.zeros(m, np.int64)
    head, = gradient.train_heads(lambda seed: build_head("linear", n_out=4, dim=d, seed=seed), [features],
        np.arange(m)[:, None], targets, head=find_head('linear'), loss=find_loss('cross_entropy'), seeds=[0], protocol=Protocol(epochs=1, batch_size=512),
        progress=lambda *_: seen.append(used()))
    gradient.predict(head, features, np.arange(m)[:, None])
    return max(seen)
few = fit(1000)
print(fit(n) - few)
"""
    grown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(grown) < 50

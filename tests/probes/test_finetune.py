"""The copy trains and the encoder does not; repeatable, and augmented only where that keeps the label."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from virb.contracts.task import Protocol
from virb.convert.load import load_encoder
from virb.errors import TrainingError, UsageError
from virb.images.sets import ArrayImages
from virb.losses import find_loss
from virb.probes import finetune

TINY = "random:resnet18:width=0.125,size=32"
PROTOCOL = Protocol(epochs=4, batch_size=16, optimizer="sgd", lr=0.05)
CROSS_ENTROPY = find_loss("cross_entropy")
N = 49  # a single example is left over
TARGETS = np.arange(N) % 2
FRAMES = np.arange(N)[:, None]


def images(n: int = N) -> ArrayImages:
    """Class 0 is flat, class 1 is rough."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (n, 24, 24, 3))
    flat = np.broadcast_to(rng.integers(0, 255, (n, 1, 1, 1)), noise.shape)
    is_rough = (np.arange(n) % 2).astype(bool)[:, None, None, None]
    return ArrayImages.of("textures", np.where(is_rough, noise, flat).astype(np.uint8))


def network(encoder=None, *, n_frames: int = 1, seed: int = 0) -> finetune.Network:
    encoder = encoder or load_encoder(TINY)
    return finetune.Network(encoder.trainable_copy(), encoder.preprocess, n_frames=n_frames, n_classes=2, seed=seed)


def trained(encoder=None, *, protocol: Protocol = PROTOCOL, seed: int = 0, **options) -> finetune.Network:
    return finetune.train(
        network(encoder, seed=seed),
        images(),
        FRAMES,
        TARGETS,
        loss=CROSS_ENTROPY,
        protocol=protocol,
        seed=seed,
        **options,
    )


def logits(net: finetune.Network) -> np.ndarray:
    return finetune.predict(net, images(), FRAMES)


def test_it_learns_by_changing_a_copy_and_the_frozen_encoder_stays_as_it_was():
    encoder = load_encoder(TINY)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    sha = encoder.sha256
    shown = encoder.embed(torch.ones(2, 3, 32, 32))
    losses: dict[int, float] = {}
    protocol = Protocol(epochs=40, batch_size=25, optimizer="sgd", lr=0.01)
    net = trained(encoder, protocol=protocol, augmentations=("flip",), losses=losses)
    assert losses[40] < losses[1] / 2
    assert np.mean(logits(net).argmax(axis=1) == TARGETS) > 0.9
    after = encoder.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert load_encoder(TINY).sha256 == sha == encoder.sha256
    assert torch.equal(encoder.embed(torch.ones(2, 3, 32, 32)), shown)
    changed = net.encoder.state_dict()
    assert not torch.equal(changed["conv1.weight"].cpu(), before["conv1.weight"])
    assert not torch.equal(changed["bn1.running_mean"].cpu(), before["bn1.running_mean"])
    assert not net.training


def test_a_single_last_example_joins_the_batch_before():
    """Batch normalisation has no statistics of one example where the last map is one pixel."""
    encoder = load_encoder("random:resnet18:width=0.125,size=16,stem=imagenet")
    done = []
    trained(encoder, protocol=Protocol(epochs=1, batch_size=16, lr=0.01), progress=lambda *at: done.append(at))
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert encoder.pyramid(torch.ones(1, 3, 16, 16))[-1].shape[-2:] == (1, 1)


def test_a_vision_transformer_with_two_frames():
    encoder = load_encoder("random:vit_tiny_patch16:image_size=32,size=32")
    net = network(encoder, n_frames=2)
    frames, targets = np.arange(8).reshape(4, 2), np.array([0, 1, 0, 1])
    protocol = Protocol(epochs=1, batch_size=4, lr=0.01)
    finetune.train(net, images(8), frames, targets, loss=CROSS_ENTROPY, protocol=protocol, seed=0)
    assert finetune.predict(net, images(8), frames).shape == (4, 2)


def test_one_example_is_refused():
    with pytest.raises(UsageError, match="1 training example is too few"):
        finetune.train(network(), images(1), FRAMES[:1], TARGETS[:1], loss=CROSS_ENTROPY, protocol=PROTOCOL, seed=0)


def test_the_memory_of_a_step_grows_with_its_images_and_asking_changes_nothing():
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    few, many = (finetune.bytes_needed(net, 1, size) for size in (16, 64))
    weights = 16 * sum(p.numel() for p in net.parameters())
    assert many - weights == 4 * (few - weights)
    assert few - weights > 16 * 4 * 8 * 16 * 16  # the first layer's output alone: 8 channels at half the side
    twice = finetune.bytes_needed(network(n_frames=2), 2, 16)
    assert twice > 1.9 * few - weights
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize("arch", ["resnet18:width=0.125", "vit_tiny_patch16:depth=2,image_size=32", "timm:resnet10t"])
def test_no_tensor_of_a_job_stays_alive(arch):
    """Counting what a step needs holds nothing: a saved tensor that is given back as it is holds its own graph."""
    encoder = load_encoder(f"random:{arch},size=32" if "=" in arch else f"random:{arch}:size=32")
    alive = []
    for _ in range(3):
        net = network(encoder)
        finetune.bytes_needed(net, 1, 16)
        finetune.train(
            net, images(), FRAMES, TARGETS, loss=CROSS_ENTROPY, protocol=Protocol(epochs=1, batch_size=16), seed=0
        )
        finetune.predict(net, images(), FRAMES[:4])
        del net
        gc.collect()
        alive.append(sum(isinstance(item, torch.Tensor) for item in gc.get_objects()))
    assert alive[1] == alive[2]


def test_prediction_reports_its_progress():
    done = []
    finetune.predict(network(), images(), FRAMES, batch_size=20, progress=lambda *at: done.append(at))
    assert done == [(20, N), (40, N), (N, N)]


def test_an_untrained_network_is_the_frozen_encoder_and_a_linear_layer():
    encoder = load_encoder(TINY)
    net = network(encoder)
    embedding = encoder.embed(encoder.prepare(torch.from_numpy(images().array)))
    assert np.allclose(logits(net), net.head(embedding).detach().numpy(), atol=1e-4)


def test_the_seed_decides_all_that_is_random():
    once, again, other = (
        logits(trained(seed=seed, protocol=Protocol(epochs=1, batch_size=16, optimizer="sgd", lr=0.05),
                       augmentations=("crop", "flip")))
        for seed in (3, 3, 4)
    )  # fmt: skip
    assert np.array_equal(once, again)
    assert not np.allclose(once, other)


def test_one_step_is_nesterovs_on_the_mean_cross_entropy():
    """Against torch, written out: a single batch without augmentation, batch statistics, the first step of the cosine."""
    protocol = Protocol(epochs=2, batch_size=64, optimizer="sgd", lr=0.1)
    net = trained(protocol=protocol)
    reference = network()
    reference.train()
    for layer in reference.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 0.1  # one step an epoch: max(1 - 10/1, 0.9) of the old value is kept
    x = torch.nn.functional.interpolate(
        torch.from_numpy(images().array).permute(0, 3, 1, 2), (32, 32), mode="bilinear", antialias=True
    )
    velocity = {name: torch.zeros_like(p) for name, p in reference.named_parameters()}
    generator = torch.Generator().manual_seed(0)
    for lr in (0.1, 0.05):  # half a cosine over two steps
        order = torch.randperm(N, generator=generator)
        reference.zero_grad()
        torch.nn.functional.cross_entropy(reference(x[order] / 255), torch.from_numpy(TARGETS)[order]).backward()
        with torch.no_grad():
            for name, p in reference.named_parameters():
                velocity[name] = 0.9 * velocity[name] + p.grad
                p -= lr * (p.grad + 0.9 * velocity[name])
    # Rounding differs between processors and grows through batch normalisation: what is compared is the way gone.
    start, got, wanted = network().state_dict(), net.state_dict(), reference.state_dict()
    for name, value in wanted.items():
        way = (value.double() - start[name].double()).norm()
        assert (got[name].double() - value.double()).norm() <= 0.02 * way + 1e-6, name
    # An ordinary momentum step (without looking ahead) ends elsewhere by far more than that.
    name = "head.weight"
    ahead = 0.05 * 0.9 * velocity[name]
    assert ahead.norm() > 0.1 * (wanted[name] - start[name]).norm()


def test_all_frames_of_an_example_get_the_same_augmentation(monkeypatch):
    seen = []

    class Watched(finetune.Network):
        def forward(self, x):
            seen.append(x.detach().clone())
            return super().forward(x)

    encoder = load_encoder(TINY)
    net = Watched(encoder.trainable_copy(), encoder.preprocess, n_frames=2, n_classes=2, seed=0)
    twice = np.repeat(np.arange(8)[:, None], 2, axis=1)  # both frames are one image
    protocol = Protocol(epochs=2, batch_size=8)
    finetune.train(
        net, images(), twice, TARGETS[:8], loss=CROSS_ENTROPY, protocol=protocol, seed=0, augmentations=("flip", "crop")
    )
    assert len(seen) == 2
    for batch in seen:
        assert batch.shape == (8, 6, 32, 32)
        assert torch.equal(batch[:, :3], batch[:, 3:])
    plain = next(finetune._batches(images(), [twice], 32, "cpu"))
    assert not any(torch.equal(row, other) for row in seen[0] for other in plain if row.std() > 0.1)


def test_without_augmentations_the_images_are_shown_as_they_are():
    seen = []

    class Watched(finetune.Network):
        def forward(self, x):
            seen.extend(x.detach().clone())
            return super().forward(x)

    encoder = load_encoder(TINY)
    net = Watched(encoder.trainable_copy(), encoder.preprocess, n_frames=1, n_classes=2, seed=0)
    finetune.train(
        net, images(), FRAMES, TARGETS, loss=CROSS_ENTROPY, protocol=Protocol(epochs=1, batch_size=16), seed=0
    )
    plain = next(finetune._batches(images(), [FRAMES], 32, "cpu"))
    assert len(seen) == N  # the last, single example too
    assert sorted(float(x.sum()) for x in seen) == pytest.approx(sorted(float(x.sum()) for x in plain))


def test_a_loss_that_is_not_finite_says_what_to_do():
    with pytest.raises(TrainingError, match=r"not finite in epoch .* \(lr 1e\+12, seed 0\). Lower .* lr="):
        trained(protocol=Protocol(epochs=3, batch_size=16, optimizer="sgd", lr=1e12))


@pytest.mark.parametrize("n", [2, 7, 64])
def test_a_batchs_loss_has_the_bits_of_torchs_mean(n):
    outputs = torch.randn(n, 5, generator=torch.Generator().manual_seed(n))
    wanted = torch.arange(n) % 5
    found, expected = outputs.clone().requires_grad_(), outputs.clone().requires_grad_()
    total, count = CROSS_ENTROPY.total(found, wanted, None)
    (total / count).backward()
    torch.nn.functional.cross_entropy(expected, wanted).backward()
    assert torch.equal(found.grad, expected.grad)


@pytest.mark.parametrize(
    ("loss", "targets"), [("bce", np.eye(2, dtype=np.int64)[TARGETS]), ("l2", TARGETS[:, None] * 1.0)]
)
def test_labels_and_numbers_train_too(loss, targets):
    net = finetune.Network(
        load_encoder(TINY).trainable_copy(),
        load_encoder(TINY).preprocess,
        n_frames=1,
        n_classes=targets.shape[1],
        seed=0,
    )
    protocol = Protocol(epochs=12, batch_size=16, optimizer="sgd", lr=0.01)
    finetune.train(net, images(), FRAMES, targets, loss=find_loss(loss), protocol=protocol, seed=0)
    outputs = logits(net)
    assert outputs.shape == targets.shape
    found = outputs.argmax(1) == TARGETS if loss == "bce" else (outputs[:, 0] > 0.5) == TARGETS
    assert found.mean() > 0.8

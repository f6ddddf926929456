"""What is a method's own: targets without gradient, queues in order, momentum, frozen prototypes, crops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from virb import registry
from virb.contracts.method import Setup
from virb.errors import UsageError
from virb.networks.backbones import build_backbone
from virb.pretraining.distillation import teacher_temperature
from virb.pretraining.learner import Batch, Progress
from virb.training import augment

SETUP = Setup(16, 64, 0, 8, 20, 8, augment.IMAGENET_MEAN, augment.IMAGENET_STD)
HEADS = {
    "byol": {"hidden_dim": 32, "projection_dim": 16},
    "dino": {"hidden_dim": 16, "bottleneck_dim": 8, "prototypes": 12, "small_crops": 2},
    "jigsaw": {"permutations": 20, "tile_dim": 16},
    "moco-v3": {"hidden_dim": 32, "projection_dim": 16},
    "swav": {"hidden_dim": 16, "projection_dim": 8, "prototypes": 10, "small_crops": 2},
    "simsiam": {"projection_dim": 16, "bottleneck_dim": 8},
}


def learner(name, **options):
    torch.manual_seed(0)
    method = registry.load("methods", name)
    encoder = build_backbone("resnet18", width=0.125, stem="cifar")
    return method.learner(encoder, method.resolve({**HEADS.get(name, {}), **options}), SETUP)


def step(model, number=0, *, update=True):
    progress = Progress(number, SETUP.steps, SETUP.steps_per_epoch)
    generator = torch.Generator().manual_seed(number)
    images = torch.randint(0, 256, (8, 16, 16, 3), dtype=torch.uint8, generator=generator)
    model.before_step(progress)
    views = model.views(images, generator)
    outcome = model(views, Batch(torch.arange(8) + 8 * (number % 8), None), progress)
    model.zero_grad()
    outcome.loss.backward()
    model.after_backward(progress)
    if update:
        torch.optim.SGD([p for g in model.groups(0.0) for p in g["params"]], lr=0.05).step()
        model.after_step(progress)
    return views, outcome


SLOW = {"moco-v1": "key", "moco-v2": "key", "moco-v3": "key", "byol": "target", "dino": "teacher"}


@pytest.mark.parametrize("name", SLOW)
def test_the_slow_network_gets_no_gradient_and_follows(name):
    model = learner(name)
    slow = getattr(model, SLOW[name])
    before = [p.clone() for p in slow.parameters()]
    step(model, update=False)
    assert all(p.grad is None for p in slow.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, slow.parameters(), strict=True))
    trained = {id(p) for g in model.groups(0.1) for p in g["params"]}
    assert not trained & {id(p) for p in slow.parameters()}
    step(model, 1)
    fast = [*model.encoder.parameters()]
    momentum = model.options["momentum"]
    after = list(slow.module[0].parameters())
    if name.startswith(("byol", "dino", "moco-v3")):
        from virb.pretraining.memory import momentum_at

        momentum = momentum_at(1 / SETUP.steps, momentum)
    for a, b, c in zip(before, after, fast, strict=False):
        torch.testing.assert_close(b, momentum * a + (1 - momentum) * c)


@pytest.mark.parametrize("name", ["moco-v1", "moco-v2"])
def test_the_queue_takes_each_batch_of_keys_once(name):
    model = learner(name, queue=20)
    start = model.queue.items.clone()
    for number in range(2):
        step(model, number)
    assert int(model.queue.filled) == 16
    assert torch.equal(model.queue.items[16:], start[16:])
    assert not torch.isclose(model.queue.items[:16], start[:16]).all(dim=1).any()
    step(model, 2)
    assert model.queue.is_full
    assert int(model.queue.place) == 4
    assert learner(name).queue.items.shape[0] == SETUP.n_images // 2


def test_moco_with_multi_crop_adds_small_queries():
    views, _ = step(learner("moco-v2", small_crops=3))
    assert [v.shape[-1] for v in views] == [16, 16, 16, 16, 16]
    assert len(views) == 5


def test_simsiams_predictor_keeps_its_rate():
    model = learner("simsiam")
    groups = model.groups(1e-4)
    constant = {id(p) for g in groups if g["constant_lr"] for p in g["params"]}
    assert constant == {id(p) for p in model.predictor.parameters()}
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))


def test_swav_freezes_normalises_and_queues():
    model = learner("swav", queue=16, queue_epoch=0.25)
    start = model.prototypes.weight.clone()
    _, outcome = step(model, 0)
    assert model.prototypes.weight.grad is None
    torch.testing.assert_close(model.prototypes.weight, torch.nn.functional.normalize(start, dim=1))
    torch.testing.assert_close(outcome.output.norm(dim=1), torch.ones(8))
    step(model, 1)
    assert all(queue.is_full for queue in model.queues)
    step(model, 2)  # the queue joins in
    step(model, 8)  # the second epoch: the prototypes learn
    assert model.prototypes.weight.grad is not None
    assert not torch.equal(*(queue.items for queue in model.queues))


def test_swav_without_a_queue():
    model = learner("swav", queue=-1, queue_epoch=0.0)
    step(model, 0)
    assert [len(queue.items) for queue in model.queues] == [0, 0]
    assert bool(torch.isfinite(step(model, 9)[1].loss))


@pytest.mark.parametrize("name", ["moco-v1", "moco-v2"])
def test_moco_computes_keys_in_groups_other_than_the_queries(name, monkeypatch):
    model = learner(name)
    shown = []
    monkeypatch.setattr(
        model.key.module[0],
        "forward",
        lambda x: shown.append(x) or x.mean(dim=(2, 3)) @ torch.ones(3, model.encoder.dim),
    )
    model.eval()
    generator = torch.Generator().manual_seed(0)
    views = model.views(torch.randint(0, 256, (8, 16, 16, 3), dtype=torch.uint8, generator=generator), generator)
    model(views, Batch(torch.arange(8), None), Progress(0, 20, 8))
    assert not torch.equal(shown[0], views[1])
    order = [int((shown[0] == view).flatten(1).all(dim=1).nonzero()) for view in views[1]]
    assert sorted(order) == list(range(8))
    unshuffled = model.key.module(views[1])
    torch.testing.assert_close(model.keys[0], unshuffled)


def test_dino_keeps_the_teacher_and_its_centre():
    model = learner("dino")
    assert model.exported() is model.teacher.module[0]
    step(model, 0)
    assert model.last.weight.grad is None
    assert model.center.abs().sum() > 0
    assert [teacher_temperature(epoch, model.options) for epoch in (0, 15, 99)] == pytest.approx([0.04, 0.055, 0.07])
    assert teacher_temperature(0, {**model.options, "teacher_warmup_epochs": 0.0}) == 0.07  # no warm-up
    clipped = [p.grad.norm() for p in model.parameters() if p.grad is not None]
    assert max(clipped) <= 3.0001


def test_dinos_head_begins_as_its_authors():
    head = learner("dino", hidden_dim=256, bottleneck_dim=64, prototypes=500).head
    for layer in (head[0], head[2], head[4]):
        assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
        assert not layer.bias.any()
    # weight_norm(nn.Linear(...)): uniform up to the root of the inputs, vectors of length 3 ** -0.5
    assert float(head[-1].weight.detach().abs().max()) == pytest.approx(64**-0.5, rel=0.01)
    assert float(head[-1].weight.detach().norm(dim=1).mean()) == pytest.approx(3**-0.5, rel=0.02)


def test_a_largest_norm_of_0_clips_no_gradient():
    gradients = []
    for clip in (0.0, 1e9):
        model = learner("dino", clip=clip)
        step(model)
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert max(gradient.abs().max() for gradient in gradients[0]) > 0
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)
    with pytest.raises(UsageError, match="clip"):
        learner("dino", clip=-1.0)


@pytest.mark.parametrize("pretext", ["jigsaw", "rotation"])
def test_pirl_remembers_the_image_not_its_transform(pretext):
    model = learner("pirl", pretext=pretext, projection_dim=8)
    before = model.bank.items.clone()
    views, outcome = step(model, 2)
    changed = (model.bank.items != before).any(dim=1)
    assert changed.nonzero()[:, 0].tolist() == list(range(16, 24))
    moved = torch.nn.functional.normalize(
        0.5 * before[16:24] + 0.5 * torch.nn.functional.normalize(outcome.output.detach(), dim=1), dim=1
    )
    torch.testing.assert_close(model.bank.items[16:24], moved)
    assert len(views[1]) == (72 if pretext == "jigsaw" else 8)


def test_pirl_with_nonlinear_heads_as_its_authors_train_them():
    options = {"projection": "nonlinear", "head_norm": False, "loss": "cross-entropy", "decay_bias": False}
    model = learner("pirl", negatives_of="image", temperature=0.1, projection_dim=8, **options)
    assert not any(isinstance(part, torch.nn.BatchNorm1d) for part in model.modules())
    decayed, plain = model.groups(0.1)
    assert all(p.ndim > 1 for p in decayed["params"])
    assert any(p is model.transformed_head.bias for p in plain["params"])
    assert plain["weight_decay"] == 0
    usual = learner("pirl")
    assert any(p is usual.transformed_head.bias for p in usual.groups(0.1)[0]["params"])
    bank = model.bank.items.clone()
    views, outcome = step(model, 2, update=False)
    with torch.no_grad():
        tiles = model.tile_head(model.encoder(views[1]))
        image = model.image_head(model.encoder(views[0]))
        transformed = model.transformed_head(tiles.view(8, -1))
        total = 0.0
        for z in (image, transformed):  # of 64 images no more than 63 others are drawn
            logits = torch.nn.functional.normalize(z, dim=1) @ bank.T / 0.1
            total += 0.5 * torch.nn.functional.cross_entropy(logits, torch.arange(16, 24))
    torch.testing.assert_close(outcome.loss.detach(), total, rtol=1e-4, atol=1e-4)


def test_an_option_that_came_later_is_no_part_of_what_earlier_runs_are_called():
    method = registry.load("methods", "pirl")
    called = method.called(method.resolve({}))
    later = {option.name for option in method.options if option.is_later}
    assert {"loss", "resampling"} <= later
    assert set(called) == {option.name for option in method.options} - later
    assert method.called(method.resolve({"loss": "cross-entropy"}))["loss"] == "cross-entropy"


def test_rotation_shows_every_image_at_all_four_turns():
    model = learner("rotation")
    views, outcome = step(model)
    assert len(views) == 4
    for k, view in enumerate(views):
        torch.testing.assert_close(view, torch.rot90(views[0], k, (2, 3)))
    # A classifier that always says "one turn" is right for the second view alone.
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([0.0, 5.0, 0.0, 0.0]))
    outcome = model(views, None, None)
    assert float(outcome.metrics["train_top1"]) == 0.25
    expected = torch.nn.functional.cross_entropy(torch.tensor([[0.0, 5.0, 0.0, 0.0]] * 4), torch.arange(4))
    torch.testing.assert_close(outcome.loss, expected)


def test_jigsaw_tells_orders_of_tiles_apart(monkeypatch):
    model = learner("jigsaw", permutations=5, tile_dim=4)
    views, _ = step(model)
    assert views[0].shape[:2] == (8 * 9, 3)
    drawn = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2])
    monkeypatch.setattr(torch, "randint", lambda *_, **__: drawn)
    model.eval()  # batch statistics would tie the tiles to each other
    outcome = model(views, None, None)
    tiles = views[0].unflatten(0, (8, 9))
    shown = torch.stack([tiles[i, model.orders[k]] for i, k in enumerate(drawn.tolist())])
    vectors = model.tile_head(model.encoder(shown.flatten(0, 1))).view(8, -1)
    expected = torch.nn.functional.cross_entropy(model.classifier(vectors), drawn)
    torch.testing.assert_close(outcome.loss, expected)


def test_the_orders_of_a_jigsaw_are_far_apart():
    registry.load("methods", "jigsaw")
    from virb.pretrain.jigsaw import distant_permutations

    for n, mean, smallest in ((9, 8.9, 8), (100, 8.07, 5), (2000, 8.0, 2)):
        orders = distant_permutations(n)
        assert sorted(map(int, orders[n // 2])) == list(range(9))
        distance = (orders[:, None] != orders[None]).sum(axis=2)[np.triu_indices(n, 1)]
        assert distance.mean() >= mean
        assert distance.min() >= smallest
    with pytest.raises(UsageError, match="expected 2 to 10000"):
        distant_permutations(1)


def test_a_jigsaw_can_be_learnt():
    """On one image that is a gradient, tiles give their place away."""
    model = learner("jigsaw", permutations=4, tile_dim=16)
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(8, 16, 16, 3).contiguous()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    torch.manual_seed(0)
    losses = []
    for number in range(40):
        view = model.board(ramp, torch.Generator().manual_seed(number)).flatten(0, 1)
        outcome = model([view], None, None)
        optimizer.zero_grad()
        outcome.loss.backward()
        optimizer.step()
        losses.append(float(outcome.loss.detach()))
    assert sum(losses[-5:]) / 5 < 0.5 * losses[0]


def test_nothing_is_left_over_between_steps():
    """What a step holds back must be used up by its end, or a checkpoint would lose it."""
    for name in (*SLOW, "swav", "pirl"):
        model = learner(name)
        step(model)
        for attribute in ("keys", "outputs", "latest", "seen"):
            assert getattr(model, attribute, []) == []

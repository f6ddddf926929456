"""MAE, I-JEPA, iBOT and DINOv2: their losses against the papers' equations, written out; what they keep, and how they go on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from virb import registry
from virb.contracts.method import Setup, Training
from virb.errors import UsageError
from virb.networks.backbones import build_backbone
from virb.pretraining.data import PretrainingData
from virb.pretraining.learner import Batch, Progress
from virb.pretraining.pixels import ArrayPixels
from virb.pretraining.plan import Plan
from virb.pretraining.reporting import Reporter
from virb.pretraining.trainer import Trainer
from virb.training import augment

SETUP = Setup(16, 24, 0, 8, 6, 3, augment.IMAGENET_MEAN, augment.IMAGENET_STD)
ARCH = {"dim": 16, "depth": 2, "heads": 2, "patch": 4, "hidden": 32, "image_size": 16, "registers": 1}
HEADS = {
    "mae": {"decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2},
    "i-jepa": {"predictor_dim": 16, "predictor_depth": 1, "predictor_heads": 2, "min_keep": 4},
    "ibot": {"prototypes": 12, "hidden_dim": 16, "bottleneck_dim": 8, "small_crops": 1, "drop_path": 0.0},
    "dinov2": {
        "prototypes": 12, "hidden_dim": 16, "bottleneck_dim": 8, "patch_bottleneck_dim": 4, "small_crops": 1,
        "drop_path": 0.0,
    },
}  # fmt: skip


def learner(name, arch=None, **options):
    torch.manual_seed(0)
    method = registry.load("methods", name)
    own = {"pool": "avg"} if name == "i-jepa" else {}
    encoder = build_backbone("vit", **{**ARCH, **own, **(arch or {})})
    return method.learner(encoder, method.resolve({**HEADS[name], **options}), SETUP)


def step(model, number=0):
    progress = Progress(number, SETUP.steps, SETUP.steps_per_epoch)
    generator = torch.Generator().manual_seed(number)
    images = torch.randint(0, 256, (8, 16, 16, 3), dtype=torch.uint8, generator=generator)
    views = model.views(images, generator)
    outcome = model(views, Batch(torch.arange(8), None), progress)
    model.zero_grad()
    outcome.loss.backward()
    model.after_backward(progress)
    torch.optim.SGD([p for g in model.groups(0.0) for p in g["params"]], lr=0.05).step()
    model.after_step(progress)
    return views, outcome


# ------------------------------------------------------------------------------------------------------------ equations


def test_mae_shows_a_quarter_and_is_asked_for_the_rest():
    model = learner("mae")
    views, outcome = step(model)
    assert views[1].shape == (8, 4)
    model = learner("mae")  # as it was before the step
    image, keep = views
    encoder, decoder = model.encoder, model.decoder
    total = []
    for i in range(2):  # image by image, patch by patch
        tokens = decoder.embed(encoder(image[i : i + 1], None, keep[i : i + 1]))[0]
        shown = dict(zip(keep[i].tolist(), tokens[2:], strict=True))
        rows = [shown.get(k, decoder.mask_token[0, 0]) + decoder.positions[k] for k in range(16)]
        x = decoder.norm(decoder.blocks(torch.stack([tokens[0], tokens[1], *rows])[None]))[0, 2:]
        for k in set(range(16)) - set(shown):
            pixels = image[i, :, k // 4 * 4 : k // 4 * 4 + 4, k % 4 * 4 : k % 4 * 4 + 4].flatten()
            pixels = (pixels - pixels.mean()) / torch.sqrt(pixels.var() + 1e-6)
            total.append((decoder.predict(x[k]) - pixels).square().mean())
    found = model([image[:2], keep[:2]], None, None).loss
    torch.testing.assert_close(found, torch.stack(total).mean())
    assert outcome.loss > 0


def test_i_jepa_predicts_what_the_target_encoder_makes_of_the_whole_image():
    model = learner("i-jepa")
    views, _ = step(model)
    model = learner("i-jepa")
    image, context, targets = (view[:2] for view in views)
    predictor, total = model.predictor, []
    features = F.layer_norm(model.target.module(image)[:, 2:], (16,))
    for i in range(2):
        seen = predictor.embed(model.encoder(image[i : i + 1], None, context[i : i + 1])[0, 2:])
        seen = seen + predictor.positions[context[i]]
        for block in targets[i]:
            x = torch.cat([seen, predictor.mask_token[0] + predictor.positions[block]])
            found = predictor.project(predictor.norm(predictor.blocks(x[None])[0, len(seen) :]))
            total.append(F.smooth_l1_loss(found, features[i, block]))
    torch.testing.assert_close(model([image, context, targets], None, None).loss, torch.stack(total).mean())


def cross_entropy(student, target):
    return -(target * torch.log_softmax(student / 0.1, dim=-1)).sum(dim=-1)


def teacher_tokens(model, crop):
    tokens = model.teacher.module["encoder"](crop)
    return tokens[:, 0], tokens[:, 2:]  # class token; after it a register


def test_ibot_against_equations_1_to_3():
    model = learner("ibot", mask_p=1.0)
    step(model)  # centres that are not 0
    progress = Progress(1, SETUP.steps, SETUP.steps_per_epoch)
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (8, 16, 16, 3), dtype=torch.uint8, generator=generator)
    u, v, small, mask_u, mask_v = views = model.views(images, generator)
    teacher_head, tau = model.teacher.module["head"], 0.04 + 0.03 * (1 / 3) / 30
    students, teachers, patch = [], [], 0.0
    for crop, mask in ((u, mask_u), (v, mask_v)):
        tokens = model.encoder(crop, mask)
        cls, patches = teacher_tokens(model, crop)
        students.append(model.head(tokens[:, 0]))
        teachers.append(torch.softmax((teacher_head(cls) - model.centers[0]) / tau, dim=-1))
        wanted = torch.softmax((teacher_head(patches) - model.centers[1]) / tau, dim=-1)
        terms = cross_entropy(model.head(tokens[:, 2:]), wanted) * mask
        patch = patch + (terms.sum(dim=1) / mask.sum(dim=1).clamp_min(1)).mean() / 2
    students.append(model.head(model.encoder(small)[:, 0]))
    pairs = [cross_entropy(students[s], teachers[t]).mean() for t in range(2) for s in range(3) if s != t]
    outcome = model(views, None, progress)
    torch.testing.assert_close(outcome.metrics["patch_loss"], patch.detach())
    torch.testing.assert_close(outcome.loss, torch.stack(pairs).mean() + patch)


def sinkhorn(scores, tau):
    """DINOv2's sinkhorn_knopp_teacher, on one process."""
    q = torch.exp(scores.double() / tau).T
    q = q / q.sum()
    for _ in range(3):
        q = q / q.sum(dim=1, keepdim=True) / q.shape[0]
        q = q / q.sum(dim=0, keepdim=True) / q.shape[1]
    return (q * q.shape[1]).T.float()


def test_dinov2_against_its_code():
    model = learner("dinov2", mask_p=1.0)
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (8, 16, 16, 3), dtype=torch.uint8, generator=generator)
    u, v, small, mask_u, mask_v = views = model.views(images, generator)
    part = model.teacher.module
    cls, patches = zip(*(teacher_tokens(model, crop) for crop in (u, v)), strict=True)
    image_codes = sinkhorn(torch.cat([part["head"](z) for z in cls]), 0.04).chunk(2)
    rows = torch.cat([z[mask] for z, mask in zip(patches, (mask_u, mask_v), strict=True)])
    patch_codes = iter(sinkhorn(part["patch_head"](rows), 0.04))
    students, embeddings, patch = [], [], 0.0
    for crop, mask in ((u, mask_u), (v, mask_v)):
        tokens = model.encoder(crop, mask)
        embeddings.append(tokens[:, 0])
        students.append(model.head(tokens[:, 0]))
        for image, hidden in zip(tokens[:, 2:], mask, strict=True):
            terms = [cross_entropy(model.patch_head(z[None])[0], next(patch_codes)) for z in image[hidden]]
            patch = patch + sum(terms) / max(len(terms), 1) / 16
    students.append(model.head(model.encoder(small)[:, 0]))
    pairs = [cross_entropy(students[s], image_codes[t]).mean() for t in range(2) for s in range(3) if s != t]
    spread = 0.0
    for z in embeddings:
        unit = F.normalize(z, dim=1)
        distance = torch.cdist(unit, unit).fill_diagonal_(9).amin(dim=1)
        spread = spread - distance.log().mean()
    found = model(views, None, Progress(0, 6, 3))
    torch.testing.assert_close(found.metrics["patch_loss"], patch.detach(), rtol=1e-4, atol=1e-5)
    expected = torch.stack(pairs).mean() + patch + 0.1 * spread
    torch.testing.assert_close(found.loss, expected, rtol=1e-4, atol=1e-5)


def test_dinov2s_patch_embedding_learns_slower():
    model = learner("dinov2", layer_decay=0.5)
    rate = {id(p): group["lr_scale"] for group in model.groups(0.04) for p in group["params"]}
    net = model.encoder.net
    assert rate[id(net.patch_embed.proj.weight)] == 0.2 * 0.5**3
    assert rate[id(net.cls_token)] == rate[id(model.encoder.mask_token)] == 0.5**3
    assert [rate[id(block.attn.qkv.weight)] for block in net.blocks] == [0.25, 0.5]
    assert rate[id(net.norm.weight)] == rate[id(model.head[0].weight)] == 1.0
    assert len(rate) == sum(p.requires_grad for p in model.parameters())


# ---------------------------------------------------------------------------------------------------------------- state


@pytest.mark.parametrize("name", HEADS)
def test_what_is_kept_is_a_plain_transformer(name):
    model = learner(name)
    plain = build_backbone("vit", **{**ARCH, **({"pool": "avg"} if name == "i-jepa" else {})})
    before = {key: value.clone() for key, value in model.exported().state_dict().items()}
    step(model)
    step(model, 1)
    after = model.exported().state_dict()
    plain.load_state_dict(after)
    assert any(not torch.equal(before[key], after[key]) for key in before)
    assert [getattr(model, held, []) for held in ("outputs", "seen")] == [[], []]


@pytest.mark.parametrize("name", ["i-jepa", "ibot", "dinov2"])
def test_the_teacher_follows_and_gets_no_gradient(name):
    model = learner(name)
    slow = (model.target if name == "i-jepa" else model.teacher).module
    slow = slow if name == "i-jepa" else slow["encoder"]
    before = [p.clone() for p in slow.parameters()]
    step(model, 2)
    done, first = 2 / 6, model.options["momentum"]
    share = first + (1 - first) * (done if name == "i-jepa" else (1 - np.cos(np.pi * done)) / 2)
    for old, new, fast in zip(before, slow.parameters(), model.encoder.parameters(), strict=True):
        torch.testing.assert_close(new, share * old + (1 - share) * fast.detach())
        assert new.grad is None
    assert not {id(p) for g in model.groups(0.1) for p in g["params"]} & {id(p) for p in slow.parameters()}


@pytest.mark.parametrize("name", ["ibot", "dinov2"])
def test_a_largest_norm_of_0_clips_no_gradient(name):
    gradients = []
    for clip in (0.0, 1e9):
        model = learner(name, clip=clip)
        step(model)
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert max(gradient.abs().max() for gradient in gradients[0]) > 0
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", ["ibot", "dinov2"])
def test_the_prototypes_stay_for_an_epoch(name):
    model = learner(name)
    start = [p.clone() for p in model.head[-1].parameters()]
    step(model, 2)
    assert all(torch.equal(a, b) for a, b in zip(start, model.head[-1].parameters(), strict=True))
    step(model, 3)
    assert not any(torch.equal(a, b) for a, b in zip(start, model.head[-1].parameters(), strict=True))


def trained(name, folder, *, steps=6, stop=None, accumulate=1, recompute=False, resume=False, **options):
    images = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3)).astype(np.uint8)
    data = PretrainingData("toy", "r1", ArrayPixels(images), np.arange(24), 16, None, ())
    training = dataclasses.replace(registry.load("methods", name).training, warmup_epochs=0.0, lr=0.001)
    assert isinstance(training, Training)
    how = {"accumulate": accumulate, "recompute": recompute}
    plan = Plan(training, lr=0.001, steps=steps, batch_size=8, log_steps=1, checkpoint_steps=2, **how)
    trainer = Trainer(learner(name, **options), data, plan, folder=folder, identity={})
    if stop is not None:
        trainer.learner.before_step = lambda progress: (_ for _ in ()).throw(Stop) if progress.step == stop else None
    if resume:
        assert trainer.resume()
    with Reporter(name, quiet=True) as reporter:
        trainer.run(reporter)
    return trainer.learner.state_dict()


class Stop(Exception):
    pass


@pytest.mark.parametrize("name", HEADS)
def test_a_resumed_run_is_the_same_to_the_bit(name, tmp_path):
    skips = {"drop_path": 0.5} if "drop_path" in HEADS[name] else {}
    whole = trained(name, tmp_path / "whole", **skips)
    with pytest.raises(Stop):
        trained(name, tmp_path / "broken", stop=3, **skips)
    again = trained(name, tmp_path / "broken", resume=True, **skips)
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[key], again[key]) for key in whole)


@pytest.mark.parametrize("name", HEADS)
def test_a_batch_in_parts_trains_as_the_whole(name, tmp_path):
    whole, parts = (trained(name, tmp_path / str(n), steps=2, accumulate=n) for n in (1, 4))
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=1e-3, atol=1e-4, msg=key)


def test_blocks_that_are_computed_twice_skip_the_same(tmp_path):
    once, twice = (trained("ibot", tmp_path / str(is_so), steps=2, recompute=is_so, drop_path=0.5) for is_so in (0, 1))
    assert all(torch.equal(once[key], twice[key]) for key in once)


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("name", HEADS)
def test_a_network_without_patches_is_refused(name):
    method = registry.load("methods", name)
    with pytest.raises(UsageError, match="This needs a Vision Transformer, and resnet18"):
        method.learner(build_backbone("resnet18", width=0.125), method.resolve(HEADS[name]), SETUP)


def test_what_the_loss_cannot_train_is_refused():
    with pytest.raises(UsageError, match="is read off token; pass --arch-option pool=avg"):
        learner("i-jepa", {"pool": "token"})
    for name in ("mae", "i-jepa"):
        with pytest.raises(UsageError, match="pool="):
            learner(name, {"pool": "avg", "norm": "pooled"})
    with pytest.raises(UsageError, match=r"mask_ratio=0.99 shows 0 of 16 patches"):
        learner("mae", mask_ratio=0.99)

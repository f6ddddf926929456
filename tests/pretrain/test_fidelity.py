"""docs/fidelity.md says what the methods do, and every difference from what is published has a reason."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

from virb import registry
from virb.networks.backbones import build_backbone
from virb.pretraining import initial
from virb.training.optimizers import parameter_groups

SCRIPT = Path(__file__).parents[2] / "docs" / "update_fidelity.py"


def script():
    spec = importlib.util.spec_from_file_location("update_fidelity", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_that_of_the_code():
    fidelity = script()
    text = fidelity.PAGE.read_text(encoding="utf-8")
    assert text == fidelity.page(text), "run python docs/update_fidelity.py"


def test_every_method_is_in_it_and_every_difference_has_a_reason():
    fidelity = script()
    trained = {name for name in registry.names("methods") if registry.load("methods", name).learner is not None}
    assert {name for name, _ in fidelity.AUTHORS} == trained
    different = {(name, setting) for name, _, _, setting, value, own in fidelity.rows() if value != own}
    assert different == set(fidelity.DEVIATIONS)


def test_the_architecture_chooses_what_is_published_for_it():
    dino, moco = (registry.load("methods", name) for name in ("dino", "moco-v3"))
    assert [dino.at(arch).training.optimizer for arch in ("vit_small_patch16", "timm:vit_tiny_patch16_224")] == [
        "adamw"
    ] * 2
    assert [dino.at(arch).training.optimizer for arch in ("resnet18", "torchvision:resnet50", "resnext50_32x4d")] == [
        "sgd"
    ] * 3
    assert moco.at("vit_small_patch16").resolve({})["temperature"] == 0.2
    assert moco.at("resnet50").resolve({})["temperature"] == 1.0
    assert moco.at("vit_small_patch16").resolve({"temperature": 0.5})["temperature"] == 0.5


def test_blocks_begin_as_identities():
    for arch in ("resnet18", "resnet50"):
        encoder = build_backbone(arch, width=0.125, stem="cifar")
        initial.zero_init_residual(encoder)
        block = encoder.layer1[1]
        x = torch.rand(2, encoder.channels[1], 4, 4)
        torch.testing.assert_close(block(x.clone()), x)


def test_a_frozen_patch_embedding_is_not_trained():
    encoder = build_backbone("vit_tiny_patch16", image_size=32, depth=1)
    initial.freeze_patches(encoder)
    frozen = {name for name, p in encoder.named_parameters() if not p.requires_grad}
    assert frozen
    assert all("patch_embed" in name for name in frozen)


def test_normalisation_alone_is_spared_where_asked_for():
    encoder = build_backbone("resnet18", width=0.125, stem="cifar")
    head = torch.nn.Linear(4, 2)
    decayed, plain = parameter_groups(torch.nn.Sequential(encoder, head), 0.1, decay_all=True, spare_norms=True)
    assert any(p is head.bias for p in decayed["params"])
    assert {id(p) for p in plain["params"]} == {
        id(p) for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm2d) for p in m.parameters()
    }

"""Every built-in method goes through the same end-to-end check; what is its own is tested in its own file."""

from __future__ import annotations

import pytest
import torch

from virb import registry
from virb.convert.load import load_encoder, read_checkpoint

# Published heads are as large as published encoders; here the encoder has 64 dimensions.
SMALL_HEADS = {
    "barlow-twins": ("projection_dim=32",),
    "byol": ("hidden_dim=64", "projection_dim=32"),
    "dino": ("hidden_dim=32", "prototypes=64", "small_crops=2"),
    "dinov2": ("hidden_dim=32", "prototypes=64", "small_crops=2", "bottleneck_dim=16", "patch_bottleneck_dim=16"),
    "i-jepa": ("predictor_dim=16", "predictor_depth=1", "predictor_heads=2", "min_keep=4"),
    "ibot": ("hidden_dim=32", "prototypes=64", "small_crops=2"),
    "jigsaw": ("permutations=20", "tile_dim=16"),
    "mae": ("decoder_dim=16", "decoder_depth=1", "decoder_heads=2"),
    "moco-v3": ("hidden_dim=64", "projection_dim=32"),
    "simsiam": ("projection_dim=64", "bottleneck_dim=16"),
    "pirl": ("projection_dim=32",),
    "swav": ("hidden_dim=32", "prototypes=20", "small_crops=2"),
    "vicreg": ("projection_dim=32",),
}

WITHOUT_PROJECTION = (
    "i-jepa",
    "jigsaw",
    "mae",
    "rotation",
    "supervised",
)  # the embedding itself is read, or its patches
OF_PATCHES = ("dinov2", "i-jepa", "ibot", "mae")
TRANSFORMER = {"dim": 16, "depth": 2, "heads": 2, "patch": 4, "hidden": 32, "pool": "avg"}
TRAINED = [name for name in registry.names("methods") if registry.load("methods", name).learner is not None]


@pytest.mark.parametrize("name", TRAINED)
def test_a_method_trains_and_repeats(virb_pretrain, images, small, tmp_path, name):
    states = []
    if name in OF_PATCHES:
        arch = [text for key, value in TRANSFORMER.items() for text in ("--arch-option", f"{key}={value}")]
        small = ("--size", "16", "--arch", "vit", *arch, "--batch-size", "8", "--quiet")
    options = [text for option in SMALL_HEADS.get(name, ()) for text in ("--option", option)]
    for k in range(2):
        out = tmp_path / f"{k}.pt"
        status, text = virb_pretrain(name, "--data", images, *small, *options, "--epochs", 2, "--out", out)
        assert status == 0, text
        states.append(read_checkpoint(out)["state_dict"])
        assert all(torch.isfinite(v).all() for v in states[-1].values() if v.is_floating_point())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    meta = read_checkpoint(out)["meta"]
    assert ("head" in meta) == (name not in WITHOUT_PROJECTION)
    if "head" in meta:
        through = load_encoder(f"{out}:features=projection")
        assert (through.dim, through.meta["head"]) == (meta["head_dim"], meta["head"])
        embedding = through.embed(through.prepare(torch.zeros(2, 16, 16, 3, dtype=torch.uint8)))
        assert bool(torch.isfinite(embedding).all())
    virb_pretrain("random", *[a for a in small if a not in ("--batch-size", "8")], "--out", tmp_path / "r.pt")
    start = read_checkpoint(tmp_path / "r.pt")["state_dict"]
    assert start.keys() == states[0].keys()
    last = "net.blocks.1.mlp.fc2.weight" if name in OF_PATCHES else "layer4.1.conv2.weight"
    assert not torch.equal(start[last], states[0][last])


@pytest.mark.parametrize("name", registry.names("methods"))
def test_a_method_cites_its_source(name):
    method = registry.load("methods", name)
    assert method.source
    assert registry.find("methods", name).summary.endswith(".")
    assert all(option.help for option in method.options)


@pytest.mark.parametrize(
    "option",
    [
        "loss=nt_logistic",
        "loss=margin_triplet",
        "projection=identity",
        "projection=linear",
        "l2_norm=false",
        "augment=crop+sobel",
    ],
)
def test_simclr_ablations(virb_pretrain, images, small, tmp_path, option):
    out = tmp_path / "x.pt"
    extra = ("--option", "semi_hard=true") if option.startswith("loss") else ()
    status, text = virb_pretrain(
        "simclr", "--data", images, *small, "--epochs", 1, "--option", option, *extra, "--out", out
    )
    assert status == 0, text


def test_dino_with_batch_normalisation_in_its_head(virb_pretrain, images, small, tmp_path):
    options = [text for option in (*SMALL_HEADS["dino"], "head_norm=true") for text in ("--option", option)]
    status, text = virb_pretrain("dino", "--data", images, *small, *options, "--epochs", 1, "--out", tmp_path / "d.pt")
    assert status == 0, text
    state = read_checkpoint(tmp_path / "d.pt")["meta"]["head"]
    through = load_encoder(f"{tmp_path / 'd.pt'}:features=projection")
    norms = [module for module in through.modules() if isinstance(module, torch.nn.BatchNorm1d)]
    assert [norm.num_features for norm in norms] == [32, 32], (
        state
    )  # both hidden layers, as the authors' use_bn_in_head
    assert all(bool(norm.running_mean.abs().sum() > 0) for norm in norms)  # the teacher's, which saw images

"""Checkpoints: every published layout loads exactly, everything else is refused by name, nothing is executed."""

from __future__ import annotations

import argparse
import os
import pathlib
import pickle
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from virb.convert.load import (
    FORMAT,
    detect_architecture,
    match_state,
    read_checkpoint,
    save_encoder,
    state_sha256,
)
from virb.errors import CheckpointError, UsageError
from virb.networks.backbones import Backbone, blank_backbone, build_backbone, spell_architecture

State = dict[str, Tensor]
WIDTH = 0.125
OPTIONS = {"width": WIDTH, "stem": "imagenet"}
PREPROCESS = {"size": 32, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}


def make(arch: str = "resnet18", *, seed: int = 0, **options: Any) -> Backbone:
    """Return a network whose every tensor, BatchNorm's statistics included, is drawn by ``seed``."""
    if arch.startswith("resnet"):
        options.setdefault("width", WIDTH)
    net = build_backbone(arch, **options).eval()
    generator = torch.Generator().manual_seed(seed)
    for value in net.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) + 0.1)
    return net


def weights(seed: int = 0, arch: str = "resnet18", **options: Any) -> State:
    return dict(make(arch, seed=seed, **options).state_dict())


def under(prefix: str, state: State) -> State:
    return OrderedDict((prefix + key, value) for key, value in state.items())


def layers(*names: str) -> State:
    """Return what a head leaves in a checkpoint."""
    return {f"{name}.{part}": torch.randn(4, 4) for name in names for part in ("weight", "bias")}


MINE, OTHER = 0, 1  # the seeds of the weights that must be loaded, and of the copies that must not

LAYOUTS: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "virb": (lambda: under("model.", weights()), "model."),
    "moco": (
        lambda: {
            "epoch": 200,
            "arch": "resnet18",
            "state_dict": {
                **under("module.encoder_k.", weights(OTHER)),
                **layers("module.encoder_k.fc.0", "module.encoder_q.fc.0", "module.encoder_q.fc.2"),
                **under("module.encoder_q.", weights()),
                "module.queue": torch.randn(8, 32),
                "module.queue_ptr": torch.zeros(1, dtype=torch.long),
            },
            "optimizer": {"state": {0: {"momentum_buffer": torch.randn(3)}}, "param_groups": [{"lr": 0.03}]},
        },
        "state_dict/module.encoder_q.",
    ),
    "moco v3": (
        lambda: {
            "state_dict": {
                **under("module.momentum_encoder.", weights(OTHER)),
                **under("module.base_encoder.", weights()),
                **layers("module.base_encoder.fc.0", "module.predictor.0"),
            }
        },
        "state_dict/module.base_encoder.",
    ),
    "swav": (
        lambda: {**under("module.", weights()), **layers("module.projection_head.0", "module.prototypes")},
        "module.",
    ),
    "swav full": (
        lambda: {
            "epoch": 800,
            "state_dict": {**under("module.", weights()), **layers("module.projection_head.0", "module.prototypes")},
            "optimizer": {},
        },
        "state_dict/module.",
    ),
    "vissl": (
        lambda: {
            "phase_idx": 100,
            "iteration": 5,
            "loss": np.float64(0.25),
            "classy_state_dict": {
                "train": True,
                "base_model": {
                    "model": {
                        "trunk": under("_feature_blocks.", weights()),
                        "heads": layers("0.clf.0"),
                    },
                    "meters": [],
                },
                "losses": [np.float32(1.5)],
            },
        },
        "classy_state_dict/base_model/model/trunk/_feature_blocks.",
    ),
    "simsiam": (
        lambda: {
            "state_dict": {
                **under("module.encoder.", weights()),
                **layers("module.encoder.fc.0", "module.predictor.0"),
            }
        },
        "state_dict/module.encoder.",
    ),
    "barlow twins flat": (lambda: weights(), ""),
    "barlow twins full": (
        lambda: {
            "epoch": 1000,
            "model": {**under("module.backbone.", weights()), **layers("module.projector.0", "module.bn")},
            "optimizer": {},
        },
        "model/module.backbone.",
    ),
    "vicreg": (
        lambda: {"model": {**under("module.backbone.", weights()), **layers("module.projector.0")}},
        "model/module.backbone.",
    ),
    "dino full": (
        lambda: {
            "student": {**under("module.backbone.", weights(OTHER)), **layers("module.head.mlp.0")},
            "teacher": {**under("backbone.", weights()), **layers("head.mlp.0")},
            "epoch": 800,
            "args": argparse.Namespace(arch="resnet18", output_dir=pathlib.PurePosixPath("out")),
            "dino_loss": {"center": torch.zeros(1, 8)},
        },
        "teacher/backbone.",
    ),
    "lightly": (
        lambda: {
            "state_dict": {
                **under("backbone_momentum.", weights(OTHER)),
                **under("backbone.", weights()),
                **layers("projection_head.layers.0", "projection_head_momentum.layers.0"),
            },
            "hyper_parameters": defaultdict(int, lr=1),
            "callbacks": {"ModelCheckpoint": {"dirpath": pathlib.PurePosixPath("out")}},
        },
        "state_dict/backbone.",
    ),
    "solo-learn": (
        lambda: {
            "state_dict": {
                **under("backbone.", weights()),
                **under("momentum_backbone.", weights(OTHER)),
                **layers("classifier", "projector.0"),
            }
        },
        "state_dict/backbone.",
    ),
    "solo-learn old": (lambda: {"state_dict": {**under("encoder.", weights()), **layers("classifier")}}, "encoder."),
    "torchvision": (lambda: {**weights(), **layers("fc")}, ""),
}


def check_loaded(content: dict[str, Any], place: str, backbone: Backbone) -> str:
    arch, options = detect_architecture(content)
    assert build_backbone(arch, **options).label == backbone.label
    state, report = match_state(content, build_backbone(arch, **options))
    expected = backbone.state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(state[key], value) for key, value in expected.items())
    assert report.place.endswith(place)
    backbone.load_state_dict(state, strict=True)
    return str(report)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_published_layout_loads_its_source(layout: str, is_zip: bool, tmp_path: Path) -> None:
    build, place = LAYOUTS[layout]
    path = tmp_path / "checkpoint.pth.tar"
    torch.save(build(), path, _use_new_zipfile_serialization=is_zip)
    check_loaded(read_checkpoint(path), place, make())


def test_the_report_says_what_was_dropped() -> None:
    state, report = match_state(LAYOUTS["moco"][0](), make())
    assert (report.container, report.prefix) == ("state_dict", "module.encoder_q.")
    assert report.dropped == {
        "module.encoder_q.fc": 4,
        "module.encoder_k": 122,
        "module.queue": 1,
        "module.queue_ptr": 1,
    }
    assert report.alternatives == ("state_dict/module.encoder_k.",)
    assert "module.encoder_k (122)" in str(report)
    assert not any("fc" in key for key in state)


def test_lightlys_numbered_backbone_loads() -> None:
    """lightly's usual backbone is nn.Sequential(*list(resnet.children())[:-1]), whose parts have numbers."""
    numbers = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    state = {f"{numbers[key.split('.')[0]]}.{key.partition('.')[2]}": value for key, value in weights().items()}
    content = {"state_dict": {**under("backbone.", state), **layers("projection_head.layers.0")}}
    report = check_loaded(content, "state_dict/backbone.", make())
    assert report == "weights from 'state_dict/backbone.'; dropped projection_head (2)"


def test_a_chosen_prefix_takes_the_other_network() -> None:
    content = LAYOUTS["dino full"][0]()
    state, report = match_state(content, make(), prefix="student")
    assert torch.equal(state["conv1.weight"], weights(OTHER)["conv1.weight"])
    assert report.container == "student"
    with pytest.raises(CheckpointError, match="under 'pupil'; found"):
        match_state(content, make(), prefix="pupil")


def test_two_different_networks_of_equal_right_are_refused() -> None:
    content = {**under("a.", weights(0)), **under("b.", weights(1))}
    with pytest.raises(CheckpointError, match=r"several different networks .*'a\.', 'b\.'.*prefix="):
        match_state(content, make())
    state, report = match_state({**under("a.", weights(0)), **under("b.", weights(0))}, make())
    assert report.place == "a."
    assert torch.equal(state["conv1.weight"], weights()["conv1.weight"])


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("resnet18", {"width": 0.25}),
        ("resnet34", {"width": 0.125}),
        ("resnet50", {"width": 0.125}),
        ("resnet50", {"width": 2.0}),
        ("resnet101", {"width": 0.125}),
        ("resnet152", {"width": 0.125}),
        ("resnet18", {"width": 0.125, "stem": "cifar"}),
        ("resnext50_32x4d", {}),
        ("wide_resnet50_2", {}),
        ("vit_tiny_patch16", {"depth": 2, "image_size": 32}),
        ("vit_small_patch8", {"depth": 1, "image_size": 32}),
        ("vit_base_patch16", {}),
    ],
)
def test_the_architecture_is_read_off_the_shapes(arch: str, options: dict[str, Any]) -> None:
    net = blank_backbone(arch, options)
    found, found_options = detect_architecture({"state_dict": under("module.backbone.", dict(net.state_dict()))})
    assert spell_architecture(found, found_options) == net.label


def test_moco_v3s_small_transformer_has_twelve_heads() -> None:
    state = weights(arch="vit_small_patch16", depth=1, image_size=32)
    assert detect_architecture(under("module.base_encoder.", state))[1]["heads"] == 12
    assert detect_architecture(under("backbone.", state))[1]["heads"] == 6


def test_dinos_transformer_loads() -> None:
    options = {"depth": 2, "image_size": 32}
    net = make("vit_tiny_patch16", **options)
    content = {
        "teacher": {**under("backbone.", dict(net.state_dict())), **layers("head.mlp.0")},
        "student": {**under("module.backbone.", weights(OTHER, "vit_tiny_patch16", **options))},
    }
    check_loaded(content, "teacher/backbone.", net)


def test_old_files_without_batch_counters_load() -> None:
    state = {key: value for key, value in weights().items() if not key.endswith("num_batches_tracked")}
    loaded, _ = match_state(state, make())
    make().load_state_dict(loaded, strict=True)


def test_safetensors_and_numpy_pickles_load(tmp_path: Path) -> None:
    state = {**weights(), **layers("fc")}
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "model.safetensors")
    check_loaded(read_checkpoint(tmp_path / "model.safetensors"), "", make())
    with (tmp_path / "model.pkl").open("wb") as file:  # the layout of converted model zoos
        pickle.dump({"model": {key: value.numpy() for key, value in state.items()}, "__author__": "someone"}, file)
    check_loaded(read_checkpoint(tmp_path / "model.pkl"), "model/", make())


def test_half_precision_weights_load_as_float32() -> None:
    half = {key: value.half() if value.is_floating_point() else value for key, value in weights().items()}
    state, _ = match_state(half, make())
    assert state["conv1.weight"].dtype == torch.float32


# -- refusals


def test_one_missing_tensor_is_named() -> None:
    content = LAYOUTS["swav"][0]()
    del content["module.layer3.1.bn2.running_var"]
    with pytest.raises(CheckpointError, match=r"Closest: 'module\.'.*Missing \(1\): layer3\.1\.bn2\.running_var"):
        match_state(content, make())


def test_one_wrong_shape_is_named() -> None:
    state = weights()
    state["layer2.0.conv1.weight"] = torch.zeros(16, 8, 1, 1)
    with pytest.raises(CheckpointError, match=r"Of another shape \(1\): layer2\.0\.conv1\.weight \(16, 8, 1, 1\) inst"):
        match_state(state, make())


def test_a_deeper_network_is_not_loaded_into_a_shallower_one() -> None:
    """Every tensor of a ResNet-18 is in a ResNet-34 with its shape, so being complete is not enough."""
    with pytest.raises(CheckpointError, match=r"Not part of resnet18:width=0\.125.*look like resnet34:width=0\.125"):
        match_state(weights(arch="resnet34"), make("resnet18"))


@pytest.mark.parametrize("extra", ["layer1.0.se.fc1.weight", "conv1.bias", "layer5.0.conv1.weight"])
def test_parts_that_the_architecture_lacks_are_not_dropped_in_silence(extra: str) -> None:
    content = {**weights(), extra: torch.zeros(3)}
    if extra.startswith("layer5"):
        match_state(content, make())  # nothing of the architecture reads it: dropped, and said
        assert "layer5" in str(match_state(content, make())[1])
    else:
        with pytest.raises(CheckpointError, match="Not part of"):
            match_state(content, make())


def test_a_transformer_with_registers_is_another_network() -> None:
    state = weights(arch="vit_tiny_patch16", depth=1, image_size=32)
    with pytest.raises(CheckpointError, match="reg_token"):
        match_state({**state, "reg_token": torch.zeros(1, 4, 192)}, make("vit_tiny_patch16", depth=1, image_size=32))


def test_another_architecture_is_said_to_be_what_it_looks_like() -> None:
    with pytest.raises(CheckpointError, match=r"not exactly resnet50.*The tensors look like resnet18:width=0\.125"):
        match_state(weights(), make("resnet50"))


def test_weights_that_are_not_finite_are_refused() -> None:
    state = weights()
    state["layer1.0.conv1.weight"][0, 0, 0, 0] = float("nan")
    with pytest.raises(CheckpointError, match=r"layer1\.0\.conv1\.weight holds NaN"):
        match_state(state, make())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "neither a ResNet's"),
        ({"weight": torch.zeros(3)}, "neither a ResNet's"),
        (
            {"conv1.weight": torch.zeros(8, 1, 7, 7), "layer1.0.conv1.weight": torch.zeros(8, 8, 3, 3)},
            r"\(8, 1, 7, 7\)",
        ),
        (
            {"conv1.weight": torch.zeros(8, 3, 7, 7), "layer1.0.conv1.weight": torch.zeros(8, 8, 3, 3)},
            r"\(1, 0, 0, 0\)",
        ),
        (
            {"patch_embed.proj.weight": torch.zeros(99, 3, 16, 16), "blocks.0.attn.qkv.weight": torch.zeros(1, 1)},
            "width 99",
        ),
        (
            {**under("a.", weights()), **under("b.", weights(arch="resnet34"))},
            r"several architectures: resnet18:width=0\.125, resnet34",
        ),
    ],
)
def test_what_cannot_be_told_asks_for_the_architecture(content: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=rf"(?s){message}.*arch=resnet50"):
        detect_architecture(content)


class Malicious:
    """Pickles as a call; ``path`` appears when somebody makes it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.system, (f"touch {self.path}",))


class MaliciousEval(Malicious):
    def __reduce__(self) -> Any:
        return (eval, (f"open({str(self.path)!r}, 'w')",))


class Whole(torch.nn.Module):
    """A network saved as an object."""


@pytest.mark.parametrize("kind", [Malicious, MaliciousEval])
@pytest.mark.parametrize("way", ["zip", "legacy", "pickle", "pickle0", "beside"])
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(
    kind: type[Malicious], way: str, tmp_path: Path
) -> None:
    path, mark = tmp_path / "evil.pth", tmp_path / "executed"
    if way.startswith("pickle"):
        path.write_bytes(pickle.dumps(kind(mark), protocol=0 if way == "pickle0" else 4))
    elif way == "beside":
        torch.save({"state_dict": weights(), "optimizer": kind(mark)}, path)
    else:
        torch.save(kind(mark), path, _use_new_zipfile_serialization=way == "zip")
    message = "not a checkpoint" if way == "pickle0" else "would run code.*nothing was run"
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(path)
    assert "evil.pth" in str(caught.value)
    assert not mark.exists()
    pickle.loads(pickle.dumps(kind(mark)))  # the file was armed
    assert mark.exists()


def test_a_whole_pickled_network_is_refused_by_its_class(tmp_path: Path) -> None:
    torch.save(Whole(), tmp_path / "whole.pt")
    with pytest.raises(CheckpointError, match=r"Whole\) with code of its own.*save its state_dict"):
        read_checkpoint(tmp_path / "whole.pt")


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "pkl"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_a_truncated_file_is_refused(kind: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"half.{kind}"
    if kind == "safetensors":
        save_file(weights(), path)
    elif kind == "pkl":
        path.write_bytes(pickle.dumps({key: value.numpy() for key, value in weights().items()}))
    else:
        torch.save(weights(), path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match=rf"half\.{kind} \(\d+ bytes\) is truncated or damaged.*again"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello, world\n" * 10, "not a checkpoint: it begins with"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\x1f\x8b\x08\x00archive", "unpack it first"),
        (b"PK\x03\x04 no zip", "truncated or damaged"),
        (b"\x80", "truncated or damaged"),
    ],
)
def test_what_is_no_checkpoint_is_described(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)


def test_a_protocol_that_cannot_be_read_safely_says_so(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "p4.pt", pickle_protocol=4)
    with pytest.raises(CheckpointError, match=r"p4\.pt was written with a pickle protocol"):
        read_checkpoint(tmp_path / "p4.pt")


def test_what_training_leaves_beside_the_weights_is_passed_over(tmp_path: Path) -> None:
    leftovers = {
        "args": argparse.Namespace(lr=0.1),
        "counts": defaultdict(list, a=[1]),
        "folder": pathlib.PurePosixPath("out"),
        "numbers": (np.float32(2), np.arange(3)),
        "kinds": {"k": int, "dtype": torch.float32, "device": torch.device("cpu")},
        "generators": (torch.get_rng_state(), np.random.get_state()),  # noqa: NPY002 (as trainers store it)
    }
    for is_zip in (True, False):
        content = {"state_dict": weights(), "rest": leftovers}
        torch.save(content, tmp_path / "full.pt", _use_new_zipfile_serialization=is_zip)
        found = read_checkpoint(tmp_path / "full.pt")
        assert list(found["rest"]) == list(leftovers)
        assert not isinstance(found["rest"]["args"], argparse.Namespace)  # an empty stand-in, never the class itself
        match_state(found, make())


def test_missing_files_folders_and_other_objects_are_refused(tmp_path: Path) -> None:
    torch.save(weights(), tmp_path / "moco.pth")
    with pytest.raises(CheckpointError, match=r"no file .*mocco\.pth\. Did you mean .*moco\.pth"):
        read_checkpoint(tmp_path / "mocco.pth")
    with pytest.raises(CheckpointError, match="does not exist either"):
        read_checkpoint(tmp_path / "nowhere" / "moco.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_checkpoint(tmp_path)
    torch.save([torch.zeros(3)], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="holds a list; expected a dict"):
        read_checkpoint(tmp_path / "list.pt")


# -- our own files


def save(path: Path, state: State, **changes: Any) -> str:
    whole: dict[str, Any] = {
        "arch": "resnet18",
        "arch_options": {"width": WIDTH},
        "state_dict": state,
        "preprocess": PREPROCESS,
        "meta": {"method": "simclr", "seed": 1},
    }
    return save_encoder(path, **{**whole, **changes})


def test_our_file_is_as_the_contract_says(tmp_path: Path) -> None:
    sha = save(tmp_path / "folder" / "mine.pt", weights())
    content = torch.load(tmp_path / "folder" / "mine.pt", weights_only=True)
    assert content["format"] == FORMAT == "virb-encoder/1"
    assert (content["arch"], content["arch_options"]) == ("resnet18", OPTIONS)
    assert content["preprocess"] == PREPROCESS
    assert content["meta"] == {"method": "simclr", "seed": 1}
    assert all(torch.equal(content["state_dict"][key], value) for key, value in weights().items())
    assert sha == state_sha256("resnet18", OPTIONS, weights())
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["mine.pt"]
    save(tmp_path / "again.pt", weights())
    assert (tmp_path / "again.pt").read_bytes() == (tmp_path / "folder" / "mine.pt").read_bytes()


def test_one_changed_byte_of_our_file_is_noticed(tmp_path: Path) -> None:
    save(tmp_path / "mine.pt", weights())
    content = bytearray((tmp_path / "mine.pt").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "mine.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"checksum of .* does not match"):
        read_checkpoint(tmp_path / "mine.pt")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.pt"
    save(path, weights(0))
    before = path.read_bytes()

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CheckpointError, match=r"Cannot write the encoder .*No space left"):
        save(path, weights(1))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state_dict": weights(arch="resnet34")}, "Cannot save an encoder as resnet18"),
        ({"arch": "resnet19"}, "Did you mean resnet18"),
        ({"meta": {"when": object()}}, "plain values only"),
        ({"meta": {"loss": float("nan")}}, "plain values only"),
    ],
)
def test_what_cannot_be_saved_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        save(tmp_path / "mine.pt", weights(), **changes)
    assert not list(tmp_path.iterdir())


def test_the_identity_is_by_content() -> None:
    state = weights()
    sha = state_sha256("resnet18", {"width": WIDTH}, state)
    backwards = dict(reversed(state.items()))
    assert state_sha256("torchvision:resnet18", {"width": WIDTH, "stem": "imagenet"}, backwards) == sha
    counted = {key: value + 7 if key.endswith("num_batches_tracked") else value for key, value in state.items()}
    assert state_sha256("resnet18", {"width": WIDTH}, counted) == sha
    strided = {key: value.clone(memory_format=torch.preserve_format) for key, value in state.items()}
    strided["conv1.weight"] = strided["conv1.weight"].contiguous(memory_format=torch.channels_last)
    assert state_sha256("resnet18", {"width": WIDTH}, strided) == sha
    changed = {key: value.clone() for key, value in state.items()}
    changed["bn1.running_var"][0] += 1e-3
    assert state_sha256("resnet18", {"width": WIDTH}, changed) != sha
    assert state_sha256("resnet18", {"width": WIDTH, "stem": "cifar"}, state) != sha

"""Frozen encoders: nothing of them changes, names resolve, images are prepared as declared."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

import virb
from virb.convert.load import expand_sources, load_encoder, reference_encoders, save_encoder
from virb.errors import CheckpointError, UsageError
from virb.networks.backbones import build_backbone
from virb.networks.encoder import FrozenEncoder
from virb.networks.preprocess import Preprocess
from virb.networks.spec import safe_name, split_source

TINY = "random:resnet18:width=0.125,seed=1,size=32"
SOURCES = [TINY, "random:vit_tiny_patch16:depth=2,image_size=32,size=32", "pixels:4", "random:timm:resnet10t:size=32"]


def photos(n: int = 3, height: int = 40, width: int = 50, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 6, 6, generator=generator)
    images = nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return (images * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def save(path: Path, seed: int = 0, **changes: Any) -> FrozenEncoder:
    encoder = load_encoder(f"random:resnet18:width=0.125,seed={seed},size=32")
    whole = {
        "arch": encoder.arch,
        "arch_options": encoder.arch_options,
        "state_dict": encoder.state_dict(),
        "preprocess": encoder.preprocess,
        "meta": {"method": "simclr", "epochs": 3},
    }
    save_encoder(path, **{**whole, **changes})
    return encoder


def fingerprint(encoder: FrozenEncoder) -> str:
    """Hash every parameter, buffer, mode and gradient flag of both copies of the network."""
    digest = hashlib.sha256()
    for module in encoder.modules():
        digest.update(f"{type(module).__name__} {module.training}".encode())
        for key, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            digest.update(f"{key} {value.requires_grad} {value.grad}".encode())
            digest.update(value.detach().float().numpy().tobytes())
    return digest.hexdigest()


# -- frozen


@pytest.mark.parametrize("is_optimised", [True, False])
@pytest.mark.parametrize("source", SOURCES)
def test_nothing_changes_through_any_use(source: str, is_optimised: bool) -> None:
    encoder = load_encoder(source, optimize=is_optimised)
    images = encoder.prepare(photos())
    first = encoder.embed(images)  # builds the inference copy
    before = fingerprint(encoder)
    assert not any(module.training for module in encoder.modules())
    assert not any(weight.requires_grad for weight in encoder.parameters())

    assert encoder.train() is encoder
    assert not encoder.training
    head = nn.Linear(encoder.dim, 2).train()
    with torch.enable_grad():
        optimizer = torch.optim.SGD([*head.parameters()], lr=0.1)
        for _ in range(2):
            outputs = [encoder.embed(images), *encoder.features(images)[1], *encoder.pyramid(images)]
            assert not any(output.requires_grad for output in outputs)
            head(outputs[0]).square().sum().backward()  # autograd takes these tensors as they are
            optimizer.step()
        noisy = images.clone().requires_grad_(True)
        assert not encoder.embed(noisy).requires_grad
    assert fingerprint(encoder) == before
    assert torch.equal(encoder.embed(images), first)


def test_the_network_passed_in_is_neither_frozen_nor_followed() -> None:
    net = build_backbone("resnet18", width=0.125).train()
    encoder = FrozenEncoder(net, name="x", arch="resnet18", arch_options={"width": 0.125})
    images = torch.randn(2, 3, 32, 32)
    before = encoder.embed(images)
    assert net.training
    assert all(weight.requires_grad for weight in net.parameters())
    net(images).sum().backward()  # moves BatchNorm's statistics
    assert torch.equal(encoder.embed(images), before)
    again = FrozenEncoder(net, name="x", arch="resnet18", arch_options={"width": 0.125})
    assert again.sha256 != encoder.sha256


def test_a_trainable_copy_is_independent() -> None:
    encoder = load_encoder(TINY)
    copy = encoder.trainable_copy()
    assert copy.training
    with torch.no_grad():
        for weight in copy.parameters():
            assert weight.requires_grad
            weight.zero_()
    assert load_encoder(TINY).sha256 == encoder.sha256
    assert encoder.state_dict()["conv1.weight"].abs().sum() > 0


def test_a_head_that_holds_an_encoder_does_not_own_its_weights() -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = load_encoder(TINY)
            self.linear = nn.Linear(self.encoder.dim, 2)

    assert sum(1 for _ in Head().train().parameters()) == 2


def test_optimising_changes_rounding_only_and_not_the_identity() -> None:
    for arch in ("resnet18", "resnet50"):
        plain = load_encoder(f"random:{arch}:width=0.25", optimize=False)
        fast = load_encoder(f"random:{arch}:width=0.25")
        images = torch.randn(4, 3, 64, 64)
        for old, new in zip(plain.pyramid(images), fast.pyramid(images), strict=True):
            assert (old - new).abs().max() <= 1e-5 * old.abs().max()
        assert torch.equal(fast.embed(images), fast.embed(images))
        assert (plain.sha256, plain.identity) == (fast.sha256, fast.identity)
        assert all(torch.equal(value, plain.state_dict()[key]) for key, value in fast.state_dict().items())


def test_autocast_around_it_changes_nothing() -> None:
    encoder = load_encoder(TINY)
    images = torch.randn(2, 3, 32, 32)
    expected = encoder.embed(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoder.embed(images), expected)


def test_bfloat16_is_opt_in_and_comes_out_as_float32() -> None:
    encoder = load_encoder(TINY)
    images = torch.randn(2, 3, 32, 32)
    exact = encoder.embed(images)
    rough = encoder.to(dtype=torch.bfloat16).embed(images)
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < 0.1 * exact.abs().max()
    assert torch.equal(encoder.to(dtype=torch.float32).embed(images), exact)
    assert encoder.state_dict()["conv1.weight"].dtype == torch.float32


def test_output_strides_reach_the_network() -> None:
    encoder = load_encoder("random:resnet18:width=0.125")
    maps = encoder.pyramid(torch.randn(1, 3, 75, 50), 16)
    assert encoder.strides_at(16) == (2, 4, 8, 16, 16)
    assert maps[-1].shape == (1, 64, 5, 4)


def test_an_encoder_travels_to_another_process() -> None:
    encoder = load_encoder(TINY)
    images = torch.randn(2, 3, 32, 32)
    expected = encoder.embed(images)
    copy = pickle.loads(pickle.dumps(encoder))
    assert torch.equal(copy.embed(images), expected)
    assert copy.identity == encoder.identity
    assert load_encoder(encoder.source).identity == encoder.identity


def test_maps_take_what_embeddings_take(tmp_path: Path) -> None:
    encoder = load_encoder("random:resnet18:width=0.125,size=32", device="cpu")
    Image.fromarray(np.full((40, 30, 3), 90, np.uint8)).save(tmp_path / "x.png")
    maps = encoder.pyramid(tmp_path / "x.png")
    wanted = encoder.pyramid(encoder.prepare(torch.full((1, 40, 30, 3), 90, dtype=torch.uint8)))
    assert all(torch.equal(one, other) for one, other in zip(maps, wanted, strict=True))
    assert torch.equal(encoder.features([tmp_path / "x.png"])[0], encoder.embed(tmp_path / "x.png"))


def test_images_of_the_wrong_kind_are_refused() -> None:
    encoder = load_encoder(TINY)
    for images in (torch.zeros(3, 32, 32), torch.zeros(1, 1, 32, 32), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)):
        with pytest.raises(UsageError, match=r"takes float images \(N, 3, h, w\)"):
            encoder.embed(images)
    for images in (torch.zeros(1, 3, 32, 32), torch.zeros(3, 32, 32, dtype=torch.uint8)):
        with pytest.raises(UsageError, match="Images to prepare are uint8"):
            encoder.prepare(images)
    with pytest.raises(UsageError, match="Unknown device 'gpu'"):
        encoder.to("gpu")


# -- preprocessing


@pytest.mark.parametrize("size", [16, 32, 64])
def test_preparing_is_the_image_librarys_resize_and_the_declared_scaling(size: int) -> None:
    images = photos()
    preprocess = Preprocess(size, (0.1, 0.2, 0.3), (0.5, 0.25, 1.0))
    ours = preprocess(images)
    resized = [Image.fromarray(image.numpy()).resize((size, size), Image.Resampling.BILINEAR) for image in images]
    expected = (np.stack([np.asarray(image) for image in resized]) / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.25, 1.0]
    assert ours.dtype == torch.float32
    assert ours.shape == (3, 3, size, size)
    difference = np.abs(ours.permute(0, 2, 3, 1).numpy() - expected)
    assert difference.max() <= 1.01 / 255 / 0.25  # at most one grey level, by rounding


def test_channels_may_come_first_or_last_and_inputs_are_not_touched() -> None:
    images = photos()
    before = images.clone()
    preprocess = Preprocess(24)
    assert torch.equal(preprocess(images), preprocess(images.permute(0, 3, 1, 2).contiguous()))
    same = Preprocess(40)(photos(height=40, width=40))
    assert torch.equal(same, Preprocess(7).normalise(photos(height=40, width=40)))
    assert Preprocess(7).normalise(images).shape == (3, 3, 40, 50)
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    "arguments",
    [
        {"size": 0},
        {"std": (1, 0, 1)},
        {"mean": (0, 0)},
        {"mean": (0, 0, float("nan"))},
        {"mean": (124, 116, 104)},
        {"std": (1, 1, 58)},
    ],
)
def test_impossible_preprocessing_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Preprocess(**arguments)


# -- names and options


def test_our_file_comes_back_whole(tmp_path: Path) -> None:
    source = save(tmp_path / "my.encoder.pt")
    encoder = virb.load_encoder(tmp_path / "my.encoder.pt")
    assert encoder.name == "my.encoder"
    assert (encoder.sha256, encoder.identity) == (source.sha256, source.identity)
    assert encoder.meta == {"method": "simclr", "role": "self-supervised", "epochs": 3}
    assert encoder.preprocess == source.preprocess == Preprocess(32)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(encoder.embed(images), source.embed(images))


def test_the_same_weights_from_another_container_are_the_same_encoder(tmp_path: Path) -> None:
    source = save(tmp_path / "mine.pt")
    foreign = {"state_dict": {f"module.encoder_q.{key}": value for key, value in source.state_dict().items()}}
    torch.save(foreign, tmp_path / "moco.pth.tar")
    encoder = load_encoder(f"{tmp_path / 'moco.pth.tar'}:size=32")
    assert encoder.name == "moco-size32"
    assert encoder.identity == source.identity
    assert encoder.report is not None
    assert encoder.report.prefix == "module.encoder_q."
    plain = load_encoder(tmp_path / "moco.pth.tar")
    assert plain.name == "moco"
    assert plain.preprocess == Preprocess(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert plain.sha256 == source.sha256
    assert plain.identity != source.identity


def test_options_may_come_as_text_or_as_keywords(tmp_path: Path) -> None:
    text = load_encoder("random:resnet18:width=0.125,stem=cifar,seed=4,size=48,mean=0.5/0.5/0.5,std=1/1/1")
    quoted = load_encoder("random:resnet18?width=0.125&stem=cifar&seed=4&size=48&mean=0.5/0.5/0.5&std=1/1/1")
    words = load_encoder(
        "random:resnet18", width=0.125, stem="cifar", seed=4, size=48, mean=(0.5, 0.5, 0.5), std=(1, 1, 1)
    )
    assert text.identity == quoted.identity == words.identity
    assert text.preprocess == Preprocess(48, (0.5, 0.5, 0.5), (1, 1, 1))
    assert text.strides == (1, 1, 2, 4, 8)
    assert load_encoder("pixels:8").identity == load_encoder("pixels?grid=8&size=64").identity
    assert load_encoder(TINY, name="a b/c").name == "a-b-c"
    assert load_encoder(f"{TINY},name=floor").name == "floor"
    strange = tmp_path / "a:size=9.pt"  # a file that exists is that file, whatever its name looks like
    save(strange)
    assert load_encoder(strange).preprocess.size == 32


def test_random_encoders_are_their_seed_and_leave_the_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two, other = (load_encoder(f"random:resnet18:width=0.125,seed={seed}") for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert one.sha256 == two.sha256 != other.sha256
    assert one.meta == {"method": "random", "role": "untrained", "seed": 1}
    assert one.name == "random-resnet18-seed1-width0.125"
    assert load_encoder("random:resnet18:width=0.125").sha256 == load_encoder(TINY, seed=0).sha256


def test_a_bare_name_is_an_encoder_that_comes_with_virb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import virb.encoders

    monkeypatch.setattr(virb.encoders, "__path__", [str(tmp_path)])
    source = save(tmp_path / "supervised.pt")
    assert reference_encoders() == {"supervised": tmp_path / "supervised.pt"}
    assert load_encoder("supervised").identity == source.identity
    assert load_encoder("supervised").name == "supervised"
    assert load_encoder("supervised:size=48").name == "supervised-size48"
    with pytest.raises(CheckpointError, match=r"no encoder called 'supervise'\. Did you mean supervised"):
        load_encoder("supervise")


def test_a_detected_network_can_be_overridden(tmp_path: Path) -> None:
    net = build_backbone("vit_tiny_patch16", depth=1, image_size=32)
    torch.save(dict(net.state_dict()), tmp_path / "vit.pth")
    assert load_encoder(tmp_path / "vit.pth").arch_options["heads"] == 3
    assert load_encoder(f"{tmp_path / 'vit.pth'}:heads=6").arch_options["heads"] == 6
    assert (
        load_encoder(f"{tmp_path / 'vit.pth'}:arch=vit_tiny_patch16,depth=1,image_size=32").name
        == "vit-depth1-image_size32"
    )


def test_a_librarys_network_can_be_saved_and_loaded(tmp_path: Path) -> None:
    source = load_encoder("random:timm:resnet10t:seed=2,size=64")
    save(tmp_path / "x.pt", arch=source.arch, arch_options={}, state_dict=source.state_dict())
    assert load_encoder(tmp_path / "x.pt").sha256 == source.sha256
    published = {key.removeprefix("net."): value for key, value in source.state_dict().items()}
    torch.save({**published, "fc.weight": torch.zeros(5, 512), "fc.bias": torch.zeros(5)}, tmp_path / "y.pth")
    loaded = load_encoder(f"{tmp_path / 'y.pth'}:arch=timm:resnet10t,size=64")
    assert loaded.sha256 == source.sha256
    assert loaded.report is not None
    assert loaded.report.dropped == {"fc": 2}


def test_torchvisions_weights_come_from_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import models

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = models.SqueezeNet1_1_Weights.DEFAULT
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    net = models.squeezenet1_1().eval()
    torch.save(net.state_dict(), folder / weights.url.rpartition("/")[2])
    encoder = load_encoder("torchvision:squeezenet1_1:size=64")
    assert encoder.name == "torchvision-squeezenet1_1-size64"
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(encoder.embed(images), net.features(images).mean((2, 3)))


def test_weights_that_cannot_be_downloaded_say_where_to_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import timm

    def unreachable(*args: object, **kwargs: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(CheckpointError, match=r"not known.*put the file resnet18-\w+\.pth into .*checkpoints"):
        load_encoder("torchvision:resnet18")
    create = timm.create_model

    def offline(name: str, pretrained: bool = False, **kwargs: Any) -> Any:
        return unreachable() if pretrained else create(name, **kwargs)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(CheckpointError, match=r"not known.*FILE\.safetensors:arch=timm:resnet10t"):
        load_encoder("timm:resnet10t")


def test_a_file_of_another_architecture_is_named(tmp_path: Path) -> None:
    encoder = save(tmp_path / "mine.pt")
    content = torch.load(tmp_path / "mine.pt", weights_only=True)
    cases = [
        ({"arch": "resnet19"}, "mine.pt: Unknown architecture 'resnet19'. Did you mean resnet18"),
        ({"arch": "resnet34"}, "which says it holds resnet34:width=0.125.*look like resnet18:width=0.125"),
        ({"arch_options": {"stem": "cifar"}}, "holds resnet18:stem=cifar.*Of another shape"),
        ({"preprocess": {"size": 32}}, "mine.pt: 'mean'"),
        ({"preprocess": {"size": -1, "mean": [0, 0, 0], "std": [1, 1, 1]}}, "size of an encoder's images is -1"),
        ({"state_dict": None}, "no proper 'state_dict'"),
        ({"format": "virb-encoder/9"}, "has the format 'virb-encoder/9'"),
    ]
    for change, message in cases:
        torch.save({**content, **change}, tmp_path / "mine.pt")
        with pytest.raises(CheckpointError, match=message):
            load_encoder(tmp_path / "mine.pt")
    torch.save(content, tmp_path / "mine.pt")
    assert load_encoder(f"{tmp_path / 'mine.pt'}:arch=resnet18").identity == encoder.identity
    with pytest.raises(CheckpointError, match=r"holds resnet18:width=0\.125, not resnet50"):
        load_encoder(f"{tmp_path / 'mine.pt'}:arch=resnet50")


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("nothing", CheckpointError, "no file and no encoder called 'nothing'"),
        ("no/such/file", CheckpointError, "There is no file no.such.file"),
        ("such.pth.tar", CheckpointError, r"There is no file such\.pth\.tar"),
        ("such.pth.tar:size=32", CheckpointError, r"There is no file such\.pth\.tar"),
        ("random:resnt18", UsageError, "Did you mean resnet18"),
        ("random:", UsageError, "Unknown architecture ''"),
        ("random:resnet18:widht=1", UsageError, "Did you mean width"),
        ("random:resnet18:seed=x", UsageError, "seed is 'x'; expected a whole number"),
        (f"random:resnet18:seed={2**64}", UsageError, "more than PyTorch's generator takes"),
        ("", UsageError, "'' names no encoder"),
        (":size=32", UsageError, "':size=32' names no encoder"),
        ("random:resnet18:mean=123/116/103", UsageError, "not of images in 0 to 1"),
        ("random:resnet18:seed=1,seed=2", UsageError, "given twice"),
        ("random:resnet18:seed=1,wide", UsageError, "cannot read the option 'wide'"),
        ("random:resnet18:size=0", UsageError, "expected 1 to 8192"),
        ("random:resnet18:mean=1/2", UsageError, "expected three numbers"),
        ("pixels:many", UsageError, "grid is 'many'"),
        ("pixel", CheckpointError, "no encoder called 'pixel'"),
        ("pixelsize", CheckpointError, "Did you mean pixels"),
        ("timm:resnet10tt", UsageError, "Did you mean timm:resnet10t"),
        ("torchvision:resnet19", UsageError, "Did you mean torchvision:resnet18"),
        ("torchvision:resnet18:weights=V9", UsageError, "expected IMAGENET1K_V1"),
    ],
)
def test_what_cannot_be_loaded_is_explained(source: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_encoder(source)


def test_options_are_split_at_the_first_key() -> None:
    assert split_source("timm:hf-hub:timm/resnet18.a1_in1k") == ("timm:hf-hub:timm/resnet18.a1_in1k", {})
    assert split_source("f.pth:arch=timm:resnet18,size=64") == ("f.pth", {"arch": "timm:resnet18", "size": "64"})
    assert split_source("pixels?grid=8&size=64") == ("pixels", {"grid": "8", "size": "64"})


@given(st.text(max_size=300))
def test_any_name_becomes_a_folder_name(text: str) -> None:
    name = safe_name(text)
    assert 0 < len(name) <= 108
    assert len(name.encode()) <= 200
    assert name.isprintable()
    assert not set(name) & set('/\\:*?"<>| \0=')
    assert name[0] not in ".-"
    assert name[-1] != "."
    assert safe_name(name) == name


def test_names_of_every_script_stay_apart() -> None:
    names = ["\u732b", "\u72ac", "\u0915\u093f", "\u0915\u0940", "\u043a\u043e\u0442", "caf\u00e9"]
    assert [safe_name(name) for name in names] == names
    assert safe_name("cafe\u0301") == "caf\u00e9"  # the other spelling of the same letters
    assert len({safe_name("\u732b" * n) for n in range(1, 300)}) == 299


def test_patterns_that_no_shell_expanded(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.pth", "a.pth", "other.txt", "[x].pth"):
        (tmp_path / name).write_bytes(b"")
    assert expand_sources(["*.pth"]) == ["[x].pth", "a.pth", "b.pth"]
    assert expand_sources(["?.pth:size=64", "[x].pth", "random:resnet18"]) == [
        "a.pth:size=64",
        "b.pth:size=64",
        "[x].pth",
        "random:resnet18",
    ]
    with pytest.raises(UsageError, match=r"The pattern none/\*\.pt matches no file"):
        expand_sources(["none/*.pt"])


def test_reserved_names_are_avoided() -> None:
    assert safe_name("nul") == "encoder-nul"
    assert safe_name("COM1.x") == "encoder-COM1.x"
    assert safe_name("../..").startswith("encoder-")
    assert safe_name("../..") != safe_name("...")
    assert safe_name("a/../b") == "a-..-b"


def test_threads_that_load_at_once_get_the_weights_of_their_seeds():
    from concurrent.futures import ThreadPoolExecutor

    names = [f"random:resnet18:width=0.125,size=32,seed={seed}" for seed in (0, 1, 2, 3) * 3]
    expected = {name: load_encoder(name).sha256 for name in set(names)}
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda name: load_encoder(name).sha256, names)) == [expected[name] for name in names]

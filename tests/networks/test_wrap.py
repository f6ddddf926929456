"""Any module is an encoder: its embedding and maps are measured, its code is a part of what it is."""

from __future__ import annotations

import copy
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import virb
from virb.errors import CheckpointError, UsageError
from virb.networks.backbones import build_backbone
from virb.networks.encoder import FrozenEncoder
from virb.networks.preprocess import Preprocess


def small(stride: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16))


class Transformer(nn.Module):
    """Patches of 8, a class token and two registers, three blocks; it returns all tokens."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.prefix = nn.Parameter(torch.randn(1, 3, 16))
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.cat([self.prefix.expand(len(x), -1, -1), self.patches(x).flatten(2).transpose(1, 2)], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = small()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        found = self.body(x)
        return {"last": found, "pooled": found.amax((2, 3))}


def test_a_module_is_an_encoder_in_one_line() -> None:
    net = small().eval()
    encoder = virb.wrap(net, name="mine", size=32)
    assert (encoder.name, encoder.dim, encoder.strides, encoder.channels) == ("mine", 16, (2, 4), (8, 16))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(encoder.embed(x), net(x).mean((2, 3)))
        torch.testing.assert_close(encoder.pyramid(x)[1], net(x))
        torch.testing.assert_close(encoder.pyramid(x)[0], net[:2](x))
    assert [m.shape[2:] for m in encoder.pyramid(torch.randn(1, 3, 40, 24))] == [(20, 12), (10, 6)]
    net[0].weight.data.zero_()
    assert encoder.embed(x).abs().sum() > 0  # a copy


@pytest.mark.parametrize(("stride", "padding", "offset"), [(2, 1, 0.0), (2, 0, 1.0), (4, 1, 0.0)])
def test_strides_and_offsets_are_measured(stride: int, padding: int, offset: float) -> None:
    """The centre of cell 0 of a 3 x 3 convolution is at pixel 1 - padding."""
    torch.manual_seed(1)
    conv = nn.Conv2d(3, 64, 3, stride, padding)
    encoder = virb.wrap(conv, size=32)
    assert encoder.strides == (stride,)
    assert encoder.offsets_at() == (offset,)


def test_a_transformers_tokens_become_maps_without_its_prefix() -> None:
    net = Transformer().eval()
    encoder = virb.wrap(net, size=32, features="cls")
    assert (encoder.dim, encoder.strides, encoder.channels) == (16, (8,) * 3, (16,) * 3)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        tokens = net(x)
        torch.testing.assert_close(encoder.embed(x), tokens[:, 0])
        torch.testing.assert_close(encoder.pyramid(x)[-1], tokens[:, 3:].transpose(1, 2).reshape(2, 16, 4, 4))
    with pytest.raises(UsageError, match=r"gives tokens .* features='cls'"):
        virb.wrap(net, size=32)


def test_features_name_a_pooling_a_layer_a_key_or_a_function() -> None:
    net, x = Named().eval(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        layer = net.body[1](net.body[0](x))
        for features, expected in (
            ("pooled", net(x)["pooled"]),
            ("body.1", layer.mean((2, 3))),
            ("body.1:flatten", layer.flatten(1)),
            (lambda module, images: module.body(images).amin((2, 3)), net.body(x).amin((2, 3))),
        ):
            torch.testing.assert_close(virb.wrap(net, size=32, features=features).embed(x), expected)
    for features, message in ((None, "returns last, pooled: say which"), ("body.9:mean", "no layer 'body.9'")):
        with pytest.raises(UsageError, match=message):
            virb.wrap(net, size=32, features=features)
    with pytest.raises(UsageError, match="neither a pooling"):
        virb.wrap(small(), size=32, features="nothing")


def test_maps_name_layers_or_none() -> None:
    encoder = virb.wrap(small(), size=32, maps=["0"])
    assert encoder.strides == (2,)
    encoder = virb.wrap(small(), size=32, maps=lambda net, x: [net(x)])
    assert (encoder.strides, encoder.channels) == ((4,), (16,))
    encoder = virb.wrap(small(), size=32, maps=[])
    assert encoder.dim == 16
    with pytest.raises(UsageError, match=r"shows no maps\. Name the layers"):
        encoder.pyramid(torch.zeros(1, 3, 32, 32))
    with pytest.raises(UsageError, match="no layer 'body'"):
        virb.wrap(small(), size=32, maps=["body"])


def test_modules_that_cannot_be_encoders_say_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"does not take images \(N, 3, 32, 32\).*size="):
        virb.wrap(nn.Conv2d(4, 8, 3), size=32)
    with pytest.raises(UsageError, match=r"takes a torch\.nn\.Module; found int"):
        virb.wrap(3)  # type: ignore[arg-type]


# -- identity


class Scaled(nn.Module):
    def __init__(self, scale: float = 1.0, *, table: Tensor | None = None) -> None:
        super().__init__()
        self.body = small()
        self.scale, self.table = scale, torch.ones(1) if table is None else table

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x * self.scale) * self.table


class Blind(Scaled):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * 0)


def identity(module: nn.Module, **options: Any) -> str:
    return virb.wrap(module, size=32, **options).identity


def test_equal_modules_are_equal_and_whatever_decides_makes_another() -> None:
    base = identity(Scaled())
    assert base == identity(Scaled()) == identity(copy.deepcopy(Scaled())) == identity(Scaled(), name="other")
    hooked, patched = Scaled(), Scaled()
    hooked.body.register_forward_hook(lambda module, inputs, output: output * 0)
    patched.forward = lambda x: patched.body(x) * 2  # type: ignore[method-assign]
    others = [
        identity(Scaled(2.0)),
        identity(Scaled(table=torch.zeros(1))),
        identity(Blind()),
        identity(hooked),
        identity(patched),
        identity(Scaled(), features="body:flatten"),
        identity(Scaled(), features=lambda net, x: net(x).mean((2, 3))),
        identity(Scaled(), features=lambda net, x: net(x).amax((2, 3))),
        identity(Scaled(), maps=["body.0"]),
        identity(Scaled(), mean=(0.5, 0.5, 0.5)),
    ]
    assert len({base, *others}) == 1 + len(others)


def test_a_layers_settings_that_no_weight_shows_count() -> None:
    one, two = small(), small()
    two[0].dilation, two[0].padding = (2, 2), (2, 2)
    assert identity(one) != identity(two)


def test_a_built_network_with_another_forward_is_another() -> None:
    def encoder(net: Any) -> FrozenEncoder:
        return FrozenEncoder(net, name="x", arch="resnet18", arch_options={"width": 0.125}, preprocess=Preprocess(32))

    def make() -> Any:
        return virb.load_encoder("random:resnet18:width=0.125").trainable_copy()

    class Dark(type(make())):  # type: ignore[misc]
        def features(self, x: Tensor) -> Any:
            return super().features(x * 0)

    sees, dark, pooled = make(), make(), make()
    dark.__class__ = Dark
    pooled.maxpool = nn.Identity()
    loaded = virb.load_encoder("random:resnet18:width=0.125,size=32")
    assert encoder(sees).identity == loaded.identity
    assert encoder(sees).identity_parts["code"] == ""
    assert len({encoder(net).identity for net in (sees, dark, pooled)}) == 3


def test_the_parts_of_an_identity_are_told() -> None:
    parts = virb.load_encoder("random:resnet18:width=0.125,size=32").identity_parts
    assert parts["architecture"] == {"name": "resnet18", "options": {"width": 0.125, "stem": "imagenet"}}
    assert parts["preprocess"]["size"] == 32
    assert (parts["code"], parts["features"]) == ("", "embedding")
    assert len(parts["tensors"]) == 64


CODE = """
import torch
from torch import nn
from helper import SCALE

class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, 2, 1)
    def forward(self, x):
        return self.conv(x * SCALE)

def make(width: int = 8):
    return Net(width)

def encoder():
    import virb
    return virb.wrap(Net(4), size=16, meta={"method": "mine"})

def fails():
    raise KeyError("weights")

def text():
    return "resnet18"
"""


def write(folder: Path, scale: int = 1, code: str = CODE) -> Path:
    (folder / "net.py").write_text(code)
    (folder / "helper.py").write_text(f"SCALE = {scale}\n")
    return folder / "net.py"


def test_a_function_of_a_file_makes_an_encoder(tmp_path: Path) -> None:
    file = write(tmp_path)
    encoder = virb.load_encoder(f"{file}:make:size=16,width=12,role=supervised,method=mine")
    assert (encoder.name, encoder.dim, encoder.preprocess.size) == ("net-make-size16-width12", 12, 16)
    assert (encoder.meta["role"], encoder.meta["method"]) == ("supervised", "mine")
    assert virb.load_encoder(encoder.source or "").identity == encoder.identity
    assert virb.load_encoder(f"{file}:encoder").meta["method"] == "mine"
    assert virb.load_encoder(f"{file}:make:features=conv:flatten,maps=none").strides == ()
    for spec, error, message in (
        ("nothing", CheckpointError, "defines no function 'nothing'"),
        ("fails", CheckpointError, "failed: KeyError"),
        ("text", UsageError, "returns str; expected a torch.nn.Module"),
        ("make:depth=3", UsageError, "takes no option 'depth'"),
        ("make:width=x", UsageError, "width is 'x'; expected int"),
    ):
        with pytest.raises(error, match=message):
            virb.load_encoder(f"{file}:{spec}")
    with pytest.raises(CheckpointError, match="There is no file"):
        virb.load_encoder(f"{tmp_path}/other.py:make")
    (tmp_path / "exits.py").write_text("raise SystemExit(3)")
    with pytest.raises(CheckpointError, match="does not load: SystemExit"):
        virb.load_encoder(f"{tmp_path}/exits.py:make")


@pytest.mark.slow
def test_its_identity_is_the_same_in_every_process_until_the_code_changes(tmp_path: Path) -> None:
    def found(folder: Path) -> str:
        code = f"import virb; print(virb.load_encoder({str(folder / 'net.py')!r} + ':make:size=16').identity)"
        return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
    first = found(tmp_path / "a")
    assert first == found(tmp_path / "b")  # other places, the same content
    write(tmp_path / "b", scale=2)  # of the file that it imports
    assert found(tmp_path / "b") != first
    write(tmp_path / "a", code=CODE.replace("self.conv(x * SCALE)", "self.conv(x * SCALE) * 0"))
    assert found(tmp_path / "a") != first


def test_code_without_source_is_known_by_what_was_compiled() -> None:
    def made(body: str) -> nn.Module:
        space: dict[str, Any] = {"nn": nn, "__name__": "__main__"}
        exec(textwrap.dedent(f"""
            class Net(nn.Module):
                def forward(self, x):
                    return {body}
        """), space)  # fmt: skip
        return space["Net"]()

    assert identity(made("x[:, :, ::2, ::2]")) == identity(made("x[:, :, ::2, ::2]"))
    assert identity(made("x[:, :, ::2, ::2]")) != identity(made("x[:, :, ::2, ::2] * 0"))


# -- what goes in


def test_an_image_a_path_or_an_array_may_be_embedded(tmp_path: Path) -> None:
    encoder = virb.load_encoder("random:resnet18:width=0.125,size=32")
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    expected = encoder.embed(encoder.prepare(torch.from_numpy(pixels)[None]))
    for image in (pixels, Image.fromarray(pixels), tmp_path / "x.png", str(tmp_path / "x.png"), pixels[None]):
        assert torch.equal(encoder.embed(image), expected)
    assert encoder.embed([pixels, tmp_path / "x.png"]).shape == (2, encoder.dim)
    for image in (pixels / 255, 3, pixels[..., 0]):
        with pytest.raises(UsageError, match=r"takes an image \(Pillow's, a path, or an array uint8"):
            encoder.embed(image)


def test_evaluate_takes_one_module_or_one_name(tmp_path: Path) -> None:
    for encoders in (small(), [small()], "pixels:2:size=8"):
        table = virb.evaluate(encoders, ["mini-digits"], out=tmp_path / "r", probe="knn", limit=20, device="cpu")
        assert len(table) == 1


# -- tokens


@pytest.mark.parametrize(
    "arch", ["vit_tiny_patch16:depth=5,image_size=32,size=32", "timm:vit_tiny_patch16_224:size=32"]
)
def test_what_is_read_off_a_transformer(arch: str) -> None:
    plain = virb.load_encoder(f"random:{arch}")
    x = torch.randn(2, 3, 32, 32)
    cls = virb.load_encoder(f"random:{arch},pool=cls")
    mean = virb.load_encoder(f"random:{arch},pool=mean,layers=last")
    both = virb.load_encoder(f"random:{arch},pool=cls+mean")
    four = virb.load_encoder(f"random:{arch},layers=last4")
    third = virb.load_encoder(f"random:{arch},layers=3")
    torch.testing.assert_close(cls.embed(x), plain.embed(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(both.embed(x), torch.cat([cls.embed(x), mean.embed(x)], 1))
    torch.testing.assert_close(four.embed(x)[:, -192:], cls.embed(x))
    assert (both.dim, four.dim, third.dim) == (384, 768, 192)
    assert len({e.identity for e in (plain, mean, both, four, third)}) == 5
    assert mean.name.endswith("layerslast-poolmean-size32")
    if not arch.startswith("timm"):  # whose last map is not normalised
        torch.testing.assert_close(mean.embed(x), mean.pyramid(x)[-1].mean((2, 3)), atol=1e-5, rtol=1e-5)
    assert torch.equal(mean.pyramid(x)[-1], plain.pyramid(x)[-1])
    with pytest.raises(UsageError, match="a block's number from 1"):
        virb.load_encoder(f"random:{arch},layers=99")


def test_only_transformers_have_tokens() -> None:
    with pytest.raises(UsageError, match="is no transformer with tokens"):
        virb.load_encoder("random:resnet18:width=0.125,pool=cls")


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "eva02_tiny_patch14_224"])
def test_patches_that_do_not_divide_the_image_are_padded(name: str) -> None:
    net = build_backbone(f"timm:{name}").eval()
    with torch.no_grad():
        embedding, maps = net.features(torch.randn(1, 3, 50, 75))
    assert torch.isfinite(embedding).all()
    assert maps[-1].shape[2:] == (-(-50 // net.strides[-1]), -(-75 // net.strides[-1]))


# -- preprocessing belongs to the weights


def test_a_file_of_timms_network_is_prepared_as_timm_says(tmp_path: Path) -> None:
    net = build_backbone("timm:vit_tiny_patch16_224.augreg_in21k")
    torch.save({key.removeprefix("net."): value for key, value in net.state_dict().items()}, tmp_path / "x.pth")
    encoder = virb.load_encoder(f"{tmp_path / 'x.pth'}:arch=timm:vit_tiny_patch16_224.augreg_in21k")
    assert encoder.preprocess == Preprocess(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert "timm's configuration" in str(encoder.report)
    torch.save({"state_dict": virb.load_encoder("random:resnet18:width=0.125").state_dict()}, tmp_path / "y.pth")
    assert "the file does not say how" in str(virb.load_encoder(tmp_path / "y.pth").report)

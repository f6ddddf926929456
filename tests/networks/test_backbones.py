"""Backbones: torchvision's names and numbers, true strides, dilation that keeps the weights, any input size."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from torch import nn
from torchvision import models

from virb.errors import UsageError
from virb.networks.backbones import build_backbone, canonical_architecture, spell_architecture
from virb.networks.base import Backbone
from virb.networks.families.members import RESNET_NAME
from virb.networks.families.resnet import RESNETS
from virb.networks.folding import FoldedConv2d, fold_batchnorm


def scramble(net: nn.Module, seed: int = 0) -> nn.Module:
    """Give every BatchNorm statistics and scales as training would leave them."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            n = module.num_features
            module.running_mean.copy_(torch.randn(n, generator=generator) * 0.3)
            module.running_var.copy_(torch.rand(n, generator=generator) + 0.5)
            with torch.no_grad():
                module.weight.copy_(torch.rand(n, generator=generator) + 0.5)
                module.bias.copy_(torch.randn(n, generator=generator) * 0.2)
    return net.eval()


@pytest.mark.parametrize("name", RESNETS)
def test_a_resnet_has_torchvisions_names_and_shapes_without_fc(name: str) -> None:
    with torch.device("meta"):
        ours, theirs = build_backbone(name), models.get_model(name, weights=None)
    expected = {key: value.shape for key, value in theirs.state_dict().items() if not key.startswith("fc.")}
    assert {key: value.shape for key, value in ours.state_dict().items()} == expected
    assert list(ours.state_dict()) == list(expected)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_resnet_computes_what_torchvisions_does(name: str) -> None:
    theirs = scramble(models.get_model(name, weights=None))
    ours = build_backbone(name).eval()
    ours.load_state_dict({key: value for key, value in theirs.state_dict().items() if not key.startswith("fc.")})
    theirs.fc = nn.Identity()
    images = torch.randn(2, 3, 75, 50)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images))


def test_initial_weights_are_distributed_as_torchvisions() -> None:
    torch.manual_seed(3)
    theirs = models.resnet18().state_dict()
    torch.manual_seed(3)
    ours = build_backbone("resnet18").state_dict()
    assert ours["bn1.weight"].unique().tolist() == [1.0]
    # torchvision draws fc's default weights too, so only the distribution can be compared
    for key in ("conv1.weight", "layer4.1.conv2.weight"):
        assert ours[key].std().item() == pytest.approx(theirs[key].std().item(), rel=0.05)


@pytest.mark.parametrize(
    ("width", "channels"), [(0.125, (8, 8, 16, 32, 64)), (0.25, (16, 16, 32, 64, 128)), (2, (128, 128, 256, 512, 1024))]
)
def test_width_multiplies_the_channels(width: float, channels: tuple[int, ...]) -> None:
    with torch.device("meta"):
        net = build_backbone("resnet18", width=width)
    assert net.channels == channels
    assert net.dim == channels[-1]


@pytest.mark.parametrize(
    ("arch", "options", "strides"),
    [
        ("resnet18", {"width": 0.125}, (2, 4, 8, 16, 32)),
        ("resnet50", {"width": 0.125}, (2, 4, 8, 16, 32)),
        ("resnet18", {"width": 0.125, "stem": "cifar"}, (1, 1, 2, 4, 8)),
        ("pixels", {}, (2, 4, 8, 16, 32)),
        ("vit_tiny_patch16", {"depth": 4, "image_size": 64}, (16, 16, 16, 16)),
        ("vit_tiny_patch8", {"depth": 2, "image_size": 32}, (8, 8)),
    ],
)
@pytest.mark.parametrize("size", [(64, 64), (97, 50), (33, 70)])
def test_the_pyramid_has_the_declared_shapes_at_any_size(
    arch: str, options: dict[str, object], strides: tuple[int, ...], size: tuple[int, int]
) -> None:
    net = build_backbone(arch, **options).eval()
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        embedding, maps = net.features(images)
        torch.testing.assert_close(net.embed(images), embedding)
        again = net.pyramid(images)
    assert net.strides == strides
    assert embedding.shape == (2, net.dim)
    for item, other, channels, stride in zip(maps, again, net.channels, strides, strict=True):
        assert item.shape == (2, channels, math.ceil(size[0] / stride), math.ceil(size[1] / stride))
        torch.testing.assert_close(item, other)


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
@pytest.mark.parametrize("output_stride", [16, 8])
@pytest.mark.parametrize("size", [(64, 64), (75, 41)])
def test_dilation_only_fills_in_between(arch: str, output_stride: int, size: tuple[int, int]) -> None:
    """A dilated map taken at every k-th place is exactly the strided map: same weights, denser output."""
    net = scramble(build_backbone(arch, width=0.125)).double()  # so that rounding does not blur "exactly"
    before = {key: value.clone() for key, value in net.state_dict().items()}
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        plain, dilated = net.pyramid(images), net.pyramid(images, output_stride)
    strides = net.strides_at(output_stride)
    assert strides == tuple(min(stride, output_stride) for stride in net.strides)
    for item, dense, old, new in zip(plain, dilated, net.strides, strides, strict=True):
        step = old // new
        assert dense.shape[2:] == (math.ceil(size[0] / new), math.ceil(size[1] / new))
        torch.testing.assert_close(dense[..., ::step, ::step], item, rtol=1e-9, atol=1e-9)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_impossible_output_strides_are_refused() -> None:
    with pytest.raises(UsageError, match="power of two"):
        build_backbone("resnet18", width=0.125).pyramid(torch.zeros(1, 3, 32, 32), 12)
    vit = build_backbone(
        "vit_tiny_patch32", depth=1, image_size=64
    )  # its maps stay as they are: the head sets its rates
    assert vit.strides_at(16) == vit.strides == (32,)
    assert vit.pyramid(torch.zeros(1, 3, 64, 64), 16)[-1].shape[2:] == (2, 2)


@pytest.mark.parametrize("name", ["resnet10t", "efficientnet_b0", "convnext_atto", "regnetx_002"])
def test_convolutional_networks_of_timm_are_dilated_with_the_same_weights(name: str) -> None:
    net = build_backbone(f"timm:{name}").eval()
    x = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        plain, dense = net.pyramid(x), net.pyramid(x, 16)
    assert net.strides_at(16) == tuple(min(stride, 16) for stride in net.strides)
    assert [m.shape[1] for m in plain] == [m.shape[1] for m in dense]
    for old, new, stride in zip(plain, dense, net.strides, strict=True):
        if stride <= 16:
            assert torch.equal(old, new)
    assert dense[-1].shape[2] == 6
    names = list(net.state_dict())
    net.to(torch.float64)  # what shares its tensors follows
    with torch.no_grad():
        assert net.pyramid(x.double(), 16)[-1].dtype == torch.float64
    assert names == list(net.state_dict())


def test_pixels_are_the_image_averaged() -> None:
    net = build_backbone("pixels", grid=2)
    image = torch.arange(3 * 16.0).reshape(1, 3, 4, 4)
    quarters = [[2.5, 4.5, 10.5, 12.5], [18.5, 20.5, 26.5, 28.5], [34.5, 36.5, 42.5, 44.5]]
    assert net.embed(image).reshape(3, 4).tolist() == quarters
    maps = net.pyramid(image)
    assert maps[0].reshape(3, 4).tolist() == quarters
    assert maps[1].flatten().tolist() == [7.5, 23.5, 39.5]
    assert not list(net.parameters())


def test_folding_batchnorm_changes_rounding_only() -> None:
    for arch in ("resnet18", "resnet50"):
        net = scramble(build_backbone(arch, width=0.25))
        images = torch.randn(2, 3, 64, 64)
        with torch.no_grad():
            before = net.features(images)
            n_norms = sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())
            assert fold_batchnorm(net) == n_norms
            after = net.features(images)
        for old, new in zip([before[0], *before[1]], [after[0], *after[1]], strict=True):
            assert (old - new).abs().max() <= 1e-5 * old.abs().max()
        assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (1, 2, 0), (7, 2, 3), (3, 1, (1, 2))])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 2), (2, 2), (2, 4), (5, 5)])
def test_a_folded_convolution_of_a_small_map_is_the_same_function(
    kernel: int, stride: int, padding: int | tuple[int, int], height: int, width: int
) -> None:
    conv = nn.Conv2d(8, 12, kernel, stride, padding, bias=False)
    norm = scramble(nn.Sequential(nn.BatchNorm2d(12)))[0]
    x = torch.randn(3, 8, height, width).to(memory_format=torch.channels_last)
    folded = FoldedConv2d(conv, norm)
    with torch.no_grad():
        expected = norm(conv(x))
        found = folded(x)
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
        assert found.is_contiguous(memory_format=torch.channels_last)
        # a changed type is not answered with the weights of the one before
        torch.testing.assert_close(folded.double()(x.double()).float(), found)


def test_gradients_reach_every_weight() -> None:
    for arch, options in (("resnet18", {"width": 0.125}), ("vit_tiny_patch16", {"depth": 2, "image_size": 32})):
        net = build_backbone(arch, **options).train()
        embedding, maps = net.features(torch.randn(4, 3, 32, 32))
        (embedding.square().sum() + sum(item.square().sum() for item in maps)).backward()
        assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in net.parameters())


def test_the_vits_embedding_is_timms_class_token() -> None:
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    net = build_backbone("vit_tiny_patch16", depth=2, image_size=48).eval()
    theirs = VisionTransformer(img_size=48, embed_dim=192, depth=2, num_heads=3, num_classes=0).eval()
    theirs.load_state_dict(net.state_dict())
    images = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(net(images), theirs(images))
        mean = build_backbone("vit_tiny_patch16", depth=2, image_size=48, pool="avg").eval()
        mean.load_state_dict(net.state_dict())
        torch.testing.assert_close(mean(images), net.pyramid(images)[-1].mean((2, 3)))


@pytest.mark.parametrize(
    ("arch", "strides"),
    [
        ("timm:resnet10t", (2, 4, 8, 16, 32)),
        ("timm:convnext_atto", (4, 8, 16, 32)),
        ("torchvision:mobilenet_v3_small", (2, 4, 8, 16, 32)),
        ("torchvision:squeezenet1_1", (2, 4, 8, 16)),
    ],
)
def test_a_librarys_network_has_the_same_interface(arch: str, strides: tuple[int, ...]) -> None:
    net = build_backbone(arch).eval()
    with torch.no_grad():
        embedding, maps = net.features(torch.randn(2, 3, 97, 70))
    assert isinstance(net, Backbone)
    assert embedding.shape == (2, net.dim)
    assert net.strides == strides
    assert tuple(item.shape[1] for item in maps) == net.channels


def test_the_embedding_is_what_the_librarys_classifier_reads() -> None:
    theirs = models.mobilenet_v3_small().eval()
    ours = build_backbone("torchvision:mobilenet_v3_small").eval()
    state = {f"net.{key}": value for key, value in theirs.state_dict().items() if not key.startswith("classifier.3")}
    ours.load_state_dict(state)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(theirs.classifier[3](ours(images)), theirs(images))


def test_a_size_that_a_network_cannot_take_is_an_error_of_ours() -> None:
    net = build_backbone("timm:resmlp_12_224").eval()
    with pytest.raises(UsageError, match="made for 224 x 224"):
        net.features(torch.randn(1, 3, 97, 70))


def test_architectures_are_canonical() -> None:
    assert canonical_architecture("torchvision:resnet18") == ("resnet18", {"width": 1.0, "stem": "imagenet"})
    assert canonical_architecture("resnet18", {"width": "0.25"})[1]["width"] == 0.25
    assert canonical_architecture("resnet18", {"width": 0.26}) == canonical_architecture("resnet18", {"width": 0.25})
    assert spell_architecture("resnet18", {"width": 0.25, "stem": "cifar"}) == "resnet18:width=0.25,stem=cifar"
    assert spell_architecture("resnet18", {}) == "resnet18"
    assert build_backbone("resnet18", width=0.125).label == "resnet18:width=0.125"


@pytest.mark.parametrize(
    ("arch", "options", "message"),
    [
        ("resnet19", {}, "Did you mean resnet18"),
        ("timm:", {}, "Unknown architecture"),
        ("timm:resnet10tt", {}, "Did you mean timm:resnet10t"),
        ("torchvision:mobilenet_v3_smal", {}, "Did you mean torchvision:mobilenet_v3_small"),
        ("torchvision:fcn_resnet50", {}, "no classifier"),
        ("resnet18", {"widht": 1}, "Did you mean width"),
        ("resnet18", {"width": "wide"}, "expected float"),
        ("resnet18", {"width": 0}, "above 0"),
        ("resnet18", {"width": float("nan")}, "above 0"),
        ("resnet18", {"stem": "mnist"}, "imagenet or cifar"),
        ("pixels", {"grid": 0}, "from 1 to 256"),
        ("pixels", {"grid": 2.5}, "expected int"),
        ("vit_tiny_patch16", {"heads": 5}, "must divide"),
        ("vit_tiny_patch16", {"pool": "max"}, "token or avg"),
    ],
)
def test_bad_names_and_options_say_what_is_expected(arch: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_backbone(arch, **options)


def test_every_named_resnet_is_known_by_its_name_alone() -> None:
    assert [name for name in RESNETS if not RESNET_NAME.fullmatch(name)] == []
    assert not RESNET_NAME.fullmatch("resnet")


def test_a_name_imports_what_it_needs_and_no_more() -> None:
    """A ResNet needs no timm, whose import takes seconds."""
    code = (
        "import sys; from virb.networks.backbones import build_backbone; build_backbone('resnet18', width=0.125); "
        "build_backbone('pixels'); print([name for name in ('timm', 'torchvision.models') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

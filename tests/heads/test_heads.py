"""The heads: shapes on any pyramid, parameter counts by hand, gradients, and weights that depend on the seed alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from virb.errors import UsageError
from virb.heads import build_head
from virb.heads.deeplabv3plus import DeepLabV3PlusDecoder
from virb.heads.layers import BatchNorm2d, Doubling, n_doublings

HEADS = ("linear", "fusion", "unet", "siamese_unet", "deeplabv3plus")
NARROW = ((8, 8, 16, 32, 64), (2, 4, 8, 16, 32))
PYRAMIDS = {
    "resnet": NARROW,
    "resnet dilated": ((8, 8, 16, 32, 64), (2, 4, 8, 16, 16)),
    "cifar stem": ((8, 8, 16, 32, 64), (1, 1, 2, 4, 8)),
    "three levels": ((16, 32, 64), (8, 16, 32)),
    "vit": ((24, 24, 24, 24), (16, 16, 16, 16)),
    "vit 14": ((24, 24, 24, 24), (14, 14, 14, 14)),
    "one level": ((24,), (16,)),
    "skips a stride": ((8, 32), (4, 16)),
}


def pyramid(channels, strides, size, n=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    h, w = size
    return [
        torch.randn(n, c, -(-h // s), -(-w // s), generator=generator).requires_grad_()
        for c, s in zip(channels, strides, strict=True)
    ]


def call(kind, head, maps, size):
    return head(maps, maps, size) if kind == "siamese_unet" else head(maps, size)


@pytest.mark.parametrize("kind", ["unet", "siamese_unet", "deeplabv3plus"])
@pytest.mark.parametrize("name", PYRAMIDS)
@pytest.mark.parametrize("size", [(64, 64), (45, 70)], ids=str)
def test_any_pyramid_and_size_gives_the_images_size_and_gradients(kind, name, size):
    channels, strides = PYRAMIDS[name]
    head = build_head(kind, n_out=3, channels=channels, strides=strides)
    maps = pyramid(channels, strides, size)
    output = call(kind, head, maps, size)
    assert output.shape == (2, 3, *size)
    output.square().sum().backward()
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
    # The U-Nets read every level, DeepLabv3+ the coarsest and the second (else the first).
    read = [m.grad is not None and bool(m.grad.abs().sum() > 0) for m in maps]
    if kind == "deeplabv3plus":
        fine = 1 if len(maps) >= 4 else 0
        assert read == [k in (fine, len(maps) - 1) for k in range(len(maps))]
    else:
        assert all(read)


@pytest.mark.parametrize("kind", ["unet", "siamese_unet", "deeplabv3plus"])
@pytest.mark.parametrize("side", [64, 32])
def test_a_batch_of_one_trains(kind, side):
    """Down to a single cell at the coarsest map, where BatchNorm itself refuses."""
    head = build_head(kind, n_out=2, channels=NARROW[0], strides=NARROW[1]).train()
    output = call(kind, head, pyramid(*NARROW, (side, side), n=1), (side, side))
    output.sum().backward()
    assert torch.isfinite(output).all()


def test_safe_batch_norm_is_batch_norm_where_that_is_defined():
    ours, theirs = BatchNorm2d(4), torch.nn.BatchNorm2d(4)
    x = torch.randn(3, 4, 5, 5)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.running_mean, theirs.running_mean)
    before = ours.running_var.clone()
    single = torch.randn(1, 4, 1, 1)
    assert torch.equal(ours(single), ours.eval()(single))  # the running statistics, which stay as they are
    assert torch.equal(ours.running_var, before)
    with pytest.raises(ValueError, match="more than 1 value"):
        theirs(single)


@pytest.mark.parametrize("kind", HEADS)
def test_weights_depend_on_the_seed_and_not_on_the_global_generator(kind):
    def state(seed):
        options = {
            "n_out": 3,
            "dim": 12,
            "n_frames": 1 + (kind == "fusion"),
            "channels": NARROW[0],
            "strides": NARROW[1],
        }
        return torch.cat([p.detach().flatten() for p in build_head(kind, seed=seed, **options).parameters()])

    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = state(0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(state(0), first)
    assert not torch.equal(state(1), first)


def test_linear_is_one_layer_of_d_times_k():
    head = build_head("linear", dim=5, n_out=3)
    assert sum(p.numel() for p in head.parameters()) == 5 * 3 + 3
    x = torch.randn(4, 5)
    expected = x.numpy() @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    np.testing.assert_allclose(head(x).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_fusion_is_a_layer_a_frame_then_one_over_all():
    head = build_head("fusion", dim=5, n_frames=6, n_out=4)
    assert sum(p.numel() for p in head.parameters()) == 6 * (5 * 256 + 256) + (6 * 256 * 4 + 4)
    x = torch.randn(3, 6, 5)
    parts = [
        np.maximum(x[:, k].numpy() @ f.weight.detach().numpy().T + f.bias.detach().numpy(), 0)
        for k, f in enumerate(head.frames)
    ]
    expected = np.concatenate(parts, 1) @ head.fusion.weight.detach().numpy().T + head.fusion.bias.detach().numpy()
    np.testing.assert_allclose(head(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    swapped = head(x.flip(1))
    assert not torch.allclose(swapped, head(x))  # order matters
    with pytest.raises(ValueError, match="6 frames"):
        head(x[:, :2])


def up_count(n_in, n_out, doublings):
    convs = 9 * n_in * n_out + 2 * n_out + (doublings - 1) * (9 * n_out * n_out + 2 * n_out)
    return convs + doublings * (n_out * 4 * n_out + 4 * n_out)


def test_parameter_counts_of_the_dense_heads_on_a_resnet_50_by_hand():
    channels, strides = (64, 256, 512, 1024, 2048), (2, 4, 8, 16, 32)

    def count(kind, n_out):
        head = build_head(kind, n_out=n_out, channels=channels, strides=strides)
        return sum(p.numel() for p in head.parameters())

    unet = sum(up_count(a, b, 1) for a, b in [(2048, 1024), (1024, 512), (512, 256), (256, 64), (64, 32)])
    unet += 9 * 32 * 1 + 1
    assert count("unet", 1) == unet
    fuse = sum(2 * c * c + c for c in channels)
    assert count("siamese_unet", 1) == unet + fuse

    def separable(n_in, n_out):
        return 9 * n_in + n_in * n_out

    bn = 2 * 256
    aspp = 2048 * 256 + bn + 3 * (separable(2048, 256) + bn) + 2048 * 256 + bn + 5 * 256 * 256 + bn
    decoder = separable(256, 256) + bn + 256 * 48 + 2 * 48 + separable(256 + 48, 256) + bn + 256 * 19 + 19
    assert count("deeplabv3plus", 19) == aspp + decoder


def test_the_unet_adds_each_map_as_it_is():
    """A change of a level's map arrives in the decoder at that level unchanged: the addition has no weights."""
    head = build_head("unet", n_out=1, channels=NARROW[0], strides=NARROW[1]).eval()
    seen = {}
    head.ups[0].register_forward_hook(lambda module, args, out: seen.update(up=out))
    head.to_full.register_forward_hook(lambda module, args, out: seen.update(sum=args[0]))
    maps = pyramid(*NARROW, (32, 32))
    head(maps, (32, 32))
    assert torch.equal(seen["sum"], seen["up"] + maps[0])


def test_max_width_caps_the_unet():
    capped = build_head("unet", n_out=1, channels=(64, 256, 512, 1024, 2048), strides=NARROW[1], max_width=64)
    assert sum(p.numel() for p in capped.parameters()) < 700_000
    assert build_head("unet", n_out=1, channels=NARROW[0], strides=NARROW[1], max_width=16)(
        pyramid(*NARROW, (32, 32)), (32, 32)
    ).shape == (2, 1, 32, 32)


def test_the_siamese_unet_tells_its_images_apart():
    head = build_head("siamese_unet", n_out=2, channels=NARROW[0], strides=NARROW[1]).eval()
    a, b = pyramid(*NARROW, (32, 32), seed=1), pyramid(*NARROW, (32, 32), seed=2)
    assert not torch.allclose(head(a, b, (32, 32)), head(b, a, (32, 32)))


@pytest.mark.parametrize(("stride", "rates"), [(8, (12, 24, 36)), (16, (6, 12, 18)), (32, (3, 6, 9))])
def test_deeplab_rates_keep_their_extent_in_the_image(stride, rates):
    assert DeepLabV3PlusDecoder((8, 8, 16, 32, 64), (2, 4, 8, 16, stride), (0, 0, 0, 0, 0), 2).rates == rates


@pytest.mark.parametrize(("coarsest", "width"), [(2048, 256), (512, 256), (128, 64), (16, 16)])
def test_deeplab_width_follows_the_encoder(coarsest, width):
    head = build_head("deeplabv3plus", n_out=2, channels=(8, 8, 8, 8, coarsest), strides=NARROW[1])
    assert head.out.in_channels == width


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_doubling_is_a_pixel_shuffle(layout):
    doubling = Doubling(6)
    torch.nn.init.normal_(doubling[0].weight)
    torch.nn.init.normal_(doubling[0].bias)
    x = torch.randn(2, 6, 3, 4).to(memory_format=layout).requires_grad_()
    upstream = torch.randn(2, 6, 6, 8)
    found = doubling(x)
    found_gradients = torch.autograd.grad(found, (x, *doubling.parameters()), upstream)
    expected = torch.nn.functional.pixel_shuffle(doubling[0](x), 2)
    gradients = torch.autograd.grad(expected, (x, *doubling.parameters()), upstream)
    torch.testing.assert_close(found, expected)
    for a, b in zip(found_gradients, gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_a_doubling_starts_without_a_checkerboard():
    torch.manual_seed(0)
    out = Doubling(6)(torch.randn(2, 6, 3, 4))
    assert out.shape == (2, 6, 6, 8)
    cells = out.unfold(2, 2, 2).unfold(3, 2, 2)
    assert torch.allclose(cells, cells[..., :1, :1].expand_as(cells))


def test_doublings_lead_to_the_nearest_stride():
    assert [n_doublings(a, b) for a, b in ((32, 16), (16, 16), (16, 1), (14, 1), (8, 16))] == [1, 0, 4, 4, 0]


@pytest.mark.parametrize("kind", HEADS)
def test_outputs_start_where_they_are_told(kind):
    options = {"n_out": 2, "dim": 12, "n_frames": 1 + (kind == "fusion"), "channels": NARROW[0], "strides": NARROW[1]}
    plain, moved = build_head(kind, **options).eval(), build_head(kind, initial_output=2.5, **options).eval()
    if kind in ("linear", "fusion"):
        x = torch.zeros(3, 12) if kind == "linear" else torch.zeros(3, 2, 12)
        difference = moved(x) - plain(x)
        assert torch.allclose(difference, difference[:1].expand_as(difference), atol=1e-6)
        return
    maps = pyramid(*NARROW, (32, 32))
    assert torch.allclose(call(kind, moved, maps, (32, 32)), call(kind, plain, maps, (32, 32)) + 2.5, atol=1e-5)


@pytest.mark.parametrize("kind", ["unet", "siamese_unet", "deeplabv3plus"])
def test_a_dense_head_learns_and_leaves_the_maps_alone(kind):
    """Defect 2 of the public code: its DeepLab head trained a copy of the encoder's last stage."""
    maps = [m.detach() for m in pyramid(*NARROW, (32, 32), n=4)]
    before = [m.clone() for m in maps]
    target = torch.nn.functional.interpolate(maps[1][:, :1], size=(32, 32)).gt(0).long()[:, 0]
    head = build_head(kind, n_out=2, channels=NARROW[0], strides=NARROW[1])
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(call(kind, head, maps, (32, 32)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert all(torch.equal(a, b) for a, b in zip(maps, before, strict=True))


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("mlp", {}, "Unknown head 'mlp'"),
        ("linear", {}, "needs dim"),
        ("unet", {"dim": 8}, "needs channels and strides"),
        (
            "deeplabv3plus",
            {"channels": (8,), "strides": (2,), "width": "nonsense"},
            "width='nonsense' is not of type int",
        ),
        ("deeplabv3plus", {"channels": (8,), "strides": (2,), "dropout": 1.5}, "expected at least 0 and at most"),
        ("fusion", {"dim": 8}, "takes 2 frames or more an example; found 1"),
        ("unet", {"channels": (8,), "strides": (2,), "depth": 3}, "has no option 'depth'; it has max_width"),
    ],
)
def test_bad_calls_say_what_is_wrong(kind, options, says):
    with pytest.raises(UsageError, match=says):
        build_head(kind, n_out=2, **options)


def test_a_pyramid_of_another_encoder_is_refused():
    head = build_head("unet", n_out=1, channels=NARROW[0], strides=NARROW[1])
    with pytest.raises(ValueError, match="fine to coarse; found"):
        head(pyramid((16, 32, 64), (8, 16, 32), (32, 32)), (32, 32))

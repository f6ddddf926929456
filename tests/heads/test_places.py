"""Heads put what a cell knows where the cell is: maps of positions come out as the positions, at every size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import virb
from virb.contracts.examples import Examples
from virb.contracts.task import Protocol
from virb.heads import build_head
from virb.heads.layers import ConvBlock, Doubling
from virb.images.geometry import centred
from virb.images.sets import ArrayImages
from virb.probes import dense, dense_sources

# Strides and offsets.
NETWORKS = {
    "resnet": ((2, 4, 8, 16, 32), (0,) * 5),
    "dilated to 16": ((2, 4, 8, 16, 16), (0,) * 5),
    "dilated to 8": ((2, 4, 8, 8, 8), (0,) * 5),
    "cifar stem": ((1, 1, 2, 4, 8), (0,) * 5),
    "average pools": ((2, 4, 8, 16, 32), (0, 1, 3, 7, 15)),
    "patches": ((4, 8, 16, 32), centred((4, 8, 16, 32))),
    **{f"vit {patch}": ((patch,) * 4, centred((patch,) * 4)) for patch in (8, 14, 16, 32)},
}
SIZES = (33, 64, 97, 224, 321, 513, 600)
FAR = 64.0  # added to positions, so that no ReLU meets a negative one


def positions(stride, offset, size):
    """A map (1, 2, h, w) of its cells' rows and columns in an image of (h, w) pixels, on whole cells."""
    rows, columns = (offset + stride * torch.arange(-(-side // stride)) for side in size)
    return torch.stack([rows[:, None].expand(-1, len(columns)), columns[None].expand(len(rows), -1)])[None] + FAR


def errors(found, stride, offset, size):
    """The largest distance (pixels) between a position and what is said of it, between the first and the last cell."""
    worst = 0.0
    for axis, side in enumerate(size):
        first, last = offset, offset + stride * (-(-side // stride) - 1)
        place = torch.arange(side, dtype=torch.float32)
        inside = (place >= first) & (place <= last)
        said = found[0, axis] - FAR
        off = (said - (place[:, None] if axis == 0 else place[None])).abs()
        off = off[inside] if axis == 0 else off[:, inside]
        worst = max(worst, float(off.max()) if off.numel() else 0.0)
    return worst


def hand_on(conv):
    """Let a convolution give its first two channels as they are."""
    with torch.no_grad():
        conv.weight.zero_()
        middle = conv.kernel_size[0] // 2
        for channel in range(2):
            conv.weight[channel, channel, middle, middle] = 1
        if conv.bias is not None:
            conv.bias.zero_()


def hand_on_twice_as_fine(double, stride, stays):
    """Let a doubling say of the four parts of a cell where they are, in a map whose cells are ``stride`` apart."""
    conv = double[0]
    with torch.no_grad():
        conv.weight.zero_()
        conv.bias.zero_()
        for channel in range(2):
            for part in range(4):
                k = part // 2 if channel == 0 else part % 2
                conv.weight[4 * channel + part, channel] = 1
                conv.bias[4 * channel + part] = k * stride / 2 if stays else (k - 0.5) * stride / 2


def unet_of_positions(decoder, level, strides, offsets):
    """Make a U-Net hand on one level's map alone.

    Where a map begins at the same pixel as the finer one, the first part of a doubled cell stays where the cell was; else
    the four lie around it.
    """
    for k, block in enumerate([decoder.to_full, *decoder.ups]):
        stride, stays = strides[k], offsets[k] == (offsets[k - 1] if k else 0)
        for layer in block.layers:
            if k > level:
                for parameter in layer.parameters():
                    nn.init.zeros_(parameter)
            elif isinstance(layer, ConvBlock):
                hand_on(layer[0])
            elif isinstance(layer, Doubling):
                hand_on_twice_as_fine(layer, stride, stays)
                stride = stride / 2
    hand_on(decoder.out)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", ["unet", "siamese_unet"])
def test_a_unet_puts_every_level_where_it_belongs(kind, name):
    strides, offsets = NETWORKS[name]
    for level, (stride, offset) in enumerate(zip(strides, offsets, strict=True)):
        if level and strides[level] == strides[level - 1] and level < len(strides) - 1:
            continue  # the next one takes the same way
        head = build_head(kind, n_out=2, channels=(2,) * len(strides), strides=strides, offsets=offsets).eval()
        unet_of_positions(head if kind == "unet" else head.decoder, level, strides, offsets)
        if kind == "siamese_unet":
            for fuse in head.fuse:
                hand_on(fuse)
        for side in SIZES if kind == "unet" else SIZES[::3]:
            size = (side, max(33, side - 5))
            maps = [torch.zeros_like(positions(s, o, size)) for s, o in zip(strides, offsets, strict=True)]
            maps[level] = positions(stride, offset, size)
            with torch.inference_mode():
                found = head(*[maps] * (1 + (kind == "siamese_unet")), size)
            assert found.shape[-2:] == size
            assert errors(found, stride, offset, size) < 0.5, (level, size)


def deeplab_of_positions(strides, offsets, channels=2):
    """A DeepLabv3+ decoder that gives its coarse and its fine map as they are, four channels in all."""
    head = build_head("deeplabv3plus", n_out=2, channels=(channels,) * len(strides), strides=strides, offsets=offsets)
    head.aspp = head.fine = head.join = head.out = nn.Identity()
    head.anything = nn.Parameter(torch.zeros(1))  # a head is where its parameters are
    return head.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_deeplab_puts_both_maps_where_they_belong(name):
    strides, offsets = NETWORKS[name]
    head = deeplab_of_positions(strides, offsets)
    for side in SIZES:
        size = (side, max(33, side - 5))
        maps = [positions(s, o, size) for s, o in zip(strides, offsets, strict=True)]
        with torch.inference_mode():
            found = head(maps, size)
        assert found.shape == (1, 4, *size)
        assert errors(found[:, 2:], strides[1], offsets[1], size) < 0.5, size
        # The coarse map is read where the fine one has cells: one of them before its first or last cell it stands still.
        coarse = found[:, :2].clone()
        last = [offsets[-1] + strides[-1] * (-(-side // strides[-1]) - 1) for side in size]
        rows, columns = (slice(strides[1], max(strides[1], int(end) - strides[1])) for end in last)
        inner = coarse[:, :, rows, columns] - FAR
        if offsets[-1] <= strides[1] and inner.numel():
            wanted = torch.stack(
                torch.meshgrid(torch.arange(size[0])[rows], torch.arange(size[1])[columns], indexing="ij")
            )
            assert (inner[0] - wanted).abs().max() < 0.5, size


@pytest.mark.parametrize("size", [(97, 130), (128, 64), (200, 231)], ids=str)
def test_crops_and_whole_images_say_the_same_places(size):
    """An image whose colours are its places, through an encoder that averages pixels and a decoder that adds nothing."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.uint8)
    image = np.stack([rows, columns, rows], axis=-1)[None]
    encoder = virb.load_encoder("pixels")
    strides, offsets = encoder.strides_at(16), encoder.offsets_at(16)
    head = deeplab_of_positions(strides, offsets, channels=3)
    mean, std = (torch.tensor(values)[:, None, None] for values in (encoder.preprocess.mean, encoder.preprocess.std))
    protocol = Protocol(epochs=1, batch_size=1, crop=57)
    for axis in (0, 1):
        target = image[..., axis].astype(np.float32)
        held = Examples(ArrayImages.of("places", image), np.array([[0]]), target, ["a"])
        whole = dense_sources.WholeSource(encoder, "pyramid16", held)
        crop = dense_sources.CropSource(encoder, "pyramid16", held, protocol=protocol, seed=1, ignore_index=255)
        for source in (whole, crop):
            (found,), (wanted,) = dense.predict_dense(head, source, np.array([0]))
            assert wanted.shape == (size if source is whole else (57, 57))
            for part, margin in ((found[:3], 12), (found[3:], 2)):
                said = (part * std + mean)[axis] * 255
                inner = tuple(slice(margin, side // 16 * 16 - margin) for side in wanted.shape)
                assert np.abs(said.numpy() - wanted)[inner].max() < 0.5

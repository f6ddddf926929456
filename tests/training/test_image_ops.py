"""Batched operations equal torchvision's functional operators, image by image."""

from __future__ import annotations

import pytest
import torch
import torchvision.transforms.v2.functional as TF

from virb.training import augment, device_ops, image_ops


@pytest.fixture
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    smooth = torch.rand(12, 3, 6, 7, generator=generator)
    return torch.nn.functional.interpolate(smooth, (32, 40), mode="bicubic").clamp(0, 1)


def uniform(n: int, low: float, high: float, seed: int = 1) -> torch.Tensor:
    return low + (high - low) * torch.rand(n, generator=torch.Generator().manual_seed(seed))


def each(images: torch.Tensor, function, *values) -> torch.Tensor:
    return torch.stack([function(image, *(v[i] for v in values)) for i, image in enumerate(images)])


@pytest.mark.parametrize("cubic", [False, True])
@pytest.mark.parametrize("size", [16, 32, 57])
def test_resized_crop(images, size, cubic):
    boxes = augment.random_crop_boxes(
        12, 32, 40, scale=(0.08, 1), ratio=(0.75, 1.33), generator=torch.Generator().manual_seed(3)
    )
    flip = torch.arange(12) % 2 == 0
    how = TF.InterpolationMode.BICUBIC if cubic else TF.InterpolationMode.BILINEAR
    theirs = torch.stack(
        [
            TF.resized_crop(im, *box.tolist(), [size, size], how, antialias=True).clamp(0, 1)
            for im, box in zip(images, boxes, strict=True)
        ]
    )
    theirs = torch.where(flip[:, None, None, None], theirs.flip(3), theirs)
    for ops in (image_ops, device_ops):  # on this device; the second is a GPU's way
        ours = ops.resized_crop(images, boxes, (size, size), flip, cubic=cubic)
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("ours", "theirs", "low", "high"),
    [
        (image_ops.adjust_brightness, TF.adjust_brightness, 0.2, 1.8),
        (image_ops.adjust_contrast, TF.adjust_contrast, 0.2, 1.8),
        (image_ops.adjust_saturation, TF.adjust_saturation, 0.2, 1.8),
        (image_ops.adjust_hue, TF.adjust_hue, -0.5, 0.5),
    ],
)
def test_colour(images, ours, theirs, low, high):
    factor = uniform(12, low, high)
    expected = each(images, lambda im, f: theirs(im, float(f)), factor)
    torch.testing.assert_close(ours(images, factor), expected, atol=2e-6, rtol=0)


def test_hue_of_grey_and_of_a_full_turn(images):
    grey = image_ops.grayscale(images, torch.ones(12, dtype=torch.bool))
    torch.testing.assert_close(image_ops.adjust_hue(grey, uniform(12, -0.5, 0.5)), grey)
    torch.testing.assert_close(image_ops.adjust_hue(images, torch.ones(12)), images, atol=1e-5, rtol=0)


def test_jitter_in_each_order(images):
    order = torch.stack([torch.randperm(4, generator=torch.Generator().manual_seed(i)) for i in range(12)])
    factors = torch.stack(
        [uniform(12, 0.4, 1.6, 2), uniform(12, 0.4, 1.6, 3), uniform(12, 0.4, 1.6, 4), uniform(12, -0.2, 0.2)], 1
    )
    operators = [TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue]
    expected = []
    for image, row, turn in zip(images, factors, order, strict=True):
        for k in turn.tolist():
            image = operators[k](image, float(row[k]))
        expected.append(image)
    torch.testing.assert_close(image_ops.color_jitter(images, factors, order), torch.stack(expected), atol=1e-5, rtol=0)


def test_gray_solarize_flip(images):
    chosen = torch.arange(12) % 3 == 0
    ours = image_ops.grayscale(images, chosen)
    torch.testing.assert_close(ours[chosen], TF.rgb_to_grayscale(images[chosen], num_output_channels=3))
    torch.testing.assert_close(ours[~chosen], images[~chosen])
    torch.testing.assert_close(image_ops.solarize(images, chosen)[chosen], TF.solarize(images[chosen], 0.5))
    torch.testing.assert_close(image_ops.hflip(images, chosen)[chosen], TF.horizontal_flip(images[chosen]))


@pytest.mark.parametrize("kernel", [3, 7, 13])
def test_blur(images, kernel):
    sigma = uniform(12, 0.1, 2.0)
    expected = each(images, lambda im, s: TF.gaussian_blur(im, [kernel, kernel], [float(s)] * 2), sigma)
    torch.testing.assert_close(image_ops.gaussian_blur(images, sigma, kernel), expected, atol=1e-5, rtol=0)


def test_blur_refuses_an_even_kernel(images):
    with pytest.raises(ValueError, match="odd kernel"):
        image_ops.gaussian_blur(images, uniform(12, 1, 2), 4)


def test_rotate_erase_normalize(images):
    square = images[..., :32]
    turns = torch.arange(12) % 4
    expected = each(square, lambda im, t: TF.rotate(im, 90.0 * int(t)), turns)
    torch.testing.assert_close(image_ops.rotate90(square, turns), expected)
    boxes = torch.tensor([[-3, 5, 10, 8]]).repeat(12, 1)
    expected = each(images, lambda im: TF.erase(im, 0, 5, 7, 8, torch.zeros(1)))
    torch.testing.assert_close(image_ops.erase(images, boxes), expected)
    mean, std = augment.IMAGENET_MEAN, augment.IMAGENET_STD
    torch.testing.assert_close(image_ops.normalize(images, mean, std), TF.normalize(images, list(mean), list(std)))


def test_sobel_sees_a_step_and_not_a_plane():
    images = torch.zeros(2, 3, 8, 8)
    images[0, :, :, 4:] = 0.5
    edges = image_ops.sobel(images, torch.tensor([True, True]))
    assert edges[1].abs().max() == 0
    torch.testing.assert_close(edges[0, 0, 3], torch.tensor([0, 0, 0, 0.5, 0.5, 0, 0, 0]) * 0.9999, atol=1e-3, rtol=0)


def test_patches_are_the_cells():
    images = torch.arange(2 * 3 * 9 * 9, dtype=torch.float32).view(2, 3, 9, 9)
    offsets = torch.zeros(2, 9, 2, dtype=torch.long)
    offsets[1] = 1
    out = image_ops.patches(images, 3, 2, offsets)
    assert out.shape == (2, 9, 3, 2, 2)
    torch.testing.assert_close(out[0, 5], images[0, :, 3:5, 6:8])
    torch.testing.assert_close(out[1, 7], images[1, :, 7:9, 4:6])


def test_to_float_reads_both_layouts():
    stored = torch.randint(0, 256, (2, 5, 6, 3), dtype=torch.uint8)
    torch.testing.assert_close(
        image_ops.to_float(stored), TF.to_dtype(stored.permute(0, 3, 1, 2), torch.float32, scale=True)
    )
    torch.testing.assert_close(image_ops.to_float(stored.permute(0, 3, 1, 2)), image_ops.to_float(stored))
    with pytest.raises(ValueError, match="Expected images"):
        image_ops.to_float(torch.zeros(2, 5, 6, 4, dtype=torch.uint8))

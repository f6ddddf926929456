"""The random transforms draw torchvision's distributions, image by image, and repeat by seed."""

from __future__ import annotations

import pytest
import torch
import torchvision.transforms.v2 as T
from scipy import stats

from virb.errors import UsageError
from virb.training import augment
from virb.training.canvas import Canvas


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("height", "width"), [(32, 40), (20, 90)])
def test_boxes_are_distributed_as_torchvisions(height, width):
    ours = augment.random_crop_boxes(
        3000, height, width, scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3), generator=generator()
    ).numpy()
    reference = T.RandomResizedCrop(8, scale=(0.2, 1.0))
    torch.manual_seed(0)
    image = torch.zeros(3, height, width)
    theirs = [reference.make_params([image]) for _ in range(3000)]
    for column, key in enumerate(("top", "left", "height", "width")):
        assert stats.ks_2samp(ours[:, column], [p[key] for p in theirs]).pvalue > 1e-3
    assert (ours[:, 0] + ours[:, 2] <= height).all()
    assert (ours[:, 1] + ours[:, 3] <= width).all()
    assert (ours[:, :2] >= 0).all()


def test_jitter_is_distributed_as_torchvisions():
    colour = torch.tensor([0.3, 0.5, 0.6])[:, None, None].expand(3, 2, 2)
    ours = augment.ColorJitter(0.4, 0.4, 0.4, 0.1, p=1.0)(colour.expand(3000, 3, 2, 2), generator())[:, :, 0, 0]
    reference = T.ColorJitter(0.4, 0.4, 0.4, 0.1)
    torch.manual_seed(0)
    theirs = torch.stack([reference(colour)[:, 0, 0] for _ in range(3000)])
    for channel in range(3):
        assert stats.ks_2samp(ours[:, channel].numpy(), theirs[:, channel].numpy()).pvalue > 1e-3


@pytest.mark.parametrize("names", ["", "crop", "flip", "jitter+gray", "+".join(augment.COMPOSABLE)])
def test_every_composition_runs_and_repeats(names):
    images = torch.randint(0, 256, (6, 20, 24, 3), dtype=torch.uint8)
    view = augment.View(augment.compose(names, 16))
    first, again, other = view(images, generator(5)), view(images, generator(5)), view(images, generator(6))
    assert first.shape == (6, 3, 16, 16)
    assert torch.isfinite(first).all()
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (names == "")


def test_images_draw_their_own_parameters():
    images = torch.rand(1, 3, 64, 64).expand(8, 3, 64, 64)
    for name in augment.COMPOSABLE:
        (transform,) = augment.compose(name, 64)[-1:]
        out = transform(images, generator(2))
        assert not torch.equal(out, out[:1].expand_as(out)), name


def test_probabilities_hold():
    images = torch.rand(4000, 3, 2, 2)
    for transform, p in [
        (augment.HorizontalFlip(0.3), 0.3),
        (augment.Grayscale(0.2), 0.2),
        (augment.Solarize(0.4, 0.0), 0.4),
    ]:
        changed = (transform(images, generator()) != images).flatten(1).any(dim=1).float().mean()
        assert abs(changed - p) < 0.03


def test_small_crops_are_96_at_224():
    assert [augment.small_crop_size(size) for size in (224, 96, 64, 48, 32)] == [96, 48, 32, 16, 16]


def test_unknown_name():
    with pytest.raises(UsageError, match="'crops'"):
        augment.compose("crops+flip", 16)


def test_center_view_leaves_a_fitting_image_alone():
    images = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8)
    expected = T.functional.normalize(
        images.permute(0, 3, 1, 2) / 255, list(augment.IMAGENET_MEAN), list(augment.IMAGENET_STD)
    )
    torch.testing.assert_close(augment.center_view(images, 16), expected)
    assert augment.center_view(images, 8).shape == (2, 3, 8, 8)


def canvas() -> tuple[Canvas, list[torch.Tensor]]:
    images = [
        torch.randint(0, 256, (h, w, 3), dtype=torch.uint8, generator=generator(h)) for h, w in ((20, 33), (31, 12))
    ]
    pixels = torch.full((2, 31, 33, 3), 77, dtype=torch.uint8)  # what is beside an image must not be seen
    for row, image in zip(pixels, images, strict=True):
        row[: image.shape[0], : image.shape[1]] = image
    return Canvas(pixels, torch.tensor([[20, 33], [31, 12]])), images


def test_images_of_several_sizes_are_cropped_as_each_by_itself():
    whole, images = canvas()
    crop = augment.RandomResizedCrop(8, scale=(0.08, 1.0), flip=0.0)
    boxes = augment.random_crop_boxes(
        2, *whole.sizes.unbind(1), scale=crop.scale, ratio=crop.ratio, generator=generator(3)
    )
    found = augment.View((crop,))(whole, generator(3))
    for i, image in enumerate(images):
        floats = augment.image_ops.to_float(image[None])
        alone = augment.image_ops.resized_crop(floats, boxes[i : i + 1], (8, 8))
        alone = augment.image_ops.normalize(alone, augment.IMAGENET_MEAN, augment.IMAGENET_STD)
        torch.testing.assert_close(found[i : i + 1], alone, rtol=1e-4, atol=1e-5)


def test_boxes_lie_within_their_own_image():
    sizes = torch.randint(1, 60, (500, 2), generator=generator())
    boxes = augment.random_crop_boxes(
        500, *sizes.unbind(1), scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), generator=generator(1)
    )
    assert (boxes[:, 2:] >= 1).all()
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= sizes).all()


def test_what_is_not_cropped_shows_central_squares():
    whole, images = canvas()
    found = augment.center_view(whole, 12)
    top = (31 - 12) // 2
    expected = augment.center_view(images[1][None, top : top + 12], 12)
    torch.testing.assert_close(found[1:], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        augment.View(augment.compose("", 12))(whole, generator())[1:], expected, rtol=1e-4, atol=1e-5
    )
    with pytest.raises(UsageError, match="cropped or resized first"):
        augment.View((augment.Grayscale(),))(whole, generator())
    assert augment.JigsawBoard(24)(whole, generator()).shape[:2] == (2, 9)

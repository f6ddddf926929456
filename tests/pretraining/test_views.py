"""The common augmentation options: the same names in every method, published values, and what they do."""

from __future__ import annotations

import pytest
import torch

from virb import registry
from virb.contracts.method import Setup
from virb.errors import UsageError
from virb.pretraining import views
from virb.training import augment

SETUP = Setup(32, 64, 0, 8, 20, 8, augment.IMAGENET_MEAN, augment.IMAGENET_STD)
TRAINED = [name for name in registry.names("methods") if registry.load("methods", name).learner is not None]
NAMES = {"min_crop", "strength", "jitter", "jitter_p", "gray_p", "blur_p", "solarize_p"}


@pytest.mark.parametrize("name", TRAINED)
def test_every_method_has_the_common_options(name):
    assert {option.name for option in registry.load("methods", name).options} >= NAMES


@pytest.mark.parametrize(
    ("name", "jitter", "jitter_p", "blur_p", "solarize_p", "min_crop"),
    [
        ("simclr", "0.8,0.8,0.8,0.2", 0.8, 0.5, 0.2, 0.08),  # its views have no solarisation unless `augment` names it
        ("moco-v1", "0.4,0.4,0.4,0.4", 1.0, 0.0, 0.0, 0.2),
        ("moco-v2", "0.4,0.4,0.4,0.1", 0.8, 0.5, 0.0, 0.2),
        ("swav", "0.8,0.8,0.8,0.2", 0.8, 0.5, 0.0, 0.05),
        ("pirl", "0.4,0.4,0.4,0.2", 1.0, 0.0, 0.0, 0.08),
        ("byol", "0.4,0.4,0.2,0.1", 0.8, "1,0.1", "0,0.2", 0.08),
        ("dino", "0.4,0.4,0.2,0.1", 0.8, "1,0.1,0.5", "0,0.2,0", 0.05),
    ],
)
def test_they_are_as_published(name, jitter, jitter_p, blur_p, solarize_p, min_crop):
    values = registry.load("methods", name).resolve({})
    found = [values[k] for k in ("jitter", "jitter_p", "blur_p", "solarize_p", "min_crop")]
    assert found == [jitter, jitter_p, blur_p, solarize_p, min_crop]


def chosen(**changes):
    given = views.options(min_crop=0.2, blur_p=(1.0, 0.1), solarize_p=(0.0, 0.2))
    return {**{option.name: option.default for option in given}, **changes}


def kinds(transforms):
    return [type(t).__name__ for t in transforms]


def test_each_view_has_its_own_probabilities():
    one, two, three = (views.chain(chosen(), 32, view=k) for k in range(3))
    assert kinds(one) == ["RandomResizedCrop", "ColorJitter", "Grayscale", "GaussianBlur"]
    assert kinds(two) == [*kinds(one), "Solarize"]
    assert (one[3].p, two[3].p, two[4].p) == (1.0, 0.1, 0.2)
    assert two == three  # the last one holds for all that follow


def test_crops_are_bicubic_where_asked_for():
    assert views.chain(chosen(), 32)[0].cubic is False
    crop = views.chain(chosen(resampling="bicubic"), 32)[0]
    assert crop.cubic is True
    images = torch.rand(4, 3, 40, 44, generator=torch.Generator().manual_seed(0))
    one, other = (
        views.chain(chosen(resampling=how), 32)[0](images, torch.Generator().manual_seed(1))
        for how in ("bilinear", "bicubic")
    )
    assert 0.001 < float((one - other).abs().mean()) < 0.1  # the same boxes, resized another way
    has_it = {name for name in TRAINED if "resampling" in registry.load("methods", name).resolve({})}
    assert has_it == set(TRAINED) - {"jigsaw"}  # whose views are tiles


def test_strength_scales_the_jitter_and_nothing_is_left_of_none():
    jitter = views.chain(chosen(strength=0.5), 32)[1]
    assert (jitter.brightness, jitter.hue, jitter.p) == (0.2, 0.05, 0.8)
    assert "ColorJitter" not in kinds(views.chain(chosen(strength=0), 32))
    assert kinds(views.chain(chosen(jitter_p=0.0, gray_p=0.0, blur_p=0.0, solarize_p=0.0), 32)) == ["RandomResizedCrop"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"jitter": "0.4"}, {"jitter": "a,b,c,d"}, {"jitter": "0.4,0.4,0.4,0.9"}, {"strength": -1.0}, {"blur_p": "1.5"},
        {"blur_p": "nan"}, {"solarize_p": ""}, {"min_crop": 0.0}, {"min_crop": 1.5},
    ],
)  # fmt: skip
def test_what_is_no_augmentation_is_refused(wrong):
    with pytest.raises(UsageError, match="expected"):
        views.chain(chosen(**wrong), 32)


def test_the_blur_is_in_proportion_to_the_view(monkeypatch):
    seen = []
    monkeypatch.setattr(
        augment.image_ops,
        "gaussian_blur",
        lambda images, sigma, kernel: seen.append((float(sigma.max()), kernel)) or images,
    )
    for size in (224, 48):
        blur = augment.GaussianBlur(1.0, (2.0, 2.0))
        blur(torch.rand(4, 3, size, size), torch.Generator().manual_seed(0))
    assert seen == [(pytest.approx(2.0), 23), (pytest.approx(2 * 48 / 224), 5)]
    assert all(kernel // 2 >= 4 * sigma for sigma, kernel in seen)  # nothing of it is cut

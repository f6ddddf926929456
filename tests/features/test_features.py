"""The cache holds what the encoder computes, once, whoever asks and however often it was interrupted."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from virb.convert.load import load_encoder
from virb.errors import DataError, VirbError
from virb.features.cache import FeatureCache, resize
from virb.images.sets import ArrayImages, FileImages

A, B = "random:resnet18:width=0.125,size=32,seed=0", "random:resnet18:width=0.125,size=48,seed=1"
N = 150


@pytest.fixture
def images():
    return ArrayImages.of("noise", np.random.default_rng(0).integers(0, 255, (N, 32, 32, 3), dtype=np.uint8))


class Counted:
    """An image set that counts what is read."""

    def __init__(self, inner, fail_at=None):
        self.inner, self.name, self.digest = inner, inner.name, inner.digest
        self.read, self.fail_at = [], fail_at

    def __len__(self):
        return len(self.inner)

    def image(self, index):
        if index == self.fail_at:
            raise DataError("the disk is gone")
        self.read.append(index)
        return self.inner.image(index)

    def describe(self, index):
        return self.inner.describe(index)


def test_it_holds_what_the_encoder_computes(images, tmp_path):
    encoder = load_encoder(A)
    (rows,) = FeatureCache(tmp_path).encode([encoder], images, layers=["embedding", "pyramid", "pyramid16"])
    x = encoder.prepare(torch.from_numpy(images.array))
    np.testing.assert_allclose(rows["embedding"].embedding, encoder.embed(x).numpy(), atol=1e-5)
    for layer, maps in (("pyramid", encoder.pyramid(x)), ("pyramid16", encoder.pyramid(x, output_stride=16))):
        assert len(rows[layer].parts) == len(maps)
        for stored, expected in zip(rows[layer].parts, maps, strict=True):
            assert stored.dtype == np.float16
            np.testing.assert_allclose(stored.astype(np.float32), expected.numpy(), atol=1e-3, rtol=1e-3)


def test_each_image_is_read_once_for_all_encoders_and_never_again(images, tmp_path):
    counted = Counted(images)
    encoders = [load_encoder(A), load_encoder(B)]
    first = FeatureCache(tmp_path).encode(encoders, counted)
    assert sorted(counted.read) == list(range(N))
    again = FeatureCache(tmp_path).encode(encoders, counted)
    assert len(counted.read) == N
    for one, two in zip(first, again, strict=True):
        assert np.array_equal(one["embedding"].embedding, two["embedding"].embedding)


def test_bits_do_not_depend_on_company_threads_or_interruption(images, tmp_path):
    one, two = load_encoder(A), load_encoder(B)
    alone = FeatureCache(tmp_path / "a").encode([one], images)[0]["embedding"].embedding
    together = FeatureCache(tmp_path / "b", n_workers=1).encode([two, one], Counted(images))[1]["embedding"].embedding
    assert np.array_equal(alone, together)
    cache = FeatureCache(tmp_path / "c")
    with pytest.raises(DataError, match="the disk is gone"):
        cache.encode([one], Counted(images, fail_at=140))
    prefix = cache.encode([one], images, upto=70)[0]["embedding"].embedding[:70]
    assert np.array_equal(prefix, alone[:70])
    counted = Counted(images)
    whole = FeatureCache(tmp_path / "c").encode([one], counted)[0]["embedding"].embedding
    assert np.array_equal(whole, alone)
    assert min(counted.read) >= 64  # the first batches were not computed again


def test_other_weights_other_images_and_other_preprocessing_have_entries_of_their_own(images, tmp_path):
    cache = FeatureCache(tmp_path)
    cache.encode([load_encoder(A)], images)
    for encoder in (A + ",mean=0.5/0.5/0.5", A.replace("seed=0", "seed=1")):
        assert not cache.has(load_encoder(encoder), images, "embedding")
    other = ArrayImages.of("noise", np.roll(images.array, 1, axis=0))
    assert not cache.has(load_encoder(A), other, "embedding")
    assert cache.has(load_encoder(A), images, "embedding")
    assert not cache.has(load_encoder(A), images, "pyramid")


def test_files_of_any_size_are_resized_as_pillow_does(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(resize(pixels, 32).numpy().astype(int) - expected).max() <= 1
    Image.fromarray(pixels).save(tmp_path / "a.png")
    images = FileImages("files", tmp_path, ["a.png"])
    encoder = load_encoder(A)
    (rows,) = FeatureCache(tmp_path / "cache").encode([encoder], images)
    x = encoder.prepare(resize(pixels, 32)[None])
    np.testing.assert_allclose(rows["embedding"].embedding, encoder.embed(x).numpy(), atol=1e-5)


def test_two_callers_do_the_work_once(images, tmp_path):
    """A second cache that asks while the first computes waits for it, and reads its rows."""
    from concurrent.futures import ThreadPoolExecutor

    counted, encoder = Counted(images), load_encoder(A)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: FeatureCache(tmp_path).encode([encoder], counted), range(2)))
    assert len(counted.read) == N
    assert np.array_equal(both[0][0]["embedding"].embedding, both[1][0]["embedding"].embedding)


def test_a_full_disk_is_refused_before_anything_is_written(images, tmp_path, monkeypatch):
    from virb.features import cache as features

    monkeypatch.setattr(features.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    cache = FeatureCache(tmp_path, limit_gb=1)
    with pytest.raises(VirbError, match=r"take 0\.0 GB.*virb data cache --clear"):
        cache.encode([load_encoder(A)], images)

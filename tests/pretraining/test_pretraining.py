"""Sources to pretrain on: folders, pooled sets, subsets, corruptions."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from virb.errors import DataError, UsageError
from virb.pretraining import corruptions, decoding, sources
from virb.pretraining.pixels import DecodedPixels, Padded, stacked, unstacked


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRB_CACHE", str(tmp_path / "cache"))


def write(folder, n, *, seed=0, shape=(20, 30)):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(n):
        small = rng.integers(0, 256, (4, 5, 3)).astype(np.uint8)
        Image.fromarray(small).resize(shape[::-1]).save(folder / f"{i:02d}.png")


@pytest.fixture
def root(tmp_path):
    write(tmp_path / "set" / "a", 6)
    write(tmp_path / "set" / "b", 4, seed=1)
    return tmp_path / "set"


def test_a_folder_is_decoded_once_and_keeps_its_sides(root, monkeypatch):
    data = sources.load(str(root), short_side=16)
    assert (len(data), data.classes, data.balance) == (10, ("a", "b"), "unbalanced")
    assert data.label.tolist() == [0] * 6 + [1] * 4
    expected = Image.open(root / "b" / "01.png").resize((24, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(data.batch(np.array([7, 0]))[0], np.asarray(expected))

    def never(*args):
        raise AssertionError("decoded again")

    monkeypatch.setattr(decoding, "_read_all", never)
    again = sources.load(str(root), short_side=16)
    assert again.revision == data.revision


def test_images_are_used_at_their_own_size_and_shape(root):
    write(root / "c", 1, seed=5, shape=(40, 12))
    data = sources.load(str(root))
    batch = data.batch(np.array([0, 10]))
    assert isinstance(batch, Padded)
    assert batch.pixels.shape == (2, 40, 30, 3)
    assert batch.sizes.tolist() == [[20, 30], [40, 12]]
    for image, path in zip(unstacked(batch), ("a/00.png", "c/00.png"), strict=True):
        np.testing.assert_array_equal(image, np.asarray(Image.open(root / path)))
    assert sources.load(str(root), short_side=16).revision == data.revision  # the same images, kept at another size


def test_a_very_long_image_does_not_fill_the_memory():
    assert decoding.reduced(np.zeros((4, 4000, 3), np.uint8), 8).shape == (1, 64, 3)
    assert decoding.reduced(np.zeros((6, 5, 3), np.uint8), 8).shape == (6, 5, 3)  # never enlarged


def test_the_revision_is_that_of_the_images_not_of_their_place(root, tmp_path):
    first = sources.load(str(root), short_side=16)
    root.rename(tmp_path / "moved")
    assert sources.load(str(tmp_path / "moved"), short_side=16).revision == first.revision
    (tmp_path / "moved" / "a" / "00.png").unlink()
    assert sources.load(str(tmp_path / "moved"), short_side=16).revision != first.revision


def test_a_folder_too_large_to_keep_decoded_gives_the_same_pixels(root):
    kept = sources.load(str(root), short_side=16)
    lazy = sources._folder(root, 16, False, None, limit=100)
    assert isinstance(lazy.pixels, DecodedPixels)
    np.testing.assert_array_equal(kept.batch(np.arange(10)), lazy.batch(np.arange(10)))


def test_a_flat_folder_has_no_labels(tmp_path):
    write(tmp_path / "flat", 3)
    data = sources.load(str(tmp_path / "flat"), short_side=16)
    assert (len(data), data.label, data.balance) == (3, None, "unlabelled")


def test_a_file_list(root, tmp_path):
    whole = sources.load(str(root), short_side=16)
    (root / "list.txt").write_text("b/01.png\tsecond\na/00.png\tfirst\n\n")
    data = sources.load(str(root / "list.txt"), short_side=16)
    assert (len(data), data.classes, data.label.tolist()) == (2, ("first", "second"), [1, 0])
    np.testing.assert_array_equal(data.batch(np.arange(2)), whole.batch(np.array([7, 0])))
    (tmp_path / "l.txt").write_text(f"{root / 'a' / '00.png'}\n")
    assert sources.load(str(tmp_path / "l.txt"), short_side=16).label is None
    for text, message in [("", "names no image"), ("a\tb\nc", "a tab and a class"), ("a/77.png", "cannot be read")]:
        (root / "list.txt").write_text(text)
        with pytest.raises(DataError, match=message):
            sources.load(str(root / "list.txt"), short_side=16)


def test_torchvisions_sets(tmp_path, monkeypatch):
    import pickle

    from torchvision import datasets

    # CIFAR-10 on disk as it is published: pickled batches; the checksums of the real files are not wanted here.
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(1, 6):
        content = {"data": rng.integers(0, 256, (4, 3072)).astype(np.uint8), "labels": [k, 0, 1, 2]}
        (folder / f"data_batch_{k}").write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"name{k}" for k in range(10)]}))
    monkeypatch.setattr(datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *a: True)
    data = sources.load("torchvision:CIFAR10", short_side=32, root=tmp_path)
    assert (len(data), data.classes[3], data.label[:4].tolist()) == (20, "name3", [1, 0, 1, 2])
    expected = datasets.CIFAR10(tmp_path).data[5]
    np.testing.assert_array_equal(data.batch(np.array([5]))[0], expected)
    with pytest.raises(DataError, match="Did you mean torchvision:CIFAR10"):
        sources.load("torchvision:CIFAR01", root=tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        sources.load("torchvision:MNIST", root=tmp_path)
    monkeypatch.delenv("VIRB_DATA", raising=False)
    with pytest.raises(DataError, match="--data-root"):
        sources.load("torchvision:MNIST")


def test_limit_is_seeded_and_nested_revisions_differ(root):
    data = sources.load(str(root), short_side=16)
    one, again, other = (data.limited(4, s) for s in (0, 0, 1))
    assert len(one) == 4
    assert one.revision == again.revision != other.revision
    assert data.limited(99, 0) is data


def test_pooled(root, tmp_path):
    write(tmp_path / "other", 8, seed=3)
    data = sources.load(f"{root}:5+{tmp_path / 'other'}:0.25", short_side=16)
    assert len(data) == 7
    assert data.label is None
    whole = sources.load(f"{root}+{tmp_path / 'other'}", short_side=16)
    own, other = (sources.load(str(p), short_side=16) for p in (root, tmp_path / "other"))
    order = np.array([17, 2, 10, 9])
    expected = [
        other.batch(np.array([7])),
        own.batch(np.array([2])),
        other.batch(np.array([0])),
        own.batch(np.array([9])),
    ]
    np.testing.assert_array_equal(whole.batch(order), np.concatenate(expected))
    with pytest.raises(UsageError, match="has 8 images; 9 are asked for"):
        sources.load(f"{root}+{tmp_path / 'other'}:9", short_side=16)
    with pytest.raises(DataError, match="no such folder"):
        sources.load(f"{root}+{tmp_path / 'absent'}", short_side=16)


def test_subset_and_its_manifest(root, tmp_path):
    data = sources.load(str(root), short_side=16)
    part, manifest = data.subset("half")
    assert part.label.tolist() == [0, 0, 0, 1, 1]
    assert manifest.paths == part.paths
    assert part.paths[0].startswith("a/")
    manifest.save(tmp_path / "m.json")
    shared, _ = data.subset(str(tmp_path / "m.json"), seed=5)
    assert shared.revision == part.revision
    np.testing.assert_array_equal(shared.batch(np.arange(5)), data.batch(np.array(manifest.positions)))
    with pytest.raises(DataError, match="is a subset of"):
        part.subset(str(tmp_path / "m.json"))


@pytest.mark.parametrize("kind", corruptions.KINDS)
def test_corruptions_are_made_once_for_all(root, kind):
    data = sources.load(str(root), short_side=200)
    bad = data.corrupted(kind)
    assert bad.revision != data.revision
    own = kind in ("salt-and-pepper", "jpeg")
    assert bad.batch(np.array([3])).shape == ((1, 20, 30, 3) if own else (1, 200, 300, 3))  # of 256 x 384
    np.testing.assert_array_equal(bad.batch(np.array([3])), data.corrupted(kind).batch(np.array([3])))
    assert (len(bad), bad.label is data.label) == (10, True)
    with pytest.raises(UsageError, match="Unknown corruption"):
        data.corrupted("blur")


def test_what_the_corruptions_do():
    rng = np.random.default_rng(0)
    image = np.full((200, 300, 3), 128, np.uint8)
    noisy = corruptions.corrupt(image, "salt-and-pepper", rng)
    assert (noisy == 0).mean() == pytest.approx(0.005, abs=0.0005)
    assert (noisy == 255).mean() == pytest.approx(0.005, abs=0.0005)
    picture = rng.integers(0, 256, (200, 300, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=10)
    np.testing.assert_array_equal(corruptions.corrupt(picture, "jpeg", rng), np.asarray(Image.open(file)))


def test_resizing_and_downsampling_pixel_by_pixel():
    """Cole et al. 2022, Appendix C.5: each pixel is the nearest one of what was kept."""
    picture = np.random.default_rng(0).integers(0, 256, (512, 768, 3)).astype(np.uint8)

    def every(n, offset):  # the pixel under each new pixel's centre
        return picture[offset::n, offset::n]

    none = np.random.default_rng(0)
    np.testing.assert_array_equal(corruptions.corrupt(picture, "resize", none), every(2, 1))
    for kind, factor in (("downsample2", 2), ("downsample4", 4)):
        found = corruptions.corrupt(picture, kind, none)
        assert found.shape == (256, 384, 3)  # back at the size of resize
        kept = every(2, 1)[factor // 2 :: factor, factor // 2 :: factor]
        np.testing.assert_array_equal(found, kept.repeat(factor, axis=0).repeat(factor, axis=1))
        assert len(np.unique(found.reshape(-1, 3), axis=0)) <= 256 * 384 // factor**2


def test_corruptions_see_the_images_as_they_are(tmp_path):
    """Not as they were reduced to be kept: native against resized is a comparison of the paper."""
    picture = np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)
    (tmp_path / "one").mkdir()
    Image.fromarray(picture).save(tmp_path / "one" / "x.png")
    data = sources.load(str(tmp_path / "one"), short_side=20)
    expected = decoding.reduced(corruptions.corrupt(picture, "downsample2", np.random.default_rng(0)), 20)
    np.testing.assert_array_equal(data.corrupted("downsample2").batch(np.array([0]))[0], expected)


def test_a_resize_that_would_do_nothing_is_refused(tmp_path):
    write(tmp_path / "small", 3, shape=(32, 32))
    with pytest.raises(UsageError, match="would leave as they are"):
        sources.load(str(tmp_path / "small")).corrupted("resize")
    assert sources.load(str(tmp_path / "small")).corrupted("downsample2").size == 32


def test_batches_of_several_sizes_come_apart_as_they_were():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (h, w, 3)).astype(np.uint8) for h, w in ((3, 5), (7, 2), (1, 1))]
    for image, found in zip(images, unstacked(stacked(images)), strict=True):
        np.testing.assert_array_equal(image, found)
    assert stacked(images[:1]).shape == (1, 3, 5, 3)


def test_the_world_and_its_mixture(monkeypatch):
    from types import SimpleNamespace

    from virb.tasks import world

    rng = np.random.default_rng(0)

    def annotation(name):
        if name != "class_id":
            raise DataError("no such annotation")
        return np.arange(6) % 3

    def no_annotation(name):
        raise DataError("no such annotation")

    sets = {
        "pretrain-objects": SimpleNamespace(
            images=rng.integers(0, 256, (6, 8, 8, 3)).astype(np.uint8), revision="o", annotation=annotation
        ),
        "pretrain-rooms": SimpleNamespace(
            images=rng.integers(0, 256, (4, 8, 8, 3)).astype(np.uint8), revision="r", annotation=no_annotation
        ),
    }
    monkeypatch.setattr(world, "load", lambda name, split: sets[name])
    objects, rooms, both = (sources.load(name) for name in ("world-objects", "world-rooms", "world"))
    assert (len(objects), objects.size, objects.classes[0], objects.revision) == (6, 8, "chair", "o")
    assert objects.label.tolist() == [0, 1, 2, 0, 1, 2]
    assert rooms.label is None
    assert (len(both), both.label) == (10, None)
    expected = [sets["pretrain-rooms"].images[3], sets["pretrain-objects"].images[1]]
    np.testing.assert_array_equal(both.batch(np.array([9, 1])), expected)
    assert len({objects.revision, rooms.revision, both.revision}) == 3

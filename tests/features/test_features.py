"""The cache holds what the encoder computes, once, whoever asks and however often it was interrupted."""

from __future__ import annotations

import json
import os
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from virb.convert.load import load_encoder
from virb.errors import DataError, VirbError
from virb.features import cache, encode, entry
from virb.features.cache import FeatureCache, resize
from virb.features.encode import encode_batch
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


@pytest.mark.parametrize("spec", [A, "random:vit_tiny_patch16:depth=2,heads=3,size=32"])
def test_bits_do_not_depend_on_company_threads_or_interruption(spec, images, tmp_path):
    one, two = load_encoder(spec), load_encoder(B)
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


def test_parts_of_one_batch_are_encoded_side_by_side_with_the_same_bits_on_any_number_of_cores(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 160, 160, 3)).astype(np.uint8)
    images = ArrayImages.of("large", pixels)
    encoder = load_encoder("random:resnet18:width=0.125,size=160")
    meeting = threading.Barrier(2)

    def meets(*args):
        meeting.wait(timeout=60)  # for another part of the only batch
        return encode_batch(*args)

    found = []
    for n in (1, 2, 5):
        monkeypatch.setattr(cache, "n_cores", lambda n=n: n)
        monkeypatch.setattr(cache, "encode_batch", meets if n == 2 else encode_batch)
        monkeypatch.setattr(encode, "_cpu_step", lambda size: 20)
        found.append(FeatureCache(tmp_path / str(n)).encode([encoder], images)[0]["embedding"].embedding)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert encode.n_parts_of(encoder, 41) == len(encode.parts_of(encoder, torch.zeros(41, 1))) == 3


def test_what_is_cached_is_found_again_without_pythons_parser_which_threads_cannot_share(images, tmp_path, monkeypatch):
    encoder = load_encoder(A)
    first = FeatureCache(tmp_path).encode([encoder], images, layers=["embedding", "pyramid"])[0]
    monkeypatch.setattr("ast.literal_eval", lambda text: pytest.fail("a header was parsed"))
    again = FeatureCache(tmp_path).encode([encoder], images, layers=["embedding", "pyramid"])[0]
    for layer in ("embedding", "pyramid"):
        for one, two in zip(first[layer].parts, again[layer].parts, strict=True):
            assert np.array_equal(one, two)


def test_a_header_as_another_numpy_pads_it_is_read(images, tmp_path):
    encoder = load_encoder(A)
    first = np.array(FeatureCache(tmp_path).encode([encoder], images)[0]["embedding"].embedding)
    (path,) = tmp_path.rglob("*.npy")
    content = path.read_bytes()
    end = content.index(b"\n") + 1
    longer = (
        content[:8] + (end - 10 + 64).to_bytes(2, "little") + content[10 : end - 1] + b" " * 64 + content[end - 1 :]
    )
    path.write_bytes(longer)
    counted = Counted(images)
    again = FeatureCache(tmp_path).encode([encoder], counted)[0]["embedding"].embedding
    assert counted.read == []
    assert np.array_equal(again, first)


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


def test_encoders_that_compute_the_same_share_an_entry(images, tmp_path):
    counted = Counted(images)
    one, two = FeatureCache(tmp_path).encode([load_encoder(A), load_encoder(A, name="again")], counted)
    assert np.array_equal(one["embedding"].embedding, two["embedding"].embedding)
    assert len(list((tmp_path / "features").iterdir())) == 1
    assert len(counted.read) == N


# -- damage


def damage_everywhere(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(byte ^ 0x80 for byte in content[len(content) // 2 :])
    path.write_bytes(content)


def edited_state(**changes):
    def edit(path):
        if path.name == "state.json":
            path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return edit


def on_arrays(change):
    return lambda path: change(path) if path.suffix == ".npy" else None


DAMAGE = {
    "flipped": on_arrays(damage_everywhere),
    "truncated": on_arrays(lambda path: os.truncate(path, path.stat().st_size // 2)),
    "empty": on_arrays(lambda path: path.write_bytes(b"")),
    "gone": on_arrays(lambda path: path.unlink()),
    "another array": on_arrays(lambda path: np.save(path, np.zeros((N, 3), np.float32))),
    "pickled": on_arrays(lambda path: np.save(path, np.array([{}] * 3, dtype=object), allow_pickle=True)),
    "state is a list": lambda path: path.write_text("[]") if path.name == "state.json" else None,
    "state is nothing": lambda path: path.write_bytes(b"\xff\x00") if path.name == "state.json" else None,
    "state is nested": lambda path: path.write_text("[" * 100_000) if path.name == "state.json" else None,
    "parts is a number": edited_state(parts=3),
    "parts is empty": edited_state(parts=[]),
    "rows is a text": edited_state(rows="many"),
    "too many rows": edited_state(rows=N + 1),
    "rows below 0": edited_state(rows=-5),
    "of other images": edited_state(n=N + 1),
    "of an older virb": edited_state(format=None),
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("layers", [["embedding"], ["embedding", "pyramid"]], ids=["embedding", "both"])
def test_damage_is_noticed_said_in_a_line_and_computed_again(kind, layers, images, tmp_path, monkeypatch):
    encoder, said = load_encoder(A), []
    before = FeatureCache(tmp_path).encode([encoder], images, layers=layers)
    kept = {layer: [np.array(part) for part in before[0][layer].parts] for layer in layers}
    del before
    monkeypatch.setattr(entry, "_verified", {})  # as another process would find it
    for path in list(tmp_path.rglob("*")):
        if path.is_file():
            DAMAGE[kind](path)
    (after,) = FeatureCache(tmp_path, note=said.append).encode([encoder], images, layers=layers)
    for layer in layers:
        assert all(np.array_equal(a, b) for a, b in zip(kept[layer], after[layer].parts, strict=True))
    assert len(said) == len(layers)
    assert all("on noise is damaged" in line and "\n" not in line for line in said)
    monkeypatch.setattr(entry, "_verified", {})
    FeatureCache(tmp_path, note=said.append).encode([encoder], images, layers=layers)
    assert len(said) == len(layers)  # it is whole again


def test_only_rows_from_the_first_damaged_block_on_are_computed_again(images, tmp_path, monkeypatch):
    encoder = load_encoder(A)
    FeatureCache(tmp_path).encode([encoder], images)
    monkeypatch.setattr(entry, "_verified", {})
    (path,) = tmp_path.rglob("*.npy")
    with path.open("r+b") as file:
        file.seek(-100 * 64 * 4, os.SEEK_END)  # row 50 of 150, in the first batch; then row 100, in the second
        file.write(b"\1\2\3")
    counted = Counted(images)
    FeatureCache(tmp_path, note=lambda _: None).encode([encoder], counted)
    assert min(counted.read) == 0
    monkeypatch.setattr(entry, "_verified", {})
    with path.open("r+b") as file:
        file.seek(-50 * 64 * 4, os.SEEK_END)
        file.write(b"\1\2\3")
    counted = Counted(images)
    FeatureCache(tmp_path, note=lambda _: None).encode([encoder], counted)
    assert min(counted.read) == 64


def test_rows_that_nobody_asked_for_are_not_checked(images, tmp_path, monkeypatch):
    encoder, said = load_encoder(A), []
    whole = FeatureCache(tmp_path).encode([encoder], images)[0]["embedding"].embedding[:64].copy()
    monkeypatch.setattr(entry, "_verified", {})
    (path,) = tmp_path.rglob("*.npy")
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\1\2\3")
    part = FeatureCache(tmp_path, note=said.append).encode([encoder], images, upto=64)[0]["embedding"].embedding
    assert not said
    assert np.array_equal(part[:64], whole)


def test_readers_of_a_file_that_is_made_anew_keep_what_they_read(images, tmp_path, monkeypatch):
    encoder = load_encoder(A)
    read = FeatureCache(tmp_path).encode([encoder], images)[0]["embedding"].embedding
    before = np.array(read)
    monkeypatch.setattr(entry, "_verified", {})
    for path in tmp_path.rglob("state.json"):
        path.write_text("[]")
    FeatureCache(tmp_path, note=lambda _: None).encode([encoder], images)
    assert np.array_equal(read, before)  # a truncated map would end the process here


# -- room


def test_a_full_disk_is_refused_before_anything_is_written(images, tmp_path, monkeypatch):
    from virb.features import cache as features

    monkeypatch.setattr(features.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    cache = FeatureCache(tmp_path, limit_gb=1)
    with pytest.raises(VirbError, match=r"take 0\.0 GB.*virb data cache --clear"):
        cache.encode([load_encoder(A)], images)
    assert not list(tmp_path.rglob("*.npy"))


def test_what_all_encoders_need_together_is_what_counts(images, tmp_path, monkeypatch):
    """Each of them alone fits."""
    from virb.features import cache as features

    one = N * 64 * 4
    monkeypatch.setattr(features.shutil, "disk_usage", lambda _: SimpleNamespace(free=1.5 * one))
    encoders = [load_encoder(A), load_encoder(B)]
    with pytest.raises(VirbError, match="features of 2 encoders on noise take"):
        FeatureCache(tmp_path, limit_gb=1).encode(encoders, images)
    FeatureCache(tmp_path, limit_gb=1).encode(encoders[:1], images)
    FeatureCache(tmp_path, limit_gb=1).encode(encoders, images, upto=100)  # the rest of one and a part of the other


@pytest.mark.parametrize("call", ["write", "fsync", "truncate"])
def test_a_write_that_fails_is_a_sentence_that_names_the_cache(call, images, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    if call == "fsync":
        monkeypatch.setattr(entry.os, "fsync", full)
    else:
        made = entry.Entry._create

        def create(self, part):
            file = made(self, part)
            return SimpleNamespace(seek=file.seek, write=full, close=file.close) if call == "write" else full()

        monkeypatch.setattr(entry.Entry, "_create", create)
    with pytest.raises(VirbError, match=r"cannot be written to the cache .*features: No space left.*VIRB_CACHE"):
        FeatureCache(tmp_path).encode([load_encoder(A)], images)

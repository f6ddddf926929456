"""The identity of images and targets is their content: never a name, a time, or what somebody says of them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from virb.contracts.examples import Examples
from virb.images import digests
from virb.images.sets import ArrayImages, FileImages, ImageSet, ImageSubset
from virb.system import files
from virb.system.paths import cache_root

OLD = 1_600_000_000  # long ago: what is read then is remembered


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "files").mkdir()
    for k in range(5):
        write(tmp_path / "files" / f"{k}.bin", bytes([k]) * 100)
    monkeypatch.setattr(files, "SETTLED_NS", -1)  # the files of this test were made just now
    return tmp_path / "files"


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.utime(path, (OLD, OLD))


def of(root: Path) -> list[str]:
    return [row.tobytes().hex() for row in FileImages("files", root, [f"{k}.bin" for k in range(5)]).digests]


def reads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    seen: list[object] = []
    read = digests._of_file
    monkeypatch.setattr(digests, "_of_file", lambda path: (seen.append(path), read(path))[1])
    return seen


def test_a_file_is_known_by_its_bytes(root):
    assert of(root) == [hashlib.sha256(bytes([k]) * 100).hexdigest() for k in range(5)]


def test_files_are_read_once(root, monkeypatch):
    seen = reads(monkeypatch)
    first = of(root)
    assert len(seen) == 5
    assert of(root) == first
    assert len(seen) == 5
    write(root / "3.bin", b"other")
    assert of(root)[3] == hashlib.sha256(b"other").hexdigest()
    assert len(seen) == 6


def test_another_file_of_the_same_name_size_and_time_is_another(root):
    before = of(root)
    aside = root / "aside"
    write(aside, bytes([9]) * 100)
    aside.replace(root / "2.bin")
    after = of(root)
    assert after[2] == hashlib.sha256(bytes([9]) * 100).hexdigest() != before[2]
    with open(root / "1.bin", "r+b") as file:  # in place, as rsync --inplace does
        file.write(bytes([8]) * 100)
    os.utime(root / "1.bin", (OLD, OLD))
    assert of(root)[1] == hashlib.sha256(bytes([8]) * 100).hexdigest()


def test_equal_names_sizes_and_times_below_another_root_are_other_files(root, tmp_path):
    first = of(root)
    other = tmp_path / "other"
    other.mkdir()
    for k in range(5):
        write(other / f"{k}.bin", bytes([k + 100]) * 100)
    assert not set(of(other)) & set(first)
    moved = tmp_path / "moved"
    root.rename(moved)
    other.rename(root)
    assert not set(of(root)) & set(first)
    assert of(moved) == first


def test_what_changed_a_moment_ago_is_not_remembered(root, monkeypatch):
    monkeypatch.setattr(files, "SETTLED_NS", 10**12)
    seen = reads(monkeypatch)
    of(root)
    of(root)
    assert len(seen) == 10


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other", "gone", "folder"])
def test_a_damaged_memory_is_made_anew(root, damage):
    expected = of(root)
    (memory,) = (cache_root() / "digests").iterdir()
    content = bytearray(memory.read_bytes())
    content[-7] ^= 1
    if damage == "folder":
        memory.unlink()
        memory.mkdir()
    elif damage == "gone":
        memory.unlink()
    else:
        memory.write_bytes({"flip": content, "cut": content[:-9], "empty": b"", "other": b"x" * 5000}[damage])
    assert of(root) == expected
    assert of(root) == expected


def test_a_memory_holds_what_is_used_and_drops_the_rest_beyond_its_bound(root, monkeypatch):
    monkeypatch.setattr(digests, "MOST_REMEMBERED", 4)
    of(root)
    names = [f"{k}.bin" for k in range(5)]
    seen = reads(monkeypatch)
    FileImages("files", root, names[:1]).digest  # noqa: B018
    assert len(seen) <= 1
    write(root / "6.bin", b"6")
    FileImages("files", root, ["0.bin", "6.bin"]).digest  # noqa: B018
    (memory,) = (cache_root() / "digests").iterdir()
    assert len(memory.read_bytes()) == len(digests.MAGIC) + 32 + 4 * 64


def test_a_cache_that_cannot_be_written_is_done_without(root, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VIRB_CACHE", str(tmp_path / "file"))
    assert of(root)[0] == hashlib.sha256(bytes(100)).hexdigest()


def test_what_is_no_regular_file_has_no_digest_and_nobody_waits_for_it(root):
    (root / "gone.bin").symlink_to(root / "nowhere")
    (root / "folder.bin").mkdir()
    names = ["0.bin", "gone.bin", "folder.bin", "missing.bin"]
    if hasattr(os, "mkfifo"):
        os.mkfifo(root / "pipe.bin")
        names.append("pipe.bin")
    if Path("/dev/zero").exists():
        (root / "zero.bin").symlink_to("/dev/zero")
        names.append("zero.bin")
    found = FileImages("files", root, names).digests
    assert found.any(axis=1).tolist() == [True] + [False] * (len(names) - 1)


# ------------------------------------------------------------------------------------------------ sets of any kind


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 3), st.just(3))),
    st.text(max_size=3),
    st.data(),
)
def test_array_images_are_known_by_their_pixels_whatever_is_said_of_them(array, label, data):
    images = ArrayImages("mine", label, array)
    assert isinstance(images, ImageSet)
    assert images.digest == ArrayImages.of("other name", array.copy()).digest
    row = data.draw(st.integers(0, len(array) - 1))
    changed = array.copy()
    changed.reshape(len(array), -1)[row, data.draw(st.integers(0, array[0].size - 1))] ^= 1
    other = ArrayImages("mine", label, changed)
    assert other.digest != images.digest
    assert (other.digests == images.digests).all(axis=1).tolist() == [k != row for k in range(len(array))]
    rows = np.array(data.draw(st.lists(st.integers(0, len(array) - 1), min_size=1, max_size=5)))
    assert ImageSubset(images, rows).digest == ArrayImages.of("part", array[rows]).digest


def test_a_shape_is_part_of_the_content():
    array = np.zeros((2, 4, 3, 3), np.uint8)
    assert ArrayImages.of("a", array).digest != ArrayImages.of("a", array.reshape(2, 3, 4, 3)).digest


class Bare:
    """All that an image set of one's own must have."""

    name = "bare"
    revision = "made up"

    def __init__(self, array):
        self.array = array

    def __len__(self):
        return len(self.array)

    def image(self, index):
        return self.array[index]


def test_a_set_of_ones_own_gets_an_identity():
    array = np.random.default_rng(0).integers(0, 255, (4, 3, 3, 3)).astype(np.uint8)
    bare, frames = Examples(Bare(array), np.arange(4)[:, None], np.arange(4), list("abcd")), ArrayImages.of("a", array)
    assert bare.images.digest == frames.digest
    assert bare.images.describe(2) == "image 2 of bare"
    assert bare.digests()["images"] == Examples(frames, bare.frames, bare.targets, bare.ids).digests()["images"]


# ------------------------------------------------------------------------------------------------------- examples


def example_set(array, frames, targets, ids=None):
    return Examples(
        ArrayImages.of("set", array), np.asarray(frames), targets, ids or [str(k) for k in range(len(frames))]
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 3))
def test_the_same_examples_over_a_larger_or_turned_set_have_the_same_digests(seed, n, n_frames):
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 255, (12, 2, 2, 3)).astype(np.uint8)
    frames = rng.integers(0, 12, (n, n_frames))
    labels = rng.integers(0, 3, n)
    whole = example_set(array, frames, labels)
    order = rng.permutation(12)
    turned = example_set(array[order], np.argsort(order)[frames], labels.astype(np.int32))
    assert whole.digests() == turned.digests() == whole.with_own_images().digests()


def test_each_digest_is_of_its_own_part():
    rng = np.random.default_rng(0)
    array = rng.integers(0, 255, (6, 2, 2, 3)).astype(np.uint8)
    frames, labels, ids = np.arange(6).reshape(3, 2), np.arange(3), ["a", "b", "c"]
    first = example_set(array, frames, labels, ids).digests()
    assert set(first) == {"images", "targets", "frames", "ids", "groups"}
    changed = {
        "images": example_set(array[::-1], frames, labels, ids),
        "targets": example_set(array, frames, labels[::-1].copy(), ids),
        "ids": example_set(array, frames, labels, ["a", "b", "d"]),
    }
    for key, examples in changed.items():
        found = examples.digests()
        assert [name for name in first if found[name] != first[name]] == [key]
    found = example_set(array, [[0, 1], [2, 3], [4, 4]], labels, ids).digests()
    assert (found["frames"], found["targets"]) != (first["frames"], first["targets"])


@pytest.mark.parametrize("as_list", [True, False])
def test_dense_targets_are_known_by_their_values(as_list):
    array = np.zeros((3, 2, 2, 3), np.uint8)
    masks = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    targets = list(masks) if as_list else masks
    whole = example_set(array, [[0], [1], [2]], targets)
    other = masks.copy()
    other[1, 0, 0] = 77
    assert whole.digests()["targets"] != example_set(array, [[0], [1], [2]], other).digests()["targets"]
    assert whole.digests()["targets"] == example_set(array, [[0], [1], [2]], masks).digests()["targets"]
    part = whole.subset(np.array([2, 0]))
    assert part.digests()["targets"] == example_set(array, [[0], [1]], masks[[2, 0]]).digests()["targets"]

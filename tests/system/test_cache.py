"""The cache folder: a size limit, nothing in use removed, whole files under several processes and kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from virb.tasks import world

from virb.cli import main
from virb.convert.load import load_encoder
from virb.errors import UsageError
from virb.features.cache import FeatureCache
from virb.images import digests
from virb.images.sets import ArrayImages
from virb.pretraining import sources
from virb.pretraining.kept import kept
from virb.system import cache, files, leases

ENCODER = "random:resnet18:width=0.125,size=32"


def noise(seed: int, n: int = 40) -> ArrayImages:
    pixels = np.random.default_rng(seed).integers(0, 255, (n, 32, 32, 3), dtype=np.uint8)
    return ArrayImages.of(f"noise-{seed}", pixels)


def fill(root: Path, seeds: range) -> None:
    """Encode several sets, the first used longest ago."""
    encoder = load_encoder(ENCODER)
    for seed in seeds:
        FeatureCache(root).encode([encoder], noise(seed))
        newest = max((root / "features").iterdir(), key=lambda folder: leases.last_use(folder))
        os.utime(newest / leases.LOCK_NAME, (seed + 1, seed + 1))


def names(root: Path) -> list[str]:
    return [entry.what.rpartition(" ")[2] for entry in cache.entries(root)]


def test_the_longest_unused_go_first_and_a_use_renews(tmp_path):
    fill(tmp_path, range(3))
    assert names(tmp_path) == ["noise-0", "noise-1", "noise-2"]
    FeatureCache(tmp_path).encode([load_encoder(ENCODER)], noise(0))
    assert names(tmp_path) == ["noise-1", "noise-2", "noise-0"]
    size = cache.entries(tmp_path)[0].n_bytes
    assert cache.trim(2.5 * size, tmp_path) == size
    assert names(tmp_path) == ["noise-2", "noise-0"]


def test_encoding_keeps_to_the_limit_and_never_removes_what_is_read(tmp_path):
    fill(tmp_path, range(2))
    encoder = load_encoder(ENCODER)
    (rows,) = FeatureCache(tmp_path).encode([encoder], noise(0))
    array = rows["embedding"].embedding[:10]  # a view alone keeps the entry
    del rows
    FeatureCache(tmp_path, limit_gb=0).encode([encoder], noise(2))
    assert set(names(tmp_path)) == {"noise-0", "noise-2"}
    assert [entry.is_in_use for entry in cache.entries(tmp_path) if "noise-0" in entry.what] == [True]
    del array
    cache.trim(0, tmp_path)
    assert names(tmp_path) == []


def test_the_limit_is_an_argument_or_a_variable_or_what_the_disk_bears(tmp_path, monkeypatch):
    assert 0 < cache.limit_bytes(tmp_path / "not" / "there") <= 100e9
    monkeypatch.setenv("VIRB_CACHE_GB", "2.5")
    assert cache.limit_bytes(tmp_path) == 2.5e9
    assert cache.limit_bytes(tmp_path, 1) == 1e9
    monkeypatch.setenv("VIRB_CACHE_GB", "much")
    with pytest.raises(UsageError, match="VIRB_CACHE_GB is 'much'"):
        cache.limit_bytes(tmp_path)
    with pytest.raises(UsageError, match="-1"):
        cache.limit_bytes(tmp_path, -1)


HOLDER = """
import sys, time
from pathlib import Path
from virb.system import leases
lease = leases.hold(Path(sys.argv[1]), create=True)
print("held", flush=True)
time.sleep(60)
"""


def test_another_process_holds_its_entries_until_it_is_killed(tmp_path):
    fill(tmp_path, range(1))
    folder = next((tmp_path / "features").iterdir())
    other = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert cache.entries(tmp_path)[0].is_in_use
        assert cache.clear("all", tmp_path)[1][0].path == folder
        assert cache.trim(0, tmp_path) == 0
        assert (folder / "state.json").exists()
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
        other.stdout.close()
    assert cache.clear("all", tmp_path)[1] == []
    assert list((tmp_path / "features").iterdir()) == []


def test_a_removal_that_was_killed_is_finished_by_the_next(tmp_path):
    left = tmp_path / "features" / f"{leases.REMOVED}0"
    left.mkdir(parents=True)
    (left / "embedding.npy").write_bytes(b"x")
    assert cache.entries(tmp_path) == []
    cache.trim(0, tmp_path)
    assert not left.exists()


WRITER = """
import sys
from pathlib import Path
import numpy as np
from virb.features import cache as features
from virb.images.sets import ArrayImages
from virb.convert.load import load_encoder
features.SAVE_EVERY_S = 0.0
root, n, limit = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
encoder = load_encoder("random:resnet18:width=0.125,size=32")
for turn in range(n):
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(0, 255, (128, 32, 32, 3), dtype=np.uint8)
        images = ArrayImages.of(f"noise-{seed}", pixels)
        (rows,) = features.FeatureCache(root, batch_size=16, limit_gb=limit).encode([encoder], images)
        if turn == 0 and seed == 0:
            print("started", flush=True)
        found = np.array(rows["embedding"].embedding)
        del rows
        assert np.isfinite(found).all() and (np.abs(found).sum(axis=1) > 0).all(), "torn rows"
        np.save(sys.argv[4] + f"-{seed}.npy", found)
print("whole", flush=True)
"""


@pytest.mark.slow
def test_processes_that_compute_evict_and_die_at_once_never_read_torn_rows(tmp_path):
    """Two processes share a cache too small for their sets, so that each evicts what the other needs next; a third dies."""

    def start(name: str, n: int) -> subprocess.Popen[str]:
        argv = [sys.executable, "-c", WRITER, str(tmp_path / "cache"), str(n), "0.000001", str(tmp_path / name)]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    victim, *others = start("victim", 1000), start("a", 2), start("b", 2)
    assert victim.stdout is not None
    assert victim.stdout.readline() == "started\n"
    time.sleep(0.3)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    for other in others:
        out, err = other.communicate(timeout=600)
        assert out == "started\nwhole\n", err
    for seed in range(3):
        one, two = (np.load(tmp_path / f"{name}-{seed}.npy") for name in "ab")
        assert np.array_equal(one, two)
        alone = FeatureCache(tmp_path / "own", batch_size=16).encode([load_encoder(ENCODER)], noise(seed, 128))
        assert np.array_equal(one, alone[0]["embedding"].embedding)


def test_rendered_sets_are_listed_and_cleared_unless_they_are_read(tmp_path):
    held = world.load("objects", "train", cache=tmp_path, size=16, limit=2, workers=1)
    world.load("objects", "test", cache=tmp_path, size=16, limit=2, workers=1)
    partial = tmp_path / "world" / "rooms-train-0123.partial"
    partial.mkdir()
    shown = {entry.what: (entry.kind, entry.n_images, entry.is_in_use) for entry in cache.entries(tmp_path)}
    assert shown == {
        "objects/train at 16 px": ("world", 2, True),
        "objects/test at 16 px": ("world", 2, False),
        "rooms-train, not finished": ("world", 0, False),
    }
    cache.clear("features", tmp_path)
    assert len(cache.entries(tmp_path)) == 3
    gone, stayed = cache.clear("world", tmp_path)
    assert gone > 0
    assert [entry.what for entry in stayed] == ["objects/train at 16 px"]
    images = held.images
    del held
    cache.clear("world", tmp_path)
    assert len(cache.entries(tmp_path)) == 1  # its images are still mapped
    del images
    cache.clear("world", tmp_path)
    assert cache.entries(tmp_path) == []


def test_decoded_pretraining_images_are_listed_limited_and_cleared_unless_they_are_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VIRB_CACHE", str(tmp_path / "cache"))
    for name, n in (("one", 2), ("two", 3)):
        folder = tmp_path / name
        folder.mkdir()
        for k in range(n):
            Image.fromarray(np.full((20, 20, 3), 40 * k, np.uint8)).save(folder / f"{k}.png")
    first = sources.load(str(tmp_path / "one"), short_side=16)
    second = sources.load(str(tmp_path / "two"), short_side=16).corrupted("jpeg")
    shown = {entry.what: (entry.kind, entry.n_images, entry.is_in_use) for entry in cache.entries()}
    assert shown == {
        "one at 16 px": ("pretraining", 2, True),
        "two at 16 px": ("pretraining", 3, False),
        "two (jpeg)": ("pretraining", 3, True),
    }
    cache.clear("features")
    cache.clear("world")
    assert len(cache.entries()) == 3
    cache.trim(0)  # under the limit of the features
    assert names(tmp_path / "cache") == ["px", "(jpeg)"]
    assert (first.batch(np.array([1])) == 40).all()
    assert np.isfinite(second.batch(np.array([2]))).all()
    del first, second
    assert main(["data", "cache", "--clear", "pretraining"]) == 0
    assert "removed" in capsys.readouterr().out
    assert cache.entries() == []
    again = sources.load(str(tmp_path / "one"), short_side=16)
    assert (again.batch(np.array([1])) == 40).all()


def test_a_decoding_that_was_killed_is_done_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRB_CACHE", str(tmp_path))
    square = np.full((4, 4, 3), 7, np.uint8)

    def dies():
        yield square
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept("key", "a set", 2, dies)
    assert [entry.what for entry in cache.entries()] == ["not finished"]
    found = kept("key", "a set", 2, lambda: [square, "torn"])
    assert (found.image(0) == 7).all()
    assert found.bad == ((1, "torn"),)
    found = kept("key", "a set", 2, dies)  # it is there
    assert found.bad == ((1, "torn"),)


def test_the_command_shows_trims_and_clears(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VIRB_CACHE", str(tmp_path))
    monkeypatch.setenv("VIRB_CACHE_GB", "3")
    assert main(["data", "cache"]) == 0
    assert "features: 0.0 kB and pretraining images: 0.0 kB, of at most 3.0 GB together" in capsys.readouterr().out
    fill(tmp_path, range(2))
    assert main(["data", "cache"]) == 0
    printed = capsys.readouterr().out
    assert "noise-1" in printed
    assert load_encoder(ENCODER).name in printed
    assert main(["data", "cache", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["images"] for row in rows] == [40, 40]
    assert main(["data", "cache", "--limit", str(1.5 * rows[0]["bytes"] / 1e9)]) == 0
    assert "removed" in capsys.readouterr().out
    assert names(tmp_path) == ["noise-1"]
    assert main(["data", "cache", "--clear"]) == 0
    assert names(tmp_path) == []
    assert main(["data", "status", "--clear"]) == 2
    assert "belong to virb data cache" in capsys.readouterr().err
    assert main(["data", "cache", "pets"]) == 2


def test_it_says_what_published_encoders_take_and_leaves_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VIRB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VIRB_ZOO", str(tmp_path / "zoo"))
    assert main(["data", "cache"]) == 0
    assert "Published encoders" not in capsys.readouterr().out
    file = tmp_path / "zoo" / "some" / "weights.pt"
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(3_000_000))
    assert main(["data", "cache", "--clear", "all"]) == 0
    assert f"Published encoders: 3.0 MB in {tmp_path / 'zoo'}" in capsys.readouterr().out
    assert file.exists()


def test_remembered_digests_are_listed_and_cleared(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VIRB_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "images"
    folder.mkdir()
    for k in range(3):
        (folder / f"{k}.bin").write_bytes(bytes([k]))
        os.utime(folder / f"{k}.bin", (1_600_000_000, 1_600_000_000))
    monkeypatch.setattr(files, "SETTLED_NS", 0)
    found = digests.of_files(folder, sorted(folder.iterdir()))
    assert main(["data", "cache", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["kind"], row["what"], row["images"], row["is_in_use"]) == ("digests", "of 1 root", 3, False)
    assert main(["data", "cache"]) == 0
    assert f"digests: {row['bytes'] / 1e3:.1f} kB" in capsys.readouterr().out
    assert main(["data", "cache", "--clear", "features"]) == 0
    assert len(cache.entries()) == 1
    (tmp_path / "cache" / "encoders").mkdir()
    (tmp_path / "cache" / "encoders" / "a.json").write_text("{}")
    assert main(["data", "cache", "--clear", "digests"]) == 0
    assert [(entry.kind, entry.what, entry.n_bytes) for entry in cache.entries()] == [("encoders", "of 1 file", 2)]
    assert main(["data", "cache", "--clear", "encoders"]) == 0
    assert cache.entries() == []
    assert (digests.of_files(folder, sorted(folder.iterdir())) == found).all()

"""The store: whole or nothing, resumed after a kill, one render for many readers, prefixes, errors."""

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
from virb.tasks.world import store

from virb.errors import DataError


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two examples a chunk, so that a tiny set has several."""
    monkeypatch.setattr(store, "_FRAMES_PER_CHUNK", 2)


def load(cache: Path, limit: int = 4, **options) -> world.WorldSet:
    return world.load("objects", "train", cache=cache, size=16, limit=limit, workers=1, **options)


def test_layout_and_manifest(tmp_path: Path) -> None:
    data = load(tmp_path)
    assert data.path.parent == tmp_path / "world"
    assert data.path.name == f"objects-train-{data.revision}"
    manifest = json.loads((data.path / "manifest.json").read_text())
    assert manifest["n_examples"] == 4
    assert manifest["arrays"]["depth_m"]["unit"].startswith("metres")
    assert {p.stem for p in data.path.glob("*.npy")} == {"images", "class_id", "foreground", "depth_m", "normal"}
    assert isinstance(data.images, np.memmap)
    assert data.images.shape == (4, 16, 16, 3)
    assert data.annotation("class_id").tolist() == [0, 1, 2, 3]
    assert list((tmp_path / "world").glob("*.partial")) == []


def test_a_limit_gives_the_first_examples(tmp_path: Path) -> None:
    np.testing.assert_array_equal(load(tmp_path, 2).images, load(tmp_path, 4).images[:2])
    assert load(tmp_path, 2).revision != load(tmp_path, 4).revision


def test_a_limit_is_read_from_the_whole_set_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = world.SETS["objects"]
    monkeypatch.setitem(world.SETS, "objects", type(spec)(**{**vars(spec), "splits": {"train": 4}}))
    load(tmp_path)
    part = load(tmp_path, 3)
    assert part.path == load(tmp_path).path
    assert (len(part), len(part.images), len(part.annotation("class_id"))) == (3, 3, 3)
    # The name of what was asked for does not hang on what else was rendered before.
    assert part.revision == load(tmp_path / "elsewhere", 3).revision


def test_workers_do_not_change_a_bit(tmp_path: Path, small: None) -> None:
    one = world.load("rooms", "test", cache=tmp_path / "a", size=16, limit=4, workers=1)
    two = world.load("rooms", "test", cache=tmp_path / "b", size=16, limit=4, workers=2)
    for name in ("images", *world.SETS["rooms"].annotations):
        np.testing.assert_array_equal(one._array(name), two._array(name))


def test_frames_of_an_example_are_adjacent(tmp_path: Path) -> None:
    data = world.load("egomotion", "test", cache=tmp_path, size=16, limit=2, workers=1)
    assert data.images.shape == (4, 16, 16, 3)
    assert data.annotation("action").shape == (2,)
    a, b, c, _ = (data.images[k].astype(int) for k in range(4))
    assert np.abs(a - b).mean() < np.abs(a - c).mean()


def test_progress_counts_examples_and_a_second_call_renders_nothing(tmp_path: Path, small: None) -> None:
    calls: list[tuple[int, int]] = []
    load(tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(0, 4), (2, 4), (4, 4)]
    load(tmp_path, progress=lambda done, total: pytest.fail("rendered again"))


def test_finished_chunks_are_used_again_and_torn_ones_are_not(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = np.array(load(tmp_path / "whole").images)
    real, made = store.render_chunk, []

    def fail_at_two(**job):
        if job["start"] == 2:
            raise KeyboardInterrupt
        made.append(job["start"])
        real(**job)

    monkeypatch.setattr(store, "render_chunk", fail_at_two)
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path / "cut")
    partial = next((tmp_path / "cut" / "world").glob("*.partial"))
    assert [p.name for p in partial.iterdir()] == ["000000-000002.npz"]
    (partial / "000002-000004.npz").write_bytes(b"torn")
    (partial / "000002-000004.npz.123.tmp").write_bytes(b"torn")
    monkeypatch.setattr(store, "render_chunk", lambda **job: (made.append(job["start"]), real(**job)))
    np.testing.assert_array_equal(load(tmp_path / "cut").images, expected)
    assert made == [0, 2]


def test_kill_and_resume(tmp_path: Path) -> None:
    code = (
        "from virb.tasks import world; from virb.tasks.world import store; store._FRAMES_PER_CHUNK = 1\n"
        f"world.load('rooms', 'train', cache={str(tmp_path)!r}, size=16, limit=16, workers=2)"
    )
    root = str(Path(world.__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", code], env=env)
    deadline = time.time() + 600
    while time.time() < deadline and len(list(tmp_path.glob("world/*.partial/*.npz"))) < 3:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(tmp_path.glob("world/*/manifest.json"))
    done = len(list(tmp_path.glob("world/*.partial/*.npz")))
    assert done >= 3
    data = world.load("rooms", "train", cache=tmp_path, size=16, limit=16, workers=2)
    undisturbed = world.load("rooms", "train", cache=tmp_path / "other", size=16, limit=16, workers=2)
    np.testing.assert_array_equal(data.images, undisturbed.images)


def test_a_failing_worker_is_an_error_that_says_so(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.sys, "executable", "/bin/false")
    with pytest.raises(DataError, match="Rendering 'objects'"):
        world.load("objects", "train", cache=tmp_path, size=16, limit=4, workers=2)


@pytest.mark.parametrize(
    ("name", "split", "options", "message"),
    [
        ("object", "train", {}, "did you mean 'objects'"),
        ("objects", "val", {}, "it has: train, test"),
        ("objects", "train", {"size": 4}, "8 to 1024"),
        ("objects", "train", {"limit": 0}, "limit of 0"),
    ],
)
def test_bad_requests(name: str, split: str, options: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        world.load(name, split, cache=tmp_path, **options)


def test_an_unknown_annotation_and_an_unwritable_cache(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="class_id, foreground, depth_m"):
        load(tmp_path).annotation("depth")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="VIRB_CACHE"):
        load(tmp_path / "file")


def test_status_tells_what_is_rendered(tmp_path: Path) -> None:
    rows = world.status(cache=tmp_path)
    assert {r["name"] for r in rows} == set(world.SETS)
    assert not any(r["is_rendered"] for r in rows)


def test_contact_sheet_is_a_picture(tmp_path: Path) -> None:
    path = world.contact_sheet("rooms", "test", tmp_path / "sheet.png", n=3, size=16, cache=tmp_path)
    with Image.open(path) as image:
        assert image.size == (12 * 32, 14 + 5 * 32)


def test_importing_the_world_is_light() -> None:
    code = "import sys, virb.tasks.world; print([m for m in ('numpy', 'embreex', 'torch', 'PIL') if m in sys.modules])"
    root = str(Path(world.__file__).parents[2])
    out = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"


def test_a_set_of_a_new_version_is_another_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: store.revision(name, "train", 64, 10) for name in ("objects", "rooms")}
    spec = world.SETS["rooms"]
    monkeypatch.setitem(world.SETS, "rooms", type(spec)(**{**vars(spec), "version": spec.version + 1}))
    assert store.revision("objects", "train", 64, 10) == before["objects"]
    assert store.revision("rooms", "train", 64, 10) != before["rooms"]

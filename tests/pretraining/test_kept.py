"""The cache of decoded images notices damage of any kind, and makes the images again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virb.errors import DataError
from virb.pretraining.kept import kept


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRB_CACHE", str(tmp_path / "cache"))


def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (h, w, 3)).astype(np.uint8) for h, w in ((3, 4), (5, 2), (1, 1))]


def is_whole(found) -> bool:
    return all(np.array_equal(found.image(i), image) for i, image in enumerate(images()))


def damage(folder, kind, name):
    path = folder / name
    if kind == "flip":
        content = bytearray(path.read_bytes())
        content[-1] ^= 0x80
        path.write_bytes(content)
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif kind == "longer":
        path.write_bytes(path.read_bytes() + b"x")
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()


@pytest.mark.parametrize("name", ["pixels.bin", "sizes.bin", "state.json"])
@pytest.mark.parametrize("kind", ["flip", "cut", "longer", "empty", "gone"])
def test_damage_is_noticed_and_mended(tmp_path, kind, name):
    assert is_whole(kept("key", "three", 3, images))
    damage(tmp_path / "cache" / "pretraining" / "key", kind, name)
    again = []

    def anew():
        again.append(1)
        return images()

    assert is_whole(kept("key", "three", 3, anew))
    assert again
    assert is_whole(kept("key", "three", 3, lambda: pytest.fail("made a third time")))


states = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["format", "images", "rows", "unreadable", "sha256", "x"]), inner, max_size=5)
    ),
    max_leaves=6,
)


@settings(max_examples=25)
@given(states)
def test_a_state_of_any_shape_is_noticed(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIRB_CACHE", str(folder))
        kept("key", "three", 3, images)
        (folder / "pretraining" / "key" / "state.json").write_text(json.dumps(content))
        assert is_whole(kept("key", "three", 3, images))


def test_an_entry_of_an_earlier_format_is_replaced(tmp_path):
    folder = tmp_path / "cache" / "pretraining" / "key"
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", np.zeros((3, 4, 4, 3), np.uint8))
    (folder / "state.json").write_text('{"images": "old", "rows": 3, "unreadable": []}')
    assert is_whole(kept("key", "three", 3, images))
    assert not (folder / "images.npy").exists()


def test_a_cache_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "cache").touch()
    with pytest.raises(DataError, match=r"cannot be written.*VIRB_CACHE"):
        kept("key", "three", 3, images)

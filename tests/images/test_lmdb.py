"""LMDB environments: what is read of them, what is refused, and that a run on one goes on in the middle of an epoch."""

from __future__ import annotations

import io
import pickle
import signal
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from virb.errors import DataError
from virb.images.lmdb import LmdbImages, is_environment
from virb.pretraining import sources
from virb.pretraining.runs import pretrain
from virb.pretraining.settings import Settings
from virb.pretraining.stopping import Stopped
from virb.pretraining.trainer import Trainer

lmdb = pytest.importorskip("lmdb", reason="lmdb is not installed (pip install virb[lmdb])")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRB_CACHE", str(tmp_path / "cache"))


def pixels(k):
    return np.random.default_rng(k).integers(0, 256, (20 + k % 3, 24, 3)).astype(np.uint8)


def encoded(k):
    file = io.BytesIO()
    Image.fromarray(pixels(k)).save(file, "PNG")
    return file.getvalue()


def write(path, values, *, subdir=True):
    with (
        lmdb.open(str(path), map_size=1 << 26, subdir=subdir) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in values.items():
            transaction.put(key, value)
    return path


@pytest.fixture
def keyed():
    """Keys that are no text, as LSUN's are arbitrary bytes, in the order of their bytes."""
    return {bytes([200 + k]) + b"%02d" % k: encoded(k) for k in range(18)}


@pytest.mark.parametrize("subdir", [True, False])
def test_images_lie_in_the_order_of_their_keys(tmp_path, keyed, subdir):
    path = write(tmp_path / "x.lmdb", keyed, subdir=subdir)
    assert is_environment(path)
    images = LmdbImages("x", [path])
    assert len(images) == 18
    assert images.labels is None
    assert all((images.image(k) == pixels(k)).all() for k in range(18))
    assert images.size(1) == (21, 24)
    assert images.describe(3) == rf"\xcb03 of {path}"
    again = LmdbImages("again", [path])  # a process may open an environment once only; both share it
    assert again.digest == images.digest
    data = sources.load(str(path), short_side=16)
    assert (len(data), data.label, data.classes) == (18, None, ())


def test_a_set_is_what_its_images_are_and_not_where_they_lie(tmp_path, keyed):
    one = LmdbImages("one", [write(tmp_path / "one.lmdb", keyed)])
    renamed = {b"a/%02d" % k: value for k, value in enumerate(keyed.values())}
    assert LmdbImages("two", [write(tmp_path / "two.lmdb", renamed)]).digest == one.digest
    three = LmdbImages("three", [write(tmp_path / "three.lmdb", dict(list(keyed.items())[1:]))])
    assert three.digests.tolist() == one.digests.tolist()[1:]


def test_labels_beside_images_and_folders_in_keys(tmp_path):
    numbered = {b"num-samples": b"12"}
    for k in range(12):
        numbered |= {b"image-%09d" % (k + 1): encoded(k), b"label-%09d" % (k + 1): str(k).encode()}
    data = sources.load(str(write(tmp_path / "texts.lmdb", numbered)))
    assert data.classes == tuple(map(str, range(12)))  # numbers in the order of numbers
    assert data.label.tolist() == list(range(12))
    folders = {f"{name}/{k}.png".encode(): encoded(k) for k, name in enumerate(("b", "a", "a/deeper"))}
    data = sources.load(str(write(tmp_path / "folders.mdb", folders, subdir=False)))
    assert (data.classes, data.label.tolist()) == (("a", "b"), [0, 0, 1])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({b"0": pickle.dumps((encoded(0), 3)), b"1": pickle.dumps((encoded(1), 4))}, r"'0' is pickled\. A pickle runs code"),
        ({b"0": encoded(0), b"__len__": pickle.dumps(1)}, "'__len__' is pickled"),
        ({b"0": bytes(300), b"1": bytes(300)}, r"'0' is no encoded image; it begins with b'\\x00"),
        ({b"256-00000": encoded(0), b"512-00000": encoded(1), b"length": b"1"}, "length says 1 images, and there are 2"),
        ({b"image-1": encoded(0), b"image-2": encoded(1), b"label-1": b"x"}, "1 of 2 images have no label, as label-2"),
        ({b"length": b"0"}, "holds no images"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_said(tmp_path, values, said):
    with pytest.raises(DataError, match=said):
        sources.load(str(write(tmp_path / "x.lmdb", values)))


def test_damage_is_said_and_does_not_end_the_process(tmp_path, keyed):
    path = write(tmp_path / "x.lmdb", {**keyed, b"~bad": b"\xff\xd8 no jpeg"})
    with pytest.raises(DataError, match=r"1 of 19 images of .* cannot be read.*--skip-unreadable"):
        sources.load(str(path), short_side=16)
    assert len(sources.load(str(path), short_side=16, skip_unreadable=True)) == 18
    whole = (path / "data.mdb").read_bytes()
    for n, said in ((20_000, "it was cut off"), (8192, "it was cut off"), (5000, "cannot be read as LMDB|cut off")):
        cut = tmp_path / f"cut{n}.lmdb"
        cut.mkdir()
        (cut / "data.mdb").write_bytes(whole[:n])
        with pytest.raises(DataError, match=said):
            LmdbImages("cut", [cut])
    scrambled = tmp_path / "scrambled.lmdb"
    scrambled.mkdir()
    (scrambled / "data.mdb").write_bytes(whole[:8192] + bytes([255]) * (len(whole) - 8192))
    with pytest.raises(DataError, match="is damaged"):
        LmdbImages("scrambled", [scrambled])


def test_without_lmdb_the_error_says_how_to_install_it(tmp_path, keyed, monkeypatch):
    path = write(tmp_path / "x.lmdb", keyed)
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(DataError, match=r"needs lmdb, which is not installed: pip install virb\[lmdb\]"):
        sources.load(str(path))


def test_a_run_goes_on_in_the_middle_of_an_epoch_to_the_bit(tmp_path, keyed, monkeypatch):
    path = write(tmp_path / "x.lmdb", keyed)
    monkeypatch.setattr(sources, "_decoded_bytes", lambda *_: float("inf"))  # too large to keep: decoded as it is read
    drawn = []
    update = Trainer._update

    def seen(self, index, images):
        drawn.append(index.tolist())
        if len(drawn) == self.stop_after:
            signal.raise_signal(signal.SIGTERM)
        return update(self, index, images)

    monkeypatch.setattr(Trainer, "_update", seen)
    settings = {
        "method": "rotation", "data": str(path), "size": 16, "batch_size": 4, "epochs": 3, "device": "cpu",
        "arch_options": {"width": 0.125, "stem": "cifar"},
    }  # fmt: skip
    orders = {}
    for name, stop in (("whole", 0), ("broken", 6)):  # an epoch is four updates of four of the eighteen
        drawn.clear()
        monkeypatch.setattr(Trainer, "stop_after", stop, raising=False)
        mine = Settings(out=tmp_path / f"{name}.pt", **settings)
        if stop:
            with pytest.raises(Stopped):
                pretrain(mine, quiet=True)
            assert len(drawn) == 6
        pretrain(mine, quiet=True, resume=bool(stop))
        orders[name] = [*drawn]
    assert orders["whole"] == orders["broken"]
    assert len(orders["whole"]) == 12
    whole, broken = (torch.load(tmp_path / f"{name}.pt")["state_dict"] for name in ("whole", "broken"))
    assert all(torch.equal(whole[key], broken[key]) for key in whole)

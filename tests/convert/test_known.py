"""What is remembered of encoder files: used while they stay as they are, and never where there is a doubt."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from virb import load_encoder
from virb.convert import known
from virb.convert.known import KnownEncoder, load_or_recall
from virb.convert.load import save_encoder
from virb.errors import CheckpointError
from virb.evaluation import encoders

LONG_AGO = time.time() - 1000


def write(path: Path, *, shift: float = 0.0, modified: float = LONG_AGO) -> Path:
    one = load_encoder("pixels:4") if shift == 0 else load_encoder("random:resnet18:width=0.125,size=32")
    state = {key: value + shift if value.is_floating_point() else value for key, value in one.state_dict().items()}
    save_encoder(
        path,
        arch=one.arch,
        arch_options=one.arch_options,
        state_dict=state,
        preprocess=one.preprocess,
        meta={"method": "m", "options": {"t": 0.5}},
    )
    os.utime(path, (modified, modified))
    return path


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache of one's own, and files that count as settled at once."""
    monkeypatch.setenv("VIRB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("virb.system.files.SETTLED_NS", -(10**12))


def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []

    def counted(source: Any, **options: Any) -> Any:
        seen.append(str(source))
        return load_encoder(source, **options)

    monkeypatch.setattr(known, "load_encoder", counted)
    return seen


def test_an_unchanged_file_is_not_loaded_again_and_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"{write(tmp_path / 'a.pt', shift=0.1)}:mean=0.5/0.5/0.5,role=baseline"
    seen = loads(monkeypatch)
    first, again = load_or_recall(source), load_or_recall(source)
    assert seen == [source]
    assert isinstance(again, KnownEncoder)
    facts = (
        "name",
        "identity",
        "sha256",
        "identity_parts",
        "arch",
        "arch_options",
        "preprocess",
        "meta",
        "dim",
        "channels",
    )
    facts += ("strides", "source", "report", "optimize", "device", "dtype")
    assert {key: getattr(again, key) for key in facts} == {key: getattr(first, key) for key in facts}
    images = torch.rand(2, 3, 32, 32)
    copied = pickle.loads(pickle.dumps(again))
    assert not again.is_loaded
    assert torch.equal(again.embed(images), first.embed(images))
    assert torch.equal(copied.embed(images), first.embed(images))
    assert again.is_loaded


def test_other_bytes_another_place_other_options_and_other_code_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.pt", shift=0.1)
    seen = loads(monkeypatch)
    was = load_or_recall(path)
    write(path, shift=0.2)  # of the same size and, as far as utime says, of the same time
    assert load_or_recall(path).identity != was.identity
    (tmp_path / "b.pt").write_bytes(path.read_bytes())
    load_or_recall(tmp_path / "b.pt")
    load_or_recall(f"{path}:size=16")
    monkeypatch.setattr(known, "_code", lambda: "of another day")
    load_or_recall(path)
    assert len(seen) == 5


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b"\xff", b'{"facts": {}, "key": 1}'])
def test_a_damaged_memory_is_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes) -> None:
    path = write(tmp_path / "a.pt")
    was = load_or_recall(path)
    (memory,) = (tmp_path / "cache" / "encoders").glob("*.json")
    altered = memory.read_bytes().replace(was.identity.encode(), b"0" * 64)
    seen = loads(monkeypatch)
    for content in (damage, altered):
        memory.write_bytes(content)
        assert load_or_recall(path).identity == was.identity
    assert len(seen) == 2


def test_a_file_that_changes_before_it_is_needed_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pt", shift=0.1)
    load_or_recall(path)
    found = load_or_recall(path)
    write(path, shift=0.3)
    with pytest.raises(CheckpointError, match="has changed since"):
        found.embed(torch.zeros(1, 3, 32, 32))


def test_a_file_that_changed_just_now_and_what_is_no_file_of_ours_are_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("virb.system.files.SETTLED_NS", 10**12)
    load_or_recall(write(tmp_path / "a.pt", modified=time.time()))
    monkeypatch.setattr("virb.system.files.SETTLED_NS", -(10**12))
    load_or_recall("pixels:4")
    one = load_encoder("random:resnet18:width=0.125,size=32")
    torch.save(one.state_dict(), tmp_path / "foreign.pth")
    load_or_recall(f"{tmp_path / 'foreign.pth'}:arch=resnet18,width=0.125")
    assert not list((tmp_path / "cache").rglob("*.json"))


def test_a_remembered_encoder_has_every_attribute_of_a_loaded_one(tmp_path: Path) -> None:
    source = str(write(tmp_path / "a.pt", shift=0.1))
    loaded, first, known_one = load_encoder(source), load_or_recall(source), load_or_recall(source)
    assert isinstance(first, KnownEncoder)
    assert isinstance(known_one, KnownEncoder)
    assert (first.is_loaded, known_one.is_loaded) == (True, False)
    missing = vars(loaded).keys() - {key for key in vars(loaded) if hasattr(known_one, key)}
    assert not missing
    assert known_one.strides_at(16) == loaded.strides_at(16)
    assert known_one.offsets_at(16) == loaded.offsets_at(16)  # where its maps lie, which pixelwise tasks ask


def test_of_many_encoders_only_so_many_stay_loaded_that_their_bytes_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [str(write(tmp_path / f"{k}.pt", shift=0.1 + k)) for k in range(3)]
    whole = [load_encoder(path) for path in paths]
    one = sum(tensor.nbytes for tensor in whole[0].backbone.state_dict().values())
    monkeypatch.setattr(encoders, "KEPT_BYTES", 2 * one)
    seen = loads(monkeypatch)
    found = encoders.load_encoders(paths, "cpu")
    assert [one.is_loaded for one in found if isinstance(one, KnownEncoder)] == [True, True, False]
    assert seen == paths
    images = torch.rand(2, 3, 32, 32)
    for ours, theirs in zip(found, whole, strict=True):
        assert torch.equal(ours.embed(images), theirs.embed(images))
    assert seen == [*paths, paths[2]]  # read again, as it has work now
    again = encoders.load_encoders(paths, "cpu")
    assert [one.is_loaded for one in again if isinstance(one, KnownEncoder)] == [False] * 3  # nothing is read at all

"""A schema sees a record's contents before any other code does: whatever a file holds, the answer is a sentence."""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from virb.errors import RecordError, VirbError
from virb.records import record as schema
from virb.records.check import check, repair
from virb.records.predictions import read_arrays, score_of
from virb.records.store import ResultStore

ARRAYS = {"ids": np.array(["a", "b"]), "target": np.array([0, 1]), "prediction": np.array([0, 0])}


def record(encoder: str = "enc", seed: int = 0, **given: Any) -> dict[str, Any]:
    return {
        "encoder": {"name": encoder, "sha256": "a" * 64, "arch": "resnet18", "meta": {"method": "simclr", "lr": 0.1}},
        "task": {"name": "t", "version": 1, "category": "semantic image-level", "metric": "top1", "suite": ""},
        "probe": "gradient",
        "seed": seed,
        "score": 0.5,
        "metrics": {"top1": 0.5},
        "per_class": {"x": 1.0, "y": 0.0},
        "n_train": 4,
        "n_test": 2,
        "overrides": {},
        "seconds": {"train": 0.1},
        **given,
    }


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    made = ResultStore(tmp_path / "results")
    made.write(record(), ARRAYS)
    return made


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """The content with a checksum that fits, as somebody would write it who means harm."""
    with contextlib.suppress(ValueError):  # an infinite number has no JSON, and no checksum
        return {**content, "checksum": schema.checksum(content)}
    return content


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def keys_of(content: dict[str, Any], place: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [(*place, key) for key in content]
    for key, value in content.items():
        if isinstance(value, dict):
            found += keys_of(value, (*place, key))
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(data=st.data())
def test_any_value_in_any_field_is_a_whole_record_or_a_sentence(store: ResultStore, data: st.DataObject) -> None:
    path = store.path("enc", "t", "gradient", 0)
    whole = path.read_bytes()
    content = json.loads(whole)
    place = data.draw(st.sampled_from(keys_of(content)))
    part = content
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = data.draw(values)
    try:
        path.write_text(json.dumps(sealed(content)))
        found = store.scan()
        assert len(found.records) + len([p for p in found.problems if p.kind in ("damaged", "misplaced")]) == 1
        if found.records:
            assert store.table()["score"].notna().all()
    finally:
        path.write_bytes(whole)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_refused_in_a_sentence(content: bytes) -> None:
    with pytest.raises(RecordError, match=r"results/x\.json "):
        schema.parse(content, "results/x.json")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"score": NaN}', "NaN is not a JSON number"),
        ('{"score": 1, "score": 2}', "the key 'score' occurs twice"),
        ("[" * 100_000, "is nested too deeply"),
        ("[]", "it is a list, not a JSON object"),
        ('{"schema": "virb-record/2"}', "encoder is missing"),
    ],
)
def test_what_is_no_record(text: str, said: str) -> None:
    with pytest.raises(RecordError) as error:
        schema.parse(text.encode(), "x.json")
    assert said in str(error.value)


def test_a_changed_digit_is_damage(store: ResultStore) -> None:
    path = store.path("enc", "t", "gradient", 0)
    path.write_text(path.read_text().replace('"score": 0.5', '"score": 0.6'))
    with pytest.raises(RecordError, match="do not fit its checksum"):
        store.load(path)


@pytest.mark.parametrize("name", ["..", "a/b", "a\\b", "", "a\0", "a\nb", "x" * 300])
def test_a_name_in_a_file_never_becomes_a_path(store: ResultStore, name: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no name of a folder"):
        store.write(record(name), ARRAYS)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_and_devices_are_not_waited_for(store: ResultStore) -> None:
    folder = store.root / "enc" / "t"
    os.mkfifo(folder / "gradient-seed1.json")
    (folder / "gradient-seed2.json").symlink_to("/dev/zero")
    found = store.scan()
    assert len(found.records) == 1
    assert [problem.reason.rpartition("/")[2] for problem in found.problems] == [
        "gradient-seed1.json is not a regular file; it is not read.",
        "gradient-seed2.json is not a regular file; it is not read.",
    ]


def test_a_file_beyond_all_bounds_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(schema.MAX_BYTES + 1)
    with pytest.raises(RecordError, match="at most 16,777,216 are read"):
        schema.read(path)


def test_a_copy_is_no_measurement(store: ResultStore) -> None:
    path = store.path("enc", "t", "gradient", 0)
    for ending in (".json", ".npz"):
        source = path.with_suffix(ending)
        source.with_name(source.name.replace("seed0", "seed1")).write_bytes(source.read_bytes())
    other = store.root / "other" / "t"
    other.mkdir(parents=True)
    (other / path.name).write_bytes(path.read_bytes())
    found = store.scan()
    assert len(found.records) == 1
    assert [problem.kind for problem in found.problems] == ["misplaced", "misplaced"]
    assert len(store.table()) == 1


def test_what_is_not_ours_is_named(store: ResultStore) -> None:
    (store.root / "notes.txt").write_text("")
    (store.root / "enc" / "t" / ".gradient-seed0.json.x.tmp").write_text("")
    (store.root / "enc" / "t" / "gradient-seed7.npz").write_text("")
    (store.root / "failures.txt").write_text("")  # a run's own
    found = store.scan()
    assert sorted((problem.kind, problem.path.name) for problem in found.problems) == [
        ("foreign", "notes.txt"),
        ("leftover", ".gradient-seed0.json.x.tmp"),
        ("leftover", "gradient-seed7.npz"),
    ]
    assert any("3 other files" in sentence for sentence in store.table().attrs["notes"])


def test_a_row_whose_predictions_are_lost_stays_and_is_named(store: ResultStore) -> None:
    path = store.path("enc", "t", "gradient", 0).with_suffix(".npz")
    content = path.read_bytes()
    for damage in (None, content[:-20], content[:30] + bytes([content[30] ^ 1]) + content[31:]):
        path.unlink(missing_ok=True)
        if damage is not None:
            path.write_bytes(damage)
        assert store.read(path.with_suffix(".json")) is None  # what evaluate asks
        table = store.table()
        assert len(table) == 1
        assert "gradient-seed0.json has lost its predictions" in table.attrs["notes"][0]


def test_records_of_virb_0_1_are_shown_and_named(tmp_path: Path) -> None:
    path = tmp_path / "enc" / "t" / "gradient-seed0.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"schema": "virb-record/1", **record()}))
    store = ResultStore(tmp_path)
    table = store.table()
    assert table["score"].tolist() == [0.5]
    assert "1 record of virb 0.1" in table.attrs["notes"][0]


# ------------------------------------------------------------------------------------------------- check and repair


def test_a_record_that_its_predictions_do_not_give_is_found(store: ResultStore) -> None:
    store.write(record(seed=1, score=0.25), ARRAYS)
    store.write(record(seed=2, n_test=3), ARRAYS)
    records, problems = check(store.root)
    assert len(records) == 1
    assert [problem.reason.rpartition("json ")[2] for problem in problems] == [
        "says 0.25, and its predictions give 0.5.",
        "is of 3 test examples, and the predictions beside it are of 2.",
    ]


def test_a_repair_leaves_whole_records_alone(store: ResultStore) -> None:
    store.write(record(seed=1), ARRAYS)
    store.write(record("renamed"), ARRAYS)
    one = store.path("enc", "t", "gradient", 1)
    one.write_text(one.read_text()[:100])
    (store.root / "renamed").rename(store.root / "new")
    (store.root / ".x.tmp").write_text("")
    (store.root / "mine.txt").write_text("")
    done = repair(store.root)
    assert len(done) == 3
    records, problems = check(store.root)
    assert sorted(found["encoder"]["name"] for found in records) == ["enc", "renamed"]
    assert [problem.kind for problem in problems] == ["foreign"]
    assert (store.root / ".set-aside" / "enc" / "t" / one.name).exists()
    with pytest.raises(VirbError, match="no results folder"):
        repair(store.root / "nowhere")


def test_scores_from_predictions() -> None:
    pixels = {"intersection": np.array([[1, 2]]), "predicted": np.array([[2, 2]]), "target": np.array([[1, 4]])}
    assert score_of(pixels, "miou") == pytest.approx(0.5)
    target, prediction = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert score_of({"target": target, "prediction": prediction}, "mean_per_class") == pytest.approx((2 / 3 + 1) / 2)
    sums = {"sum_absolute_error": np.array([1.0, 3.0]), "n_valid": np.array([2, 2]), "n_outliers": np.array([1, 0])}
    assert score_of(sums, "neg_l1") == -1.0
    assert score_of(sums, "one_minus_all") == 0.75
    assert np.isnan(score_of({}, "top1") or 0)
    assert score_of({}, "a metric from elsewhere") is None


# ------------------------------------------------------------------------------------------------------ predictions


def test_a_header_that_declares_more_than_there_is(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**40,)})
    path = tmp_path / "p.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ids.npy", header.getvalue() + b"\0" * 80)
    with pytest.raises(RecordError, match="has not the size that its header says"):
        read_arrays(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ids.npy", b"x")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("ids.npy", b"y")
    with pytest.raises(RecordError, match="an array occurs twice"):
        read_arrays(path)
    np.savez(path, ids=np.array([{}], dtype=object))
    with pytest.raises(RecordError, match="holds objects"):
        read_arrays(path)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 400), flip=st.integers(0, 400), bits=st.integers(1, 255))
def test_damaged_predictions_are_a_sentence_or_the_arrays(tmp_path_factory, cut: int, flip: int, bits: int) -> None:
    path = tmp_path_factory.mktemp("npz") / "p.npz"
    np.savez_compressed(path, **ARRAYS)
    content = bytearray(path.read_bytes())
    content[flip % len(content)] ^= bits
    path.write_bytes(bytes(content[: len(content) - cut if cut % 2 else len(content)]))
    found = {}
    with contextlib.suppress(RecordError):
        found = read_arrays(path)
    assert all(np.array_equal(found[name], ARRAYS[name]) for name in found.keys() & ARRAYS.keys())

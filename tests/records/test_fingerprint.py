"""A fingerprint holds what decides a number, says field by field what differs, and knows no names."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virb.records import fingerprint as prints
from virb.records.columns import row, table
from virb.records.compare import mixed
from virb.records.record import canonical, digest

PARTS = {
    "encoder": {"identity": "e"},
    "data": {"test": {"targets": "t"}},
    "task": {"head": "linear"},
    "probe": {"seed": 0},
}


def test_every_field_counts_and_differences_name_it() -> None:
    one = prints.fingerprint(**PARTS)
    assert one == prints.fingerprint(**json.loads(json.dumps(PARTS)))
    other = prints.fingerprint(**{**PARTS, "data": {"test": {"targets": "u", "n": 3}}})
    assert other["sha256"] != one["sha256"]
    assert prints.differences(one, other) == [
        "data.test.n: not recorded, now 3",
        "data.test.targets: t, now u",
    ]
    assert prints.differences(one, one) == []


def test_the_digest_is_of_all_fields_but_itself() -> None:
    found = prints.fingerprint(**PARTS)
    assert found["sha256"] == digest({key: value for key, value in found.items() if key != "sha256"})


def test_another_version_of_the_arithmetic_computes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    one = prints.fingerprint(**PARTS)
    monkeypatch.setattr(prints, "NUMERICS", prints.NUMERICS + 1)
    assert prints.differences(one, prints.fingerprint(**PARTS)) == [
        f"numerics: {prints.NUMERICS - 1}, now {prints.NUMERICS}"
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_the_canonical_text_survives_a_file(value: object) -> None:
    assert digest(json.loads(json.dumps(value))) == digest(value)
    assert json.loads(canonical(value).decode("utf-8", "surrogatepass")) == value


def test_plain_words_for_all_that_a_task_may_hold() -> None:
    class Kind(enum.Enum):
        ONE = "one"

    @dataclass(frozen=True)
    class Settings:
        rate: float
        sizes: tuple[int, ...]

    found = prints.plain(
        {"kind": Kind.ONE, "settings": Settings(np.float32(0.5), (np.int64(1), 2)), "nan": float("nan"), "set": {2, 1}}
    )
    assert found == {"kind": "one", "settings": {"rate": 0.5, "sizes": [1, 2]}, "nan": "nan", "set": [1, 2]}
    weights = prints.plain(np.arange(3.0))
    assert weights == prints.plain(np.arange(3.0))
    assert weights != prints.plain(np.arange(3))
    assert prints.plain(PARTS.get) == prints.plain({}.get)
    assert prints.plain(test_every_field_counts_and_differences_name_it).startswith("code ")


# ------------------------------------------------------------------------------------------- columns and comparison


def record(name: str = "a", **changes: dict[str, object]) -> dict[str, object]:
    parts = {**PARTS, **changes}
    return {
        "encoder": {"name": name, "sha256": "f" * 64, "preprocess": {"size": 32}, "meta": {}},
        "task": {"name": "t", "version": 1, "category": "semantic image-level", "metric": "top1", "suite": "mini"},
        "probe": "gradient", "seed": 0, "score": 0.5, "n_train": 4, "n_test": 2, "overrides": {},
        "fingerprint": prints.fingerprint(**parts),
    }  # fmt: skip


def test_every_scalar_of_the_meta_is_a_column() -> None:
    meta = {
        "method": "simclr", "seed": 3, "corruption": "blur", "lr": 0.1, "score": 1, "views": [1, 2],
        "options": {"temperature": 0.2, "head": {"dim": 8}}, "task": "x",
    }  # fmt: skip
    one = record()
    one["encoder"] = {**one["encoder"], "meta": meta, "declared": {"role": "baseline", "corruption": "none"}}  # type: ignore[dict-item]
    found = row(one)
    assert (found["pretrain_seed"], found["seed"], found["score"], found["task"]) == (3, 0, 0.5, "t")
    assert (found["options.temperature"], found["options.head.dim"], found["lr"]) == (0.2, 8, 0.1)
    assert (found["meta.score"], found["meta.task"]) == (1, "x")
    assert (found["corruption"], found["role"]) == ("none", "baseline")  # what is declared goes before the file's own
    assert "views" not in found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": {"test": {"targets": "u"}}}, "t was scored with 2 revisions of the data"),
        ({"task": {"head": "fusion"}}, "t was scored with 2 settings of the task and its probe"),
        ({"probe": {"seed": 1}}, ""),
    ],
)
def test_scores_of_two_things_are_told_apart(change: dict[str, dict[str, object]], said: str) -> None:
    sentences = mixed(table([record(), record("b", **change), record("c")]))
    assert len(sentences) == bool(said)
    assert not said or (said in sentences[0] and ": a, c" in sentences[0])


def test_versions_sizes_and_encoders_are_told_apart() -> None:
    one, two = record(), record("b")
    two["task"] = {**two["task"], "version": 2}  # type: ignore[dict-item]
    two["n_test"] = 3
    two["encoder"] = {**two["encoder"], "preprocess": {"size": 224}}  # type: ignore[dict-item]
    three = {**record("b", encoder={"identity": "other"}), "seed": 1}
    text = " ".join(mixed(table([one, two, three])))
    for said in (
        "2 versions of the task (1: a, b; 2: b)",
        "2 numbers of test examples",
        "of 2 different encoders",
        "2 sizes",
    ):
        assert said in text
    assert mixed(table([one, record("b")])) == []
    assert mixed(table([one])[["encoder", "task", "score"]]) == []  # a foreign table says nothing of it

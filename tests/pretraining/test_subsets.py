"""Subset rules against the papers' arithmetic, and manifests that are the same everywhere."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virb.errors import DataError, UsageError
from virb.pretraining import subsets

IMAGENET = np.repeat(np.arange(1000), 1300)
NAMES = [f"class{c}" for c in range(1000)]


def select(rule, label=IMAGENET, names=NAMES, **kwargs):
    return subsets.select(rule, n_images=len(label), label=label, classes=names, **kwargs)


def test_lin_on_imagenet_has_500500_images():
    positions, notes = select("lin", class_order="sorted")
    assert len(positions) == 500_500
    assert (np.bincount(IMAGENET[positions]) == np.arange(1, 1001)).all()
    assert not notes


def test_log_has_the_papers_constants():
    scale, a, shift = subsets.log_parameters(1000)
    assert scale == pytest.approx(27.55, abs=0.01)
    assert a == pytest.approx(0.003618, abs=1e-6)
    assert shift == pytest.approx(-26.65, abs=0.01)
    counts = subsets.log_counts(1000)
    assert (counts[0], counts[-1]) == (1, 1000)
    assert abs(counts.sum() - 250_000) <= 250
    assert (np.diff(counts) >= 0).all()


def test_log_of_a_small_world_and_impossible_ones():
    counts = subsets.log_counts(12, 20, 400, 1500)
    assert (counts[0], counts[-1]) == (20, 400)
    assert abs(counts.sum() - 1500) <= 6
    for numbers in [(12, 1, 100, 5000), (12, 100, 1, 500), (2, 1, 10, 11), (12, 1, 100, 100)]:
        with pytest.raises(UsageError, match="impossible"):
            subsets.log_counts(*numbers)


def test_half_and_quarter_are_uniform_within_each_class():
    label = np.array([0] * 10 + [1] * 6 + [2])
    for rule, expected in (("half", [5, 3, 1]), ("quarter", [2, 2, 1])):
        positions, _ = select(rule, label, ["a", "b", "c"])
        assert np.bincount(label[positions]).tolist() == expected
    half, quarter = set(select("half")[0]), set(select("quarter")[0])
    assert len(half) == 650_000
    assert quarter < half


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 5))
def test_nested_is_nested(n, m, seed):
    n, m = sorted((n, m))
    small, large = (set(select(f"nested({k})", np.zeros(60, int), ["a"], seed=seed)[0]) for k in (n, m))
    assert len(small) == n
    assert small <= large


def test_classes_are_nested_and_even():
    label = np.arange(120) % 12
    few, many = (select(f"classes({k},24)", label, NAMES[:12])[0] for k in (4, 8))
    assert np.bincount(label[few], minlength=12).max() == 6
    assert np.bincount(label[many], minlength=12).max() == 3
    assert set(label[few]) < set(label[many])


def test_a_class_that_has_too_few_gives_all_and_says_so():
    label = np.array([0] * 5 + [1] * 2 + [2] * 30)
    positions, notes = select("lin(10)", label, ["a", "b", "c"], class_order="sorted")
    assert np.bincount(label[positions]).tolist() == [5, 2, 30]
    assert notes == (
        "class a has 5 of the 10 images that lin(10) asks for; all are taken",
        "class b has 2 of the 20 images that lin(10) asks for; all are taken",
    )


def test_the_seed_ranks_the_classes():
    label = np.repeat(np.arange(6), 40)
    counts = [np.bincount(label[select("lin(5)", label, NAMES[:6], seed=s)[0]]).tolist() for s in (0, 0, 1)]
    assert counts[0] == counts[1] != counts[2]
    assert sorted(counts[0]) == [5, 10, 15, 20, 25, 30]


def manifest(**kwargs):
    label = np.arange(40) % 4
    return subsets.make_manifest(
        "lin(2)", source="toy", source_revision="r", n_images=40, label=label, classes=list("abcd"), seed=3, **kwargs
    )


def test_a_manifest_is_the_same_everywhere():
    # The hash is written down: another machine, NumPy or Python must not change it.
    assert manifest().sha256 == EXPECTED
    assert manifest().counts == manifest().counts
    assert sorted(manifest().counts) == [2, 4, 6, 8]


EXPECTED = "6d82e774c8116993768ad6565f72894649c573e36623422f5468fb2b341d3105"


def test_a_manifest_survives_the_disk_and_notices_changes(tmp_path):
    made = manifest(paths=[f"{i}.png" for i in range(40)])
    made.save(tmp_path / "m.json")
    assert subsets.read_manifest(tmp_path / "m.json") == made
    assert made.paths[0] == f"{made.positions[0]}.png"
    content = json.loads((tmp_path / "m.json").read_text())
    content["seed"] = 4
    (tmp_path / "m.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="changed"):
        subsets.read_manifest(tmp_path / "m.json")
    (tmp_path / "n.json").write_text("[]")
    for name in ("n.json", "absent.json"):
        with pytest.raises(DataError):
            subsets.read_manifest(tmp_path / name)


@pytest.mark.parametrize(
    "rule",
    [
        "third",
        "half(2)",
        "nested",
        "nested(0)",
        "nested(1,2)",
        "classes(3)",
        "lin(x)",
        "log(1,2)",
        "nested(41)",
        "classes(5,10)",
        "classes(4,3)",
    ],
)
def test_bad_rules(rule):
    with pytest.raises(UsageError):
        select(rule, np.arange(40) % 4, list("abcd"))


@pytest.mark.parametrize("rule", ["lin", "log", "classes(2,4)"])
def test_rules_that_need_labels(rule):
    with pytest.raises(UsageError, match="needs labels"):
        subsets.select(rule, n_images=10, label=None, classes=())


@pytest.mark.parametrize("text", ["nested(1.5)", "classes(2,10.5)", "each(0.5)", "classes(1.5,4)"])
def test_rules_that_count_take_whole_numbers(text):
    with pytest.raises(UsageError, match="whole numbers"):
        subsets.parse_rule(text)


@given(st.integers(1, 10**9))
def test_a_rule_is_written_as_it_was_read(n):
    assert str(subsets.parse_rule(f"nested({n})")) == f"nested({n})"


def test_half_of_a_set_has_two_readings():
    """Half of every class, whatever it has; or as many images of every class."""
    label = np.repeat(np.arange(3), (10, 20, 31))
    about = {"n_images": 61, "label": label, "classes": ("a", "b", "c")}
    half, _ = subsets.select("half", **about)
    each, notes = subsets.select("each(15)", **about)
    assert np.bincount(label[half]).tolist() == [5, 10, 16]
    assert np.bincount(label[each]).tolist() == [10, 15, 15]
    assert notes == ("class a has 10 of the 15 images that each(15) asks for; all are taken",)


def manifest_file(tmp_path, **changes):
    """A manifest whose hash fits what it says, whatever that is."""
    import dataclasses
    import hashlib
    import json

    good = subsets.make_manifest(
        "nested(3)", source="s", source_revision="r", n_images=9, label=None, classes=(), seed=0
    )
    fields = {**dataclasses.asdict(good), **changes}
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    path = tmp_path / "m.json"
    path.write_text(json.dumps({"format": subsets.FORMAT, "sha256": digest, **fields}))
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"positions": [0.5, 1.5]}, {"positions": [0, 0, 0]}, {"positions": [2, 1]}, {"positions": [-1, 2]},
        {"positions": [1, 9]}, {"positions": []}, {"positions": [True, 2]}, {"positions": "012"}, {"positions": None},
        {"source": 3}, {"seed": 1.5}, {"source_size": "9"}, {"class_order": "x"}, {"paths": ["a"]}, {"paths": [1, 2, 3]},
        {"counts": [1]}, {"counts": [-1, 4]}, {"notes": [None]}, {"more": 1},
    ],
)  # fmt: skip
def test_a_manifest_whose_hash_fits_but_not_its_values_is_refused(tmp_path, changes):
    with pytest.raises(DataError, match="not a subset's manifest"):
        subsets.read_manifest(manifest_file(tmp_path, **changes))
    assert subsets.read_manifest(manifest_file(tmp_path)).source_size == 9

"""Label trees: what is one, what it is known by, and how it is read and numbered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from virb.contracts.examples import Examples
from virb.contracts.tree import LabelTree, read_tree
from virb.errors import DataError
from virb.images.sets import ArrayImages

TREE = LabelTree({"kind": ("vehicle", "vehicle", "animal"), "all": ("thing",) * 3})


def examples(tree: LabelTree | None) -> Examples:
    images = ArrayImages.of("set", np.zeros((3, 2, 2, 3), np.uint8))
    return Examples(images, np.arange(3)[:, None], np.arange(3), list("abc"), ("car", "bus", "cat"), tree=tree)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ({}, "needs named levels"),
        ({"class": ("a",)}, "needs named levels"),
        ({"kind": ()}, "an ancestor of every class"),
        ({"kind": ("a", "b"), "top": ("t",)}, "an ancestor of every class"),
        ({"kind": ("a", "a"), "top": ("t", "u")}, "kind 'a' lies in 't' and in 'u' at top"),
    ],
)
def test_what_is_no_tree_is_refused(levels, message):
    with pytest.raises(DataError, match=message):
        LabelTree(levels)


def test_a_tree_is_known_by_its_levels_and_groups_and_not_by_the_ancestors_names():
    renamed = LabelTree({"kind": ("Fahrzeug", "Fahrzeug", "Tier"), "all": ("Ding",) * 3}, "a rule")
    assert renamed.digest == TREE.digest
    others = [
        LabelTree({"kind": ("vehicle", "animal", "animal"), "all": ("thing",) * 3}),
        LabelTree({"sort": TREE.levels["kind"], "all": ("thing",) * 3}),
        LabelTree({"kind": TREE.levels["kind"]}),
    ]
    assert len({TREE.digest, *(other.digest for other in others)}) == 4


def test_examples_without_a_tree_are_what_they_were_and_a_tree_follows_the_classes():
    plain = examples(None).digests()
    assert list(plain) == ["images", "targets", "frames", "ids", "groups"]
    assert examples(TREE).digests() == {**plain, "tree": TREE.digest}
    assert examples(TREE).subset(np.array([0])).tree is TREE


def test_a_csv_is_read_in_the_order_of_the_classes(tmp_path: Path):
    path = tmp_path / "tree.csv"
    path.write_text(
        "\ufeffclass,kind,all\ncat,animal,thing\nbus,vehicle,thing\ncar,vehicle,thing\nspare,x,y\n", "utf-8"
    )
    assert read_tree(path, ("car", "bus", "cat")).digest == TREE.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs a column class"),
        ("class\ncar\n", "needs a column class"),
        ("kind,all\na,b\n", "needs a column class"),
        ("class,kind\ncar,vehicle\n", "nothing about bus, cat"),
        ("class,kind\ncar,a\nbus,a\ncat,a\ncat,b\n", "something twice"),
        ("class,kind\ncar,a\nbus,\ncat,a\n", "the line 'bus,' has an empty cell"),
        ("class,kind\ncar,a,b\nbus,a\ncat,a\n", "not 2 of them"),
        ("class,kind,all\ncar,a,x\nbus,a,y\ncat,b,x\n", "kind 'a' lies in 'x' and in 'y'"),
    ],
)
def test_a_csv_that_is_no_tree_of_the_classes_is_refused(tmp_path: Path, text: str, message: str):
    path = tmp_path / "tree.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_tree(path, ("car", "bus", "cat"))
    with pytest.raises(DataError, match="cannot be read"):
        read_tree(tmp_path / "none.csv", ("car",))

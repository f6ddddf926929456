"""The sets of the suites simclr, cole and hammoud, and CamVid, each in its public layout: targets to the digit."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat
from virb.tasks.readers import (
    camvid,
    cifar,
    fine_grained,
    folders,
    land_cover,
    scenes_and_species,
    tiny_imagenet,
    voc_classes,
    wordnet,
)

from virb import registry
from virb.contracts.examples import DataContext, Examples
from virb.errors import DataAbsent, DataError
from virb.evaluation.status import data_status

Read = Callable[[Path, str], Examples]


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def pictures(layouts: SimpleNamespace, root: Path, *names: str) -> None:
    for k, name in enumerate(names):
        layouts.picture(root / name, seed=k)


# ------------------------------------------------------------------- writers: each returns what the reader must return


def food(root, layouts):
    lists = {"train": {"waffles": ["waffles/2", "waffles/10"], "apple_pie": ["apple_pie/7"]},
             "test": {"apple_pie": ["apple_pie/8"], "waffles": ["waffles/3"]}}  # fmt: skip
    for split, classes in lists.items():
        text(root / "meta" / f"{split}.json", json.dumps(classes))
        pictures(layouts, root / "images", *(f"{path}.jpg" for paths in classes.values() for path in paths))
    return {"train": [("apple_pie/7.jpg", 0), ("waffles/2.jpg", 1), ("waffles/10.jpg", 1)],
            "test": [("apple_pie/8.jpg", 0), ("waffles/3.jpg", 1)]}  # fmt: skip


def birdsnap(root, layouts):
    text(
        root / "species.txt",
        "id\tcommon\tscientific\tdir\n2\tBlue Jay\tC. cristata\tBlue_Jay\n1\tOvenbird\tS. a.\tOvenbird\n",
    )
    paths = ["Blue_Jay/1.jpg", "Ovenbird/2.jpg", "Ovenbird/gone.jpg", "Blue_Jay/4.jpg"]
    lines = "".join(f"http://x\tmd5\t{path}\t{2 if 'Jay' in path else 1}\t0\t0\n" for path in paths)
    text(root / "images.txt", "url\tmd5\tpath\tspecies_id\tbb_x1\tbb_y1\n" + lines)
    text(root / "test_images.txt", "path\nBlue_Jay/4.jpg\n")
    pictures(layouts, root / "download" / "images", *(path for path in paths if "gone" not in path))
    return {"train": [("Blue_Jay/1.jpg", 1), ("Ovenbird/2.jpg", 0)], "test": [("Blue_Jay/4.jpg", 1)]}


def cars(root, layouts):
    kind = [("bbox_x1", object), ("class", object), ("fname", object)]
    for split, rows in (("train", [(7, 2, "00001.jpg"), (1, 1, "00002.jpg")]), ("test", [(3, 2, "00001.jpg")])):
        pictures(layouts, root / f"cars_{split}", *(name for *_, name in rows))
        name = "devkit/cars_train_annos.mat" if split == "train" else "cars_test_annos_withlabels.mat"
        (root / "devkit").mkdir(exist_ok=True)
        savemat(root / name, {"annotations": np.array(rows, dtype=kind)[None]})
    savemat(root / "devkit" / "cars_meta.mat", {"class_names": np.array([["AM General", "Acura RL"]], dtype=object)})
    return {"train": [("00001.jpg", 1), ("00002.jpg", 0)], "test": [("00001.jpg", 1)]}


def aircraft(root, layouts):
    of = {"707-320": ("Boeing 707", "Boeing"), "727-200": ("Boeing 727", "Boeing"), "A300B4": ("A300", "Airbus")}
    text(root / "data" / "variants.txt", "".join(f"{variant}\n" for variant in of))
    for part, rows in (("trainval", [("1", "A300B4"), ("02", "707-320"), ("3", "727-200")]),
                       ("test", [("4", "727-200"), ("5", "707-320"), ("6", "A300B4")])):  # fmt: skip
        for kind, value in (
            ("variant", lambda v: v),
            ("family", lambda v: of[v][0]),
            ("manufacturer", lambda v: of[v][1]),
        ):
            lines = "".join(f"{key} {value(variant)}\n" for key, variant in rows)
            text(root / "data" / f"images_{kind}_{part}.txt", lines)
        pictures(layouts, root / "data" / "images", *(f"{key}.jpg" for key, _ in rows))
    return {"train": [("1.jpg", 2), ("02.jpg", 0), ("3.jpg", 1)], "test": [("4.jpg", 1), ("5.jpg", 0), ("6.jpg", 2)]}


def flowers(root, layouts):
    pictures(layouts, root / "jpg", *(f"image_{k:05d}.jpg" for k in range(1, 6)))
    savemat(root / "imagelabels.mat", {"labels": np.array([[2, 1, 1, 2, 1]], np.uint8)})
    savemat(root / "setid.mat", {"trnid": [[4, 2]], "valid": [[1]], "tstid": [[5, 3]]})
    return {"train": [("image_00004.jpg", 1), ("image_00002.jpg", 0), ("image_00001.jpg", 1)],
            "test": [("image_00005.jpg", 0), ("image_00003.jpg", 0)]}  # fmt: skip


def voc(root, layouts):
    top = root / "VOC2007"
    lists = {"trainval": {"aeroplane": " 1 -1  0", "cat": "-1 -1  1"}, "test": {"aeroplane": " 0", "cat": " 1"}}
    keys = {"trainval": ["000005", "000007", "000009"], "test": ["000001"]}
    for part, classes in lists.items():
        text(top / "ImageSets" / "Main" / f"{part}.txt", "".join(f"{key}\n" for key in keys[part]))
        for name, marks in classes.items():
            rows = zip(keys[part], marks.split(), strict=True)
            text(top / "ImageSets" / "Main" / f"{name}_{part}.txt", "".join(f"{key} {mark:>2}\n" for key, mark in rows))
        pictures(layouts, top / "JPEGImages", *(f"{key}.jpg" for key in keys[part]))
    return {"train": [("000005.jpg", [1, 0]), ("000007.jpg", [0, 0]), ("000009.jpg", [-1, 1])],
            "test": [("000001.jpg", [-1, 1])]}  # fmt: skip


def sun397(root, layouts):
    layouts.sun397(root, n=3)
    names = ["z/zoo", "a/abbey", "a/apartment_building/outdoor"]
    text(root / "Training_01.txt", "".join(f"/{name}/sun_0001.jpg\n" for name in names))
    text(root / "Testing_01.txt", "/a/abbey/sun_0003.jpg\n/z/zoo/sun_0002.jpg\n")
    train = [(f"{name}/sun_0001.jpg", k) for name, k in zip(names, (2, 0, 1), strict=True)]
    return {"train": train, "test": [("a/abbey/sun_0003.jpg", 0), ("z/zoo/sun_0002.jpg", 2)]}


SPECIES = [
    "00000_Animalia_Chordata_Aves_Passeriformes_Muscicapidae_Oenanthe_oenanthe",
    "00001_Animalia_Chordata_Aves_Passeriformes_Turdidae_Turdus_merula",
    "00002_Plantae_Tracheophyta_Magnoliopsida_Apiales_Apiaceae_Oenanthe_crocata",
]


def inat21(root, layouts):
    for part in ("2021_train", "2021_valid"):
        pictures(layouts, root / part, *(f"{name}/{part[5]}.jpg" for name in SPECIES))
    return {
        split: [(f"{name}/{key}.jpg", k) for k, name in enumerate(SPECIES)]
        for split, key in (("train", "t"), ("test", "v"))
    }


def places365(root, layouts):
    text(root / "categories_places365.txt", "/a/airfield 0\n/b/barn 1\n/i/igloo 2\n")
    text(root / "places365_train_standard.txt", "/a/airfield/00000001.jpg 0\n/i/igloo/00000003.jpg 2\n")
    text(root / "places365_val.txt", "Places365_val_00000001.jpg 1\n")
    pictures(layouts, root / "data_256_standard", "a/airfield/00000001.jpg", "i/igloo/00000003.jpg")
    pictures(layouts, root / "val_256", "Places365_val_00000001.jpg")
    return {
        "train": [("a/airfield/00000001.jpg", 0), ("i/igloo/00000003.jpg", 2)],
        "test": [("Places365_val_00000001.jpg", 1)],
    }


def tiny(root, layouts):
    text(root / "wnids.txt", "n02124075\nn01443537\n")
    pictures(layouts, root / "train", *(f"{w}/images/{w}_{k}.JPEG" for w in ("n02124075", "n01443537") for k in (0, 1)))
    text(root / "train" / "n02124075" / "n02124075_boxes.txt", "n02124075_0.JPEG\t0\t0\t9\t9\n")
    text(
        root / "val" / "val_annotations.txt",
        "val_0.JPEG\tn02124075\t0\t32\t44\t62\nval_1.JPEG\tn01443537\t1\t2\t3\t4\n",
    )
    pictures(layouts, root / "val" / "images", "val_0.JPEG", "val_1.JPEG")
    train = [(f"{w}/images/{w}_{k}.JPEG", label) for label, w in enumerate(("n01443537", "n02124075")) for k in (0, 1)]
    return {"train": train, "test": [("val_0.JPEG", 1), ("val_1.JPEG", 0)]}


def imagenet_100(root, layouts):
    text(root / "imagenet100.txt", "n02869837 n01749939\n")
    for part in ("train", "val"):
        layouts.folders(root / "whole" / part, ["n01440764", "n01749939", "n02869837"], 1, "x_{}.JPEG")
    rows = [("n01749939/x_1.JPEG", 0), ("n02869837/x_1.JPEG", 1)]
    return {"train": rows, "test": rows}


SETS: dict[str, tuple[Callable[..., Any], Callable[..., Examples], int]] = {
    "food": (food, fine_grained.food, 2),
    "birdsnap": (birdsnap, fine_grained.birdsnap, 2),
    "cars": (cars, fine_grained.cars, 2),
    "aircraft": (aircraft, fine_grained.aircraft, 3),
    "flowers": (flowers, fine_grained.flowers, 2),
    "voc": (voc, voc_classes.classification, 2),
    "sun397": (sun397, folders.sun397_partition, 3),
    "inat21": (inat21, scenes_and_species.inat21, 3),
    "places365": (places365, scenes_and_species.places365, 3),
    "tiny": (tiny, tiny_imagenet.tiny_imagenet, 2),
    "imagenet-100": (
        imagenet_100,
        lambda root, split, n_classes: folders.imagenet_100(
            root, root / "whole", split, DataContext(), n_classes=n_classes
        ),
        2,
    ),
}


@pytest.mark.parametrize("name", SETS)
def test_ids_and_targets_are_those_of_the_files(tmp_path, layouts, monkeypatch, name):
    monkeypatch.setattr(wordnet, "PLACES", ())
    write, read, n_classes = SETS[name]
    for split, expected in write(tmp_path, layouts).items():
        found = read(tmp_path, split, n_classes=n_classes)
        assert list(found.ids) == [path for path, _ in expected]
        np.testing.assert_array_equal(found.targets, [target for _, target in expected])
        assert found.images.image(len(found) - 1).shape == (6, 8, 3)
        assert not found.classes or len(found.classes) == n_classes
    with pytest.raises(
        DataError, match=rf"{n_classes} classes; expected {n_classes + 1}|has lists of {n_classes} classes"
    ):
        read(tmp_path, "train", n_classes=n_classes + 1)
    if name in ("inat21", "birdsnap", "imagenet-100"):
        return  # what a folder lacks nobody lists; what Flickr lacks is counted
    next(path for path in tmp_path.rglob("*") if path.as_posix().endswith(f"/{expected[-1][0]}")).unlink()
    with pytest.raises(DataError, match=r"1 of the .* files that .* missing"):
        [read(tmp_path, split, n_classes=n_classes) for split in ("train", "test")]


@pytest.mark.parametrize("name", SETS)
def test_an_empty_place_is_absent_and_says_what_is_looked_for(tmp_path, name):
    _, read, n_classes = SETS[name]
    with pytest.raises(DataAbsent, match=r"there is no .*; expected"):
        read(tmp_path, "train", n_classes=n_classes)


def test_birdsnap_counts_what_flickr_has_no_more(tmp_path, layouts):
    birdsnap(tmp_path, layouts)
    seen = fine_grained.birdsnap(tmp_path, "train", n_classes=2).accounting
    assert "1 no longer to be had (as Ovenbird/gone.jpg)" in seen.line()


@pytest.mark.parametrize(
    ("name", "path", "content", "message"),
    [
        ("food", "meta/train.json", "[1]", "not a list of images for each class"),
        ("birdsnap", "images.txt", "path\tspecies_id\nBlue_Jay/1.jpg\t3\n", "label 3; expected an id of species.txt"),
        ("cars", "devkit/cars_train_annos.mat", "not MATLAB", "cars_train_annos.mat is not a readable MATLAB file"),
        ("aircraft", "data/images_variant_trainval.txt", "1 Concorde\n", "label 'Concorde'; expected a line of variants"),
        ("aircraft", "data/images_family_trainval.txt", "1 A300\n", "does not say the family of every variant"),
        ("voc", "VOC2007/ImageSets/Main/cat_trainval.txt", "000005 1\n000007 2\n", "'2' for 000007; expected 1, 0 or -1"),
        ("sun397", "Training_01.txt", "/a/atrium/sun_1.jpg\n", "label 'a/atrium/sun_1.jpg'; expected an image of a class"),
        ("places365", "places365_train_standard.txt", "/a/airfield/00000001.jpg 3\n", "label '3'; expected 0 to 2"),
        ("tiny", "val/val_annotations.txt", "val_0.JPEG\tn0\t1\n", "label 'n0'; expected an id of wnids.txt"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_is_named(tmp_path, layouts, name, path, content, message):
    write, read, n_classes = SETS[name]
    write(tmp_path, layouts)
    text(tmp_path / path, content)
    with pytest.raises(DataError, match=message):
        [read(tmp_path, split, n_classes=n_classes) for split in ("train", "test")]


@pytest.mark.parametrize(
    ("name", "listing", "content", "held"),
    [
        ("aircraft", "data/images_variant_val.txt", "02 707-320\n", ["02.jpg"]),
        ("voc", "VOC2007/ImageSets/Main/val.txt", "000007\n000009\n", ["000007.jpg", "000009.jpg"]),
        ("flowers", "", "", ["image_00001.jpg"]),
    ],
)
def test_what_the_publishers_hold_out_is_the_validation_part_of_train(tmp_path, layouts, name, listing, content, held):
    write, read, n_classes = SETS[name]
    write(tmp_path, layouts)
    if listing:
        assert read(tmp_path, "train", n_classes=n_classes).validation is None
        text(tmp_path / listing, content)
    train, test = (read(tmp_path, split, n_classes=n_classes) for split in ("train", "test"))
    assert list(train.validation.ids) == held
    assert test.validation is None
    fitted, chosen_on = train.hold_out(0.2)
    assert list(chosen_on.ids) == held
    assert set(fitted.ids) == set(train.ids) - set(held)


# ------------------------------------------------------------------------------------------------------------- trees


def test_aircraft_have_families_and_manufacturers(tmp_path, layouts):
    aircraft(tmp_path, layouts)
    for split in ("train", "test"):
        levels = fine_grained.aircraft(tmp_path, split, n_classes=3).tree.levels
        assert levels == {
            "family": ("Boeing 707", "Boeing 727", "A300"),
            "manufacturer": ("Boeing", "Boeing", "Airbus"),
        }


def test_inat21_has_six_ranks_above_the_species_and_tells_homonyms_apart(tmp_path, layouts):
    """Oenanthe is a genus of birds and one of plants."""
    inat21(tmp_path, layouts)
    levels = scenes_and_species.inat21(tmp_path, "test", n_classes=3).tree.levels
    assert list(levels) == ["genus", "family", "order", "class (rank)", "phylum", "kingdom"]
    assert [len(set(level)) for level in levels.values()] == [3, 3, 2, 2, 2, 2]
    assert levels["kingdom"] == ("Animalia", "Animalia", "Plantae")
    (tmp_path / "2021_valid" / SPECIES[0]).rename(tmp_path / "2021_valid" / "00000_Animalia_Aves")
    with pytest.raises(DataError, match="expected a number and seven ranks"):
        scenes_and_species.inat21(tmp_path, "test", n_classes=3)


def test_places365_has_two_levels_of_the_publishers_table(tmp_path, layouts):
    places365(tmp_path, layouts)
    assert scenes_and_species.places365(tmp_path, "train", n_classes=3).tree is None
    kinds = [f"kind {k}" for k in range(16)]
    head = ["category", "indoor", "outdoor, natural", "outdoor, man-made", *kinds]

    def row(name: str, *marked: int) -> str:
        return ",".join([f"'{name}'", *("1" if k in marked else "0" for k in range(19))])

    marks = [row("/a/airfield", 2, 13), row("/b/barn", 0, 2, 4, 15), row("/i/igloo", 1)]
    quoted = ",".join(f'"{cell}"' for cell in head)
    table = text(tmp_path / "Scene hierarchy - Places365.csv", "\n".join([",Level 1" + "," * 18, quoted, *marks]))
    levels = scenes_and_species.places365(tmp_path, "train", n_classes=3).tree.levels
    assert levels == {
        "kind of place": ("outdoor, man-made: kind 10", "indoor: kind 1", "outdoor, natural: none of its kinds"),
        "place": ("outdoor, man-made", "indoor", "outdoor, natural"),
    }
    text(table, "\n".join([quoted, *marks[:2]]))
    with pytest.raises(DataError, match="does not say where /i/igloo belongs"):
        scenes_and_species.places365(tmp_path, "train", n_classes=3)


NOUNS = """  1 This software and database is being provided to you
00001740 03 n 01 entity 0 001 ~ 00001930 n 0000 | that which is perceived
00001930 03 n 01 physical_entity 0 001 @ 00001740 n 0000 | an entity
00015388 05 n 02 animal 0 beast 0 002 @ 00001930 n 0000 ~ 02084071 n 0000 | a living thing
02084071 05 n 02 dog 0 domestic_dog 0 003 @ 00015388 n 0000 @ 00001930 n 0000 #m 00001740 n 0000 | barks
02121620 05 n 01 cat 0 001 @i 00015388 n 0000 | purrs
03595614 06 n 01 jersey 0 001 @ 00001930 n 0000 | a shirt
"""


def test_wordnet_merges_the_deepest_first_and_takes_the_first_parent(tmp_path, monkeypatch):
    monkeypatch.setattr(wordnet, "PLACES", ())
    monkeypatch.delenv("NLTK_DATA", raising=False)
    wnids = ["n02084071", "n02121620", "n03595614"]
    assert wordnet.tree(DataContext(), wnids) is None
    text(tmp_path / "corpora" / "wordnet" / "data.noun", NOUNS)
    found = {
        "named": DataContext(places={"wordnet": tmp_path / "corpora" / "wordnet"}),
        "nltk": DataContext(),
    }
    for how, context in found.items():
        if how == "nltk":
            monkeypatch.setenv("NLTK_DATA", str(tmp_path))
        tree = wordnet.tree(context, wnids)
        assert tree.levels == {"depth 2": ("n00015388", "n00015388", "n03595614")}
        assert "first" in tree.rule
    with pytest.raises(DataError, match=r"has no noun n09999999; expected WordNet 3\.0"):
        wordnet.tree(found["named"], [*wnids, "n09999999"])
    with pytest.raises(DataError, match=r"there is no .*data\.noun"):
        wordnet.tree(DataContext(places={"wordnet": tmp_path}), wnids)
    text(tmp_path / "corpora" / "wordnet" / "data.noun", "00001740 03 n zz\n")
    with pytest.raises(DataError, match=r"is not a readable data\.noun"):
        wordnet.tree(found["named"], wnids)


def test_cifar_has_its_superclasses_and_cifar_10_its_batches(tmp_path, layouts, monkeypatch):
    import torchvision.datasets as sets

    rng = np.random.default_rng(0)
    fine, coarse = list(range(100)), [k % 20 for k in range(100)]
    pixels = rng.integers(0, 256, (100, 3072), dtype=np.uint8)
    files = {
        "cifar-100-python/train": {"data": pixels, "fine_labels": fine, "coarse_labels": coarse},
        "cifar-100-python/test": {"data": pixels, "fine_labels": fine[::-1], "coarse_labels": coarse[::-1]},
        "cifar-100-python/meta": {
            "fine_label_names": [f"f{k}" for k in fine],
            "coarse_label_names": [f"c{k}" for k in range(20)],
        },
        "cifar-10-batches-py/data_batch_1": {"data": pixels[:3], "labels": [6, 9, 0]},
        "cifar-10-batches-py/test_batch": {"data": pixels[3:5], "labels": [3, 8]},
        "cifar-10-batches-py/batches.meta": {"label_names": [f"c{k}" for k in range(10)]},
    }
    md5 = {}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(pickle.dumps(content, protocol=2))
        md5[name] = [name.rpartition("/")[2], hashlib.md5((tmp_path / name).read_bytes()).hexdigest()]
    for kind, train, test, meta, key in (
        ("CIFAR100", "cifar-100-python/train", "cifar-100-python/test", "cifar-100-python/meta", "fine_label_names"),
        ("CIFAR10", "cifar-10-batches-py/data_batch_1", "cifar-10-batches-py/test_batch", "cifar-10-batches-py/batches.meta",
         "label_names"),
    ):  # fmt: skip
        of = getattr(sets, kind)
        monkeypatch.setattr(of, "train_list", [md5[train]])
        monkeypatch.setattr(of, "test_list", [md5[test]])
        monkeypatch.setattr(of, "meta", {"filename": md5[meta][0], "key": key, "md5": md5[meta][1]})
    ten = cifar.cifar10(tmp_path, "train")
    np.testing.assert_array_equal(ten.targets, [6, 9, 0])
    np.testing.assert_array_equal(ten.images.image(1), pixels[1].reshape(3, 32, 32).transpose(1, 2, 0))
    np.testing.assert_array_equal(cifar.cifar10(tmp_path, "test").targets, [3, 8])
    for split in ("train", "test"):
        found = cifar.cifar100_tree(tmp_path, split)
        assert found.tree.levels["superclass"] == tuple(f"c{k % 20}" for k in range(100))
        assert found.classes == tuple(f"f{k}" for k in range(100))
        assert found.digests().keys() - cifar.cifar100(tmp_path, split).digests().keys() == {"tree"}


# ----------------------------------------------------------------------------------------- land covers, road scenes


def glc20(root: Path) -> dict[str, np.ndarray]:
    patches = {}
    for country, key, codes in (
        ("us_01", "10551901", [18, 33]),
        ("us_02", "10270012", [25, 17, 34]),
        ("fr", "1049", [1]),
    ):
        patch = np.zeros((4, 5, 6), np.uint8)
        patch[..., :3] = np.random.default_rng(len(key)).integers(0, 256, (4, 5, 3))
        patch[..., 4] = np.resize(codes, (4, 5))
        folder = root / f"patches_{country}" / key[-2:] / key[-4:-2]
        folder.mkdir(parents=True)
        np.save(folder / f"{key}.npy", patch)
        np.save(folder / f"{key}_alti.npy", patch[..., 0])
        patches[key] = patch
    for part, key in (("train", "10551901"), ("val", "10270012")):
        listed = [{"id": k, "file_name": f"{k[-2:]}/{k[-4:-2]}/{k}.npy"} for k in (key, "1049")]
        text(root / f"annotations_{part}.json", json.dumps({"images": listed, "annotations": []}))
    return patches


def test_glc20_reads_every_patch_once_and_knows_the_land_covers(tmp_path):
    patches = glc20(tmp_path)
    with pytest.raises(DataAbsent, match="virb data prepare cole-glc20"):
        land_cover.covers(tmp_path, "train")
    land_cover.prepare(tmp_path, DataContext())
    train, test = (land_cover.covers(tmp_path, split) for split in ("train", "test"))
    assert train.ids == ["patches_us_01/01/19/10551901.npy"]
    np.testing.assert_array_equal(train.targets, [[1, *[0] * 14, 1]])
    np.testing.assert_array_equal(test.targets, [[*[0] * 7, 1, *[0] * 8]])
    assert train.classes[0] == "open water"
    np.testing.assert_array_equal(train.images.image(0), patches["10551901"][..., :3])
    assert train.images.digest != test.images.digest
    (tmp_path / "patches_us_02" / "12" / "00" / "10270012.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"10270012\.npy is not a readable \.npy file"):
        land_cover.prepare(tmp_path, DataContext())


def camvid_files(root: Path, layouts: SimpleNamespace) -> None:
    values = np.array([[0, 3, 11], [10, 4, 8]], dtype=np.uint8)
    for part, names in (("train", ["0001TP_1", "0016E5_2"]), ("val", ["0016E5_3"]), ("test", ["Seq05VD_4"])):
        lines = []
        for k, name in enumerate(names):
            layouts.picture(root / part / f"{name}.png", seed=k, size=(3, 2))
            layouts.grey(root / f"{part}annot" / f"{name}.png", np.roll(values, k))
            lines.append(f"/SegNet/CamVid/{part}/{name}.png /SegNet/CamVid/{part}annot/{name}.png\n")
        text(root / f"{part}.txt", "".join(lines))


def test_camvid_joins_train_and_val_and_reads_masks_as_they_are(tmp_path, layouts):
    camvid_files(tmp_path, layouts)
    train, test = (camvid.scenes(tmp_path, split) for split in ("train", "test"))
    assert train.ids == ["train/0001TP_1.png", "train/0016E5_2.png", "val/0016E5_3.png"]
    assert train.groups == ["0001TP", "0016E5", "0016E5"]
    assert train.validation is None  # the published val is of a video that train has
    np.testing.assert_array_equal(test.targets[0], [[0, 3, 11], [10, 4, 8]])
    np.testing.assert_array_equal(train.targets[1], [[8, 0, 3], [11, 10, 4]])
    layouts.grey(tmp_path / "testannot" / "Seq05VD_4.png", np.full((2, 3), 12, np.uint8))
    with pytest.raises(DataError, match=r"Seq05VD_4\.png has the label 12; expected one class a pixel, 0 to 11"):
        test.targets[0]
    text(tmp_path / "test.txt", "one.png\n")
    with pytest.raises(DataError, match=r"the line 'one\.png'; expected the paths of an image and its mask"):
        camvid.scenes(tmp_path, "test")


# --------------------------------------------------------------------------------------------------- other layouts


def test_a_set_that_lies_in_another_layout_is_read_from_it(tmp_path, layouts):
    names = [f"class {k}" for k in range(10)]
    for part, n in (("train", 2), ("test", 1)):
        layouts.folders(tmp_path / "cifar-10" / part, names, n)
    task = registry.load("tasks", "simclr-cifar-10")
    train, test = (task.examples(DataContext(tmp_path), split) for split in ("train", "test"))
    assert train.classes == tuple(names)
    np.testing.assert_array_equal(train.targets, np.repeat(np.arange(10), 2))
    assert (len(test), test.images.size(0)) == (10, (6, 6))  # the protocol's centre square
    layouts.folders(tmp_path / "cifar-10" / "train", ["class x"], 1)
    layouts.folders(tmp_path / "cifar-10" / "test", ["class x"], 1)
    with pytest.raises(DataError, match=r"has 11 classes; expected 10"):
        task.examples(DataContext(tmp_path), "train")


def test_tiny_imagenets_classes_are_wordnets_where_they_are_said(tmp_path):
    wnids = ("n01443537", "n02124075")
    assert tiny_imagenet.wordnet_ids(wnids, tmp_path) == wnids
    assert tiny_imagenet.wordnet_ids(("0", "1"), tmp_path) == ()
    text(tmp_path / "classes.tsv", "n01443537\tgoldfish\nn02124075\tEgyptian cat\n")
    assert tiny_imagenet.wordnet_ids(("0", "1"), tmp_path) == wnids
    assert tiny_imagenet.wordnet_ids(("0", "1", "2"), tmp_path) == ()


# -------------------------------------------------------------------------------------------- the tasks of the suites

SUITES = ("simclr", "cole", "hammoud")
NAMES = [entry.name for entry in registry.entries("tasks") if entry.group in SUITES]
PLACES = {  # where each set lies below the data folder, and who writes it
    "food-101": ("food-101", food), "birdsnap": ("birdsnap", birdsnap), "cars": ("stanford_cars", cars),
    "aircraft": ("fgvc-aircraft-2013b", aircraft), "flowers-102": ("flowers-102", flowers), "voc2007": ("VOCdevkit", voc),
    "sun397": ("SUN397", sun397), "inat21": (".", inat21), "places365": (".", places365),
    "tiny-imagenet": ("tiny-imagenet-200", tiny),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_tasks_of_the_other_papers_say_where_they_come_from_and_where_they_look(tmp_path, layouts, name):
    task = registry.load("tasks", name)
    assert name.startswith(registry.find("tasks", name).group)
    assert task.is_optional
    assert task.source
    assert task.license
    assert task.obtain
    assert task.deviations
    assert task.protocol.resize == "crop"
    found = data_status(task, DataContext(tmp_path))
    assert (found.state, task.obtain in found.reason) == ("absent", True)
    kind = name.partition("-")[2]
    if kind in PLACES:
        folder, write = PLACES[kind]
        write(tmp_path / folder, layouts)
        found = data_status(task, DataContext(tmp_path))
        assert found.state == "incomplete"
        assert "incomplete: " in found.reason  # two classes of hundreds: the place was found and looked at

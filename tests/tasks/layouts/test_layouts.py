"""The same pictures in every layout are the same images and targets; a task is written by looking at them."""

from __future__ import annotations

import io
import json
import re
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from virb import registry
from virb.cli import main
from virb.contracts.examples import DataContext
from virb.contracts.parts import resolve
from virb.errors import DataAbsent, DataError, UsageError
from virb.images.readers import looked_at, reads
from virb.pretraining import sources
from virb.pretraining.pixels import unstacked
from virb.registry import load

CLASSES = (
    "class-folders",
    "class-folders by lists",
    "table",
    "huggingface",
    "huggingface saved",
    "webdataset",
    "webdataset beside",
    "lmdb",
    "lmdb by folder",
    "lmdb numbered",
)
MASKS = ("image-masks", "image-masks by lists", "image-masks in folders")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VIRB_INCLUDE", raising=False)


def both(path: Path, **changed):
    """Read train and test of what lies at ``path``, as the reader that knows it says."""
    reader, found = looked_at(path)
    context = DataContext(places={"mine": path.parent if path.is_file() else path})
    options = resolve(reader.options, {**found.options, "place": "mine", **changed}, reader.name)
    return [reader.read(context, split, **options) for split in ("train", "test")]


@pytest.mark.parametrize("layout", CLASSES)
def test_equal_pictures_are_equal_in_every_layout(made, layout, tmp_path):
    root = made.CLASSES[layout](tmp_path / "set")
    assert looked_at(root)[0].name == layout.split()[0]
    folders = both(made.class_folders(tmp_path / "folders"))
    for found, wanted, rows in zip(both(root), folders, made.SPLITS.values(), strict=True):
        assert found.classes == made.NAMES
        assert sorted(map(bytes, found.images.digests)) == sorted(map(bytes, wanted.images.digests))
        assert len(found) == len(rows)
        bright = [int(found.images.image(int(row)).mean() > 120) for row in found.frames[:, 0]]
        assert found.targets.tolist() == bright
        assert len(set(found.ids)) == len(rows)


@pytest.mark.parametrize("layout", MASKS)
def test_masks_lie_on_their_images(made, layout, tmp_path):
    root = made.MASKS[layout](tmp_path / "set")
    reader, about = looked_at(root)
    assert (reader.name, about.target) == ("image-masks", "mask")
    assert about.task["options"] == {"ignore_index": 255}
    assert about.task["classes"] == (("low", "high") if "codes.txt" in {p.name for p in root.iterdir()} else 2)
    for found, rows in zip(both(root), made.SPLITS.values(), strict=True):
        assert len(found) == len(rows)
        for k in range(len(found)):
            image, target = found.images.image(k), found.targets[k]
            assert target.shape == image.shape[:2]
            assert (target[:3] == int(image.mean() > 120)).all()
            assert (target[3:] == 255).all()


def test_groups_of_masks_are_found_in_their_names(made, tmp_path):
    train, _ = both(made.camvid(tmp_path / "set"), group="^([^_]+)_")
    assert train.groups == [f"v{k % 3}" for k in (0, 3, 6, 1, 4, 7, 2, 5)] or set(train.groups) == {"v0", "v1", "v2"}
    assert [name.split("/")[1].split("_")[0] for name in train.ids] == list(train.groups)
    with pytest.raises(DataError, match="finds no group"):
        both(tmp_path / "set", group="(nothing)")


def test_a_validation_split_is_for_choosing_and_not_for_training(made, tmp_path):
    for layout in ("class-folders", "huggingface", "webdataset", "table", "image-masks"):
        root = tmp_path / layout
        {**made.CLASSES, **made.MASKS}[layout](root)
        _rename_first_two_to_val(made, layout, root)
        _, about = looked_at(root)
        assert about.options["validation"] == "val", layout
        train, test = both(root)
        assert (len(train), len(train.validation), len(test)) == (6, 2, 4), layout
        shared = set(map(bytes, train.images.digest_rows(train.frames[:, 0])))
        assert not shared & set(map(bytes, train.images.digest_rows(train.validation.frames[:, 0]))), layout
        fitted, held = train.hold_out(0.2)
        assert (len(fitted), len(held)) == (6, 2)
        together, _ = both(root, train="train+val")
        assert (len(together), len(together.validation)) == (8, 2), layout
        assert [len(part) for part in together.hold_out(0.2)] == [6, 2]


def _rename_first_two_to_val(made, layout, root):
    """Make pictures 6 and 7 a split "val"."""
    if layout == "class-folders":
        for name, k in (("cat", 6), ("dog", 7)):
            (root / "val" / name).mkdir(parents=True)
            (root / "train" / name / f"{k:02d}.png").rename(root / "val" / name / f"{k:02d}.png")
    elif layout == "huggingface":
        pq = pytest.importorskip("pyarrow.parquet")
        pq.write_table(made._table_of(range(6)), root / "data" / "train-00000-of-00001.parquet")
        pq.write_table(made._table_of(range(6, 8)), root / "data" / "val-00000-of-00001.parquet")
    elif layout == "webdataset":
        before, made.SPLITS = made.SPLITS, {"train": range(6), "val": range(6, 8), "test": range(8, 12)}
        for old in root.glob("*/*.tar"):
            old.unlink()
        made.shards(root)
        made.SPLITS = before
    elif layout == "table":
        text = (root / "all.csv").read_text("utf-8")
        (root / "all.csv").write_text(re.sub(r"(0[67].png;\w+;)train", r"\1val", text), "utf-8")
    else:
        lines = (root / "train.txt").read_text().splitlines(keepends=True)
        (root / "val").mkdir()
        (root / "valannot").mkdir()
        (root / "train.txt").write_text("".join(lines[:6]))
        (root / "val.txt").write_text("".join(lines[6:]).replace("/train", "/val"))
        for folder in ("", "annot"):
            for k in (6, 7):
                name = f"v{k % 3}_{k:02d}.png"
                (root / f"train{folder}" / name).rename(root / f"val{folder}" / name)


def test_several_labels_and_numbers_in_a_table(made, tmp_path):
    made.table(tmp_path)
    (tmp_path / "all.csv").unlink()
    rows = [(f"img/{k:02d}.png", "train" if k < 8 else "test", f"p{k % 4}") for k in range(12)]
    tags = ["sea|sky" if k % 2 else "sky" if k % 3 else "" for k in range(12)]
    made.put(
        tmp_path / "tags.csv",
        "image,split,patient,tags\n" + "".join(f"{p},{s},{g},{t}\n" for (p, s, g), t in zip(rows, tags, strict=True)),
    )
    train, test = both(tmp_path)
    assert train.classes == ("sea", "sky")
    wanted = [[int("sea" in tag), int("sky" in tag)] for tag in tags]
    assert np.concatenate([train.targets, test.targets]).tolist() == wanted
    assert list(train.groups) == [f"p{k % 4}" for k in range(8)]
    (tmp_path / "tags.csv").unlink()
    made.put(
        tmp_path / "years.csv",
        "image,split,age\n" + "".join(f"{p},{s},{k / 2 if k else ''}\n" for k, (p, s, _) in enumerate(rows)),
    )
    _, about = looked_at(tmp_path / "years.csv")
    assert about.target == "number"
    train, test = both(tmp_path / "years.csv")
    assert np.isnan(train.targets[0])
    assert train.targets[1:].tolist() == [k / 2 for k in range(1, 8)]
    (tmp_path / "years.csv").unlink()
    made.put(
        tmp_path / "two.csv",
        "image,split,wet,warm\n"
        + "".join(f"{p},{s},{k % 2},{-1 if k == 3 else k % 3 // 2}\n" for k, (p, s, _) in enumerate(rows)),
    )
    train, _ = both(tmp_path)
    assert train.classes == ("wet", "warm")
    assert train.targets[3].tolist() == [1, -1]


@pytest.mark.parametrize("layout", [*CLASSES, *MASKS])
def test_a_task_is_written_by_looking_and_evaluates(made, layout, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = {**made.CLASSES, **made.MASKS}[layout](tmp_path / "set")
    assert main(["new", "task", "pictures", "--from", str(root), "--out", "own"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Found {layout.split()[0]}: ")
    command = re.search(r"virb (evaluate ENCODER .*)", out)[1].replace("ENCODER", "pixels:2:size=8").split()
    is_dense = layout in MASKS
    command = [
        word.replace("pixels:2:size=8", "random:resnet18:width=0.125,size=32") if is_dense else word for word in command
    ]
    assert main([*command, *(["--epochs", "1"] if is_dense else ["--probe", "knn"])]) == 0
    record = json.loads(next(Path("results").rglob("*seed0.json")).read_text())
    assert (record["n_train"], record["n_test"]) == (8, 4)
    if not is_dense:
        assert record["per_class"] == {"cat": 1.0, "dog": 1.0}


@pytest.mark.parametrize("layout", [*CLASSES, "image-masks"])
def test_pretraining_reads_the_train_split_by_the_same_reader(made, layout, tmp_path):
    root = {**made.CLASSES, **made.MASKS}[layout](tmp_path / "set")
    data = sources.load(str(root), short_side=4)
    assert len(data) == 8
    assert any("alone is trained on" in note for note in data.notes)
    assert data.classes == (() if layout == "image-masks" else made.NAMES)
    folders = sources.load(str(made.class_folders(tmp_path / "folders")), short_side=4)
    assert pictures(data) == pictures(folders)


def pictures(data):
    return sorted(image.tobytes() for image in unstacked(data.batch(np.arange(len(data)))))


def test_a_layout_that_nobody_knows_is_one_sentence(made, tmp_path):
    made.put(tmp_path / "set" / "notes.md", "nothing")
    for ask in (lambda: looked_at(tmp_path / "set"), lambda: sources.load(str(tmp_path / "set"))):
        with pytest.raises(DataError, match=r"in none of the layouts that are read: a folder a class.*WebDataset"):
            ask()
    assert main(["new", "task", "nothing", "--from", str(tmp_path / "set"), "--out", str(tmp_path)]) == 2


def test_what_is_wrong_in_a_layout_is_said(made, tmp_path):
    root = made.shards(tmp_path / "w")
    first = root / "train" / "9.tar"
    content = first.read_bytes()
    first.write_bytes(content[:1500])
    with pytest.raises(DataError, match=r"9\.tar ends within a file"):
        both(root)
    with tarfile.open(first, "w:gz") as tar:
        tar.add(root / "classnames.txt", "a.png")
    with pytest.raises(DataError, match=r"is compressed"):
        looked_at(root)
    first.write_bytes(content.replace(b"s0000000.png", b"s0000000.txt"))
    with pytest.raises(DataError, match=r"damaged, at byte|no image"):
        both(root)
    folders = made.camvid(tmp_path / "c")
    (folders / "trainannot" / "v0_00.png").unlink()
    with pytest.raises(DataError, match=r"1 of 8 images .* have no mask .* v0_00\.png"):
        both(folders)
    csv = made.table(tmp_path / "t")
    text = (csv / "all.csv").read_text("utf-8")
    (csv / "all.csv").write_text(text.replace("11.png;dog", "11.png;cow"), "utf-8")
    with pytest.raises(DataError, match="has the class 'cow', which no training row has"):
        both(csv)
    with pytest.raises(DataAbsent, match="there is no"):
        reads("webdataset", place="nowhere")(DataContext(root=tmp_path), "train")
    with pytest.raises(UsageError, match="needs place="):
        reads("class-folders")(DataContext(root=tmp_path), "train")


def test_labels_that_name_other_classes_in_the_test_split_are_refused(made, tmp_path):
    root = made.class_folders(tmp_path / "set")
    (root / "test" / "cat").rename(root / "test" / "cow")
    with pytest.raises(DataError, match="not the declared classes"):
        both(root)


def _with_classes(made, layout, root, classes):
    """Write ``layout`` with other classes, eight for train and then four for test; None: none."""
    if layout == "table":
        rows = [f"img/{k:02d}.png;{name or ''};{'train' if k < 8 else 'test'}" for k, name in enumerate(classes)]
        made.table(root)
        made.put(root / "all.csv", "\n".join(["path;label;split", *rows]))
    elif layout == "huggingface":
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        made.parquet(root)
        for split, part in made.SPLITS.items():
            path = root / "data" / f"{split}-00000-of-00001.parquet"
            images = made._table_of(part, labels=False).column("image")
            texts = pa.array([classes[k] or "" for k in part], pa.string())
            pq.write_table(pa.table({"image": images, "label": texts}), path)
    else:
        for split, part in made.SPLITS.items():
            (root / split).mkdir(parents=True)
            with tarfile.open(root / split / "0.tar", "w") as tar:
                for k in part:
                    for ending, content in (("png", made.encoded(k)), ("cls", (classes[k] or "").encode())):
                        member = tarfile.TarInfo(f"s{k:07d}.{ending}")
                        member.size = len(content)
                        tar.addfile(member, io.BytesIO(content))
    return root


TEXTS = ("table", "huggingface", "webdataset")


@pytest.mark.parametrize("layout", TEXTS)
@pytest.mark.parametrize("k", [3, 9])
def test_an_example_without_a_class_is_no_class_of_its_own(made, layout, k, tmp_path):
    classes = ["3", "5"] * 6
    classes[k] = None
    with pytest.raises(DataError, match=r"has no class for 1 of|give every row a class|1 of \d samples have no class"):
        both(_with_classes(made, layout, tmp_path / "set", classes), kind="class")


@pytest.mark.parametrize("layout", TEXTS)
def test_the_train_split_numbers_the_classes(made, layout, tmp_path):
    """Also where test lacks one, or has numbers alone beside the train split's words."""
    classes = ["9", "10", "b", "c", "9", "10", "b", "c", "9", "10", "9", "10"]
    train, test = both(_with_classes(made, layout, tmp_path / "set", classes), kind="class")
    assert train.classes == test.classes
    assert [train.classes[k] for k in (*train.targets, *test.targets)] == classes


def test_shards_with_negative_numbers_are_without_classes(made, tmp_path):
    with pytest.raises(DataError, match=r"1 of 8 samples have no class; the first is s0000003.*'-1'"):
        both(_with_classes(made, "webdataset", tmp_path / "set", ["0", "1", "0", "-1"] + ["0", "1"] * 4))


def test_labels_below_0_are_not_the_last_of_the_names(made, tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    root = made.parquet(tmp_path / "set")
    feature = {"_type": "Sequence", "feature": {"_type": "ClassLabel", "names": ["x", "y"]}}
    about = {"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}, "label": feature}}})}
    for split, part in made.SPLITS.items():
        images = made._table_of(part, labels=False).column("image")
        table = pa.table({"image": images, "label": [[k % 2] for k in part[:-1]] + [[-1]]})
        path = root / "data" / f"{split}-00000-of-00001.parquet"
        pq.write_table(table.replace_schema_metadata(about), path)
    with pytest.raises(DataError, match="'label' has the label -1; it names 2, from 0"):
        both(root)


def test_a_table_that_names_images_and_cannot_be_read_is_said(made, tmp_path):
    csv = made.table(tmp_path / "set") / "all.csv"
    text = csv.read_text("utf-8")
    csv.write_text(text.replace("03.png;dog", "03.png;dog;x"), "utf-8")
    with pytest.raises(DataError, match="row 5 has 4 cells; the header has 3"):
        looked_at(csv.parent)
    csv.write_text(text.replace("path;label;split", "path;label;label"), "utf-8")
    with pytest.raises(DataError, match="more than one column 'label'"):
        looked_at(csv.parent)
    made.put(csv.parent / "notes.csv", "a,b\n1\n")  # no table of images
    csv.write_text(text, "utf-8")
    assert looked_at(csv.parent)[0].name == "table"


def test_numbers_of_which_one_is_missing_are_numbers(made, tmp_path):
    csv = made.table(tmp_path / "set") / "all.csv"
    rows = [f"img/{k:02d}.png;{'nan' if k == 5 else k * 0.5};{'train' if k < 8 else 'test'}" for k in range(12)]
    csv.write_text("\n".join(["path;label;split", *rows]), "utf-8")
    train, _ = both(csv.parent)
    assert np.isnan(train.targets[5])
    assert train.targets[6] == 3
    csv.write_text("\n".join(["path;label;split", *rows]).replace("nan", "inf"), "utf-8")
    with pytest.raises(DataError, match="'inf'; expected a finite number"):
        both(csv.parent)


def test_a_set_of_torchvisions_by_name(made, tmp_path):
    reader = load("readers", "torchvision")
    with pytest.raises(DataAbsent, match="torchvision's CIFAR10 cannot be read"):
        reader.read(DataContext(root=tmp_path), "train", name="CIFAR10", place="", validation=False)
    with pytest.raises(DataError, match=r"no data set 'CIFAR11'\. Did you mean torchvision:CIFAR10"):
        reader.read(DataContext(root=tmp_path), "train", name="CIFAR11", place="", validation=False)
    _dtd(made, tmp_path / "dtd" / "dtd")
    train, test = (
        reader.read(DataContext(root=tmp_path), split, name="DTD", place="", validation=True)
        for split in ("train", "test")
    )
    assert (len(train), len(train.validation), len(test)) == (2, 2, 2)
    assert train.classes == ("banded", "bubbly")
    assert (train.images.image(0) == train.validation.images.image(0)).all()
    assert len(train.hold_out(0.1)[0]) == 2


def _dtd(made, root):
    for k, split in enumerate(("train", "val", "test")):
        for c, name in enumerate(("banded", "bubbly")):
            made.put(root / "images" / name / f"{k}.jpg", made.encoded(2 * k + c))
        made.put(root / "labels" / f"{split}1.txt", f"banded/{k}.jpg\nbubbly/{k}.jpg\n")


def test_every_reader_that_recognises_says_its_layout():
    for entry in registry.entries("readers"):
        reader = load("readers", entry.name)
        assert bool(reader.layout) == (reader.recognise is not None)
        assert replace(reader).name == entry.name

"""virb data and virb validate through the real command line, on tiny sets in their public layouts."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from virb.tasks.readers.common import torchvision_prepare

from virb.cli import main
from virb.contracts.examples import DataContext
from virb.errors import DataError


def run(capsys, *argv):
    code = main([str(word) for word in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def status(capsys, *argv):
    code, out, _ = run(capsys, "data", "status", *argv, "--json")
    return code, {row["task"]: row for row in json.loads(out)}


def test_status_tells_found_incomplete_and_absent_apart(tmp_path, layouts, capsys):
    layouts.pets(tmp_path / "oxford-iiit-pet")
    layouts.clevr(tmp_path / "CLEVR_v1.0")
    (tmp_path / "CLEVR_v1.0" / "images" / "val" / "CLEVR_val_000001.png").unlink()
    code, rows = status(capsys, "--data", tmp_path)
    assert code == 0
    assert len(rows) == 21
    assert rows["pets"]["state"] == "incomplete"
    assert rows["pets"]["counts"] == {"train": 2, "test": 1}
    assert "train has 2 examples; expected 3,680." in rows["pets"]["reason"]
    assert "1 of the 2 files" in rows["clevr-count"]["reason"]
    assert "CLEVR_val_000001.png" in rows["clevr-count"]["reason"]
    assert rows["egohands"]["state"] == "absent"
    assert "egohands_data" in rows["egohands"]["reason"]
    assert "To obtain it: extract egohands_data.zip" in rows["egohands"]["reason"]


def test_status_prints_a_table_and_reasons(tmp_path, layouts, capsys):
    layouts.pets(tmp_path / "oxford-iiit-pet")
    code, out, _ = run(capsys, "data", "status", "pets", "dtd", "--data", tmp_path)
    assert code == 0
    assert "2 of 3,680" in out
    assert "dtd: absent. dtd: there is no" in out
    assert "1 incomplete, 1 absent" in out


def test_status_without_a_data_folder_says_how_to_name_one(capsys, monkeypatch):
    monkeypatch.delenv("VIRB_DATA", raising=False)
    _, rows = status(capsys, "dtd")
    assert rows["dtd"]["state"] == "absent"
    assert "pass --data DIR" in rows["dtd"]["reason"]


ENCODER = "random:resnet18:width=0.25,size=32"
TASK = '''"""Light and dark."""
from virb.contracts.task import Category, Protocol, Task


def data(context, split):
    from virb.tasks.readers.folders import labelled_files, class_folders

    root = context.place("shades") / split
    files, labels = class_folders("shades", root, ["dark", "light"])
    return labelled_files("shades", root, files, labels)


TASK = Task(
    name="shades",
    summary="light or dark",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=Protocol(epochs=2),
    classes=("dark", "light"),
    n_examples={"train": 8, "test": 4},
)
'''


@pytest.fixture
def shades(tmp_path, monkeypatch):
    """A task of one's own in a file, and its images."""
    from PIL import Image

    monkeypatch.setenv("VIRB_INCLUDE", "")
    rng = np.random.default_rng(0)
    for split, n in (("train", 4), ("test", 2)):
        for name, low in (("dark", 0), ("light", 180)):
            (tmp_path / "shades" / split / name).mkdir(parents=True)
            for k in range(n):
                pixels = rng.integers(low, low + 70, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "shades" / split / name / f"{k}.png")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "shades.py").write_text(TASK)
    return tmp_path


def validate(capsys, folder):
    code, out, _ = run(capsys, "validate", folder / "own" / "shades.py", "--data", folder, "--json")
    return code, {row["name"]: row for row in json.loads(out)}


def test_decoding_counts_and_names_corrupt_images(shades, capsys):
    path = shades / "shades" / "train" / "dark" / "2.png"
    path.write_bytes(path.read_bytes()[:60])
    include = ("--include", shades / "own", "--data", shades)
    assert status(capsys, "shades", *include)[1]["shades"]["state"] == "found"
    _, rows = status(capsys, "shades", *include, "--decode")
    assert rows["shades"]["state"] == "incomplete"
    assert "train: 1 of 8 examples cannot be read; the first: " in rows["shades"]["reason"]
    assert str(path) in rows["shades"]["reason"]


def test_evaluate_stops_at_a_corrupt_image_unless_it_may_skip_it(shades, capsys, monkeypatch):
    monkeypatch.setenv("VIRB_CACHE", str(shades / "cache"))
    path = shades / "shades" / "train" / "dark" / "2.png"
    path.write_bytes(path.read_bytes()[:60])
    words = ("evaluate", ENCODER, "--tasks", "shades", "--include", shades / "own", "--data", shades)
    words += ("--out", shades / "results")
    code, _, err = run(capsys, *words)
    assert code == 2  # nothing else went on
    assert f"{path} is not a readable image" in err
    assert "--skip-corrupt" in err
    code, out, err = run(capsys, *words, "--skip-corrupt")
    assert code == 0
    assert "1 of 8 examples of train are left out" in err
    assert str(path) in err
    assert "skip_corrupt=1" in out
    (record,) = (shades / "results").rglob("*.json")
    assert json.loads(record.read_text())["n_train"] == 7


def test_validate_passes_a_good_task(shades, capsys):
    code, out, _ = run(capsys, "validate", shades / "own" / "shades.py", "--data", shades, "--images", 4)
    assert code == 0, out
    assert out.startswith("shades: 11 checks passed")
    assert "8 of 8 images of train and 4 of 4 of test compared by their bytes; 8 of 8 and 4 of 4 by their pixels" in out
    assert "a head trains: linear on" in out


def test_validate_finds_an_image_in_both_splits(shades, capsys):
    source = shades / "shades" / "train" / "dark" / "1.png"
    (shades / "shades" / "test" / "dark" / "0.png").write_bytes(source.read_bytes())
    code, rows = validate(capsys, shades)
    assert code == 1
    assert not rows["no image is in both splits"]["is_ok"]
    assert str(source) in rows["no image is in both splits"]["detail"]
    assert rows["a head trains"]["is_ok"]


def test_validate_finds_an_empty_class_and_a_wrong_number(shades, capsys):
    (shades / "shades" / "test" / "light" / "0.png").unlink()
    _, rows = validate(capsys, shades)
    assert "test has 3 examples; the task declares 4" in rows["sizes are as declared"]["detail"]
    (shades / "shades" / "test" / "light" / "1.png").unlink()
    code, rows = validate(capsys, shades)
    assert code == 1
    assert list(rows) == ["train is read", "test is read"]
    assert "light holds no image" in rows["test is read"]["detail"]


@pytest.mark.parametrize(
    ("line", "instead", "check", "says"),
    [
        ("files, labels)", "files, labels + 1)", "targets are in range", "lie outside 0..1; the first is 2"),
        (
            "files, labels)",
            "files, labels * 0)",
            "every class occurs",
            "have no example in train; the first is 'light'",
        ),
        ("TASK = Task(", "TASK = Task(n_frames=2,", "sizes are as declared", "of 1 frames; the task declares 2"),
    ],
)
def test_validate_finds_what_the_task_declares_wrongly(line, instead, check, says, shades, capsys, monkeypatch):
    monkeypatch.setattr("virb.evaluation.validation._trains", lambda *_: "not asked here")
    (shades / "own" / "shades.py").write_text(TASK.replace(line, instead))
    code, rows = validate(capsys, shades)
    assert code == 1
    assert says in rows[check]["detail"]


@pytest.mark.parametrize("name", ["pets-segmentation", "kitti-flow", "taskonomy-depth"])
def test_validate_trains_every_dense_head(name, tmp_path, layouts, capsys):
    layouts.pets(tmp_path / "oxford-iiit-pet")
    layouts.kitti(tmp_path / "KittiFlow")
    layouts.taskonomy(tmp_path / "taskonomy")
    code, out, _ = run(capsys, "validate", name, "--data", tmp_path, "--images", 2, "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 1  # a tiny set has not the declared numbers, and nothing else is wrong
    assert [check for check, row in rows.items() if not row["is_ok"]] == ["sizes are as declared"]
    assert "fell from" in rows["a head trains"]["detail"]


def test_validate_refuses_what_is_no_task(tmp_path, capsys):
    code, _, err = run(capsys, "validate", tmp_path / "missing.py")
    assert code == 2
    assert "there is no such file" in err
    code, _, err = run(capsys, "validate", "pest")
    assert code == 2
    assert "Did you mean 'pets'" in err


def test_prepare_downloads_then_verifies(tmp_path, layouts, capsys, monkeypatch):
    import torchvision.datasets as sets

    asked = []

    def download(root, download):
        asked.append((root, download))
        layouts.dtd(tmp_path / "dtd")

    monkeypatch.setattr(sets, "DTD", download)
    code, out, err = run(capsys, "data", "prepare", "dtd", "--data", tmp_path)
    assert asked == [(str(tmp_path), True)]
    assert code == 1  # what was "downloaded" is a tiny set, and is found out
    assert "2 classes; expected 47" in out
    assert "dtd: downloading" in err
    code, out, _ = run(capsys, "data", "prepare", "egohands", "--data", tmp_path)
    assert code == 1
    assert "To obtain it: extract egohands_data.zip" in out
    code, _, err = run(capsys, "data", "prepare", "--data", tmp_path)
    assert code == 2
    assert "needs the names" in err


def test_prepare_extracts_archives_that_lie_there(tmp_path, layouts, capsys):
    """Through torchvision itself: Cityscapes may not be downloaded, but its two archives are extracted."""
    layouts.cityscapes(tmp_path / "made")
    place = tmp_path / "cityscapes"
    place.mkdir()
    for part in ("leftImg8bit", "gtFine"):
        made = tmp_path / "made" / part
        with zipfile.ZipFile(place / f"{part}_trainvaltest.zip", "w") as archive:
            for path in made.rglob("*.png"):
                archive.write(path, f"{part}/{path.relative_to(made)}")
    code, out, _ = run(capsys, "data", "prepare", "cityscapes", "--data", f"cityscapes={place}", "--json")
    (row,) = json.loads(out)
    assert code == 1
    assert row["counts"] == {"train": 1, "test": 1}
    assert row["reason"] == "train has 1 examples; expected 2,975. test has 1 examples; expected 500."


def test_prepare_names_the_archive_that_is_not_there(tmp_path, capsys):
    code, out, _ = run(capsys, "data", "prepare", "imagenet", "--data", tmp_path)
    assert code == 1
    assert "ILSVRC2012_devkit_t12.tar.gz is not present" in out


def test_a_failed_download_is_one_sentence(tmp_path, monkeypatch):
    import torchvision.datasets as sets

    def fail(root, download):
        raise OSError("no route to host")

    monkeypatch.setattr(sets, "DTD", fail)
    with pytest.raises(DataError, match=r"dtd: torchvision could not put it into .*: no route to host"):
        torchvision_prepare("DTD", DataContext(root=tmp_path), "dtd", folder="dtd", download=True)

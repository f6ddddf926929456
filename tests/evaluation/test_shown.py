"""A handful of pictures lies beside each pixelwise record, belongs to it, and costs nothing when it is lost."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import virb
from virb.cli import main
from virb.contracts.examples import DataContext, Examples
from virb.contracts.task import Category, Protocol, Task
from virb.errors import UsageError
from virb.evaluation import show as shower
from virb.evaluation.show import show
from virb.evaluation.shown import SIDE, small_size
from virb.images import pictures
from virb.images.sets import ArrayImages
from virb.records import check
from virb.records.predictions import read_shown
from virb.records.record import place_of
from virb.records.store import SHOWN, ResultStore


def halves(context: DataContext, split: str) -> Examples:
    rng = np.random.default_rng(split == "test")
    masks = (np.arange(40)[None, None, :] >= rng.integers(8, 30, 20)[:, None, None]).repeat(30, axis=1).astype(np.uint8)
    images = (masks[..., None] * 150 + rng.integers(0, 40, (20, 30, 40, 3))).astype(np.uint8)
    masks[:, :2] = 255
    return Examples(ArrayImages.of(split, images), np.arange(20)[:, None], masks, [f"{split}{k}" for k in range(20)])


TASK = Task(
    "halves", "s", Category.SEMANTIC_PIXEL, "deeplabv3plus", "cross_entropy", "miou", halves,
    Protocol(epochs=2, batch_size=8), classes=2, options={"ignore_index": 255},
)  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    place = tmp_path_factory.mktemp("shown")
    virb.evaluate("pixels:4:size=32", TASK, out=place / "results", data=DataContext(cache=place))
    return place / "results"


def test_sixteen_examples_lie_beside_the_record(results):
    store = ResultStore(results)
    (record,) = store.records()
    arrays = read_shown(results, record)
    test = halves(DataContext(), "test")
    assert len(arrays["rows"]) == 16
    assert arrays["ids"].tolist() == [test.ids[row] for row in arrays["rows"]]
    for k, row in enumerate(arrays["rows"]):
        assert np.array_equal(arrays[f"image_{k}"], test.images.image(int(row)))
        assert np.array_equal(arrays[f"target_{k}"], test.targets[row])
        assert arrays[f"prediction_{k}"].shape == (30, 40)
        assert set(np.unique(arrays[f"prediction_{k}"])) <= {0, 1}
    assert (results / place_of(record)).with_suffix(SHOWN).stat().st_size < 200_000
    assert check.check(results)[1] == []


def test_pictures_of_another_job_are_not_shown_and_lost_ones_cost_nothing(results):
    store = ResultStore(results)
    (record,) = store.records()
    path = (results / place_of(record)).with_suffix(SHOWN)
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    assert read_shown(results, record) is None
    path.unlink()
    assert read_shown(results, record) is None
    assert check.check(results)[1] == []
    path.write_bytes(content)
    stray = path.with_name("gradient-seed7.shown.npz")
    stray.write_bytes(content)
    assert [problem.kind for problem in check.check(results)[1]] == [check.LEFTOVER]
    stray.unlink()


def test_large_pictures_are_kept_small():
    assert small_size(1024, 2048) == (SIDE // 2, SIDE)
    assert small_size(20, 30) == (20, 30)


def test_void_is_magenta_in_every_picture():
    depth = np.array([[1.0, np.nan], [2.0, 3.0]])
    flow = np.array([[[1.0, 0.0], [np.nan, 0.0]]])
    assert pictures.of_map(depth, "depth")[0, 1].tolist() == [255, 0, 255]
    assert pictures.of_map(flow, "flow")[0, 1].tolist() == [255, 0, 255]
    assert pictures.of_mask(np.array([[0, 255]]), 3, void=255)[0, 1].tolist() == [255, 0, 255]
    assert pictures.of_map(flow, "flow")[0, 0].tolist() == [255, 0, 0]  # to the right: red
    near, far = pictures.of_map(depth, "depth")[0, 0], pictures.of_map(depth, "depth")[1, 1]
    assert near[0] > near[2]
    assert far[2] > far[0]
    colours = pictures.palette(150).astype(int)
    assert len(np.unique(colours, axis=0)) == 150
    assert np.abs(colours - [255, 0, 255]).sum(1).min() > 30


def opened(path):
    return np.asarray(Image.open(path).convert("RGB"))


def test_a_task_is_shown_with_targets_and_predictions(results, tmp_path):
    context = DataContext(cache=tmp_path)
    lines = show(TASK, context, tmp_path / "targets.png", n=2)
    assert lines[1].startswith("20 training and 20 test examples")
    assert "background" not in lines[2]
    assert lines[2].startswith("balance: ")
    encoder = virb.load_encoder("pixels:4:size=32")
    lines = show(TASK, context, tmp_path / "all.png", encoder=encoder, results=results, n=2)
    assert "gradient: miou" in lines[-1]
    targets, both = opened(tmp_path / "targets.png"), opened(tmp_path / "all.png")
    magenta = [int((one == pictures.VOID).all(-1).sum()) for one in (targets, both)]
    assert magenta[0] > 0
    assert magenta[1] == 2 * magenta[0]  # void in the target is void in the prediction
    with pytest.raises(UsageError, match="has no record of pixels-4"):
        show(TASK, context, tmp_path / "x.png", encoder=encoder, results=tmp_path / "empty")
    with pytest.raises(UsageError, match="is a PNG file"):
        show(TASK, context, tmp_path / "x.jpg")


def test_classes_are_shown_with_what_was_said_and_the_nearest(tmp_path):
    def greys(context: DataContext, split: str) -> Examples:
        targets = np.arange(12) % 3
        images = np.full((12, 8, 8, 3), 0, np.uint8) + (targets * 80)[:, None, None, None].astype(np.uint8)
        images[:, 0, 0, 0] += (np.arange(12) + 20 * (split == "test")).astype(np.uint8)
        return Examples(
            ArrayImages.of(split, images), np.arange(12)[:, None], targets, [f"{split}{k}" for k in range(12)]
        )

    task = Task(
        "greys", "s", Category.SEMANTIC_IMAGE, "linear", "cross_entropy", "top1", greys, Protocol(epochs=1),
        classes=("black", "grey", "white"),
    )  # fmt: skip
    context, encoder = DataContext(cache=tmp_path), virb.load_encoder("pixels:2:size=8")
    virb.evaluate(encoder, task, out=tmp_path / "results", data=context)
    seen = []

    def kept(out, caption, strips):
        seen.extend(strips)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shower, "_write", kept)
        lines = show(task, context, tmp_path / "x.png", encoder=encoder, results=tmp_path / "results", n=4)
    assert "black 33.3%" in lines[2]
    for strip in seen:
        truth = strip.lines[0].partition(" | ")[0]
        assert " | said: " in strip.lines[0]
        assert strip.lines[1] == f"near: {truth}"
        assert len(strip.pictures) == 4


def test_the_command_draws_a_picture(tmp_path, capsys):
    assert main(["show", "mini-digits", "--images", "3", "--out", str(tmp_path / "digits.png")]) == 0
    assert "written to" in capsys.readouterr().out
    assert opened(tmp_path / "digits.png").shape[0] > 100

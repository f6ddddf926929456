"""docs/tasks.md is what the registry says now, and the registry agrees with the paper's Tables 1 and 2."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from virb import docs, registry
from virb.contracts.task import Category

HERE = Path(__file__).parent
ROWS = {
    "ImageNet Cls.": "imagenet",
    "ImageNet v2 Cls.": "imagenet-v2",
    "Pets Cls.": "pets",
    "CalTech Cls.": "caltech-101",
    "CIFAR-100 Cls.": "cifar-100",
    "SUN Scene Cls.": "sun397",
    "Eurosat Cls.": "eurosat",
    "dtd Cls.": "dtd",
    "Kinetics Action Pred.": "kinetics-action",
    "CLEVR Count": "clevr-count",
    "THOR Num. Steps": "thor-num-steps",
    "THOR Egomotion": "thor-egomotion",
    "nuScenes Egomotion": "nuscenes-egomotion",
    "Cityscapes Seg.": "cityscapes",
    "Pets Instance Seg.": "pets-segmentation",
    "EgoHands Seg.": "egohands",
    "THOR Depth": "thor-depth",
    "Taskonomy Depth": "taskonomy-depth",
    "NYU Depth": "nyu-depth",
    "NYU Walkable": "nyu-walkable",
    "KITTI Opt. Flow": "kitti-flow",
}
CATEGORIES = {
    "Semantic Image-level": Category.SEMANTIC_IMAGE,
    "Structural Image-level": Category.STRUCTURAL_IMAGE,
    "Semantic Pixelwise": Category.SEMANTIC_PIXEL,
    "Structural Pixelwise": Category.STRUCTURAL_PIXEL,
}
HEADS = {
    "Single Layer Classifier": "linear",
    "Multi Input Fusion Classifier": "fusion",
    "U-Net": "unet",
    "Siamese U-Net": "siamese_unet",
    "DeepLabv3+": "deeplabv3plus",
}
LOSSES = {"Cross Entropy": "cross_entropy", "Pixelwise Cross Entropy": "cross_entropy", "L1 Error": "l1"}
METRICS = {"Top-1 Accuracy": "top1", "mIOU": "miou", "Negative L1 Error": "neg_l1", "1 - All": "one_minus_all"}


def facts(number):
    with (HERE / "tasks" / "facts" / f"virb_table{number}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", docs.PAGES)
def test_the_pages_are_current(name):
    page = (HERE.parent / "docs" / name).read_text(encoding="utf-8")
    assert page == docs.PAGES[name](), "run: python -m virb.docs"


@pytest.mark.parametrize("name", docs.BLOCKS)
def test_the_tables_inside_pages_are_current(name):
    page = (HERE.parent / "docs" / name).read_text(encoding="utf-8")
    block, text = docs.BLOCKS[name]
    assert page == docs.with_block(page, block, text()), "run: python -m virb.docs"


def test_every_row_of_table_1_is_a_task_and_no_other_is():
    assert [row["end_task"] for row in facts(1)] == list(ROWS)
    assert {e.name for e in registry.entries("tasks") if e.group == "virb"} == set(ROWS.values())


@pytest.mark.parametrize("row", facts(1), ids=lambda row: row["end_task"])
def test_table_1(row):
    task = registry.load("tasks", ROWS[row["end_task"]])
    assert task.category is CATEGORIES[row["category"]]
    assert task.head == HEADS[row["network"]]
    assert task.loss == LOSSES[row["loss"]]
    assert task.metric == METRICS[row["metric"]]


@pytest.mark.parametrize("row", facts(2), ids=lambda row: row["end_task"])
def test_table_2(row):
    task = registry.load("tasks", ROWS[row["end_task"]])
    assert task.protocol.epochs == int(row["epochs"])
    assert task.protocol.optimizer == row["optimizer"].lower()
    assert task.protocol.lr == float(row["learning_rate"])
    printed = int(row["train_set_size"])
    if task.n_examples.get("train") != printed:  # then the reason must be given, with the paper's number or in words
        text = " ".join(task.deviations)
        assert f"{printed:,}" in text or "all 200" in text


def test_imagenet_v2_scores_imagenets_heads():
    assert registry.load("tasks", "imagenet-v2").heads_of == "imagenet"
    assert registry.load("tasks", "imagenet-v2").splits == ("test",)


@pytest.mark.parametrize("name", ROWS.values())
def test_every_task_says_where_it_comes_from(name):
    task = registry.load("tasks", name)
    assert task.source
    assert task.license
    assert len(task.obtain) > 20
    assert task.is_optional
    # Only where the paper trains on crops (Appendix A).
    assert (task.protocol.crop == 513) == (name in ("cityscapes", "egohands", "kitti-flow"))


def test_the_command_writes_the_pages(tmp_path, capsys):
    assert docs.main([str(tmp_path / "pages")]) == 0
    assert (tmp_path / "pages" / "tasks.md").read_text(encoding="utf-8") == docs.tasks_markdown()
    assert "tasks.md" in capsys.readouterr().out

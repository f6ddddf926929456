"""Every end task of the paper but one has a counterpart on the embedded default, and each says truly what it holds."""

from __future__ import annotations

import numpy as np
import pytest
from virb.tasks import world

from virb import registry
from virb.contracts.examples import DataContext
from virb.errors import DataAbsent
from virb.evaluation.parts import parts_of

COUNTERPARTS = {
    "imagenet": "mini-object-class",
    "imagenet-v2": "mini-object-class-shift",
    "pets": "mini-animals",
    "caltech-101": "mini-object-few",
    "cifar-100": "mini-digits",
    "sun397": "mini-scene",
    "eurosat": "mini-aerial",
    "dtd": "mini-material",
    "kinetics-action": "mini-action",
    "clevr-count": "mini-count",
    "thor-num-steps": "mini-steps",
    "thor-egomotion": "mini-egomotion",
    "cityscapes": "mini-segmentation",
    "pets-segmentation": "mini-foreground",
    "egohands": "mini-hands",
    "thor-depth": "mini-depth",
    "taskonomy-depth": "mini-depth-dark",
    "nyu-depth": "mini-depth-street",
    "nyu-walkable": "mini-walkable",
    "kitti-flow": "mini-flow",
}
WITHOUT = {"nuscenes-egomotion"}  # no pose was found in which an encoder beats raw pixels: docs/mini.md
BESIDE = {
    "mini-fashion",
    "mini-distance",
    "mini-normals",
    "mini-correspondence",
    "mini-retrieval",
}  # of no task of the paper's
STRUCTURES = {"mini-kinds": "cole-inat21", "mini-contents": "cole-glc20"}  # and a number, which no paper's task has
MINI = [entry.name for entry in registry.entries("tasks") if entry.group == "mini"]
# The annotation of the world that a task's classes name, for the tasks whose names are the world's own.
NAMED = {
    "mini-object-class": ("objects", "class_id"),
    "mini-object-class-shift": ("objects-shift", "class_id"),
    "mini-object-few": ("objects", "class_id"),
    "mini-animals": ("animals", "class_id"),
    "mini-aerial": ("aerial", "class_id"),
    "mini-scene": ("rooms", "scene_id"),
    "mini-material": ("materials", "material_id"),
    "mini-action": ("actions", "action"),
    "mini-count": ("count", "count"),
    "mini-steps": ("steps", "steps"),
    "mini-egomotion": ("egomotion", "action"),
    "mini-hands": ("roles", "role_mask"),
}


@pytest.mark.parametrize("name", COUNTERPARTS)
def test_the_counterpart_is_of_the_same_kind(name):
    paper, mini = registry.load("tasks", name), registry.load("tasks", COUNTERPARTS[name])
    for what in ("category", "head", "loss", "metric"):
        assert getattr(mini, what) == getattr(paper, what), what
    if name != "kinetics-action":
        assert mini.n_frames == paper.n_frames
    assert (mini.heads_of is None) == (paper.heads_of is None)


def test_every_task_of_the_paper_is_covered_or_said_to_be_without():
    paper = {entry.name for entry in registry.entries("tasks") if entry.group == "virb"}
    assert paper == set(COUNTERPARTS) | WITHOUT
    assert set(COUNTERPARTS.values()) | {*BESIDE, *STRUCTURES} == set(MINI)


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_new_structure_of_the_other_suites_has_a_counterpart(name):
    paper, mini = registry.load("tasks", STRUCTURES[name]), registry.load("tasks", name)
    for what in ("category", "head", "loss", "metric"):
        assert getattr(mini, what) == getattr(paper, what), what
    assert parts_of(mini).target == parts_of(paper).target


def test_kinds_are_the_worlds_objects_and_animals_in_a_tree_of_three_levels():
    found = registry.load("tasks", "mini-kinds").examples(DataContext(limit=6), "test")
    own = {*world.SETS["objects"].classes["class_id"], *world.SETS["animals"].classes["class_id"]} - {"animal"}
    assert set(found.classes) == own
    assert [len(set(level)) for level in found.tree.coarse(found.classes).values()] == [19, 6, 2]
    for row, key in enumerate(found.ids):
        set_name, _, index = key.split("/")
        rendered = world.load(set_name, "test", limit=6)
        name = world.SETS[set_name].classes["class_id"][int(rendered.annotation("class_id")[int(index)])]
        assert found.classes[found.targets[row]] == name
        np.testing.assert_array_equal(found.images.image(row), rendered.images[int(index)])


def test_contents_and_distance_are_what_the_annotations_show():
    from virb.tasks.world.sets import SEMANTIC_CLASSES

    task = registry.load("tasks", "mini-contents")
    found, rooms = task.examples(DataContext(limit=6), "test"), world.load("rooms", "test", limit=6)
    for labels, mask in zip(found.targets, rooms.annotation("class_mask"), strict=True):
        for label, name in zip(labels, task.class_names, strict=True):
            n = int((mask == SEMANTIC_CLASSES.index(name)).sum())
            assert label == (1 if n >= 20 else 0 if n == 0 else -1)
    metres = registry.load("tasks", "mini-distance").examples(DataContext(limit=6), "test").targets
    objects = world.load("objects", "test", limit=6)
    for value, depth, shown in zip(
        metres, objects.annotation("depth_m"), objects.annotation("foreground"), strict=True
    ):
        assert value == pytest.approx(np.median(np.float32(depth)[shown > 0]), rel=1e-3)


@pytest.mark.parametrize("name", MINI)
def test_it_reads_what_it_declares(name):
    task = registry.load("tasks", name)
    context = DataContext(limit=4)
    try:
        splits = {split: task.examples(context, split) for split in task.splits}
    except DataAbsent:
        assert task.is_optional
        pytest.skip("its data are not here, and the suite does without them")
    ids = [set(examples.ids) for examples in splits.values()]
    assert len(ids) == 1 or not ids[0] & ids[1]
    for examples in splits.values():
        assert examples.n_frames == task.n_frames
        height, width = examples.images.image(0).shape[:2]
        for target in (np.asarray(examples.targets[row]) for row in range(min(4, len(examples)))):
            if task.loss == "cross_entropy":
                assert target.min() >= 0
                assert target.max() < task.n_classes
            else:
                assert np.isfinite(target).any()
            if task.category.is_pixelwise:
                assert target.shape[:2] == (height, width)


@pytest.mark.parametrize("name", NAMED)
def test_its_class_names_are_the_worlds(name):
    set_name, annotation = NAMED[name]
    assert tuple(registry.load("tasks", name).class_names) == tuple(world.SETS[set_name].classes[annotation])


def test_a_query_is_one_view_of_a_model_and_the_others_are_to_be_found():
    task, rendered = registry.load("tasks", "mini-retrieval"), world.load("views", "test", limit=4)
    train, test = (task.data(DataContext(limit=4), split) for split in ("train", "test"))
    assert (len(train), len(test), rendered.n_frames) == (8, 4, 3)
    for k in range(4):
        np.testing.assert_array_equal(test.images.image(int(test.frames[k, 0])), rendered.images[3 * k])
        found = train.frames[np.isin(train.targets, np.flatnonzero(test.targets[k] == 1)), 0]
        assert found.tolist() == [3 * k + 1, 3 * k + 2]


def test_a_pixel_of_the_segmentation_is_of_the_object_s_class():
    mask, kind, image = (
        registry.load("tasks", name).examples(DataContext(limit=8), "test")
        for name in ("mini-segmentation", "mini-object-class", "mini-foreground")
    )
    for row in range(8):
        assert np.array_equal(np.asarray(mask.targets[row]), np.asarray(image.targets[row]) * (1 + kind.targets[row]))
    assert registry.load("tasks", "mini-segmentation").class_names[1:] == list(
        world.SETS["objects"].classes["class_id"]
    )


def test_directions_are_of_length_one_on_the_object_and_nowhere_else():
    normal, foreground = (
        registry.load("tasks", name).examples(DataContext(limit=4), "test")
        for name in ("mini-normals", "mini-foreground")
    )
    for row in range(4):
        found, mask = np.asarray(normal.targets[row], np.float32), np.asarray(foreground.targets[row])
        assert np.array_equal(np.isfinite(found).all(-1), mask == 1)
        assert np.abs(np.linalg.norm(found[mask == 1], axis=-1) - 1).max() < 2e-3
        assert (found[mask == 1][:, 2] > -0.5).all()  # what is seen faces the camera, but for the width of the lens


def test_thirty_images_a_class_come_from_the_train_split_alone(monkeypatch):
    from virb.tasks.mini._rendered import few_each

    from virb.contracts.examples import Examples
    from virb.errors import DataError
    from virb.images.sets import ArrayImages

    def read(context, split):
        labels = np.arange(50) % 3
        images = ArrayImages("set", "revision", np.zeros((50, 4, 4, 3), np.uint8))
        return Examples(images, np.arange(50)[:, None], labels, [f"{split}{k}" for k in range(50)])

    few = few_each(read, 5)
    train = few(DataContext(), "train")
    assert np.bincount(train.targets).tolist() == [5, 5, 5]
    assert train.ids[:3] == ["train0", "train1", "train2"]
    assert len(few(DataContext(), "test")) == 50
    with pytest.raises(DataError, match="fewer than 20"):
        few_each(read, 20)(DataContext(), "train")


def test_every_built_in_task_says_in_what_unit_its_score_is() -> None:
    """Means over tasks are of those measured in one unit; a score without one would be left out of all."""
    found = {entry.name: parts_of(registry.load_entry(entry)).unit for entry in registry.entries("tasks")}
    assert [name for name, unit in found.items() if not unit] == []
    assert found["mini-depth"] == "metre"

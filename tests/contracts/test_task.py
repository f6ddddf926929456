"""A task's classes against those that its data name, and readers of one's own that fail."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from virb import evaluate
from virb.contracts.examples import DataContext, Examples
from virb.contracts.task import FROM_DATA, Category, Protocol, Task
from virb.errors import DataError, RegistryError
from virb.evaluation.validation import validate
from virb.images.sets import ArrayImages

NAMES = ("airplane", "automobile", "bird")


def examples(classes=NAMES, seed=0):
    labels = np.arange(18) % 3
    pixels = np.random.default_rng(seed).integers(0, 80, (18, 8, 8, 3)).astype(np.uint8)
    for k, label in enumerate(labels):
        pixels[k, 2 * label : 2 * label + 2] += 150
    ids = [str(k) for k in range(18)]
    return Examples(ArrayImages.of("vehicles", pixels), np.arange(18)[:, None], labels, ids, classes=classes)


def task(classes, read=lambda split: examples(seed=split == "test")):
    about = {"name": "vehicles", "summary": "s", "category": Category.SEMANTIC_IMAGE, "head": "linear"}
    parts = {"loss": "cross_entropy", "metric": "top1", "protocol": Protocol(epochs=20, lr=1e-2)}
    return Task(**about, **parts, classes=classes, data=lambda context, split: read(split))


def test_another_order_than_the_data_is_refused():
    wrong = task(("automobile", "airplane", "bird"))
    with pytest.raises(
        DataError, match=r"another order.*number 0 is 'automobile' in the task and 'airplane' in the data"
    ):
        wrong.examples(DataContext(), "train")
    found = validate(wrong, DataContext())
    assert [check.is_ok for check in found] == [False, False]
    assert task(NAMES).examples(DataContext(), "train").classes == NAMES
    assert len(task(("Flugzeug", "Auto", "Vogel")).examples(DataContext(), "train")) == 18  # names of its own
    with pytest.raises(DataError, match="not in the data: boat; not declared: bird"):
        task(("airplane", "automobile", "boat")).examples(DataContext(), "train")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"category": "semantic image-level"}, "category is 'semantic image-level'; expected Category.SEMANTIC_IMAGE"),
        ({"protocol": 100}, "protocol is 100; expected Protocol"),
        ({"data": "photos/"}, "data is 'photos/'; expected a function"),
    ],
)
def test_a_field_of_another_kind_is_said_where_the_task_is_made(change, said):
    """One such file ended every verb that lists tasks."""
    with pytest.raises(RegistryError, match=re.escape(said)):
        replace(task(NAMES), **change)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": 1.5}, "epochs is 1.5; expected a whole number"),
        ({"epochs": "2"}, "epochs is '2'; expected a whole number"),
        ({"epochs": 2, "batch_size": 8.0}, "batch_size is 8.0; expected a whole number"),
        ({"epochs": 2, "lr": "3e-4"}, "lr is '3e-4'; expected a number"),
    ],
)
def test_a_protocol_of_other_kinds_is_said_where_it_is_made(settings, said):
    with pytest.raises(RegistryError, match=re.escape(said)):
        Protocol(**settings)


def test_a_number_of_classes_is_that_of_the_data():
    task(3).examples(DataContext(), "train")
    with pytest.raises(DataError, match="the data have 3 classes, the task declares 4"):
        task(4).examples(DataContext(), "train")


def test_classes_are_read_from_the_data(tmp_path):
    table = evaluate("pixels:4:size=8", task(FROM_DATA), out=tmp_path)
    assert float(table["score"].iloc[0]) == 1
    record = next(tmp_path.rglob("gradient-seed0.json")).read_text()
    assert re.search(r'"per_class": \{\s*"airplane": 1.0,\s*"automobile": 1.0,\s*"bird": 1.0', record)
    # The same names declared are the same task: nothing is computed again.
    evaluate("pixels:4:size=8", task(NAMES), out=tmp_path)
    assert next(tmp_path.rglob("gradient-seed0.json")).read_text() == record
    checks = {check.name: check for check in validate(task(FROM_DATA), DataContext())}
    assert all(check.is_ok for check in checks.values()), checks
    assert checks["classes are known"].detail == "3 as the data name them: airplane, automobile, bird"


def test_a_test_split_of_other_classes_is_refused():
    def read(split):
        return examples(NAMES if split == "train" else ("airplane", "bird", "automobile"), seed=split == "test")

    found = {check.name: check for check in validate(task(FROM_DATA, read), DataContext())}
    assert not found["classes are known"].is_ok
    assert "another order" in found["classes are known"].detail
    with pytest.raises(DataError, match="gives no names"):
        task(FROM_DATA).resolved(examples(classes=()))


def test_a_reader_that_fails_is_one_sentence_with_its_file_and_line(tmp_path):
    def read(split):
        return int("no number")

    with pytest.raises(DataError) as found:
        task(NAMES, read).examples(DataContext(), "train")
    assert re.fullmatch(
        r"vehicles/train: its reader failed: ValueError: invalid literal for int\(\) with base 10: 'no number' "
        rf"\({re.escape(__file__)}, line \d+\)\.",
        str(found.value),
    )

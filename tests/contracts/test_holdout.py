"""What is held out of a train split: whole groups, or the data set's own validation part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virb import evaluate
from virb.contracts import holdout
from virb.contracts.examples import DataContext, Examples
from virb.contracts.task import FROM_DATA, Category, Protocol, Task
from virb.errors import DataError, UsageError
from virb.evaluation import checks, tuning
from virb.images.sets import ArrayImages

N = 40


def frames_of_videos(n_videos=8, validation=None, **fields):
    """Examples of single frames, five of each video; those in ``validation`` rows are the data set's own part."""
    labels = np.arange(N) % 2
    pixels = np.random.default_rng(0).integers(0, 90, (N, 8, 8, 3)).astype(np.uint8)
    pixels[labels == 1, :4] += 160
    images = ArrayImages.of("videos", pixels)
    whole = Examples(
        images,
        np.arange(N)[:, None],
        labels,
        [f"frame {k}" for k in range(N)],
        classes=("dim", "bright"),
        groups=[f"video {k * n_videos // N}" for k in range(N)],
    )
    return replace(whole, validation=None if validation is None else whole.subset(np.asarray(validation)), **fields)


def task(read, **fields):
    about = {
        "name": "videos",
        "summary": "s",
        "category": Category.SEMANTIC_IMAGE,
        "head": "linear",
        "classes": FROM_DATA,
    }
    parts = {"loss": "cross_entropy", "metric": "top1", "protocol": Protocol(epochs=2)}
    return Task(**{**about, **parts, "data": lambda context, split: read(split), **fields})


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=60),
    st.floats(0.05, 0.95),
    st.integers(0, 5),
)
def test_no_group_is_on_both_sides(groups, share, seed):
    names = [f"g{k}" for k in groups]
    if len(set(groups)) < 2:
        with pytest.raises(UsageError, match="are of one group"):
            holdout.held_out(len(groups), share, seed=seed, groups=names)
        return
    fitted, held = holdout.held_out(len(groups), share, seed=seed, groups=names)
    assert sorted([*fitted, *held]) == list(range(len(groups)))
    assert len(fitted)
    assert len(held)
    assert not {names[k] for k in fitted} & {names[k] for k in held}
    smallest = min(groups.count(k) for k in set(groups))
    assert len(held) <= max(round(share * len(groups)), smallest)


def test_without_groups_examples_are_drawn():
    fitted, held = holdout.held_out(N, 0.25, seed=3)
    assert (len(fitted), len(held)) == (30, 10)
    assert sorted([*fitted, *held]) == list(range(N))


def test_the_validation_part_of_the_data_goes_before_a_random_one():
    examples = frames_of_videos(validation=range(5, 10))  # the whole of video 1
    fitted, held = examples.hold_out(0.2)
    assert held.ids == [f"frame {k}" for k in range(5, 10)]
    assert fitted.ids == [f"frame {k}" for k in range(N) if not 5 <= k < 10]
    assert fitted.validation is None


def test_what_shares_a_group_with_the_validation_part_is_not_fitted():
    fitted, held = frames_of_videos(validation=[7]).hold_out(0.2)
    assert (len(held), len(fitted)) == (1, N - 5)
    with pytest.raises(UsageError, match="nothing is left to fit"):
        frames_of_videos(validation=range(N)).hold_out(0.2)


def test_a_validation_part_beside_train_is_not_trained_on():
    whole = frames_of_videos()
    train = replace(whole.subset(np.arange(30)), validation=whole.subset(np.arange(30, N)))
    fitted, held = train.hold_out(0.2)
    assert (len(train), len(fitted), len(held)) == (30, 30, 10)
    few = train.limited(6)
    assert (len(few), len(few.validation)) == (6, 6)
    assert few.validation.images is few.images
    assert len(few.images) == 12
    for k in range(6):
        index = int(few.validation.frames[k, 0])
        assert few.images.describe(index) == f"{few.validation.ids[k]} of videos"


def test_groups_and_validation_are_part_of_what_examples_are():
    plain = frames_of_videos(groups=None)
    by_video, by_scene = frames_of_videos(), frames_of_videos(4)
    with_part, other_part = frames_of_videos(validation=range(5)), frames_of_videos(validation=range(5, 10))
    found = [one.digests() for one in (plain, by_video, by_scene, with_part, other_part)]
    assert len({str(sorted(one.items())) for one in found}) == 5
    assert found[0]["groups"] == ""
    assert by_video.without_hold_out().digests() == found[0]


def test_examples_refuse_groups_and_parts_that_do_not_fit():
    with pytest.raises(DataError, match="40 examples but 3 groups"):
        frames_of_videos(groups=["a", "b", "c"])
    with pytest.raises(DataError, match="same images object"):
        replace(frames_of_videos(), validation=frames_of_videos())


def test_tune_and_lbfgs_hold_out_whole_groups(tmp_path):
    def read(split):
        return frames_of_videos()

    given = task(read)
    outcome = tune_ids(given, tmp_path)
    videos = {frames_of_videos().groups[int(name.split()[1])] for name in outcome}
    assert len(outcome) == 5 * len(videos)
    # A group that is the class: held out by group, no penalty predicts it; at random every one does.
    confounded = frames_of_videos(groups=[f"{k % 2}" for k in range(N)])
    table = evaluate("pixels:4:size=8", task(lambda split: confounded), out=tmp_path / "l", probe="lbfgs")
    assert len(table) == 1
    record = next((tmp_path / "l").rglob("lbfgs-seed0.json")).read_text()
    assert '"n_validation": 20' in record


def tune_ids(given, tmp_path):
    """Return the ids that a grid of one setting is scored on."""
    variant = tuning._variant(given, {"optimizer": "adam", "lr": 1e-3}, 0.3)
    return list(variant.data(DataContext(), "test").ids)


@pytest.mark.parametrize("probe", ["gradient", "lbfgs"])
def test_a_hold_out_decides_only_what_is_chosen_on_it(probe, tmp_path):
    """With other groups lbfgs computes again, a head that follows its protocol does not."""
    whole = frames_of_videos(groups=None)
    wholes = [whole, frames_of_videos(), frames_of_videos(validation=range(10))]
    n_new = []
    for examples in wholes:
        before = {path: path.read_text() for path in tmp_path.rglob("*.json")}
        evaluate("pixels:4:size=8", task(lambda split, found=examples: found), out=tmp_path, probe=probe)
        n_new.append({path: path.read_text() for path in tmp_path.rglob("*.json")} != before)
    assert n_new == ([True, False, False] if probe == "gradient" else [True, True, True])


def test_lbfgs_on_numbers_reads_the_validation_part_in_the_standardised_unit(tmp_path):
    whole = frames_of_videos(groups=None, classes=())
    brightness = whole.images.array.mean(axis=(1, 2, 3)).astype(np.float32) * 100
    whole = replace(whole, targets=brightness)
    train = replace(whole.subset(np.arange(30)), validation=whole.subset(np.arange(30, N)))
    about = {"loss": "l2", "metric": "r2", "classes": None, "target": "number"}
    table = evaluate(
        "pixels:4:size=8",
        task(lambda split: train if split == "train" else whole, **about),
        out=tmp_path,
        probe="lbfgs",
    )
    assert float(table["score"].iloc[0]) > 0.9


def test_groups_on_both_sides_are_said():
    whole = frames_of_videos()
    train, test = whole.subset(np.arange(18)), whole.subset(np.arange(18, N))
    said = checks.check_groups(task(None), train, test)
    assert "2 of the 22 test examples are of groups that train has too, as 'video 3'" in said
    assert checks.check_groups(task(None), train, whole.subset(np.arange(20, N))) == ""

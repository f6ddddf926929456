"""The dense probe: cached, computed and cropped sources train the same kind of head and leave the encoder alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import virb
from virb.contracts.examples import Examples
from virb.contracts.task import Protocol
from virb.errors import DataError, TrainingError
from virb.features.cache import FeatureCache
from virb.heads import build_head
from virb.images.sets import ArrayImages
from virb.losses import find_loss
from virb.probes import dense, dense_sources
from virb.system.mapped import Rows

ENCODER = "random:resnet18:width=0.25,size=32"


def squares(n, height=40, width=56, seed=0):
    """Images with one bright square on dark noise, and the square's mask."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (n, height, width, 3), dtype=np.uint8)
    masks = np.zeros((n, height, width), np.uint8)
    for k in range(n):
        y, x = rng.integers(0, height - 16), rng.integers(0, width - 16)
        images[k, y : y + 16, x : x + 16] += 150
        masks[k, y : y + 16, x : x + 16] = 1
    ids = [str(k) for k in range(n)]
    return Examples(ArrayImages.of(f"squares {seed}", images), np.arange(n)[:, None], masks, ids)


@pytest.fixture
def encoder():
    return virb.load_encoder(ENCODER)


def builder(encoder, kind="deeplabv3plus", n_out=2):
    def build(seed, initial_output):
        strides = encoder.strides_at(16) if kind == "deeplabv3plus" else encoder.strides
        options = {"n_out": n_out, "channels": encoder.channels, "strides": strides, "seed": seed}
        options["offsets"] = encoder.offsets_at(16 if kind == "deeplabv3plus" else None)
        return build_head(kind, initial_output=initial_output, **options)

    return build


def cached(encoder, examples, tmp_path, layer="pyramid16"):
    (rows,) = FeatureCache(tmp_path).encode([encoder], examples.images, layers=[layer])
    return dense_sources.CachedSource(rows[layer].parts, examples, size=encoder.preprocess.size)


def train(encoder, source, examples, losses=None, **changes):
    options = {"epochs": 12, "batch_size": 4, "lr": 3e-3}
    protocol = Protocol(**{**options, **changes})
    build = builder(encoder)
    return dense.train_dense_head(
        build,
        source,
        examples.targets,
        loss=find_loss("cross_entropy"),
        target="mask",
        seed=0,
        protocol=protocol,
        ignore_index=255,
        losses=losses,
    )


def overlap(head, source, examples):
    found = []
    for row in range(len(examples)):
        outputs, _ = dense.predict_dense(head, source, np.array([row]))
        assert outputs[0].shape == (2, 40, 56)  # the target's resolution, whatever the encoder's
        found.append(outputs[0].argmax(0).numpy())
    found = np.stack(found)
    return (found & examples.targets).sum() / (found | examples.targets).sum()


CROPS = Protocol(epochs=24, batch_size=4, lr=3e-3, crop=32, crop_scales=(0.8, 1.25), crop_mirror=True)


def crops(encoder, examples, protocol=CROPS):
    return dense_sources.CropSource(encoder, "pyramid16", examples, protocol=protocol, seed=0, ignore_index=255)


def test_it_learns_from_cached_maps(encoder, tmp_path):
    examples, test = squares(16), squares(4, seed=1)
    losses: dict[int, float] = {}
    head = train(encoder, cached(encoder, examples, tmp_path), examples, losses)
    assert overlap(head, cached(encoder, test, tmp_path), test) > 0.5
    assert losses[max(losses)] < losses[1] / 2


def test_computed_maps_give_the_same_head_as_cached_ones(encoder, tmp_path):
    examples = squares(6)
    one = train(encoder, cached(encoder, examples, tmp_path), examples, epochs=2)
    two = train(encoder, dense_sources.ComputedSource(encoder, "pyramid16", examples), examples, epochs=2)
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_it_learns_on_crops_and_is_tested_on_whole_images(encoder):
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    examples, test = squares(16, seed=10), squares(4, seed=11)
    head = train(encoder, crops(encoder, examples), examples, epochs=24)
    assert overlap(head, dense_sources.WholeSource(encoder, "pyramid16", test), test) > 0.5
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())
    assert not encoder.training


def test_it_repeats_bit_for_bit(encoder):
    states = [train(encoder, crops(encoder, squares(6)), squares(6), epochs=2).state_dict() for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*(state.values() for state in states), strict=True))


def test_a_crop_does_not_depend_on_its_batch_and_differs_between_epochs(encoder):
    source = crops(encoder, squares(6))
    _, together, size = source.batch(np.array([4, 2]), 3)
    _, alone, _ = source.batch(np.array([2]), 3)
    _, later, _ = source.batch(np.array([2]), 4)
    assert size == (32, 32)
    assert np.array_equal(together[1], alone[0])
    assert not np.array_equal(alone[0], later[0])


def test_pixels_without_a_target_do_not_count(encoder, tmp_path):
    """Depth that is NaN and classes that are ignored change nothing, whatever stands behind them."""
    examples = squares(6)
    source = cached(encoder, examples, tmp_path, "pyramid")
    depth = examples.targets.astype(np.float32) + 2
    depth[:, :10] = np.nan

    def fit(targets, loss, **options):
        held = Examples(examples.images, examples.frames, targets, examples.ids)
        source = cached(encoder, held, tmp_path, "pyramid")
        build = builder(encoder, "unet", n_out=2 if loss == "cross_entropy" else 1)
        protocol = Protocol(epochs=2, batch_size=4)
        target = "mask" if loss == "cross_entropy" else "map"
        return dense.train_dense_head(
            build, source, targets, loss=find_loss(loss), target=target, seed=0, protocol=protocol, **options
        )

    assert all(torch.isfinite(value).all() for value in fit(depth, "l1").state_dict().values())
    masks = examples.targets.copy()
    masks[:, :10] = 255
    ignoring = fit(masks, "cross_entropy", ignore_index=255)
    other = masks.copy()
    other[other == 255] = 7
    same = fit(other, "cross_entropy", ignore_index=7)
    assert all(
        torch.equal(a, b) for a, b in zip(ignoring.state_dict().values(), same.state_dict().values(), strict=True)
    )
    with pytest.raises(DataError, match="has a valid pixel"):
        fit(np.full_like(depth, np.nan), "l1")
    assert source.n == 6


def test_a_regression_starts_at_the_mean_of_its_targets(encoder, tmp_path):
    examples = squares(4)
    depth = np.full((4, 40, 56), 7.5, np.float32)
    held = Examples(examples.images, examples.frames, depth, examples.ids)
    head = dense.train_dense_head(
        builder(encoder, "unet", n_out=1),
        cached(encoder, held, tmp_path, "pyramid"),
        depth,
        loss=find_loss("l1"),
        target="map",
        seed=0,
        protocol=Protocol(epochs=1, lr=1e-9),
    )
    assert head.out.bias.item() == pytest.approx(7.5, abs=1e-3)


def test_a_loss_that_is_not_finite_stops(encoder, tmp_path):
    examples = squares(4)
    source = cached(encoder, examples, tmp_path)
    source.parts = [Rows(np.full_like(part.array, np.inf)) for part in source.parts]
    with pytest.raises(TrainingError, match="not finite in epoch 1"):
        train(encoder, source, examples)


TASK = '''"""Squares, on crops."""
from virb.contracts.task import Category, Protocol, Task


def data(context, split):
    import numpy as np

    from virb.contracts.examples import Examples
    from virb.images.sets import ArrayImages

    rng = np.random.default_rng(0 if split == "train" else 1)
    images = rng.integers(0, 255, (6, 20 if split == "train" else 50, 44, 3), dtype=np.uint8)
    flow = np.full((3, *images.shape[1:3], 2), 1.5, np.float32)
    flow[:, :4] = np.nan
    return Examples(ArrayImages.of(split, images), np.arange(6).reshape(3, 2), flow, ["a", "b", "c"])


TASK = Task(
    name="crops",
    summary="flow on crops",
    category=Category.STRUCTURAL_PIXEL,
    head="siamese_unet",
    loss="l1",
    metric="one_minus_all",
    data=data,
    protocol=Protocol(epochs=1, batch_size=2, crop=24, crop_scales=(0.8, 1.2), crop_mirror=True),
    n_frames=2,
    options={"out_channels": 2},
)
'''


def test_evaluation_follows_the_protocol(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "crops.py").write_text(TASK)
    monkeypatch.setenv("VIRB_INCLUDE", str(tmp_path / "own"))
    monkeypatch.setenv("VIRB_CACHE", str(tmp_path / "cache"))
    table = virb.evaluate([ENCODER], ["crops"], out=tmp_path / "results")
    assert len(table) == 1
    (record,) = (tmp_path / "results").rglob("*.json")
    found = json.loads(record.read_text())
    assert found["n_test"] == 3
    assert found["metrics"]["epe"] < 3
    assert np.load(record.with_suffix(".npz"))["n_valid"].tolist() == [46 * 44] * 3  # whole images, at full resolution


def test_a_short_side_scales_crops_and_whole_images_alike(encoder):
    """Squares of 16 pixels are 32 wide where the shorter side of 40 becomes 80; predictions come back to the target's size."""
    examples = squares(6)
    protocol = Protocol(epochs=1, batch_size=4, crop=80, short_side=80)
    source = crops(encoder, examples, protocol)
    _, targets, size = source.batch(np.arange(6), 0)
    assert size == (80, 80)
    shares = [target.any(axis=0).sum() for target in targets]
    assert max(shares) == 32  # of a square that is whole in its crop
    whole = dense_sources.WholeSource(encoder, "pyramid16", examples, short_side=80)
    (pyramid,), (target,), size = whole.batch(np.array([2]), 0)
    assert size == (80, 112)
    assert target.shape == (40, 56)
    assert pyramid[-1].shape[-2:] == (5, 7)
    head = builder(encoder)(0, 0.0).eval()
    (output,), _ = dense.predict_dense(head, whole, np.array([2]))
    assert output.shape == (2, 40, 56)

"""Several encoders as one: what they are called and known by, what a probe reads of them, and what they have not."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import virb
from tests.evaluation.test_plan import run, task
from virb.convert.known import load_or_recall
from virb.convert.load import load_encoder
from virb.errors import UsageError
from virb.evaluation.executors.dask import absolute_source
from virb.features.joined import joined
from virb.networks.spec import split_fused
from virb.records.store import ResultStore

ONE, TWO = "pixels:2:size=8", "random:resnet18:width=0.125,size=32"


def test_a_plus_joins_names_and_not_pools_or_files(tmp_path: Path) -> None:
    assert split_fused("a.pt+b.pt:size=8+timm:x") == ["a.pt", "b.pt:size=8", "timm:x"]
    assert split_fused("timm:x:pool=cls+mean") == ["timm:x:pool=cls+mean"]
    assert split_fused("timm:x:pool=cls+b.pt") == ["timm:x:pool=cls", "b.pt"]
    assert split_fused("a+") == ["a+"]
    (tmp_path / "a+b.pt").write_bytes(b"")
    for name in (f"{tmp_path}/a+b.pt", f"{tmp_path}/a+b.pt:size=8"):
        assert split_fused(name) == [name]
    (tmp_path / "a.pt").write_bytes(b"")  # a file that is there may have options, as one that is not
    assert split_fused(f"{tmp_path}/a.pt:size=8+pixels:4") == [f"{tmp_path}/a.pt:size=8", "pixels:4"]


def test_it_is_known_by_its_parts_in_their_order() -> None:
    both = load_encoder(f"{ONE}+{TWO}")
    assert both.name == both.meta["parts"] == f"{load_encoder(ONE).name}+{load_encoder(TWO).name}"
    assert both.dim == 12 + load_encoder(TWO).dim
    assert both.identity == load_or_recall(f"{ONE}+{TWO}").identity == pickle.loads(pickle.dumps(both)).identity
    assert both.identity == copy.copy(both).identity
    others = {load_encoder(name).identity for name in (f"{TWO}+{ONE}", f"{ONE}+{TWO},seed=1", f"pixels:4:size=8+{TWO}")}
    assert len(others | {both.identity}) == 4
    assert absolute_source(f"{ONE}+{TWO}") == f"{ONE}+{TWO}"
    for name in (f"{ONE}+{ONE}",):
        with pytest.raises(UsageError, match="two encoders or more that differ"):
            load_encoder(name)
    with pytest.raises(UsageError, match="write them after its name"):
        load_encoder(f"{ONE}+{TWO}", size=8)


def test_its_parts_see_images_as_they_do_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    parts = [load_encoder(name) for name in (ONE, TWO)]
    both = load_encoder(f"{ONE}+{TWO}")
    alone = torch.cat([part.embed(image) for part in parts], dim=1)
    assert torch.equal(both.embed(image), alone)
    same = load_encoder(f"pixels:2:size=32+{TWO}")
    wanted = torch.cat([load_encoder("pixels:2:size=32").embed(image), parts[1].embed(image)], dim=1)
    assert torch.allclose(same.embed(same.prepare(torch.from_numpy(image)[None])), wanted, atol=1e-4)


@pytest.mark.parametrize("is_large", [False, True])
def test_each_part_is_standardised_by_the_examples_of_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_large: bool
) -> None:
    if is_large:
        monkeypatch.setattr("virb.features.joined.MAX_IN_MEMORY", 0)
    monkeypatch.setattr("virb.features.joined.BLOCK_BYTES", 100)
    rng = np.random.default_rng(0)
    train = [rng.normal(3, 5, (20, 4)).astype(np.float32), 1000 * rng.normal(size=(20, 2)).astype(np.float32)]
    test = [array[:9] + 1 for array in train]
    frames = np.array([[1, 5], [7, 5], [2, 11]])
    found = joined(test, train, frames, 7, tmp_path / "side.npy")
    used = [array[np.unique(frames)].astype(np.float64) for array in train]
    wanted = [
        (array[:7] - rows.mean(0)) / np.sqrt(np.mean((rows - rows.mean(0)) ** 2))
        for array, rows in zip(test, used, strict=True)
    ]
    assert np.allclose(found, np.concatenate(wanted, axis=1), atol=1e-4)
    assert os.path.exists(tmp_path / "side.npy") == is_large


class Louder(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


@pytest.mark.parametrize("probe", ["gradient", "knn", "lbfgs"])
def test_no_part_outweighs_another_by_its_unit(tmp_path: Path, probe: str) -> None:
    from virb.networks.fused import FusedEncoder

    scores = []
    for factor in (1.0, 4096.0):
        loud = virb.wrap(Louder(factor), name="loud", size=8)
        both = FusedEncoder([load_encoder("pixels:1:size=8"), loud])
        out = tmp_path / f"{factor:g}"
        outcome, _ = run(out, task(), encoders=both, probe=probe)
        assert outcome.failures == []
        (path,) = out.rglob("*-seed0.npz")
        with np.load(path) as kept:
            scores.append(kept["prediction"])
        assert ResultStore(out).table()["parts"].tolist() == ["pixels-1-size8+loud"]
    assert np.array_equal(*scores)


def test_what_it_has_not_is_said(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, task(), encoders=f"{ONE}+{TWO}", probe="finetune")
    assert "Fine-tune one of them" in outcome.failures[0].reason
    outcome, _ = run(tmp_path, task(), encoders=[f"{ONE}+{TWO}", TWO], probe="attentive")
    assert (outcome.n_run, len(outcome.failures)) == (1, 1)
    assert "no maps" in outcome.failures[0].reason

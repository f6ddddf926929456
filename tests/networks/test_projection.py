"""The projection head of pretraining: kept in the encoder file, and read as an encoder of its own."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import nn

import virb
from virb.cli import main
from virb.convert.load import load_encoder, read_checkpoint, save_encoder
from virb.errors import CheckpointError, UsageError
from virb.networks import projections
from virb.networks.encoder import FrozenEncoder

HEADS = {
    "linear": nn.Linear(64, 16, bias=False),
    "nonlinear": projections.mlp([64, 32, 16]),
    "plain": projections.mlp([64, 32, 16], last_norm="plain"),
    "gelu": nn.Sequential(nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 16)),
}


def save(path: Path, projection: nn.Module | None, **meta: object) -> FrozenEncoder:
    encoder = load_encoder("random:resnet18:width=0.125,seed=1,size=32")
    save_encoder(
        path,
        arch=encoder.arch,
        arch_options=encoder.arch_options,
        state_dict=encoder.state_dict(),
        preprocess=encoder.preprocess,
        meta={"method": "simclr", **meta},
        projection=projection,
    )
    return encoder


def trained(head: nn.Module) -> nn.Module:
    """Statistics and scales that are not those of a new layer."""
    for module in head.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    return head


@pytest.mark.parametrize("kind", HEADS)
def test_an_encoder_through_its_projection_gives_what_the_head_gives(kind: str, tmp_path: Path) -> None:
    head = trained(HEADS[kind])
    source = save(tmp_path / "e.pt", head)
    through = load_encoder(f"{tmp_path / 'e.pt'}:features=projection")
    x = through.prepare(torch.randint(0, 256, (5, 40, 40, 3), dtype=torch.uint8))
    with torch.no_grad():
        expected = head.eval()(source.embed(x))
    torch.testing.assert_close(through.embed(x), expected)
    assert through.dim == 16
    assert through.meta["features"] == "projection"
    embedding, maps = through.features(x)
    assert torch.equal(embedding, through.embed(x))
    assert maps == []


def test_it_is_another_encoder_than_the_plain_one(tmp_path: Path) -> None:
    source = save(tmp_path / "e.pt", HEADS["nonlinear"])
    plain, through = load_encoder(tmp_path / "e.pt"), load_encoder(tmp_path / "e.pt", features="projection")
    assert plain.sha256 == source.sha256
    assert (plain.name, through.name) == ("e", "e-featuresprojection")
    assert through.sha256 != plain.sha256
    assert through.identity != plain.identity
    assert load_encoder(through.source or "", features="projection").identity == through.identity
    same = load_encoder(f"{tmp_path / 'e.pt'}:features=embedding")
    assert (same.name, same.identity) == (plain.name, plain.identity)


def test_heads_that_differ_in_the_activation_alone_are_different_encoders(tmp_path: Path) -> None:
    first, _, last = HEADS["gelu"]
    found = set()
    for k, activation in enumerate((nn.GELU(), nn.ReLU())):
        save(tmp_path / f"{k}.pt", nn.Sequential(first, activation, last))
        found.add(load_encoder(f"{tmp_path / f'{k}.pt'}:features=projection").sha256)
    assert len(found) == 2


def test_loading_draws_no_random_number(tmp_path: Path) -> None:
    save(tmp_path / "e.pt", HEADS["nonlinear"])
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_encoder(f"{tmp_path / 'e.pt'}:features=projection")
    save(tmp_path / "again.pt", HEADS["nonlinear"])
    assert torch.equal(torch.rand(2), expected)


def test_the_description_is_plain_and_enough(tmp_path: Path) -> None:
    save(tmp_path / "e.pt", projections.mlp([64, 32, 16], last_norm="plain"))
    stored = read_checkpoint(tmp_path / "e.pt")["projection"]
    assert stored["layers"] == [
        {"layer": "linear", "in": 64, "out": 32, "bias": False},
        {"layer": "batchnorm", "dim": 32, "affine": True, "eps": 1e-5},
        {"layer": "relu"},
        {"layer": "linear", "in": 32, "out": 16, "bias": False},
        {"layer": "batchnorm", "dim": 16, "affine": False, "eps": 1e-5},
    ]
    assert projections.describe(projections.build(stored["layers"])) == stored["layers"]


def test_what_meta_says_of_a_head() -> None:
    assert projections.head_meta(None, 64) == {}
    assert projections.head_meta(nn.Identity(), 64) == {"head": "identity", "head_dim": 64}
    for kind, expected in {"linear": "linear", "nonlinear": "nonlinear", "plain": "nonlinear"}.items():
        assert projections.head_meta(HEADS[kind], 64) == {"head": expected, "head_dim": 16}


def test_what_has_no_projection_says_so(tmp_path: Path) -> None:
    save(tmp_path / "none.pt", None)
    with pytest.raises(CheckpointError, match=r"keeps no projection head: its method \(simclr\)"):
        load_encoder(f"{tmp_path / 'none.pt'}:features=projection")
    save(tmp_path / "identity.pt", nn.Identity(), head="identity")
    assert "projection" not in read_checkpoint(tmp_path / "identity.pt")
    with pytest.raises(CheckpointError, match="saw the embedding itself"):
        load_encoder(f"{tmp_path / 'identity.pt'}:features=projection")
    with pytest.raises(UsageError, match="features=head; expected embedding or projection"):
        load_encoder(f"{tmp_path / 'none.pt'}:features=head")
    torch.save(load_encoder(tmp_path / "none.pt").state_dict(), tmp_path / "foreign.pth")
    with pytest.raises(UsageError, match="only virb's own encoder files"):
        load_encoder(f"{tmp_path / 'foreign.pth'}:features=projection")


def test_a_head_that_cannot_be_kept_or_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="found Dropout"):
        save(tmp_path / "e.pt", nn.Sequential(nn.Linear(64, 8), nn.Dropout()))
    with pytest.raises(UsageError, match="follows 64 dimensions"):
        save(tmp_path / "e.pt", nn.Linear(32, 8))
    save(tmp_path / "e.pt", HEADS["linear"])
    whole = torch.load(tmp_path / "e.pt", weights_only=True)
    for change in (
        {"layers": [{"layer": "maxpool"}]},
        {"layers": [{"layer": "linear", "in": 64}]},
        {"state_dict": {"0.weight": torch.zeros(3, 3)}},
        {"layers": 3},
    ):
        torch.save({**whole, "projection": {**whole["projection"], **change}}, tmp_path / "bad.pt")
        with pytest.raises(CheckpointError, match="its projection head cannot be read"):
            load_encoder(f"{tmp_path / 'bad.pt'}:features=projection")
        assert load_encoder(tmp_path / "bad.pt").dim == 64


def test_a_pixelwise_task_fails_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "e.pt", HEADS["linear"])
    named = f"{tmp_path / 'e.pt'}:features=projection"
    out = tmp_path / "results"
    status = main(["evaluate", named, "--tasks", "mini-digits,mini-depth", "--limit", "40", "--out", str(out)])
    text = "".join(capsys.readouterr())
    assert status == 1
    assert "e-featuresprojection" in text
    assert "mini-depth" in text
    assert {path.parent.name for path in out.rglob("*-seed0.json")} == {"mini-digits"}
    encoder = load_encoder(named)
    with pytest.raises(UsageError, match="has no pyramid"):
        encoder.pyramid(torch.zeros(1, 3, 32, 32))


def test_results_say_which_head_and_that_it_was_looked_through(tmp_path: Path) -> None:
    save(tmp_path / "e.pt", HEADS["nonlinear"], head="nonlinear", head_dim=16)
    named = [str(tmp_path / "e.pt"), f"{tmp_path / 'e.pt'}:features=projection"]
    table = virb.evaluate(named, ["mini-digits"], out=tmp_path / "results", limit=40).set_index("encoder")
    assert list(table["head"]) == ["nonlinear"] * 2
    assert list(table["head_dim"]) == [16] * 2
    assert table.loc["e-featuresprojection", "features"] == "projection"
    assert table["features"].isna().sum() == 1


def test_the_analysis_of_heads_leaves_encoders_through_their_projection_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["encoder,task,score,head,head_dim,features"]
    for (kind, base), dim in itertools.product((("linear", 0.5), ("nonlinear", 0.7)), (32, 64)):
        rows += [f"{kind}{dim},t,{base},{kind},{dim},", f"{kind}{dim}-through,t,{base - 0.4},{kind},{dim},projection"]
    (tmp_path / "s.csv").write_text("\n".join(rows) + "\n")
    args = ["analyze", "projection-heads", "--results", str(tmp_path / "s.csv"), "--out", str(tmp_path / "f")]
    assert main(args) == 0
    text = capsys.readouterr().out
    assert "nonlinear less linear: +0.200" in text
    assert "left out, as they show the projection itself: linear32-through" in text

"""What encoders are is declared, and in what order the sayings go; nothing is read out of a name."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from virb import registry
from virb.contracts.analysis import NotApplicable
from virb.contracts.roles import ROLES
from virb.contracts.tables import Notes
from virb.convert.declared import timm_role
from virb.convert.load import load_encoder, reference_encoders, save_encoder
from virb.convert.zoo import published
from virb.errors import RegistryError, ScoresError, UsageError
from virb.scores.read import read_scores
from virb.scores.roles import analysed, families, reference_encoder, roles, with_meta
from virb.scores.schema import check_scores
from virb.scores.select import chosen


def scores(**columns: list[object]) -> pd.DataFrame:
    names = columns.pop("encoder", ["a", "b", "c"])
    return check_scores(pd.DataFrame({"encoder": names, "task": "t", "score": [0.1, 0.2, 0.3], **columns}))


@given(
    st.text(min_size=1, max_size=10), st.sampled_from(["supervised", "random", "pixels", "simclr", "self-supervised"])
)
def test_no_name_and_no_method_makes_a_role(ending: str, start: str) -> None:
    frame = scores(encoder=["x", "y", f"{start}{ending}z"], method=["m", "n", start + ending])
    assert set(roles(frame)) == {"unknown"}


def test_unknown_is_never_pooled_and_a_group_says_who_is_left_out(tmp_path: Path) -> None:
    frame = scores(role=["self-supervised", None, "supervised"])
    out = Notes()
    assert analysed(frame, out) == ["a"]
    assert out == ["left out by their role: b (unknown); c (supervised)"]
    assert analysed(frame, out, asked=["all"]) == ["a", "b", "c"]
    with pytest.raises(NotApplicable, match="1 self-supervised, 1 unknown, 1 supervised"):
        analysed(frame, out, asked=["baseline"])
    with pytest.raises(UsageError, match="expected some of"):
        analysed(frame, out, asked=["teacher"])
    out = Notes()
    assert analysed(scores(), out) == ["a", "b", "c"]
    assert "no role is declared" in out[0]


def test_families_are_the_declared_ones_else_methods_else_each_its_own() -> None:
    frame = scores(family=["f", None, None], method=["m", "m", None])
    assert families(frame).tolist() == ["f", "m", "c"]


def test_metadata_goes_before_the_table_and_what_does_not_fit_is_said() -> None:
    frame = scores(role=["supervised", "supervised", None])
    meta = pd.DataFrame({"encoder": ["b", "z"], "role": ["baseline", "untrained"], "family": ["f", "g"]})
    found = with_meta(frame, meta)
    assert roles(found).tolist() == ["supervised", "baseline", "unknown"]
    assert families(found).tolist() == ["a", "f", "c"]
    assert any("without scores: z" in note for note in found.attrs["notes"])
    assert any("nothing of a and c" in note for note in found.attrs["notes"])
    assert reference_encoder(found) == "a"
    with pytest.raises(ScoresError, match="none of which"):
        with_meta(frame, meta[1:])


def test_every_method_declares_what_its_encoders_are() -> None:
    declared = {name: registry.load("methods", name).role for name in registry.names("methods")}
    assert (declared["supervised"], declared["random"]) == ("supervised", "untrained")
    assert {role for name, role in declared.items() if name not in ("supervised", "random")} == {"self-supervised"}
    with pytest.raises(RegistryError, match="none of"):
        type(registry.load("methods", "random"))(name="x", source="", role="teacher")


def test_the_encoders_that_come_with_virb_have_roles() -> None:
    found = {name: load_encoder(name).meta["role"] for name in reference_encoders()}
    assert found["raw-pixels"] == "baseline"
    assert found["random"] == "untrained"
    assert found["supervised-objects"] == "supervised"
    assert found["simclr-rooms"] == "self-supervised"
    assert {entry.meta["role"] for entry in published().values()} == {"supervised", "self-supervised"}


def test_the_spec_goes_before_the_file_and_changes_no_name(tmp_path: Path) -> None:
    meta = {"method": "simclr", "role": "language-supervised"}
    preprocess = {"size": 8, "mean": [0.5] * 3, "std": [0.5] * 3}
    save_encoder(tmp_path / "mine.pt", arch="pixels", arch_options={}, state_dict={}, preprocess=preprocess, meta=meta)
    assert load_encoder(tmp_path / "mine.pt").meta["role"] == "language-supervised"
    spec = load_encoder(f"{tmp_path / 'mine.pt'}:role=Self_Supervised,family=ours,repeat=3")
    assert (spec.name, spec.meta["role"], spec.meta["family"], spec.meta["repeat"]) == (
        "mine",
        "self-supervised",
        "ours",
        "3",
    )
    with pytest.raises(UsageError, match="role=teacher"):
        load_encoder(f"{tmp_path / 'mine.pt'}:role=teacher")
    assert load_encoder("random:resnet18:width=0.25").meta["role"] == "untrained"
    assert load_encoder("pixels:2").meta["role"] == "baseline"
    torch.save(load_encoder("random:resnet18:width=0.25").state_dict(), tmp_path / "foreign.pth")
    assert "role" not in load_encoder(f"{tmp_path / 'foreign.pth'}:arch=resnet18,width=0.25").meta


@pytest.mark.parametrize(
    ("tag", "role"),
    [
        ("a1_in1k", "supervised"),
        ("augreg_in21k_ft_in1k", "supervised"),
        ("dino", "self-supervised"),
        ("lvd142m", "self-supervised"),
        ("in1k_ijepa", "self-supervised"),
        ("fcmae", "self-supervised"),
        ("fcmae_ft_in22k_in1k", "supervised"),
        ("openai", "language-supervised"),
        ("laion2b_s34b_b79k", "language-supervised"),
        ("laion2b_ft_in12k_in1k", "supervised"),
        ("mim_in22k", "unknown"),
        ("fb_ssl_yfcc100m", "unknown"),
        ("sa1b", "unknown"),
        ("", "unknown"),
    ],
)
def test_timms_own_tags(tag: str, role: str) -> None:
    assert timm_role(tag) == role
    assert role in ROLES


def test_parts_of_the_scores_are_chosen_and_named() -> None:
    rows = [(e, t, 0.1) for e in ("a", "b", "c") for t in ("x", "y")]
    frame = check_scores(pd.DataFrame(rows, columns=["encoder", "task", "score"]).assign(method=list("mmnnoo")))
    assert len(chosen(frame, select=["a,b"])) == 4
    assert len(chosen(frame, select=["a,x"])) == 1
    assert set(chosen(frame, exclude=["method=n,o"])["encoder"]) == {"a"}
    kept = chosen(frame, select=["task=x"], exclude=["c"])
    assert kept.attrs["notes"] == ["left out as asked: 1 encoder (c), 1 task (y)"]
    for text in ("z", "method=q", "nowhere=q"):
        with pytest.raises(UsageError, match=text.rpartition("=")[2]):
            chosen(frame, select=[text])
    with pytest.raises(ScoresError, match="Nothing is left"):
        chosen(frame, exclude=["a,b,c"])


def test_metadata_from_a_file_reaches_the_scores(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("encoder,task,score\na,x,.1\nb,x,.2\n")
    (tmp_path / "m.csv").write_text("encoder,role,lr\na,supervised,.1\nb,baseline,.2\n")
    frame = read_scores(tmp_path / "s.csv", meta=tmp_path / "m.csv")
    assert roles(frame).tolist() == ["supervised", "baseline"]
    assert frame["lr"].tolist() == [0.1, 0.2]

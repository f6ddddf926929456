"""Every probe through the command line: records, resume, what does not go together, and Dask."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import virb
from virb import registry
from virb.cli import main
from virb.convert.load import load_encoder
from virb.errors import UsageError

TINY = "random:resnet18:width=0.125,size=32"
OTHER = TINY + ",seed=1"
# Where the light square is (left or right) in one image or two, and the same as a map.
TASKS = """
from virb.contracts.task import Category, Protocol, Task

N_FRAMES, IS_DENSE = {n_frames}, {is_dense}


def data(context, split):
    import os

    import numpy as np

    from virb.contracts.examples import Examples
    from virb.images.sets import ArrayImages

    n = 40
    rng = np.random.default_rng(split == "train")
    images = rng.integers(0, 60, (n * N_FRAMES, 32, 32, 3)).astype(np.uint8)
    labels = rng.integers(0, 2, n)
    for k in range(n * N_FRAMES):
        left = 16 * labels[k // N_FRAMES]
        images[k, 8:24, left : left + 16] += 150
    targets = (images[:, :, :, 0] > 100).astype(np.int64) if IS_DENSE else labels
    if split == "test" and os.environ.get("VIRB_TEST_WRONG"):
        targets = 1 - targets
    frames = np.arange(n * N_FRAMES).reshape(n, N_FRAMES)
    return Examples(ArrayImages.of("squares-{name}-" + split, images), frames, targets, [str(k) for k in range(n)])


TASK = Task(name="{name}", summary="s", category=Category.{category}, head="{head}", loss="cross_entropy",
            metric="{metric}", data=data, classes=2, protocol=Protocol(epochs=2), n_frames=N_FRAMES)
"""


@pytest.fixture
def place(tmp_path: Path) -> list[str]:
    own = tmp_path / "squares"
    own.mkdir()
    (own / "__init__.py").write_text("")
    for name, n_frames, is_dense, category, head, metric in (
        ("side", 1, False, "SEMANTIC_IMAGE", "linear", "top1"),
        ("side-twice", 2, False, "STRUCTURAL_IMAGE", "fusion", "top1"),
        ("square-map", 1, True, "SEMANTIC_PIXEL", "unet", "miou"),
    ):
        (own / f"{name.replace('-', '_')}.py").write_text(
            TASKS.format(name=name, n_frames=n_frames, is_dense=is_dense, category=category, head=head, metric=metric)
        )
    return ["--include", str(own), "--out", str(tmp_path / "results"), "--device", "cpu"]


def call(place: list[str], *argv: str) -> int:
    return main(["evaluate", *argv, *place])


def records(root: Path) -> dict[str, dict]:
    """All records below a folder, less the seconds."""
    found = {}
    for path in sorted(root.rglob("*.json")):
        record = json.loads(path.read_text())
        assert set(record.pop("seconds")) == {"encode", "train", "predict"}
        found[path.relative_to(root).as_posix()] = record
    return found


EXPECTED = {
    "knn": {"k": 20, "temperature": 0.07, "similarity": "cosine"},
    "lbfgs": {"optimizer": "lbfgs", "n_validation": 8, "is_converged": True},
    "finetune": {"epochs": 30, "optimizer": "sgd", "lr": 0.01, "momentum": 0.9, "augmentations": ["crop", "flip"]},
}


@pytest.mark.parametrize("probe", ["knn", "lbfgs", "finetune"])
def test_a_probe_writes_whole_records_and_a_second_run_computes_nothing(place, tmp_path, capsys, probe):
    few = ["--epochs", "2"] if probe == "finetune" else []
    argv = [TINY, "--tasks", "side,side-twice", "--probe", probe, *few]
    assert call(place, *argv) == 0
    first = capsys.readouterr().out
    assert "2 jobs run" in first
    found = records(tmp_path / "results")
    label = probe + ("+epochs=2" if few else "")
    assert [path.rpartition("/")[2] for path in found] == [f"{label}-seed0.json"] * 2
    one, two = found.values()
    wanted = {**EXPECTED[probe], **({"epochs": 2} if few else {})}
    assert {key: one["protocol"][key] for key in wanted} == wanted
    assert one["probe"] == label
    assert one["overrides"] == ({"epochs": 2} if few else {})
    assert one["n_train"] == one["n_test"] == 40
    assert one["score"] > 0.85 or probe == "finetune"
    if probe == "finetune":
        assert two["protocol"]["augmentations"] == []  # left and right are what the structural task asks for
    for path, record in found.items():
        with np.load((tmp_path / "results" / path).with_suffix(".npz"), allow_pickle=False) as saved:
            assert len(saved["ids"]) == len(saved["prediction"]) == 40
            assert np.mean(saved["prediction"] == saved["target"]) == record["score"]
    assert call(place, *argv) == 0
    second = capsys.readouterr().out
    assert "0 jobs run, 2 were there already" in second
    assert second.splitlines()[:-1] == first.splitlines()[:-1]
    for path in (tmp_path / "results").rglob("*.json"):
        path.unlink()
    assert call(place, *argv) == 0
    assert records(tmp_path / "results") == found


@pytest.mark.parametrize("probe", ["knn", "lbfgs", "finetune"])
def test_test_labels_decide_the_score_and_nothing_else(place, tmp_path, capsys, monkeypatch, probe):
    few = ["--epochs", "1"] if probe == "finetune" else []
    argv = [TINY, "--tasks", "side", "--probe", probe, *few]

    def made() -> tuple[dict, np.ndarray]:
        assert call(place, *argv) == 0
        (path,) = (tmp_path / "results").rglob("*.json")
        record, saved = json.loads(path.read_text()), dict(np.load(path.with_suffix(".npz")))
        path.unlink()
        return record, saved["prediction"]

    record, prediction = made()
    monkeypatch.setenv("VIRB_TEST_WRONG", "1")
    other, same_prediction = made()
    assert np.array_equal(prediction, same_prediction)
    assert record["protocol"] == other["protocol"]
    assert record["score"] == pytest.approx(1 - other["score"])


def test_several_probes_lie_side_by_side(place, tmp_path, capsys):
    for probe in ("gradient", "knn", "lbfgs"):
        assert call(place, TINY, "--tasks", "side", "--probe", probe) == 0
        printed = capsys.readouterr().out
        assert f"probe: {probe}" in printed or probe == "gradient"
    assert call(place, TINY, "--tasks", "side", "--probe", "knn", "--limit", "30") == 0
    capsys.readouterr()
    where = ["--results", str(tmp_path / "results")]
    assert main(["results", "show", *where]) == 0
    shown = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in shown if line.startswith("probe: ")] == [
        f"probe: {name}" for name in ("gradient", "knn", "knn+limit=30", "lbfgs")
    ]
    assert main(["results", "show", "--json", *where]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["probe"] for row in rows] == ["gradient", "knn", "knn+limit=30", "lbfgs"]
    assert len({row["score"] for row in rows}) > 1


def test_a_probe_without_randomness_has_one_record_whatever_the_seeds(place, tmp_path, capsys):
    assert call(place, TINY, "--tasks", "side", "--probe", "knn", "--seeds", "3") == 0
    printed = capsys.readouterr()
    assert "Nothing in --probe knn is random" in printed.err
    assert "1 jobs run" in printed.out
    assert "nothing is random" in printed.out
    assert [path.name for path in (tmp_path / "results").rglob("*.json")] == ["knn-seed0.json"]
    assert call(place, TINY, "--tasks", "side", "--probe", "lbfgs", "--seeds", "2") == 0
    assert "2 jobs run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("probe", "options", "fragments"),
    [
        ("knn", ["--epochs", "3"], ["--probe knn has no --epochs", "trains nothing", "finetune or --probe gradient"]),
        ("knn", ["--lr", "1", "--optimizer", "sgd"], ["has no --optimizer, --lr", "Leave them out"]),
        ("lbfgs", ["--epochs", "3"], ["--probe lbfgs has no --epochs"]),
        ("finetune", ["--dtype", "bf16"], ["--probe finetune has no --dtype", "fp32"]),
        ("finetune", ["--optimizer", "adam"], ["adam needs a rate of its own", "--lr"]),
        ("kn", [], ["Unknown probe 'kn'", "Did you mean 'knn'"]),
    ],
)
def test_options_that_a_probe_has_not_are_refused_before_any_work(place, tmp_path, capsys, probe, options, fragments):
    assert call(place, TINY, "--tasks", "side", "--probe", probe, *options) == 2
    printed = capsys.readouterr().err
    for fragment in fragments:
        assert fragment in printed
    assert not (tmp_path / "results").exists()


def test_a_pixelwise_task_is_refused_by_name_and_left_out_of_a_suite(place, tmp_path, capsys):
    assert call(place, TINY, "--tasks", "side,square-map", "--probe", "lbfgs") == 2
    printed = capsys.readouterr().err
    assert "square-map: a pixelwise task (mask)" in printed
    assert "--probe gradient" in printed
    assert not list((tmp_path / "results").rglob("*.json"))
    assert call(place, TINY, "--suite", "squares", "--probe", "knn") == 0
    printed = capsys.readouterr()
    assert "left out: square-map" in printed.err
    assert "FAILED" not in printed.err
    assert len(list((tmp_path / "results").rglob("*.json"))) == 2


@pytest.mark.parametrize("probe", ["knn", "lbfgs"])
def test_an_embedding_that_is_not_finite_is_named_and_the_other_encoder_goes_on(place, capsys, probe, monkeypatch):
    from virb.features.cache import FeatureCache

    encode = FeatureCache.encode

    def damaged(self, encoders, *args, **options):
        found = encode(self, encoders, *args, **options)
        for encoder, row in zip(encoders, found, strict=True):
            if "seed1" in encoder.name:
                part = np.array(row["embedding"].embedding)
                part[3] = np.nan
                object.__setattr__(row["embedding"], "parts", (part,))
        return found

    monkeypatch.setattr(FeatureCache, "encode", damaged)
    assert call(place, TINY, OTHER, "--tasks", "side", "--probe", probe) == 1
    printed = capsys.readouterr()
    assert "1 jobs run" in printed.out
    (failed,) = (line for line in printed.err.splitlines() if line.startswith("FAILED"))
    assert "seed1-size32-width0.125 on side, seed 0" in failed
    assert "is not finite" in failed


def test_one_job_that_fails_does_not_take_the_others_along(place, capsys, monkeypatch):
    from virb.errors import TrainingError
    from virb.probes import finetune

    train = finetune.train

    def failing(network, *args, seed, **options):
        if seed == 1:
            raise TrainingError("the loss was not finite")
        return train(network, *args, seed=seed, **options)

    monkeypatch.setattr(finetune, "train", failing)
    argv = [TINY, "--tasks", "side", "--probe", "finetune", "--epochs", "1", "--seeds", "2"]
    assert call(place, *argv) == 1
    printed = capsys.readouterr()
    assert "1 jobs run" in printed.out
    assert "on side, seed 1: the loss was not finite" in printed.err


def test_fine_tuning_leaves_the_encoder_that_is_passed_as_it_was(place, tmp_path, monkeypatch):
    monkeypatch.setenv("VIRB_INCLUDE", place[1])
    encoder = load_encoder(TINY)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    shown = encoder.embed(torch.ones(1, 3, 32, 32))
    table = virb.evaluate([encoder], ["side"], out=tmp_path / "out", probe="finetune", epochs=1, device="cpu")
    assert list(table["probe"]) == ["finetune+epochs=1"]
    assert all(torch.equal(encoder.state_dict()[name], value) for name, value in before.items())
    assert torch.equal(encoder.embed(torch.ones(1, 3, 32, 32)), shown)
    assert not any(p.requires_grad or p.grad is not None for p in encoder.parameters())
    with pytest.raises(UsageError, match="square-map: a pixelwise task"):
        virb.evaluate([encoder], ["square-map"], out=tmp_path / "out", probe="finetune")


def test_every_probe_is_named_in_the_help_which_needs_no_torch(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    for name in registry.names("probes"):
        assert f"{name}: " in printed
    code = "import sys; import virb.cli; virb.cli.build_parser(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("probe", ["knn", "lbfgs", "finetune"])
def test_dask_workers_write_the_records_of_a_local_run(place, tmp_path, capsys, probe):
    pytest.importorskip("distributed")
    few = {"finetune": ["--epochs", "1"], "knn": ["--label-fraction", "0.5,1"]}.get(probe, [])
    argv = [TINY, OTHER, "--suite", "squares", "--probe", probe, "--seeds", "2", *few]
    assert call(place, *argv) == 0
    local = records(tmp_path / "results")
    assert len(local) == (4 + 8 if probe == "knn" else 8)
    place[3] = str(tmp_path / "remote")
    assert call(place, *argv, "--executor", "dask") == 0
    assert records(tmp_path / "remote") == local
    for path in local:
        one, two = (np.load((tmp_path / root / path).with_suffix(".npz")) for root in ("results", "remote"))
        assert all(np.array_equal(one[key], two[key]) for key in one)

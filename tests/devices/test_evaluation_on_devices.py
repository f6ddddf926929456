"""Evaluation on a GPU: the CPU's numbers, no mixed devices, memory given back, and budgets of waits and copies."""

from __future__ import annotations

import gc

import device_tasks
import numpy as np
import pytest
import torch

from virb.contracts.examples import DataContext
from virb.contracts.options import RunOptions
from virb.convert.load import load_encoder
from virb.evaluation import run as evaluation
from virb.features.cache import FeatureCache
from virb.images.sets import ArrayImages
from virb.system import devices
from virb.system.progress import Progress

SMALL = "random:resnet18:width=0.25,size=32"
KINDS = ("classes", "frames", "segmentation", "depth", "flow", "crops")


def evaluate(encoders, kind, device, out, probe="gradient", **how):
    """Return the outcome, whose failures fail the test."""
    gb = how.pop("cache_gb", 20.0)
    found = evaluation.run(
        encoders, [device_tasks.task(kind)], context=DataContext(cache=out / f"cache-{device}"),
        options=RunOptions(out=out / device, probe=probe, device=device, cache_gb=gb, **how),
    )  # fmt: skip
    assert not found.failures, "\n".join(f"{f.what}: {f.reason}\n{f.details}" for f in found.failures)
    return found


def scores(encoders, kind, device, out, probe="gradient", **how):
    table = evaluate(encoders, kind, device, out, probe, **how).table
    return {row["encoder"]: float(row["score"]) for _, row in table.iterrows()}


def differences(arch, images, dtype, device):
    """Return the largest and the root mean square difference of each layer to the CPU's fp32, in its standard deviation."""
    found: dict[str, tuple[float, float]] = {}
    x = torch.from_numpy(images)
    layers = {}
    for place, kind in (("cpu", torch.float32), (device, dtype)):
        encoder = load_encoder(arch).to(place, kind)
        embedding, maps = encoder.features(encoder.prepare(x))
        layers[place] = [embedding.cpu(), *(m.cpu() for m in maps)]
    for k, (one, other) in enumerate(zip(layers["cpu"], layers[device], strict=True)):
        off = (one - other).double()
        found["embedding" if k == 0 else f"level{k - 1}"] = (
            float(off.abs().max() / one.double().std()),
            float(off.square().mean().sqrt() / one.double().std()),
        )
    return found


ENCODERS = {
    "resnet18": ("random:resnet18:size=64", 64, 64),
    "vit-tiny": ("random:vit_tiny_patch16:size=64,image_size=64", 64, 64),
    "resnet50": ("random:resnet50:size=224", 224, 8),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_embeddings_and_maps_equal_the_cpus_in_fp32(card, keep, name, request):
    arch, side, n = ENCODERS[name]
    if "simulated" in request.node.name:
        n = 2
    images = np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    with devices.tf32(False):
        found = differences(arch, images, torch.float32, card)
    keep(largest=max(v[0] for v in found.values()), layers={k: v[0] for k, v in found.items()})
    assert max(v[0] for v in found.values()) < 1e-4, found


def test_a_run_on_one_of_several_gpus_says_so(gpu, tmp_path, monkeypatch):
    several = "This run uses one of 2 GPUs; executor= can give each a worker (virb list executors)."
    for n, said in ((1, []), (2, [several])):
        monkeypatch.setattr(torch.cuda, "device_count", lambda n=n: n)
        notes = []
        progress = Progress(is_quiet=True)
        progress.note = notes.append
        evaluation.run(
            SMALL, [device_tasks.task("classes")], context=DataContext(cache=tmp_path / "cache"),
            options=RunOptions(out=tmp_path / "out", probe="knn", device="cuda"), progress=progress,
        )  # fmt: skip
        assert [note for note in notes if "GPUs" in note] == said


def test_a_compiled_forward_pass_gives_the_cpus_scores(card, tmp_path, monkeypatch, request):
    if "simulated" in request.node.name:  # which has no program of its own to compile to
        compile = torch.compile
        monkeypatch.setattr(torch, "compile", lambda model, **_: compile(model, backend="eager"))
    ours = scores(SMALL, "classes", card, tmp_path, "knn", compile=True)
    theirs = scores(SMALL, "classes", "cpu", tmp_path, "knn")
    assert ours == pytest.approx(theirs, abs=0.02)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["tf32", "bf16", "fp16"])
@pytest.mark.parametrize("name", ENCODERS)
def test_other_types_stay_near_fp32(keep, name, dtype):
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    arch, side, n = ENCODERS[name]
    images = np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    with devices.tf32(dtype == "tf32"):
        found = differences(arch, images, devices.torch_dtype(dtype), "cuda")
    keep(rms=max(v[1] for v in found.values()), largest=max(v[0] for v in found.values()))
    assert max(v[1] for v in found.values()) < 2e-2, found


@pytest.mark.parametrize("kind", KINDS)
def test_heads_score_as_on_the_cpu_with_a_loaded_and_a_named_encoder(card, keep, tmp_path, kind):
    def encoders():
        return [load_encoder(SMALL), f"{SMALL},seed=1"]

    there, here = (scores(encoders(), kind, device, tmp_path) for device in (card, "cpu"))
    off = max(abs(there[name] - here[name]) for name in here)
    keep(largest=off, here=here, there=there)
    assert len(there) == 2
    assert off < 0.15


@pytest.mark.parametrize("probe", ["knn", "lbfgs", "finetune"])
def test_probes_score_as_on_the_cpu(card, keep, tmp_path, probe):
    how = {"epochs": 1} if probe == "finetune" else {}
    there, here = (scores([SMALL], "classes", device, tmp_path, probe, **how) for device in (card, "cpu"))
    off = max(abs(there[name] - here[name]) for name in here)
    keep(largest=off, here=here, there=there)
    assert off < (0.3 if probe == "finetune" else 0.1)


@pytest.mark.parametrize("kind", ["segmentation", "depth", "flow"])
def test_maps_that_are_computed_when_used_score_as_cached_ones(card, keep, tmp_path, kind):
    encoders = [load_encoder(SMALL), f"{SMALL},seed=1"]
    cached = scores(encoders, kind, card, tmp_path / "cached")
    computed = scores(encoders, kind, card, tmp_path / "computed", cache_gb=0.0)
    off = max(abs(cached[name] - computed[name]) for name in cached)
    keep(largest=off)
    assert off < 0.1


@pytest.mark.parametrize("dtype", ["tf32", "bf16", "fp16"])
@pytest.mark.parametrize("kind", ["classes", "segmentation", "depth"])
def test_records_say_where_they_were_computed(card, keep, tmp_path, kind, dtype, request):
    if "simulated" in request.node.name and (kind, dtype) not in [("classes", "tf32"), ("segmentation", "fp16")]:
        pytest.skip("another case shows it on the simulated GPU")
    found = evaluate([SMALL], kind, card, tmp_path, dtype=dtype)
    plain = scores([SMALL], kind, card, tmp_path)
    score = float(found.table["score"].iloc[0])
    keep(dtype=dtype, score=score, fp32=plain)
    record = evaluation.ResultStore(tmp_path / card).read(next((tmp_path / card).glob(f"*/*/*dtype={dtype}*.json")))
    assert record["ran_on"]["dtype"] == dtype
    assert record["ran_on"]["device"].startswith("cuda")
    assert record["ran_on"]["tf32"] == (dtype == "tf32")
    assert abs(score - next(iter(plain.values()))) < 0.2


@pytest.mark.parametrize("kind", ["classes", "segmentation"])
@pytest.mark.parametrize("probe", ["gradient", "finetune"])
def test_memory_is_given_back(card, keep, tmp_path, kind, probe):
    if probe == "finetune" and kind == "segmentation":
        pytest.skip("fine-tuning is for classes")
    taken = []
    for k in range(3):
        evaluate([f"{SMALL},seed={k}"], kind, card, tmp_path / str(k), probe, epochs=1)
        gc.collect()
        taken.append(torch.cuda.memory_allocated())
    keep(bytes=taken)
    assert taken[2] - taken[0] < 1 << 20


def test_a_batch_too_large_for_the_memory_is_tried_by_halves(gpu, tmp_path):
    images = ArrayImages.of("pictures", np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8))
    (whole,) = FeatureCache(tmp_path / "a").encode([load_encoder(SMALL, device="cuda")], images)
    tight = load_encoder(SMALL, device="cuda")
    tight.prepare_network()
    gpu.peak_bytes = before = gpu.live_bytes
    FeatureCache(tmp_path / "c").encode([tight], images)
    gc.collect()
    gpu.limit_bytes = gpu.live_bytes + (gpu.peak_bytes - before) // 3
    (halves,) = FeatureCache(tmp_path / "b").encode([tight], images)
    np.testing.assert_allclose(whole["embedding"].embedding, halves["embedding"].embedding, atol=1e-5)


def test_budgets_of_an_evaluation(gpu, tmp_path):
    for kind in ("frames", "segmentation", "flow"):
        for epochs in (2, 4):
            with gpu.region(f"{kind} {epochs}"):
                evaluate([SMALL], kind, "cuda", tmp_path / f"{kind}{epochs}", epochs=epochs)
        steps = 2 * 3  # of 16 of 48 examples, in the two epochs more
        less, more = gpu.counts(f"{kind} 2"), gpu.counts(f"{kind} 4")
        waits, blocking = (more[name] - less[name] for name in ("syncs", "h2d_blocking"))
        assert waits <= 2 * 2, f"{kind}: {waits} waits in {steps} steps\n{gpu.offenders('syncs', f'{kind} 4', 8)}"
        assert blocking <= 2 * 2, f"{kind}: {blocking}\n{gpu.offenders('h2d_blocking', f'{kind} 4', 8)}"


@pytest.mark.gpu
def test_a_batch_too_large_for_a_real_card_is_tried_by_halves(keep, tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    images = ArrayImages.of("pictures", np.random.default_rng(0).integers(0, 256, (128, 224, 224, 3), dtype=np.uint8))
    encoder = load_encoder("random:resnet50:size=224", device="cuda")
    with devices.tf32(False):
        (whole,) = FeatureCache(tmp_path / "a", batch_size=128).encode([encoder], images)
    peak = torch.cuda.max_memory_allocated()
    gc.collect()
    torch.cuda.empty_cache()
    room = torch.cuda.memory_reserved() + (peak - torch.cuda.memory_allocated()) // 2
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(room / total)
    try:
        with devices.tf32(False):
            (halves,) = FeatureCache(tmp_path / "b", batch_size=128).encode([encoder], images)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    off = float(np.abs(whole["embedding"].embedding - halves["embedding"].embedding).max())
    keep(largest=off, peak_mb=peak / 1e6, room_mb=room / 1e6)
    assert off < 1e-3


def test_an_encoder_without_room_fails_alone(gpu, tmp_path):
    gpu.limit_bytes = 12_000_000
    found = evaluation.run(
        ["random:resnet50:size=224", SMALL], [device_tasks.task("classes")],
        context=DataContext(cache=tmp_path / "cache"), options=RunOptions(out=tmp_path / "out", device="cuda"),
    )  # fmt: skip
    assert len(found.table) == 1
    assert "resnet50" in found.failures[0].what
    assert "memory" in found.failures[0].reason

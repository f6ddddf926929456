"""Part b: encoding, beside a plain loop over the same network, compiled and not; from JPEG files; maps; many encoders."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from on_gpu.pictures import read_some, write_some
from on_gpu.rows import Part
from virb.features import encode as features
from virb.features.cache import FeatureCache
from virb.images.sets import ArrayImages, FileImages
from virb.system import devices
from virb.system.threads import core_pool, n_cores

BATCH = 256
DTYPES = ("bf16", "tf32")
NETWORKS = {
    "resnet50": "random:resnet50:size=224",
    "vit_base_patch16": "random:vit_base_patch16:size=224,image_size=224",
}
SMALL = "random:resnet18:width=0.25,size=64"


def load(source: str, dtype: str, device: torch.device) -> Any:
    from virb import load_encoder

    encoder = load_encoder(source).to(device, devices.torch_dtype(dtype))
    encoder.prepare_network()
    return encoder


def plain(name: str, dtype: str, device: torch.device, *, is_compiled: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the loop's body: the published library's network in ``dtype``, channels last, compiled or not."""
    import timm
    import torchvision

    if name == "resnet50":
        model = torchvision.models.resnet50()
        model.fc = torch.nn.Identity()
    elif name == "vit_base_patch16":
        model = timm.create_model("vit_base_patch16_224", num_classes=0)
    else:
        model = torchvision.models.resnet18()
        model.fc = torch.nn.Identity()
    kind = devices.torch_dtype(dtype)
    model = model.eval().requires_grad_(False).to(device, kind, memory_format=torch.channels_last)
    forward = torch.compile(model) if is_compiled else model

    def body(x: torch.Tensor) -> torch.Tensor:
        with devices.tf32(dtype == "tf32"), torch.inference_mode():
            return forward(x.to(kind, memory_format=torch.channels_last)).float()

    return body


def run(part: Part) -> None:
    networks = {"resnet18": "random:resnet18:size=64"} if part.is_small else NETWORKS
    with tempfile.TemporaryDirectory(dir=_roomy()) as place:
        dtype = "fp32" if part.device.type == "cpu" else "bf16"
        part.row("pixelwise maps", lambda: _maps(part, next(iter(networks.values())), Path(place)), needs_s=10)
        part.row("eight small encoders at once", lambda: _eight(part, Path(place)), needs_s=8)
        files = _pictures(Path(place), 64 if part.is_small else 2048)
        part.row("decoding alone", lambda: _decoding(part, files), needs_s=5)
        for name, source in networks.items():
            part.row(
                f"JPEG files, {name}, {dtype}", lambda s=source: _files(part, files, s, dtype, Path(place)), needs_s=10
            )
        for name, source in networks.items():
            for kind in (dtype,) if part.device.type == "cpu" else DTYPES:
                part.row(
                    f"tensors on the device, {name}, {kind}",
                    lambda n=name, s=source, d=kind: _tensors(part, n, s, d),
                    needs_s=22,
                )


def _roomy() -> str | None:
    """Memory if it has room for some gigabytes of features, else the disk."""
    return "/dev/shm" if Path("/dev/shm").is_dir() and shutil.disk_usage("/dev/shm").free > 24e9 else None


def _pictures(place: Path, n: int) -> list[Path]:
    workers = min(n_cores(), 16)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        parts = pool.map(write_some, [str(place)] * workers, range(workers), [workers] * workers, [n] * workers)
        return sorted(Path(path) for paths in parts for path in paths)


def _tensors(part: Part, name: str, source: str, dtype: str) -> dict[str, Any]:
    batch, size = (8, 64) if part.is_small else (BATCH, 224)
    encoder = load(source, dtype, part.device)
    x = torch.rand(batch, 3, size, size, device=part.device)
    sides: dict[str, Callable[[], Any]] = {}

    def ours() -> Any:
        with devices.tf32(dtype == "tf32"):
            return features.compute_layers(encoder, x, {"embedding"})

    sides["virb"] = ours
    eager = plain(name, dtype, part.device, is_compiled=False)
    sides["plain"] = lambda: eager(x)
    if part.device.type == "cuda":
        compiled = plain(name, dtype, part.device, is_compiled=True)
        sides["compiled"] = lambda: compiled(x)
        own = torch.compile(encoder._inference_network().embed)
        kind = devices.torch_dtype(dtype)

        def ours_compiled() -> Any:
            with devices.tf32(dtype == "tf32"), torch.no_grad():
                return own(x.to(kind, memory_format=torch.channels_last)).float()

        sides["virb_compiled"] = ours_compiled
    found = part.in_turn(sides, n=2 if part.is_small else 30, seconds=1.0)
    rates = {f"{side}_images_s": batch / values["s"] for side, values in found.items()}
    ratios = {f"of_{side}": found[side]["s"] / found["virb"]["s"] for side in sides if side != "virb"}
    return {**rates, **ratios, "all": {side: values["all"] for side, values in found.items()}}


def _busy(part: Part, work: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds of ``work()`` and those in which the device computed layers, by its own clock."""
    spans: list[tuple[Any, Any]] = []
    original = features.compute_layers

    def timed(*args: Any) -> Any:
        if part.device.type != "cuda":
            return original(*args)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        found = original(*args)
        end.record()
        spans.append((begin, end))
        return found

    features.compute_layers = timed
    origin = torch.cuda.Event(enable_timing=True) if part.device.type == "cuda" else None
    if origin is not None:
        origin.record()
    try:
        wall = part.seconds(work)
    finally:
        features.compute_layers = original
    busy, reached = 0.0, 0.0
    for begin, end in sorted((origin.elapsed_time(begin), origin.elapsed_time(end)) for begin, end in spans):
        busy += max(0.0, end - max(begin, reached))  # two threads' spans may overlap
        reached = max(reached, end)
    return wall, busy / 1e3


def _files(part: Part, files: list[Path], source: str, dtype: str, place: Path) -> dict[str, Any]:
    encoder = load(source, dtype, part.device)
    rounds = 1 if part.is_small else 8
    images = FileImages("jpeg", files[0].parent, [path.name for path in files] * rounds)
    first = FileImages("jpeg", files[0].parent, [path.name for path in files[:64]])
    _ = images.digest
    FeatureCache(place / "warm", n_workers=n_cores()).encode([encoder], first)
    out = Path(tempfile.mkdtemp(dir=place))
    wall, busy = _busy(part, lambda: FeatureCache(out, n_workers=n_cores()).encode([encoder], images))
    shutil.rmtree(out)
    return {
        "images": len(images),
        "images_s": len(images) / wall,
        "busy": busy / wall,
        "busy_images_s": len(images) / max(busy, 1e-9),
    }


def _decoding(part: Part, files: list[Path]) -> dict[str, Any]:
    from torchvision.io import ImageReadMode, decode_jpeg, read_file

    images = FileImages("jpeg", files[0].parent, [path.name for path in files])

    def by_pil(k: int) -> None:
        features.resize(images.image(k), 224)

    def by_torchvision(k: int) -> None:
        decoded = decode_jpeg(read_file(str(files[k])), ImageReadMode.RGB)
        torch.nn.functional.interpolate(decoded[None], (224, 224), mode="bilinear", antialias=True)

    found = {}
    for threads in sorted({1, min(4, n_cores()), n_cores()}):
        for name, work in (("pil", by_pil), ("torchvision", by_torchvision)):
            with core_pool(threads) as pool:
                some = range(min(len(images), 64 * threads))
                begun = time.perf_counter()
                list(pool.map(work, some))
                found[f"{name}_{threads}_threads_images_s"] = len(some) / (time.perf_counter() - begun)
    with ProcessPoolExecutor(n_cores(), mp_context=get_context("spawn")) as processes:
        n = 64 * n_cores()
        paths = [str(files[k % len(files)]) for k in range(n)]
        list(processes.map(read_some, [paths[k :: n_cores()][:1] for k in range(n_cores())]))  # they import
        begun = time.perf_counter()
        list(processes.map(read_some, [paths[k :: n_cores()] for k in range(n_cores())]))
        found[f"pil_{n_cores()}_processes_images_s"] = n / (time.perf_counter() - begun)
    return found


def _maps(part: Part, source: str, place: Path) -> dict[str, Any]:
    dtype = "fp32" if part.device.type == "cpu" else "bf16"
    encoder = load(source, dtype, part.device)
    n, size = (16, 64) if part.is_small else (1024, 224)
    images = ArrayImages.of("maps", np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8))
    FeatureCache(place / "maps-warm").encode([encoder], images, layers=["pyramid"], upto=64)
    out = Path(tempfile.mkdtemp(dir=place))
    found: list[Any] = []
    wall, busy = _busy(part, lambda: found.extend(FeatureCache(out).encode([encoder], images, layers=["pyramid"])))
    n_bytes = sum(array.nbytes for array in found[0]["pyramid"].parts)
    found.clear()
    shutil.rmtree(out)
    return {"images_s": n / wall, "gb_s": n_bytes / wall / 1e9, "mb_an_image": n_bytes / n / 1e6, "busy": busy / wall}


def _eight(part: Part, place: Path) -> dict[str, Any]:
    n = 64 if part.is_small else 8192
    images = ArrayImages.of("eight", np.random.default_rng(1).integers(0, 256, (n, 64, 64, 3), dtype=np.uint8))
    encoders = [load(f"{SMALL},seed={k}", "fp32", part.device) for k in range(8)]
    FeatureCache(place / "eight-warm").encode(encoders, images, upto=64)
    out = Path(tempfile.mkdtemp(dir=place))
    wall, busy = _busy(part, lambda: FeatureCache(out).encode(encoders, images))
    return {"images_s": n / wall, "embeddings_s": 8 * n / wall, "busy": busy / wall}

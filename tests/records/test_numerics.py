"""The engine's arithmetic, and the version of it that fingerprints hold: they change together or not at all.

Where a number here is off, scores computed before are no longer what would be computed now: raise ``NUMERICS`` and write
the new numbers under it. The tolerances are wide enough for any processor, and narrow beside what a change of the
algorithm (another resize, another normalisation, another initialisation or order of examples) does.
"""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from virb.contracts.task import Category, Protocol, Task
from virb.convert.load import load_encoder
from virb.evaluation.parts import parts_of
from virb.features.cache import resize
from virb.heads import build_head
from virb.images.sets import FileImages
from virb.probes import gradient, knn
from virb.records.fingerprint import NUMERICS

GOLDEN: dict[int, dict[str, list[float]]] = {
    1: {
        "decoded": [143.912, 144.171, 142.964, 99],
        "resized": [142.049, 142.386, 143.85, 144],
        "embedding": [0.616278, 0.30789, 0, 0, 0.00449121, 1.23264, 1.46483],
        "gradient": [0.424204, -0.244719, -0.617337, -0.80257, 0.510297, 0.0750796, -0.0248324, -0.773039, 0.585161],
        "knn": [0.622003, 0.156561, 0.221436, 0.230631, 0.464968, 0.304401],
        "metrics": [4 / 6, (1 / 2 + 2 / 3 + 1) / 3],
    }
}
GOLDEN[2] = {
    **GOLDEN[1],
    "dense": [0.042104, 0.0263638, -0.0122313, -1.69927, -0.525648, -0.392936],
}  # maps lie where their cells do
TOLERANCE = {
    "decoded": 1.0,
    "resized": 1.0,
    "embedding": 0.02,
    "gradient": 0.02,
    "knn": 0.02,
    "dense": 0.02,
    "metrics": 1e-9,
}


def photo(k: int, size: tuple[int, int] = (40, 56)) -> np.ndarray:
    """An image uint8 (H, W, 3) that is smooth and has an edge; no generator of random numbers makes it."""
    y, x = np.mgrid[: size[0], : size[1]]
    waves = [127 + 90 * np.sin(x / (3 + k) + c) * np.cos(y / (2 + c) + k) + 30 * (x > y + 3 * k) for c in range(3)]
    return np.stack(waves, axis=-1).clip(0, 255).astype(np.uint8)


def computed(folder) -> dict[str, list[float]]:
    file = io.BytesIO()
    Image.fromarray(photo(1)).save(file, "JPEG", quality=90)
    (folder / "a.jpg").write_bytes(file.getvalue())
    decoded = FileImages("golden", folder, ["a.jpg"]).image(0)
    resized = resize(photo(2), 32).numpy()
    encoder = load_encoder("random:resnet18:width=0.125,size=32,seed=3")
    images = torch.stack([resize(photo(k), 32) for k in range(12)])
    embedding = encoder.embed(encoder.prepare(images)).numpy()
    task = Task(
        name="golden", summary="", category=Category.SEMANTIC_IMAGE, head="linear", loss="cross_entropy", metric="top1",
        data=lambda context, split: None, classes=3, protocol=Protocol(epochs=4, batch_size=4, lr=0.05),  # type: ignore
    )  # fmt: skip
    parts, frames, targets = parts_of(task), np.arange(12)[:, None], np.arange(12) % 3
    (head,) = gradient.train_heads(
        lambda seed: parts.build_head(encoder, seed),
        [embedding],
        frames,
        targets,
        head=parts.head,
        loss=parts.loss,
        seeds=[5],
        protocol=task.protocol,
        device=torch.device("cpu"),
    )
    scores = gradient.predict(head, embedding, frames, device=torch.device("cpu"))
    votes = knn.classify(embedding, frames, targets, embedding, frames, n_classes=3, device=torch.device("cpu"))
    state = parts.new_state()
    state.update(np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 1]], np.array([0, 1, 2, 1, 1, 0]))
    maps = encoder.pyramid(encoder.prepare(images[:1]), output_stride=16)
    dense = []
    for kind, output_stride in (("deeplabv3plus", 16), ("unet", None)):
        places = {"strides": encoder.strides_at(output_stride), "offsets": encoder.offsets_at(output_stride)}
        decoder = build_head(kind, n_out=1, channels=encoder.channels, **places).eval()
        read = maps if output_stride else encoder.pyramid(encoder.prepare(images[:1]))
        with torch.inference_mode():
            dense += decoder(read, (45, 45))[0, 0, [3, 20, 41], [7, 22, 40]].tolist()
    return {
        "decoded": [float(decoded[..., c].mean()) for c in range(3)] + [float(decoded[7, 9, 0])],
        "resized": [float(resized[..., c].mean()) for c in range(3)] + [float(resized[7, 9, 0])],
        "embedding": [float(value) for value in [embedding.std(), *embedding[3, :6]]],
        "gradient": [float(value) for value in scores[:3].ravel()],
        "knn": [float(value) for value in votes[:2].ravel()],
        "dense": dense,
        "metrics": [state.compute()["top1"], state.compute()["mean_per_class"]],
    }


def test_the_numbers_are_those_of_their_version(tmp_path) -> None:
    wanted = GOLDEN[NUMERICS]
    found = computed(tmp_path)
    for name, values in found.items():
        scale = max(1.0, max(map(abs, values)))
        assert values == pytest.approx(
            wanted[name], abs=TOLERANCE[name] * (1 if name in ("decoded", "resized") else scale)
        ), f"{name}: the engine computes other numbers than version {NUMERICS} of its arithmetic did: {values}"

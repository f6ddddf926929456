"""Writers of tiny data sets in their true formats on disk: folders, names, bit depths and codes of the public sets."""

from __future__ import annotations

import json
import pickle
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (8, 6)) -> Path:
    """Write an RGB image of ``size`` (width, height) whose pixels follow ``seed``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format={".png": "PNG"}.get(path.suffix.lower(), "JPEG"))
    return path


def grey(path: Path, values: np.ndarray) -> Path:
    """Write an 8- or 16-bit grey png."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def colour_png_16(path: Path, values: np.ndarray) -> Path:
    """Write uint16 (H, W, 3) as a 16-bit colour png, which Pillow cannot: big-endian samples, filter 0 in each row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return path


def folders(root: Path, names: list[str], n: int, pattern: str = "image_{:04d}.jpg") -> Path:
    for c, name in enumerate(names):
        for k in range(n):
            picture(root / name / pattern.format(k + 1), seed=1000 * c + k)
    return root


def pets(root: Path) -> Path:
    lists = {"trainval": [("Abyssinian_1", 1), ("beagle_2", 5)], "test": [("yorkshire_terrier_3", 37)]}
    for part, rows in lists.items():
        for k, (stem, _) in enumerate(rows):
            picture(root / "images" / f"{stem}.jpg", seed=len(part) * 10 + k, size=(4, 2))
            trimap = np.array([[1, 1, 3, 2], [2, 3, 1, 2]], dtype=np.uint8)
            grey(root / "annotations" / "trimaps" / f"{stem}.png", trimap)
        text = "".join(f"{stem} {label} 1 1\n" for stem, label in rows)
        (root / "annotations" / f"{part}.txt").write_text(text)
    return root


def dtd(root: Path) -> Path:
    names = ["banded", "bubbly"]
    folders(root / "dtd" / "images", names, 3, "{:04d}.jpg")
    (root / "dtd" / "labels").mkdir()
    for k, part in enumerate(("train", "val", "test"), start=1):
        text = "".join(f"{name}/{k:04d}.jpg\n" for name in reversed(names))
        (root / "dtd" / "labels" / f"{part}1.txt").write_text(text)
    return root


def sun397(root: Path, n: int = 5) -> Path:
    names = ["a/abbey", "a/apartment_building/outdoor", "z/zoo"]
    folders(root, names, n, "sun_{:04d}.jpg")
    (root / "ClassName.txt").write_text("".join(f"/{name}\n" for name in names))
    return root


def cifar100(root: Path) -> Path:
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for k, (part, n) in enumerate((("train", 4), ("test", 2))):
        data = np.random.default_rng(k).integers(0, 256, (n, 3072), dtype=np.uint8)
        labels = [99, 0, 7, 3][:n]
        (folder / part).write_bytes(pickle.dumps({"data": data, "fine_labels": labels}, protocol=2))
    meta = {"fine_label_names": [f"class {k}" for k in range(100)]}
    (folder / "meta").write_bytes(pickle.dumps(meta, protocol=2))
    return root


def clevr(root: Path) -> Path:
    for part, counts in (("train", [3, 10, 5]), ("val", [4, 4])):
        scenes = []
        for k, n in enumerate(counts):
            name = f"CLEVR_{part}_{k:06d}.png"
            picture(root / "images" / part / name, seed=10 * len(part) + k)
            scenes.append({"image_index": k, "image_filename": name, "objects": [{"shape": "cube"}] * n})
        (root / "scenes").mkdir(exist_ok=True)
        text = json.dumps({"info": {"split": part}, "scenes": scenes})
        (root / "scenes" / f"CLEVR_{part}_scenes.json").write_text(text)
    return root


def kinetics(root: Path) -> Path:
    """Two actions; ids may hold "_" and "-"; frame 10 must come after frame 9; one clip has no frames."""
    clips = {"train": {"0a_b-cdefgh": "bowling", "zz123456789": "dining", "gone5678901": "dining"},
             "validate": {"0b123456789": "dining"}}  # fmt: skip
    for part, labels in clips.items():
        for clip, label in labels.items():
            if clip.startswith("gone"):
                continue
            for number in range(5, 12):
                picture(root / part / clip[:2] / f"{clip}_{number}.jpg", seed=hash((label, number)) % 1000)
        (root / "annotations").mkdir(exist_ok=True)
        published = {
            clip: {"annotations": {"label": label, "segment": [0.0, 10.0]}, "duration": 10.0, "subset": part, "url": ""}
            for clip, label in labels.items()
        }
        (root / "annotations" / f"{part}.json").write_text(json.dumps(published))
    return root


def thor_num_steps(root: Path) -> Path:
    for part, values in (("train", [0, 4, 2]), ("val", [1])):
        lines = []
        for k, value in enumerate(values):
            picture(root / part / "FloorPlan1" / f"{k}_rgb.jpg", seed=10 * len(part) + k)
            lines.append(f"{part}/FloorPlan1/{k} {value}\n")
        (root / f"{part}_labels.txt").write_text("".join(lines))
    return root


def thor_egomotion(root: Path) -> Path:
    for part, values in (("train", ["MoveAhead", "LookDown"]), ("val", ["RotateRight"])):
        lines = []
        for k, value in enumerate(values):
            for frame in "ab":
                picture(root / part / "FloorPlan1" / f"{k}_rgb_{frame}.jpg", seed=ord(frame) + 10 * len(part) + k)
            lines.append(f"{part}/FloorPlan1/{k} {value}\n")
        (root / f"{part}_labels.txt").write_text("".join(lines))
    return root


def thor_depth(root: Path) -> Path:
    for part in ("train", "test"):
        picture(root / part / "FloorPlan1" / "7_rgb.jpg", seed=len(part), size=(16, 8))
        Image.fromarray(np.full((8, 16), 51, np.uint8)).save(
            root / part / "FloorPlan1" / "7_depth.jpg", quality=100
        )  # one grey level survives JPEG exactly
    return root


def nuscenes(root: Path) -> Path:
    rows = {"train": ["none", "forward", "forward-left", "forward-right"], "test": ["forward-left"]}
    for part, labels in rows.items():
        listed = []
        for k, label in enumerate(labels):
            names = [f"samples/CAM_FRONT/{part}_{k}.jpg", f"sweeps/CAM_FRONT/{part}_{k}.jpg"]
            for j, name in enumerate(names):
                picture(root / name, seed=100 * len(part) + 10 * k + j)
            listed.append({"img_a": names[0], "img_b": names[1], "label": label})
        (root / f"nuScenes_{part}.json").write_text(json.dumps(listed))
    return root


def cityscapes(root: Path) -> Path:
    ids = np.array([[7, 8, 33], [0, 255, 29]], dtype=np.uint8)
    for part, city in (("train", "aachen"), ("val", "frankfurt")):
        stem = f"{city}_000000_000019"
        picture(root / "leftImg8bit" / part / city / f"{stem}_leftImg8bit.png", seed=len(part), size=(3, 2))
        grey(root / "gtFine" / part / city / f"{stem}_gtFine_labelIds.png", ids)
    return root


def egohands(root: Path, n_videos: int = 4, n_frames: int = 2) -> Path:
    from scipy.io import savemat

    square = np.array([[2.0, 2.0], [6.0, 2.0], [6.0, 5.0], [2.0, 5.0]])  # MATLAB's pixels, counted from 1
    empty = np.zeros((0, 0))
    for v in range(n_videos):
        folder = root / "_LABELLED_SAMPLES" / f"CARDS_OFFICE_{v}"
        table = np.empty(
            (1, n_frames), dtype=[(hand, object) for hand in ("myleft", "myright", "yourleft", "yourright")]
        )
        for k in range(n_frames):
            picture(folder / f"frame_{100 * k + 11:04d}.jpg", seed=10 * v + k, size=(10, 7))
            table[0, k] = (square, empty, empty, square + np.array([3, 1])) if k == 0 else (empty,) * 4
        savemat(folder / "polygons.mat", {"polygons": table})
    return root


def taskonomy(
    root: Path, buildings: tuple[str, ...] = ("Allensville", "Darden", "Hanson", "Merom", "Klickitat")
) -> Path:
    units = np.array([[0, 512, 65535], [1024, 257, 65534]], dtype=np.uint16)
    for b, building in enumerate(buildings):
        for k in range(2):
            stem = f"point_{k}_view_0_domain"
            picture(root / "rgb" / building / f"{stem}_rgb.png", seed=10 * b + k, size=(3, 2))
            grey(root / "depth_zbuffer" / building / f"{stem}_depth_zbuffer.png", units)
    return root


def nyu(root: Path, scenes: tuple[str, ...] = ("kitchen_1", "kitchen_1", "office_2", "den_3", "bath_4")) -> Path:
    import h5py

    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    n, width, height = len(scenes), 4, 3
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"] = rng.integers(0, 256, (n, 3, width, height), dtype=np.uint8)
        file["depths"] = rng.uniform(0.7, 9.9, (n, width, height)).astype(np.float32)
        file["labels"] = rng.integers(0, 4, (n, width, height)).astype(np.uint16)
        for key, strings in (("names", ("wall", "floor", "rug")), ("scenes", scenes)):
            cells = file.create_dataset(key, (1, len(strings)), dtype=h5py.ref_dtype)
            for k, text in enumerate(strings):
                codes = file.create_dataset(f"#refs#/{key}{k}", data=np.array([[ord(c)] for c in text], np.uint16))
                cells[0, k] = codes.ref
    return root


def kitti(root: Path, n: int = 11) -> Path:
    flow = np.array([[[2**15 + 64, 2**15 - 32, 1], [2**15, 2**15, 0]]], dtype=np.uint16).repeat(2, axis=0)
    for k in range(n):
        for frame in (10, 11):
            picture(root / "training" / "image_2" / f"{k:06d}_{frame}.png", seed=100 * k + frame, size=(2, 2))
        colour_png_16(root / "training" / "flow_occ" / f"{k:06d}_10.png", flow)
    return root


@pytest.fixture(scope="session")
def layouts() -> SimpleNamespace:
    """The writers, each called as ``layouts.name(folder)``."""
    return SimpleNamespace(**{name: value for name, value in globals().items() if callable(value)})

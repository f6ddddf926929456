"""The same twelve pictures in each layout: two classes, eight to train and four to test."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NAMES = ("cat", "dog")
SPLITS = {"train": range(8), "test": range(8, 12)}


def encoded(k: int) -> bytes:
    """Picture ``k`` as a png: dark where its class is cat, bright where it is dog."""
    pixels = np.random.default_rng(k).integers(0, 60, (6, 5 + k % 3, 3)).astype(np.uint8) + 150 * (k % 2)
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def mask(k: int) -> bytes:
    """The mask of picture ``k``: its class above, 255 below."""
    image = np.full((6, 5 + k % 3), 255, np.uint8)
    image[:3] = k % 2
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def class_folders(root: Path) -> Path:
    for split, rows in SPLITS.items():
        for k in rows:
            put(root / split / NAMES[k % 2] / f"{k:02d}.png", encoded(k))
    return root


def listed_folders(root: Path) -> Path:
    """As DTD's archive: a folder of the set's name in it, images/<class>/ and labels/train1.txt."""
    for split, rows in SPLITS.items():
        for k in rows:
            put(root / "set" / "images" / NAMES[k % 2] / f"{k:02d}.png", encoded(k))
        put(root / "set" / "labels" / f"{split}1.txt", "".join(f"{NAMES[k % 2]}/{k:02d}.png\n" for k in rows))
    return root


def table(root: Path) -> Path:
    rows = [f"img/{k:02d}.png;{NAMES[k % 2]};{split}\r\n" for split, part in SPLITS.items() for k in part]
    put(root / "all.csv", "\ufeffpath;label;split\r\n" + "".join(rows))
    for k in range(12):
        put(root / "img" / f"{k:02d}.png", encoded(k))
    return root


def _table_of(rows: range, labels: bool = True):
    pa = pytest.importorskip("pyarrow")
    columns = {"image": [{"bytes": encoded(k), "path": f"{k}.png"} for k in rows]}
    if labels:
        columns["label"] = [k % 2 for k in rows]
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": list(NAMES)}}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.table(columns).replace_schema_metadata(about)


def parquet(root: Path) -> Path:
    pq = pytest.importorskip("pyarrow.parquet")
    for split, rows in SPLITS.items():
        path = root / "data" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(_table_of(rows), path, row_group_size=3)
    return root


def saved_to_disk(root: Path) -> Path:
    """As datasets' save_to_disk of a DatasetDict: Arrow streams, in two batches."""
    pa = pytest.importorskip("pyarrow")
    put(root / "dataset_dict.json", json.dumps({"splits": list(SPLITS)}))
    for split, rows in SPLITS.items():
        whole = _table_of(rows)
        path = root / split / "data-00000-of-00001.arrow"
        put(root / split / "state.json", json.dumps({"_data_files": [{"filename": path.name}], "_split": split}))
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, whole.schema) as writer:
            writer.write_table(whole, max_chunksize=3)
    return root


def shards(root: Path, folders: str = "{split}/{k}.tar") -> Path:
    put(root / "classnames.txt", "\n".join(NAMES))
    for split, rows in SPLITS.items():
        for number in range(2):
            path = root / folders.format(split=split, k=number + 9)
            path.parent.mkdir(parents=True, exist_ok=True)
            with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
                for k in [k for k in rows if (k - rows.start) * 2 // len(rows) == number]:
                    for ending, content in (("cls", str(k % 2).encode()), ("png", encoded(k))):
                        about = tarfile.TarInfo(f"s{k:07d}.{ending}")
                        about.size = len(content)
                        tar.addfile(about, io.BytesIO(content))
        put(root / split / "nshards.txt", "2") if (root / split).is_dir() else None
    return root


def lmdb_at(path: Path, values: dict[bytes, bytes], *, subdir: bool = True) -> Path:
    """An environment with these values, a folder or (``subdir`` False) a file."""
    lmdb = pytest.importorskip("lmdb", reason="lmdb is not installed (pip install virb[lmdb])")
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        lmdb.open(str(path), map_size=1 << 24, subdir=subdir) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in values.items():
            transaction.put(key, value)
    return path


def lsun(root: Path) -> Path:
    """As LSUN: an environment a class and split, CLASS_train_lmdb, whose keys are hashes."""
    for split, rows in SPLITS.items():
        for c, name in enumerate(NAMES):
            images = {hashlib.sha1(encoded(k)).hexdigest().encode(): encoded(k) for k in rows if k % 2 == c}
            lmdb_at(root / f"{name}_{split}_lmdb", images)
    return root


def lmdb_by_folder(root: Path) -> Path:
    """Files of keys CLASS/NAME, as mmpretrain reads images by their paths."""
    for split, rows in SPLITS.items():
        images = {f"{NAMES[k % 2]}/{k:02d}.png".encode(): encoded(k) for k in rows}
        lmdb_at(root / f"{split}.lmdb", images, subdir=False)
    return root


def lmdb_numbered(root: Path) -> Path:
    """As sets of scene texts: image-000000001 and label-000000001, from 1 on, and num-samples."""
    for split, rows in SPLITS.items():
        values = {b"num-samples": str(len(rows)).encode()}
        for n, k in enumerate(rows, 1):
            values |= {f"image-{n:09d}".encode(): encoded(k), f"label-{n:09d}".encode(): NAMES[k % 2].encode()}
        lmdb_at(root / split, values)
    return root


def camvid(root: Path) -> Path:
    """As the SegNet tutorial: lists of two paths a line, folders train and trainannot."""
    for split, rows in SPLITS.items():
        for k in rows:
            put(root / split / f"v{k % 3}_{k:02d}.png", encoded(k))
            put(root / f"{split}annot" / f"v{k % 3}_{k:02d}.png", mask(k))
        lines = [f"/SegNet/X/{split}/v{k % 3}_{k:02d}.png /SegNet/X/{split}annot/v{k % 3}_{k:02d}.png\n" for k in rows]
        put(root / f"{split}.txt", "".join(lines))
    return root


def masks_by_list(root: Path) -> Path:
    for split, rows in SPLITS.items():
        put(root / f"{split}.txt", "".join(f"{k:02d}\n" for k in rows))
        for k in rows:
            put(root / "images" / f"{k:02d}.png", encoded(k))
            put(root / "masks" / f"{k:02d}_mask.png", mask(k))
    put(root / "codes.txt", "low\nhigh\n")
    return root


def masks_in_folders(root: Path) -> Path:
    for split, rows in SPLITS.items():
        for k in rows:
            put(root / split / "images" / f"{k:02d}.png", encoded(k))
            put(root / split / "masks" / f"{k:02d}.png", mask(k))
    return root


CLASSES = {
    "class-folders": class_folders,
    "class-folders by lists": listed_folders,
    "table": table,
    "huggingface": parquet,
    "huggingface saved": saved_to_disk,
    "webdataset": shards,
    "webdataset beside": lambda root: shards(root, "x-{split}-0000{k}.tar".replace("x-", "")),
    "lmdb": lsun,
    "lmdb by folder": lmdb_by_folder,
    "lmdb numbered": lmdb_numbered,
}
MASKS = {"image-masks": camvid, "image-masks by lists": masks_by_list, "image-masks in folders": masks_in_folders}


@pytest.fixture(scope="session")
def made():
    """This module: what writes the layouts."""
    return sys.modules[__name__]

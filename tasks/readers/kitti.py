"""KITTI 2015 optical flow, as torchvision lays it out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from virb.tasks.readers.common import (
    LazyTargets,
    check_same_size,
    check_split,
    hash_order,
    require,
    require_files,
    sorted_images,
)

from virb.contracts.examples import Examples
from virb.errors import DataError
from virb.images.decode import read_bytes, read_size
from virb.images.digests import of_files
from virb.images.sets import FileImages

MAPPING = "train_mapping.txt"


def flow(root: Path, split: str) -> Examples:
    """Read ``<root>/training/image_2/*_{10,11}.png`` and ``flow_occ/*_10.png`` (Menze and Geiger 2015).

    Targets are flow (H, W, 2) in pixels, float32, u to the right and v down, NaN where there is no ground truth. Every
    tenth scene (0, 10, 20, ...) is test: 180 pairs train, 20 test. Where the development kit's ``mapping/train_mapping.txt``
    is there (in ``root``, devkit/ or training/), groups are the drives that the scenes come from, and none is on both sides:
    whole drives test, in the order of their hash, while they fit into a tenth.
    """
    check_split("kitti", split)
    folder = root / "training"
    require("kitti", folder / "image_2", folder / "flow_occ", expected="training/image_2/ and training/flow_occ/")
    flows = [path for path in sorted_images(folder / "flow_occ") if path.name.endswith("_10.png")]
    drives = _drives(root, flows)
    is_test = np.arange(len(flows)) % 10 == 0 if drives is None else _by_drive(drives, max(1, len(flows) // 10))
    rows = np.flatnonzero(is_test == (split == "test"))
    chosen = [flows[row] for row in rows]
    if not chosen:
        raise DataError(f"kitti: {folder / 'flow_occ'} has {len(flows)} flow maps; expected 200.")
    pairs = [
        (folder / "image_2" / path.name, folder / "image_2" / path.name.replace("_10.png", "_11.png"))
        for path in chosen
    ]
    files = [file for pair in pairs for file in pair]
    require_files("kitti", files, folder / "flow_occ")

    def read(index: int) -> np.ndarray:
        found = read_flow(chosen[index])
        check_same_size("kitti", found, chosen[index], pairs[index][0])
        return found

    frames = np.arange(len(files), dtype=np.int64).reshape(-1, 2)
    ids = [path.stem for path in chosen]
    targets = LazyTargets(len(chosen), read, lambda rows: of_files(root, [chosen[int(row)] for row in rows]))
    groups = None if drives is None else [drives[row] for row in rows]
    return Examples(FileImages("kitti", root, files), frames, targets, ids, groups=groups)


def _drives(root: Path, flows: list[Path]) -> list[str] | None:
    """Return the drive of each scene, as the development kit's list says it; None where the list is not there.

    Line k is of scene k: "DATE DATE_drive_NNNN_sync FRAME", or empty where the drive is not published: such scenes are
    together as one that is unknown.
    """
    places = ("mapping", "devkit/mapping", "training/mapping", "devkit_scene_flow/devkit/mapping")
    listing = next((root / place / MAPPING for place in places if (root / place / MAPPING).is_file()), None)
    if listing is None:
        return None
    lines = read_bytes(listing).decode("utf-8", "replace").splitlines()
    scenes = [int(path.stem.removesuffix("_10")) for path in flows]
    if scenes and max(scenes) >= len(lines):
        raise DataError(f"kitti: {listing} has {len(lines)} lines; scene {max(scenes)} has none.")
    return [[*lines[scene].split(), "", "unknown"][1] for scene in scenes]


def _by_drive(drives: list[str], n_test: int) -> np.ndarray:
    """Return bool (N,): at most ``n_test`` scenes, of whole drives; of the smallest drive where none fits."""
    names = sorted(set(drives))
    found = np.zeros(len(drives), dtype=bool)
    of = np.asarray(drives)
    for k in hash_order(names):
        if found.sum() + (of == names[k]).sum() <= n_test:
            found |= of == names[k]
    if not found.any():
        found = of == min(names, key=lambda name: int((of == name).sum()))
    return found


def read_flow(path: Path) -> np.ndarray:
    """Return float32 (H, W, 2) from KITTI's 16-bit png: (value - 2^15) / 64 pixels; NaN where channel 3 is 0."""
    import warnings

    import torch
    from torchvision.io import ImageReadMode, decode_image

    read_size(path)  # refuses what the policy for images does
    try:
        content = torch.frombuffer(bytearray(read_bytes(path)), dtype=torch.uint8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torchvision means to move its decoders elsewhere
            raw = decode_image(content, mode=ImageReadMode.UNCHANGED)  # Pillow cuts 16-bit colour to 8
    except RuntimeError as error:
        raise DataError(f"kitti: {path} is not a readable png ({error}). Replace it.") from error
    if raw.dtype != torch.uint16 or raw.shape[0] != 3:
        raise DataError(f"kitti: {path} is not a 16-bit colour png (found {raw.dtype} of {raw.shape[0]} channels).")
    values = raw.to(torch.int32).numpy()
    uv = ((values[:2] - 2**15) / 64.0).astype(np.float32).transpose(1, 2, 0)
    return np.where((values[2] > 0)[..., None], uv, np.float32(np.nan))

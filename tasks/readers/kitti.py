"""KITTI 2015 optical flow, as torchvision lays it out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from virb.tasks.readers.common import LazyTargets, check_same_size, check_split, require, require_files, sorted_images

from virb.contracts.examples import Examples
from virb.errors import DataError
from virb.images.decode import read_bytes, read_size
from virb.images.digests import of_files
from virb.images.sets import FileImages


def flow(root: Path, split: str) -> Examples:
    """Read ``<root>/training/image_2/*_{10,11}.png`` and ``flow_occ/*_10.png`` (Menze and Geiger 2015).

    Targets are flow (H, W, 2) in pixels, float32, u to the right and v down, NaN where there is no ground truth. Every
    tenth scene (0, 10, 20, ...) is test: 180 pairs train, 20 test.
    """
    check_split("kitti", split)
    folder = root / "training"
    require("kitti", folder / "image_2", folder / "flow_occ", expected="training/image_2/ and training/flow_occ/")
    flows = [path for path in sorted_images(folder / "flow_occ") if path.name.endswith("_10.png")]
    chosen = [path for k, path in enumerate(flows) if (k % 10 == 0) == (split == "test")]
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
    return Examples(FileImages("kitti", root, files), frames, targets, ids)


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

"""The Describable Textures Dataset, as torchvision lays it out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from virb.tasks.readers.common import (
    check_split,
    label_out_of_range,
    labelled_files,
    read_lines,
    require,
    require_files,
    subfolders,
    with_validation,
)

from virb.contracts.examples import Examples
from virb.errors import DataError


def textures(root: Path, split: str, *, n_classes: int = 47) -> Examples:
    """Read ``<root>/dtd/images/<texture>/*.jpg`` by the lists of split 1 (Cimpoi et al. 2014).

    ``root`` may be the archive's top folder itself. Train is the set's train1 and val1, 3,760 images, val1 its validation part; test is test1, 1,880. Labels number the textures by name.
    """
    check_split("dtd", split)
    top = root if (root / "images").is_dir() and (root / "labels").is_dir() else root / "dtd"
    lists = [top / "labels" / f"{part}1.txt" for part in (("train", "val") if split == "train" else ("test",))]
    require("dtd", top / "images", *lists, expected="dtd/images/<texture>/ and dtd/labels/{train,val,test}1.txt")
    names = subfolders(top / "images")
    if len(names) != n_classes:
        raise DataError(f"dtd is incomplete: {top / 'images'} has {len(names)} classes; expected {n_classes}.")
    files, labels = [], []
    for listing in lists:
        for line in read_lines("dtd", listing):
            texture = line.partition("/")[0]
            if texture not in names:
                raise label_out_of_range("dtd", f"{line} in {listing}", texture, f"a folder of {top / 'images'}")
            files.append(top / "images" / line)
            labels.append(names.index(texture))
    require_files("dtd", files, " and ".join(str(listing) for listing in lists))
    found = labelled_files("dtd", top / "images", files, labels)
    if split == "test":
        return found
    return with_validation(found, np.arange(len(found)) >= len(read_lines("dtd", lists[0])))

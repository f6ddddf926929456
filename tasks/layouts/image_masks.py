"""Images and masks of one stem in two folders, split by folders or by lists of stems (or of two paths a line)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from virb.tasks.layouts._common import IMAGES, MASKS, PLACE, candidates, place_of, put_together, split_options

from virb.contracts.examples import DataContext, Examples
from virb.contracts.parts import Option
from virb.contracts.reader import Reader, Recognised
from virb.errors import DataError
from virb.images import splits
from virb.images.decode import read_bytes, read_values, shown
from virb.images.digests import of_files
from virb.images.lazy import LazyTargets
from virb.images.listing import is_of_tools, list_images
from virb.images.sets import FileImages

LAYOUT = (
    "images and masks of one stem (images/ and masks/, or train/ and trainannot/), in split folders or with split lists"
)
ENDINGS = ("", "annot", "_mask", "_masks", "_labels", "_L", "_gt")
FILES = ("classes.txt", "codes.txt", "classnames.txt", "labels.txt")
IGNORE = 255


def read(
    context: DataContext,
    split: str,
    *,
    place: str,
    images: str,
    masks: str,
    lists: str,
    ending: str,
    group: str,
    train: str,
    test: str,
    validation: str,
) -> Examples:
    """Read the images of a split and the masks of the same stem, (H, W) of class numbers.

    Args:
        images, masks: their folders; ``{split}`` stands for the split's name.
        lists: files that name a split's images, a stem or path a line, or a path and the mask's.
        ending: what a mask's stem has beyond the image's, as "_L".
        group: a pattern whose first group, found in a stem, says what belongs together: "^([^_]+)_" is what stands before
            the first "_".
    """
    first = train.split("+")[0]
    wanted = lists or images
    root = place_of(context, place, wanted, lambda path: (path / wanted.replace("{split}", first)).exists())

    def one(parts: Sequence[str]) -> tuple[Examples, list[int]]:
        files: list[Path] = []
        targets: list[Path] = []
        counts = []
        for part in parts:
            pairs = _pairs(root, part, images, masks, lists, ending)
            files += [image for image, _ in pairs]
            targets += [mask for _, mask in pairs]
            counts.append(len(pairs))
        names = [path.relative_to(root).as_posix() for path in files]
        lazy = LazyTargets(
            len(files), lambda k: _mask(targets[k]), lambda rows: of_files(root, [targets[int(row)] for row in rows])
        )
        groups = None if not group else [_group(path.stem, group, place) for path in files]
        found = FileImages(f"{place}/{'+'.join(parts)}", root, names)
        return Examples(found, np.arange(len(files))[:, None], lazy, [shown(n) for n in names], groups=groups), counts

    return put_together(split, train=train, test=test, validation=validation, read=one)


def _pairs(root: Path, part: str, images: str, masks: str, lists: str, ending: str) -> list[tuple[Path, Path]]:
    """Return the image and mask files of a split.

    Raises:
        DataError: an image has no mask, or a list names a file that is not there.
    """
    of_images, of_masks = (root / folder.replace("{split}", part) for folder in (images, masks))
    by_stem = {Path(path).stem: of_masks / path for path in list_images(of_masks).paths}
    if not lists:
        files = [of_images / path for path in list_images(of_images).paths]
    else:
        listing = root / lists.replace("{split}", part)
        known = {Path(path).stem: of_images / path for path in list_images(of_images).paths}
        stems = [Path(line.split()[0]).stem if "." in line else Path(line).name for line in _lines(listing)]
        missing = [stem for stem in stems if stem not in known]
        if missing:
            raise DataError(
                f"{shown(listing)} lists {len(missing):,} images that are not in {shown(of_images)}, as {missing[0]!r}."
            )
        files = [known[stem] for stem in stems]
    without = [path for path in files if f"{path.stem}{ending}" not in by_stem]
    if without:
        raise DataError(
            f"{len(without):,} of {len(files):,} images of {shown(of_images)} have no mask in {shown(of_masks)}; the first is "
            f"{shown(without[0].name)}, for which {without[0].stem}{ending}.* is expected."
        )
    return [(path, by_stem[f"{path.stem}{ending}"]) for path in files]


def _lines(listing: Path) -> list[str]:
    try:
        return [line.strip() for line in read_bytes(listing).decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"{shown(listing)} is no text ({error}).") from error


def _mask(path: Path) -> np.ndarray:
    return read_values(path)


def _group(stem: str, pattern: str, place: str) -> str:
    found = re.search(pattern, stem)
    if found is None or not found.groups():
        raise DataError(f"{place}: the pattern group={pattern!r} finds no group in {stem!r}.")
    return found[1]


def recognise(path: Path) -> Recognised | None:
    """Look for a folder of images beside one of masks, in split folders, with lists, or both of a split's own."""
    for root in candidates(path) if path.is_dir() else []:
        found = _in_split_folders(root) or _beside_each_other(root)
        if found is not None:
            names, options = found
            return _about(root, names, options)
    return None


def _folders(root: Path) -> list[str]:
    return [path.name for path in sorted(root.iterdir()) if path.is_dir() and not is_of_tools(path.name)]


def _in_split_folders(root: Path) -> tuple[dict[str, str], dict[str, str]] | None:
    """train/images and train/masks; or train and trainannot."""
    here = _folders(root)
    names = splits.roles(here)
    if "train" not in names:
        return None
    inside = _folders(root / names["train"])
    for image in (name for name in IMAGES if name in inside):
        for mask in (name for name in MASKS if name in inside):
            return names, {"images": f"{{split}}/{image}", "masks": f"{{split}}/{mask}"}
    for ending in ENDINGS[1:]:
        if f"{names['train']}{ending}" in here:
            options = {"images": "{split}", "masks": f"{{split}}{ending}"}
            lists = "{split}.txt"
            are_listed = all((root / lists.replace("{split}", name)).is_file() for name in names.values())
            return names, {**options, **({"lists": lists} if are_listed else {})}
    return None


def _beside_each_other(root: Path) -> tuple[dict[str, str], dict[str, str]] | None:
    """images/ and masks/, with lists of stems or with the splits' folders in both."""
    here = _folders(root)
    for image in (name for name in IMAGES if name in here):
        for mask in (name for name in MASKS if name in here):
            names = splits.roles(_folders(root / image))
            if "train" in names:
                return names, {"images": f"{image}/{{split}}", "masks": f"{mask}/{{split}}"}
            for folder in ("", "splits/", "ImageSets/Segmentation/", "lists/"):
                listed = [path.stem for path in (root / folder).glob("*.txt")] if (root / folder).is_dir() else []
                names = splits.roles(sorted(name for name in listed if splits.role(name)))
                if "train" in names:
                    return names, {"images": image, "masks": mask, "lists": f"{folder}{{split}}.txt"}
    return None


def _about(root: Path, names: dict[str, str], options: dict[str, str]) -> Recognised:
    """Look at the masks for the classes in them and their mark for no class, and at the stems for what is one video."""
    pairs = []
    options = dict(options)
    for ending in ENDINGS:
        try:
            pairs = _pairs(root, names["train"], options["images"], options["masks"], options.get("lists", ""), ending)
        except DataError:
            continue
        options |= {"ending": ending} if ending else {}
        break
    if not pairs:  # says what is missing
        pairs = _pairs(root, names["train"], options["images"], options["masks"], options.get("lists", ""), "")
    chosen = [pairs[k][1] for k in sorted(set(np.linspace(0, len(pairs) - 1, 64).astype(int).tolist()))]
    values = sorted({int(value) for path in chosen for value in np.unique(_mask(path))})
    named = next((_lines(root / name) for name in FILES if (root / name).is_file()), [])
    n = len(named) or (max([value for value in values if value != IGNORE], default=0) + 1)
    task: dict[str, Any] = {"classes": tuple(named) if named else n}
    if IGNORE in values:
        task["options"] = {"ignore_index": IGNORE}
    said = f"{len(pairs):,} training images in {options['images']} with masks in {options['masks']}, values {values[0]} to {values[-1]}"
    return Recognised({**options, **names}, "mask", said, tuple(names), task)


READER = Reader(
    "image-masks",
    "images and masks paired by stem, in split folders or with split lists",
    read,
    options=(
        PLACE,
        Option("images", "{split}/images", "the folder of images"),
        Option("masks", "{split}/masks", "the folder of masks"),
        Option("lists", "", 'the lists of a split\'s images, as "{split}.txt"'),
        Option("ending", "", "what a mask's stem has beyond the image's"),
        Option("group", "", "a pattern; what its first group finds in a stem belongs together"),
        *split_options(),
    ),
    recognise=recognise,
    layout=LAYOUT,
)

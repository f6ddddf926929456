"""Kinetics-400 as frames: six in order from each clip."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from virb.tasks.readers.common import (
    check_split,
    first_by_hash,
    label_out_of_range,
    read_json,
    read_lines,
    relative,
    require,
    sorted_images,
    subfolders,
)

from virb.contracts.examples import Examples
from virb.errors import DataError
from virb.images.sets import FileImages
from virb.system.threads import n_cores

_FRAME = re.compile(r"^(?P<clip>.{11})_(?P<number>\d+)$")  # YouTube ids have eleven characters and may hold "_"


def actions(
    root: Path, split: str, *, n_classes: int = 400, n_frames: int = 6, max_clips: int | None = None
) -> Examples:
    """Read ``<root>/annotations/{train,validate}.json`` and ``<root>/{train,validate}/<id[:2]>/<id>_<number>.jpg``.

    The annotations are the published ones (Kay et al. 2017): json by YouTube id with ``annotations.label``, or csv with
    ``label`` and ``youtube_id``, whose second file is validate.csv or val.csv. An example is
    the first ``n_frames`` frames of a clip in the order of their numbers. Clips without frames are left out, because
    videos disappear; a clip with fewer frames than that is an error. ``max_clips`` takes the first by hash.
    """
    check_split("kinetics", split)
    part = "train" if split == "train" else "validate"
    listings = [_listing(root, each) for each in ("train", "validate")]
    folder = root / part if split == "train" or (root / part).is_dir() else root / "val"
    require(
        "kinetics",
        folder,
        *listings,
        expected="annotations/{train,validate}.json or .csv and {train,validate}/<ab>/*.jpg",
    )
    classes = sorted(set(_labels(listings[0]).values()))  # numbered by the train split for both
    if len(classes) != n_classes:
        raise DataError(f"kinetics: {listings[0]} has {len(classes)} actions; expected {n_classes}.")
    listing = listings[0 if split == "train" else 1]
    clips = _frames_by_clip(folder)
    present = [(clip, label) for clip, label in sorted(_labels(listing).items()) if clip in clips]
    if max_clips is not None:
        chosen = first_by_hash([clip for clip, _ in present], max_clips)
        present = [pair for pair, is_chosen in zip(present, chosen, strict=True) if is_chosen]
    files: list[Path] = []
    targets = []
    for clip, label in present:
        found = sorted(clips[clip], key=lambda path: int(path.stem[12:]))
        if len(found) < n_frames:
            raise DataError(
                f"kinetics: clip {clip} has {len(found)} frames in {found[0].parent}; expected {n_frames}. "
                "Extract it again at 6 frames a second, or remove its frames."
            )
        if label not in classes:
            raise label_out_of_range("kinetics", f"{clip} in {listing}", label, f"an action of {listings[0]}")
        files += found[:n_frames]
        targets.append(classes.index(label))
    if not targets:
        raise DataError(f"kinetics: no clip that {listing} lists has frames in {folder}; expected some.")
    frames = np.arange(len(files), dtype=np.int64).reshape(-1, n_frames)
    ids = [path.rpartition("_")[0] for path in relative(files[::n_frames], root)]
    return Examples(FileImages(f"kinetics {part}", root, files), frames, np.asarray(targets, dtype=np.int64), ids)


def _listing(root: Path, part: str) -> Path:
    """Return the annotation file of a part: json, or csv as it is published now; the json's path where there is none."""
    names = [part] if part == "train" else ["validate", "val"]
    found = [root / "annotations" / f"{name}.{ending}" for ending in ("json", "csv") for name in names]
    found += [root / f"{name}.csv" for name in names]
    return next((path for path in found if path.is_file()), found[0])


def _labels(listing: Path) -> dict[str, str]:
    if listing.suffix == ".csv":
        return _labels_of_csv(listing)
    try:
        return {clip: entry["annotations"]["label"] for clip, entry in read_json("kinetics", listing).items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"kinetics: {listing} is not the published annotation, by YouTube id with annotations.label ({error!r})."
        ) from error


def _labels_of_csv(listing: Path) -> dict[str, str]:
    rows = list(csv.DictReader(read_lines("kinetics", listing)))
    if not rows or not {"label", "youtube_id"} <= set(rows[0]):
        raise DataError(
            f"kinetics: {listing} has the columns {', '.join(rows[0]) if rows else '(none)'}; expected label and youtube_id, as "
            "the published annotations have."
        )
    return {row["youtube_id"]: row["label"].strip('"') for row in rows}


def _frames_by_clip(folder: Path) -> dict[str, list[Path]]:
    clips: dict[str, list[Path]] = defaultdict(list)
    for group in subfolders(folder):
        for path in sorted_images(folder / group):
            match = _FRAME.match(path.stem)
            if match is None:
                raise DataError(f"kinetics: {path} is not named like a frame; expected <YouTube id>_<number>.jpg.")
            clips[match["clip"]].append(path)
    return clips


def extract_frames(root: Path, *, n_frames: int = 6, start_s: float = 4.5) -> None:
    """Write ``n_frames`` frames, 6 a second, of each ``<root>/videos/{train,validate}/**/<YouTube id>*.mp4`` with ffmpeg.

    They are of the second that begins ``start_s`` into the clip, in the middle of Kinetics' ten, or of the first second
    of a shorter one, and go where :func:`actions` reads them. Clips whose frames are there are not done again. Videos
    that give too few frames are listed in ``<root>/frames_failed.txt``, and the data set is without them.

    Raises:
        DataError: there are no videos, ffmpeg is not installed, or no video gave its frames.
    """
    videos = [
        (part, path) for part in ("train", "validate") for path in sorted((root / "videos" / part).rglob("*.mp4"))
    ]
    if not videos:
        raise DataError(
            f"kinetics: {root / 'videos'} holds no clips to take frames from; expected "
            "{train,validate}/**/<YouTube id>*.mp4 in it."
        )
    if shutil.which("ffmpeg") is None:
        raise DataError("kinetics: ffmpeg is not installed, which takes the frames from the clips. Install it.")
    with ThreadPoolExecutor(max_workers=n_cores()) as pool:
        are_done = list(pool.map(lambda each: _extract(root / each[0], each[1], n_frames, start_s), videos))
    failed = [str(path) for (_, path), is_done in zip(videos, are_done, strict=True) if not is_done]
    if failed:
        (root / "frames_failed.txt").write_text("".join(f"{path}\n" for path in failed), encoding="utf-8")
    if len(failed) == len(videos):
        raise DataError(f"kinetics: none of {len(videos):,} clips gave {n_frames} frames; the first is {failed[0]}.")


def _extract(folder: Path, video: Path, n_frames: int, start_s: float) -> bool:
    """Write the frames of one clip, all or none; return whether they are there."""
    clip = video.stem[:11]
    place = folder / clip[:2]
    frames = [place / f"{clip}_{k}.jpg" for k in range(1, n_frames + 1)]
    if all(path.is_file() for path in frames):
        return True
    place.mkdir(parents=True, exist_ok=True)
    for begin in (start_s, 0.0):
        with tempfile.TemporaryDirectory(dir=place) as aside:
            command = ["ffmpeg", "-v", "error", "-y", "-ss", f"{begin:g}", "-i", str(video), "-vf", "fps=6"]
            command += ["-frames:v", str(n_frames), "-q:v", "2", "-strict", "unofficial", str(Path(aside) / "%d.jpg")]
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
            made = [Path(aside) / f"{k}.jpg" for k in range(1, n_frames + 1)]
            if all(path.is_file() for path in made):
                for source, target in zip(made, frames, strict=True):
                    source.replace(target)
                return True
    return False

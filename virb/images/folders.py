"""A folder of images, one subfolder a class: the reader for data of one's own.

Task files name ``image_folder`` at their top level, so numpy is imported when data are read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from virb.errors import DataAbsent, DataError

if TYPE_CHECKING:
    import numpy as np

    from virb.contracts.examples import DataContext, Examples


@dataclass(frozen=True)
class ImageFolder:
    """The files of ``root/<class>/``: paths relative to ``root`` in a fixed order, and their class numbers (N,)."""

    root: Path
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    labels: np.ndarray


def scan_image_folder(root: str | Path, *, classes: tuple[str, ...] | None = None) -> ImageFolder:
    """List the images of a folder with one subfolder a class, sorted by class and path.

    Raises:
        DataError: the folder is absent or has no class folders, a class is empty, or (with ``classes``) the class
            folders are not the ones that were expected.
    """
    import numpy as np

    from virb.images.sets import IMAGE_SUFFIXES

    root = Path(root)
    if not root.is_dir():
        raise DataError(f"There is no folder {root}. Expected one subfolder a class, with image files in it.")
    found = tuple(sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")))
    if not found:
        raise DataError(f"{root} has no subfolders. Expected one subfolder a class, with image files in it.")
    if classes is not None and set(found) != set(classes):
        missing, extra = sorted(set(classes) - set(found)), sorted(set(found) - set(classes))
        raise DataError(
            f"The class folders of {root} are not the declared classes"
            + (f"; missing: {', '.join(missing[:10])}" if missing else "")
            + (f"; not declared: {', '.join(extra[:10])}" if extra else "")
            + ". Correct the folder or the task's classes."
        )
    order = classes if classes is not None else found
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(order):
        files = sorted(
            path.relative_to(root).as_posix()
            for path in (root / name).rglob("*")
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
        )
        if not files:
            raise DataError(
                f"The class folder {root / name} holds no image ({', '.join(IMAGE_SUFFIXES)}). Put images there, or "
                "remove the folder and its class."
            )
        paths += files
        labels += [label] * len(files)
    return ImageFolder(root, tuple(order), tuple(paths), np.asarray(labels, dtype=np.int64))


def image_folder(
    name: str, *, train: str = "train", test: str = "test", classes: tuple[str, ...] | None = None
) -> Callable[[DataContext, str], Examples]:
    """Return a task's ``data`` function for ``<place>/<train>/<class>/*`` and ``<place>/<test>/<class>/*``.

    ``<place>`` is what ``--data NAME=DIR`` says for ``name``, else ``name`` below ``--data DIR``. ``classes`` fixes the
    class folders and their order; by default the train folder's sorted subfolders are the classes, and the test folder
    must have the same ones.
    """

    def read(context: DataContext, split: str) -> Examples:
        import numpy as np

        from virb.contracts.examples import Examples
        from virb.images.sets import FileImages

        place = context.place(name)
        if not place.is_dir():
            raise DataAbsent(
                f"{name}: there is no folder {place}. Expected {train}/<class>/ and {test}/<class>/ with images in it; "
                f"pass --data {name}=DIR if it lies elsewhere."
            )
        expected = classes or scan_image_folder(place / train).classes
        folder = scan_image_folder(place / (train if split == "train" else test), classes=expected)
        return Examples(
            images=FileImages(f"{name}/{split}", folder.root, folder.paths),
            frames=np.arange(len(folder.paths))[:, None],
            targets=folder.labels,
            ids=folder.paths,
        )

    return read

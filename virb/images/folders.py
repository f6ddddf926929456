"""A folder of images, one subfolder a class: the reader for data of one's own.

Task files name ``image_folder`` at their top level, so numpy is imported when data are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from virb.errors import DataAbsent, DataError, data_option

if TYPE_CHECKING:
    import numpy as np

    from virb.contracts.examples import DataContext, Examples
    from virb.contracts.images import Accounting


@dataclass(frozen=True)
class ImageFolder:
    """The files of ``root/<class>/``: paths relative to ``root`` in a fixed order, and their class numbers (N,)."""

    root: Path
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    labels: np.ndarray
    accounting: Accounting


def scan_image_folder(root: str | Path, *, classes: tuple[str, ...] | None = None) -> ImageFolder:
    """List the images of a folder with one subfolder a class, sorted by class and path; numbers sort as numbers.

    Raises:
        DataError: the folder is absent or has no class folders, a class is empty, or (with ``classes``) the class
            folders are not the ones that were expected.
    """
    import numpy as np

    from virb.images.decode import SUFFIXES, shown
    from virb.images.listing import account, class_folders, list_images, strays

    root = Path(root)
    if not root.is_dir():
        raise DataError(f"There is no folder {shown(root)}. Expected one subfolder a class, with image files in it.")
    found = class_folders(root)
    if not found:
        raise DataError(f"{shown(root)} has no subfolders. Expected one subfolder a class, with image files in it.")
    if classes is not None and set(found) != set(classes):
        missing, extra = sorted(set(classes) - set(found)), sorted(set(found) - set(classes))
        raise DataError(
            f"The class folders of {shown(root)} are not the declared classes"
            + (f"; missing: {', '.join(map(shown, missing[:10]))}" if missing else "")
            + (f"; not declared: {', '.join(map(shown, extra[:10]))}" if extra else "")
            + ". Correct the folder or the task's classes."
        )
    order = classes if classes is not None else found
    listings = [list_images(root / name) for name in order]
    for name, listing in zip(order, listings, strict=True):
        if not listing.paths:
            raise DataError(
                f"The class folder {shown(root / name)} holds no image ({', '.join(SUFFIXES)}). Put images there, or "
                "remove the folder and its class."
            )
    paths = [f"{name}/{path}" for name, listing in zip(order, listings, strict=True) for path in listing.paths]
    labels = np.repeat(np.arange(len(order)), [len(listing.paths) for listing in listings])
    accounting = account(root, [*listings, strays(root)])
    return ImageFolder(root, tuple(order), tuple(paths), labels.astype(np.int64), accounting)


def image_folder(
    name: str,
    *,
    train: str = "train",
    test: str = "test",
    classes: tuple[str, ...] | None = None,
    value_range: tuple[float, float] | None = None,
) -> Callable[[DataContext, str], Examples]:
    """Return a task's ``data`` function for ``<place>/<train>/<class>/*`` and ``<place>/<test>/<class>/*``.

    ``<place>`` is what ``--data NAME=DIR`` says for ``name``, else ``name`` below ``--data DIR``. ``classes`` fixes the
    class folders and their order; by default the train folder's sorted subfolders are the classes, and the test folder
    must have the same ones. ``value_range`` are the values that are black and white in images of more than 8 bits; it
    is needed for floats (:mod:`virb.images.decode`).
    """

    def read(context: DataContext, split: str) -> Examples:
        import numpy as np

        from virb.contracts.examples import Examples
        from virb.images.decode import shown
        from virb.images.sets import FileImages

        place = context.place(name)
        if not place.is_dir():
            raise DataAbsent(
                f"{name}: there is no folder {shown(place)}. Expected {train}/<class>/ and {test}/<class>/ with images "
                f"in it; pass {data_option(name)} if it lies elsewhere."
            )
        expected = classes or scan_image_folder(place / train).classes
        folder = scan_image_folder(place / (train if split == "train" else test), classes=expected)
        return Examples(
            images=FileImages(f"{name}/{split}", folder.root, folder.paths, value_range=value_range),
            frames=np.arange(len(folder.paths))[:, None],
            targets=folder.labels,
            ids=[shown(path) for path in folder.paths],
            classes=folder.classes,
            accounting=folder.accounting,
        )

    return read

"""Data sets of torchvision's by name, where torchvision puts them; nothing is downloaded."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import numpy as np

from virb.contracts.images import Digested
from virb.errors import DataAbsent, DataError
from virb.images.decode import to_rgb
from virb.images.digests import of_files


class TorchvisionImages(Digested):
    """A split of a data set of torchvision's, where it puts it under ``root``; nothing is downloaded.

    Args:
        split: "train", "test" or "validation". Of a set with other words for them the nearest is taken: trainval for train,
            val for test where there is no test split. A set without splits is whole for "train", and has no other.

    Raises:
        DataAbsent: the set is not there.
        DataError: torchvision has no such set, it cannot be read, or has no such split.
    """

    def __init__(self, name: str, root: Path, *, split: str = "train") -> None:
        import inspect

        import torchvision.datasets

        known: dict[str, Any] = {k: v for k, v in vars(torchvision.datasets).items() if inspect.isclass(v)}
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean torchvision:{near[0]}?" if near else ""
            raise DataError(f"torchvision has no data set {name!r}.{hint}")
        takes = inspect.signature(known[name].__init__).parameters
        given: dict[str, Any] = {"download": False} if "download" in takes else {}
        parameter = next((word for word in ("split", "image_set", "train") if word in takes), "")
        if not parameter and split != "train":
            raise DataError(f"torchvision's {name} has no {split} split; it is one whole.")
        words: list[Any] = {"train": ["train", "trainval"], "test": ["test", "val"], "validation": ["val", "valid"]}[
            split
        ]
        if parameter == "train":
            if split == "validation":
                raise DataError(f"torchvision's {name} has no validation split.")
            words = [split == "train"]
        self.dataset = _first(known[name], name, root, given, parameter, words if parameter else [None])
        self.name = name.lower()
        self.root = root

    def __len__(self) -> int:
        return len(self.dataset)

    def image(self, index: int) -> np.ndarray:
        found = self.dataset[index]
        found = found[0] if isinstance(found, tuple) else found
        if not hasattr(found, "convert"):
            raise DataError(f"{self.describe(index)} is not an image but {type(found).__name__}.")
        try:
            return to_rgb(found)
        except (DataError, OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{self.describe(index)} is not a readable image ({error}).") from error

    def compute_digests(self, rows: np.ndarray) -> np.ndarray:
        """The digests of the files where the data set lists one an image, else those of its pixels."""
        files = next(filter(None, (self._files(key) for key in ("samples", "_image_files", "images", "imgs"))), None)
        if files is None:
            return super().compute_digests(rows)
        return of_files(self.root, [files[int(row)] for row in rows])

    def _files(self, attribute: str) -> list[Path] | None:
        found = getattr(self.dataset, attribute, None)
        if not isinstance(found, list) or len(found) != len(self) or not len(self):
            return None
        items = [item[0] if isinstance(item, tuple) else item for item in found]
        is_file = all(isinstance(item, str | Path) for item in items) and Path(items[0]).is_file()
        return [Path(item) for item in items] if is_file else None

    def describe(self, index: int) -> str:
        return f"image {index} of torchvision's {self.name}"

    def labels(self) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """The classes as the data set lists them; (None, ()) where it has no list of one number an image."""
        for attribute in ("targets", "labels", "_labels"):
            found = getattr(self.dataset, attribute, None)
            if found is None:
                continue
            label = np.asarray(found)
            if label.shape == (len(self),) and np.issubdtype(label.dtype, np.integer) and label.min() >= 0:
                names = getattr(self.dataset, "classes", None) or [str(k) for k in range(int(label.max()) + 1)]
                return label.astype(np.int64), tuple(str(name) for name in names)
        return None, ()


def _first(kind: Any, name: str, root: Path, given: dict[str, Any], parameter: str, words: list[Any]) -> Any:
    """Return the data set by the first of the ``words`` for its split that it knows."""
    for word in words:
        try:
            return kind(str(root), **given, **({parameter: word} if parameter else {}))
        except ValueError as error:  # no such split
            if word is not words[-1]:
                continue
            raise DataError(f"torchvision's {name} cannot be read from {root}: {error}") from error
        except (RuntimeError, FileNotFoundError) as error:
            raise DataAbsent(f"torchvision's {name} cannot be read from {root}: {error}") from error
        except (OSError, TypeError, ImportError) as error:
            raise DataError(f"torchvision's {name} cannot be read from {root}: {error}") from error
    raise AssertionError

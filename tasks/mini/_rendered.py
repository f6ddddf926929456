"""The images of the mini suite: scikit-learn's digits, Fashion-MNIST where it is found, and the rendered world.

Task files name these functions at their top level, so numpy and all that needs it are imported when data are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from virb.errors import DataAbsent, DataError, data_option

if TYPE_CHECKING:
    import numpy as np

    from virb.contracts.examples import DataContext, Examples

DIGITS_TRAIN = 1197  # of 1,797; the remaining 600 are the test split
FASHION_LIMIT = {"train": 5000, "test": 2000}


def world(
    set_name: str,
    annotation: str,
    *,
    splits: Mapping[str, str] | None = None,
    first: int = 0,
    of_class: str | None = None,
) -> Callable[[DataContext, str], Examples]:
    """Return a task's ``data`` function for one annotation of one image set of the rendered world.

    Several tasks may read one set: it is rendered and encoded once. ``splits`` maps "train" and "test" to the set's own
    splits, as ``split`` or ``set/split``, where they are called otherwise. ``first`` is the annotation's value of
    class 0, for annotations that count from another number. With ``of_class``, a mask's 1 becomes 1 + the value of that
    annotation of the image: which pixels are the object's, and of what class it is.
    """

    def read(context: DataContext, split: str) -> Examples:
        import numpy as np
        from virb.tasks import world as rendered

        from virb.contracts.examples import Examples
        from virb.images.sets import ArrayImages

        place = (splits or {}).get(split, split)
        name, wanted = place.split("/") if "/" in place else (set_name, place)
        progress = context.progress

        def advance(done: int, total: int) -> None:
            if progress is not None:
                progress(f"render {name}/{wanted}", done, total)

        found = rendered.load(name, wanted, cache=context.cache, limit=context.limit, progress=advance)
        images = ArrayImages.of(f"world/{name}/{wanted}", found.images)
        n = len(found.images) // found.n_frames
        targets = found.annotation(annotation)
        if targets.ndim == 1:
            targets = targets.astype(np.int64) - first
        if of_class is not None:
            targets = (targets * (1 + found.annotation(of_class).astype(np.uint8))[:, None, None]).astype(np.uint8)
        return Examples(
            images=images,
            frames=np.arange(n * found.n_frames).reshape(n, found.n_frames),
            targets=targets,
            ids=[f"{name}/{wanted}/{index}" for index in range(n)],
        )

    return read


def few_each(read: Callable[[DataContext, str], Examples], n_each: int) -> Callable[[DataContext, str], Examples]:
    """Return a ``data`` function that keeps the first ``n_each`` training examples of every class; test is whole.

    Raises (when read without a limit):
        DataError: a class has fewer.
    """

    def reread(context: DataContext, split: str) -> Examples:
        import numpy as np

        examples = read(context, split)
        if split != "train":
            return examples
        labels = np.asarray(examples.targets)
        kept = [np.flatnonzero(labels == label)[:n_each] for label in np.unique(labels)]
        if context.limit is None and min(len(rows) for rows in kept) < n_each:
            raise DataError(f"{examples.images.name}: a class has fewer than {n_each} examples.")
        return examples.subset(np.sort(np.concatenate(kept)))

    return reread


def digits(context: DataContext, split: str) -> Examples:
    """Return scikit-learn's handwritten digits on canvases of 64 pixels: a fixed, stratified split into 1,197 and 600.

    Each 8x8 digit is drawn once, 34 to 52 pixels large, tilted by up to 10 degrees, at a random place, in a random ink
    on a random ground with noise and a scribble of other ink. As they come, raw pixels are all there is to know about
    them, and every encoder loses to a linear map of the 64 values.
    """
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    from virb.contracts.examples import Examples
    from virb.images.sets import ArrayImages

    bunch = load_digits()
    rows = np.arange(len(bunch.target))
    train, test = train_test_split(rows, train_size=DIGITS_TRAIN, random_state=0, stratify=bunch.target)
    chosen = np.sort(train if split == "train" else test)
    return Examples(
        images=ArrayImages.of(f"digits/{split}", np.stack([_canvas(bunch.images[row], int(row)) for row in chosen])),
        frames=np.arange(len(chosen))[:, None],
        targets=bunch.target[chosen].astype(np.int64),
        ids=[f"digits/{row}" for row in chosen],
    )


def _canvas(digit: np.ndarray, row: int, side: int = 64) -> np.ndarray:
    """Return ``digit`` (8, 8), values 0 to 16, drawn on a canvas, uint8 (side, side, 3); ``row`` is the seed."""
    import numpy as np
    from PIL import Image, ImageDraw

    rng = np.random.default_rng([20211027, row])
    size = int(rng.integers(34, 53))
    left, top = (int(value) for value in rng.integers(0, side - size + 1, 2))
    ink = Image.fromarray(np.round(digit * (255 / 16)).astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
    mask = Image.new("L", (side, side))
    mask.paste(ink.rotate(float(rng.uniform(-10, 10)), Image.Resampling.BICUBIC), (left, top))
    scribble = Image.new("L", (side, side))
    points = [(float(x), float(y)) for x, y in rng.uniform(0, side, (3, 2))]
    ImageDraw.Draw(scribble).line(points, fill=90, width=1)
    ground = rng.uniform(30, 225, 3)
    colours = [ground, rng.uniform(30, 225, 3), rng.uniform(0, 255, 3)]
    while np.abs(colours[2].mean() - ground.mean()) < 75:  # a person must be able to read it
        colours[2] = rng.uniform(0, 255, 3)
    canvas = np.broadcast_to(ground, (side, side, 3))
    for layer, colour in ((scribble, colours[1]), (mask, colours[2])):
        weight = np.asarray(layer, dtype=np.float64)[..., None] / 255
        canvas = canvas * (1 - weight) + colour * weight
    return np.clip(canvas + rng.normal(0, 5, canvas.shape), 0, 255).astype(np.uint8)


def fashion(context: DataContext, split: str) -> Examples:
    """Return Fashion-MNIST (Xiao et al. 2017), a fixed random 5,000 of the train and 2,000 of the test images.

    Looked for where torchvision puts it (``<data>/FashionMNIST/raw``) and where Debian's package
    dataset-fashion-mnist does.
    """
    import numpy as np

    from virb.contracts.examples import Examples
    from virb.images.sets import ArrayImages

    places = [Path("/usr/share/datasets/fashion-mnist")]
    if "mini-fashion" in context.places:
        places.insert(0, context.places["mini-fashion"])
    elif context.root is not None:
        places.insert(0, context.root / "FashionMNIST" / "raw")
    stem = "train" if split == "train" else "t10k"
    for place in places:
        images = _idx(place / f"{stem}-images-idx3-ubyte")
        labels = _idx(place / f"{stem}-labels-idx1-ubyte")
        if images is not None and labels is not None:
            break
    else:
        raise DataAbsent(
            f"Fashion-MNIST was not found in {' or '.join(str(place) for place in places)}. Pass {data_option()} "
            "with FashionMNIST/raw in it (torchvision's layout), or install Debian's package dataset-fashion-mnist."
        )
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise DataError(f"{place}: {stem} images {images.shape} and labels {labels.shape} do not belong together.")
    chosen = np.sort(np.random.default_rng(0).permutation(len(images))[: FASHION_LIMIT[split]])
    return Examples(
        images=ArrayImages.of(f"fashion/{split}", np.repeat(images[chosen][..., None], 3, axis=3)),
        frames=np.arange(len(chosen))[:, None],
        targets=labels[chosen].astype(np.int64),
        ids=[f"fashion/{stem}/{row}" for row in chosen],
    )


def _idx(path: Path) -> np.ndarray | None:
    """Return the array of an IDX file of bytes, plain or gzipped; None if there is none."""
    import gzip

    import numpy as np

    for candidate in (path, path.with_name(path.name + ".gz")):
        if not candidate.is_file():
            continue
        try:
            raw = gzip.decompress(candidate.read_bytes()) if candidate.suffix == ".gz" else candidate.read_bytes()
        except (OSError, EOFError) as error:
            raise DataError(f"{candidate} cannot be read: {error}. Obtain it again.") from error
        n_axes = raw[3] if len(raw) >= 4 and raw[:3] == b"\0\0\x08" else 0
        shape = tuple(int(n) for n in np.frombuffer(raw[4 : 4 + 4 * n_axes], dtype=">u4"))
        if not n_axes or len(raw) != 4 + 4 * n_axes + int(np.prod(shape)):
            raise DataError(f"{candidate} is not a whole IDX file of bytes. Obtain it again.")
        return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * n_axes).reshape(shape)
    return None

"""What an end task is: light declarations, read by the listing without importing torch."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from virb.contracts.parts import QUANTITIES, TARGETS
from virb.errors import DataAbsent, DataError, RegistryError, VirbError

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples

AUGMENTATIONS = ("crop", "flip")
OPTIMIZERS = ("adam", "sgd", "nesterov")
SCHEDULES = ("constant", "cosine")
RESIZES = ("squash", "crop")


class Category(str, enum.Enum):
    """The four categories of end tasks (Kotar et al. 2021, Section 3.1)."""

    SEMANTIC_IMAGE = "semantic image-level"
    STRUCTURAL_IMAGE = "structural image-level"
    SEMANTIC_PIXEL = "semantic pixelwise"
    STRUCTURAL_PIXEL = "structural pixelwise"

    @property
    def is_pixelwise(self) -> bool:
        return self in (Category.SEMANTIC_PIXEL, Category.STRUCTURAL_PIXEL)


@dataclass(frozen=True)
class Protocol:
    """How a head is trained: the paper's Table 2 gives ``epochs``; Adam at 3e-4 is its default for every task.

    The head trains from random initialisation for exactly ``epochs`` passes and the score is read once, after the last.
    ``batch_size`` counts examples; the last partial batch is used, never dropped.

    With ``crop`` (pixelwise tasks) the head trains on random crops of (crop, crop) pixels from images that were scaled
    by a random factor within ``crop_scales`` and mirrored at random if ``crop_mirror``, and is evaluated on whole
    images at full resolution; without it, images are resized to the encoder's input size. With ``short_side`` images are
    first scaled so that their shorter side has so many pixels, in training (times the random factor) and in the test, whose
    predictions are brought back to the target's own pixels.

    ``resize`` is how: "squash" takes both sides to the encoder's size (Kotar et al. 2021, Section 3.1); "crop" takes the
    centre square first, whose side is ``resize_share`` of the image's shorter side (1: SimCLR, Appendix B.8, shorter side
    to 224 and a centre crop of 224; .875: Cole et al. 2022, Appendix C.2).

    ``steps`` is how many updates a head makes, in place of ``epochs``. ``schedule`` "cosine" brings the learning rate from
    ``lr`` to 0 over them. "sgd" has momentum 0.9, "nesterov" Nesterov's; ``weight_decay`` is added to the gradient.
    """

    epochs: int
    batch_size: int = 64
    optimizer: str = "adam"
    lr: float = 3e-4
    crop: int | None = None
    crop_scales: tuple[float, float] = (1.0, 1.0)
    crop_mirror: bool = False
    resize: str = "squash"
    resize_share: float = 1.0
    steps: int | None = None
    weight_decay: float = 0.0
    schedule: str = "constant"
    short_side: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "crop", "steps", "short_side"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
                raise RegistryError(f"A protocol's {name} is {value!r}; expected a whole number.")
        for name in ("lr", "weight_decay", "resize_share"):
            if not isinstance(getattr(self, name), (int, float)):
                raise RegistryError(f"A protocol's {name} is {getattr(self, name)!r}; expected a number.")
        if self.epochs < 1 or self.batch_size < 1 or not self.lr > 0:
            raise RegistryError(
                f"A protocol needs epochs >= 1, batch_size >= 1 and lr > 0; found epochs={self.epochs}, "
                f"batch_size={self.batch_size}, lr={self.lr}."
            )
        if self.optimizer not in OPTIMIZERS or self.schedule not in SCHEDULES:
            raise RegistryError(
                f"Unknown optimizer {self.optimizer!r} or schedule {self.schedule!r} in a protocol; expected one of "
                f"{', '.join(OPTIMIZERS)} and one of {', '.join(SCHEDULES)}."
            )
        if (self.steps is not None and self.steps < 1) or not self.weight_decay >= 0:
            raise RegistryError(
                f"A protocol needs steps >= 1 and weight_decay >= 0; found steps={self.steps}, "
                f"weight_decay={self.weight_decay}."
            )
        low, high = self.crop_scales
        if (self.crop is not None and self.crop < 1) or not 0 < low <= high:
            raise RegistryError(
                f"A protocol needs crop >= 1 and 0 < crop_scales[0] <= crop_scales[1]; found crop={self.crop}, "
                f"crop_scales={self.crop_scales}."
            )
        if self.short_side is not None and (self.crop is None or self.short_side < 1):
            raise RegistryError(
                f"A protocol's short_side must be at least 1 and needs a crop; found short_side={self.short_side}, "
                f"crop={self.crop}."
            )
        if self.resize not in RESIZES or not 0 < self.resize_share <= 1:
            raise RegistryError(
                f"A protocol needs resize 'squash' or 'crop' and 0 < resize_share <= 1; found resize={self.resize!r}, "
                f"resize_share={self.resize_share}."
            )
        if self.resize == "squash" and self.resize_share != 1:
            raise RegistryError(
                f"resize_share={self.resize_share} needs resize='crop'; 'squash' takes the whole image."
            )

    @property
    def of_images(self) -> dict[str, Any]:
        """What the protocol does to images before any probe sees them, as records say it; nothing where it squashes."""
        return {} if self.resize == "squash" else {"resize": self.resize, "resize_share": self.resize_share}

    @property
    def of_training(self) -> dict[str, Any]:
        """The settings of the head's training, by name.

        Those that came later are there where they say something else than what was always done: a record that was made
        without them is what would be made now.
        """
        later = {"steps": None, "weight_decay": 0.0, "schedule": "constant", "short_side": None}
        return {
            key: value
            for key, value in asdict(self).items()
            if key not in ("resize", "resize_share") and (key not in later or value != later[key])
        }

    def n_steps(self, n_batches: int) -> int:
        """Return how many updates a head makes whose epoch has ``n_batches``."""
        return self.steps or self.epochs * n_batches


def _whence(error: BaseException) -> str:
    """Return an error in one sentence, with the file and line of the innermost code that is not a library's."""
    import os
    import sysconfig
    import traceback

    libraries = tuple(sysconfig.get_paths()[name] + os.sep for name in ("stdlib", "platlib", "purelib"))
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith((*libraries, "<"))]
    text = f"{type(error).__name__}: {error}".rstrip(": .")
    return f"{text} ({own[-1].filename}, line {own[-1].lineno})." if own else f"{text}."


class FromData(enum.Enum):
    """Where a task's classes stand: in the data, whose reader names them (folders, a column, a file's metadata)."""

    FROM_DATA = "from the data"


FROM_DATA = FromData.FROM_DATA


@dataclass(frozen=True)
class Task:
    """An end task: data, and the names of its head, loss and metric, and the protocol that joins them.

    ``data(context, split)`` returns the examples of ``"train"`` or ``"test"``. It is called only when the task runs,
    so a task file imports whatever its reader needs inside that function. Call :meth:`examples`, which adds how to
    obtain the data where they are not there.
    """

    name: str
    summary: str
    category: Category
    head: str
    loss: str  # "" where the head does not train
    metric: str
    data: Callable[[DataContext, str], Examples]
    protocol: Protocol
    # Names, in the order of the data's own where those are names too; or how many; FROM_DATA: as the data name them; None
    # where targets are numbers.
    classes: Sequence[str] | int | FromData | None = None
    n_frames: int = 1
    version: int = 1
    heads_of: str | None = (
        None  # a task whose heads (its train split, its protocol) this one scores on its own test split
    )
    is_optional: bool = False  # a suite that lacks its data is complete all the same
    source: str = ""  # paper or data set, as one would cite it
    license: str = ""
    obtain: str = ""  # how a user gets the data
    is_made_here: bool = False  # its data are made when they are first read: there is nothing to obtain
    prepare: Callable[[DataContext], None] | None = None  # downloads or converts the data, where that may be done
    n_examples: Mapping[str, int] = field(
        default_factory=dict
    )  # of "train" and "test", where they are known and checked
    # Of a set that everyone generates or cuts for himself: what the paper had. For reckoning; nothing is checked against it.
    n_published: Mapping[str, int] = field(default_factory=dict)
    deviations: Sequence[str] = ()  # from the paper or source, each with its reason
    # Those of the head and of the metric; ``out_channels``, how many numbers a target has (default: 1); ``ignore_index``,
    # the class in a mask that counts for nothing.
    options: Mapping[str, Any] = field(default_factory=dict)
    target: str | None = None  # one of TARGETS, where the loss and the metric take several kinds of them
    unit: str = ""  # of targets that are numbers (metre, degree, ...)
    quantity: str = ""  # one of QUANTITIES: what the numbers of a map are, for probes, pictures and blind baselines
    # Those of AUGMENTATIONS that keep the target, for probes that train on images; None: see label_preserving.
    augmentations: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name, kind in (("category", Category), ("protocol", Protocol)):
            value = getattr(self, name)
            if not isinstance(value, kind):
                expected = ", ".join(map(str, Category)) if kind is Category else "Protocol(epochs=...)"
                raise RegistryError(f"Task {self.name!r}: {name} is {value!r}; expected {expected}.")
        if not callable(self.data):
            raise RegistryError(f"Task {self.name!r}: data is {self.data!r}; expected a function data(context, split).")
        unknown = [name for name in self.augmentations or () if name not in AUGMENTATIONS]
        if unknown:
            raise RegistryError(
                f"Task {self.name!r}: unknown augmentation {unknown[0]!r}; expected some of {', '.join(AUGMENTATIONS)}."
            )
        if self.target is not None and self.target not in TARGETS:
            raise RegistryError(
                f"Task {self.name!r}: unknown target {self.target!r}; expected one of {', '.join(TARGETS)}."
            )
        if self.quantity and self.quantity not in QUANTITIES:
            raise RegistryError(
                f"Task {self.name!r}: unknown quantity {self.quantity!r}; expected one of {', '.join(QUANTITIES)}."
            )
        twice = [name for name, n in Counter(self.class_names).items() if n > 1][:3]
        if twice:
            raise RegistryError(
                f"Task {self.name!r}: several classes are called {' and several '.join(map(repr, twice))}, and scores are "
                "kept by name. Tell them apart, as 'crane (bird)'."
            )
        if self.protocol.resize != "squash" and self.category.is_pixelwise:
            raise RegistryError(
                f"Task {self.name!r}: resize={self.protocol.resize!r} would crop images and not their {self.category.value} "
                "targets; expected 'squash'."
            )

    def names(self) -> dict[str, str]:
        """The parts that it names, by kind; the registry checks that they are there."""
        return {"heads": self.head, **({"losses": self.loss} if self.loss else {}), "metrics": self.metric}

    def examples(self, context: DataContext, split: str) -> Examples:
        """Return ``data(context, split)``, whose classes are those of the task, its images cropped as the protocol says.

        Raises:
            DataAbsent: the data are not there; the text says how to obtain them.
            DataError: the data name classes that are not quite those of the task, or the reader's own code failed.
        """
        try:
            examples = self.data(context, split)
        except DataAbsent as error:
            raise DataAbsent(f"{error} To obtain it: {self.obtain}" if self.obtain else str(error)) from error
        except (VirbError, MemoryError):
            raise
        except Exception as error:  # the code of the task's own reader, which may raise anything
            raise DataError(f"{self.name}/{split}: its reader failed: {_whence(error)}") from error
        from virb.contracts.examples import Examples

        if not isinstance(examples, Examples):
            raise DataError(
                f"{self.name}/{split}: the reader returned {type(examples).__name__}; expected Examples(images, frames, "
                "targets, ids)."
            )
        if self.protocol.resize == "crop":
            examples = examples.centre_squares(self.protocol.resize_share)
        self.check_classes(examples.classes, split)
        return examples

    def check_classes(self, found: Sequence[str], split: str) -> None:
        """Compare the classes that the data name with those of the task; nothing is compared where one has no names.

        Raises:
            DataError: they are others, or in another order, so that the numbers of the targets mean other classes.
        """
        if isinstance(self.classes, int) and self.classes and found and len(found) != self.classes:
            raise DataError(
                f"{self.name}/{split}: the data have {len(found)} classes, the task declares {self.classes}. Correct the "
                "number (FROM_DATA takes the data's)."
            )
        wanted = [] if isinstance(self.classes, int) else self.class_names
        if not wanted or not found or list(found) == wanted:
            return
        where = f"{self.name}/{split}"
        missing, extra = set(wanted) - set(found), set(found) - set(wanted)
        if not missing and not extra:
            k = next(k for k, (ours, theirs) in enumerate(zip(wanted, found, strict=True)) if ours != theirs)
            raise DataError(
                f"{where}: the task declares its classes in another order than the data's: number {k} is {wanted[k]!r} in the "
                f"task and {found[k]!r} in the data. Write classes=FROM_DATA, or the order {', '.join(list(found)[:5])}"
                f"{', ...' if len(found) > 5 else ''}."
            )
        if len(found) != len(wanted) or set(wanted) & set(found):
            raise DataError(
                f"{where}: the data have {len(found)} classes, the task declares {len(wanted)}"
                + (f"; not in the data: {', '.join(sorted(missing)[:5])}" if missing else "")
                + (f"; not declared: {', '.join(sorted(extra)[:5])}" if extra else "")
                + ". Correct the task's classes (FROM_DATA takes the data's), or the data."
            )
        # The task has names of its own for all of them, in the order of the data's.

    def resolved(self, examples: Examples) -> Task:
        """Return the task with the classes that its data name, where it leaves them to the data.

        Raises:
            DataError: the data name none.
        """
        if self.classes is not FROM_DATA:
            return self
        if not examples.classes:
            raise DataError(
                f"{self.name}: the task takes its classes from the data, and its reader gives no names (Examples.classes). "
                "Declare classes= in the task."
            )
        return replace(self, classes=tuple(examples.classes))

    @property
    def label_preserving(self) -> tuple[str, ...]:
        """The augmentations that keep the target: as declared, else all for semantic image-level tasks and none for
        others. A crop may hide what is counted and changes distances; a mirror swaps left and right.
        """
        if self.augmentations is not None:
            return tuple(self.augmentations)
        return AUGMENTATIONS if self.category is Category.SEMANTIC_IMAGE else ()

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that this task reads; one that scores another task's heads has no train split of its own."""
        return ("test",) if self.heads_of else ("train", "test")

    @property
    def n_out(self) -> int:
        """How many outputs its head has: one a class, or one a number."""
        return self.n_classes or int(self.options.get("out_channels", 1))

    @property
    def n_classes(self) -> int:
        """How many classes the target has; 0 for a regression, and where they stand in data that are not read yet."""
        if self.classes is None or isinstance(self.classes, FromData):
            return 0
        return self.classes if isinstance(self.classes, int) else len(self.classes)

    @property
    def class_names(self) -> list[str]:
        if self.classes is None or isinstance(self.classes, FromData):
            return []
        return [str(k) for k in range(self.classes)] if isinstance(self.classes, int) else list(self.classes)

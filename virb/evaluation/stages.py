"""The stages before a head trains: read a unit's data, and encode its images once for all who want them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from virb.contracts.examples import DataContext, Examples
from virb.contracts.options import RunOptions
from virb.contracts.probe import Probe
from virb.contracts.task import FROM_DATA, Task
from virb.errors import DataError, UsageError, VirbError
from virb.evaluation import checks
from virb.evaluation.grid import Failure, Piece, Unit
from virb.evaluation.guard import StoppedError, failure
from virb.evaluation.parts import parts_of
from virb.features.cache import FeatureCache, Features
from virb.images.corrupt import unreadable
from virb.images.sets import ImageSet
from virb.networks.encoder import FrozenEncoder
from virb.system import devices
from virb.system.mapped import Rows
from virb.system.progress import Progress

BLOCK_BYTES = 8 << 20  # of features that are looked at together
Found = dict[tuple[int, str], "Features | None"]  # by (encoder, image set's digest); None: compute it when it is used

# ------------------------------------------------------------------------------------------------------------ data


def read(
    unit: Unit, context: DataContext, options: RunOptions, progress: Progress
) -> tuple[Unit, Examples, dict[str, Examples]]:
    """Return the train split of a unit and the test split of each task that it scores; first the unit itself, with the
    classes that the data name where a task leaves them to the data.

    Raises:
        DataAbsent, DataError: the data are not there, or are not what the task declares.
    """
    task = unit.trains
    with progress.stage(f"{task.name}: data") as advance:
        context = replace(context, limit=options.limit, progress=lambda _what, done, total: advance(done, total))
        asked = partial(checks.read, context=context, limit=options.limit, skip_corrupt=options.skip_corrupt)
        train = asked(task, "train")
        task = task.resolved(train)
        scores = [replace(s, classes=task.classes) if s.classes is FROM_DATA else s for s in unit.scores]
        tests = {scored.name: asked(scored, "test") for scored in scores}
    for note in checks.notes(task, train, [(scored, tests[scored.name]) for scored in scores]):
        progress.note(note)
    return Unit(task, tuple(scores)), train, tests


def make_ready(piece: Piece, options: RunOptions, progress: Progress) -> None:
    """Leave out the examples that cannot be read, where that is asked for, and say what a split lacks."""
    task = piece.unit.trains
    scored = {t.name: t for t in piece.unit.scores}
    if options.skip_corrupt:
        piece.train = _readable(task, "train", piece.train, progress)
        piece.tests = {name: _readable(scored[name], "test", test, progress) for name, test in piece.tests.items()}
    for of, split, examples in (
        (task, "train", piece.train),
        *((scored[name], "test", test) for name, test in piece.tests.items()),
    ):
        expected = of.n_examples.get(split)
        is_part = options.limit is not None or (split == "train" and not piece.budget.is_whole)
        if expected is not None and len(examples) != expected and not is_part:
            progress.note(
                f"{of.name}: {split} has {len(examples):,} examples; expected {expected:,}. The score cannot be compared "
                "with those on the whole set. See: virb data status."
            )


def _readable(task: Task, split: str, examples: Examples, progress: Progress) -> Examples:
    """Leave out the examples that cannot be read, and name them."""
    with progress.stage(f"{task.name}: read {split}") as advance:
        bad = unreadable(examples, is_dense=task.category.is_pixelwise, progress=advance)
    if examples.validation is not None:
        held = _readable(task, "validation", examples.validation, progress)
        if len(held) < len(examples.validation):
            whole = examples.validation
            kept = [k for k, name in enumerate(whole.ids) if name in set(held.ids)]
            examples = replace(examples, validation=whole.subset(np.array(kept)))
    if not bad:
        return examples
    few = "; ".join(list(bad.values())[:5])
    progress.note(
        f"{task.name}: {len(bad):,} of {len(examples):,} examples of {split} are left out, as they cannot be read: "
        f"{few}{' ...' if len(bad) > 5 else ''}"
    )
    return examples.subset(np.setdiff1d(np.arange(len(examples)), list(bad))).with_own_images()


# -------------------------------------------------------------------------------------------------------- features


class Encoding:
    """Encodes image sets through the feature cache; an encoder that cannot, fails alone."""

    def __init__(
        self, encoders: Sequence[FrozenEncoder], cache: FeatureCache, cache_bytes: float, progress: Progress
    ) -> None:
        self.encoders = encoders
        self.cache = cache
        self.cache_bytes = cache_bytes
        self.progress = progress

    def encode(self, piece: Piece, everything: Sequence[Piece]) -> tuple[Found, dict[int, Failure]]:
        """Encode this piece's images with its encoders, for all layers that any piece wants of them, in one pass a set.

        Returns:
            The features, where None stands for a pyramid that is over the budget; and the encoders that cannot do the
            task, each with the reason.
        """
        found: Found = {}
        failed: dict[int, Failure] = {}
        for images in {split.images.digest: split.images for split in piece.splits}.values():
            uses = [
                (other, split)
                for other in everything
                for split in other.splits
                if split.images.digest == images.digest and other.unit.trains.protocol.crop is None
            ]
            upto = max(int(split.used_frames.max()) + 1 for _, split in uses)
            layers = sorted({other.layer for other, _ in uses})
            able = [k for k in piece.encoders if k not in failed]
            fits = [k for k in able if self._pyramid_bytes(k, upto, len(able)) <= self.cache_bytes]
            for members, wanted in _alike(
                (fits, layers), ([k for k in able if k not in fits], [name for name in layers if not name.startswith("pyramid")]),
                gives=lambda k, layer: _lacks(self.encoders[k], layer),
            ):  # fmt: skip
                rows, wrong = self._together(piece, members, images, wanted, upto)
                failed |= wrong
                for k, row in rows.items():
                    found[k, images.digest] = row.get(piece.layer)
        return found, failed

    def _together(
        self, piece: Piece, members: Sequence[int], images: ImageSet, layers: Sequence[str], upto: int
    ) -> tuple[dict[int, dict[str, Features]], dict[int, Failure]]:
        """Encode with all in one pass; where that fails, with each alone, for this piece's layer alone."""
        failed: dict[int, Failure] = {}
        rows = self._try(piece, members, images, layers, upto, failed)
        own = [layer for layer in layers if layer == piece.layer]
        is_smaller = len(members) > 1 or list(layers) != own
        if rows or not own or not is_smaller:
            return rows, failed
        failed = {}
        for k in members:  # one that fails alone is the one that is to blame
            for encoder in self.encoders:
                encoder.release_network()
            devices.free_memory(self.encoders[k].device)
            rows |= self._try(piece, [k], images, own, upto, failed)
        return rows, failed

    def _try(
        self,
        piece: Piece,
        members: Sequence[int],
        images: ImageSet,
        layers: Sequence[str],
        upto: int,
        failed: dict[int, Failure],
    ) -> dict[int, dict[str, Features]]:
        """Encode in one pass, or add to ``failed``; the error is gone then, and with it what its traceback held."""
        try:
            return dict(zip(members, self._pass(members, images, layers, upto), strict=True))
        except (DataError, StoppedError):  # of the images, not of an encoder
            raise
        except Exception as error:
            for k in members:
                failed[k] = failure(f"{self.encoders[k].name} on {piece.unit.trains.name}", error)
            return {}

    def _pass(
        self, members: Sequence[int], images: ImageSet, layers: Sequence[str], upto: int
    ) -> list[dict[str, Features]]:
        what = f"{images.name}: encode with {len(members)} encoder{'s' * (len(members) > 1)}"
        with self.progress.stage(what) as advance:
            encoders = [self.encoders[k] for k in members]
            rows = self.cache.encode(
                [part for encoder in encoders for part in encoder.parts],
                images,
                layers=layers,
                upto=upto,
                progress=advance,
            )
        each = iter(rows)
        found = []
        for encoder in encoders:
            own = [next(each) for _ in encoder.parts]
            together = {layer: Features(layer, tuple(row[layer].embedding for row in own)) for layer in own[0]}
            found.append(own[0] if len(own) == 1 else together)
        return found

    def unfit(self, piece: Piece) -> dict[int, Failure]:
        """Return the encoders that have not the features which the piece's head reads, each with the reason."""
        task = piece.unit.trains
        return {
            k: Failure(f"{self.encoders[k].name} on {task.name}", f"the head {task.head} cannot read it: {why}")
            for k in piece.encoders
            if (why := _lacks(self.encoders[k], piece.layer)) is not None
        }

    def _pyramid_bytes(self, encoder: int, n_images: int, n_encoders: int) -> float:
        e = self.encoders[encoder]
        cells = sum(c * (-(-e.preprocess.size // s)) ** 2 for c, s in zip(e.channels, e.strides, strict=True))
        return 2.0 * cells * n_images * n_encoders


def layer_of(probe: Probe, trains: Task) -> str:
    """Return which features of an encoder the probe reads on a task that trains."""
    return probe.layer or (parts_of(trains).head.layer if probe.trains_head else "embedding")


def readable(
    units: Sequence[Unit], encoders: Sequence[FrozenEncoder], probe: Probe, failures: list[Failure], progress: Progress
) -> list[Unit]:
    """Return the units that one of the encoders can be evaluated on, as far as what they are says; of the others every
    encoder is a failure, before their data are read."""
    kept = []
    for unit in units:
        task, layer = unit.trains, layer_of(probe, unit.trains)
        whys = [_has_no(encoder, layer) if probe.is_frozen else _untrainable(encoder) for encoder in encoders]
        if None in whys:
            kept.append(unit)
            continue
        reader = f"the head {task.head}" if probe.is_frozen else f"the probe {probe.name}"
        for encoder, why in zip(encoders, whys, strict=True):
            failures.append(Failure(f"{encoder.name} on {task.name}", f"{reader} cannot read it: {why}"))
            progress.note(failures[-1].line)
    return kept


def _has_no(encoder: FrozenEncoder, layer: str) -> str | None:
    """Return why an encoder has not the kind of features that ``layer`` is, or None."""
    if layer == "embedding":
        return None
    if len(encoder.parts) > 1:
        return "encoders side by side give one vector an image and no maps. Evaluate it on tasks that read embeddings."
    if not encoder.channels:
        return (
            "a projection is one vector an image and has no maps, which a pixelwise task needs. Evaluate it on "
            "image-level tasks, or the encoder without features=projection."
        )
    return None


def _untrainable(encoder: FrozenEncoder) -> str | None:
    return (
        "it is several networks, which are not trained together. Fine-tune one of them."
        if len(encoder.parts) > 1
        else None
    )


def _lacks(encoder: FrozenEncoder, layer: str) -> str | None:
    """Return why an encoder has no such features, or None; an encoder that is a network of one's own may be measured."""
    if layer == "embedding":
        return None
    if (why := _has_no(encoder, layer)) is not None:
        return why
    try:
        stride = layer.removeprefix("pyramid").removeprefix("tokens")
        encoder.strides_at(int(stride) if stride.isdecimal() else None)
    except UsageError as error:
        return str(error)
    return None


def _alike(
    *groups: tuple[Sequence[int], Sequence[str]], gives: Callable[[int, str], str | None]
) -> list[tuple[list[int], list[str]]]:
    """Cut the groups (encoders, layers) so that every encoder of a group has all of its layers."""
    out: dict[tuple[str, ...], list[int]] = {}
    for members, layers in groups:
        for k in members:
            can = tuple(layer for layer in layers if gives(k, layer) is None)
            if can:
                out.setdefault(can, []).append(k)
    return [(members, list(layers)) for layers, members in out.items()]


def check_finite(encoder: str, embedding: np.ndarray, split: Examples) -> None:
    """Raise VirbError if an embedding that ``split`` uses is not finite."""
    rows, source = np.unique(split.used_frames), Rows(embedding)
    block = max(1, BLOCK_BYTES // (embedding.shape[1] * embedding.itemsize))
    for start in range(0, len(rows), block):
        chosen = rows[start : start + block]
        bad = chosen[~np.isfinite(source.take(chosen)).all(axis=1)]
        if len(bad):
            raise VirbError(
                f"The embedding that {encoder} gives to {split.images.describe(int(bad[0]))} is not finite. "
                "The weights may be damaged, or overflow in half precision."
            )

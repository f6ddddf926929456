"""What heads read of a split: embeddings, maps, or the images themselves where the encoder runs anew."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from virb.contracts.examples import Examples
from virb.contracts.probe import Source
from virb.contracts.task import Protocol, Task
from virb.evaluation.grid import Piece
from virb.evaluation.stages import Found
from virb.features.joined import joined
from virb.networks.encoder import FrozenEncoder
from virb.probes import dense_sources


@dataclass(frozen=True)
class Member:
    """A head of a group that trains as one problem."""

    piece: Piece
    encoder: int
    seed: int
    encode_s: float

    @property
    def tasks(self) -> list[Task]:
        return self.piece.jobs[self.encoder, self.seed]


class Reading:
    """Gives each head its source, and keeps what heads of one split share during a run.

    Args:
        protocol_of: the protocol by which a task's heads train in this run.
    """

    def __init__(self, encoders: Sequence[FrozenEncoder], protocol_of: Callable[[Task], Protocol]) -> None:
        self.encoders = encoders
        self.protocol_of = protocol_of
        self._memos: dict[tuple[int, int | None], dense_sources.Memo] = {}
        self._side_by_side: dict[tuple[int, int, int], np.ndarray] = {}
        self._own_folder: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of what was needed during this run alone."""
        self._side_by_side.clear()
        if self._own_folder is not None:
            self._own_folder.cleanup()

    def shape_of_maps(self, member: Member) -> tuple[Any, ...]:
        """Return what the maps that a probe of pixels reads have in common where their heads are of one shape."""
        encoder, layer = self.encoders[member.encoder], member.piece.layer
        stride = int(layer.removeprefix("pyramid")) if layer.removeprefix("pyramid").isdecimal() else None
        return (
            id(member.piece),
            encoder.channels,
            encoder.strides_at(stride),
            encoder.offsets_at(stride),
            encoder.preprocess.size,
        )

    def source(self, member: Member, split: Examples, features: Found) -> Source:
        """Return what a probe reads of a split: features, or the images where the encoder runs anew."""
        encoder, piece = self.encoders[member.encoder], member.piece
        found = features.get((member.encoder, split.images.digest))
        if not piece.parts.is_pixelwise:
            if found is not None and len(encoder.parts) > 1:
                return Source(encoder, split.images, self._joined(member, split, features))
            rows = None if found is None else found.parts[0].reshape(len(found.parts[0]), -1)
            return Source(encoder, split.images, rows)
        protocol, ignore_index = self.protocol_of(piece.unit.trains), piece.parts.ignore_index
        pixels: dense_sources.Source
        if protocol.crop is not None and split is not piece.train:
            pixels = dense_sources.WholeSource(encoder, piece.layer, split, short_side=protocol.short_side)
        elif protocol.crop is not None:
            assert ignore_index is not None
            pixels = dense_sources.CropSource(
                encoder,
                piece.layer,
                split,
                protocol=protocol,
                seed=member.seed,
                ignore_index=ignore_index,
                memo=self._memo(split, member.seed),
            )
        elif found is None:
            pixels = dense_sources.ComputedSource(encoder, piece.layer, split)
        else:
            memo = self._memo(split, None)
            pixels = dense_sources.CachedSource(
                found.parts, split, size=encoder.preprocess.size, device=encoder.device, memo=memo
            )
        return Source(encoder, split.images, pixels=pixels)

    def _joined(self, member: Member, split: Examples, features: Found) -> np.ndarray:
        """Return the embeddings of an encoder that is several, standardised by the examples that this head trains on."""
        train = member.piece.train
        found, fitted = (features[member.encoder, part.images.digest] for part in (split, train))
        assert found is not None
        assert fitted is not None
        key = (member.encoder, id(split), id(train))
        with self._lock:
            if key not in self._side_by_side:
                place = self._folder() / f"{len(self._side_by_side)}.npy"
                n = int(split.used_frames.max()) + 1
                self._side_by_side[key] = joined(found.parts, fitted.parts, train.frames, n, place)
            return self._side_by_side[key]

    def _folder(self) -> Path:
        """Return a folder for what is needed during this run alone."""
        if self._own_folder is None:
            self._own_folder = tempfile.TemporaryDirectory(prefix="virb-")
        return Path(self._own_folder.name)

    def _memo(self, split: Examples, seed: int | None) -> dense_sources.Memo:
        """Return what the sources of one split share; crops are drawn by the seed."""
        return self._memos.setdefault((id(split), seed), dense_sources.Memo())

"""What a checkpoint layout promises: from the names and shapes in a published file to one of our architectures.

A layout is one file of ``virb/convert/layouts`` that assigns ``LAYOUT``. It is found by its anchors, which are names
that only its network's own tensors have; everything below the anchor's prefix is its to account for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    State = Mapping[str, Tensor]

Architecture = tuple[str, dict[str, Any]]  # a name and its options, as build_backbone takes them
Shapes = Mapping[str, tuple[int, ...]]
Facts = dict[str, Any]


@dataclass(frozen=True)
class LayoutReport:
    """What a conversion did that the tensors alone do not show.

    Attributes:
        notes: sentences on what was assumed, chosen or left out, for the report of the match.
        dropped: part of the file -> how many of its tensors belong to no encoder (a head, a decoder, a text tower).
        preprocess: ``size``, ``mean``, ``std`` as the release publishes them; empty where it publishes none.
    """

    notes: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """One family of published files.

    Attributes:
        name: the file's, with ``-`` for ``_``.
        source: the repository and file that the names come from.
        title: what the files are called, for a person.
        anchors: names, the first of which stands in a file of this layout behind any prefix.
        recognise: takes the names below the prefix and their shapes; returns what they tell, None if it is another
            layout. ``config`` (the folder's config.json), ``place`` and ``asked`` (options that the user gave) are
            added to it.
        convert: takes the tensors below the prefix and the facts; returns the architecture, the state under that
            architecture's own names, and the report. It raises CheckpointError where a tensor has no place.
        gives: what its embedding is and how its images are prepared, for the documentation.
        checked: the implementation whose embeddings it is compared with in the tests.
        model_types: what config.json of transformers calls such networks; none for other releases.
    """

    name: str
    source: str
    title: str
    anchors: tuple[str, ...]
    recognise: Callable[[Collection[str], Shapes], Facts | None]
    convert: Callable[[State, Facts], tuple[Architecture, dict[str, Tensor], LayoutReport]]
    gives: str = ""
    checked: str = ""
    model_types: tuple[str, ...] = ()

"""What a paper is: what it printed, on which encoders and tasks, and what it says, each sentence with a test of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from virb.errors import RegistryError, ScoresError

if TYPE_CHECKING:
    from pandas import DataFrame

    from virb.contracts.examples import DataContext

HOLDS, FAILS, UNTOLD = "holds", "fails", "cannot be told"
VERDICTS = (HOLDS, FAILS, UNTOLD)

#: What an answer is about: the runs of the table and no others, or what they are a sample of.
THESE = "these runs"


class NotThere(ScoresError):
    """A table, or a column of it, that a claim asks for is not there: the claim cannot be told."""


@dataclass(frozen=True)
class Answer:
    """What the tables say of a claim.

    Attributes:
        why: the numbers in a sentence or two.
        n: how many independent things answer it, and ``of`` what they are ("encoders", "families", "curves").
        estimate, low, high: in ``unit``, with the 95 % interval; None where the question has no number.
        pvalue: of the test that the text names, if there is one.
        about: what the verdict speaks of: :data:`THESE`, or "encoders like these", "tasks like these", ...
    """

    verdict: str
    why: str
    n: int
    of: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    pvalue: float | None = None
    about: str = THESE

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise RegistryError(f"A claim was answered {self.verdict!r}; expected one of {', '.join(VERDICTS)}.")


@dataclass(frozen=True)
class Evidence:
    """Tidy tables by name, from a paper or from results, and what the claims must know of their names.

    ``facts`` says which of the tasks and data sets stand for what (``{"imagenet": "mini-object-class"}``), so that a test
    names none. ``missing`` says of tables that are not there why.
    """

    frames: Mapping[str, DataFrame]
    facts: Mapping[str, Any] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    def get(self, name: str, *columns: str) -> DataFrame:
        """Return a copy of a table.

        Raises:
            NotThere: it is not there, is empty, or lacks one of ``columns``.
        """
        if name not in self.frames:
            raise NotThere(self.missing.get(name, f"There is no table {name!r}."))
        frame = self.frames[name].copy()
        lacking = [column for column in columns if column not in frame or frame[column].isna().all()]
        if lacking:
            raise NotThere(self.missing.get(f"{name}.{lacking[0]}", f"{name} does not say {', '.join(lacking)}."))
        if frame.empty:
            raise NotThere(f"{name} has no rows.")
        return frame

    def fact(self, name: str) -> Any:
        """Return a fact. Raises NotThere: it is not stated."""
        if name not in self.facts:
            raise NotThere(f"Nothing says which is {name.replace('_', ' ')}.")
        return self.facts[name]


@dataclass(frozen=True)
class Published:
    """A table that the paper printed, as a CSV beside the paper's file.

    Attributes:
        where: "Table 3".
        unit: of its scores.
        tidy: the CSV's frame -> rows with encoder, task, score and what else is known of them.
        error: how far a cell may be from the number behind it, in ``unit``: half of the last printed digit, or the error
            of reading a figure. A tidy row's own column ``error`` goes first.
        note: what is odd in it.
    """

    name: str
    file: str
    where: str
    unit: str
    tidy: Callable[[DataFrame], DataFrame]
    error: float = 0.0
    note: str = ""

    def read(self, folder: Path) -> DataFrame:
        """Return the table in tidy form; the columns ``error`` and ``unit`` are always there."""
        import pandas as pd

        frame = self.tidy(pd.read_csv(folder / self.file)).reset_index(drop=True)
        if "error" not in frame:
            frame["error"] = self.error
        if "unit" not in frame:
            frame["unit"] = self.unit
        return frame


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper and its test. ``sentence`` is in our words; ``where`` is the section, table or figure."""

    name: str
    sentence: str
    where: str
    test: Callable[[Evidence], Answer]
    tables: tuple[str, ...] = ()


@dataclass(frozen=True)
class Member:
    """An encoder of a paper.

    Attributes:
        name: in the paper's tables, as the tidy tables have it.
        spec: what ``virb evaluate`` takes ("zoo:swav-imagenet-200", "random"), or "recipe:NAME" for one that the scale's
            recipe makes; empty where it cannot be had, and ``missing`` says why.
        about: columns that say what it is.
        published_as: its name in a table whose encoders are anonymous, as far as it is known; then ``is_tentative``.
    """

    name: str
    spec: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    missing: str = ""
    published_as: str = ""
    is_tentative: bool = False

    @property
    def recipe_line(self) -> str:
        """The name of the recipe's line that makes it; empty if none does."""
        return self.spec.removeprefix("recipe:") if self.spec.startswith("recipe:") else ""


@dataclass(frozen=True)
class Scale:
    """The paper's design at one size.

    Attributes:
        encoders: groups of encoders by name; a part names groups.
        tasks: groups of tasks: the name that ``virb evaluate`` takes -> the paper's. "suite:NAME" stands for a suite.
        recipe: the recipe's file in pretrain/recipes that makes those with a "recipe:" spec.
        facts: which tasks and data sets stand for what (see :class:`Evidence`).
        label: what is said beside every answer: "of the mini world".
        input_px: side of the images that encoders see, for the cost.
        embedding: numbers of an embedding; ``card``: what hours are stated for (virb/papers/cost.py).
        places: folders below the data folder that sets of end tasks lie in, where the user places them nowhere else.
        is_of_parts: an end task runs on what is there of its published set, however much that is.
    """

    encoders: Mapping[str, tuple[Member, ...]]
    tasks: Mapping[str, Mapping[str, str]]
    recipe: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    input_px: int = 224
    embedding: int = 2048
    card: str = "one H100"
    places: Mapping[str, str] = field(default_factory=dict)
    is_of_parts: bool = False

    def placed(self, context: DataContext) -> DataContext:
        """Return ``context`` with those of the scale's own places that are there."""
        if context.root is None:
            return context
        own = {name: context.root / folder for name, folder in self.places.items() if (context.root / folder).is_dir()}
        return replace(context, places={**own, **context.places}, asked=context.asked | set(own))

    def members(self, groups: tuple[str, ...] | None = None) -> list[Member]:
        """The encoders of some groups (all by default), each once."""
        wanted = self.encoders if groups is None else groups
        return list({member.name: member for group in wanted for member in self.encoders.get(group, ())}.values())


@dataclass(frozen=True)
class Part:
    """A table or a figure of the paper, made by an analysis; or why it is not.

    Attributes:
        name: "table1", "figure5".
        title: what it shows.
        where: "Figure 5".
        analysis, options: what draws it, of the scores of these encoders and tasks.
        encoders, tasks: names of groups of the scale.
        table: the published table that its cells are compared with; empty where there are no numbers.
        protocol: what the paper did that a record can be asked: probe, labels, input_size, seeds.
        needs: what must be given besides, in words: "the class hierarchy as a CSV".
        why_not: why there is no command.
    """

    name: str
    title: str
    where: str
    analysis: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    encoders: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    table: str = ""
    protocol: Mapping[str, Any] = field(default_factory=dict)
    needs: str = ""
    why_not: str = ""
    scales: tuple[str, ...] = ("full", "mini")
    scale_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def options_at(self, scale: str) -> dict[str, str]:
        """The analysis's options at a scale."""
        return {**self.options, **self.scale_options.get(scale, {})}


@dataclass(frozen=True)
class Paper:
    """A paper. ``file`` is ``__file__`` of the file that declares it: its tables lie in ``tables`` beside it.

    ``facts`` and ``missing`` are of its own tables (see :class:`Evidence`); ``probes`` says which probes of ours ask what it
    calls "linear", "fine-tuned", ....
    """

    name: str
    summary: str
    citation: str
    file: str
    tables: tuple[Published, ...]
    parts: tuple[Part, ...]
    claims: tuple[Claim, ...]
    scales: Mapping[str, Scale]
    facts: Mapping[str, Any] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    probes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where its published tables lie."""
        return Path(self.file).with_name("tables")

    def published(self) -> Evidence:
        """The paper's own tables, in tidy form."""
        frames = {table.name: table.read(self.folder) for table in self.tables}
        return Evidence(frames, self.facts, self.missing)

    def part(self, name: str) -> Part:
        """Return a part. Raises RegistryError: there is none; the text lists them."""
        return _named(self.parts, name, f"{self.name} has no part")

    def table(self, name: str) -> Published:
        """Return a published table. Raises RegistryError: there is none."""
        return _named(self.tables, name, f"{self.name} has no published table")

    def scale(self, name: str) -> Scale:
        """Return a scale. Raises RegistryError: there is none."""
        if name not in self.scales:
            raise RegistryError(f"{self.name} has no scale {name!r}; it has {', '.join(self.scales)}.")
        return self.scales[name]

    def problems(self) -> Iterator[str]:
        """Yield what contradicts itself: names used twice, groups and tables that are not there."""
        for what in ("tables", "parts", "claims"):
            names = [item.name for item in getattr(self, what)]
            for name in sorted({name for name in names if names.count(name) > 1}):
                yield f"{what}: {name!r} is there twice"
        known = {table.name for table in self.tables}
        for part in self.parts:
            if bool(part.analysis) == bool(part.why_not):
                yield f"part {part.name}: expected an analysis, or why there is none"
            if part.table and part.table not in known:
                yield f"part {part.name}: there is no published table {part.table!r}"
            for scale in set(part.scales) & set(self.scales):
                if not part.why_not:
                    for kind, groups in (("encoders", part.encoders), ("tasks", part.tasks)):
                        for group in groups:
                            if group not in getattr(self.scales[scale], kind):
                                yield f"part {part.name}: the scale {scale} has no group of {kind} {group!r}"
        for claim in self.claims:
            for table in claim.tables:
                if table not in known and table not in self.missing and table not in {p.name for p in self.parts}:
                    yield f"claim {claim.name}: there is no table {table!r}"


_Item = TypeVar("_Item", Published, Part)


def _named(items: tuple[_Item, ...], name: str, what: str) -> _Item:
    for item in items:
        if item.name == name:
            return item
    raise RegistryError(f"{what} {name!r}; it has {', '.join(item.name for item in items)}.")

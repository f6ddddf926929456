"""Which names a figure draws where there are more than it has room for: one rule for all analyses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from virb.figures.colours import GREY
from virb.figures.look import now

MOST = 60  # rows that a page has room for


@dataclass(frozen=True)
class Rows:
    """Names that are drawn, in order; ``skipped[k]`` names stand between the ``k``-th and the one before it and are not."""

    names: list[str]
    skipped: dict[int, int]
    note: str

    @property
    def places(self) -> list[float]:
        """Where each name's row lies, from 0: a row is left free where names are left out."""
        return [float(k + sum(at <= k for at in self.skipped)) for k in range(len(self.names))]

    @property
    def n_rows(self) -> int:
        """Rows that a figure needs, with those left free."""
        return len(self.names) + len(self.skipped)

    @property
    def free(self) -> dict[float, int]:
        """The rows left free, and how many names each stands for."""
        places = [*self.places, float(self.n_rows)]
        return {places[at] - 1: count for at, count in self.skipped.items()}

    def label_rows(self, axes: Axes, labels: Sequence[str] | None = None, *, size: float = 6.5) -> None:
        """Write the names (or ``labels`` for them) beside their rows, the first at the top, and how many are left out."""
        free = self.free
        axes.set_yticks(
            [*self.places, *free],
            [*(self.names if labels is None else labels), *(f"⋮ {n:,} more" for n in free.values())],
            fontsize=size if self.n_rows <= 30 else min(size, 6),
        )
        for label in axes.get_yticklabels()[len(self.names) :]:
            label.set_color(GREY)
        axes.set_ylim(self.n_rows - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)


def choose(
    names: Iterable[object],
    *,
    named: Iterable[object] = (),
    most: int = MOST,
    what: str = "",
    drawn_as: Iterable[object] | None = None,
) -> Rows:
    """Choose names that a figure has room for: all, or of ``names`` in order the first two thirds of ``most``, the last
    third, and those ``named`` (by the analysis, or with ``--show``) wherever they stand.

    ``what`` the names are ("encoders") is said where not all are drawn. ``drawn_as`` are the same names in the order in which
    they are drawn, where that is another than the one they are chosen by; no row is then left free.

    >>> chosen = choose(range(100), named=[50], most=4, what="tasks")
    >>> chosen.names, chosen.skipped
    (['0', '1', '50', '99'], {2: 48, 3: 48})
    >>> chosen.note
    'The first 2, the last and 1 named of 100 tasks are drawn; the table has all. '
    """
    order = [str(name) for name in names]
    drawn = order if drawn_as is None else [str(name) for name in drawn_as]
    if len(order) <= most:
        return Rows(drawn, {}, "")
    asked = set(map(str, (*named, *now().show)))
    at = [k for k, name in enumerate(order) if name in asked]
    last = max(1, (most - len(at)) // 3)
    first = max(1, most - len(at) - last)
    between = [k for k in at if first <= k < len(order) - last]
    kept = [*range(first), *between, *range(len(order) - last, len(order))]
    skipped = {at: kept[at] - kept[at - 1] - 1 for at in range(1, len(kept)) if kept[at] - kept[at - 1] > 1}
    parts = [f"the first {first}" if first > 1 else "the first", f"the last {last}" if last > 1 else "the last"]
    parts += [f"{len(between)} named"] if between else []
    counted = f"{', '.join(parts[:-1])} and {parts[-1]}"
    note = f"{counted} of {len(order):,}{f' {what}' if what else ''} are drawn; the table has all. "
    note = note[0].upper() + note[1:]
    if drawn_as is not None:
        those = {order[k] for k in kept}
        return Rows([name for name in drawn if name in those], {}, note)
    return Rows([order[k] for k in kept], skipped, note)

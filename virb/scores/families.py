"""Which encoders count as one: the families that somebody declared, and how p over them came about, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from virb.contracts.analysis import Option, names_in_words
from virb.contracts.tables import Notes
from virb.errors import UsageError
from virb.scores.schema import as_words, encoder_table
from virb.stats.correlation import CorrelationMatrix
from virb.stats.exact import EXACT_UP_TO
from virb.stats.families import MIN_FAMILIES

FAMILY = Option(
    "family",
    "",
    "Column whose groups count as one where encoders must be independent; the declared families (column family, else "
    "method) if not given; none counts every encoder.",
)


@dataclass(frozen=True)
class Families:
    """Which encoders are not independent of each other: a label an encoder, and the column that says it.

    ``labels`` is None where every encoder is counted: none is declared, each is a family of its own, or all are of fewer
    than three, across which nothing can be said; ``warning`` then says what is wrong with that. ``members`` is a table of
    encoder and family, where families were found.
    """

    labels: list[str] | None
    column: str
    n: int
    warning: str = ""
    members: pd.DataFrame | None = None

    @property
    def among(self) -> str:
        """`` of 6 families (method)``, or nothing where encoders are counted."""
        return f" of {self.n} families ({self.column})" if self.labels is not None else ""


def declared_families(
    frame: pd.DataFrame, encoders: Sequence[Any], notes: Notes, *, column: str = "", besides: Sequence[str] = ()
) -> Families:
    """The families of ``encoders`` as the option ``FAMILY`` asks for them; what nothing is said of is named.

    ``besides``: columns by whose values the encoders are compared, and which are therefore no families unless asked for; where
    the column family itself is among them, every encoder is counted.

    Raises:
        UsageError: there is no such column.
    """
    about = encoder_table(frame)
    if column == "none" and "none" not in about:
        return Families(None, "", len(encoders))
    if column and column not in about:
        raise UsageError(f"family={column!r} is no column of the scores; they have {names_in_words(list(about), 12)}.")
    usual = [] if "family" in besides else [name for name in ("family", "method") if name not in besides]
    columns = [column] if column else [name for name in usual if name in about]
    if not columns:
        return Families(None, "", len(encoders))
    given = about.loc[list(encoders), columns].bfill(axis=1).iloc[:, 0]
    # Only what is needed to name every encoder's family is named.
    name = columns[0] if about.loc[list(encoders), columns[0]].notna().all() else " or ".join(columns)
    # An encoder of no known family must not share one with another, nor with a family of its own name.
    known = "known " + as_words(given)
    labels = known.where(given.notna(), "alone " + given.index.to_series())
    n = labels.nunique()
    if n == len(labels):
        return Families(None, name, n)
    if given.isna().any():
        notes.say(
            f"no {name} is given for {names_in_words(list(given.index[given.isna()]))}: each is a family of its own"
        )
    members = as_words(given, missing="").rename("family").rename_axis("encoder").reset_index()
    if n < MIN_FAMILIES:
        warning = (
            f"all are of {n} famil{'y' if n == 1 else 'ies'} ({name}), so that p and intervals, which count encoders, are "
            "too small"
        )
        return Families(None, name, n, warning, members)
    return Families(labels.tolist(), name, n, members=members)


def basis_of(result: CorrelationMatrix, families: Families) -> str:
    """What p and intervals count, and what is wrong with that where something is."""
    if families.warning:
        return families.warning
    if families.labels is None:
        exact = "p from all orders" if result.n <= EXACT_UP_TO else "p by Student's t"
        alone = "" if families.column else ", no family being declared"
        return f"{exact}, encoders counted as independent{alone}"
    if result.interval == "bootstrap":
        few = "with fewer than 10 both are too small, and unrelated tasks look related"
        many = "both are too small (unrelated tasks at p < .05: one in ten); interval=jackknife holds"
        return f"p and intervals from resampling {families.n} families ({families.column}) whole; {few if families.n < 10 else many}"
    few = f", whose sizes make them {result.effective_families:.1f} in effect: too few for p to be trusted"
    return f"p and intervals from leaving out each of {families.n} families ({families.column})" + few * (
        result.effective_families < 3
    )

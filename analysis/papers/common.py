"""What the claims of several papers share: tidy tables to matrices, and verdicts from intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from virb.contracts.paper import FAILS, HOLDS, UNTOLD, Answer, NotThere
from virb.stats.claims import effective_encoders, mean_interval, redrawn, side

#: What papers call a protocol -> the probes of ours that ask the same.
PROBES = {"linear": ("gradient", "lbfgs"), "gradient": ("gradient",), "fine-tuned": ("finetune",), "knn": ("knn",)}
#: The encoders of pretrain/recipes/photos.yaml: what is said beside their answers, their sets and the task of each set.
OF_PHOTOGRAPHS = "of small photographs: CIFAR-10 and a fifth of Tiny ImageNet at 32 px, quarter-width ResNet-18s"
HOMES = {"hammoud-tiny-imagenet": "tiny-imagenet-32", "simclr-cifar-10": "cifar10"}
PLACES = {"tiny-imagenet": "tiny-imagenet-32", "cifar-10": "cifar10"}  # of the tasks' sets, below the data folder
EVERY_SCALE = ("full", "mini", "photos")  # of a part
#: A correlation that is called strong, or of which one predicts the other.
STRONG = 0.5
SURE = 0.95  # of redrawn tables that must agree


def told(side: int) -> str:
    """The verdict for an interval that lies above (1), below (-1) or around what the sentence says."""
    return {1: HOLDS, -1: FAILS, 0: UNTOLD}[side]


def unsure_of_readings(answer: Answer, share: float | None) -> Answer:
    """``answer``, or that it cannot be told where fewer than 95 % of tables redrawn within the reading error agree."""
    if share is None:  # no reading has an error
        return answer
    note = f" {100 * share:.0f} % of tables redrawn within the reading error agree."
    verdict = answer.verdict if share >= SURE else UNTOLD
    return Answer(**{**vars(answer), "verdict": verdict, "why": answer.why + note})


def wide(frame: pd.DataFrame, index: str = "encoder", columns: str = "task") -> pd.DataFrame:
    """Mean score by ``index`` and ``columns``, in the table's order."""
    return frame.pivot_table(index=index, columns=columns, values="score", sort=False)


def one_a_design(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with encoders that differ in the seed of pretraining alone (column ``repeat``) as one, named as its first."""
    if "repeat" not in frame:
        return frame
    first = frame.dropna(subset=["repeat"]).drop_duplicates("repeat").set_index("repeat")["encoder"]
    return frame.assign(encoder=frame["repeat"].map(first).fillna(frame["encoder"]))


def about(frame: pd.DataFrame, column: str, of: str = "encoder") -> pd.Series:
    """The value of ``column`` for each encoder (or task); NaN where it is not said."""
    if column not in frame:
        return pd.Series(np.nan, index=frame[of].unique(), dtype=object)
    return frame.drop_duplicates(of).set_index(of)[column]


def self_supervised(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of self-supervised encoders. Raises NotThere: there are none."""
    found = frame[frame["role"].eq("self-supervised")] if "role" in frame else frame[:0]
    if found.empty:
        raise NotThere("No encoder is declared self-supervised.")
    return found


def families(frame: pd.DataFrame, encoders: Sequence[str]) -> tuple[list[str], str]:
    """The family of each encoder for resampling, and how to call them; encoders themselves where fewer than three
    families are declared.
    """
    for column in ("family", "method"):
        found = about(frame, column).reindex(list(encoders))
        if found.notna().all() and found.nunique() >= 3:
            return [str(value) for value in found], "families" if column == "family" else "methods"
    return [str(name) for name in encoders], "encoders"


@dataclass(frozen=True)
class Grid:
    """Scores of E encoders on T tasks as an array, with what is known of both; claims compute on the array.

    ``of`` says what ``groups`` (one label an encoder) are: families, methods, or encoders where fewer than three are known.
    """

    values: np.ndarray
    error: np.ndarray
    doubtful: np.ndarray
    encoders: list[str]
    tasks: list[str]
    category: np.ndarray
    is_self: np.ndarray
    supervised: int | None
    groups: list[str]
    of: str
    n_methods: list[int]

    @property
    def rows(self) -> np.ndarray:
        """The self-supervised encoders' rows."""
        return np.flatnonzero(self.is_self)

    @property
    def reach(self) -> str:
        """What an interval over these encoders speaks of."""
        return "encoders like these" if self.of != "encoders" else "these encoders"

    @property
    def caution(self) -> str:
        """What must be said where encoders are counted although they may be of few families."""
        if self.of != "encoders":
            return ""
        sizes = self.n_methods or [14, 14, 1, 1]
        said = "Their methods are not published" if not self.n_methods else f"They are of {len(sizes)} methods"
        worth = effective_encoders(sizes, 2 / 3)
        return (
            f" {said}: counted as independent here. With two thirds of the variance between methods they are worth about "
            f"{worth:.0f}, so that of other encoders nothing follows."
        )

    def task(self, name: str) -> int:
        """The column of a task. Raises NotThere: it is not among them."""
        if name not in self.tasks:
            raise NotThere(f"There are no scores of {name}.")
        return self.tasks.index(name)

    def reference(self) -> int:
        """The supervised encoder's row. Raises NotThere: there is not exactly one."""
        if self.supervised is None:
            raise NotThere("Exactly one supervised encoder (or the seeds of one) must be declared to compare with.")
        return self.supervised

    def agreement(self, ask: Callable[[np.ndarray], object]) -> float | None:
        """The share of tables redrawn within the readings' error for which ``ask`` (of the array) answers alike; None without error."""
        if not (self.error > 0).any():
            return None
        shape = self.values.shape
        return redrawn(
            lambda moved: ask(moved.reshape(shape)), self.values.ravel(), self.error.ravel(), doubtful=self.doubtful.ravel(),
            draws=60,
        )  # fmt: skip


def grid(frame: pd.DataFrame) -> Grid:
    """Return a tidy table as a grid: repeats and seeds averaged, encoders and tasks in the table's order."""
    frame = one_a_design(frame)
    x = wide(frame)

    def matrix(column: str) -> np.ndarray:
        if column not in frame:
            return np.zeros(x.shape)
        found = frame.assign(score=frame[column].astype(float)).pivot_table(
            index="encoder", columns="task", values="score", sort=False
        )
        return found.reindex(index=x.index, columns=x.columns).fillna(0.0).to_numpy()

    role = about(frame, "role").reindex(x.index)
    supervised = np.flatnonzero(role.eq("supervised").to_numpy())
    is_self = role.eq("self-supervised").to_numpy()
    own = [name for name, keep in zip(x.index, is_self, strict=True) if keep]
    groups, of = families(frame, own)
    method = about(frame, "method").reindex(own).dropna()
    return Grid(
        x.to_numpy(), matrix("error"), matrix("uncertain") > 0, [str(n) for n in x.index], [str(n) for n in x.columns],
        about(frame, "category", "task").reindex(x.columns).fillna("").to_numpy(str), is_self,
        int(supervised[0]) if len(supervised) == 1 else None, groups, of, list(method.value_counts()),
    )  # fmt: skip


def correlations(x: np.ndarray, j: int) -> np.ndarray:
    """(T,) Pearson's r of every column with column ``j``, rows with a missing value left out by pairs."""
    y = x[:, [j]]
    there = np.isfinite(x) & np.isfinite(y)
    a, b = np.where(there, x, np.nan), np.where(there, y, np.nan)
    a, b = a - np.nanmean(a, axis=0), b - np.nanmean(b, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.nansum(a * b, axis=0) / np.sqrt(np.nansum(a * a, axis=0) * np.nansum(b * b, axis=0)))


def components(dataset: object) -> frozenset[str]:
    """The sets that a pooled data set is made of: "A:0.5+B:0.5" and "A+B" are A and B."""
    return frozenset(part.partition(":")[0].strip() for part in str(dataset).split("+"))


def melted(frame: pd.DataFrame, ids: Sequence[str], tasks: Mapping[str, str] | Sequence[str]) -> pd.DataFrame:
    """Columns of tasks as rows: ``ids`` are kept, ``tasks`` maps columns to the names of tasks."""
    names = tasks if isinstance(tasks, Mapping) else {name: name for name in tasks}
    out = frame[[*ids, *names]].rename(columns=dict(names))
    return out.melt(list(ids), var_name="task", value_name="score").dropna(subset=["score"])


def points(value: float) -> str:
    """A difference of fractions in points: +1.5."""
    return f"{100 * value:+.1f}"


def of_units(
    values: Sequence[float], why: str, of: str, unit: str, *, at: float = 0.0, above: bool = True, reach: str = "", p: float | None = None
) -> Answer:  # fmt: skip
    """The answer of a mean over independent units: Student's interval against ``at``, which the sentence puts it above (or below).

    ``reach`` is what the units are a sample of; by default "OF like these".
    """
    mean, low, high = mean_interval(values)
    found = side(low, high, at)
    return Answer(
        told(found if above else -found),
        why,
        len(list(values)),
        of,
        mean,
        low,
        high,
        unit,
        p,
        about=reach or f"{of} like these",
    )


def of_cells(
    gaps: Sequence[float], error: float, why: str, of: str, unit: str, *, most: int = 0, p: float | None = None
) -> Answer:
    """The answer of a sentence about these very cells: it says that all ``gaps`` are positive (but ``most`` of them).

    ``error`` is how far a gap of two printed numbers may be from the one behind them: gaps within it can be either.
    """
    g = np.asarray(gaps, float)
    surely, maybe = int((g > error).sum()), int((g >= -error).sum())
    need = len(g) - most
    verdict = HOLDS if surely >= need else FAILS if maybe < need else UNTOLD
    return Answer(
        verdict, why, len(g), of, float(g.mean()), float(g.min()), float(g.max()), f"{unit} (least to most)", p
    )

"""What is told about an encoder beside its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class MatchReport:
    """Where in a checkpoint the weights were, and what was left aside."""

    container: (
        str  # the dicts they were found in, "state_dict" or "classy_state_dict/base_model/model/trunk"; "" if flat
    )
    prefix: str  # what stood before every name, "module.encoder_q."
    dropped: Mapping[str, int] = field(default_factory=dict)  # part -> how many tensors
    alternatives: tuple[str, ...] = ()  # other places that would have matched
    layout: str = ""  # the published layout that it was read as; "" if the names were the architecture's own
    notes: tuple[str, ...] = ()  # what was assumed or chosen where the file does not decide

    @property
    def place(self) -> str:
        return f"{self.container}/{self.prefix}" if self.container else self.prefix

    @property
    def is_news(self) -> bool:
        """Whether anything but the classifier was left aside, or anything was assumed: all that a reader should hear of."""
        return bool(self.prefix or self.container or self.layout or self.notes or self.dropped or self.alternatives)

    def as_dict(self) -> dict[str, object]:
        """Return what a record keeps, in words of JSON; what there is nothing of is left out."""
        said = {
            "place": self.place,
            "layout": self.layout,
            "dropped": dict(self.dropped),
            "assumed": list(self.notes),
            "alternatives": list(self.alternatives),
        }
        return {key: value for key, value in said.items() if value}

    def __str__(self) -> str:
        text = f"weights from {self.place!r}" if self.place else "weights from the top of the file"
        if self.layout:
            text += f" in the layout of {self.layout}"
        if self.notes:
            text += "; " + "; ".join(self.notes)
        if self.dropped:
            text += "; dropped " + ", ".join(f"{part} ({n})" for part, n in self.dropped.items())
        if self.alternatives:
            text += "; would have matched too: " + ", ".join(map(repr, self.alternatives))
        return text

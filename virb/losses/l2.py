"""Half the squared error."""

from __future__ import annotations

from virb.contracts.loss import Loss
from virb.losses.numbers import of_errors

LOSS = Loss(
    name="l2",
    summary="half the squared error of a number",
    takes=frozenset({"number", "map"}),
    total=of_errors(lambda error: error.square() / 2),
)

"""What the end tasks of Hammoud et al. 2024 share: linear probes by solo-learn (Section 4, Supplement E)."""

from __future__ import annotations

from virb.contracts.task import Protocol

#: solo-learn evaluates on the shorter side at 8/7 of the size and a centre crop: a square of 87.5 % of the shorter side.
PROTOCOL = Protocol(epochs=100, batch_size=256, optimizer="sgd", lr=0.1, resize="crop", resize_share=0.875)
#: Sets of small square images go in whole.
SMALL = Protocol(epochs=100, batch_size=256, optimizer="sgd", lr=0.1, resize="crop")
DEVIATIONS = (
    (
        "The paper names solo-learn and no settings of the linear probe; here SGD at .1 for 100 epochs on embeddings, while "
        "solo-learn trains on random crops and steps its rate down."
    ),
)

"""A linear classifier as Cole et al. 2022, Appendix C.2, train it: on frozen embeddings, without augmentation.

90 epochs of SGD with Nesterov momentum, batches of 1,024, a learning rate of 0.1 x batch size / 256 = 0.4 that falls to 0
by half a cosine, no weight decay. Their momentum is not printed; it is 0.9 here. Their images, the centre square of 87.5 %
of the shorter side, are a matter of the task (``Protocol(resize="crop", resize_share=0.875)``, as in the suite ``cole``).
"""

from __future__ import annotations

from virb.contracts.probe import FORWARD_OPTIONS, TRAINING_OPTIONS, Probe
from virb.contracts.task import Protocol
from virb.probes import gradient

PROBE = Probe(
    name="linear_sgd",
    summary="the task's head by SGD with Nesterov momentum and a cosine, batches of 1,024",
    takes=frozenset({"class", "labels", "number"}),
    fit=gradient.fit,
    options=frozenset({*TRAINING_OPTIONS, *FORWARD_OPTIONS}),
    together=True,
    trains_head=True,
    protocol=Protocol(epochs=90, batch_size=1024, optimizer="nesterov", lr=0.4, schedule="cosine"),
)

"""Attentive probing: one learned query pools the cells of the last map, where the task's own head reads the embedding.

Everything else is the gradient probe's (:mod:`virb.heads.attentive_pool` has the head and its source): the task's protocol, on
cached features. Of a transformer the cells are its patch tokens, so that networks whose class token was never trained, such
as masked autoencoders, are read where they have something to say.
"""

from __future__ import annotations

from virb.contracts.probe import FORWARD_OPTIONS, TRAINING_OPTIONS, Probe
from virb.heads.attentive_pool import HEAD as ATTENTIVE
from virb.probes import gradient

PROBE = Probe(
    name="attentive",
    summary="a learned query that pools the cells of the last map, and a linear layer",
    takes=frozenset({"class", "labels", "number"}),
    fit=gradient.fit,
    options=frozenset({*TRAINING_OPTIONS, *FORWARD_OPTIONS}),
    head=ATTENTIVE.name,
    together=True,
    trains_head=True,
)

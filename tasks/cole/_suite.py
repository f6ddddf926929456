"""What the end tasks of Cole et al. 2022 share (Appendix C.2)."""

from __future__ import annotations

from virb.contracts.task import Protocol

#: A centre square of 87.5 % of the shorter side; SGD at .1 for each 256 images of a batch, 90 epochs.
PROTOCOL = Protocol(epochs=90, batch_size=1024, optimizer="sgd", lr=0.4, resize="crop", resize_share=0.875)
HOW = (
    "For the accuracy at WordNet's levels, WordNet 3.0's data.noun too: Debian's wordnet-base, NLTK's corpus wordnet, or "
    "a folder named by --data wordnet=DIR."
)
DEVIATIONS = (
    "The paper's SGD has Nesterov momentum and a cosine schedule; the gradient probe's has plain momentum .9 and one rate.",
    "Images are resized by bilinear interpolation with antialiasing; the paper does not say how.",
)

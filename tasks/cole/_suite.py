"""What the end tasks of Cole et al. 2022 share (Appendix C.2)."""

from __future__ import annotations

from virb.contracts.task import Protocol

#: A centre square of 87.5 % of the shorter side; Nesterov's momentum at .1 for each 256 images of a batch, 90 epochs, cosine.
PROTOCOL = Protocol(
    epochs=90, batch_size=1024, optimizer="nesterov", lr=0.4, schedule="cosine", resize="crop", resize_share=0.875
)
HOW = (
    "For the accuracy at WordNet's levels, WordNet 3.0's data.noun too: Debian's wordnet-base, NLTK's corpus wordnet, or "
    "a folder named by --data wordnet=DIR."
)
DEVIATIONS = ("Images are resized by bilinear interpolation with antialiasing; the paper does not say how.",)

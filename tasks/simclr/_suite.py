"""What SimCLR's twelve end tasks share (Chen et al. 2020, Appendix B.8)."""

from __future__ import annotations

from virb.contracts.task import Protocol

#: The shorter side to the encoder's size and a centre crop; ``--probe lbfgs`` is the paper's classifier.
PROTOCOL = Protocol(epochs=100, batch_size=64, resize="crop")
DEVIATIONS = (
    (
        "The paper fits logistic regression by L-BFGS, its penalty chosen on a validation part: --probe lbfgs. The default "
        "probe trains the same linear layer by Adam for 100 epochs, as the virb suite does."
    ),
    "Images are resized by bilinear interpolation with antialiasing; the paper says bicubic.",
)

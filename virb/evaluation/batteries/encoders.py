"""What an encoder must do, whatever it is: load, give finite rows of one length, each image's alone, the same each time."""

from __future__ import annotations

import numpy as np

from virb.errors import VirbError
from virb.evaluation.batteries.common import Checks, must
from virb.evaluation.validation import Check
from virb.networks.encoder import FrozenEncoder

N = 5
TOLERANCE = 1e-3  # of the largest value: batches of another size add up in another order


def check_encoder(source: str) -> list[Check]:
    """Return the checks of the encoder that ``source`` names; where it does not load, that is the only one."""
    from virb.convert.load import load_encoder

    try:
        encoder = load_encoder(source)
    except VirbError as error:
        return [Check("it loads", False, str(error))]
    about = f"{encoder.name}: {encoder.arch}, {encoder.dim} numbers an image of {encoder.preprocess.size} pixels"
    found = [Check("it loads", True, about)]
    for name, look in encoder_checks(encoder):
        try:
            found.append(Check(name, True, look() or ""))
        except Exception as error:  # whatever a network does is what is being asked
            found.append(
                Check(name, False, str(error) if isinstance(error, VirbError) else f"{type(error).__name__}: {error}")
            )
    return found


def encoder_checks(encoder: FrozenEncoder) -> Checks:
    """The checks of a loaded encoder."""
    size = encoder.preprocess.size
    images = np.random.default_rng(0).integers(0, 256, (N, size, size, 3), dtype=np.uint8)

    def embed(rows: np.ndarray) -> np.ndarray:
        return encoder.embed(list(rows)).float().cpu().numpy()

    def is_finite() -> str:
        rows = embed(images)
        must(rows.shape == (N, encoder.dim), f"{N} images gave {rows.shape}; expected {(N, encoder.dim)}.")
        must(bool(np.isfinite(rows).all()), "an embedding holds NaN or infinity.")
        return f"{N} rows of {encoder.dim}, from {rows.min():.3g} to {rows.max():.3g}"

    def looks() -> str:
        rows = embed(images)
        spread = float(rows.std(axis=0).max())
        must(spread > 0, "five different images have one and the same embedding.")
        return f"the number that varies most does so by {spread:.3g} (sd)"

    def is_alone() -> str:
        rows, alone = embed(images), embed(images[:1])[0]
        gap = float(np.abs(rows[0] - alone).max() / max(np.abs(rows).max(), 1e-12))
        must(gap < TOLERANCE, f"alone an image has another embedding than among others (by {gap:.2g} of the largest value): "
                              "does the network use the batch's statistics?")  # fmt: skip
        return f"within {gap:.1g} of the largest value"

    def is_still() -> str:
        must(
            bool((embed(images) == embed(images)).all()),
            "the same images twice have different embeddings: is something drawn at random?",
        )
        return "to the bit"

    def declared() -> str:
        role = str(encoder.meta.get("role") or "unknown")
        hint = "; declare it with :role=supervised, self-supervised, ..." if role == "unknown" else ""
        maps = (
            f"maps at strides {', '.join(map(str, encoder.strides))}"
            if encoder.channels
            else "no maps: image-level tasks only"
        )
        return f"role {role}{hint}; {maps}"

    return [
        ("embeddings are finite and of one length", is_finite),
        ("different images have different embeddings", looks),
        ("an image's embedding does not depend on the others", is_alone),
        ("the same images give the same embeddings", is_still),
        ("what it is", declared),
    ]

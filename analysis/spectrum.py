"""How many dimensions an encoder uses: eigenvalues of the covariance of its embedding, or of a projection matrix.

Chen et al. 2020, Appendix B.3 and Figure B.3: the projection's matrix is nearly low-rank. With a checkpoint and the
name of one of its matrices, its singular values are drawn beside. Effective rank is exp of the entropy of the shares
(Roy and Vetterli).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.errors import UsageError
from virb.features.activations import (
    DEVICE,
    ENCODERS,
    IMAGES,
    N_IMAGES,
    embedded,
    in_blocks,
    load_encoders,
    open_images,
)
from virb.stats.distances import Moments

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy import ndarray
    from pandas import DataFrame, Series


def compute(
    scores: DataFrame | None,
    notes: Notes,
    *,
    encoders: tuple[str, ...],
    images: str,
    n: int,
    checkpoint: str,
    tensor: str,
    device: str,
) -> Tables:
    """A row an eigenvalue (or singular value)."""
    import numpy as np
    import pandas as pd

    spectra: dict[str, ndarray] = {}
    note = ""
    if checkpoint:
        spectra[tensor or "matrix"] = _singular_values(checkpoint, tensor)
    if encoders or not checkpoint:
        loaded = load_encoders(encoders, device)
        chosen = open_images(images, n=n)
        note = f"n = {len(chosen)} images of {chosen.name}."
        for encoder, found in zip(loaded, embedded(loaded, chosen), strict=True):
            moments = Moments(encoder.dim)
            for part in in_blocks(found):
                moments.add(part)
            spectra[encoder.name] = np.clip(np.linalg.eigvalsh(moments.covariance)[::-1], 0, None)
            if len(chosen) <= encoder.dim:
                notes.say(
                    f"{encoder.name}: {len(chosen)} images span at most {len(chosen) - 1} of {encoder.dim} dimensions"
                )
    if not spectra:
        raise NotApplicable("It needs encoders and images, or a checkpoint and the name of a matrix in it.")
    rows = []
    for name, values in spectra.items():
        share = values / values.sum()
        rows += [(name, k + 1, v, s) for k, (v, s) in enumerate(zip(values, share, strict=True))]
    return Tables({"": pd.DataFrame(rows, columns=["name", "index", "value", "share"])}, note=note)


def _rank(share: Series) -> float:
    """exp of the entropy of the shares."""
    import numpy as np

    positive = share[share > 0]
    return float(np.exp(-np.sum(positive * np.log(positive))))


def say(tables: Tables) -> list[str]:
    import numpy as np

    lines = []
    for name, part in tables[""].groupby("name", sort=False):
        half = int(np.searchsorted(np.cumsum(part["share"]), 0.9) + 1)
        lines.append(
            f"{name}: effective rank {_rank(part['share']):.1f} of {len(part)}; 90% of the sum in the first {half}"
        )
    return lines


def draw(tables: Tables) -> dict[str, Figure]:
    import numpy as np

    from virb.figures import plots

    spectra = {str(name): part for name, part in tables[""].groupby("name", sort=False)}
    shades = plots.palette(spectra)
    with plots.style():
        fig = plots.figure(plots.COLUMN, 2.0)
        axes = fig.add_subplot()
        for name, part in spectra.items():
            values = part["value"].to_numpy()
            positive = values[values > values[0] * 1e-9]
            axes.plot(np.arange(1, len(positive) + 1), positive / positive[0], color=shades[name])
        axes.set_yscale("log")
        axes.set_xlabel("index")
        axes.set_ylabel("eigenvalue / largest")
        axes.grid()
        handles = plots.colour_handles({f"{k} (rank {_rank(p['share']):.0f})": shades[k] for k, p in spectra.items()})
        note = f"Rank: exp of the entropy of the shares. {tables.facts['note']}"
        plots.titles(fig, "Spectrum", note, handles=handles)
    return {"": fig}


def _singular_values(path: str, key: str) -> ndarray:
    import numpy as np

    from virb.convert.load import read_checkpoint

    found: dict[str, ndarray] = {}

    def walk(value, name: str) -> None:  # type: ignore[no-untyped-def]
        if isinstance(value, dict):
            for part, inner in value.items():
                walk(inner, f"{name}.{part}" if name else str(part))
        elif hasattr(value, "ndim") and value.ndim == 2:
            found[name] = np.asarray(value.detach().cpu().float() if hasattr(value, "detach") else value, float)

    walk(read_checkpoint(path), "")
    if key not in found:
        raise UsageError(
            f"{path} has no matrix {key!r}; its matrices are {names_in_words(sorted(found), 12) or 'none'}."
        )
    return np.linalg.svd(found[key], compute_uv=False)


ANALYSIS = Analysis(
    name="spectrum",
    summary="How many dimensions an embedding, or a projection matrix, uses",
    source="Chen et al. 2020, Appendix B.3 and Figure B.3",
    compute=compute,
    draw=draw,
    say=say,
    needs_scores=False,
    options=(
        ENCODERS,
        IMAGES,
        N_IMAGES,
        Option("checkpoint", "", "File that holds a projection matrix."),
        Option("tensor", "", "Name of the matrix in it."),
        DEVICE,
    ),
)

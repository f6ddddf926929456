"""Load the encoders of a run, on the device and in the type that it asks for."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Sequence

from torch import nn

from virb import registry
from virb.convert.known import KnownEncoder, load_or_recall
from virb.errors import UsageError, VirbError
from virb.networks.encoder import FrozenEncoder
from virb.records.names import folded
from virb.system import devices

KEPT_BYTES = 2 << 30  # of networks that were read to learn what they are: more are read again when they have work

Source = str | os.PathLike[str] | FrozenEncoder | nn.Module


def load_encoders(
    encoders: Sequence[Source],
    device: str = "auto",
    *,
    dtype: str = "fp32",
    is_compiled: bool = False,
    problems: dict[int, str] | None = None,
) -> list[FrozenEncoder]:
    """Load every encoder; all that cannot be loaded are named in one error, before any work begins.

    With ``problems`` these are left out instead, and their places and reasons are put there; none left is an error still.

    ``dtype`` ("fp32", "tf32", "bf16", "fp16") is that of the forward pass; encoders that come loaded keep theirs under
    "fp32". They run on ``device`` wherever they were loaded, and the caller's stay as they are.
    """
    kind = devices.torch_dtype(dtype)
    if not encoders:
        raise UsageError("No encoder was named. Give files (encoders/*.pt) or names such as random:resnet18.")
    place = devices.resolve(device)
    loaded: list[FrozenEncoder] = []
    wrong: dict[int, str] = {}
    n_kept = 0
    for k, item in enumerate(encoders):
        try:
            encoder = item if isinstance(item, FrozenEncoder) else load_or_recall(item, device=place)
            if isinstance(encoder, KnownEncoder) and encoder is not item:
                n_kept += encoder.n_bytes
                if n_kept > KEPT_BYTES:
                    n_kept -= encoder.n_bytes
                    encoder.release_network()
            wanted = (place, encoder.dtype if dtype == "fp32" else kind)
            found = encoder if (encoder.device, encoder.dtype) == wanted else copy.copy(encoder).to(*wanted)
            loaded.append(found.compiled() if is_compiled else found)
            if encoder.report is not None and encoder.report.is_news:
                registry.say(f"{encoder.name}: {encoder.report}")
        except VirbError as error:
            wrong[k] = str(error)
    if wrong and (problems is None or not loaded):
        raise UsageError("\n".join(wrong.values()))
    if problems is not None:
        problems.update(wrong)
    names: dict[str, str] = {}
    times = Counter(encoder.name for encoder in loaded)
    for encoder in loaded:
        other = names.setdefault(folded(encoder.name), encoder.name)
        if other != encoder.name:
            raise UsageError(
                f"Two encoders are called {other!r} and {encoder.name!r}, which differ by case alone: on many file systems "
                "their results would be one folder. Rename one of the files."
            )
        if times[encoder.name] > 1:
            raise UsageError(
                f"Two encoders are called {encoder.name!r}; results are kept by name. Rename one of the files."
            )
    return loaded

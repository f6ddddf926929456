"""virb: a benchmark suite for visual representations.

The stable names below are loaded when first used, so that ``import virb`` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from virb import compat

__version__ = "0.1.0"

if TYPE_CHECKING:
    from virb.convert.load import load_encoder
    from virb.evaluation.run import evaluate
    from virb.networks.encoder import FrozenEncoder
    from virb.networks.wrap import wrap

_LAZY = {
    "FrozenEncoder": ("virb.networks.encoder", "FrozenEncoder"),
    "load_encoder": ("virb.convert.load", "load_encoder"),
    "wrap": ("virb.networks.wrap", "wrap"),
    "evaluate": ("virb.evaluation.run", "evaluate"),
    "stats": ("virb.stats", None),
    "ssl": ("virb.pretraining", None),
}
compat.install()
__all__ = ["FrozenEncoder", "__version__", "evaluate", "load_encoder", "wrap"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'virb' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    loaded = importlib.import_module(module)
    value = loaded if attribute is None else getattr(loaded, attribute)
    globals()[name] = value
    return value

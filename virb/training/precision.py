"""In which precision a sum is formed."""

from __future__ import annotations

import torch
from torch import Tensor


def widen(x: Tensor) -> Tensor:
    """Return half precision as float32, and every other type as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x

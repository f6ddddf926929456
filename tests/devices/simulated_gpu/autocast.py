"""What torch.autocast does to the simulated GPU's operations."""

from __future__ import annotations

from typing import Any

import torch

from simulated_gpu.tensors import NAME, SimTensor, mapped

LOW_PRECISION = "mm bmm addmm baddbmm mv matmul linear conv1d conv2d conv3d prelu"
FULL_PRECISION = """exp log pow.Tensor_Scalar softmax.int log_softmax.int layer_norm group_norm cumsum sum sum.dim_IntList prod
    linalg_vector_norm norm.ScalarOpt_dim nll_loss mse_loss l1_loss smooth_l1_loss kl_div rsqrt reciprocal cdist softplus
    cross_entropy_loss binary_cross_entropy_with_logits cosine_similarity"""


def casting(op: Any, is_low: bool) -> Any:
    """What autocast does to an operation: its floating-point device tensors in half precision, or in single."""

    def kernel(*args: Any, **kwargs: Any) -> Any:
        dtype = torch.get_autocast_dtype(NAME) if is_low else torch.float32

        def cast(t: torch.Tensor) -> torch.Tensor:
            is_cast = isinstance(t, SimTensor) and t.is_floating_point() and t.dtype != torch.float64
            return t.to(dtype) if is_cast else t

        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)):
            return op(*mapped(cast, args), **{k: mapped(cast, v) for k, v in kwargs.items()})

    return kernel


class Autocast(torch.amp.autocast_mode.autocast):
    def __init__(self, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: Any = None) -> None:
        is_ours = device_type == "cuda"
        super().__init__(
            NAME if is_ours else device_type, dtype or (torch.float16 if is_ours else None), enabled, cache_enabled
        )

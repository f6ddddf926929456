"""Compiling the encoders of a learner (torch.compile), where that can be done."""

from __future__ import annotations

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from virb.errors import UsageError
from virb.networks.base import Backbone
from virb.networks.token_encoder import TokenEncoder
from virb.pretraining.learner import Learner
from virb.system import devices
from virb.training import distributed


def compile_encoders(learner: Learner, device: torch.device) -> None:
    """Have the forward pass of every encoder in ``learner`` compiled when it is first used; names stay as they are.

    Raises:
        UsageError: nothing can be compiled here, or batch normalisation would have to wait for other processes.
    """
    encoders = [module for module in learner.modules() if isinstance(module, Backbone | TokenEncoder)]
    if distributed.world_size() > 1 and any(isinstance(m, _BatchNorm) for e in encoders for m in e.modules()):
        raise distributed.shared(
            UsageError(
                "--compile: batch normalisation that waits for other processes cannot be compiled. Train with one process, "
                "without --compile, or a network without it (a ViT)."
            )
        )
    devices.check_compiler(device)
    for encoder in encoders:
        encoder.compile(dynamic=False)  # one program a view size

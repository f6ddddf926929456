"""How encoders begin where a method's authors do not begin as torchvision does."""

from __future__ import annotations

from torch import nn

from virb.contracts.method import Option
from virb.networks.families.resnet import BasicBlock, Bottleneck

ZERO_INIT = Option("zero_init_residual", True, "a ResNet's blocks begin as identities, as in the authors' code")


def zero_init_residual(encoder: nn.Module) -> None:
    """Set the last scale of every residual block of a ResNet to 0 (Goyal et al. 2017); other networks have none."""
    for module in encoder.modules():
        if isinstance(module, (BasicBlock, Bottleneck)):
            last = module.bn2 if isinstance(module, BasicBlock) else module.bn3
            assert isinstance(last.weight, nn.Parameter)
            nn.init.zeros_(last.weight)


def freeze_patches(encoder: nn.Module) -> None:
    """Keep a transformer's patch embedding as it begins (MoCo v3, Section 4.2)."""
    for name, parameter in encoder.named_parameters():
        if "patch_embed" in name:
            parameter.requires_grad_(False)

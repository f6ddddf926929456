"""Batch normalisation in groups within one process, as a network has it that is trained on several GPUs.

MoCo's published training has eight GPUs, each with its own batch statistics, and shuffles the keys among them. With one
group, a query could be matched to its key by the statistics they share (He et al. 2020, Section 3.3).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from virb.errors import UsageError
from virb.training import distributed


class GroupedBatchNorm2d(nn.BatchNorm2d):
    """In training, normalises each of ``groups`` parts of a batch (N, C, H, W) on its own.

    The parts are consecutive rows, equal to one row. The running statistics follow the mean of the parts', of all
    processes. Evaluation, parameters and their names are those of ``nn.BatchNorm2d``.
    """

    groups = 1

    def forward(self, input: Tensor) -> Tensor:
        parts = input.tensor_split(min(self.groups, len(input)))
        if not self.training or len(parts) * distributed.world_size() == 1:
            return super().forward(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        means = self.running_mean.repeat(len(parts), 1)
        variances = self.running_var.repeat(len(parts), 1)
        if input.device.type == "cuda" and len({len(part) for part in parts}) == 1:
            normalised = self._as_channels(input, means, variances)
        else:
            normalised = torch.cat(
                [
                    F.batch_norm(part, mean, variance, self.weight, self.bias, True, self.momentum, self.eps)
                    for part, mean, variance in zip(parts, means, variances, strict=True)
                ]
            )
        self.running_mean.copy_(distributed.mean(means.mean(dim=0)))
        self.running_var.copy_(distributed.mean(variances.mean(dim=0)))
        return normalised

    def _as_channels(self, input: Tensor, means: Tensor, variances: Tensor) -> Tensor:
        """Normalise all parts by one operation, each part's channels beside the others', which a GPU does in a fraction of
        the time; ``means`` and ``variances`` (groups, C) follow.
        """
        n, c, height, width = input.shape
        groups = len(means)
        assert self.weight is not None
        assert self.bias is not None
        assert self.momentum is not None
        beside = input.permute(0, 2, 3, 1).reshape(groups, n // groups, height * width, c).permute(1, 2, 0, 3)
        beside = beside.reshape(n // groups, height, width, groups * c).permute(0, 3, 1, 2)  # channels last
        beside = F.batch_norm(
            beside, means.view(-1), variances.view(-1), self.weight.repeat(groups), self.bias.repeat(groups), True,
            self.momentum, self.eps,
        )  # fmt: skip
        back = beside.permute(0, 2, 3, 1).reshape(n // groups, height * width, groups, c).permute(2, 0, 1, 3)
        return back.reshape(n, height, width, c).permute(0, 3, 1, 2)


def own_groups(asked: int, batch_size: int) -> int:
    """Return how many of the ``asked`` groups of a batch are this process's: equal shares, of 4 images or more a group.

    ``batch_size`` counts the images of all processes.

    Raises:
        UsageError: the processes cannot share the groups equally.
    """
    groups, processes = max(1, min(asked, batch_size // 4)), distributed.world_size()
    if groups % processes:
        raise UsageError(
            f"bn_groups={asked} makes {groups} groups of {batch_size} images for batch normalisation, which {processes} "
            f"processes cannot share. Pass --option bn_groups=N with a multiple of {processes} (and 4 images a group), or "
            "start another number of processes."
        )
    return groups // processes


def normalise_in_groups(module: nn.Module, groups: int) -> None:
    """Let every ``nn.BatchNorm2d`` in ``module`` normalise ``groups`` parts of a batch apart, in place."""
    for child in module.modules():
        if type(child) is nn.BatchNorm2d and groups * distributed.world_size() > 1:
            child.__class__ = GroupedBatchNorm2d
            child.groups = groups  # type: ignore[assignment]

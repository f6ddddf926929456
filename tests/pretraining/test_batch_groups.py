"""Batch normalisation of parts of a batch."""

from __future__ import annotations

import torch
from torch import nn

from virb.pretraining import batch_groups


def test_each_part_is_normalised_by_itself_and_the_running_statistics_are_their_mean():
    torch.manual_seed(0)
    x = torch.randn(12, 3, 5, 5)
    grouped = nn.Sequential(nn.BatchNorm2d(3))
    batch_groups.normalise_in_groups(grouped, 4)
    assert grouped.state_dict().keys() == nn.Sequential(nn.BatchNorm2d(3)).state_dict().keys()
    means, variances = [], []
    out = grouped(x)
    for k, part in enumerate(x.chunk(4)):
        one = nn.BatchNorm2d(3)
        torch.testing.assert_close(out[3 * k : 3 * k + 3], one(part))
        means.append(one.running_mean)
        variances.append(one.running_var)
    torch.testing.assert_close(grouped[0].running_mean, torch.stack(means).mean(dim=0))
    torch.testing.assert_close(grouped[0].running_var, torch.stack(variances).mean(dim=0))
    assert int(grouped[0].num_batches_tracked) == 1


def test_evaluation_is_that_of_the_plain_one():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.BatchNorm2d(3))
    plain(torch.randn(8, 3, 4, 4))
    grouped = nn.Sequential(nn.BatchNorm2d(3))
    grouped.load_state_dict(plain.state_dict())
    batch_groups.normalise_in_groups(grouped, 2)
    x = torch.randn(6, 3, 4, 4)
    assert torch.equal(grouped.eval()(x), plain.eval()(x))


def test_groups_are_of_four_images_or_more():
    assert batch_groups.own_groups(8, 128) == 8
    assert batch_groups.own_groups(8, 8) == 2
    assert batch_groups.own_groups(0, 128) == 1

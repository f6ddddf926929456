"""The momentum copy, the queue and the memory bank."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from virb.pretraining import memory


def test_a_copy_follows_and_gets_no_gradient():
    net = nn.Linear(3, 2)
    slow = memory.MomentumCopy(net)
    start = slow.module.weight.clone()
    with torch.no_grad():
        net.weight += 1
    slow.follow(net, 0.9)
    torch.testing.assert_close(slow.module.weight, 0.9 * start + 0.1 * net.weight)
    slow.follow(net, 0.0)
    torch.testing.assert_close(slow.module.weight, net.weight)
    assert not slow(torch.ones(1, 3)).requires_grad
    assert not any(p.requires_grad for p in slow.parameters())


def test_momentum_rises_to_one():
    assert memory.momentum_at(0.0, 0.99) == pytest.approx(0.99)
    assert memory.momentum_at(0.5, 0.99) == pytest.approx(0.995)
    assert memory.momentum_at(1.0, 0.99) == pytest.approx(1.0)


def test_a_queue_of_nothing_keeps_nothing():
    queue = memory.Queue(0, 2)
    queue.push(torch.ones(3, 2))
    assert queue.items.shape == (0, 2)


def test_the_queue_forgets_the_oldest():
    queue = memory.Queue(5, 2)
    vectors = torch.stack([torch.tensor([1.0, float(i)]) for i in range(8)])
    unit = F.normalize(vectors, dim=1)
    queue.push(vectors[:3])
    assert (int(queue.filled), queue.is_full) == (3, False)
    queue.push(vectors[3:6])
    assert queue.is_full
    torch.testing.assert_close(queue.items, unit[[5, 1, 2, 3, 4]])
    queue.push(vectors)
    assert {tuple(v) for v in queue.items.tolist()} == {tuple(v) for v in unit[3:].tolist()}
    assert set(queue.state_dict()) == {"items", "place", "filled"}


def test_queue_size():
    assert memory.queue_size(0, 65536, 1_300_000) == 65536
    assert memory.queue_size(0, 65536, 6000) == 3000
    assert memory.queue_size(4096, 65536, 6000) == 4096


def test_memory_bank():
    bank = memory.MemoryBank(6, 3, 0.5)
    before = bank.items.clone()
    index, vectors = torch.tensor([4, 1]), torch.tensor([[2.0, 0, 0], [0, 3.0, 0]])
    bank.update(index, vectors)
    torch.testing.assert_close(bank.items[4], F.normalize(0.5 * before[4] + 0.5 * torch.tensor([1.0, 0, 0]), dim=0))
    untouched = [0, 2, 3, 5]
    torch.testing.assert_close(bank.items[untouched], before[untouched])
    drawn = bank.draw(100, index)
    assert {tuple(v) for v in drawn.tolist()} == {tuple(v) for v in bank.items[untouched].tolist()}
    assert len(bank.draw(2, index)) == 2


def test_each_image_draws_its_own_entries_and_never_itself():
    bank = memory.MemoryBank(20, 4, 0.5)
    index = torch.tensor([0, 7, 19])
    torch.manual_seed(0)
    rows = bank.rows_for(2000, index)  # of no more others than these: all of them
    assert [row.tolist() for row in rows] == [[k for k in range(20) if k != own] for own in index.tolist()]
    large = memory.MemoryBank(4001, 4, 0.5)
    rows = torch.cat([large.rows_for(4000 - 1, torch.tensor([0, 1])) for _ in range(2)])
    assert not (rows[::2] == 0).any()
    assert not (rows[1::2] == 1).any()
    assert len({tuple(row.tolist()) for row in rows}) == 4
    assert (int(rows.min()), int(rows.max())) == (0, 4000)
    counts = torch.bincount(rows.flatten() // 1000, minlength=5)[:4]
    assert ((counts - 4000).abs() < 300).all()  # uniform: a quarter each of 15,996, within 5 standard deviations

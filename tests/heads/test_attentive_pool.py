"""One query's softmax over normalised cells, written out; several frames share it."""

from __future__ import annotations

import torch

from virb.heads import build_head


def test_it_is_the_softmax_of_one_query_over_the_cells() -> None:
    head = build_head("attentive_pool", n_out=3, dim=6, n_frames=2, seed=0)
    x = torch.randn(4, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    cells = torch.nn.functional.layer_norm(x, [6])
    wanted = []
    for example in cells:
        gathered = []
        for frame in example:
            share = torch.exp(frame @ head.query)
            gathered.append((frame * (share / share.sum())[:, None]).sum(0))
        wanted.append(head.head.weight @ torch.cat(gathered) + head.head.bias)
    assert torch.allclose(head(x), torch.stack(wanted), atol=1e-5)


def test_it_finds_the_one_cell_that_says_something() -> None:
    draws = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (200,), generator=draws)
    x = 0.3 * torch.randn(200, 16, 8, generator=draws)
    places = torch.randint(0, 16, (200,), generator=draws)
    x[range(200), places, 0] = 3.0
    x[range(200), places, 1] = 6.0 * labels - 3.0
    head = build_head("attentive_pool", n_out=2, dim=8, seed=0)
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-2)
    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(x[:100]), labels[:100]).backward()
        optimizer.step()
    assert (head(x[100:]).argmax(1) == labels[100:]).float().mean() > 0.85  # of means alone, .6

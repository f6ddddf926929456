"""What a method remembers besides its weights: a slowly moving copy, a queue, a memory bank. All of it is state."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from virb.system import devices
from virb.training import distributed, schedules


class MomentumCopy(nn.Module):
    """A copy of ``module`` that follows it slowly and gets no gradient (He et al. 2020, Equation 2).

    Buffers (batch statistics) are the copy's own: it runs in training mode on what it is shown.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(module)
        self.module.requires_grad_(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return self.module(x)

    @torch.no_grad()
    def follow(self, module: nn.Module, momentum: float) -> None:
        """Move to momentum * copy + (1 - momentum) * ``module``."""
        slow: list[Tensor] = [*self.module.parameters()]
        fast: list[Tensor] = [*module.parameters()]
        torch._foreach_lerp_(slow, fast, 1 - momentum)


def momentum_at(done: float, base: float) -> float:
    """Return the momentum that rises from ``base`` to 1 on half a cosine (Grill et al. 2020, Section 3.2)."""
    return schedules.cosine(round(done * 1_000_000), 1_000_000, base, 1.0)


class Queue(nn.Module):
    """The last ``size`` (0: none) normalised vectors that were pushed, oldest overwritten first; random ones until then.

    ``items`` is (size, D); ``filled`` says how many are real.
    """

    items: Tensor
    place: Tensor
    filled: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self._was_full = False
        self.register_buffer("items", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))

    @property
    def is_full(self) -> bool:
        self._was_full = self._was_full or int(self.filled) == len(self.items)  # a device is asked until then only
        return self._was_full

    @torch.no_grad()
    def push(self, vectors: Tensor) -> None:
        """Add ``vectors`` (N, D), normalised here; of more than fit, the last ones."""
        if not len(self.items):
            return
        vectors = F.normalize(vectors.detach().to(self.items.dtype), dim=1)[-len(self.items) :]
        at = (self.place + torch.arange(len(vectors), device=self.items.device)) % len(self.items)
        self.items.index_copy_(0, at, vectors)
        self.place.add_(len(vectors)).remainder_(len(self.items))
        self.filled.add_(len(vectors)).clamp_max_(len(self.items))


def queue_size(asked: int, published: int, n_images: int) -> int:
    """Return ``asked``, or for 0 the ``published`` size, but no more than half the images of the data set.

    A queue that outlives an epoch holds an image's own older keys among its negatives; published queues are a few
    percent of ImageNet.
    """
    return asked or max(1, min(published, n_images // 2))


class MemoryBank(nn.Module):
    """One normalised vector an image, a moving average of its representations (Wu et al. 2018; PIRL, Section 2.2)."""

    items: Tensor

    def __init__(self, n_images: int, dim: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("items", F.normalize(torch.randn(n_images, dim), dim=1))

    @torch.no_grad()
    def update(self, index: Tensor, vectors: Tensor) -> None:
        """Move the entries ``index`` (N,) to momentum * entry + (1 - momentum) * vector, normalised."""
        moved = self.items[index].lerp(F.normalize(vectors.detach().to(self.items.dtype), dim=1), 1 - self.momentum)
        self.items[index] = F.normalize(moved, dim=1)

    def draw(self, n: int, index: Tensor) -> Tensor:
        """Return ``n`` entries of images that are not among ``index``, (n, D); fewer where there are fewer images.

        Drawn from torch's global generator, which the trainer seeds at every step; with several processes, from that of
        the first, for all.
        """
        others = torch.ones(len(self.items), dtype=torch.bool, device=self.items.device)
        others[index] = False
        candidates = others.nonzero()[:, 0]
        n = min(n, len(candidates))
        order = devices.upload(torch.randperm(len(candidates)), candidates.device)
        chosen = distributed.first(order)[:n]
        return self.items[candidates[chosen]]

    def rows_for(self, n: int, index: Tensor) -> Tensor:
        """Return for each of this process's images ``n`` rows of ``items``, (N, n), never its own.

        Drawn with replacement, as the authors' code draws; where no more than ``n`` others are there, all of them. ``index`` has
        the images of all processes, which draw the same.
        """
        others = len(self.items) - 1
        if n >= others:
            rows = torch.arange(others, device=index.device).expand(len(index), -1)
        else:
            seed = int(distributed.first(torch.randint(2**62, (), device=index.device)))
            generator = torch.Generator().manual_seed(seed)
            rows = devices.upload(torch.randint(others, (len(index), n), generator=generator), index.device)
        return distributed.own_rows(rows + (rows >= index[:, None]))

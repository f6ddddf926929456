"""Looks at the network that a run will keep: its nearest neighbours on the run's own images, and its batch statistics."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from virb.contracts.method import Setup
from virb.networks.base import Backbone, evaluating
from virb.pretraining import watch
from virb.pretraining.data import PretrainingData
from virb.pretraining.pixels import Padded
from virb.pretraining.plan import Plan, stream_seed
from virb.system import devices
from virb.training import augment
from virb.training.canvas import Canvas

N_SETTLED = 2048  # images that batch statistics are measured on


def on_device(images: np.ndarray | Padded, device: torch.device) -> Tensor | Canvas:
    """Return a batch's pixels on ``device``."""
    if isinstance(images, Padded):
        return Canvas(devices.upload(torch.from_numpy(images.pixels), device), torch.from_numpy(images.sizes))
    return devices.upload(torch.from_numpy(np.ascontiguousarray(images)), device)


class Looks:
    """Shows a network whole training images, at the size that it will see: always the same ones."""

    def __init__(self, data: PretrainingData, plan: Plan, setup: Setup) -> None:
        self.data, self.plan, self.setup = data, plan, setup
        self.device = torch.device(plan.device)

    @torch.no_grad()
    def knn(
        self, encoder: Backbone, labels: Tensor, autocast: Callable[[], contextlib.AbstractContextManager[object]]
    ) -> float:
        """Return the leave-one-out nearest-neighbour accuracy of ``encoder`` on a fixed part of the data."""
        chosen = self._draw("knn", self.plan.knn_images)
        features = []
        with evaluating(encoder), autocast():
            for start in range(0, len(chosen), 256):
                view = self._whole(chosen[start : start + 256])
                features.append(encoder.forward(view).float())  # not compiled: another mode and another size
        return watch.knn_accuracy(torch.cat(features), labels[torch.from_numpy(chosen)].to(self.device))

    @torch.no_grad()
    def settle_statistics(self, encoder: Backbone) -> None:
        """Measure the batch statistics of ``encoder`` anew."""
        layers = [layer for layer in encoder.modules() if isinstance(layer, _BatchNorm)]
        if not layers:
            return
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the plain mean over the batches
        chosen = self._draw("statistics", N_SETTLED)
        encoder.train()
        for part in np.array_split(chosen, -(-len(chosen) // 256)):
            encoder.forward(self._whole(np.sort(part)))
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum

    def _draw(self, stream: str, n_images: int) -> np.ndarray:
        """Return the positions of at most ``n_images`` images, drawn without replacement: the same ones every time."""
        rng = np.random.Generator(np.random.PCG64(stream_seed(self.plan.seed, stream)))
        return rng.permutation(len(self.data))[:n_images]

    def _whole(self, index: np.ndarray) -> Tensor:
        pixels = on_device(self.data.batch(index), self.device)
        return augment.center_view(pixels, self.plan.knn_size, self.setup.mean, self.setup.std)


@contextlib.contextmanager
def buffers_restored(network: nn.Module) -> Iterator[None]:
    """Give the network's buffers their values back after the block."""
    before = {name: value.clone() for name, value in network.named_buffers()}
    try:
        yield
    finally:
        for name, value in network.named_buffers():
            value.copy_(before[name])

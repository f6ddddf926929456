"""Several encoders as one: their embeddings side by side (Cole et al. 2022, Table 3)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from virb.errors import UsageError
from virb.networks import identity
from virb.networks.base import Backbone
from virb.networks.encoder import FrozenEncoder
from virb.networks.preprocess import Preprocess

RULE = "each less its mean over train, over one number, the root mean square of what is left there"


class FusedEncoder(FrozenEncoder):
    """The embeddings of ``parts`` side by side, in their order; it has no maps.

    Each part sees images as it does alone. Where a probe reads them, every part is standardised as ``RULE`` says
    (:mod:`virb.features.joined`), so that none outweighs another by its unit; dimensions of one part keep their relative
    sizes. :meth:`embed` knows no train split, and returns the embeddings as they are.
    """

    def __init__(self, parts: Sequence[FrozenEncoder], *, name: str | None = None, source: str | None = None) -> None:
        self._parts = tuple(parts)
        names = [part.name for part in parts]
        if len(parts) < 2 or len({part.identity for part in parts}) < len(parts):
            raise UsageError(f"{' + '.join(names)}: expected two encoders or more that differ.")
        self.name = name or "+".join(names)
        self.arch, self.arch_options = "+".join(part.arch for part in parts), {}
        self.preprocess = Preprocess(max(part.preprocess.size for part in parts), (0.0,) * 3, (1.0,) * 3)
        shared: dict[str, Any] = {
            key: parts[0].meta[key]
            for key in ("role", "method", "dataset")
            if key in parts[0].meta and all(part.meta.get(key) == parts[0].meta[key] for part in parts)
        }
        self.meta = {**shared, "parts": "+".join(names)}
        self.source = source
        self.report = None
        self.optimize = all(part.optimize for part in parts)
        self.dim, self.channels, self.strides = sum(part.dim for part in parts), (), ()
        self.device, self.dtype = parts[0].device, parts[0].dtype
        self._offsets = {}

    def __repr__(self) -> str:
        return f"FusedEncoder({self.name!r}, dim={self.dim})"

    @property
    def parts(self) -> tuple[FrozenEncoder, ...]:
        return self._parts

    @property
    def sha256(self) -> str:
        return hashlib.sha256("+".join(part.sha256 for part in self._parts).encode()).hexdigest()

    @property
    def identity_parts(self) -> dict[str, Any]:
        """What the parts are, and how they are put together."""
        return {"parts": [part.identity_parts for part in self._parts], "standardised": RULE}

    @property
    def identity(self) -> str:
        return identity.digest_of(self.identity_parts)

    def embed(self, images: Any) -> Tensor:
        """Return the parts' embeddings side by side (N, D), as they are.

        Prepared tensors are of the largest size among the parts'; for a part that sees smaller images they are resized.
        """
        if not isinstance(images, Tensor):
            return torch.cat([part.embed(images) for part in self._parts], dim=1)
        return torch.cat([part.embed(_as_seen(images, part.preprocess)) for part in self._parts], dim=1)

    def compiled(self) -> FrozenEncoder:
        made = FusedEncoder([part.compiled() for part in self._parts], name=self.name, source=self.source)
        made.is_compiled = True
        return made

    def pyramid(self, images: Tensor, output_stride: int | None = None) -> list[Tensor]:
        raise UsageError(f"{self.name} has embeddings alone; name one of its parts for maps.")

    def features(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self.embed(images), []

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> FrozenEncoder:
        for part in self._parts:
            part.to(device, dtype)
        self.device, self.dtype = self._parts[0].device, self._parts[0].dtype
        return self

    def __copy__(self) -> FusedEncoder:
        import copy

        return FusedEncoder([copy.copy(part) for part in self._parts], name=self.name, source=self.source)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__

    def prepare_network(self) -> None:
        for part in self._parts:
            part.prepare_network()

    def release_network(self) -> None:
        for part in self._parts:
            part.release_network()

    def modules(self) -> Iterator[nn.Module]:
        for part in self._parts:
            yield from part.modules()

    def parameters(self) -> Iterator[nn.Parameter]:
        for part in self._parts:
            yield from part.parameters()

    def state_dict(self) -> dict[str, Tensor]:
        return {f"{k}.{key}": value for k, part in enumerate(self._parts) for key, value in part.state_dict().items()}

    def trainable_copy(self) -> Backbone:
        raise UsageError(f"{self.name} is several networks, which are not trained together; fine-tune one of them.")


def _as_seen(images: Tensor, preprocess: Preprocess) -> Tensor:
    """Return images in 0..1 as an encoder's input."""
    size = (preprocess.size, preprocess.size)
    if tuple(images.shape[2:]) != size:
        images = nn.functional.interpolate(images, size, mode="bilinear", antialias=True)
    mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in (preprocess.mean, preprocess.std))
    return (images - mean) / std

"""Any ``nn.Module`` as an encoder: what its embedding is, and where its maps lie, is measured and not declared."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from virb.errors import UsageError
from virb.networks import code
from virb.networks.base import Backbone
from virb.networks.encoder import FrozenEncoder
from virb.networks.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from virb.system.threads import own_generator

POOLS = ("mean", "cls", "cls+mean", "flatten")
Look = Callable[[nn.Module, Tensor], Any]


def wrap(
    module: nn.Module,
    *,
    name: str | None = None,
    size: int = 224,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    features: str | Look | None = None,
    maps: Sequence[str] | Look | None = None,
    meta: Mapping[str, Any] | None = None,
    device: torch.device | str | None = None,
) -> FrozenEncoder:
    """Return any network as a frozen encoder.

    The module is copied and frozen. Its identity is its weights and its code: the source of its classes and of the files
    that define them, so that an edited forward is another encoder.

    Args:
        module: takes float images (N, 3, size, size) after ``mean`` and ``std``.
        name: of the folder of its results; default: its class's.
        features: where the embedding (N, D) is. None: the module's output, averaged over positions where that is a map.
            A pooling (mean, cls, cls+mean, flatten) of its output; the name of a layer, or ``layer:pooling``; the key of
            an output with names (``pooler_output``); or a function of the module and the images.
        maps: names of the layers whose outputs are the pyramid, or a function of the module and the images that returns
            them, fine to coarse. None: for each stride the deepest map that the network computes; of a transformer the
            blocks' tokens at the quarters of the depth. ``[]``: none.
        meta: what is known of it: role, method, dataset, ...

    Raises:
        UsageError: the module does not take such images, or its output is no embedding and ``features`` does not say how
            it becomes one.

    Example:
        >>> import torch, virb
        >>> encoder = virb.wrap(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.ReLU()), name="tiny", size=32)
        >>> encoder.dim, encoder.strides
        (8, (2,))
    """
    if isinstance(module, FrozenEncoder):
        raise UsageError(f"{module.name} is an encoder already; give it as it is.")
    if not isinstance(module, nn.Module):
        raise UsageError(f"virb.wrap takes a torch.nn.Module; found {type(module).__name__}.")
    preprocess = Preprocess(int(size), tuple(mean), tuple(std))  # type: ignore[arg-type]
    backbone = Wrapped(module, size=preprocess.size, features=features, maps=maps)
    kind = type(module).__qualname__.replace("<locals>.", "")
    return FrozenEncoder(
        backbone, name=name or kind, arch=f"module:{kind}", preprocess=preprocess, meta=meta, device=device
    )


class Wrapped(Backbone):
    """A module of anybody's, with its embedding and maps read off while it runs. Its weights lie under ``net.``"""

    key_prefix = "net."

    def __init__(
        self, module: nn.Module, *, size: int, features: str | Look | None, maps: Sequence[str] | Look | None
    ) -> None:
        super().__init__()
        if isinstance(maps, str):
            raise UsageError(f"maps={maps!r}: expected a list of layers' names, as maps=[{maps!r}], or a function.")
        self.net = copy.deepcopy(module).cpu()
        self.label = f"module:{type(module).__qualname__}"
        self.size = self.example_size = size
        self.read = features
        self.layer, self.pool = self._split(features) if isinstance(features, str) else ("", "")
        self.maps = maps if callable(maps) else tuple(maps) if maps is not None else ()
        functions = [part for part in (features, maps) if callable(part)]
        said = [features if not callable(features) else "", list(self.maps) if not callable(self.maps) else ""]
        self._measure(is_asked=maps is not None)
        if not callable(self.maps):
            said[1] = list(self.maps)
        self.variant = repr(said) + (code.fingerprint(nn.Module(), *functions) if functions else "")

    def _split(self, text: str) -> tuple[str, str]:
        layers = dict(self.net.named_modules())
        layer, _, pool = text.rpartition(":")
        if text in layers and text:
            return text, ""
        if pool in POOLS and (layer in layers):
            return layer, pool
        if layer:
            raise UsageError(
                f"features={text!r}: the network has no layer {layer!r}, or {pool!r} is no pooling ({', '.join(POOLS)})."
            )
        return "", text

    # -- looking

    def features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        watched = [] if callable(self.maps) else [*self.maps]
        if self.layer:
            watched.append(self.layer)
        with _outputs(self.net, watched) as seen:
            if callable(self.read):
                embedding = _checked(self.read(self.net, x), x, "features")
            else:
                output = self.net(x)
                embedding = self._pooled(seen[self.layer] if self.layer else output, x)
        if callable(self.maps):
            return embedding, [_as_map(found, (), "maps") for found in self.maps(self.net, x)]
        return embedding, [_as_map(seen[name], self._grid(x), name) for name in self.maps]

    def embed(self, x: Tensor) -> Tensor:
        if callable(self.read):
            return _checked(self.read(self.net, x), x, "features")
        with _outputs(self.net, [self.layer] if self.layer else []) as seen:
            output = self.net(x)
        return self._pooled(seen[self.layer] if self.layer else output, x)

    def pyramid(self, x: Tensor, output_stride: int | None = None) -> list[Tensor]:
        if not self.channels:
            raise UsageError(
                f"{self.label} shows no maps. Name the layers whose outputs they are: virb.wrap(..., maps=[...])."
            )
        return super().pyramid(x, output_stride)

    def _pooled(self, output: Any, x: Tensor) -> Tensor:
        if isinstance(output, Mapping) and not isinstance(output, Tensor):
            if self.pool not in output:
                keys = ", ".join(map(str, output))
                raise UsageError(
                    f"{self.label} returns {keys}: say which is the embedding with features=, as in features={next(iter(output))!r}."
                )
            return _checked(output[self.pool], x, self.pool)
        if isinstance(output, tuple | list):
            if len(output) != 1:
                raise UsageError(
                    f"{self.label} returns {len(output)} things. Say which is the embedding: features=lambda net, x: net(x)[0]."
                )
            output = output[0]
        if not isinstance(output, Tensor):
            raise UsageError(f"{self.label} returns {type(output).__name__}; expected a tensor. Use features=FUNCTION.")
        if self.pool and self.pool not in POOLS:
            names = [key for key, _ in self.net.named_modules() if key]
            raise UsageError(
                f"features={self.pool!r} is neither a pooling ({', '.join(POOLS)}) nor a layer of {self.label} "
                f"({', '.join(names[:6])}{', ...' if len(names) > 6 else ''})."
            )
        if self.pool == "flatten":
            return _checked(output.flatten(1), x, "flatten")
        if output.ndim == 4:
            if self.pool.startswith("cls"):
                raise UsageError(f"{self.label} gives a map {tuple(output.shape)}, which has no class token; use mean.")
            return _checked(output.mean((2, 3)), x, "mean")
        if output.ndim == 3:
            if not self.pool:
                raise UsageError(
                    f"{self.label} gives tokens {tuple(output.shape)}. Say how they become one vector: features='cls' "
                    "(the first), 'mean' or 'cls+mean' (of the others, if the first is a class token)."
                )
            parts = {"cls": output[:, 0], "mean": output.mean(1)}
            if self.pool == "cls+mean":
                return torch.cat([parts["cls"], output[:, 1:].mean(1)], dim=1)
            return parts[self.pool]
        return _checked(output, x, "the output")

    # -- measuring

    def _grid(self, x: Tensor) -> tuple[int, int]:
        """Return how many rows and columns of patches an image has, from the stride of the network's tokens."""
        return math.ceil(x.shape[2] / self.token_stride), math.ceil(x.shape[3] / self.token_stride)

    token_stride = 1

    def _measure(self, *, is_asked: bool) -> None:
        was_training = self.net.training
        self.net.eval()
        x = torch.zeros(2, 3, self.size, self.size)
        try:
            with torch.no_grad(), own_generator(0):
                x = torch.randn(2, 3, self.size, self.size)
                with _outputs(self.net, [name for name, _ in self.net.named_modules()]) as seen:
                    if callable(self.read):
                        self.read(self.net, x)
                    else:
                        self.net(x)
                self.token_stride = _token_stride(seen, self.size)
                if not is_asked:
                    self.maps = _choose(self.net, seen, self.size)
                for name in () if callable(self.maps) else self.maps:
                    if name not in seen:
                        close = ", ".join(list(seen)[:8])
                        raise UsageError(f"maps: {self.label} has no layer {name!r} that runs; it has {close}, ...")
                embedding, maps = self.features(x)
        except UsageError:
            raise
        except Exception as error:  # whatever somebody's network raises
            raise UsageError(
                f"{self.label} does not take images (N, 3, {self.size}, {self.size}): {type(error).__name__}: {error}. "
                "Give the size that it is made for (size=), or a function that calls it (features=)."
            ) from error
        if not bool(torch.isfinite(embedding).all()):
            raise UsageError(f"{self.label} gives NaN or infinite values on random images.")
        self.dim = embedding.shape[1]
        self.channels = tuple(found.shape[1] for found in maps)
        self.strides = tuple(_nearest_stride(self.size, found.shape[2]) for found in maps)
        self.net.train(was_training)


@contextmanager
def _outputs(net: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Collect what the named layers put out, in the order they run; a layer that runs twice is seen the second time."""
    found: dict[str, Any] = {}

    def hook(name: str) -> Any:
        def see(module: nn.Module, inputs: Any, output: Any) -> None:
            found.pop(name, None)
            found[name] = output

        return see

    handles = [net.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _checked(output: Any, x: Tensor, what: str) -> Tensor:
    if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2:] == (1, 1):
        output = output.flatten(1)
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != len(x) or not output.is_floating_point():
        found = f"{output.dtype} {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise UsageError(f"{what} gives {found} for {len(x)} images; expected an embedding, float (N, D).")
    return output


def _as_map(output: Any, grid: tuple[int, ...], what: str) -> Tensor:
    if isinstance(output, tuple | list) and output:
        output = output[0]
    if isinstance(output, Tensor) and output.ndim == 4:
        return output.permute(0, 3, 1, 2) if _is_channels_last(output) else output
    if isinstance(output, Tensor) and output.ndim == 3 and grid and output.shape[1] >= grid[0] * grid[1]:
        patches = output[:, output.shape[1] - grid[0] * grid[1] :]  # class and register tokens come first
        return patches.transpose(1, 2).reshape(len(output), -1, *grid)
    found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    raise UsageError(f"maps: {what} gives {found}; expected maps (N, C, h, w), or the tokens of a square of patches.")


def _is_channels_last(output: Tensor) -> bool:
    """Whether a map of a square image has its channels last: two equal sides before them."""
    return output.shape[1] == output.shape[2] != output.shape[3]


def _nearest_stride(size: int, side: int) -> int:
    if size % side == 0:
        return size // side
    power = 2 ** round(math.log2(size / side))
    return power if 0.8 < size / side / power < 1.25 else max(1, round(size / side))


def _sides(seen: Mapping[str, Any], size: int) -> dict[str, int]:
    """Return the sides of the square maps that layers put out: those that a power of two divides the image into.

    Where there are none (convolutions without padding), those of all square maps.
    """
    squares = {}
    for name, output in seen.items():
        if isinstance(output, Tensor) and output.ndim == 4 and len(output) == 2:
            rows, columns = output.shape[1:3] if _is_channels_last(output) else output.shape[2:]
            if rows == columns and 1 < rows <= size:
                squares[name] = int(rows)
    halved = {name: side for name, side in squares.items() if any(abs(side - size / 2**k) <= 1 for k in range(7))}
    return halved or squares


def _token_stride(seen: Mapping[str, Any], size: int) -> int:
    """Return the stride of the patches that the network's tokens stand for: that of its coarsest map of convolutions."""
    sides = [side for side in _sides(seen, size).values() if side < size]
    return _nearest_stride(size, min(sides)) if sides else 1


def _choose(net: nn.Module, seen: Mapping[str, Any], size: int) -> tuple[str, ...]:
    """Return the layers that make a pyramid: a transformer's blocks at the quarters, or the deepest map of each stride."""
    sides = _sides(seen, size)
    smallest = min(sides.values(), default=0)
    blocks: dict[str, Tensor] = {}
    for name, module in net.named_modules():
        if isinstance(module, nn.ModuleList | nn.Sequential):
            for key, _ in module.named_children():
                output = seen.get(f"{name}.{key}" if name else key)
                output = output[0] if isinstance(output, tuple | list) and output else output
                if isinstance(output, Tensor) and output.ndim == 3 and smallest and output.shape[1] >= smallest**2:
                    blocks[f"{name}.{key}" if name else key] = output
    if len(blocks) >= 2 and len({output.shape for output in blocks.values()}) == 1:
        names = [name for name in seen if name in blocks]
        taps = sorted({max(1, round(len(names) * quarter / 4)) - 1 for quarter in range(1, 5)})
        return tuple(names[tap] for tap in taps)
    deepest: dict[int, str] = {}
    for name, side in sides.items():
        if side < size or min(sides.values()) == size:
            deepest[side] = name
    return tuple(deepest[side] for side in sorted(deepest, reverse=True))

"""Every network of timm and torchvision as it is, behind the interface of ``Backbone``."""

from __future__ import annotations

import contextlib
import difflib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from virb.errors import UsageError
from virb.networks.base import Backbone, evaluating
from virb.networks.families import Family
from virb.system.threads import own_generator


class External(Backbone):
    """A library's network as it is, under ``net.``; the outputs of its stages are the pyramid."""

    key_prefix = "net."

    def __init__(self, net: nn.Module, example_size: int) -> None:
        super().__init__()
        self.net = net
        self.example_size = example_size

    def measure(self) -> None:
        """Read the embedding's length and the maps' channels and strides off the network itself."""
        with evaluating(self), torch.no_grad():
            embedding, maps = self.features(torch.zeros(1, 3, self.example_size, self.example_size))
        self.dim = embedding.shape[1]
        self.channels = tuple(item.shape[1] for item in maps)
        self.strides = tuple(_stride(self.example_size, item.shape[2]) for item in maps)

    def look(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        raise NotImplementedError

    def features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self.guarded(self.look, x)

    def guarded(self, function: Callable[[Tensor], Any], x: Tensor) -> Any:
        """Return ``function(x)``; what a library says of images of another size becomes a UsageError."""
        try:
            return function(x)
        except torch.OutOfMemoryError:
            raise
        except (AssertionError, RuntimeError) as error:
            size = self.example_size
            if tuple(x.shape[2:]) == (size, size):
                raise
            raise UsageError(
                f"{self.label} does not take images of {x.shape[2]} x {x.shape[3]} pixels ({error}); it is made for "
                f"{size} x {size}."
            ) from error


def _stride(size: int, side: int) -> int:
    """Return the stride that takes ``size`` pixels to ``side`` cells; borders make the quotient uneven."""
    if size % side == 0:
        return size // side
    power = 2 ** round(math.log2(size / side))
    return power if 0.8 < size / side / power < 1.25 else round(size / side)


@contextlib.contextmanager
def _recording(modules: dict[str, nn.Module]) -> Iterator[dict[str, Any]]:
    """Collect the outputs of ``modules`` during one pass."""
    outputs: dict[str, Any] = {}

    def hook(name: str) -> Any:
        def record(module: nn.Module, inputs: Any, output: Any) -> None:
            outputs[name] = output

        return record

    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


class TimmBackbone(External):
    """Any timm model. The embedding is what its classifier would read; the pyramid is timm's own list of stages."""

    def __init__(self, name: str) -> None:
        import timm

        if not timm.is_model(name) and not name.startswith(("hf-hub:", "hf_hub:")):
            base = name.split(".")[0]
            close = difflib.get_close_matches(base, timm.list_models(), 3, 0.6)
            hint = f" Did you mean {' or '.join(f'timm:{other}' for other in close)}?" if close else ""
            raise UsageError(f"timm has no model {name!r}.{hint}")
        net: Any = None
        # Let the model follow the image's size where it can; each family has its own option, or none.
        tries: list[dict[str, Any]] = [
            {"dynamic_img_size": True, "dynamic_img_pad": True},
            {"dynamic_img_size": True},
            {"strict_img_size": False},
            {},
        ]
        for options in tries:
            with contextlib.suppress(TypeError):
                net = timm.create_model(name, num_classes=0, **options)
                break
        if net is None:
            raise UsageError(f"timm's {name!r} cannot be built without a classifier.")
        config: dict[str, Any] = dict(net.pretrained_cfg or {})
        super().__init__(net, int((config.get("input_size") or (3, 224, 224))[-1]))
        heads = config.get("classifier") or ()
        self.head_names = (heads,) if isinstance(heads, str) else tuple(heads)
        self.config = config
        self.name, self.options = name, options
        self._dilated: dict[int, nn.Module | None] = {}
        self.measure()

    def strides_at(self, output_stride: int | None = None) -> tuple[int, ...]:
        if output_stride is None or output_stride >= max(self.strides) or self._dilation(output_stride) is None:
            return self.strides
        return tuple(min(stride, output_stride) for stride in self.strides)

    def pyramid(self, x: Tensor, output_stride: int | None = None) -> list[Tensor]:
        if self.strides_at(output_stride) == self.strides:
            return self.features(x)[1]
        assert output_stride is not None
        return self.read(self._dilation(output_stride), x)[1]

    def _apply(self, fn: Any, recurse: bool = True) -> TimmBackbone:
        self._dilated.clear()  # they share tensors with the network, which are about to be others
        return super()._apply(fn, recurse)

    def _dilation(self, output_stride: int) -> nn.Module | None:
        """Return timm's own dilated network on the same weights; None where timm has none of that stride."""
        with own_generator():  # one thread makes it
            if output_stride not in self._dilated:
                self._dilated[output_stride] = self._dilate(output_stride)
        return self._dilated[output_stride]

    def _dilate(self, output_stride: int) -> nn.Module | None:
        import timm

        try:
            net = timm.create_model(self.name, num_classes=0, output_stride=output_stride, **self.options)
        except (TypeError, AssertionError, ValueError, NotImplementedError, KeyError, RuntimeError):
            return None
        own, other = dict(self.net.named_modules()), dict(net.named_modules())
        shapes = [{key: value.shape for key, value in each.state_dict().items()} for each in (self.net, net)]
        if shapes[0] != shapes[1] or own.keys() != other.keys():
            return None
        for name, module in other.items():
            module._parameters, module._buffers = own[name]._parameters, own[name]._buffers
        net.train(self.net.training)
        blank = torch.zeros(1, 3, self.example_size, self.example_size)
        like = next(iter(self.net.parameters()), blank)
        with torch.no_grad():
            side = self.read(net.eval(), blank.to(like.device, like.dtype))[1][-1].shape[2]
        net.train(self.net.training)
        return net if _stride(self.example_size, side) == output_stride else None

    def look(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self.read(self.net, x)

    @staticmethod
    def read(net: Any, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the embedding and the pyramid of a network of timm's."""
        if hasattr(net, "forward_intermediates"):
            last, maps = net.forward_intermediates(x, output_fmt="NCHW")
        else:
            stages = [info["module"] for info in net.feature_info]
            with _recording({name: net.get_submodule(name) for name in stages}) as outputs:
                last = net.forward_features(x)
            maps = [outputs[name] for name in stages]
        return net.forward_head(last, pre_logits=True).flatten(1), _thinned(list(maps))


def _thinned(maps: list[Tensor]) -> list[Tensor]:
    """Keep at most five maps: transformers give one for each block, of which the quarters of the depth are enough."""
    if len(maps) <= 5:
        return maps
    return [maps[round(len(maps) * quarter / 4) - 1] for quarter in range(1, 5)]


class TorchvisionBackbone(External):
    """Any torchvision classifier. The embedding is what its last linear layer reads (or the mean of the last map).

    The pyramid holds, for each stride, the deepest output among the children of the network's trunk.
    """

    def __init__(self, name: str) -> None:
        from torchvision import models

        known = models.list_models(models)
        if name not in known:
            close = difflib.get_close_matches(name, known, 3, 0.6)
            hint = f" Did you mean {' or '.join(f'torchvision:{other}' for other in close)}?" if close else ""
            raise UsageError(f"torchvision has no classifier {name!r}.{hint}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # GoogLeNet's, about its initialisation
            net = models.get_model(name, weights=None)
        weights = models.get_model_weights(name)
        sizes = [entry.transforms().crop_size[0] for entry in weights if hasattr(entry.transforms(), "crop_size")]
        super().__init__(net, min(sizes, default=224))
        linear = [key for key, module in net.named_modules() if isinstance(module, nn.Linear)]
        is_last = bool(linear) and linear[-1].split(".")[0] in ("fc", "classifier", "head", "heads")
        self.head_names = (linear[-1],) if is_last else ("classifier",)
        if is_last:
            parent, _, child = linear[-1].rpartition(".")
            setattr(net.get_submodule(parent), child, nn.Identity())
        self.is_pooled = not is_last
        self.transforms = weights.DEFAULT.transforms() if hasattr(weights, "DEFAULT") else None
        self.taps = self._find_taps()
        self.measure()

    def _trunk(self) -> dict[str, nn.Module]:
        net = self.net
        for name in ("features", "trunk_output", "encoder.layers", "layers"):
            with contextlib.suppress(AttributeError):
                return {f"{name}.{key}": child for key, child in net.get_submodule(name).named_children()}
        return dict(net.named_children())

    def _find_taps(self) -> list[str]:
        modules = self._trunk()
        self.eval()
        with torch.no_grad(), _recording(modules) as outputs:
            self.net(torch.zeros(1, 3, self.example_size, self.example_size))
        self.train()
        chosen: dict[int, str] = {}
        order = [name for name in outputs if self._is_map(outputs[name])]
        if order and outputs[order[0]].ndim == 3:  # a transformer: every block has the same stride
            return [order[round(len(order) * quarter / 4) - 1] for quarter in range(1, 5)]
        for name in order:
            side = self._as_map(outputs[name]).shape[2]
            if side > 1:
                chosen[side] = name
        return [chosen[side] for side in sorted(chosen, reverse=True)]

    @staticmethod
    def _is_map(output: Any) -> bool:
        return isinstance(output, Tensor) and output.ndim in (3, 4)

    def _as_map(self, output: Tensor) -> Tensor:
        if output.ndim == 3:  # (N, 1 + L, C): class token first
            side = round((output.shape[1] - 1) ** 0.5)
            return output[:, 1:].transpose(1, 2).reshape(len(output), -1, side, side)
        if type(self.net).__name__ == "SwinTransformer":  # channels last
            return output.permute(0, 3, 1, 2).contiguous()
        return output

    def look(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        with _recording({name: self.net.get_submodule(name) for name in self.taps}) as outputs:
            embedding = self.net(x)
        maps = [self._as_map(outputs[name]) for name in self.taps]
        return maps[-1].mean((2, 3)) if self.is_pooled else embedding.flatten(1), maps


def member(arch: str) -> Family:
    """Return the family of ``timm:NAME`` or ``torchvision:NAME``: that network alone, without options."""
    library, _, name = arch.partition(":")

    def build(options: Mapping[str, Any], is_initialised: bool) -> Backbone:
        return TimmBackbone(name) if library == "timm" else TorchvisionBackbone(name)

    return Family(arch, {}, build)

"""What timm's plain transformers share: one stride from the patches to the end, tokens for maps, one vector pooled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from virb.errors import UsageError
from virb.images.geometry import centred
from virb.networks.external import External


def check_sizes(arch: str, options: Mapping[str, Any]) -> None:
    """Raise UsageError if width, heads, depth and patch make no network."""
    dim, heads, depth, patch = (options[key] for key in ("dim", "heads", "depth", "patch"))
    if not heads or dim % heads or not depth or not patch:
        raise UsageError(
            f"{arch}: width {dim} with {heads} heads, {depth} blocks and patches of {patch} is no network: heads must "
            "divide the width, and there is at least one block."
        )


class Tokens(External):
    """A transformer of timm's without its classifier. The pyramid is the blocks' outputs at the quarters of the depth.

    All four maps have the patch's stride and hold neither class nor register tokens; the last one is normalised where
    the network has a last norm on its tokens.
    """

    def __init__(self, net: nn.Module, options: Mapping[str, Any]) -> None:
        super().__init__(net, options["image_size"])
        depth, dim = options["depth"], options["dim"]
        self.taps = sorted({max(1, round(depth * quarter / 4)) - 1 for quarter in range(1, 5)})
        self.dim = options.get("project") or dim
        self.channels = (dim,) * len(self.taps)
        self.strides = (options["patch"],) * len(self.taps)

    def offsets_at(self, output_stride: int | None = None) -> tuple[float, ...]:
        return centred(self.strides_at(output_stride))

    def look(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        net: Any = self.net
        tokens, maps = net.forward_intermediates(x, indices=self.taps)
        rows, columns = maps[-1].shape[2:]
        patches = tokens[:, net.num_prefix_tokens :]
        maps[-1] = patches.reshape(len(x), rows, columns, -1).permute(0, 3, 1, 2).contiguous()
        return net.forward_head(tokens), maps

    def embed(self, x: Tensor) -> Tensor:
        net: Any = self.net
        return self.guarded(net, x)

"""The multi-input fusion classifier (Kotar et al. 2021, Section 4.2 and Appendix B)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from virb.contracts.head import Facts, Head
from virb.contracts.loss import Loss
from virb.contracts.parts import Option
from virb.training.stacks import FlatStack, pad


class FusionHead(nn.Module):
    """One linear layer module for each frame, outputs concatenated, one fusion layer: (N, F, D) -> (N, K).

    The paper gives no widths. Ours: each module is a linear layer of D x ``hidden`` (256) followed by a ReLU, without
    which the two layers would collapse into one; the fusion layer is ``F * hidden`` x K.
    """

    def __init__(self, dim: int, n_frames: int, n_out: int, *, hidden: int = 256) -> None:
        super().__init__()
        self.frames = nn.ModuleList(nn.Linear(dim, hidden) for _ in range(n_frames))
        self.fusion = nn.Linear(n_frames * hidden, n_out)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 3 or x.shape[1] != len(self.frames):
            raise ValueError(f"A fusion head of {len(self.frames)} frames needs (N, F, D); found {tuple(x.shape)}.")
        parts = [torch.relu(layer(x[:, k])) for k, layer in enumerate(self.frames)]
        return self.fusion(torch.cat(parts, dim=1))


class FusionStack(FlatStack):
    """Heads (B, F, D) -> (B, K): a layer of h hidden units for each frame, ReLU, and one layer on all of them."""

    def __init__(self, heads: Sequence[FusionHead], loss: Loss, device: torch.device | str = "cpu") -> None:
        super().__init__(
            [
                {
                    "frame_weight": pad(torch.stack([layer.weight for layer in _layers(head)]), 1, 2),  # (F, h, D)
                    "frame_bias": pad(torch.stack([layer.bias for layer in _layers(head)]), 1),  # (F, h)
                    "weight": pad(head.fusion.weight.unflatten(1, (len(head.frames), -1)), 2),  # (K, F, h)
                    "bias": head.fusion.bias,
                }
                for head in heads
            ],
            loss,
            device,
        )

    def set_gradients(self, x: Tensor, targets: Tensor, count: int) -> None:
        w, g = self.weights, self.gradients
        x = x.flatten(0, 1)  # (HF, B, D)
        hidden = torch.baddbmm(
            w["frame_bias"].flatten(0, 1)[:, :, None], w["frame_weight"].flatten(0, 1), x.transpose(1, 2)
        ).relu_()  # (HF, h, B)
        joined = hidden.view(len(targets), -1, x.shape[1])  # (H, Fh, B)
        weight = w["weight"].flatten(2)
        error = self.error(torch.baddbmm(w["bias"][:, :, None], weight, joined), targets, count)
        torch.bmm(error, joined.transpose(1, 2), out=g["weight"].flatten(2))
        torch.sum(error, 2, out=g["bias"])
        back = torch.bmm(weight.transpose(1, 2), error).view_as(hidden).mul_(hidden > 0)
        torch.bmm(back, x, out=g["frame_weight"].flatten(0, 1))
        torch.sum(back, 2, out=g["frame_bias"].flatten(0, 1))

    @torch.no_grad()
    def copy_to(self, heads: Sequence[nn.Module]) -> None:
        for k, head in enumerate(heads):
            assert isinstance(head, FusionHead)
            w, layers = {name: weight[k] for name, weight in self.weights.items()}, _layers(head)
            for layer, weight, bias in zip(layers, w["frame_weight"], w["frame_bias"], strict=True):
                layer.weight.copy_(weight[: layer.out_features, : layer.in_features])
                layer.bias.copy_(bias[: layer.out_features])
            head.fusion.weight.copy_(w["weight"][..., : layers[0].out_features].flatten(1))
            head.fusion.bias.copy_(w["bias"])


def _layers(head: FusionHead) -> list[nn.Linear]:
    return [layer for layer in head.frames if isinstance(layer, nn.Linear)]


def build(facts: Facts, n_out: int, *, hidden: int) -> FusionHead:
    """Return the layers for ``facts.n_frames`` embeddings of ``facts.dim``."""
    assert facts.dim is not None
    return FusionHead(facts.dim, facts.n_frames, n_out, hidden=hidden)


HEAD = Head(
    name="fusion",
    summary="a layer on each frame's embedding, and one on all of them",
    reads="embedding",
    build=build,
    options=(Option("hidden", 256, "width of each frame's layer", low=1),),
    min_frames=2,
    max_frames=None,
    stack=FusionStack,
)

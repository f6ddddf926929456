"""Projection and prediction heads: small networks between the encoder h and the loss, which sees g(h).

What is kept of pretraining is h. An encoder file carries the projection beside it, written down layer by layer, so that
what the projection removes can be measured (Chen et al. 2020, Table 3 and Figure 8).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from virb.errors import UsageError
from virb.networks.base import Backbone
from virb.system.threads import own_generator
from virb.training.distributed import SyncBatchNorm

KINDS = ("identity", "linear", "nonlinear")
_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}


def mlp(widths: Sequence[int], *, norm: bool = True, last_norm: str = "none", last_bias: bool = True) -> nn.Sequential:
    """Return linear layers of the given ``widths`` (input first), ReLU between them.

    Args:
        widths: at least two: input, hidden..., output.
        norm: batch normalisation before every ReLU (its layer then needs no bias).
        last_norm: after the last layer: "none", "affine" (batch normalisation) or "plain" (without scale and shift, as
            in SimSiam's and MoCo v3's projections).
        last_bias: whether the last linear layer has a bias; it has none before a normalisation.
    """
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths[:-1]):
        layers.append(nn.Linear(a, b, bias=not norm))
        if norm:
            layers.append(nn.BatchNorm1d(b))
        layers.append(nn.ReLU(inplace=True))
    layers.append(nn.Linear(widths[-2], widths[-1], bias=last_bias and last_norm == "none"))
    if last_norm != "none":
        layers.append(nn.BatchNorm1d(widths[-1], affine=last_norm == "affine"))
    return nn.Sequential(*layers)


def projection(
    kind: str, dim: int, out: int, *, hidden: int | None = None, norm: bool = True, last_norm: str = "none"
) -> nn.Module:
    """Return SimCLR's projection head of one of the three kinds of its Figure 8.

    "identity" passes (N, dim) on, "linear" is one layer to (N, out), "nonlinear" an MLP with one hidden layer of
    ``hidden`` units (default ``dim``).
    """
    if kind == "identity":
        return nn.Identity()
    if kind == "linear":
        return nn.Linear(dim, out, bias=False)
    if kind == "nonlinear":
        return mlp([dim, hidden or dim, out], norm=norm, last_norm=last_norm)
    raise ValueError(f"Unknown projection {kind!r}; expected one of {', '.join(KINDS)}.")


class WeightNormPrototypes(nn.Module):
    """Prototypes on the sphere: normalised projections (..., D) to cosine scores (..., K) (SwAV; DINO's last layer).

    With ``has_scale`` each score is multiplied by a trained number, 1 at first. They begin as a linear layer does, as in DINO's
    code: the shorter the vectors, the faster a step turns them.
    """

    def __init__(self, dim: int, prototypes: int, *, has_scale: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.uniform_(Tensor(prototypes, dim), -(dim**-0.5), dim**-0.5))
        self.scale = nn.Parameter(torch.ones(prototypes)) if has_scale else None

    def forward(self, z: Tensor) -> Tensor:
        scores = nn.functional.normalize(z, dim=-1) @ nn.functional.normalize(self.weight, dim=1).T
        return scores if self.scale is None else scores * self.scale


# --------------------------------------------------------------------------------------------- heads as plain values


def describe(head: nn.Module) -> list[dict[str, Any]]:
    """Write a projection head down as plain values, a mapping a layer: the inverse of :func:`build`.

    A layer is ``{"layer": "linear", "in": D, "out": D2, "bias": bool}``, ``{"layer": "batchnorm", "dim": D, "affine":
    bool, "eps": float}``, ``{"layer": "relu"}`` or ``{"layer": "gelu"}``. An identity has none.

    Raises:
        UsageError: the head has another kind of layer.
    """
    layers: list[dict[str, Any]] = []
    for module in head if isinstance(head, nn.Sequential) else [head]:
        if isinstance(module, nn.Linear):
            has_bias = module.bias is not None
            layers.append({"layer": "linear", "in": module.in_features, "out": module.out_features, "bias": has_bias})
        elif isinstance(module, nn.BatchNorm1d | nn.SyncBatchNorm | SyncBatchNorm):
            layers.append(
                {"layer": "batchnorm", "dim": module.num_features, "affine": module.affine, "eps": module.eps}
            )
        elif type(module) in _ACTIVATIONS.values():
            layers.append({"layer": next(name for name, kind in _ACTIVATIONS.items() if kind is type(module))})
        elif not isinstance(module, nn.Identity):
            raise UsageError(
                f"A projection head of linear layers, BatchNorm1d, ReLU and GELU, alone or in an nn.Sequential, can be "
                f"kept in an encoder file; found {type(module).__name__}. Let projection() return None to keep none."
            )
    return layers


def build(layers: Sequence[Mapping[str, Any]]) -> nn.Sequential:
    """Return the head that :func:`describe` wrote down; its weights are about to be loaded.

    Raises:
        UsageError: a layer is none of those, or lacks a value.
    """
    with own_generator():
        return nn.Sequential(*map(_layer, layers))


def _layer(layer: Mapping[str, Any]) -> nn.Module:
    try:
        kind = layer["layer"]
        if kind == "linear":
            return nn.Linear(int(layer["in"]), int(layer["out"]), bias=bool(layer["bias"]))
        if kind == "batchnorm":
            return nn.BatchNorm1d(int(layer["dim"]), affine=bool(layer["affine"]), eps=float(layer["eps"]))
        return _ACTIVATIONS[kind]()
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{layer!r} is no layer of a projection head; expected linear (in, out, bias), batchnorm (dim, affine, "
            f"eps), {' or '.join(_ACTIVATIONS)}."
        ) from error


def head_meta(head: nn.Module | None, dim: int) -> dict[str, Any]:
    """Return what an encoder's meta says of its projection: ``head``, one of ``KINDS``, and ``head_dim``.

    ``dim`` is the encoder's; nothing is said where there is no projection (``head`` None).
    """
    if head is None:
        return {}
    layers = describe(head)
    outputs = [layer["out"] for layer in layers if layer["layer"] == "linear"]
    has_activation = any(layer["layer"] in _ACTIVATIONS for layer in layers)
    kind = "nonlinear" if has_activation else "linear" if outputs else "identity"
    return {"head": kind, "head_dim": outputs[-1] if outputs else dim}


class ProjectedBackbone(Backbone):
    """A backbone whose embedding is g(h), what its pretraining's loss saw; it has no pyramid.

    ``layers`` is what :func:`describe` gave. Its state has the backbone's names after ``backbone.`` and the head's
    after ``projection.``.

    Raises:
        UsageError: the head's layers do not follow each other, or do not begin at the backbone's dimension.
    """

    channels = ()
    strides = ()

    def __init__(self, backbone: Backbone, layers: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = build(layers)
        self.dim = backbone.dim
        for layer in layers:
            if layer.get("in", layer.get("dim", self.dim)) != self.dim:
                raise UsageError(f"The projection's layer {dict(layer)} follows {self.dim} dimensions.")
            self.dim = layer.get("out", self.dim)
        self.label = f"{backbone.label} with its projection"
        self.variant = json.dumps([dict(layer) for layer in layers], sort_keys=True)

    def embed(self, x: Tensor) -> Tensor:
        return self.projection(self.backbone.embed(x))

    def features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self.embed(x), []

    def strides_at(self, output_stride: int | None = None) -> tuple[int, ...]:
        raise UsageError("A projection is a vector an image and has no pyramid; use the encoder without it.")

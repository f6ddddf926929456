"""Frozen encoders: images in, embeddings and pyramids out, and nothing of the network ever changes."""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from virb.contracts.encoder import MatchReport
from virb.errors import UsageError, option
from virb.images import decode
from virb.networks import identity
from virb.networks.backbones import canonical_architecture
from virb.networks.base import Backbone
from virb.networks.folding import fold_batchnorm
from virb.networks.preprocess import Preprocess
from virb.networks.spec import safe_name
from virb.system import devices
from virb.system.products import use_for_inference


class FrozenEncoder:
    """A frozen network: always in evaluation mode, without gradients, and no buffer is ever updated.

    It is deliberately no ``nn.Module``: a head may hold one without its weights joining the head's. The network passed
    in is copied, so what is trained elsewhere is neither frozen nor followed. Inference runs on a second private copy,
    in ``dtype`` on ``device``, with channels-last memory and (``optimize``) BatchNorm folded into the convolutions;
    ``state_dict()`` and ``sha256`` are the original's.

    Attributes:
        name: safe as a folder's name on any file system.
        sha256: identity of the network by content (architecture and weights).
        identity: of what it computes: tensors, architecture, code, preprocessing and what is read off. Feature caches and
            records are keyed by it, and by the type it computes in. ``identity_parts`` has it field by field.
        arch, arch_options: what ``build_backbone`` takes.
        preprocess, meta: as in the encoder file.
        dim: D, the length of an embedding. channels, strides: of the pyramid's maps, finest first.
        source: what ``load_encoder`` was asked for, so that another process can load the same.
        report: where in a foreign checkpoint the weights were, and what was dropped.
    """

    is_compiled = False  # see compiled()

    def __init__(
        self,
        backbone: Backbone,
        *,
        name: str,
        arch: str,
        arch_options: Mapping[str, Any] | None = None,
        preprocess: Preprocess | None = None,
        meta: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
        optimize: bool = True,
        source: str | None = None,
        report: MatchReport | None = None,
    ) -> None:
        self.name = safe_name(name)
        self.arch, self.arch_options = canonical_architecture(arch, arch_options)
        self.preprocess = preprocess or Preprocess()
        self.meta: dict[str, Any] = dict(meta or {})
        self.optimize = optimize
        self.source = source
        self.report = report
        self._backbone = copy.deepcopy(backbone).cpu().eval().requires_grad_(False)
        self.dim, self.channels, self.strides = backbone.dim, backbone.channels, backbone.strides
        self.device = _checked_device(device)
        self.dtype = dtype
        self._network: Backbone | None = None
        self._offsets: dict[int | None, tuple[float, ...]] = {}

    def __repr__(self) -> str:
        return f"FrozenEncoder({self.name!r}, {self._backbone.label}, dim={self.dim}, size={self.preprocess.size})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_network": None}  # rebuilt where it is unpickled

    @functools.cached_property
    def sha256(self) -> str:
        return identity.state_sha256(self.arch, self.arch_options, self.state_dict(), variant=self._backbone.variant)

    @functools.cached_property
    def identity(self) -> str:
        return identity.digest_of(self.identity_parts)

    @functools.cached_property
    def identity_parts(self) -> dict[str, Any]:
        """What ``identity`` is a digest of, field by field (:func:`virb.networks.identity.identity_parts`)."""
        return identity.identity_parts(
            self._backbone,
            arch=self.arch,
            arch_options=self.arch_options,
            preprocess=self.preprocess,
            is_from_the_door=self.source is not None,
        )

    @property
    def parts(self) -> tuple[FrozenEncoder, ...]:
        """The encoders whose embeddings it puts side by side: itself, unless it was made of several."""
        return (self,)

    @property
    def backbone(self) -> Backbone:
        """The original network, which is never run."""
        return self._backbone

    def strides_at(self, output_stride: int | None = None) -> tuple[int, ...]:
        """Return the strides of ``pyramid(images, output_stride)``."""
        return self._backbone.strides_at(output_stride)

    def offsets_at(self, output_stride: int | None = None) -> tuple[float, ...]:
        """Return where the first cell of each map lies (:mod:`virb.images.geometry`), in pixels."""
        if output_stride not in self._offsets:
            self._offsets[output_stride] = self._backbone.offsets_at(output_stride)
        return self._offsets[output_stride]

    # -- looking

    def embed(self, images: Any) -> Tensor:
        """Return embeddings (N, D) in float32.

        ``images`` are prepared ones, float (N, 3, h, w); or an image as Pillow opens it, a path, an array uint8
        (H, W, 3) or (N, H, W, 3), or a list of such, which are prepared here.
        """
        return self._run(lambda network, x: [network.embed(x)], images)[0]

    def _opened(self, images: Any) -> Tensor:
        if isinstance(images, list | tuple):
            if not images:
                raise UsageError("No image was given.")
            return torch.cat([image if isinstance(image, Tensor) else self._opened(image) for image in images])
        if isinstance(images, str | os.PathLike):
            images = decode.read_image(images)
        elif hasattr(images, "getexif"):
            images = decode.to_rgb(images)
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[-1:] != (3,):
            found = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
            raise UsageError(
                f"An encoder takes an image (Pillow's, a path, or an array uint8 (H, W, 3)) or prepared images, a float "
                f"tensor (N, 3, h, w) as prepare() gives; found {found}."
            )
        pixels = torch.from_numpy(np.array(images))
        return self.prepare(pixels[None] if pixels.ndim == 3 else pixels)

    def pyramid(self, images: Any, output_stride: int | None = None) -> list[Tensor]:
        """Return maps (N, channels[k], ceil(h / strides[k]), ceil(w / strides[k])) in float32, finest first; any h, w.

        ``images`` are as :meth:`embed` takes them.
        ``output_stride`` 16 or 8 dilates a ResNet's last stages in place of their strides, with the same weights.
        """
        return self._run(lambda network, x: network.pyramid(x, output_stride), images)

    def features(self, images: Any) -> tuple[Tensor, list[Tensor]]:
        """Return the embedding and the pyramid from one pass."""
        embedding, *maps = self._run(lambda network, x: [(found := network.features(x))[0], *found[1]], images)
        return embedding, maps

    def prepare_network(self) -> None:
        """Build the copy that inference runs on now, so that threads may then share this encoder."""
        self._inference_network()

    def release_network(self) -> None:
        """Give back the memory of the copy that inference runs on; it is built again when it is needed."""
        self._network = None

    def prepare(self, images: Tensor) -> Tensor:
        """Return uint8 ``images`` (N, H, W, 3) or (N, 3, H, W) as this encoder's input, on its device."""
        return self.preprocess(images, device=self.device)

    def _run(self, look: Any, images: Any) -> list[Tensor]:
        if not isinstance(images, Tensor):
            images = self._opened(images)
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise UsageError(
                f"An encoder takes float images (N, 3, h, w), as prepare() gives; found {images.dtype} of shape "
                f"{tuple(images.shape)}. Images of 8 bits come through prepare() first, or as arrays, paths or Pillow's."
            )
        network = self._inference_network()
        # no_grad is as fast as inference_mode here, and heads can train on its tensors without copying them first.
        # A caller's autocast must not change what a frozen encoder computes.
        exact = devices.fp32_unless_chosen(self.device)
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False), exact:
            x = images.to(self.device, self.dtype, non_blocking=True, memory_format=torch.channels_last)
            return [output.float() for output in look(network, x)]

    def _inference_network(self) -> Backbone:
        if self._network is None:
            network = copy.deepcopy(self._backbone)
            if self.optimize:
                fold_batchnorm(network)
                network.eval()  # the placeholders of the folded layers too
            network.to(self.device, self.dtype)
            if self.optimize and not self.is_compiled and (self.device.type, self.dtype) == ("cpu", torch.float32):
                use_for_inference(network)
            network.to(memory_format=torch.channels_last)
            if self.is_compiled:
                for name in ("embed", "pyramid", "features"):
                    setattr(network, name, torch.compile(getattr(network, name)))
            self._network = network
        return self._network

    # -- what an nn.Module would have

    def train(self, mode: bool = True) -> FrozenEncoder:
        """Do nothing: a frozen encoder stays in eval mode."""
        return self

    def eval(self) -> FrozenEncoder:
        return self

    @property
    def training(self) -> bool:
        return False

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights as they were loaded (float32, on the CPU)."""
        return dict(self._backbone.state_dict())

    def modules(self) -> Iterator[nn.Module]:
        """Yield the modules of the original network and of the copy that inference runs on."""
        yield from self._backbone.modules()
        if self._network is not None:
            yield from self._network.modules()

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of both copies; none of them requires a gradient."""
        yield from self._backbone.parameters()
        if self._network is not None:
            yield from self._network.parameters()

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> FrozenEncoder:
        """Move inference to ``device`` and ``dtype``, and return this encoder."""
        moved = self.device if device is None else _checked_device(device)
        kind = self.dtype if dtype is None else dtype
        if (moved, kind) != (self.device, self.dtype):
            self.device, self.dtype, self._network = moved, kind, None
        return self

    def compiled(self) -> FrozenEncoder:
        """Return this encoder with a forward pass that torch.compile makes one program of when it is first used."""
        made = copy.copy(self)
        made.is_compiled, made._network = True, None
        return made

    def trainable_copy(self) -> Backbone:
        """Return an independent copy of the original network that may be trained (to finetune it)."""
        return copy.deepcopy(self._backbone).requires_grad_(True).train()


def _checked_device(device: torch.device | str | None) -> torch.device:
    try:
        chosen = torch.device("cpu" if device is None else device)
    except RuntimeError as error:
        raise UsageError(f"Unknown device {device!r}; expected cpu, cuda or cuda:0.") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            f"The device {device!r} was asked for, but torch sees no GPU here. Use {option('device', 'cpu')}."
        )
    return chosen

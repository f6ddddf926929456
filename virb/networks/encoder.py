"""Frozen encoders: images in, embeddings and pyramids out, and nothing of the network ever changes."""

from __future__ import annotations

import contextlib
import copy
import difflib
import functools
import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from virb.contracts.roles import DECLARED, check_role
from virb.convert import zoo
from virb.convert.load import (
    FORMAT,
    MatchReport,
    detect_architecture,
    match_state,
    read_checkpoint,
    state_sha256,
)
from virb.errors import CheckpointError, RegistryError, UsageError
from virb.networks.backbones import Backbone, blank_backbone, build_backbone, canonical_architecture, fold_batchnorm
from virb.system.files import DEVICE_NAMES
from virb.system.threads import own_generator

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocess:
    """How 8-bit images become an encoder's input: both sides to ``size`` (no crop), to 0..1, minus mean, over std.

    Resizing is bilinear with antialiasing and rounds to 8 bits, as image libraries do (Kotar et al. 2021, Section 3.1
    resizes every image-level input to 224 x 224).
    """

    size: int = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "std", tuple(float(value) for value in self.std))
        if not 1 <= self.size <= 8192:
            raise UsageError(f"The size of an encoder's images is {self.size}; expected 1 to 8192 pixels.")
        values = (*self.mean, *self.std)
        if len(self.mean) != 3 or len(self.std) != 3 or not all(map(math.isfinite, values)) or min(self.std) <= 0:
            raise UsageError(f"mean={self.mean} and std={self.std} must be three numbers each, and std above 0.")

    def as_dict(self) -> dict[str, Any]:
        return {"size": self.size, "mean": list(self.mean), "std": list(self.std)}

    def __call__(self, images: Tensor, *, device: torch.device | str | None = None) -> Tensor:
        """Return the input for uint8 ``images`` (N, H, W, 3) or (N, 3, H, W): float32 (N, 3, size, size).

        Raises:
            UsageError: the tensor is not 8-bit RGB.
        """
        images = _channels_first(images)
        if device is not None:
            images = images.to(device, non_blocking=True)
        if tuple(images.shape[2:]) != (self.size, self.size):
            images = _resize(images, self.size)
        return self.normalise(images)

    def normalise(self, images: Tensor) -> Tensor:
        """Return uint8 ``images`` (N, 3, h, w) or (N, h, w, 3) at the size they have, as float32 (N, 3, h, w)."""
        images = _channels_first(images).float()
        mean = torch.tensor(self.mean, device=images.device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(1, 3, 1, 1)
        return images.div_(255).sub_(mean).div_(std)


def _channels_first(images: Tensor) -> Tensor:
    if images.ndim != 4 or images.dtype != torch.uint8 or 3 not in (images.shape[1], images.shape[3]):
        raise UsageError(
            f"Images to prepare are uint8 of shape (N, H, W, 3) or (N, 3, H, W); found {images.dtype} of shape "
            f"{tuple(images.shape)}."
        )
    return images.permute(0, 3, 1, 2) if images.shape[3] == 3 else images


def _resize(images: Tensor, size: int) -> Tensor:
    if images.device.type == "cpu":  # the 8-bit kernel is several times faster than the float one
        return F.interpolate(images, (size, size), mode="bilinear", antialias=True)
    resized = F.interpolate(images.float(), (size, size), mode="bilinear", antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8)


class FrozenEncoder:
    """A network that only looks: eval mode always, no gradient, no buffer ever updated.

    It is deliberately no ``nn.Module``: a head may hold one without its weights joining the head's. The network passed
    in is copied, so what is trained elsewhere is neither frozen nor followed. Inference runs on a second private copy,
    in ``dtype`` on ``device``, with channels-last memory and (``optimize``) BatchNorm folded into the convolutions;
    ``state_dict()`` and ``sha256`` are the original's.

    Attributes:
        name: safe as a folder's name on any file system.
        sha256: identity of the network by content (architecture and weights).
        identity: identity of what it computes: network and preprocessing. Feature caches and records are keyed by it.
        arch, arch_options: what ``build_backbone`` takes.
        preprocess, meta: as in the encoder file.
        dim: D, the length of an embedding. channels, strides: of the pyramid's maps, finest first.
        source: what ``load_encoder`` was asked for, so that another process can load the same.
        report: where in a foreign checkpoint the weights were, and what was dropped.
    """

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

    def __repr__(self) -> str:
        return f"FrozenEncoder({self.name!r}, {self._backbone.label}, dim={self.dim}, size={self.preprocess.size})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_network": None}  # rebuilt where it is unpickled

    @functools.cached_property
    def sha256(self) -> str:
        return state_sha256(self.arch, self.arch_options, self.state_dict(), variant=self._backbone.variant)

    @functools.cached_property
    def identity(self) -> str:
        settings = json.dumps(self.preprocess.as_dict(), sort_keys=True)
        return hashlib.sha256(f"{self.sha256}\n{settings}".encode()).hexdigest()

    def strides_at(self, output_stride: int | None = None) -> tuple[int, ...]:
        """Return the strides of ``pyramid(images, output_stride)``."""
        return self._backbone.strides_at(output_stride)

    # -- looking

    def embed(self, images: Tensor) -> Tensor:
        """Return embeddings (N, D) in float32 for prepared ``images``, float (N, 3, h, w)."""
        return self._run(lambda network, x: [network.embed(x)], images)[0]

    def pyramid(self, images: Tensor, output_stride: int | None = None) -> list[Tensor]:
        """Return maps (N, channels[k], ceil(h / strides[k]), ceil(w / strides[k])) in float32, finest first; any h, w.

        ``output_stride`` 16 or 8 dilates a ResNet's last stages in place of their strides, with the same weights.
        """
        return self._run(lambda network, x: network.pyramid(x, output_stride), images)

    def features(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the embedding and the pyramid from one pass."""
        embedding, *maps = self._run(lambda network, x: [(found := network.features(x))[0], *found[1]], images)
        return embedding, maps

    def prepare_network(self) -> None:
        """Build the copy that inference runs on now, so that threads may then share this encoder."""
        self._inference_network()

    def prepare(self, images: Tensor) -> Tensor:
        """Return uint8 ``images`` (N, H, W, 3) or (N, 3, H, W) as this encoder's input, on its device."""
        return self.preprocess(images, device=self.device)

    def _run(self, look: Any, images: Tensor) -> list[Tensor]:
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise UsageError(
                f"An encoder takes float images (N, 3, h, w), as prepare() gives; found {images.dtype} of shape "
                f"{tuple(images.shape)}."
            )
        network = self._inference_network()
        # no_grad is as fast as inference_mode here, and heads can train on its tensors without copying them first.
        # A caller's autocast must not change what a frozen encoder computes.
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            x = images.to(self.device, self.dtype, non_blocking=True, memory_format=torch.channels_last)
            return [output.float() for output in look(network, x)]

    def _inference_network(self) -> Backbone:
        if self._network is None:
            network = copy.deepcopy(self._backbone)
            if self.optimize:
                fold_batchnorm(network)
                network.eval()  # the placeholders of the folded layers too
            network.to(self.device, self.dtype)
            network.to(memory_format=torch.channels_last)
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

    def trainable_copy(self) -> Backbone:
        """Return an independent copy of the original network that may be trained (to finetune it)."""
        return copy.deepcopy(self._backbone).requires_grad_(True).train()


def _checked_device(device: torch.device | str | None) -> torch.device:
    try:
        chosen = torch.device("cpu" if device is None else device)
    except RuntimeError as error:
        raise UsageError(f"Unknown device {device!r}; expected cpu, cuda or cuda:0.") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"The device {device!r} was asked for, but torch sees no GPU here. Use --device cpu.")
    return chosen


# ----------------------------------------------------------------------------------------------------------- names

_SUFFIXES = (".pt", ".pth", ".tar", ".torch", ".pkl", ".safetensors", ".ckpt", ".bin")


def safe_name(name: str) -> str:
    """Return ``name`` as a folder's name that every file system takes."""
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", name.replace("=", "")).strip(".- ")
    text = re.sub(r"-{2,}", "-", text)
    if len(text) > 100:
        text = f"{text[:87].rstrip('.-')}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    if not text:
        return "encoder"
    return f"encoder-{text}" if DEVICE_NAMES.fullmatch(text) else text


def _stem(path: Path) -> str:
    name = path.name
    while name.lower().endswith(_SUFFIXES) and Path(name).stem:
        name = Path(name).stem
    return name


def split_source(source: str) -> tuple[str, dict[str, str]]:
    """Split ``random:resnet18:width=0.25,seed=1`` into the name and its options.

    Options begin at the first ``:key=`` (or ``?key=``) and are separated by commas (or ``&``); the second spelling of
    each needs quotes in a shell.

    Raises:
        UsageError: an option without a value, or given twice.
    """
    start = re.search(r"[:?](?=[A-Za-z_]+=)", source)
    if start is None:
        return source, {}
    options: dict[str, str] = {}
    for part in re.split(r"[,&]", source[start.end() :]):
        key, equals, value = part.partition("=")
        if not equals or not key or not value:
            raise UsageError(
                f"{source!r}: cannot read the option {part!r}; expected key=value, several separated by commas, as in "
                "random:resnet18:width=0.25,seed=1."
            )
        if key in options:
            raise UsageError(f"{source!r}: the option {key} is given twice.")
        options[key] = value
    return source[: start.start()], options


def reference_encoders() -> dict[str, Path]:
    """Return the encoder files that come with virb, by name."""
    import virb.encoders

    return {path.stem: path for folder in virb.encoders.__path__ for path in sorted(Path(folder).glob("*.pt"))}


_KINDS = ("random:", "pixels", "timm:", "torchvision:", zoo.PREFIX)


def expand_sources(sources: Sequence[Any]) -> list[Any]:
    """Replace patterns of the zoo's names (``zoo:swav-*``, with options or without) by the names; keep all else.

    Raises:
        UsageError: a pattern matches nothing.
    """
    found: list[Any] = []
    for source in sources:
        base = split_source(source)[0] if isinstance(source, str) and source.startswith(zoo.PREFIX) else ""
        if zoo.is_pattern(base):
            names = zoo.matching(base.removeprefix(zoo.PREFIX))
            found += [f"{zoo.PREFIX}{name}{source[len(base) :]}" for name in names]
        else:
            found.append(source)
    return found


def load_encoder(
    source: str | os.PathLike[str],
    *,
    device: torch.device | str | None = None,
    name: str | None = None,
    dtype: torch.dtype = torch.float32,
    optimize: bool = True,
    **options: Any,
) -> FrozenEncoder:
    """Return the frozen encoder that ``source`` names. Nothing of a file is ever executed.

    ================================  ============================================================================
    ``mine.pt``                       a virb encoder file
    ``mine.pt:features=projection``   its embedding as its pretraining's loss saw it, g(h) in place of h; no pyramid
    ``mine.pth.tar`` (.pth, .torch,   a published checkpoint: the architecture is read off the tensors, or given as
    .ckpt, .safetensors, .pkl)        ``mine.pth.tar:arch=resnet50``; ``prefix=`` chooses among several networks
    ``supervised``                    an encoder that comes with virb
    ``zoo:moco-v2-imagenet-800``      a published encoder of encoders/zoo.yaml, fetched when it is first named
    ``random:resnet18:seed=1``        random weights, equal wherever the seed is; BatchNorm as initialised
    ``pixels:8``                      the image itself, averaged to 8 x 8
    ``timm:NAME``                     pretrained weights through the library
    ``torchvision:NAME``              likewise; ``weights=IMAGENET1K_V1`` chooses among several
    ================================  ============================================================================

    Options follow the name as ``:key=value,key=value`` or come as keyword arguments: ``size``, ``mean``, ``std`` (three
    numbers as ``0.5/0.5/0.5``) change the preprocessing, ``name`` the name, and the architecture's own (``width``,
    ``stem``, ``image_size``, ``heads``, ``grid``, ...) say which network. Without them files that carry no
    preprocessing get 224 pixels and ImageNet's mean and std. ``role``, ``family`` and ``repeat`` declare what the encoder
    is in comparisons, and do not change its name.

    Raises:
        CheckpointError: there is no such encoder, or its file is not exactly that architecture.
        UsageError: an option is unknown or has an impossible value.
    """
    text = os.fspath(source)
    base, asked = (text, {}) if Path(text).is_file() else split_source(text)
    asked = {**asked, **{key: value for key, value in options.items() if value is not None}}
    name = asked.pop("name", None) if name is None else name
    declared = {word: str(asked.pop(word)) for word in DECLARED if word in asked}
    if "role" in declared:
        declared["role"] = check_role(declared["role"], text)
    shown = base
    if Path(base).is_file() or not base.startswith(_KINDS):
        path = _find_file(base)
        shown = _stem(path)
        found = _load_file(path, dict(asked))
    elif base.startswith("random:"):
        found = _make_random(base.partition(":")[2], dict(asked))
    elif base.startswith("pixels"):
        found = _make_pixels(base, dict(asked))
        shown = f"pixels-{found.arch_options['grid']}"
        asked.pop("grid", None)
    elif base.startswith(zoo.PREFIX):
        found = _load_published(base, dict(asked))
        shown = base.removeprefix(zoo.PREFIX)
    elif base.startswith("timm:"):
        found = _load_timm(base, dict(asked))
    else:
        found = _load_torchvision(base, dict(asked))
    if name is None:
        # What changes the outcome changes the name, or two encoders would share a folder of results.
        silent = ["arch"] if Path(base).is_file() else []
        silent += ["features"] if asked.get("features") == "embedding" else []
        name = "-".join(
            [shown, *(f"{key}{_plain(value)}" for key, value in sorted(asked.items()) if key not in silent)]
        )
    return FrozenEncoder(
        found.backbone,
        name=name,
        arch=found.arch,
        arch_options=found.arch_options,
        preprocess=found.preprocess,
        meta=_with_role({**found.meta, **declared}, found.backbone),
        device=device,
        dtype=dtype,
        optimize=optimize,
        source=text,
        report=found.report,
    )


def _with_role(meta: dict[str, Any], backbone: Backbone) -> dict[str, Any]:
    """The meta with a role: what it says itself, else what its method declares of its encoders, else that a network
    without parameters is a baseline, else nothing."""
    from virb import registry

    if meta.get("role"):
        return meta
    role = None
    with contextlib.suppress(RegistryError, UsageError):
        role = registry.load("methods", str(meta.get("method"))).role
    if role in (None, "unknown") and not any(True for _ in backbone.parameters()):
        role = "baseline"
    return meta if role in (None, "unknown") else {**meta, "role": role}


@dataclass
class _Found:
    backbone: Backbone
    arch: str
    arch_options: dict[str, Any]
    preprocess: Preprocess
    meta: dict[str, Any]
    report: MatchReport | None = None


def _plain(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _find_file(base: str) -> Path:
    path = Path(base)
    if path.exists():
        return path
    known = reference_encoders()
    if base in known:
        return known[base]
    if path.name != base or path.suffix in _SUFFIXES:
        return path  # read_checkpoint says what is wrong with it
    choices = [*known, *(f"{kind}..." for kind in ("random:", "pixels:", "timm:", "torchvision:", zoo.PREFIX))]
    close = difflib.get_close_matches(base, [*known, *zoo.published()], 3, 0.5)
    close = [other if other in known else f"{zoo.PREFIX}{other}" for other in close]
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    raise CheckpointError(
        f"There is no file and no encoder called {base!r}.{hint} Expected a path to a checkpoint, or one of: "
        f"{', '.join(choices)}."
    )


def _number(text: Any, key: str) -> int:
    try:
        return int(text)
    except (TypeError, ValueError) as error:
        raise UsageError(f"The option {key} is {text!r}; expected a whole number.") from error


def _triple(value: Any, key: str) -> tuple[float, float, float]:
    parts = value.split("/") if isinstance(value, str) else value
    try:
        first, second, third = (float(part) for part in parts)
    except (TypeError, ValueError) as error:
        raise UsageError(f"The option {key} is {value!r}; expected three numbers, as in 0.5/0.5/0.5.") from error
    return first, second, third


def _take_preprocess(options: dict[str, Any], default: Preprocess) -> Preprocess:
    changes: dict[str, Any] = {}
    if "size" in options:
        changes["size"] = _number(options.pop("size"), "size")
    for key in ("mean", "std"):
        if key in options:
            changes[key] = _triple(options.pop(key), key)
    return replace(default, **changes)


def _check_known(options: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    for key in options:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1, 0.5)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise UsageError(f"{what} has no option {key!r}.{hint} It takes {', '.join(known)}.")


_COMMON = ("size", "mean", "std", "name")


def _known_options(arch: str) -> tuple[str, ...]:
    return (*canonical_architecture(arch)[1], *_COMMON)


def _make_random(arch: str, options: dict[str, Any]) -> _Found:
    arch, _ = canonical_architecture(arch)
    _check_known(options, (*_known_options(arch), "seed"), f"random:{arch}")
    seed = _number(options.pop("seed", 0), "seed")
    preprocess = _take_preprocess(options, Preprocess())
    arch, full = canonical_architecture(arch, options)
    with own_generator(seed):
        backbone = build_backbone(arch, **full)
    return _Found(backbone, arch, full, preprocess, {"method": "random", "role": "untrained", "seed": seed})


def _make_pixels(base: str, options: dict[str, Any]) -> _Found:
    kind, colon, grid = base.partition(":")
    if kind != "pixels":
        raise CheckpointError(f"There is no file and no encoder called {base!r}. Did you mean pixels or pixels:8?")
    _check_known(options, _known_options("pixels"), "pixels")
    if colon:
        options.setdefault("grid", grid)
    preprocess = _take_preprocess(options, Preprocess(size=64))
    arch, full = canonical_architecture("pixels", options)
    return _Found(build_backbone(arch, **full), arch, full, preprocess, {"method": "pixels", "role": "baseline"})


def _load_file(path: Path, options: dict[str, Any]) -> _Found:
    content = read_checkpoint(path)
    if "format" in content:
        return _load_own(path, content, options)
    if "features" in options:
        raise UsageError(f"{path}: only virb's own encoder files, which virb pretrain writes, take features=.")
    prefix = options.pop("prefix", None)
    if "arch" in options:
        arch, full = canonical_architecture(str(options.pop("arch")))
    else:
        arch, full = detect_architecture(content, prefix=prefix, what=str(path))
    _check_known(options, (*_known_options(arch), "arch", "prefix"), str(path))
    preprocess = _take_preprocess(options, Preprocess())
    arch, full = canonical_architecture(arch, {**full, **options})
    backbone = blank_backbone(arch, full)
    state, report = match_state(content, backbone, prefix=prefix, what=str(path))
    backbone.load_state_dict(state)
    return _Found(backbone, arch, full, preprocess, {}, report)


def _load_own(path: Path, content: Mapping[str, Any], options: dict[str, Any]) -> _Found:
    if content["format"] != FORMAT:
        raise CheckpointError(f"{path} has the format {content['format']!r}; this virb reads {FORMAT!r}. Update virb.")
    kinds = {"arch": str, "arch_options": Mapping, "state_dict": Mapping, "preprocess": Mapping, "meta": Mapping}
    for key, kind in kinds.items():
        if not isinstance(content.get(key), kind):
            raise CheckpointError(
                f"{path} says it is {FORMAT!r} but has no proper {key!r}. Write it with save_encoder."
            )
    _check_known(options, ("arch", "features", *_COMMON), f"{path} (a virb encoder file)")
    try:
        arch, full = canonical_architecture(content["arch"], content["arch_options"])
        settings = content["preprocess"]
        stored = Preprocess(int(settings["size"]), tuple(settings["mean"]), tuple(settings["std"]))
        backbone = blank_backbone(arch, full)
    except (UsageError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    if "arch" in options and canonical_architecture(str(options["arch"]))[0] != arch:
        raise CheckpointError(f"{path} holds {backbone.label}, not {options['arch']}.")
    options.pop("arch", None)
    preprocess = _take_preprocess(options, stored)
    state: Mapping[str, Any] = content["state_dict"]
    if backbone.state_dict():
        state, _ = match_state({"state_dict": state}, backbone, what=f"{path} (which says it holds {backbone.label})")
        backbone.load_state_dict(state)
    meta = dict(content["meta"])
    asked = options.pop("features", "embedding")
    if asked not in _FEATURES:
        raise UsageError(f"{path}: features={asked}; expected {' or '.join(_FEATURES)}.")
    if asked == "projection":
        return _Found(_projected(path, backbone, content), arch, full, preprocess, {**meta, "features": asked})
    return _Found(backbone, arch, full, preprocess, meta)


_FEATURES = ("embedding", "projection")


def _projected(path: Path, backbone: Backbone, content: Mapping[str, Any]) -> Backbone:
    """The network of an encoder file with the projection head that the file keeps of its pretraining."""
    from virb.networks.projections import ProjectedBackbone

    meta, stored = content["meta"], content.get("projection")
    if stored is None:
        if meta.get("head") == "identity":
            raise CheckpointError(
                f"{path} was pretrained without a projection head (head=identity): its loss saw the embedding itself. "
                "Leave features=projection out."
            )
        raise CheckpointError(
            f"{path} keeps no projection head: its method ({meta.get('method', 'unknown')}) has none, or an older virb "
            "wrote the file. Leave features=projection out, or pretrain again, which keeps it."
        )
    try:
        projected = ProjectedBackbone(backbone, stored["layers"])
        projected.projection.load_state_dict(stored["state_dict"])
    except (UsageError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: its projection head cannot be read: {error}") from error
    return projected


def _load_published(base: str, options: dict[str, Any]) -> _Found:
    entry = zoo.find(base.removeprefix(zoo.PREFIX))
    path = zoo.fetch(entry)
    found = _load_file(path, {"arch": entry.arch, **entry.options, **options})
    found.meta = {**entry.meta, "title": entry.title, "source": entry.url}
    return found


def _load_timm(base: str, options: dict[str, Any]) -> _Found:
    import timm

    name = base.partition(":")[2]
    _check_known(options, _COMMON, base)
    with own_generator():
        try:
            backbone = build_backbone(base)
            state = timm.create_model(name, pretrained=True, num_classes=0).state_dict()
        except UsageError:
            raise
        except Exception as error:  # whatever the hub's client raises: no network, no such weights, a full disk
            raise CheckpointError(
                f"The pretrained weights of {base} could not be had: {_first_line(error)}. Where there is no network, "
                f"download the model's .safetensors file elsewhere and give it as FILE.safetensors:arch={base}, or use "
                f"random:{base} for random weights."
            ) from error
    backbone.load_state_dict({f"{backbone.key_prefix}{key}": value for key, value in state.items()})
    config: Mapping[str, Any] = getattr(backbone, "config", {})
    default = Preprocess(
        int((config.get("input_size") or (3, 224, 224))[-1]),
        config.get("mean") or IMAGENET_MEAN,
        config.get("std") or IMAGENET_STD,
    )
    meta = {"source": base, "role": timm_role(str(config.get("tag") or ""))}
    return _Found(backbone, base, {}, _take_preprocess(options, default), meta)


def _load_torchvision(base: str, options: dict[str, Any]) -> _Found:
    from torchvision import models

    name = base.partition(":")[2]
    _check_known(options, ("weights", *_COMMON), base)
    arch, full = canonical_architecture(base)
    backbone = blank_backbone(arch, full)
    choices = models.get_model_weights(name)
    asked = str(options.pop("weights", "DEFAULT"))
    try:
        weights = choices[asked]
    except KeyError as error:
        raise UsageError(f"{base} has no weights {asked!r}; expected {', '.join(w.name for w in choices)}.") from error
    path = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    if not path.is_file():
        checked = re.search(r"-([0-9a-f]{8,})\.", path.name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(weights.url, str(path), checked[1] if checked else None)
        except Exception as error:  # no network, a full disk, a download that does not match its checksum
            raise CheckpointError(
                f"The pretrained weights of {base} could not be downloaded: {_first_line(error)}. Where there is no "
                f"network, put the file {path.name} into {path.parent} (torch's hub folder), or use random:{base} for "
                "random weights."
            ) from error
    state, report = match_state(read_checkpoint(path), backbone, what=str(path))
    backbone.load_state_dict(state)
    transform = weights.transforms()
    crop = getattr(transform, "crop_size", [224])
    default = Preprocess(crop[0], getattr(transform, "mean", IMAGENET_MEAN), getattr(transform, "std", IMAGENET_STD))
    # All of torchvision's classifiers are trained with labels, but for those whose trunk saw hashtags alone.
    role = "unknown" if "SWAG_LINEAR" in weights.name else "supervised"
    meta = {"source": f"{base}, {weights.name}", "role": role}
    return _Found(backbone, arch, full, _take_preprocess(options, default), meta, report)


# What the parts of timm's tags stand for (its own documentation of pretrained weights); ft_ is what came last.
_TIMM_LABELS = re.compile(r"in(1k|12k|21k|22k)")
_TIMM_ALONE = ("dino", "mae", "fcmae", "ijepa", "lvd142m", "lvd1689m", "sat493m")
_TIMM_TEXT = re.compile(r"openai|laion\w*|datacomp\w*|webli|dfn\w*|metaclip\w*|clip|yfcc15m|cc12m")
_TIMM_UNCLEAR = ("mim", "ssl", "swsl", "ig1b", "swag", "distill", "dist", "apple")


def timm_role(tag: str) -> str:
    """Role of timm's weights by their tag: "a1_in1k" is supervised, "dino" self-supervised, "openai" learned from text.

    What a tag says after "ft" was done last, with labels. A tag of other parts is unknown.
    """
    parts = tag.lower().split("_")
    last = parts[len(parts) - parts[::-1].index("ft") :] if "ft" in parts else []
    if any(_TIMM_LABELS.fullmatch(part) for part in last):
        return "supervised"
    if any(part in _TIMM_UNCLEAR for part in parts):
        return "unknown"
    if any(part in _TIMM_ALONE for part in parts):
        return "self-supervised"
    if any(_TIMM_TEXT.fullmatch(part) for part in parts):
        return "language-supervised"
    return "supervised" if any(_TIMM_LABELS.fullmatch(part) for part in parts) else "unknown"


def _first_line(error: Exception) -> str:
    return (str(error).strip().split("\n")[0] or type(error).__name__)[:300].rstrip(".")

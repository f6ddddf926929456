"""Any published checkpoint -> an architecture and its exact weights, or a refusal that says why.

Nothing here unpickles: torch files are read with ``weights_only=True``, safetensors as they are, and pickles of numpy
arrays through a reader that knows arrays and nothing else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import hashlib
import json
import os
import pickle
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from virb.errors import CheckpointError, UsageError, VirbError
from virb.networks import projections
from virb.networks.backbones import (
    RESNETS,
    VIT_NAME,
    VIT_SIZES,
    Backbone,
    BasicBlock,
    Bottleneck,
    base_channels,
    blank_backbone,
    canonical_architecture,
    spell_architecture,
)
from virb.system.files import atomic_write

FORMAT = "virb-encoder/1"
State = dict[str, Tensor]

# --------------------------------------------------------------------------------------------------------- writing


def save_encoder(
    path: str | os.PathLike[str],
    *,
    arch: str,
    arch_options: Mapping[str, Any],
    state_dict: Mapping[str, Tensor],
    preprocess: Any,
    meta: Mapping[str, Any],
    projection: nn.Module | None = None,
) -> str:
    """Write an encoder file (format ``virb-encoder/1``) whole or not at all, and return its sha256 (by content).

    ``preprocess`` has ``size``, ``mean`` and ``std``, as a mapping or a dataclass; ``meta`` holds what JSON can hold.
    ``projection`` is the head that its pretraining put between embedding and loss, if that is more than an identity;
    the file keeps it as ``{"layers": [...], "state_dict": {...}}``, its layers as ``projections.describe`` writes them.

    Raises:
        UsageError: the state is not that architecture's, meta holds something else than plain values, or the projection
            is no chain of layers from the architecture's dimension.
        CheckpointError: the file cannot be written.
    """
    arch, options = canonical_architecture(arch, arch_options)
    backbone = blank_backbone(arch, options)
    state = {key: value.detach().to("cpu", copy=True).contiguous() for key, value in state_dict.items()}
    try:
        backbone.load_state_dict(state)
    except RuntimeError as error:
        raise UsageError(f"Cannot save an encoder as {arch}: {error}") from error
    settings = (
        dataclasses.asdict(preprocess)
        if dataclasses.is_dataclass(preprocess) and not isinstance(preprocess, type)
        else dict(preprocess)
    )
    try:
        plain_meta = json.loads(json.dumps(dict(meta), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UsageError(f"The meta of an encoder file holds plain values only (as JSON does): {error}.") from error
    content = {
        "format": FORMAT,
        "arch": arch,
        "arch_options": options,
        "state_dict": state,
        "preprocess": {
            "size": int(settings["size"]),
            "mean": [float(value) for value in settings["mean"]],
            "std": [float(value) for value in settings["std"]],
        },
        "meta": plain_meta,
    }
    if projection is not None and (layers := projections.describe(projection)):
        head = projections.ProjectedBackbone(backbone, layers).projection
        given = projection if isinstance(projection, nn.Sequential) else nn.Sequential(projection)
        head.load_state_dict(given.state_dict())  # a copy on the CPU
        content["projection"] = {"layers": layers, "state_dict": dict(head.state_dict())}
    _write_whole(Path(path), content)
    return state_sha256(arch, options, state)


def _write_whole(path: Path, content: Mapping[str, Any]) -> None:
    try:
        with atomic_write(path) as file:
            torch.save(content, file)
    except VirbError as error:
        cause = error.__cause__
        reason = (cause.strerror or cause) if isinstance(cause, OSError) else error
        raise CheckpointError(f"Cannot write the encoder {path}: {reason}.") from error


def state_sha256(
    arch: str, arch_options: Mapping[str, Any], state_dict: Mapping[str, Tensor], *, variant: str = ""
) -> str:
    """Return the identity of a network by content: architecture, names, shapes and values.

    ``variant`` is what neither architecture nor tensors tell, such as the layers of a projection on top.

    The container, the order of the tensors and options left at their defaults do not matter, nor do BatchNorm's
    batch counters, which old files lack and inference never reads. Values count as float32.
    """
    arch, options = canonical_architecture(arch, arch_options)
    digest = hashlib.sha256(json.dumps([arch, options], sort_keys=True).encode())
    digest.update(variant.encode())
    for key in sorted(state_dict):
        if key.endswith("num_batches_tracked"):
            continue
        tensor = state_dict[key].detach().cpu()
        tensor = (tensor.float() if tensor.is_floating_point() else tensor).contiguous()
        digest.update(f"\n{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        array = tensor.numpy()
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()


# --------------------------------------------------------------------------------------------------------- reading

_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_EXPECTED = (
    "Expected weights written by torch.save (.pt, .pth, .pth.tar, .torch, .ckpt), a .safetensors file, or a pickle of "
    "numpy arrays (.pkl)."
)
# What training frameworks store beside the weights. It is replaced by empty objects, never built.
_INERT = re.compile(
    r"(argparse\.Namespace|collections\.defaultdict|pathlib\.\w+|typing\.\w+|_codecs\.encode|enum\.\w+"
    r"|builtins\.(int|float|bool|complex|str|bytes|bytearray|dict|list|tuple|set|frozenset|slice|object)"
    r"|(numpy|omegaconf|hydra|pytorch_lightning|lightning|lightning_fabric|lightning_utilities|torchmetrics|yacs"
    r"|easydict|addict|munch|classy_vision|vissl|fvcore|torch\.optim)\.[\w.]+)"
)


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a weights file holds, as nested plain dicts with tensors in them; never run code from it.

    Raises:
        CheckpointError: the file is missing, truncated, no checkpoint, or would have to run code.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise CheckpointError(f"{path} is a folder. {_EXPECTED}")
        with path.open("rb") as file:
            head = file.read(4096)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no file {path}.{_siblings(path)}") from error
    except OSError as error:
        raise CheckpointError(f"Cannot read {path}: {error.strerror or error}.") from error

    if not head:
        raise CheckpointError(f"{path} is empty. {_EXPECTED} Copy or download it again.")
    if head.startswith((b"PK\x03\x04", _LEGACY_MAGIC)):
        content = _read_torch(path)
    elif len(head) >= 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 27:
        content = _read_safetensors(path)
    elif head[:1] == b"\x80":
        content = _read_numpy_pickle(path)
    else:
        raise CheckpointError(f"{path} ({size} bytes) is not a checkpoint: {_describe_head(head)}. {_EXPECTED}")
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}; expected a dict of tensors (a state_dict).")
    if content.get("format") == FORMAT and head.startswith(b"PK"):
        _check_sums(path)
    return content


def _check_sums(path: Path) -> None:
    """Refuse one of our own files with a changed byte; torch checks no sums, and others' files may carry none."""
    try:
        with zipfile.ZipFile(path) as archive:
            changed = archive.testzip()
    except (zipfile.BadZipFile, OSError) as error:
        raise _damaged(path, error) from error
    if changed is not None:
        raise _damaged(path, ValueError(f"the checksum of {changed} does not match"))


def _siblings(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    except OSError:
        return f" The folder {path.parent} does not exist either."
    close = difflib.get_close_matches(path.name, names, 3, 0.6)
    return f" Did you mean {' or '.join(str(path.with_name(name)) for name in close)}?" if close else ""


def _describe_head(head: bytes) -> str:
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; run `git lfs pull` to get the file it stands for"
    if head.lstrip()[:1] == b"<":
        return "it is a web page, so the download was answered by a page and not by the file; download it again"
    if head.startswith(b"\x1f\x8b") or head[257:262] == b"ustar":
        return "it is an archive; unpack it first"
    return f"it begins with {head[:8]!r}"


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = str(error).strip().split("\n")[0][:300] or type(error).__name__
    return CheckpointError(
        f"{path} ({path.stat().st_size} bytes) is truncated or damaged: {reason}. Copy or download it again."
    )


def _would_run_code(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path} holds a pickled {what}: reading it would run code, which virb never does, and nothing was run. "
        "Expected tensors and plain values. If you trust the file, load it where it was made and save its state_dict()."
    )


class _Inert:
    """Stands for an object that training left in a checkpoint; keeps nothing of it."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _inert_class(name: str) -> type:
    if name == "collections.defaultdict":  # its items are set one by one, which needs a dict
        return type("defaultdict", (), {"__new__": lambda cls, *args: {}})
    return type(name.rpartition(".")[2], (_Inert,), {})


def _read_torch(path: Path) -> Any:
    inert: dict[str, type] = {}
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about old formats: they are read all the same
                allowed: list[Any] = [(stand_in, name) for name, stand_in in inert.items()]
                with torch.serialization.safe_globals(allowed):
                    return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            text = str(error)
            found = re.search(r"GLOBAL (\S+)", text)
            if found is None:
                if "TorchScript" in text:
                    raise CheckpointError(
                        f"{path} is a TorchScript program, not weights. Save its state_dict() with torch.save."
                    ) from error
                if "Unsupported operand" in text:
                    raise CheckpointError(
                        f"{path} was written with a pickle protocol that torch's safe reader does not know. Load it "
                        "where it was made and save it again with torch.save, leaving pickle_protocol at its default."
                    ) from error
                what = re.search(r"(?:unrecognized function|`add_safe_globals`,? but got) (.+?)(?: which|\n|$)", text)
                if what is not None:
                    raise _would_run_code(path, what[1]) from error
                raise _damaged(path, error) from error
            name = found[1].rstrip(".,") if "." in found[1] else f"builtins.{found[1]}"
            if name in inert or not _INERT.fullmatch(name):
                raise _would_run_code(path, name) from error
            inert[name] = _inert_class(name)


def _read_safetensors(path: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path, device="cpu")
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise _damaged(path, error) from error


class _ArrayUnpickler(pickle.Unpickler):
    """Rebuilds numpy arrays and nothing else."""

    allowed = frozenset(
        (module, name)
        for core in ("numpy.core", "numpy._core")
        for module, name in (
            (f"{core}.multiarray", "_reconstruct"),
            (f"{core}.multiarray", "scalar"),
            (f"{core}.numeric", "_frombuffer"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
            ("collections", "OrderedDict"),
        )
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise _Forbidden(f"{module}.{name}")
        return super().find_class(module, name)


class _Forbidden(Exception):
    pass


def _read_numpy_pickle(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            content = _ArrayUnpickler(file, encoding="latin1").load()
    except _Forbidden as error:
        raise _would_run_code(path, str(error)) from error
    except Exception as error:
        raise _damaged(path, error) from error
    return _with_tensors(content)


def _with_tensors(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_tensors(item) for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))
    return value


# -------------------------------------------------------------------------------------------------------- matching


@dataclass(frozen=True)
class MatchReport:
    """Where in a checkpoint the weights were, and what was left aside."""

    container: (
        str  # the dicts they were found in, "state_dict" or "classy_state_dict/base_model/model/trunk"; "" if flat
    )
    prefix: str  # what stood before every name, "module.encoder_q."
    dropped: Mapping[str, int] = field(default_factory=dict)  # part -> how many tensors
    alternatives: tuple[str, ...] = ()  # other places that would have matched

    @property
    def place(self) -> str:
        return f"{self.container}/{self.prefix}" if self.container else self.prefix

    def __str__(self) -> str:
        text = f"weights from {self.place!r}" if self.place else "weights from the top of the file"
        if self.dropped:
            text += "; dropped " + ", ".join(f"{part} ({n})" for part, n in self.dropped.items())
        if self.alternatives:
            text += "; would have matched too: " + ", ".join(map(repr, self.alternatives))
        return text


# Among several that match exactly: the query over the key, the online network over its average; DINO's teacher.
_SECOND_CHOICE = re.compile(r"encoder_k|momentum|target|student|(^|[^a-z])ema([^a-z]|$)|key_encoder")


@dataclass
class _Candidate:
    container: str
    prefix: str
    table: Mapping[str, Tensor]
    missing: list[str]
    mismatched: list[str]
    foreign: list[str]  # tensors inside the architecture's own modules that it does not have

    @property
    def place(self) -> str:
        return f"{self.container}/{self.prefix}" if self.container else self.prefix

    @property
    def is_exact(self) -> bool:
        return not (self.missing or self.mismatched or self.foreign)

    @property
    def rank(self) -> bool:
        return _SECOND_CHOICE.search(self.place) is not None


def _tables(state: Mapping[Any, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield every dict of tensors in a checkpoint with the names of the dicts around it."""
    own = {key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if own:
        yield "/".join(path), own
        for key in own:
            if key.endswith(_SEQUENTIAL_PROBE):
                start = key.removesuffix(_SEQUENTIAL_PROBE)
                if f"{start}0.weight" in own and f"{start}1.running_mean" in own:
                    yield "/".join(path), _named_as_resnet(own, start)
    if len(path) < 8:
        for key, value in state.items():
            if isinstance(key, str) and isinstance(value, Mapping):
                yield from _tables(value, (*path, key))


# nn.Sequential(*list(resnet.children())[:-1]), lightly's usual backbone, numbers the parts: relu and pool are 2 and 3.
_SEQUENTIAL = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_SEQUENTIAL_PROBE = "4.0.conv1.weight"


def _named_as_resnet(table: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    renamed = {}
    for key, value in table.items():
        part, dot, rest = key.removeprefix(start).partition(".")
        if key.startswith(start) and part in _SEQUENTIAL:
            key = f"{start}{_SEQUENTIAL[part]}{dot}{rest}"
        renamed[key] = value
    return renamed


def _expected(backbone: Backbone) -> dict[str, Tensor]:
    return {key.removeprefix(backbone.key_prefix): value for key, value in backbone.state_dict().items()}


def _candidates(state: Mapping[str, Any], backbone: Backbone) -> list[_Candidate]:
    expected = _expected(backbone)
    parts = {key.split(".")[0] for key in expected}
    found = []
    for container, table in _tables(state):
        hits: Counter[str] = Counter()
        for key in table:
            names = key.split(".")
            for start in range(len(names)):
                if (tail := ".".join(names[start:])) in expected:
                    hits[key[: len(key) - len(tail)]] += 1
        for prefix, _ in hits.most_common(8):  # a true prefix has the most; layer1.0. fits a few names by accident
            missing, mismatched = [], []
            for key, tensor in expected.items():
                value = table.get(prefix + key)
                if value is None:
                    if not key.endswith("num_batches_tracked"):
                        missing.append(key)
                elif value.shape != tensor.shape:
                    mismatched.append(f"{key} {tuple(value.shape)} instead of {tuple(tensor.shape)}")
            foreign = []
            for key in table:
                own = key.removeprefix(prefix)
                is_inside = key.startswith(prefix) and own not in expected and own.split(".")[0] in parts
                is_head = any(own == head or own.startswith(f"{head}.") for head in backbone.head_names)
                if (is_inside and not is_head) or own.split(".")[0] in backbone.forbidden_names:
                    foreign.append(own)
            found.append(_Candidate(container, prefix, table, missing, mismatched, foreign))
    return found


def _listed(names: list[str], n: int = 4) -> str:
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")


def match_state(
    state: Mapping[str, Any], backbone: Backbone, *, prefix: str | None = None, what: str = "The checkpoint"
) -> tuple[State, MatchReport]:
    """Find the weights of ``backbone`` in a checkpoint, however nested and whatever stands before their names.

    The rule: the prefix under which *every* tensor of the architecture is present with its shape, and no other tensor
    lies in the architecture's modules. BatchNorm's batch counters may be absent (old files). Where several match, the
    query encoder goes before the key encoder, the online network before its momentum copy, DINO's teacher before the
    student; ``prefix`` (a part of the place, such as "student") chooses another.

    Returns the state under the backbone's own names, ready for a strict ``load_state_dict``, and the report.

    Raises:
        CheckpointError: nothing matches exactly (it lists what the closest candidate lacks), or several do.
    """
    label = backbone.label
    candidates = _candidates(state, backbone)
    if prefix is not None:
        places = [candidate.place for candidate in candidates]
        candidates = [candidate for candidate in candidates if prefix in candidate.place]
        if not candidates:
            raise CheckpointError(f"{what} has no {label} under {prefix!r}; found {_listed(places) or 'nothing'}.")
    exact = sorted((candidate for candidate in candidates if candidate.is_exact), key=lambda found: found.rank)
    if not exact:
        raise CheckpointError(_refusal(state, candidates, backbone, what))
    chosen = exact[0]
    rivals = [other for other in exact[1:] if other.rank == chosen.rank and not _are_equal(chosen, other, backbone)]
    if rivals:
        raise CheckpointError(
            f"{what} holds several different networks that are exactly {label}: "
            f"{_listed([repr(found.place) for found in (chosen, *rivals)])}. Choose one with the option prefix=..."
        )
    result: State = {}
    for key, value in _expected(backbone).items():
        found = chosen.table.get(chosen.prefix + key)
        if found is None:
            found = torch.zeros((), dtype=torch.long)  # the batch counter of an old file
        elif value.is_floating_point():
            found = found.float()
            if not bool(torch.isfinite(found).all()):
                raise CheckpointError(f"{what}: the tensor {chosen.prefix}{key} holds NaN or infinite values.")
        result[backbone.key_prefix + key] = found.contiguous()
    alternatives = tuple(found.place for found in exact[1:])
    return result, MatchReport(chosen.container, chosen.prefix, _dropped(state, chosen, result, backbone), alternatives)


def _are_equal(one: _Candidate, other: _Candidate, backbone: Backbone) -> bool:
    keys = [key for key in _expected(backbone) if not key.endswith("num_batches_tracked")]
    return all(torch.equal(one.table[one.prefix + key], other.table[other.prefix + key]) for key in keys)


def _dropped(state: Mapping[str, Any], chosen: _Candidate, used: State, backbone: Backbone) -> dict[str, int]:
    names = {chosen.prefix + key.removeprefix(backbone.key_prefix) for key in used}
    dropped: Counter[str] = Counter()
    for key in chosen.table:
        if key not in names:
            stem = next((start for start in (chosen.prefix, "module.") if key.startswith(start)), "")
            dropped[stem + key.removeprefix(stem).split(".")[0]] += 1
    others = {container: len(table) for container, table in _tables(state) if container != chosen.container}
    for container, n in others.items():
        dropped["/".join(container.split("/")[:2])] += n
    return dict(dropped)


def _refusal(state: Mapping[str, Any], candidates: list[_Candidate], backbone: Backbone, what: str) -> str:
    label = backbone.label
    if not candidates:
        keys = [key for _, table in _tables(state) for key in table]
        held = f"{len(keys)} tensors ({_listed(keys)})" if keys else f"no tensors ({_listed(list(map(str, state)))})"
        return (
            f"{what} is not {label}: it holds {held}, none under a name of that architecture. Say another with arch=."
        )
    best = min(candidates, key=lambda found: len(found.missing) + len(found.mismatched) + len(found.foreign))
    lines = [f"{what} is not exactly {label}, and is never loaded in part."]
    lines.append(f"Closest: {best.place!r}." if best.place else "Closest: the top of the file.")
    for title, names in (
        ("Missing", best.missing),
        ("Of another shape", best.mismatched),
        (f"Not part of {label}", best.foreign),
    ):
        if names:
            lines.append(f"{title} ({len(names)}): {_listed(names)}.")
    with contextlib.suppress(CheckpointError):
        arch, options = detect_architecture(state)
        said = spell_architecture(arch, options)
        if said != label:
            lines.append(f"The tensors look like {said}.")
    return " ".join(lines)


# ------------------------------------------------------------------------------------------------------- detection


def detect_architecture(
    state: Mapping[str, Any], *, prefix: str | None = None, what: str = "The checkpoint"
) -> tuple[str, dict[str, Any]]:
    """Infer a ResNet's depth, width and stem, or a Vision Transformer's size and patch, from a checkpoint's shapes.

    Raises:
        CheckpointError: nothing is recognised, or several different networks are; it asks for ``arch=``.
    """
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    reasons: list[str] = []
    for container, table in _tables(state):
        for key in table:
            for tail, infer in (("conv1.weight", _infer_resnet), ("patch_embed.proj.weight", _infer_vit)):
                start = key[: len(key) - len(tail)]
                if not key.endswith(tail) or (start and not start.endswith(".")):
                    continue
                place = f"{container}/{start}" if container else start
                own = {name[len(start) :]: value for name, value in table.items() if name.startswith(start)}
                if "layer1.0.conv1.weight" not in own and "blocks.0.attn.qkv.weight" not in own:
                    continue
                if prefix is not None and prefix not in place:
                    continue
                try:
                    found[place] = infer(own, place)
                except CheckpointError as error:
                    reasons.append(str(error))
    ask = "Say which it is, for example FILE:arch=resnet50 or FILE:arch=timm:NAME."
    if not found:
        reason = " ".join(reasons) or "it has neither a ResNet's conv1 and layer1 nor a Vision Transformer's blocks."
        raise CheckpointError(f"{what}: the architecture cannot be told from its tensors: {reason} {ask}")
    best = min(_SECOND_CHOICE.search(place) is not None for place in found)
    kinds = {
        spell_architecture(*kind): kind
        for place, kind in found.items()
        if (_SECOND_CHOICE.search(place) is not None) == best
    }
    if len(kinds) > 1:
        raise CheckpointError(f"{what} holds several architectures: {_listed(list(kinds))}. {ask}")
    return next(iter(kinds.values()))


def _n_blocks(own: Mapping[str, Tensor], stage: str) -> int:
    numbers = {key.split(".")[1] for key in own if key.startswith(f"{stage}.") and key.split(".")[1].isdigit()}
    return len(numbers)


def _infer_resnet(own: Mapping[str, Tensor], place: str) -> tuple[str, dict[str, Any]]:
    first = tuple(own["conv1.weight"].shape)
    if len(first) != 4 or first[1] != 3 or first[2] not in (3, 7):
        raise CheckpointError(f"the first convolution is {first}; expected (C, 3, 7, 7) or (C, 3, 3, 3).")
    block = Bottleneck if "layer1.0.conv3.weight" in own else BasicBlock
    depths = tuple(_n_blocks(own, f"layer{number}") for number in range(1, 5))
    base = first[0]
    second = own.get("layer1.0.conv2.weight")
    for arch, spec in RESNETS.items():
        if (spec.block, spec.depths) != (block, depths):
            continue
        inner = round(base * spec.inner_width / 64) * spec.groups if block is Bottleneck else base
        if second is None or tuple(second.shape[:2]) == (inner, inner // spec.groups):
            width = base / 64
            if base_channels(width) == base:
                return canonical_architecture(arch, {"width": width, "stem": "imagenet" if first[2] == 7 else "cifar"})
    raise CheckpointError(
        f"a ResNet of {block.__name__}s with stages {depths} and {base} channels after the stem is not known."
    )


def _infer_vit(own: Mapping[str, Tensor], place: str) -> tuple[str, dict[str, Any]]:
    dim, n_channels, patch = own["patch_embed.proj.weight"].shape[:3]
    sizes = [name for name, size in VIT_SIZES.items() if size["embed_dim"] == dim]
    position = own.get("pos_embed")
    if not sizes or n_channels != 3 or VIT_NAME.fullmatch(f"vit_tiny_patch{patch}") is None or position is None:
        raise CheckpointError(f"a Vision Transformer of width {dim} with patches of {patch} is none that virb knows.")
    grid = round((position.shape[1] - 1) ** 0.5)
    if grid * grid != position.shape[1] - 1:
        raise CheckpointError(f"its position embedding has {position.shape[1]} tokens; expected 1 + a square.")
    options: dict[str, Any] = {"image_size": grid * patch, "depth": _n_blocks(own, "blocks")}
    if dim == 384 and ("base_encoder" in place or "momentum_encoder" in place):
        options["heads"] = 12  # MoCo v3's ViT-S has 12 heads where DeiT's and DINO's have 6; no shape tells them apart
    return canonical_architecture(f"vit_{sizes[0]}_patch{patch}", options)

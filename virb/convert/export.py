"""Encoders in other programs' formats: written, loaded again as those programs would, and compared image by image."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from virb.errors import UsageError, VirbError
from virb.networks.encoder import FrozenEncoder
from virb.system.files import atomic_write

TOLERANCE = 1e-4  # of the largest value; another program adds up in another order
N_IMAGES = 4


@dataclass(frozen=True)
class Exported:
    """What was written: the file or folder, how to load it, and how far its embeddings are from the encoder's.

    ``gap`` is the largest difference as a share of the largest value; None where it could not be compared here.
    """

    path: Path
    how: str
    gap: float | None


def export(encoder: FrozenEncoder, out: str | os.PathLike[str], to: str, *, name: str = "") -> Exported:
    """Write ``encoder`` in the format ``to``, and check that what loads from it gives the same embeddings.

    Args:
        to: "safetensors" (tensors, with what virb knows in the header), "timm" (a folder for
            ``timm.create_model("local-dir:...")``), "torchvision" (a state dict for ``torchvision.models``), or "onnx" (a
            graph from images in 0..1 to embeddings, normalisation included).
        name: the other library's name of the network, where it is not the architecture's own.

    Raises:
        UsageError: there is no such format, something is at ``out``, the other library has no such network, or a package is
            absent.
        VirbError: what was written gives other embeddings; the file is removed.
    """
    if to not in FORMATS:
        raise UsageError(f"Unknown format {to!r}; expected {', '.join(FORMATS)}.")
    path = Path(out)
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent} to write {path.name} into.")
    if os.path.lexists(path):  # it may be the encoder's own file
        raise UsageError(f"{path} exists; it is left as it is. Choose another --out, or remove it.")
    if len(encoder.parts) > 1:
        raise UsageError(
            f"{encoder.name} is several networks, which no other program loads as one; export each of them."
        )
    return FORMATS[to](encoder, path, name)


def _images(encoder: FrozenEncoder) -> Tensor:
    """uint8 (N, size, size, 3), the same each time."""
    size = encoder.preprocess.size
    return torch.randint(
        0, 256, (N_IMAGES, size, size, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )


def _compare(encoder: FrozenEncoder, given: Callable[[Tensor], Tensor], path: Path) -> float:
    """Return the gap between the encoder's embeddings and ``given``'s, of images (N, 3, size, size) in 0..1."""
    images = _images(encoder)
    wanted = encoder.embed(encoder.prepare(images)).float().cpu()
    with torch.inference_mode():
        found = given(images.permute(0, 3, 1, 2).float() / 255).float().cpu()
    if found.shape != wanted.shape:
        raise VirbError(f"{path} gives embeddings of shape {tuple(found.shape)}, the encoder {tuple(wanted.shape)}.")
    gap = float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12))
    if not gap <= TOLERANCE:
        raise VirbError(
            f"{path} gives other embeddings than {encoder.name} (by {gap:.2g} of the largest value). It is not that network."
        )
    return gap


def _normalised(encoder: FrozenEncoder, images: Tensor) -> Tensor:
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (encoder.preprocess.mean, encoder.preprocess.std))
    return (images - mean) / std


def _plain_state(encoder: FrozenEncoder) -> dict[str, Tensor]:
    """The tensors under the names that published files use."""
    prefix = encoder.backbone.key_prefix
    return {key.removeprefix(prefix): value.detach().cpu().contiguous() for key, value in encoder.state_dict().items()}


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as file:
        file.write(content)


def _checked(encoder: FrozenEncoder, path: Path, given: Callable[[Tensor], Tensor]) -> float:
    try:
        return _compare(encoder, given, path)
    except VirbError:
        path.unlink(missing_ok=True)
        raise


# --------------------------------------------------------------------------------------------------------- the formats


def _safetensors(encoder: FrozenEncoder, path: Path, name: str) -> Exported:
    from safetensors.torch import load_file, save

    about = {"arch": encoder.arch, "arch_options": dict(encoder.arch_options), "preprocess": encoder.preprocess.as_dict(),
             "meta": dict(encoder.meta)}  # fmt: skip
    header = {"format": "pt", "virb": json.dumps(about, default=str)}
    _write(path, save(_plain_state(encoder), metadata=header))
    backbone = encoder.trainable_copy().eval().cpu()
    state = {f"{backbone.key_prefix}{key}": value for key, value in load_file(path).items()}
    backbone.load_state_dict(state)
    gap = _checked(encoder, path, lambda images: backbone.embed(_normalised(encoder, images)))
    return Exported(
        path,
        "safetensors.torch.load_file(FILE) gives the tensors, its header's key virb the architecture and preprocessing",
        gap,
    )


def _torchvision(encoder: FrozenEncoder, path: Path, name: str) -> Exported:
    from torchvision import models

    name = name or encoder.arch.removeprefix("torchvision:")
    if name not in models.list_models():
        raise UsageError(
            f"torchvision has no network {name!r}. If it has this one under another name, say it with --name."
        )
    model = models.get_model(name, weights=None)
    state = _plain_state(encoder)
    classifier = [child for child, _ in model.named_children() if child in ("fc", "classifier", "heads", "head")]
    _load(model, state, f"torchvision's {name}", allowed=tuple(f"{child}." for child in classifier))
    for child in classifier:
        setattr(model, child, nn.Identity())
    model.eval()
    buffer = io.BytesIO()
    torch.save(state, buffer)
    _write(path, buffer.getvalue())
    gap = _checked(encoder, path, lambda images: model(_normalised(encoder, images)).flatten(1))
    return Exported(
        path,
        f"torchvision.models.{name}().load_state_dict(torch.load(FILE), strict=False): all but the classifier",
        gap,
    )


def _timm(encoder: FrozenEncoder, path: Path, name: str) -> Exported:
    import timm

    name = name or encoder.arch.removeprefix("timm:")
    size = encoder.preprocess.size
    known = [
        candidate for candidate in (name, f"{name}_{size}", f"{name}_224") if timm.is_model(candidate.split(".")[0])
    ]
    if not known:
        raise UsageError(f"timm has no network {name!r}. If it has this one under another name, say it with --name.")
    options: dict[str, Any] = {} if known[0] == name else {"img_size": size}
    model: Any
    try:
        model = timm.create_model(known[0], pretrained=False, num_classes=0, **options)
    except TypeError:
        model = timm.create_model(known[0], pretrained=False, num_classes=0)
        options = {}
    _load(model, _plain_state(encoder), f"timm's {known[0]}")
    config = {"input_size": [3, size, size], "mean": list(encoder.preprocess.mean), "std": list(encoder.preprocess.std),
              "interpolation": "bilinear", "crop_pct": 1.0, "crop_mode": "squash", "num_classes": 0}  # fmt: skip
    model.pretrained_cfg = {**dict(model.pretrained_cfg), **config}
    timm.models.save_for_hf(model, str(path), model_args={"num_classes": 0, **options}, safe_serialization=True)
    again = timm.create_model(f"local-dir:{path.absolute()}", pretrained=True).eval()
    gap = _compare(encoder, lambda images: again(_normalised(encoder, images)), path)
    return Exported(path, f'timm.create_model("local-dir:{path}", pretrained=True)', gap)


def _load(model: nn.Module, state: dict[str, Tensor], what: str, *, allowed: tuple[str, ...] = ()) -> None:
    """Load exactly: every tensor of ``state`` has its place, and only ``allowed`` places stay empty."""
    wanted = model.state_dict()
    other = [key for key, value in state.items() if key not in wanted or wanted[key].shape != value.shape]
    absent = [key for key in wanted if key not in state and not key.startswith(allowed or ("\0",))]
    if other or absent:
        first = (other or absent)[0]
        raise UsageError(
            f"{what} is another network: {len(other)} tensors of the encoder have no place in it, {len(absent)} of its own stay "
            f"empty (the first: {first}). Export it --to safetensors or --to onnx."
        )
    model.load_state_dict(state, strict=False)


class _Graph(nn.Module):
    """From images in 0..1 to embeddings."""

    def __init__(self, encoder: FrozenEncoder) -> None:
        super().__init__()
        self.backbone = encoder.trainable_copy().eval().cpu()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(encoder.preprocess.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(encoder.preprocess.std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone.embed((images - self.mean) / self.std)


def _onnx(encoder: FrozenEncoder, path: Path, name: str) -> Exported:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UsageError("ONNX needs two packages: pip install 'virb[onnx]'.") from error
    size = encoder.preprocess.size
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        _Graph(encoder).eval(), (torch.rand(2, 3, size, size),), dynamo=True, verbose=False,
        input_names=["images"], output_names=["embedding"], dynamic_shapes={"images": {0: batch}},
    )  # fmt: skip
    assert program is not None
    _write(path, program.model_proto.SerializeToString())
    how = f"onnxruntime.InferenceSession(FILE): images, float32 (N, 3, {size}, {size}) in 0..1, not normalised -> embedding"
    try:
        import onnxruntime
    except ImportError:
        return Exported(path, how, None)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    gap = _checked(encoder, path, lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0]))
    return Exported(path, how, gap)


FORMATS: dict[str, Callable[[FrozenEncoder, Path, str], Exported]] = {
    "safetensors": _safetensors,
    "timm": _timm,
    "torchvision": _torchvision,
    "onnx": _onnx,
}

"""Reads a weights file as nested plain dicts with tensors in them, and never runs code from it.

Nothing here unpickles: torch files are read with ``weights_only=True``, safetensors as they are, and pickles of numpy
arrays through a reader that knows arrays and nothing else.
"""

from __future__ import annotations

import difflib
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from virb.errors import CheckpointError

FORMAT = "virb-encoder/1"
State = dict[str, Tensor]
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

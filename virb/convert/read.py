"""Reads a weights file as nested plain dicts with tensors in them, and never runs code from it.

Nothing here unpickles: torch files are read with ``weights_only=True`` and inert stand-ins, safetensors as they are, and
pickles of numpy arrays through a reader that knows arrays and nothing else. Only regular files are opened, checksums that
are there are compared, and what a file declares is bounded by its size before memory is taken.
"""

from __future__ import annotations

import difflib
import json
import re
import stat
import warnings
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from virb.convert.archive import check_archive, damaged, is_within, too_large
from virb.convert.script import read_script
from virb.convert.standins import NAMESPACE, is_attack, named_globals, stand_in
from virb.errors import CheckpointError
from virb.system.pickles import ForbiddenError, load_arrays

FORMAT = "virb-encoder/1"
State = dict[str, Tensor]
_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_EXPECTED = (
    "Expected weights written by torch.save (.pt, .pth, .pth.tar, .torch, .ckpt), a .safetensors file, or a pickle of "
    "numpy arrays (.pkl)."
)


def read_checkpoint(path: str | PathLike[str]) -> dict[str, Any]:
    """Return what a weights file holds, as nested plain dicts with tensors in them; never run code from it.

    Objects that training left beside the weights are replaced by empty ones (:mod:`virb.convert.standins`).

    Raises:
        CheckpointError: the file is missing, no regular file, truncated, damaged, no checkpoint, declares more than it
            holds, or would have to run code.
    """
    path = Path(path)
    head, size = _look(path)
    if not head:
        raise CheckpointError(f"{path} is empty. {_EXPECTED} Copy or download it again.")
    if head.startswith(b"PK\x03\x04"):
        content = read_script(path) if check_archive(path) else _read_torch(path, is_zip=True)
    elif head.startswith(_LEGACY_MAGIC):
        content = _read_torch(path, is_zip=False)
    elif len(head) >= 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 27:
        content = _read_safetensors(path)
    elif head[:1] == b"\x80":
        content = _read_numpy_pickle(path)
    else:
        raise CheckpointError(f"{path} ({size} bytes) is not a checkpoint: {_describe_head(head, path)}. {_EXPECTED}")
    if type(content).__module__ == NAMESPACE:
        raise CheckpointError(
            f"{path} holds a pickled object ({type(content).__qualname__}) with code of its own, which virb never runs. "
            "Expected a dict of tensors: load it where it was made and save its state_dict()."
        )
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}; expected a dict of tensors (a state_dict).")
    _check_declared(path, content)
    return content


def _look(path: Path) -> tuple[bytes, int]:
    """Return the first bytes of a regular file, and its size."""
    try:
        found = path.stat()  # before opening: a pipe would wait for a writer for ever
        if stat.S_ISDIR(found.st_mode):
            raise CheckpointError(f"{path} is a folder. {_EXPECTED}")
        if not stat.S_ISREG(found.st_mode):
            raise CheckpointError(f"{path} is no regular file (a pipe, socket or device). {_EXPECTED}")
        with path.open("rb") as file:
            return file.read(4096), found.st_size
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no file {path}.{_siblings(path)}") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise CheckpointError(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}.") from error


def _siblings(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    except OSError:
        return f" The folder {path.parent} does not exist either."
    close = difflib.get_close_matches(path.name, names, 3, 0.6)
    return f" Did you mean {' or '.join(str(path.with_name(name)) for name in close)}?" if close else ""


_KINDS = {
    b"version https://git-lfs": "it is a Git LFS pointer; run `git lfs pull` to get the file it stands for",
    b"\x1f\x8b": "it is an archive; unpack it first",
    b"\x89HDF": "it is an HDF5 file (.h5), as Keras writes; its networks are not torch's",
    b"\x93NUMPY": "it is one numpy array (.npy)",
    b"GGUF": "it is a GGUF file, a language model's",
    b"\x28\xb5\x2f\xfd": "it is compressed (zstd); unpack it first",
    b"BZh": "it is compressed (bzip2); unpack it first",
    b"\xfd7zXZ": "it is compressed (xz); unpack it first",
    b"7z\xbc\xaf": "it is an archive (7z); unpack it first",
}


def _describe_head(head: bytes, path: Path) -> str:
    for magic, what in _KINDS.items():
        if head.startswith(magic):
            return what
    if head.lstrip()[:1] == b"<":
        return "it is a web page, so the download was answered by a page and not by the file; download it again"
    if head[257:262] == b"ustar":
        return "it is an archive; unpack it first"
    if path.suffix.lower() == ".onnx" or (head[:1] == b"\x08" and head[2:3] == b"\x12" and b"torch" in head[:64]):
        return "it is an ONNX graph, which holds a program and not a torch network's weights under their names"
    if path.suffix.lower() == ".py":
        return f"it is Python code, whose function that makes the network must be named: {path}:FUNCTION"
    return f"it begins with {head[:8]!r}"


def _would_run_code(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path} holds a pickled {what}: reading it would run code, which virb never does, and nothing was run. "
        "Expected tensors and plain values. If you trust the file, load it where it was made and save its state_dict()."
    )


# The unpickler fills only plain lists and dicts: a class that derives from one of them gets a stand-in that is one.
_SUBCLASS = re.compile(r"Can only (extend|append|SETITEMS?)\b.* got <class '" + NAMESPACE + r"\.(.+?)'>", re.DOTALL)


def _read_torch(path: Path, *, is_zip: bool) -> Any:
    try:
        if is_zip:
            with zipfile.ZipFile(path) as archive:
                pickled = next(member for member in archive.infolist() if member.filename.endswith("/data.pkl"))
                pickled.CRC = None  # type: ignore[assignment]  # it was compared, if there is one
                with archive.open(pickled) as file:
                    names = set(named_globals(file))  # type: ignore[arg-type]
        else:
            with path.open("rb") as raw:  # magic number, protocol, system, the object
                names = set(named_globals(raw, 4))
    except CheckpointError:
        raise
    except Exception as error:  # pickletools raises what it meets: ValueError, IndexError, UnicodeDecodeError, ...
        raise damaged(path, error) from error
    if attack := sorted(filter(is_attack, names)):
        raise _would_run_code(path, attack[0])
    kinds = dict.fromkeys(names, "object")
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about old formats: they are read all the same
                allowed: list[Any] = [(stand_in(name, kind), name) for name, kind in kinds.items()]
                with torch.serialization.safe_globals(allowed):
                    return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            text = str(error)
            if (subclass := _SUBCLASS.search(text)) is not None and kinds.get(subclass[2]) == "object":
                kinds[subclass[2]] = "dict" if subclass[1].startswith("SET") else "list"
                continue
            if "Unsupported operand" in text:
                raise CheckpointError(
                    f"{path} was written with a pickle protocol that torch's safe reader does not know. Load it "
                    "where it was made and save it again with torch.save, leaving pickle_protocol at its default."
                ) from error
            what = re.search(
                r"(?:GLOBAL |unrecognized function|`add_safe_globals`,? but got) ?(.+?)(?: which| whose| was|\n|$)",
                text,
            )
            if what is not None:
                raise _would_run_code(path, what[1]) from error
            raise damaged(path, error) from error


def _check_declared(path: Path, content: dict[str, Any]) -> None:
    """Refuse tensors that would grow far beyond the file once they are copied (stride 0, one storage seen many times)."""
    n_bytes, todo, seen = 0, [content], set()
    while todo:
        value: Any = todo.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Mapping):
            todo.extend(value.values())
        elif isinstance(value, list | tuple):
            todo.extend(value)
        elif isinstance(value, Tensor) and value.layout == torch.strided and not (value.is_meta or value.is_nested):
            n_bytes += value.numel() * value.element_size()
    if not is_within(path, n_bytes):
        raise too_large(path, n_bytes)


def _read_safetensors(path: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise CheckpointError(f"{path} holds {twice!r} twice, and readers differ in which of the two they take.")
        return found

    try:
        with path.open("rb") as file:
            header = file.read(int.from_bytes(file.read(8), "little"))
        json.loads(header, object_pairs_hook=once)
        return load_file(path, device="cpu")
    except (SafetensorError, OSError, ValueError, RuntimeError, RecursionError) as error:
        raise damaged(path, error) from error


def _read_numpy_pickle(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            content = load_arrays(file)
    except ForbiddenError as error:
        raise _would_run_code(path, str(error)) from error
    except Exception as error:
        raise damaged(path, error) from error
    return _with_tensors(content, path, 0)


def _with_tensors(value: Any, path: Path, depth: int) -> Any:
    if isinstance(value, Mapping):
        if depth > 16:
            raise CheckpointError(f"{path} is nested more than 16 dicts deep; expected a dict of tensors.")
        return {key: _with_tensors(item, path, depth + 1) for key, item in value.items()}
    if isinstance(value, np.ndarray) and not is_within(path, value.nbytes):
        raise too_large(path, value.nbytes)
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))
    return value

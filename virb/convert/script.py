"""The tensors of a TorchScript archive (OpenAI's CLIP files are such), without its code: nothing is compiled or run.

Such an archive is a zip with the program's text under ``code/``, which is not opened, and a pickle of the tree of modules,
whose tensors lie in files of their own. The pickle is read by an unpickler that knows modules as bags of attributes,
tensors, and plain containers, and refuses every other name.
"""

from __future__ import annotations

import pickle
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from virb.convert.archive import damaged
from virb.errors import CheckpointError

_TYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class _Module:
    """A module of the archive: its attributes, and nothing that can be called."""


class _Forbidden(Exception):
    pass


def _first(value: Any, *_: Any) -> Any:
    """Stand for the functions that tag lists with their types."""
    return value


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, pickled: str) -> None:
        self._file = archive.open(pickled)
        super().__init__(self._file)
        self._archive = archive
        self._folder = pickled.removesuffix("data.pkl") + "data/"
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Module
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch.jit._pickle" and (name.startswith("build_") or name == "restore_type_tag"):
            return _first
        raise _Forbidden(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Tensor:
        kind, dtype, key, _location, n = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise ValueError(f"its pickle refers to {kind!r}, which is no storage")
        if key not in self._storages:
            content = bytearray(self._archive.read(f"{self._folder}{key}"))
            if len(content) != n * dtype.itemsize:
                raise ValueError(f"storage {key} has {len(content)} bytes where {n} values of {dtype} are declared")
            self._storages[key] = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        return self._storages[key]


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if min((*size, *stride, offset), default=0) < 0 or (0 not in size and last >= len(storage)):
        raise ValueError(f"a tensor of shape {tuple(size)} lies outside its storage of {len(storage)} values")
    return storage.as_strided(size, stride, offset)


def read_script(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a TorchScript archive under the names that its state_dict() has.

    Raises:
        CheckpointError: it is damaged, of another byte order, or its pickle names something else than modules and tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            order = next((name for name in names if name.endswith("/byteorder")), None)
            if order is not None and archive.read(order).decode() != sys.byteorder:
                raise CheckpointError(
                    f"{path} was written with the other byte order. Save it again on this kind of machine."
                )
            pickled = min((name for name in names if name.endswith("/data.pkl")), key=len)
            root = _Unpickler(archive, pickled).load()
    except CheckpointError:
        raise
    except _Forbidden as error:
        raise CheckpointError(
            f"{path} is a TorchScript program whose module tree holds {error}, which reading it would have to call; virb "
            "never does, and nothing was run. Save its state_dict() with torch.save."
        ) from error
    except Exception as error:  # whatever a pickle that is no module tree makes the reader meet
        raise damaged(path, error) from error
    if not isinstance(root, _Module):
        raise CheckpointError(f"{path} is a TorchScript archive of a {type(root).__name__}; expected one of a module.")
    return dict(_tensors(root, "", ()))


def _tensors(module: _Module, start: str, above: tuple[int, ...]) -> list[tuple[str, Tensor]]:
    found: list[tuple[str, Tensor]] = []
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            found.append((f"{start}{name}", value))
        elif isinstance(value, _Module) and id(value) not in above:
            found += _tensors(value, f"{start}{name}.", (*above, id(module)))
    return found

"""What a network's code is, by content: for networks and parts of them that come from outside virb and its libraries.

Weights and an architecture's name do not tell what a class of the user's computes. Its fingerprint has, for every part of
the network, the class, the plain attributes (a stride, a flag, a function) and tensors that are no weights, and the text
of every source file of the user's that these come from, those that they import included. Where there is no source text
(an interactive session) the compiled code stands for it.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import json
import site
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LIBRARIES = ("torch", "torchvision", "timm", "virb")
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_OWN = frozenset(vars(nn.Module())) - set(_HOOKS)  # nn.Module's bookkeeping
_DEEPEST = 8


def is_own(module: nn.Module) -> bool:
    """Whether every part is a class of virb or of its libraries, as it is there: nothing hooked or replaced."""
    return all(
        _is_library(type(part)) and not any(vars(part).get(key) for key in _HOOKS) and "forward" not in vars(part)
        for part in module.modules()
    )


def fingerprint(module: nn.Module, *functions: Any) -> str:
    """Return the digest of a network's code and of functions that read something off it, as hexadecimal SHA-256."""
    reader = _Reader()
    text = [reader.network(module), *(reader.value(function, 0) for function in functions)]
    content = {"structure": text, "files": sorted(reader.digests()), "packages": sorted(reader.packages)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class _Reader:
    def __init__(self) -> None:
        self.files: set[Path] = set()
        self.texts: set[str] = set()  # compiled code, where there is no file
        self.packages: set[str] = set()
        self._seen: set[str] = set()
        self._inside: set[int] = set()

    def network(self, module: nn.Module) -> list[Any]:
        weights = set(module.state_dict(keep_vars=True))
        found: list[Any] = []
        for name, part in module.named_modules():
            values = {
                key: self.value(value, 1)
                for key, value in sorted(vars(part).items())
                if key not in _OWN and (key not in _HOOKS or value)
            }
            found.append([name, self.origin(type(part)), values])
        for name, buffer in module.named_buffers():
            if name not in weights:
                found.append([name, self.value(buffer, 1)])
        return found

    def value(self, value: Any, depth: int) -> Any:
        """Return what stands for a value, in words of JSON that are the same in every process."""
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float | complex | bytes | torch.dtype | torch.device | torch.Size | range | slice):
            return f"{type(value).__name__} {value!r}"
        if isinstance(value, Tensor | np.ndarray):
            array = np.ascontiguousarray(_plain(value))
            return f"array {array.dtype.str} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"
        if depth > _DEEPEST or id(value) in self._inside:
            return type(value).__qualname__
        self._inside.add(id(value))
        try:
            return self._compound(value, depth + 1)
        finally:
            self._inside.discard(id(value))

    def _compound(self, value: Any, depth: int) -> Any:
        if isinstance(value, nn.Module):
            return self.network(value)
        if isinstance(value, Mapping):
            return [[self.value(k, depth), self.value(v, depth)] for k, v in value.items()]
        if isinstance(value, list | tuple):
            return [self.value(item, depth) for item in value]
        if isinstance(value, set | frozenset):
            return sorted(json.dumps(self.value(item, depth), sort_keys=True) for item in value)
        if isinstance(value, functools.partial):
            return ["partial", *(self.value(part, depth) for part in (value.func, value.args, value.keywords))]
        if isinstance(value, types.MethodType):
            return ["method", self.value(value.__func__, depth)]
        if isinstance(value, type):
            return self.origin(value)
        if isinstance(value, types.FunctionType):
            cells = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
            text = "" if _is_library(value) else _text(value)
            return [self.origin(value), text, *(self.value(item, depth) for item in (cells, value.__defaults__))]
        if callable(value) and not hasattr(value, "__dict__"):
            return self.origin(value)
        return [self.origin(type(value)), self.value(dict(vars(value)) if hasattr(value, "__dict__") else None, depth)]

    def origin(self, thing: Any) -> str:
        """Return a class's or function's name, and keep the source that it comes from."""
        name = f"{getattr(thing, '__module__', None)}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"
        for each in inspect.getmro(thing) if isinstance(thing, type) else (thing,):
            self._keep(each)
        module, _, rest = name.partition(".")
        return name if module in LIBRARIES or module in sys.stdlib_module_names else rest or name

    def _keep(self, thing: Any) -> None:
        if _is_library(thing):
            return
        path = _source(thing)
        if path is None:
            self.texts.update(_compiled(thing))
        elif (package := _package(path)) is not None:
            self.packages.add(package)
        elif path not in self.files:
            self._add(path)
            self._follow(sys.modules.get(getattr(thing, "__module__", None) or ""))

    def _add(self, path: Path) -> None:
        """Keep a file of the user's, and those beside it that it imports, whatever it takes from them."""
        self.files.add(path)
        for name in _imported(path):
            beside = path.parent.joinpath(*name.split("."))
            for other in (beside.with_suffix(".py"), beside / "__init__.py"):
                if other.is_file() and other not in self.files and _package(other) is None:
                    self._add(other)

    def _follow(self, module: types.ModuleType | None) -> None:
        """Keep what a file of the user's takes from other files of the user's."""
        if module is None or module.__name__ in self._seen:
            return
        self._seen.add(module.__name__)
        for value in list(vars(module).values()):
            other = (
                value
                if isinstance(value, types.ModuleType)
                else sys.modules.get(getattr(value, "__module__", "") or "")
            )
            file = getattr(other, "__file__", None)
            if other is None or file is None or _is_library(other):
                continue
            path = Path(file)
            if _package(path) is None and path.suffix == ".py" and path not in self.files:
                self._add(path)
                self._follow(other)

    def digests(self) -> Iterator[str]:
        for path in self.files:
            yield hashlib.sha256(path.read_bytes()).hexdigest()
        for text in self.texts:
            yield hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Tensor | np.ndarray) -> np.ndarray:
    if not isinstance(value, Tensor):
        return value
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


@functools.cache
def _home(package: str) -> str | None:
    file = getattr(sys.modules.get(package), "__file__", None)
    return str(Path(file).resolve().parent) if file else None


def _is_library(thing: Any) -> bool:
    name = (thing.__name__ if isinstance(thing, types.ModuleType) else getattr(thing, "__module__", None)) or ""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names and top != "__main__":
        return True
    if top not in LIBRARIES:
        return False
    if top != "virb":
        return True
    # A folder of the user's is loaded under a name of virb's: what lies elsewhere is not ours.
    file, home = getattr(sys.modules.get(name), "__file__", None), _home("virb")
    if file is None or home is None:
        return False
    return str(Path(file).resolve()).startswith(
        str(Path(home).parent) if name.count(".") and _is_content(name) else home
    )


def _is_content(name: str) -> bool:
    return name.split(".")[1] in ("tasks", "pretrain", "analysis", "encoders")


def _source(thing: Any) -> Path | None:
    """Return the file that a class or function was written in; None where it was compiled from no file."""
    try:
        file = inspect.getsourcefile(thing)
    except (TypeError, OSError):
        return None
    if file is None or not Path(file).is_file():
        return None
    # A class made in an interactive session says that it is of __main__, whose file is the program that runs.
    written = {function.__code__.co_filename for function in _functions(thing)}
    return Path(file) if not written or any(Path(name).is_file() for name in written) else None


def _imported(path: Path) -> tuple[str, ...]:
    """Return the modules that a file imports, as they are named from its folder."""
    try:
        return _imports(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return ()


@functools.lru_cache(maxsize=1024)  # by the text itself: an edited file is read anew
def _imports(text: str) -> tuple[str, ...]:
    found: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level <= 1:
            found += [node.module] if node.module else [alias.name for alias in node.names]
    return tuple(found)


@functools.cache
def _installed() -> tuple[str, ...]:
    places = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    return tuple({str(Path(place).resolve()) for place in places if place})


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    """Return which installed distributions each top-level name comes from; looking takes a twentieth of a second."""
    import importlib.metadata

    return importlib.metadata.packages_distributions()


def _package(path: Path) -> str | None:
    """Return the name of the installed package that a file belongs to, and its version; None for a file of the user's."""
    import importlib.metadata

    for place in _installed():
        if path.resolve().is_relative_to(place):
            top = path.resolve().relative_to(place).parts[0].removesuffix(".py")
            for distribution in _distributions().get(top, [top]):
                try:
                    return f"{distribution} {importlib.metadata.version(distribution)}"
                except importlib.metadata.PackageNotFoundError:
                    continue
            return top
    return None


def _text(function: types.FunctionType) -> str:
    """Return what tells a function from others of its name in one file: its lines; of a lambda what was compiled, too."""
    try:
        lines = inspect.getsource(function).strip()
    except (OSError, TypeError):
        lines = ""
    return lines if lines and function.__name__ != "<lambda>" else lines + "".join(_compiled(function))


def _functions(thing: Any) -> list[types.FunctionType]:
    """Return a function, or those that a class defines itself."""
    functions = [thing] if isinstance(thing, types.FunctionType) else []
    if isinstance(thing, type):
        for value in vars(thing).values():
            value = getattr(value, "__func__", getattr(value, "fget", value))
            if isinstance(value, types.FunctionType):
                functions.append(value)
    return functions


def _compiled(thing: Any) -> Iterator[str]:
    """Yield what the compiled functions of a class or function do: their instructions, names and constants."""
    todo = [function.__code__ for function in _functions(thing)]
    while todo:
        code = todo.pop()
        constants = [item for item in code.co_consts if not isinstance(item, types.CodeType)]
        todo += [item for item in code.co_consts if isinstance(item, types.CodeType)]
        yield f"{code.co_name} {code.co_code.hex()} {code.co_names} {code.co_varnames} {constants!r}"

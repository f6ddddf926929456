"""``FILE.py:FUNCTION``: code of the user's that makes a network. It is run, because the user names it."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from virb.convert.options import PREPROCESS, Found, take_preprocess
from virb.errors import CheckpointError, UsageError
from virb.networks.encoder import FrozenEncoder
from virb.networks.preprocess import Preprocess
from virb.networks.wrap import Wrapped
from virb.system.threads import own_generator


def load_code(file: str, function: str, options: dict[str, Any]) -> Found:
    """Return what the function makes: a module, or an encoder that :func:`virb.wrap` made.

    ``size``, ``mean``, ``std``, ``features`` and ``maps`` (names of layers, /-separated) are :func:`virb.wrap`'s; all
    other options are handed to the function by name, as numbers where its default or annotation is one. Weights that it draws are the
    same everywhere.

    Raises:
        CheckpointError: there is no such file or function, or it fails.
        UsageError: it takes no such option, or returns something else.
    """
    what = f"{file}:{function}"
    make = getattr(_module(Path(file)), function, None)
    if not callable(make):
        raise CheckpointError(f"{file} defines no function {function!r}.")
    own = {key: options.pop(key) for key in (*PREPROCESS, "features", "maps") if key in options}
    arguments = _arguments(make, options, what)
    try:
        with own_generator(0):
            made = make(**arguments)
    except Exception as error:
        raise CheckpointError(f"{what} failed: {type(error).__name__}: {error}.") from error
    if isinstance(made, FrozenEncoder):
        if own:
            raise UsageError(f"{what} returns an encoder, which has its own {', '.join(own)}; set them in the file.")
        return Found(made.backbone, made.arch, made.arch_options, made.preprocess, made.meta)
    if not isinstance(made, nn.Module):
        raise UsageError(f"{what} returns {type(made).__name__}; expected a torch.nn.Module or what virb.wrap returns.")
    features, maps = own.pop("features", None), own.pop("maps", None)
    preprocess = take_preprocess(own, Preprocess())
    names = maps.split("/") if isinstance(maps, str) else maps
    backbone = Wrapped(made, size=preprocess.size, features=features, maps=[] if names == ["none"] else names)
    return Found(backbone, f"module:{type(made).__qualname__}", {}, preprocess, {})


def _module(path: Path) -> ModuleType:
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}. Expected code that makes a network: FILE.py:FUNCTION.")
    path = path.resolve()
    name = f"virb_code_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # classes are looked up there, to be pickled and to find their source
    sys.path.insert(0, str(path.parent))  # it may import the files beside it
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise CheckpointError(f"{path} does not load: {type(error).__name__}: {error}.") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _arguments(make: Any, options: dict[str, Any], what: str) -> dict[str, Any]:
    parameters = inspect.signature(make).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    found = {}
    for key, value in options.items():
        if key not in parameters and not takes_any:
            known = ", ".join((*parameters, *PREPROCESS, "features", "maps"))
            raise UsageError(f"{what} takes no option {key!r}. It takes {known}.")
        default = parameters[key].default if key in parameters else None
        kind = type(default) if isinstance(default, bool | int | float) else str
        annotation = parameters[key].annotation if key in parameters else None
        kind = {"int": int, "float": float, int: int, float: float}.get(annotation, kind)
        try:
            found[key] = (
                value.lower() in ("1", "true", "yes") if kind is bool and isinstance(value, str) else kind(value)
            )
        except ValueError as error:
            raise UsageError(f"{what}: the option {key} is {value!r}; expected {kind.__name__}.") from error
    return found

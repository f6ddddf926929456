"""Inert objects in place of what training left in a checkpoint beside its weights: nothing of it is ever built or run.

A pickle names a class or function by text and says what to call it with. Every such name that is no part of a tensor is
answered here by a class of our own that takes any arguments and keeps none.
"""

from __future__ import annotations

import pickletools
import re
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, BinaryIO

# What no training run leaves in a checkpoint. Standing in for it would be as harmless, but the file was made to do harm.
_ATTACK = re.compile(
    r"(os|posix|nt|ntpath|posixpath|sys|subprocess|shutil|socket|ctypes|importlib|runpy|pty|code|codeop|pdb|bdb|timeit"
    r"|cProfile|profile|trace|webbrowser|platform|pip|ensurepip|setuptools|venv|zipimport|asyncio|multiprocessing"
    r"|threading|urllib|http|ftplib|smtplib|requests|marshal|pickle|_pickle|dill|cloudpickle|joblib|torch\.hub"
    r"|torch\.jit|torch\.serialization|torch\.utils\.cpp_extension|torch\.utils\.model_zoo|numpy\.testing\.\w+\.exec\w*)"
    r"(\.[\w.]+)|(builtins|__builtin__|io|_io)\.(eval|exec|execfile|compile|open|__import__|input|breakpoint|vars"
    r"|globals|locals|setattr|delattr|file|apply|FileIO|\w*Buffered\w*)"
    r"|types\.(FunctionType|CodeType|LambdaType)|operator\.(attrgetter|methodcaller)|(?:dill|cloudpickle)\b.*"
)
NAMESPACE = "stand-in"


class Inert:
    """Stands for an object that training left in a checkpoint; keeps nothing of it."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def is_attack(name: str) -> bool:
    """Whether ``name`` (module.attribute) is a function that runs code or touches the system."""
    return _ATTACK.fullmatch(name) is not None


def stand_in(name: str, kind: str = "object") -> type:
    """Return the class that answers for ``name``; of ``kind`` "dict" or "list" where items are put into its objects."""
    if kind == "dict" or name in ("collections.defaultdict", "addict.addict.Dict", "easydict.EasyDict"):
        space: dict[str, Any] = {"__new__": lambda cls, *args: OrderedDict()}
        bases: tuple[type, ...] = ()
    elif kind == "list" or name == "collections.deque":
        space, bases = {"__new__": lambda cls, *args: []}, ()
    else:
        space, bases = {}, (Inert,)
    return type(name.rpartition(".")[2], bases, {**space, "__module__": NAMESPACE, "__qualname__": name})


def named_globals(file: BinaryIO, n_pickles: int = 1) -> Iterator[str]:
    """Yield the names of all classes and functions in the next ``n_pickles`` pickles of ``file``, building nothing; Python 2's under today's too.

    Raises:
        ValueError: it is no pickle.
    """
    for _ in range(n_pickles):
        for opcode, argument, _place in pickletools.genops(file):
            if opcode.name == "GLOBAL":
                module, _, name = str(argument).partition(" ")
                yield f"{module}.{name}"
                module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
                yield f"{module}.{name}"


def what_stands_in(content: Any, n: int = 5) -> list[str]:
    """Return the names of the first classes in nested dicts of ``content`` that a stand-in answers for."""
    names: dict[str, None] = {}
    todo, seen = [content], set()
    while todo and len(names) < n:
        value = todo.pop(0)
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Inert):
            names[type(value).__qualname__] = None
        elif isinstance(value, dict):
            todo.extend(value.values())
    return list(names)

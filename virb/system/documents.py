"""Small files that people bring, read as what they are: regular, of bounded size, UTF-8, and not nested without end."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from virb.errors import VirbError
from virb.system import files

MOST_NESTED = 50
MOST_NODES = 2_000_000  # of a YAML file, with what its aliases repeat: ten lines can stand for a billion values


class DocumentError(VirbError):
    """A file is absent, is no regular file, is too large, or does not hold what it should."""


def read_bytes(path: str | os.PathLike[str], *, most: int) -> bytes:
    """Return the contents of a regular file of at most ``most`` bytes; a pipe or a device is never waited for.

    Raises:
        DocumentError: there is none, it cannot be read, is no regular file, or is larger.
    """
    try:
        return files.read_regular(path, most=most)
    except files.NotRegular as error:
        raise DocumentError(f"Cannot read {path}: it is no regular file.") from error
    except files.TooLarge as error:
        if error.size is None:
            raise DocumentError(f"Cannot read {path}: it has more than {most:,} bytes.") from error
        raise DocumentError(
            f"Cannot read {path}: it has {error.size:,} bytes; at most {most:,} are expected."
        ) from error
    except (OSError, ValueError) as error:
        raise DocumentError(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}.") from error


def read_text(path: str | os.PathLike[str], *, most: int) -> str:
    """Return the text of a UTF-8 file (a byte-order mark is left out); as :func:`read_bytes`.

    Raises:
        DocumentError: as there, or it is not UTF-8.
    """
    try:
        return read_bytes(path, most=most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from error


def read_json(path: str | os.PathLike[str], *, most: int) -> Any:
    """Return what a JSON file says; keys that occur twice, NaN and endless nesting are refused.

    Raises:
        DocumentError: it cannot be read as that.
    """
    text = read_text(path, most=most)
    try:
        found = json.loads(text, object_pairs_hook=_once_each, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise DocumentError(f"{path} is not valid JSON: {reason}.") from error
    return found


def read_yaml(path: str | os.PathLike[str], *, most: int) -> Any:
    """Return what a YAML file says: plain values only, as in :func:`read_json`.

    Raises:
        DocumentError: it cannot be read as that.
    """
    import yaml

    text = read_text(path, most=most)
    try:
        # Before anything is built: the parser itself recurses, and a deep file would end it.
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_NESTED:
                raise DocumentError(f"{path} is nested more than {MOST_NESTED} deep.")
        found = _loader()(text).get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, OverflowError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise DocumentError(f"{path} is not valid YAML: {reason}") from error
    _check_size(path, found)
    return found


def _check_size(path: str | os.PathLike[str], content: Any) -> None:
    """Refuse a document that is nested too deeply or repeats itself too often.

    Raises:
        DocumentError: it is or does.
    """
    nodes, waiting = 0, [(content, 0)]
    while waiting:
        value, depth = waiting.pop()
        nodes += 1
        if depth > MOST_NESTED or nodes > MOST_NODES:
            raise DocumentError(f"{path} is nested more than {MOST_NESTED} deep, or has over {MOST_NODES:,} values.")
        if isinstance(value, dict):
            waiting += [(part, depth + 1) for pair in value.items() for part in pair]
        elif isinstance(value, (list, tuple, set)):
            waiting += [(part, depth + 1) for part in value]


def is_plain_name(name: str) -> bool:
    """Whether ``name`` can be a file's name on any system: it names nothing outside its folder and no device."""
    return (
        bool(name)
        and len(os.fsencode(name.encode("utf-8", "replace").decode())) <= 200
        and name.isprintable()
        and not any(sign in name for sign in '/\\:*?"<>|')
        and name[0] not in ". "
        and name[-1] not in ". "
        and not files.DEVICE_NAMES.fullmatch(name)
        and Path(name).name == name
    )


def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Plain values; a key that occurs twice in a mapping is an error, not the last of them."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            own = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
            twice = next((name for name in own if own.count(name) > 1), None) if len(own) < 10_000 else None
            if twice is not None:
                raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} occurs twice", node.start_mark)
            return super().construct_mapping(node, deep=deep)

    return Loader


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)[:40]!r} occurs twice")
    return found


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not a number")

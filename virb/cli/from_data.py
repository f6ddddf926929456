"""The task file that ``virb new task NAME --from PATH`` writes, from what a reader of layouts says of PATH."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from virb.errors import UsageError

if TYPE_CHECKING:
    from virb.contracts.reader import Recognised

#: By the kind of target: category and epochs.
KINDS = {
    "class": ("SEMANTIC_IMAGE", 100),
    "labels": ("SEMANTIC_IMAGE", 100),
    "number": ("STRUCTURAL_IMAGE", 100),
    "mask": ("SEMANTIC_PIXEL", 50),
}

TEXT = '''"""{title}: {about}."""

from virb.contracts.task import {imports}Category, Protocol, Task
from virb.images.readers import reads

TASK = Task(
    name="{name}",
    summary="{title}",
    category=Category.{category},
    head="{head}",
    loss="{loss}",
    metric="{metric}",
    data=reads({reader}),
{fields}    protocol=Protocol(epochs={epochs}),
    source="where the data come from, as one would cite it",
    license="the data's licence",
    obtain="how a user gets the data",
)
'''


def task_text(name: str, title: str, source: str) -> tuple[str, str, str]:
    """Return a task file for the data at ``source``, a sentence on what was found, and what ``--data`` says for it.

    Args:
        source: a folder or file, or "torchvision:NAME", below the data folder.

    Raises:
        UsageError: it has no targets, or no train and test split.
        DataError: no reader knows its layout, or something in it is wrong.
    """
    from virb.images.readers import looked_at

    if source.startswith("torchvision:"):
        known = source.partition(":")[2]
        text = _text(name, title, f"torchvision's {known}", "torchvision", {"name": known, "place": name}, "class", {})
        return text, f"torchvision's {known}", f"{name}=FOLDER (what torchvision calls root)"
    path = Path(source).expanduser()
    if not path.exists():
        raise UsageError(f"--from {source}: there is no such folder or file.")
    reader, found = looked_at(path)
    _check(source, found)
    defaults = {option.name: option.default for option in reader.options}
    options = {key: value for key, value in found.options.items() if value != defaults.get(key)}
    text = _text(name, title, found.about, reader.name, {"place": name, **options}, found.target, found.task)
    return text, f"{reader.name}: {found.about}", f"{name}={(path.parent if path.is_file() else path).absolute()}"


def _check(source: str, found: Recognised) -> None:
    if not found.target:
        raise UsageError(
            f"--from {source}: {found.about}, but nothing there is a target. Add a class, labels or a number."
        )
    missing = [split for split in ("train", "test") if split not in found.splits]
    if missing:
        raise UsageError(
            f"--from {source}: {found.about}, without a {missing[0]} split. Add one, or a column or lists that say which "
            "examples train and which test."
        )


def _text(name: str, title: str, about: str, reader: str, options: dict[str, Any], target: str, fields: Any) -> str:
    from virb import heads, losses, metrics

    category, epochs = KINDS[target]
    fields = dict(fields)
    is_open = target in ("class", "labels")
    lines = ["    classes=FROM_DATA,\n"] if is_open else []
    for key, value in fields.items():
        lines.append(f"    {key}={value!r},\n")
    if target == "number":
        lines.append('    unit="",  # of the target: metre, degree, year, ...\n')
    arguments = ", ".join([f'"{reader}"', *(f"{key}={_quoted(value)}" for key, value in options.items())])
    return TEXT.format(
        title=title,
        about=about.replace("\\", "/").replace('"', "'"),
        imports="FROM_DATA, " if is_open else "",
        name=name,
        category=category,
        head=heads.USUAL[target],
        loss=losses.USUAL[target],
        metric=metrics.USUAL[target],
        reader=arguments,
        fields="".join(lines),
        epochs=epochs,
    )


def _quoted(value: Any) -> str:
    return repr(value) if not isinstance(value, str) or '"' in value or "\\" in value else f'"{value}"'

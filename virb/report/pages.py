"""Pages from templates: jinja2 fills them in and escapes all that it is given."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).with_name("templates")
#: Written beside the pages, which link to them.
ASSETS = ("report.css", "report.js")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, *, root: str = "", **given: Any) -> bytes:
    """Return a page as UTF-8; ``root`` leads from it to the report's folder ("" or "../")."""
    text = _environment().get_template(template).render(root=root, **given)
    return text.encode("utf-8", "replace")


def asset(name: str) -> bytes:
    return (TEMPLATES / name).read_bytes()

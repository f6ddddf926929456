"""Sessions that a person or a machine runs: ``nox -s quick``; ``nox -s tests lowest_versions``; what follows ``--`` is for pytest."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import nox

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
ALL = ("-m", "not long")
nox.options.sessions = ["quick"]
nox.options.reuse_existing_virtualenvs = True


def lowest() -> list[str]:
    """The lowest version of every requirement in setup.cfg, pinned."""
    parser = configparser.ConfigParser()
    parser.read(Path(__file__).with_name("setup.cfg"))
    wanted = parser["options"]["install_requires"].split("\n")
    return [re.sub(r"\s*>=\s*", "==", line.strip()) for line in wanted if line.strip()]


@nox.session
def quick(session: nox.Session) -> None:
    """Format, lint, types and the tests that are not slow."""
    session.install("--constraint", "constraints.txt", "--editable", ".[dev]")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("mypy")
    session.run("pytest", "-n", "auto", "-m", "not slow")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests on each Python of the range, with the newest versions."""
    session.install("--editable", ".[dev]")
    session.run("pytest", "-n", "auto", *(session.posargs or ALL))


@nox.session(python=PYTHONS[0])
def lowest_versions(session: nox.Session) -> None:
    """All tests on the lowest Python with the lowest version of every requirement."""
    session.install(*lowest(), "--editable", ".[dev]")
    session.run("pytest", "-n", "auto", *(session.posargs or ALL))


@nox.session
def doctests(session: nox.Session) -> None:
    """The examples in the docstrings of public functions."""
    session.install("--constraint", "constraints.txt", "--editable", ".[dev]")
    session.run("pytest", "tests/test_doctests.py")

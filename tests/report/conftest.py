"""What the tests of the report share: pages read back strictly, a table of scores, and a results folder."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

VOID = {"img", "br", "meta", "link", "input"}


class Page(HTMLParser):
    """One page, parsed strictly: a tag that is left open, or closed twice, fails."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.path = path
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.classes: dict[tuple[str, int, int], str] = {}
        self._open: list[str] = []
        self._caption = ""
        self.feed(path.read_text(encoding="utf-8"))
        assert self._open == []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attributes}
        self.tags.append((name, given))
        if name not in VOID:
            self._open.append(name)
        if name == "caption":
            self._caption = ""
        if name == "tr":
            self.tables[self._caption].append([])
        if name in ("th", "td"):
            self.tables[self._caption][-1].append("")
            place = (self._caption, len(self.tables[self._caption]) - 1, len(self.tables[self._caption][-1]) - 1)
            self.classes[place] = given.get("class", "")

    def handle_endtag(self, name: str) -> None:
        assert self._open, f"</{name}> closes nothing"
        assert self._open.pop() == name
        if name == "caption":
            self.tables[self._caption] = []

    def handle_data(self, data: str) -> None:
        if {"script", "style"} & set(self._open):
            return
        self.words.append(data)
        if "caption" in self._open:
            self._caption += data
        elif {"th", "td"} & set(self._open):
            self.tables[self._caption][-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def all(self, name: str) -> list[dict[str, str]]:
        return [given for tag, given in self.tags if tag == name]

    def table(self, start: str) -> list[list[str]]:
        (found,) = [rows for caption, rows in self.tables.items() if caption.startswith(start)]
        return found

    def board(self, start: str = "Encoders (rows)") -> tuple[list[str], list[list[str]]]:
        """Heads and rows of a leaderboard; an encoder's cell without what is said of it below its name."""
        first, second, *rows = self.table(start)
        heads = [*first[: len(rows[0]) - len(second)], *second]
        return heads, [[cell.strip().split("\n")[0] for cell in row] for row in rows]

    def score(self, encoder: str, task: str) -> str:
        heads, rows = self.board()
        (row,) = [row for row in rows if row[1] == encoder]
        return row[heads.index(task)]

    def is_best(self, start: str, row: int, column: int) -> bool:
        (caption,) = [caption for caption in self.tables if caption.startswith(start)]
        return "best" in self.classes[caption, row, column].split()

    def targets(self) -> list[str]:
        linked = [given["href"] for name in ("a", "link") for given in self.all(name)]
        return linked + [given["src"] for name in ("img", "script") for given in self.all(name)]


def read_pages(folder: Path) -> dict[str, Page]:
    return {path.relative_to(folder).as_posix(): Page(path) for path in sorted(folder.rglob("*.html"))}


def checked(folder: Path) -> dict[str, Page]:
    """Every page is well formed and accessible, and every link in it leads to a file of the report."""
    found = read_pages(folder)
    for page in found.values():
        ids = {given["id"] for _, given in page.tags if "id" in given}
        for target in page.targets():
            assert ":" not in target.split("/")[0], f"{target} leaves the folder"
            file, _, place = target.partition("#")
            if file:
                resolved = (page.path.parent / unquote(file)).resolve()
                assert resolved.is_file(), f"{page.path}: {target}"
                assert folder.resolve() in resolved.parents
            else:
                assert place in ids, target
        assert page.all("html")[0]["lang"] == "en"
        assert all(given.get("alt") for given in page.all("img"))
        assert all(given.get("scope") for given in page.all("th"))
        assert len(page.all("h1")) == len(page.all("title")) == 1
        assert len(page.all("script")) == len(page.all("link")) == 1
        assert not [given for _, given in page.tags if any(key.startswith("on") for key in given)]
        assert "http" not in page.path.read_text(encoding="utf-8")
    return found


@pytest.fixture
def check() -> Callable[[Path], dict[str, Page]]:
    """Read all pages of a report and check what must hold for each."""
    return checked


CATEGORIES = ("semantic image-level", "structural image-level", "structural pixelwise")


@pytest.fixture
def scores() -> pd.DataFrame:
    """Four encoders on six tasks with two seeds; "good" is best on all but task-5."""
    rng = np.random.default_rng(0)
    rows: list[tuple[object, ...]] = []
    for e, (encoder, method) in enumerate(
        [("poor", "random"), ("fair", "simclr"), ("good", "supervised"), ("late", "simclr")]
    ):
        role = {"random": "untrained", "simclr": "self-supervised"}.get(method, method)
        skill = {"poor": 0.2, "fair": 0.5, "good": 0.6, "late": 0.4}[encoder]
        for t in range(6):
            shift = -0.15 if (encoder, t) == ("good", 5) else 0.0
            for seed in range(2):
                score = skill + shift + 0.02 * t + 0.002 * rng.normal()
                rows.append(
                    (
                        encoder,
                        f"task-{t}",
                        seed,
                        "gradient",
                        score,
                        CATEGORIES[t // 2],
                        "top1",
                        500,
                        method,
                        role,
                        10**e,
                    )
                )
    columns = ["encoder", "task", "seed", "probe", "score", "category", "metric", "n_test", "method", "role"]
    columns.append("dataset_size")
    return pd.DataFrame(rows, columns=columns)


def record(encoder: str, task: str, seed: int, score: float, **given: Any) -> dict[str, Any]:
    """A record as `virb evaluate` writes it."""
    metric = {"things": "top1", "parts": "miou", "depth": "neg_l1"}[task]
    category = {"things": "semantic image-level", "parts": "semantic pixelwise", "depth": "structural pixelwise"}[task]
    about = {"method": "simclr", "dataset": "photos", "dataset_size": 6000, "recipe": {"crop": 0.2}}
    return {
        "encoder": {"name": encoder, "sha256": f"{encoder}-sha", "arch": "resnet18", "meta": about},
        "task": {"name": task, "version": 3, "category": category, "metric": metric, "suite": "mine", "head": "linear"},
        "probe": "gradient",
        "seed": seed,
        "score": score,
        "metrics": {},
        "per_class": {"cat": score, "dog": score / 2, "eel": None} if metric == "top1" else None,
        "n_train": 1200,
        "n_test": 40,
        "overrides": {},
        "protocol": {"epochs": 7, "batch_size": 64, "optimizer": "adam", "lr": 0.0003},
        "data": {"train": "train-revision", "test": "test-revision"},
        "seconds": {"encode": 1.0 + seed, "train": 2.0},
        "device": "cpu",
        "versions": {"virb": "0.1.0", "torch": "2.6.0"},
        **given,
    }


def predictions(task: str, encoder: str, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([len(encoder), seed])
    ids = np.array([f"i{k}" for k in range(40)])
    if task == "things":
        return {"ids": ids, "target": rng.integers(0, 3, 40), "prediction": rng.integers(0, 3, 40)}
    if task == "parts":
        pixels = rng.integers(50, 100, (40, 2))
        return {"ids": ids, "intersection": pixels // 2, "predicted": pixels, "target": pixels}
    return {"ids": ids, "sum_absolute_error": rng.random(40) * 100, "n_valid": np.full(40, 100)}


Recorder = Callable[..., Path]


@pytest.fixture
def results(tmp_path: Path) -> Recorder:
    """Write a results folder of two encoders, three tasks and two seeds; ``change(record)`` may alter each record."""
    from virb.records.store import ResultStore

    def write(change: Callable[[dict[str, Any]], object] = lambda record: None) -> Path:
        store = ResultStore(tmp_path / "results")
        for e, encoder in enumerate(("first", "second")):
            for t, task in enumerate(("things", "parts", "depth")):
                for seed in range(2):
                    made = record(encoder, task, seed, 0.5 + 0.1 * e - 0.05 * t + 0.01 * seed - (task == "depth"))
                    change(made)
                    store.write(made, predictions(task, encoder, seed))
        return store.root

    return write

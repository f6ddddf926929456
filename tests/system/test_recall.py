"""What is remembered comes back whole, of the same code, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from virb.system.recall import recall, remember


def test_what_was_remembered_comes_back_for_the_same_code(tmp_path: Path) -> None:
    path = tmp_path / "some" / "memory.json"
    remember(path, "code 1", {"facts": {"dim": 8, "name": "größe"}})
    assert recall(path, "code 1")["facts"] == {"dim": 8, "name": "größe"}
    assert recall(path, "code 2") == {}
    assert recall(tmp_path / "absent.json", "code 1") == {}


def test_a_damaged_memory_is_none(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    remember(path, "code", {"facts": [1, 2]})
    content = path.read_bytes()
    for spoiled in (content.replace(b"[1,2]", b"[1,3]"), content[:-1], content[:10], b"", b"{}", b"\xff"):
        path.write_bytes(spoiled)
        assert recall(path, "code") == {}


@pytest.mark.parametrize("value", [float("nan"), object()])
def test_what_json_cannot_hold_is_not_remembered(tmp_path: Path, value: object) -> None:
    remember(tmp_path / "memory.json", "code", {"facts": value})
    assert not list(tmp_path.iterdir())

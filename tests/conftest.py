"""What all tests share: one thread a worker, a cache of their own, and a tiny encoder."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: the workers of -n auto share the cores

from pathlib import Path

import hypothesis
import pytest

# A busy machine is no reason to fail: how fast examples are drawn says nothing about what they test.
# The examples are the same each time, so that a change is judged by what it changed; VIRB_TEST_EXPLORE=1 draws new ones.
hypothesis.settings.register_profile(
    "virb",
    deadline=None,
    derandomize="VIRB_TEST_EXPLORE" not in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    print_blob=True,
)
hypothesis.settings.load_profile("virb")


@pytest.fixture(autouse=True)
def _own_places(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's data, content and caches out of the tests; the rendered world is shared within a run."""
    monkeypatch.delenv("VIRB_DATA", raising=False)
    monkeypatch.setenv("VIRB_INCLUDE", "")
    if "VIRB_TEST_CACHE" not in os.environ:
        monkeypatch.setenv("VIRB_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    else:
        monkeypatch.setenv("VIRB_CACHE", os.environ["VIRB_TEST_CACHE"])


@pytest.fixture
def content_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my-content"
    folder.mkdir()
    return folder

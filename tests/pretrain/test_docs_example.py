"""The method shown in docs/pretraining.md works as it is written there."""

from __future__ import annotations

import re
from pathlib import Path

from virb.convert.load import read_checkpoint

DOCS = Path(__file__).parents[2] / "docs" / "pretraining.md"


def test_a_method_of_ones_own(virb_pretrain, images, small, tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "exemplar.py").write_text(code)
    monkeypatch.setenv("VIRB_INCLUDE", "")
    out = tmp_path / "e.pt"
    args = ("exemplar", "--include", folder, "--data", images, *small, "--epochs", 2, "--out", out)
    status, text = virb_pretrain(*args)
    assert status == 0, text
    assert read_checkpoint(out)["meta"]["method"] == "exemplar"

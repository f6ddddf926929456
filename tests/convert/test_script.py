"""TorchScript archives: their tensors are read, their code is not."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from virb.convert.load import load_encoder
from virb.convert.read import read_checkpoint
from virb.errors import CheckpointError
from virb.networks.backbones import build_backbone


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.scale = nn.Parameter(torch.arange(6).half().view(2, 3).t())
        self.register_buffer("size", torch.tensor(224))
        self.empty = nn.Parameter(torch.zeros(0, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) * self.scale.sum()


def traced(net: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(net.eval(), torch.zeros(1, 3, 32, 32)).save(str(path))
    return path


def test_the_tensors_have_the_names_of_state_dict(tmp_path: Path) -> None:
    net = Net()
    found = read_checkpoint(traced(net, tmp_path / "net.pt"))
    expected = net.state_dict()
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=0)


def test_an_encoder_in_a_program_of_its_own(tmp_path: Path) -> None:
    net = build_backbone("resnet18", width=0.125).eval()
    images = torch.randn(1, 3, 32, 32)
    encoder = load_encoder(traced(net, tmp_path / "net.pt"))
    with torch.no_grad():
        torch.testing.assert_close(encoder.embed(images), net(images), rtol=1e-4, atol=1e-4)


def rewritten(path: Path, change: Any) -> Path:
    """Write the archive anew with its pickle changed."""
    out = path.with_name("changed.pt")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.namelist():
            content = old.read(member)
            if member.endswith("/data.pkl"):
                content = change(content)
            new.writestr(member, content)
    return out


class Attack:
    def __reduce__(self) -> Any:
        return (print, ("executed",))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _: pickle.dumps(Attack(), protocol=2), "print.*nothing was run"),
        (lambda content: content.replace(b"ctorch._utils\n_rebuild_tensor_v2\n", b"cos\nsystem\n", 1), r"os\.system"),
        (lambda content: content[: len(content) // 2], "damaged"),
        (lambda _: pickle.dumps([1, 2]), "of a list"),
    ],
)
def test_a_changed_archive_is_refused_and_nothing_runs(tmp_path: Path, capsys, change, reason) -> None:
    path = rewritten(traced(Net(), tmp_path / "net.pt"), change)
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoint(path)
    assert "executed" not in capsys.readouterr().out


def test_a_storage_of_another_size_is_damage(tmp_path: Path) -> None:
    path = traced(Net(), tmp_path / "net.pt")
    out = tmp_path / "short.pt"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.namelist():
            content = old.read(member)
            new.writestr(member, content[:-4] if "/data/" in member and len(content) > 100 else content)
    with pytest.raises(CheckpointError, match="bytes where"):
        read_checkpoint(out)

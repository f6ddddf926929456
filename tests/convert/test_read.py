"""The door for files: what is damaged, forged, or of another kind is refused in a sentence; nothing runs or hangs."""

from __future__ import annotations

import contextlib
import datetime
import enum
import functools
import io
import json
import os
import pickle
import random
import struct
import types
import zipfile
from collections import Counter, OrderedDict, deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

import virb
from virb.convert.match import match_state
from virb.convert.read import read_checkpoint
from virb.convert.standins import is_attack
from virb.errors import CheckpointError
from virb.networks.backbones import blank_backbone, build_backbone

State = dict[str, Tensor]


@functools.cache
def net() -> Any:
    return build_backbone("resnet18", width=0.125)


def weights() -> State:
    return {key: value.clone() for key, value in net().state_dict().items()}


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        virb.load_encoder(path)
    return str(caught.value)


# -- damage


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("published") / "sound.pth"
    torch.save({"state_dict": weights()}, path)
    virb.load_encoder(path)
    return path.read_bytes()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_in_a_published_file_is_noticed(
    published: bytes, tmp_path: Path, share: float, bit: int
) -> None:
    damaged = bytearray(published)
    place = int(share * len(published))
    damaged[place] ^= 1 << bit
    (tmp_path / "x.pth").write_bytes(damaged)
    try:
        state, _ = match_state(read_checkpoint(tmp_path / "x.pth"), net())
    except CheckpointError:
        return
    # Alignment between the members and their dates are bytes that nothing reads.
    assert all(torch.equal(state[key], value) for key, value in weights().items())


def test_a_file_written_without_checksums_loads(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(weights(), tmp_path / "x.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert virb.load_encoder(tmp_path / "x.pth").arch == "resnet18"


# -- weights that are none


@pytest.mark.parametrize("kind", [torch.complex64, torch.int64, torch.int8, torch.uint8, torch.bool])
def test_weights_of_other_types_are_refused(kind: torch.dtype, tmp_path: Path) -> None:
    state = {key: value.to(kind) if value.is_floating_point() else value for key, value in weights().items()}
    torch.save({"state_dict": state}, tmp_path / "x.pth")
    assert f"is {kind}; weights are real floating-point numbers" in refusal(tmp_path / "x.pth")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precisions_load(kind: torch.dtype) -> None:
    state, _ = match_state({key: value.to(kind) for key, value in weights().items()}, net())
    assert state["conv1.weight"].dtype == torch.float32
    assert state["bn1.num_batches_tracked"].dtype == torch.long


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda value: value.to_sparse(), "is sparse or quantised"),
        (lambda value: value.to("meta"), "has no values"),
        (lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8), "is sparse or quantised"),
        (lambda value: value - 1e9, "negative values, and a variance has none"),
        (lambda value: value * float("inf"), "NaN or infinite"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_one_tensor_that_is_no_weight_is_named(change: Any, message: str) -> None:
    state = weights()
    state["layer1.0.bn1.running_var"] = change(state["layer1.0.bn1.running_var"])
    with pytest.raises(CheckpointError, match=rf"layer1\.0\.bn1\.running_var .*{message}"):
        match_state(state, net())


# -- declared sizes


def test_tensors_that_repeat_one_number_are_refused_before_they_grow(tmp_path: Path) -> None:
    wide = blank_backbone("resnet18", {"width": 1}).state_dict()
    torch.save({key: torch.tensor(0.01).expand(value.shape) for key, value in wide.items()}, tmp_path / "small.pth")
    torch.save({"queue": torch.tensor(0.01).expand(10_000_000_000)}, tmp_path / "x.pth")
    assert "many times its own size" in refusal(tmp_path / "x.pth")
    huge = {f"{k}": torch.zeros(1).expand(30_000_000) for k in range(4)}
    torch.save(huge, tmp_path / "y.pth", _use_new_zipfile_serialization=False)
    assert "many times its own size" in refusal(tmp_path / "y.pth")


def test_a_zip_bomb_is_refused_by_what_it_declares(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("x/data.pkl", pickle.dumps({}, 2))
        with out.open("x/data/0", "w") as file:
            for _ in range(100):
                file.write(bytes(1 << 20))
    assert "says that it holds 0.10 GB" in refusal(tmp_path / "bomb.pth")


def test_a_deflated_file_of_honest_size_loads(tmp_path: Path) -> None:
    torch.save(weights(), tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pth") as archive, zipfile.ZipFile(tmp_path / "y.pth", "w", 8) as out:
        for name in archive.namelist():
            out.writestr(name, archive.read(name))
    assert virb.load_encoder(tmp_path / "y.pth").sha256 == virb.load_encoder(tmp_path / "x.pth").sha256


def test_a_pickle_that_declares_a_huge_array_is_refused(tmp_path: Path) -> None:
    class Huge:
        def __reduce__(self) -> Any:
            return (np.ndarray, ((1 << 28,),))

    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"w": Huge()}))
    assert "many times its own size" in refusal(tmp_path / "x.pkl")


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    torch.save(weights(), tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pth", "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("x/data/0", archive.read("x/data/1"))
    assert "'x/data/0' twice" in refusal(tmp_path / "x.pth")
    header = (
        b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    )
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    assert "'w' twice" in refusal(tmp_path / "x.safetensors")


# -- other kinds of files


def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    assert "no regular file" in refusal(tmp_path / "pipe.pth")
    assert "no regular file" in refusal(Path("/dev/zero"))


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (zipped("embedding/kernel.npy", "cls.npy"), "vit.npz", "archive of numpy arrays"),
        (zipped("m/archive_format", "m/models/model.json", "m/data/weights/w0"), "m.pt2", "program of torch.export"),
        (zipped("config.json", "model.weights.h5"), "m.keras", "Keras model"),
        (zipped("a.pth"), "a.zip", "unpack it first"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "m.h5", "HDF5 file"),
        (b"\x08\x08\x12\x07pytorch\x1a", "m.bin", "ONNX graph"),
        (b"\x08\x07\x3a", "m.onnx", "ONNX graph"),
        (b"\x93NUMPY\x01\x00", "w.npy", "numpy array"),
        (b"GGUF\x03", "m.gguf", "GGUF"),
    ],
)
def test_other_kinds_of_files_are_called_by_their_name(content: bytes, name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    said = refusal(tmp_path / name)
    assert message in said
    assert "damaged" not in said


# -- what training leaves


class Config:
    """Of the module that trained, which is not there where the file is read."""

    def __init__(self) -> None:
        self.lr, self.schedule = 0.1, functools.partial(max, 3)


class Flags(enum.Enum):
    ON = 1


class Attributes(dict):
    """As EasyDict: a dict whose keys are attributes too."""

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        self.__dict__[key] = value


class History(list):
    pass


LEFT: dict[str, Any] = {
    "SimpleNamespace": types.SimpleNamespace(a=1, b=[types.SimpleNamespace()]),
    "datetime": [datetime.datetime(2024, 1, 1), datetime.timedelta(1), datetime.timezone.utc],
    "partial": functools.partial(torch.nn.LayerNorm, eps=1e-6),
    "function": [torch.nn.functional.relu, len, np.mean],
    "class of the user": Config(),
    "class itself": Config,
    "enum": Flags.ON,
    "dict of the user": Attributes(a=1),
    "list of the user": History([1, 2]),
    "deque": deque([1, 2], maxlen=3),
    "counter": Counter("aab"),
    "ordered": OrderedDict(a=1),
    "set": {1, 2},
    "numpy": [np.arange(3), np.float64(1), np.dtype("f4"), np.random.default_rng(0)],
    "path": Path("a"),
    "torch": [torch.Size([1]), torch.device("cpu"), torch.float32, torch.nn.ReLU(), torch.Generator().get_state()],
    "exception": ValueError("x"),
    "bytes": [b"x", bytearray(b"y"), 1j, range(3), slice(1), frozenset({1})],
}


LEFT_CASES = [
    (what, is_zip) for what in LEFT for is_zip in (True, False) if is_zip or what not in ("partial", "torch")
]  # the old format kept the source text of networks, which the safe reader refuses


@pytest.mark.parametrize(("what", "is_zip"), LEFT_CASES)
def test_what_training_leaves_is_answered_by_empty_objects(what: str, is_zip: bool, tmp_path: Path) -> None:
    content = {"state_dict": weights(), "left": LEFT[what], "deep": {"a": [(LEFT[what],)]}}
    torch.save(content, tmp_path / "x.ckpt", _use_new_zipfile_serialization=is_zip)
    found = read_checkpoint(tmp_path / "x.ckpt")
    state, _ = match_state(found, net())
    assert torch.equal(state["conv1.weight"], weights()["conv1.weight"])
    assert not isinstance(found["left"], Config | Attributes | History | types.SimpleNamespace | functools.partial)


def test_weights_inside_a_dict_of_the_users_are_found(tmp_path: Path) -> None:
    torch.save({"net": Attributes(weights())}, tmp_path / "x.pth")
    assert virb.load_encoder(tmp_path / "x.pth").report.place == "net/"


@pytest.mark.parametrize(
    "name", ["os.system", "builtins.eval", "builtins.exec", "subprocess.Popen", "importlib.import_module", "io.open",
             "torch.hub.load", "webbrowser.open", "runpy.run_path", "types.CodeType", "shutil.rmtree"]
)  # fmt: skip
def test_functions_that_no_training_leaves_are_attacks(name: str) -> None:
    assert is_attack(name)


@pytest.mark.parametrize("name", ["builtins.getattr", "__main__.Config", "my.os.system", "pathlib.PosixPath", "os"])
def test_other_names_are_none(name: str) -> None:
    assert not is_attack(name)


class Marks:
    """Leaves a file when it is built by anybody: __reduce__ names a function that no list of attacks knows."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (leave_a_mark, (str(self.path),))


def leave_a_mark(path: str) -> None:
    Path(path).touch()


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_an_unknown_function_is_not_called(is_zip: bool, tmp_path: Path) -> None:
    torch.save({"state_dict": weights(), "x": Marks(tmp_path / "mark")}, tmp_path / "x.pth",
               _use_new_zipfile_serialization=is_zip)  # fmt: skip
    assert virb.load_encoder(tmp_path / "x.pth").arch == "resnet18"
    assert not (tmp_path / "mark").exists()
    pickle.loads(pickle.dumps(Marks(tmp_path / "mark")))  # the file was armed
    assert (tmp_path / "mark").exists()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["zip", "legacy", "pkl", "safetensors", "head"]))
def test_random_damage_ends_in_a_sentence(seed: int, kind: str, tmp_path: Path) -> None:
    """Bytes changed, cut or put in: never another exception than ours."""
    rng = random.Random(seed)
    state: Any = {"conv1.weight": torch.zeros(8, 3, 3, 3), "meta": {"a": [1, "b", None]}, "n": torch.zeros(3)}
    path = tmp_path / "x.bin"
    if kind == "safetensors":
        save_file({"conv1.weight": torch.zeros(8, 3, 3, 3)}, path)
    elif kind == "pkl":
        path.write_bytes(pickle.dumps({"conv1.weight": np.zeros((8, 3, 3, 3), "f4"), "x": {"y": np.float32(1)}}))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind != "legacy")
    content = bytearray(path.read_bytes())
    limit = 200 if kind in ("head", "legacy", "safetensors") else len(content)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(min(limit, len(content)))
        content[place : place + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
    path.write_bytes(content)
    with contextlib.suppress(CheckpointError):
        read_checkpoint(path)


# -- our own files


def test_a_meta_that_no_record_can_hold_is_refused(tmp_path: Path) -> None:
    encoder = virb.load_encoder("random:resnet18:width=0.125,size=32")
    content = {
        "format": "virb-encoder/1", "arch": encoder.arch, "arch_options": encoder.arch_options,
        "state_dict": encoder.state_dict(), "preprocess": encoder.preprocess.as_dict(), "meta": {"loss": float("nan")},
    }  # fmt: skip
    torch.save(content, tmp_path / "x.pt")
    assert "its meta holds something else than plain values" in refusal(tmp_path / "x.pt")
    torch.save({**content, "meta": {"loss": torch.zeros(1)}}, tmp_path / "x.pt")
    assert "its meta holds something else than plain values" in refusal(tmp_path / "x.pt")
    torch.save({**content, "meta": json.loads('{"loss": 1.0}')}, tmp_path / "x.pt")
    assert virb.load_encoder(tmp_path / "x.pt").meta == {"loss": 1.0}


def test_code_named_as_a_checkpoint_is_told_how_to_name_its_function(tmp_path):
    path = tmp_path / "net.py"
    path.write_text("def make(): ...\n")
    with pytest.raises(CheckpointError, match=r"Python code.*net\.py:FUNCTION"):
        read_checkpoint(path)

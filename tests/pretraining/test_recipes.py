"""Recipes are read as what they are before code sees them: whatever the file holds, it is a recipe or one sentence."""

from __future__ import annotations

import os

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as limited
from hypothesis import strategies as st

from virb.errors import UsageError, VirbError
from virb.pretraining import recipes
from virb.pretraining.settings import Settings

plain = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6) | st.dates()
keys = st.sampled_from([
    "method", "data", "arch", "arch_options", "options", "epochs", "budget", "size", "seed", "subset", "accumulate", "lr",
    "ema", "eval", "eval_epochs", "eval_probe", "snapshots", "recompute", "device", "skip_unreadable", "milestones", "other",
]) | st.integers()  # fmt: skip
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=2), max_leaves=4
)
settings = st.dictionaries(keys, values, max_size=4)
documents = st.fixed_dictionaries(
    {"encoders": st.dictionaries(st.text(max_size=6) | st.integers(), settings | values, max_size=3) | values},
    optional={"defaults": settings | values, "more": values},
)


@limited(max_examples=50)
@given(documents | values)
def test_any_yaml_is_a_recipe_or_a_sentence(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("recipe") / "r.yaml"
    path.write_text(yaml.safe_dump(content))
    try:
        runs = recipes.read_recipe(path)
    except UsageError:
        return
    for name, run in runs.items():
        made = Settings(out=path.parent / f"{name}.pt", **run)
        assert made.out.parent == path.parent


@limited(max_examples=50)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_recipe_or_a_sentence(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("recipe") / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        recipes.read_recipe(path)


HEAD = "encoders: {one: {method: random"


@pytest.mark.parametrize(
    "text",
    [
        "encoders: " + "[" * 100_000,
        "encoders: " + "{a: " * 5_000,
        "a0: &a0 [x, x]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}, *a{k - 1}]\n" for k in range(1, 40)),
        f"{HEAD}, method: simclr}}}}",
        f"{HEAD}, seed: .nan}}}}",
        f"{HEAD}, epochs: .inf}}}}",
        f"{HEAD}, seed: true}}}}",
        f"{HEAD}, seed: 1{'0' * 5000}}}}}",
        f"{HEAD}, epochs: '3'}}}}",
        f"{HEAD}, options: [1]}}}}",
        f"{HEAD}, options: {{temperature: .nan}}}}}}",
        f"{HEAD}, arch_options: {{width: [1]}}}}}}",
        f'{HEAD}, data: "a\\0b"}}}}',
        "encoders: !!python/object/apply:os.system [ls]",
        "encoders: {one: {method: 3}}",
        "defaults: [1]\nencoders: {one: {method: random}}",
    ],
)
def test_what_is_no_recipe_is_said_in_a_sentence(tmp_path, text):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as found:
        recipes.read_recipe(path)
    assert len(str(found.value)) < 1000


def test_only_regular_files_of_bounded_size_are_opened(tmp_path):
    large = tmp_path / "large.yaml"
    large.write_text("#" * (recipes.MOST_BYTES + 1))
    with pytest.raises(UsageError, match="at most"):
        recipes.read_recipe(large)
    with pytest.raises(UsageError, match="no regular file"):
        recipes.read_recipe(tmp_path)
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="no regular file"):
        recipes.read_recipe(pipe)
    (tmp_path / "latin.yaml").write_bytes("encoders: {é: {method: random}}".encode("latin-1"))
    with pytest.raises(UsageError, match="not UTF-8"):
        recipes.read_recipe(tmp_path / "latin.yaml")
    (tmp_path / "bom.yaml").write_text("encoders: {é: {method: random}}", encoding="utf-8-sig")
    assert list(recipes.read_recipe(tmp_path / "bom.yaml")) == ["é"]


@pytest.mark.parametrize(
    "name",
    [
        "../../out",
        "/tmp/out",
        "a/b",
        "a\\b",
        "..",
        ".hidden",
        "C:x",
        "nul",
        "COM1.x",
        "",
        " x",
        "x.",
        "a\nb",
        "y" * 300,
    ],
)
def test_a_name_never_becomes_a_path(tmp_path, name):
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump({"encoders": {name: {"method": "random", "arch": "pixels"}}}))
    before = set(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="cannot be called"):
        recipes.run_recipe(path, tmp_path / "out", quiet=True)
    assert set(tmp_path.rglob("*")) == before


@limited(max_examples=30)
@given(st.text(min_size=1, max_size=12))
def test_a_name_that_is_taken_is_a_file_in_the_folder(tmp_path_factory, name):
    from virb.system.documents import is_plain_name

    if is_plain_name(name):
        folder = tmp_path_factory.mktemp("names")
        (folder / f"{name}.pt").touch()
        assert [path.name for path in folder.iterdir()] == [f"{name}.pt"]


def test_names_that_differ_by_case_are_one_file_on_many_systems(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("encoders: {enc: {method: random}, Enc: {method: random}}")
    with pytest.raises(UsageError, match="one file"):
        recipes.read_recipe(path)


def test_a_folder_that_cannot_be_written_is_told_before_images_are_read(tmp_path, monkeypatch):
    from virb.pretraining import runs, sources

    def never(*args, **kwargs):
        raise AssertionError("images were read")

    monkeypatch.setattr(sources, "load", never)
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "x.pt", tmp_path / "folder.pt"):
        (tmp_path / "folder.pt").mkdir(exist_ok=True)
        with pytest.raises(VirbError, match=r"Cannot write|is a folder"):
            runs.pretrain(Settings(method="simclr", data="x", out=out), quiet=True)


def test_a_disk_without_room_is_told_before_training(tmp_path, monkeypatch):
    import shutil

    from virb.system import files

    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(UsageError, match=r"will take 5 MB, and the disk of .* has 0 MB left"):
        files.check_room(tmp_path, 5_000_000, "The state")

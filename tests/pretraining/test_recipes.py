"""Recipes are read as what they are before code sees them: whatever the file holds, it is a recipe or one sentence."""

from __future__ import annotations

import os

import numpy as np
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


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A recipe of two trained encoders of one folder and an untrained one, and the folder where they lie finished."""
    from PIL import Image

    monkeypatch.setenv("VIRB_CACHE", str(tmp_path / "cache"))
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for k in range(4):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(photos / f"{k}.png")
    defaults = {
        "method": "simclr", "data": str(photos), "size": 16, "batch_size": 4, "arch_options": {"width": 0.0625, "stem": "cifar"},
        "optimizer": "adamw", "lr": 0.001, "budget": 4, "warmup_epochs": 0, "device": "cpu",
    }  # fmt: skip
    recipe = {"defaults": defaults, "encoders": {"a": {}, "b": {"seed": 1}, "untrained": {"method": "random"}}}
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(recipe))
    _, failed = recipes.run_recipe(path, tmp_path / "out", quiet=True)
    assert failed == {}
    return path, recipe, tmp_path / "out"


def test_data_sets_lie_where_the_caller_says(tmp_path, made, monkeypatch):
    """In this process and in others, which are told by $VIRB_DATA."""
    path, recipe, out = made
    recipe["defaults"]["data"] = "photos"
    path.write_text(yaml.safe_dump(recipe))
    monkeypatch.setenv("VIRB_CACHE", str(tmp_path / "cache"))
    again, failed = recipes.run_recipe(path, out, quiet=True, data_root=tmp_path)
    assert ([one.is_new for one in again], failed) == ([False] * 3, {})
    environments = []

    def start(command, *, env, **options):
        environments.append(env["VIRB_DATA"])
        raise OSError("enough")

    monkeypatch.setattr(recipes.subprocess, "Popen", start)
    with pytest.raises(OSError, match="enough"):
        recipes.run_recipe_in_parallel(path, out, jobs=2, only=("a",), force=True, quiet=True, data_root=tmp_path)
    assert environments == [str(tmp_path)]


def left(path, out, monkeypatch):
    """Which encoders of the recipe processes are started for, and how often images were read to say so."""
    from virb.pretraining import asked

    started, read = [], []

    class Child:
        def __init__(self, command, **options):
            started.append(command[command.index("--only") + 1])
            self.stdout, self.returncode = [], 0

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    load = asked.sources.load
    monkeypatch.setattr(asked.sources, "load", lambda *names, **how: read.append(names) or load(*names, **how))
    monkeypatch.setattr(recipes.subprocess, "Popen", Child)
    there, statuses = recipes.run_recipe_in_parallel(path, out, jobs=2, quiet=True)
    monkeypatch.undo()
    assert started == list(statuses)
    assert all(not one.is_new for one in there)
    assert sorted([one.path.stem for one in there] + started) == ["a", "b", "untrained"]
    return started, len(read)


def test_for_encoders_that_are_there_no_process_is_started_and_images_are_read_once(made, monkeypatch):
    path, _, out = made
    with monkeypatch.context() as patch:
        patch.setenv("VIRB_CACHE", str(path.parent / "cache"))
        assert left(path, out, patch) == ([], 1)
    before = {file: file.stat().st_mtime_ns for file in out.glob("*.pt")}
    again, failed = recipes.run_recipe(path, out, quiet=True)
    assert ([one.is_new for one in again], failed) == ([False] * 3, {})
    assert {file: file.stat().st_mtime_ns for file in out.glob("*.pt")} == before


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (lambda recipe: recipe["encoders"]["b"].update(lr=0.002), ["b"]),
        (lambda recipe: recipe["encoders"]["a"].update(options={"temperature": 0.3}), ["a"]),
        (lambda recipe: recipe["encoders"]["untrained"].update(seed=1), ["untrained"]),
        (lambda recipe: recipe["defaults"].update(budget=8), ["a", "b"]),
        (lambda recipe: recipe["defaults"].update(limit=3, batch_size=3), ["a", "b"]),
        (lambda recipe: recipe["defaults"].update(data="nowhere"), ["a", "b"]),  # for the run to say
    ],
)
def test_a_process_is_started_where_settings_differ(made, monkeypatch, change, again):
    path, recipe, out = made
    change(recipe)
    path.write_text(yaml.safe_dump(recipe))
    with monkeypatch.context() as patch:
        patch.setenv("VIRB_CACHE", str(path.parent / "cache"))
        assert left(path, out, patch)[0] == again


def test_a_process_is_started_where_images_or_the_file_are_others(made, monkeypatch):
    from PIL import Image

    path, _, out = made
    (out / "untrained.pt").write_bytes((out / "untrained.pt").read_bytes()[:1000])
    Image.new("RGB", (16, 16)).save(path.parent / "photos" / "0.png")
    with monkeypatch.context() as patch:
        patch.setenv("VIRB_CACHE", str(path.parent / "cache"))
        assert left(path, out, patch)[0] == ["a", "b", "untrained"]

"""What is wrong with a run is said before its images are read; what is right is not refused."""

from __future__ import annotations

import pytest
import torch

from virb import registry
from virb.errors import UsageError, VirbError
from virb.networks.backbones import build_backbone
from virb.pretraining import asked, recipes
from virb.pretraining.beforehand import checked
from virb.pretraining.recipes import find_recipe, read_recipe, run_recipe
from virb.pretraining.runs import pretrain
from virb.pretraining.settings import Settings

VIT = {"arch": "vit", "arch_options": {"dim": 32, "depth": 2, "heads": 2, "patch": 8}}
METHODS = [entry.name for entry in registry.entries("methods") if entry.is_built_in]


def settings_of(tmp_path, method, **changed):
    needs_patches = method in ("mae", "i-jepa", "ibot", "dinov2")
    given = {
        "data": "a-folder",
        "size": 32,
        "batch_size": 8,
        **(VIT if needs_patches else {"arch_options": {"width": 0.125}}),
    }
    return Settings(method=method, out=tmp_path / "x.pt", **{**given, **changed})


@pytest.fixture
def nothing_is_read(monkeypatch):
    def read(*args, **options):
        raise AssertionError("images were read")

    monkeypatch.setattr(asked.sources, "load", read)


@pytest.mark.usefixtures("nothing_is_read")
@pytest.mark.parametrize(
    ("method", "changed", "said"),
    [
        ("simclr", {"arch": "resnet81", "arch_options": {}}, "Did you mean resnet18"),
        ("simclr", {"arch_options": {"widht": 1}}, "Did you mean width"),
        ("simclr", {"options": {"temprature": 1}}, "Did you mean temperature"),
        ("simclr", {"options": {"temperature": -1}}, "expected at least 0.001"),
        ("simclr", {"options": {"projection_dim": 0}}, "expected at least 1"),
        ("simclr", {"options": {"min_crop": 3}}, "Option min_crop=3"),
        ("byol", {"options": {"momentum": 1.5}}, "at most 1"),
        ("simclr", {"epochs": 2, "snapshots": "1,5"}, "the run is 2 epochs, and ends before 5"),
        ("simclr", {"epochs": 2, "warmup_epochs": 3}, "longer than the run"),
        ("simclr", {"accumulate": 8}, "at least 2 images"),
        ("simclr", {"optimizer": "adamw"}, "needs a --lr of its own"),
        ("mae", {"arch": "resnet18", "arch_options": {}}, "resnet18"),
        ("mae", {"options": {"mask_ratio": 1.0}}, "expected some shown and some hidden"),
        ("simclr", {"arch": "vit_small_patch16", "arch_options": {}, "size": 30}, "no multiple of that"),
    ],
)
def test_all_but_the_images_is_checked_before_they_are_read(tmp_path, method, changed, said):
    with pytest.raises(UsageError, match=said):
        pretrain(settings_of(tmp_path, method, **changed), quiet=True)
    assert not (tmp_path / "x.pt").exists()


@pytest.mark.usefixtures("nothing_is_read")
def test_a_file_that_is_there_is_said_before_images_are_read(tmp_path):
    settings = settings_of(tmp_path, "simclr", snapshots="1")
    (tmp_path / "x-epoch1.pt").touch()
    with pytest.raises(UsageError, match=r"x-epoch1\.pt exists"):
        pretrain(settings, quiet=True)
    (tmp_path / "x.pt").touch()
    with pytest.raises(UsageError, match=r"x\.pt exists\. Choose another --out"):
        pretrain(settings, quiet=True)


@pytest.mark.parametrize("method", METHODS)
def test_a_sound_run_of_every_method_passes_and_its_learner_is_built(tmp_path, method):
    more = {"pool": "avg", "cls": 0} if method == "i-jepa" else {}
    given = {"arch_options": {**VIT["arch_options"], **more}, "options": {"min_keep": 1}} if more else {}
    if method in ("dino", "ibot", "dinov2"):
        given = {"options": {"prototypes": 16, "hidden_dim": 16}}
    settings = settings_of(tmp_path, method, **given)
    before = torch.random.get_rng_state()
    found, options = checked(settings, resume=False, force=False)
    assert torch.equal(torch.random.get_rng_state(), before)
    if found.learner is None:
        return
    arch, arch_options = asked.architecture(settings, 32)
    with torch.device("meta"):  # so that nothing but a user's error could have been swallowed
        found.learner(build_backbone(arch, **arch_options), options, setup())


def setup():
    from virb.contracts.method import Setup

    return Setup(32, 1000, 2, 8, 100, 10, (0.5,) * 3, (0.2,) * 3)


RECIPES = sorted(path.stem for path in find_recipe("study").parent.glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_recipes_that_come_along_pass(tmp_path, recipe):
    kinds = {
        (run["method"], run.get("arch"), str(run.get("options")), str(run.get("arch_options"))): run
        for run in read_recipe(find_recipe(recipe)).values()
    }
    for run in kinds.values():
        checked(Settings(out=tmp_path / "x.pt", **run), resume=True, force=False)


def test_of_a_recipe_what_is_wrong_costs_itself_and_is_said_before_the_first_begins(tmp_path, monkeypatch, capsys):
    (tmp_path / "r.yaml").write_text(
        "defaults: {method: simclr, data: nowhere, size: 32}\n"
        "encoders:\n  a: {}\n  b: {options: {temperature: 0}}\n  c: {method: simcrl}\n"
    )
    begun = []

    def up_to_date(settings, **options):
        begun.append((settings.out.stem, capsys.readouterr().err))
        raise VirbError("begun")

    monkeypatch.setattr(recipes, "_up_to_date", up_to_date)
    made, failed = run_recipe(tmp_path / "r.yaml", tmp_path, quiet=True)
    ((name, said),) = begun
    assert (made, name) == ([], "a")
    assert "b cannot be made:" in said
    assert "c cannot be made:" in said
    assert "expected at least 0.001" in failed["b"]
    assert "Did you mean 'simclr'" in failed["c"]

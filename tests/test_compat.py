"""Old import names give the very modules that answer to them."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from virb.compat import ALIASES


@pytest.mark.parametrize(("alias", "stands_for"), [*ALIASES.items(), ("virb.ssl.losses", "virb.pretraining.losses")])
def test_an_alias_is_the_module_itself(alias, stands_for):
    module = importlib.import_module(alias)
    assert module is importlib.import_module(stands_for)
    assert module.__spec__.name == stands_for


def test_in_a_fresh_process_the_alias_may_come_first():
    code = (
        "from virb.ssl.losses import nt_xent; from virb.data.folders import image_folder; import virb.task, virb.ssl\n"
        "import virb.pretraining.losses as new; import virb.images.folders as folders\n"
        "assert virb.ssl.losses is new and image_folder is folders.image_folder and virb.ssl.losses.nt_xent is nt_xent"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_below_an_alias_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("virb.data.nothing")


def test_the_names_of_version_0_1_are_still_there():
    old = {
        "virb.encoder": "FrozenEncoder Preprocess load_encoder expand_sources reference_encoders split_source safe_name "
        "IMAGENET_MEAN IMAGENET_STD",
        "virb.checkpoint": "FORMAT MatchReport save_encoder read_checkpoint match_state detect_architecture state_sha256",
        "virb.backbones": "Backbone ResNet build_backbone blank_backbone canonical_architecture spell_architecture",
    }
    for module, names in old.items():
        assert [name for name in names.split() if not hasattr(importlib.import_module(module), name)] == []

"""Import names that people's task files and scripts use, and the modules that answer to them.

``virb.ssl`` is a promised name of ``virb.pretraining``, and a task file may always import ``virb.task`` and ``virb.data.*``;
the others are where things lay in version 0.1. Both names give
one and the same module, so that a class is the same class however it was imported.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

ALIASES = {
    "virb.ssl": "virb.pretraining",
    "virb.ssl.method": "virb.contracts.method",
    "virb.pretraining.method": "virb.contracts.method",
    "virb.ssl.augment": "virb.training.augment",
    "virb.ssl.image_ops": "virb.training.image_ops",
    "virb.ssl.distributed": "virb.training.distributed",
    "virb.pretraining.distributed": "virb.training.distributed",
    "virb.ssl.optimizers": "virb.training.optimizers",
    "virb.ssl.schedules": "virb.training.schedules",
    "virb.ssl.projections": "virb.networks.projections",
    "virb.task": "virb.contracts.task",
    "virb.analyses": "virb.contracts.analysis",
    "virb.data": "virb.images",
    "virb.data.readers": "virb.tasks.readers",
    "virb.data.world": "virb.tasks.world",
    "virb.data.examples": "virb.contracts.examples",
    "virb.data.images": "virb.images.sets",
    "virb.data.folders": "virb.images.folders",
    "virb.data.crops": "virb.images.crops",
    "virb.networks.activations": "virb.features.activations",
    "virb.encoder": "virb.convert.load",
    "virb.backbones": "virb.networks.backbones",
    "virb.checkpoint": "virb.convert.load",
    "virb.plots": "virb.figures.plots",
}


class _Aliases(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds an alias and puts the module it stands for in its place."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name in ALIASES or name.startswith("virb.ssl."):
            return importlib.machinery.ModuleSpec(name, self, is_package=name in ("virb.ssl", "virb.data"))
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        stands_for = ALIASES.get(name) or name.replace("virb.ssl", "virb.pretraining", 1)
        sys.modules[name] = importlib.import_module(stands_for)


def install() -> None:
    """Let the aliases be imported, from the first ``import virb`` on."""
    if not any(isinstance(finder, _Aliases) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Aliases())  # first: else a package's own path would load its files a second time

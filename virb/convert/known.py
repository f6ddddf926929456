"""What an encoder file was found to be, remembered, so that a finished evaluation does not load its network.

What is remembered of a file (its identity, architecture, preprocessing and meta) holds for one absolute path while size,
times, inode and device stay as they were, and for one state of the code that loads encoders. It is kept for virb's own
encoder files alone, in ``<cache>/encoders``, which can be thrown away at any time. When the network is needed after all,
the file is loaded and must be what it was remembered to be.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import torch
from torch import nn

from virb.convert.load import load_encoder, reference_encoders, split_source
from virb.errors import CheckpointError
from virb.images.digests import file_key
from virb.networks.base import Backbone
from virb.networks.encoder import FrozenEncoder
from virb.networks.fused import FusedEncoder
from virb.networks.preprocess import Preprocess
from virb.networks.spec import split_code, split_fused
from virb.system.cache import code_state
from virb.system.paths import cache_root
from virb.system.recall import recall, remember

Source = str | os.PathLike[str] | nn.Module
_FACTS = ("name", "arch", "arch_options", "meta", "dim", "channels", "strides", "sha256", "identity_parts", "identity")
_LOADING = threading.RLock()


class KnownEncoder(FrozenEncoder):
    """An encoder that is known by what was remembered of its file, which is loaded when the network is first needed."""

    def __init__(
        self,
        source: str,
        facts: dict[str, Any],
        *,
        device: torch.device | str | None,
        loaded: FrozenEncoder | None = None,
    ) -> None:
        for key in _FACTS:
            setattr(self, key, facts[key])
        self.channels, self.strides = tuple(facts["channels"]), tuple(facts["strides"])
        self.preprocess = Preprocess(**facts["preprocess"])
        self.source = source
        self.report = None
        self.optimize = True
        self.device = torch.device("cpu" if device is None else device)
        self.dtype = torch.float32
        self._network: Backbone | None = None
        self._offsets: dict[int | None, tuple[float, ...]] = {}
        self._loaded = loaded

    def __repr__(self) -> str:
        return f"FrozenEncoder({self.name!r}, {self.arch}, dim={self.dim}, size={self.preprocess.size})"

    @property
    def is_loaded(self) -> bool:
        return self._loaded is not None

    @property
    def n_bytes(self) -> int:
        """What its weights take in memory now: nothing where its network is not loaded."""
        if self._loaded is None:
            return 0
        network = self._loaded.backbone
        return sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))

    @property
    def _backbone(self) -> Backbone:  # type: ignore[override]
        with _LOADING:
            if self._loaded is None:
                assert self.source is not None
                found = load_encoder(self.source)
                if found.identity != self.identity:
                    raise CheckpointError(f"{self.source} has changed since this run began. Run it again.")
                self._loaded = found
            return self._loaded.backbone

    def release_network(self) -> None:
        super().release_network()
        self._loaded = None


def load_or_recall(source: Source, *, device: torch.device | str | None = None) -> FrozenEncoder:
    """Return what ``load_encoder`` does; of an unchanged file of virb's own, without reading it again.

    One of virb's own that had to be read can be read again, so that ``release_network`` frees all of its memory.

    Raises:
        CheckpointError, UsageError: as ``load_encoder`` does.
    """
    if not isinstance(source, nn.Module) and len(members := split_fused(os.fspath(source))) > 1:
        return FusedEncoder([load_or_recall(member, device=device) for member in members], source=os.fspath(source))
    path = None if isinstance(source, nn.Module) else _file_of(os.fspath(source))
    if isinstance(source, nn.Module) or path is None:
        return load_encoder(source, device=device)
    text = os.fspath(source)
    key = file_key(os.path.abspath(path))
    memory = _memory_of(path, text)
    facts = _recall(memory, key)
    if facts is not None:
        return KnownEncoder(text, facts, device=device)
    found = load_encoder(source, device=device)
    if any(key) and key == file_key(os.path.abspath(path)):
        facts = _remember(memory, key, found)
    return found if facts is None else KnownEncoder(text, facts, device=device, loaded=found)


def _file_of(text: str) -> Path | None:
    """Return the one regular file that ``load_encoder`` would read for ``text``; None where it is none."""
    if os.path.isfile(text):
        return Path(text)
    base = split_source(text)[0]
    if os.path.isfile(base):
        return Path(base)
    if os.path.exists(base) or split_code(base) is not None:
        return None
    return reference_encoders().get(base)


def _memory_of(path: Path, text: str) -> Path:
    """Return where the facts lie: a file for each path and way of naming it (with its options)."""
    words = [os.path.abspath(path), text]
    return Path(f"{cache_root()}/encoders/{hashlib.sha256(json.dumps(words).encode()).hexdigest()[:32]}.json")


def _recall(memory: Path, key: bytes) -> dict[str, Any] | None:
    found = recall(memory, _code()) if any(key) else {}
    return found["facts"] if found.get("key") == key.hex() else None


def _remember(memory: Path, key: bytes, encoder: FrozenEncoder) -> dict[str, Any] | None:
    """Write down what is known of an encoder and return it; None where that cannot be remembered."""
    if encoder.report is not None or encoder.identity_parts["code"]:
        return None  # what another program wrote is read by rules that parts of one's own may change
    facts = {name: getattr(encoder, name) for name in _FACTS}
    facts |= {"channels": list(encoder.channels), "strides": list(encoder.strides)}
    facts["preprocess"] = encoder.preprocess.as_dict()
    with contextlib.suppress(TypeError, ValueError):  # only what comes back from JSON as it went in
        if json.loads(json.dumps(facts, allow_nan=False)) == facts:
            remember(memory, _code(), {"key": key.hex(), "facts": facts})
            return facts
    return None


@functools.cache
def _code() -> str:
    """Return what a remembered fact hangs on beside its file: the state of the code that loads encoders, and torch's."""
    return f"{code_state('convert', 'networks')} {torch.__version__}"

"""The record of a job, the store of records, and the tidy table that is derived from them.

A job is one head: (encoder, task, probe, seed) under some settings. Its record is
``<root>/<encoder>/<task>/<probe>-seed<k>.json``, written last and at once, with the predictions beside it as ``.npz``:
if the JSON file is there, the job is done. A probe name carries its overrides (``gradient+limit=100``), so that a
shortened run never stands in for a full one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from virb.errors import UsageError, VirbError
from virb.system.files import atomic_write

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "virb-record/1"
META_COLUMNS = (
    "method", "dataset", "dataset_size", "balance", "epochs", "images_seen", "head", "head_dim", "features",
    "role", "family", "repeat",
)  # fmt: skip


class ResultStore:
    """The records below one folder."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    def path(self, encoder: str, task: str, probe: str, seed: int) -> Path:
        return self.root / encoder / task / f"{probe}-seed{seed}.json"

    def check_writable(self) -> None:
        """Raise VirbError now if records could not be written later."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".writable-{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink(missing_ok=True)
        except OSError as error:
            raise VirbError(
                f"Results cannot be written to {self.root}: {error.strerror or error}. Choose another folder with "
                "--out."
            ) from error

    def read(self, path: Path) -> dict[str, Any] | None:
        """Return the record in ``path``; None if there is none or it is not a whole record of this schema."""
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) and record.get("schema") == SCHEMA else None

    def write(self, record: Mapping[str, Any], predictions: Mapping[str, np.ndarray]) -> Path:
        """Write one job's record and predictions; the record comes last, so that it vouches for both."""
        path = self.path(record["encoder"]["name"], record["task"]["name"], record["probe"], record["seed"])
        with atomic_write(path.with_suffix(".npz")) as file:
            np.savez_compressed(file, **predictions)  # type: ignore[arg-type]
        text = json.dumps({"schema": SCHEMA, **record}, indent=1, allow_nan=False)
        with atomic_write(path) as file:
            file.write(text.encode())
        return path

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield every whole record, in the order of their paths."""
        for path in sorted(self.root.glob("*/*/*-seed*.json")):
            record = self.read(path)
            if record is not None:
                yield record

    def check_identity(self, encoder: str, sha256: str) -> None:
        """Raise UsageError if records of another encoder lie under this name."""
        for path in sorted((self.root / encoder).glob("*/*.json")):
            record = self.read(path)
            if record is not None and record["encoder"]["sha256"] != sha256:
                raise UsageError(
                    f"{self.root / encoder} holds scores of another encoder of the same name (sha256 "
                    f"{record['encoder']['sha256'][:12]} there, {sha256[:12]} now). Rename the encoder's file, use "
                    f"another --out, or remove {self.root / encoder}."
                )

    def table(self) -> pd.DataFrame:
        """Return the tidy table: one row a record, sorted by category, task, encoder and seed.

        Columns: encoder, task, probe, seed, score, metric, category, suite, n_train, n_test, overrides, and what the
        encoders' meta say (method, dataset, dataset_size, balance, epochs, images_seen, head and head_dim of the
        pretraining's projection, features where they are that projection's, pretrain_seed).

        Raises:
            UsageError: the folder does not exist or holds no records.
        """
        import pandas as pd

        rows = [_row(record) for record in self.records()]
        if not rows:
            state = "holds no records" if self.root.is_dir() else "does not exist"
            raise UsageError(f"The results folder {self.root} {state}. Run virb evaluate ENCODER... --out {self.root}.")
        frame = pd.DataFrame(rows)
        return frame.sort_values(
            ["category", "task", "encoder", "probe", "seed"], key=_natural, kind="stable"
        ).reset_index(drop=True)


def probe_name(probe: str, overrides: Mapping[str, Any]) -> str:
    """Return the name that a probe's records carry: with its overrides, if there are any.

    >>> probe_name("gradient", {"limit": 100, "epochs": 5})
    'gradient+epochs=5+limit=100'
    """
    return "+".join([probe, *(f"{key}={overrides[key]}" for key in sorted(overrides))])


def base_probe(name: str) -> str:
    """Return the probe that records of this name are of, whatever its overrides.

    >>> base_probe("gradient+epochs=5+limit=100")
    'gradient'
    """
    return name.partition("+")[0]


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    meta = record["encoder"].get("meta") or {}
    return {
        "encoder": record["encoder"]["name"],
        "task": record["task"]["name"],
        "probe": record["probe"],
        "seed": record["seed"],
        "score": record["score"],
        "metric": record["task"]["metric"],
        "category": record["task"]["category"],
        "suite": record["task"]["suite"],
        "n_train": record["n_train"],
        "n_test": record["n_test"],
        "overrides": "+".join(f"{key}={value}" for key, value in sorted(record["overrides"].items())),
        **{column: meta.get(column) for column in META_COLUMNS},
        "pretrain_seed": meta.get("seed"),  # seed is the probe's
    }


def _natural(column: pd.Series) -> pd.Series:
    """Sort key: the four categories in the paper's order, numbers inside names by value."""
    if column.name == "category":
        from virb.contracts.task import Category

        order = {category.value: index for index, category in enumerate(Category)}
        return column.map(lambda value: order.get(value, len(order)))
    if column.name == "seed":
        return column
    return column.map(
        lambda text: "".join(part.zfill(9) if part.isdigit() else part for part in re.split(r"(\d+)", text))
    )

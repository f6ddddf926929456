"""Where else the rows of a run's log go: TensorBoard, Weights & Biases and MLflow, each by its own client."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

LEFT_OUT = ("step", "images", "seconds")


class Board(Protocol):
    """Takes numbers at a step, until it is closed."""

    def add(self, numbers: Mapping[str, float], step: int) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Beside the log, wherever TensorBoard is installed."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # What comes after ``step`` was lost.
        self.writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

    def add(self, numbers: Mapping[str, float], step: int) -> None:
        for key, value in numbers.items():
            self.writer.add_scalar(key, value, step)

    def close(self) -> None:
        self.writer.close()


class WeightsAndBiases:
    """Where $WANDB_PROJECT names a project; a run that goes on goes on there too."""

    def __init__(self, folder: Path, step: int) -> None:
        import wandb

        self.run: Any = wandb.init(
            project=os.environ["WANDB_PROJECT"], name=folder.name, id=_id(folder), resume="allow"
        )

    def add(self, numbers: Mapping[str, float], step: int) -> None:
        self.run.log(dict(numbers), step=step)

    def close(self) -> None:
        self.run.finish()


class MLflow:
    """Where $MLFLOW_TRACKING_URI says where runs go."""

    def __init__(self, folder: Path, step: int) -> None:
        import mlflow

        self.client: Any = mlflow
        mlflow.start_run(run_name=folder.name)

    def add(self, numbers: Mapping[str, float], step: int) -> None:
        self.client.log_metrics(dict(numbers), step=step)

    def close(self) -> None:
        self.client.end_run()


def _id(folder: Path) -> str:
    """The same for the same run, wherever it is started from."""
    return hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]


def open_boards(folder: Path, step: int) -> list[Board]:
    """Open those that are installed and, but for TensorBoard, asked for by their own variable."""
    kinds: list[type[Any]] = [TensorBoard]
    kinds += [WeightsAndBiases] if os.environ.get("WANDB_PROJECT") else []
    kinds += [MLflow] if os.environ.get("MLFLOW_TRACKING_URI") else []
    out: list[Board] = []
    for kind in kinds:
        try:
            out.append(kind(folder, step))
        except ImportError:
            continue  # not installed
    return out


def numbers_of(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a log's row that are curves."""
    return {key: value for key, value in row.items() if key not in LEFT_OUT and value is not None}

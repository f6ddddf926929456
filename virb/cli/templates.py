"""What ``virb new`` writes: the smallest part of each kind that works. NAME and TITLE are filled in."""

from __future__ import annotations

TASK = '''"""TITLE: images in one folder a class."""

from virb.images.folders import image_folder
from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="NAME",
    summary="TITLE",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    # Reads NAME/train/<class>/* and NAME/test/<class>/* under --data DIR, or under --data NAME=DIR itself.
    data=image_folder("NAME"),
    # The names of the classes, which must be the names of the folders.
    classes=("class-a", "class-b"),
    protocol=Protocol(epochs=100),
    source="where the data come from, as one would cite it",
    license="the data's licence",
    obtain="how a user gets the data",
)
'''

HEAD = '''"""TITLE: two layers on the embedding."""

from virb.contracts.head import Facts, Head
from virb.contracts.parts import Option


def build(facts: Facts, n_out: int, *, hidden: int):
    from torch import nn

    return nn.Sequential(nn.Linear(facts.dim, hidden), nn.ReLU(), nn.Linear(hidden, n_out))


HEAD = Head("NAME", "two layers on the embedding", reads="embedding", build=build, options=(Option("hidden", 256, low=1),))
'''

LOSS = '''"""TITLE: the cross-entropy with label smoothing."""

import torch.nn.functional as F

from virb.contracts.loss import Loss


def total(outputs, targets, ignore_index=None):
    """Return the sum over the targets that count, and their number."""
    return F.cross_entropy(outputs, targets.long(), label_smoothing=0.1, reduction="sum"), len(targets)


LOSS = Loss("NAME", "the cross-entropy with label smoothing", takes={"class"}, total=total)
'''

METRIC = '''"""TITLE: the share of examples whose class is not predicted."""

import numpy as np

from virb.contracts.metric import Metric, State


class ErrorRate(State):
    name = "NAME"

    def __init__(self):
        self.wrong = []  # one an example, so that nothing depends on their order

    def update(self, prediction, target):
        self.wrong += [bool(wrong) for wrong in np.asarray(prediction).argmax(axis=1) != np.asarray(target)]

    def compute(self):
        self.check_not_empty()
        return {"NAME": sum(self.wrong) / len(self.wrong)}

    def per_example(self):
        return {"wrong": np.array(self.wrong)}

    def __len__(self):
        return len(self.wrong)

    def extend(self, other):
        self.wrong += other.wrong


METRIC = Metric(
    "NAME", "the share of wrong classes", takes={"class"}, unit="fraction", better="lower", state=lambda facts: ErrorRate()
)
'''

PROBE = '''"""TITLE: the class whose mean embedding is nearest."""

import numpy as np

from virb.contracts.probe import Predictor, Probe


def fit(problem, setups, device, report):
    (setup,) = setups
    x = setup.source.features[problem.frames].reshape(len(problem.frames), -1)
    means = np.stack([x[problem.targets == k].mean(axis=0) for k in range(problem.n_out)])

    def outputs(source, frames, report):
        test = source.features[frames].reshape(len(frames), -1)
        return -((test[:, None] - means) ** 2).sum(axis=2)

    return [Predictor({"distance": "euclidean"}, outputs)]


PROBE = Probe("NAME", "the class whose mean embedding is nearest", takes={"class"}, fit=fit, is_random=False)
'''

READER = '''"""TITLE: files called SPLIT-CLASS-*.png, classes numbered from 0."""

import numpy as np

from virb.contracts.examples import Examples
from virb.contracts.parts import Option
from virb.contracts.reader import Reader
from virb.images.sets import FileImages


def read(context, split, *, suffix):
    folder = context.place("NAME")
    paths = sorted(folder.glob(f"{split}-*{suffix}"))
    targets = np.array([int(path.name.split("-")[1]) for path in paths])
    frames = np.arange(len(paths))[:, None]
    return Examples(FileImages(f"NAME {split}", folder, paths), frames, targets, [path.name for path in paths])


# A task names it: data=reads("NAME", suffix=".png"), with: from virb.images.readers import reads
READER = Reader("NAME", "files called SPLIT-CLASS-*.png", read, options=(Option("suffix", ".png"),))
'''

COLUMN = '''"""TITLE: what every row of virb results show says too."""

from virb.contracts.column import Column

COLUMN = Column("NAME", "examples of train and test", of=lambda record: record["n_train"] + record["n_test"])
'''

IMPORTER = '''"""TITLE: scores in lines of ENCODER | TASK | SCORE."""

from virb.contracts.importer import Importer


def rows(path):
    for line in path.read_text(encoding="utf-8").splitlines():
        encoder, task, score = (cell.strip() for cell in line.split("|"))
        yield {"encoder": encoder, "task": task, "score": float(score)}


# virb analyze correlation --results NAME:FILE
IMPORTER = Importer("NAME", "lines of ENCODER | TASK | SCORE", reads="file", rows=rows)
'''

EXECUTOR = '''"""TITLE: this process."""

from virb.contracts.executor import Executor


def check(place):
    pass


def run(work, place, progress):
    progress.note(f"{len(work.chunks)} chunks of work")
    return work.here()


EXECUTOR = Executor("NAME", "this process", run=run, check=check, is_here=True)
'''

STYLE = '''"""TITLE: how figures are drawn, wherever this file is found."""

from virb.contracts.style import Style

STYLE = Style("NAME", "larger letters", fonts=("DejaVu Serif",), settings={"font.size": 8})
'''

ANALYSIS = '''"""TITLE: the mean of every encoder over the tasks, in sd of each task."""

from virb.contracts.analysis import Analysis
from virb.contracts.tables import Tables
from virb.scores.layout import EXCLUDE, MISSING, prepare


def compute(scores, notes, *, exclude, missing):
    """Scores to tables: numbers alone. `notes.say` tells what is left out or taken for granted."""
    data = prepare(scores, notes, exclude=exclude, missing=missing)
    spread = data.wide.std(ddof=0)
    z = (data.wide - data.wide.mean()) / spread.where(spread > 0, 1.0)
    table = z.mean(axis=1).rename("mean_z").sort_values(ascending=False, kind="stable")
    # "" is the main table, NAME.csv; a part "pairs" would be NAME-pairs.csv. Single values go beside them.
    return Tables({"": table.rename_axis("encoder").reset_index()}, n_tasks=data.wide.shape[1], note=data.note)


def say(tables):
    """Tables to sentences."""
    best = tables[""].iloc[0]
    return [f"{best['encoder']} is highest over {tables.facts['n_tasks']} tasks: {best['mean_z']:+.2f} sd in the mean"]


def draw(tables):
    """Tables to figures, by part; heavy imports go inside."""
    from virb.figures import plots

    table = tables[""]
    with plots.style():
        fig = plots.figure(plots.COLUMN, plots.bars_height(len(table)))
        axes = fig.add_subplot()
        plots.bars(axes, list(table["encoder"]), list(table["mean_z"]), [plots.OKABE_ITO[0]] * len(table))
        axes.set_xlabel("mean score (sd of each task)")
        plots.titles(fig, "TITLE", f"Mean over {tables.facts['n_tasks']} tasks. {tables.facts['note']}")
    return {"": fig}


ANALYSIS = Analysis(
    name="NAME",
    summary="TITLE",
    source="the paper and figure that it repeats, or: of our own",
    compute=compute,
    draw=draw,
    say=say,
    options=(EXCLUDE, MISSING),
)
'''

TEST = '''"""NAME passes the checks of its kind."""

from pathlib import Path

import pytest

from virb import registry
from virb.evaluation.batteries import check_part

CHECKS = [check for entry in registry.entries_of(Path(__file__).with_name("FILE")) for check in check_part(entry)]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_it_is_sound(check):
    assert check.is_ok, check.detail
'''

#: What is written for a kind: its key in the registry, and the text.
TEMPLATES = {
    "task": ("tasks", TASK),
    "head": ("heads", HEAD),
    "loss": ("losses", LOSS),
    "metric": ("metrics", METRIC),
    "probe": ("probes", PROBE),
    "analysis": ("analyses", ANALYSIS),
    "reader": ("readers", READER),
    "column": ("columns", COLUMN),
    "importer": ("importers", IMPORTER),
    "executor": ("executors", EXECUTOR),
    "style": ("styles", STYLE),
}

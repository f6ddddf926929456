"""Write the pages of the documentation that come from the registry: ``python -m virb.docs [docs]``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from virb import registry
from virb.contracts.task import Category, Task

SUITE = "virb"

_INTRODUCTION = """# The end tasks of the paper

<!-- Written by `python -m virb.docs` from the files in tasks/virb/. Change those, and run it again. -->

Tables 1 and 2 of Kotar et al. 2021 (*Contrasting Contrastive Self-Supervised Representation Learning Pipelines*) as
virb implements them. The encoder is frozen, statistics of its BatchNorm included; a head trains on its features from
random weights, with {optimizers} at {rates}, for the number of epochs in the table, and the score is read once, on the
test split, after the last epoch. Higher is better in every row.

`virb data status` says which of the data sets below are there, and `virb validate NAME` checks one end to end.

## Heads

| head | what it is |
|---|---|
| linear | one fully connected layer on the pooled embedding |
| fusion | one linear layer of width 256 with a ReLU for each frame, outputs concatenated, one layer to the classes |
| unet | convolution and pixel shuffle from the coarsest map up; at every level the encoder's map is added as it is |
| siamese_unet | the same for two images; at every level a 1x1 convolution joins their maps before they are added |
| deeplabv3plus | atrous spatial pyramid pooling, 256 wide, on the last block dilated to an output stride of 16, joined with the second block's map; dilation 6, 12, 18 |

The paper names the heads and not their widths: those of `fusion` and `unet` are ours, 256 is DeepLabv3+'s. A U-Net is as
wide as its encoder at every level (2048, 1024, 512, 256, 64 for a ResNet-50). An encoder whose coarsest map has fewer
than 512 channels gets a DeepLabv3+ half as wide as that map.

## Metrics

| metric | what it is |
|---|---|
| top1 | the share of test examples whose largest output is their class |
| miou | mean over classes of intersection over union, summed over the whole test split before it is divided; classes that occur nowhere are left out, and so are pixels without a label |
| neg_l1 | minus the mean absolute error in metres over all test pixels with a depth |
| one_minus_all | one minus the share of outliers among all test pixels with flow: off by more than 3 px and by more than 5 % |
"""


def tasks_markdown() -> str:
    """Return docs/tasks.md."""
    tasks = [registry.load("tasks", entry.name) for entry in registry.entries("tasks") if entry.group == SUITE]
    optimizers = sorted({task.protocol.optimizer.capitalize() for task in tasks})
    rates = sorted({f"{task.protocol.lr:g}" for task in tasks})
    parts = [_INTRODUCTION.format(optimizers=" and ".join(optimizers), rates=" and ".join(rates)), "## The table\n"]
    header = ("end task", "head", "loss", "metric", "classes", "frames", "train", "test", "epochs", "batch", "input")
    for category in Category:
        rows = [_row(task) for task in tasks if task.category is category]
        parts.append(f"### {category.value}\n\n{_table(header, rows)}\n")
    parts.append("A dash among the numbers of examples: the archive decides.\n\n## One by one\n")
    parts += [_section(task) for task in tasks]
    return "\n".join(parts)


def _row(task: Task) -> tuple[str, ...]:
    protocol = task.protocol
    size = "resized to the encoder's"
    if protocol.crop is not None:
        low, high = protocol.crop_scales
        mirrored = ", mirrored" if protocol.crop_mirror else ""
        size = f"crops of {protocol.crop}, scaled by {low:g} to {high:g}{mirrored}; tested whole"
    head = f"{task.heads_of}'s" if task.heads_of else task.head
    numbers = [f"{task.n_examples[split]:,}" if split in task.n_examples else "–" for split in ("train", "test")]
    return (
        f"[{task.name}](#{task.name})",
        head,
        task.loss,
        task.metric,
        str(task.n_classes or "–"),
        str(task.n_frames),
        *numbers,
        str(protocol.epochs),
        str(protocol.batch_size),
        size,
    )


def _section(task: Task) -> str:
    lines = [
        f"### {task.name}\n",
        f"{task.summary[0].upper()}{task.summary[1:]}.\n",
        f"- Source: {task.source}. Licence: {task.license}.",
        f"- To obtain it: {task.obtain}",
    ]
    if task.deviations:
        lines.append("- Departures from the paper, or choices that it leaves open:")
        lines += [f"  - {text}" for text in task.deviations]
    return "\n".join(lines) + "\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


PAGES = {"tasks.md": tasks_markdown}


def main(argv: Sequence[str]) -> int:
    """Write the pages into the folder that is named (default: docs)."""
    folder = Path(argv[0] if argv else "docs")
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")
        print(folder / name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

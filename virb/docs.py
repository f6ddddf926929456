"""Write the pages of the documentation that come from the registry: ``python -m virb.docs [docs]``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from virb import registry
from virb.contracts.task import FROM_DATA, Category, Task

SUITE = "virb"
SUITES = {
    "simclr": "SimCLR's transfer tasks (Chen et al. 2020, Appendix B.8).",
    "cole": "Cole et al. 2022, *When does contrastive visual representation learning work?*",
    "hammoud": "Hammoud et al. 2024, *On pretraining data diversity for self-supervised learning*.",
    "dense": (
        "Dense tasks, retrieval and correspondence beyond the ViRB paper's. Where there is no loss, nothing is trained: the "
        "head answers by the features alone."
    ),
}

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
| match | nothing is trained: every pixel of the first image goes to the most similar cell (cosine) of the second, at the cell's middle; option `stride` |
| retrieve | nothing is trained: each query against each image that is searched, by the cosine of their embeddings |
| deeplabv3plus | atrous spatial pyramid pooling, 256 wide, on the last block dilated to an output stride of 16, joined with the second block's map; dilation 6, 12, 18 |

The paper names the heads and not their widths: those of `fusion` and `unet` are ours, 256 is DeepLabv3+'s. A U-Net is as
wide as its encoder at every level (2048, 1024, 512, 256, 64 for a ResNet-50). An encoder whose coarsest map has fewer
than 512 channels gets a DeepLabv3+ half as wide as that map.

Every map has a stride and an offset, the pixel that its first cell's centre lies on: 0 for a ResNet, dilated or not, 7.5 for
patches of 16; measured where a network does not say it. Heads bring maps onto one another and onto the image's pixels by
these, bilinearly, and stretch nothing: a transformer's padding is cut off, and a map that ends before the image goes on as it
ends. So crops of 513 and images of any size line up with their targets to within half a pixel.

## Metrics

| metric | what it is |
|---|---|
| top1 | the share of test examples whose largest output is their class |
| miou | mean over classes of intersection over union, summed over the whole test split before it is divided; classes that occur nowhere are left out, and so are pixels without a label |
| neg_l1 | minus the mean absolute error in metres over all test pixels with a depth |
| depth_rmse, abs_rel, delta1, delta2, delta3, silog | of depth (Eigen et al. 2014), over all test pixels; `depth_rmse_image` and `silog_image`: of each image, then the mean, as DINOv2 and DINOv3 report them. No task of the paper has them |
| mean_angle, median_angle | degrees between predicted and true directions, over all test pixels, beside the shares below 11.25, 22.5 and 30; the median to .05. No task of the paper has them |
| retrieval_map | of retrieval, as revisited Oxford and Paris define it: the mean over queries of the average precision by trapezoids, junk taken out of the ranking first; all that is relevant (Medium), beside `retrieval_map_easy`, `retrieval_map_hard` and `p@1`, `p@5`, `p@10`. No task of the paper has it |
| pck | of correspondence: the share of points found within .1 (option `alpha`) of the object's box or of the image, of each pair and then the mean; `pck_point`, a metric too, of the points of all pairs. No task of the paper has it |
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


_SUITES = """# The end tasks of other papers

<!-- Written by `python -m virb.docs` from the files in tasks/simclr/, cole/, hammoud/ and dense/. Change those, and run it again. -->

    virb list tasks --suite simclr
    virb data status --suite simclr --data DIR
    virb evaluate mine.pt --suite simclr --data DIR --probe lbfgs

Beside the paper's (tasks.md) there are suites with the end tasks of three other papers, and dense tasks. A name begins with its
suite, because the same set of images is used in several ways: `cifar-100` squashes and `simclr-cifar-100` crops, so their scores
are not one task's. `--data NAME=DIR` places a set by its own name (`--data food-101=DIR`), whichever suite reads it.

**Input.** "centre square" takes the square in the middle of each image, whose side is all or 87.5 % of the shorter side, and then
resizes it to the encoder's size: what "shorter side to 224, centre crop of 224" gives, but for a shift of less than a pixel
where sides are rounded. It is part of the task's protocol (`Protocol(resize="crop", resize_share=...)`), of the record and of
the fingerprint.

**Label trees.** Where the data have one, the record and the table have `accuracy@LEVEL` and `kappa@LEVEL` (corrected for chance) at
every level, from the same predictions. WordNet is no tree: of several hypernyms the first that it lists counts; levels are those
of Cole et al. (Appendix C.3), "depth k" with nothing more than k steps below the root.

**Public layouts.** Each task is tested on a tiny set in the layout that its publishers (or torchvision) give, and refuses what is
not as published, by name. Counts are checked by `virb data status`. Where CIFAR-10, Food-101, Stanford Cars, Flowers-102 or Tiny
ImageNet do not lie so, the folder `NAME` of the data folder (or `--data NAME=DIR`) is read in any layout that is recognised: Hugging
Face Parquet, WebDataset shards, class folders; another number of classes is refused.
"""


def suites_markdown() -> str:
    """Return docs/suites.md."""
    parts = [_SUITES]
    header = ("end task", "probe's loss", "metric", "classes", "train", "test", "epochs", "batch", "input")
    entries = [entry for entry in registry.entries("tasks") if entry.group in SUITES]
    for suite in SUITES:
        tasks = [registry.load_entry(entry) for entry in entries if entry.group == suite]
        rows = [(row[0], *row[2:5], *row[6:]) for row in map(_row, tasks)]
        shared = [text for text in tasks[0].deviations if len(tasks) > 1 and all(text in t.deviations for t in tasks)]
        said = "".join(f"- {text}\n" for text in shared)
        said = f"\nDepartures from the paper, or choices that it leaves open, in all of them:\n\n{said}" if said else ""
        parts.append(f"## {suite}\n\n{SUITES[suite]}\n\n{_table(header, rows)}\n{said}")
        parts += [_section(replace(t, deviations=[d for d in t.deviations if d not in shared])) for t in tasks]
    return "\n".join(parts)


def _row(task: Task) -> tuple[str, ...]:
    protocol = task.protocol
    size = "resized to the encoder's"
    if protocol.resize == "crop":
        size = "centre square" if protocol.resize_share == 1 else f"centre square of {protocol.resize_share:.1%}"
    if protocol.crop is not None:
        low, high = protocol.crop_scales
        mirrored = ", mirrored" if protocol.crop_mirror else ""
        side = f"shorter side {protocol.short_side}, " if protocol.short_side is not None else ""
        size = f"{side}crops of {protocol.crop}, scaled by {low:g} to {high:g}{mirrored}; tested whole"
    head = f"{task.heads_of}'s" if task.heads_of else task.head
    numbers = [f"{task.n_examples[split]:,}" if split in task.n_examples else "–" for split in ("train", "test")]
    return (
        f"[{task.name}](#{task.name})",
        head,
        task.loss or "–",
        task.metric,
        "the data's" if task.classes is FROM_DATA else str(task.n_classes or "–"),
        str(task.n_frames),
        *numbers,
        *((str(protocol.epochs), str(protocol.batch_size)) if task.loss else ("–", "–")),
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


_ENCODERS = """A file or folder in one of the layouts below is recognised by its tensors' names and shapes, and by config.json where there
is one. What belongs to no encoder (classifiers, decoders, text towers, fixed tables) is named in a list of its own; a tensor
that is neither placed nor in that list is a refusal. "Loads exactly" means: on weights at random the embedding equals that
of the implementation in the last column, to rounding.

{layouts}

Beside these, ResNets and Vision Transformers under torchvision's and timm's names are read wherever they stand in a file
(MoCo, SwAV, VISSL, SimSiam, Barlow Twins, VICReg, DINO, BYOL, lightly, solo-learn, mmselfsup, ...). Any other model of timm
goes in as `FILE:arch=timm:NAME`: its own names as they are, a release's names through timm's own converter
(`checkpoint_filter_fn`), after which every tensor is accounted for; a table that timm would resize is refused. Where no
layout fits, the refusal names the models of timm that have exactly the file's tensors.

### What no tensor tells

It is taken as below, said once when the encoder is loaded, and kept in the record and on the encoder's page. An option
after the name says otherwise, as in `FILE:mlp=quick_gelu,heads=4`.

| question | what is taken | another |
|---|---|---|
| heads | width / 64; 16 for widths 1152, 1280, 1408, 1664; 20 and 32 in DINOv3; 12 in MoCo v3's ViT-S | `heads=` |
| quick GELU | OpenAI's files and Hugging Face's CLIP have it, OpenCLIP's have GELU | `mlp=quick_gelu`, `mlp=gelu` |
| eps of LayerNorm | config.json's; without one, the release's | `eps=` |
| positions at another size | as the release's code resizes them: DINOv2 by its scale, Hugging Face exactly, both without antialiasing; else as timm does | `resize=dino`, `exact`, `timm` |
| raw or averaged weights | what the release reads: timm's and torchvision's averages, I-JEPA's and MSN's target, DINO's teacher; else the raw ones | `ema=yes`, `ema=no`, `prefix=` |
| a ResNet's strides, BatchNorm, stem | 3x3 convolutions, eps 1e-5, padding 1 | `arch=timm:NAME` |

### Folders

`config.json` decides the architecture and `preprocessor_config.json` size, mean and std (`open_clip_config.json` and timm's
`pretrained_cfg` likewise); how its resizing and cropping differ from virb's is said. Weights in several files are put
together, and a missing one is named. A language model's folder is refused by its name before its weights are read. `hf:NAME`
fetches a network of the Hugging Face hub; transformers is not needed for it.

### A layout of your own

One file that assigns `LAYOUT` (virb/contracts/layout.py), in a folder named with `--include` or in an installed package.
virb/convert/layouts/detectron2.py is a short one. The families of networks that layouts fill, with all their sizes as
options (`{families}`), are files of virb/networks/families.
"""


def layouts_markdown() -> str:
    """Return the part of docs/encoders.md that the layouts' files decide."""
    layouts = [registry.load("layouts", name) for name in registry.names("layouts")]
    header = ("layout", "source", "embedding, images", "loads exactly, against")
    rows = [(one.title, f"`{one.source}`", one.gives, one.checked) for one in layouts]
    return _ENCODERS.format(layouts=_table(header, rows), families=", ".join(registry.names("backbones")))


PAGES = {"tasks.md": tasks_markdown, "suites.md": suites_markdown}
BLOCKS = {"encoders.md": ("layouts", layouts_markdown)}


def with_block(page: str, name: str, text: str) -> str:
    """Return ``page`` with ``text`` between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``."""
    before, rest = page.split(f"<!-- {name}: begin -->")
    _, after = rest.split(f"<!-- {name}: end -->")
    return f"{before}<!-- {name}: begin -->\n{text.strip()}\n<!-- {name}: end -->{after}"


def main(argv: Sequence[str]) -> int:
    """Write the pages into the folder that is named (default: docs)."""
    folder = Path(argv[0] if argv else "docs")
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")
        print(folder / name)
    for name, (block, text) in BLOCKS.items():
        path = folder / name
        if path.is_file():  # the rest of the page is written by hand
            path.write_text(with_block(path.read_text(encoding="utf-8"), block, text()), encoding="utf-8")
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

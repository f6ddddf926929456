"""Hammoud et al. 2024, On Pretraining Data Diversity for Self-Supervised Learning."""

from __future__ import annotations

import pandas as pd
from virb.analysis.papers import hammoud_claims as claims
from virb.analysis.papers.common import EVERY_SCALE, HOMES, OF_PHOTOGRAPHS, PLACES, PROBES, melted

from virb.contracts.paper import Claim, Member, Paper, Part, Published, Scale

#: The paper's name of a method -> virb's.
METHODS = {
    "SimCLR": "simclr", "BarlowTwins": "barlow-twins", "BYOL": "byol", "SwAV": "swav", "VICReg": "vicreg", "MoCoV3": "moco-v3", "DINO": "dino",
}  # fmt: skip
TASKS = {
    "ImageNet": "hammoud-imagenet", "Cars": "hammoud-cars", "Flowers": "hammoud-flowers-102", "Pets": "hammoud-pets",
    "Places": "hammoud-places365", "Food": "hammoud-food-101",
}  # fmt: skip
SMALL = {"CIFAR-100": "cifar-100", "TinyImageNet": "tiny-imagenet"}  # with "hammoud-" before it, the task
CIFAR, TINY = (5_000, 25_000, 50_000), (10_000, 50_000, 100_000)
IMAGENET_N = (128_000, 256_000, 640_000, 1_281_000)
NETWORKS = {
    "ResNet-50": "resnet50",
    "ViT-B/16": "vit_base_patch16",
    "ResNet-101": "resnet101",
    "ViT-S/16": "vit_small_patch16",
}


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """Give every row the encoder that it is of: method, network, set, images, budget."""
    parts = [frame["method"], *([frame["network"]] if "network" in frame else []), frame["dataset"]]
    names = pd.concat(parts, axis=1).astype(str).agg(" ".join, axis=1)
    sizes = frame["dataset_size"].map(lambda n: f"{n / 1000:g}k")
    budget = frame["images_seen"].map(lambda c: f"{c / 1e6:g}M")
    return frame.assign(encoder=names + " " + sizes + " of " + budget, role="self-supervised")


def table1(raw: pd.DataFrame) -> pd.DataFrame:
    """Seven methods on two sets, three sizes, one budget; each scored on its own set."""
    out = raw.rename(columns={"N": "dataset_size", "C": "images_seen"}).melt(
        ["dataset", "dataset_size", "images_seen"], list(METHODS), "method", "score"
    )
    return _named(out.assign(task="hammoud-" + out["dataset"].map(SMALL)))


def table2(raw: pd.DataFrame) -> pd.DataFrame:
    """Networks of ImageNet's subsets and of YFCC on six tasks."""
    raw = raw.rename(columns={"pretrain_dataset": "dataset", "N": "dataset_size", "C": "images_seen"})
    return _named(melted(raw, ["method", "network", "dataset", "dataset_size", "images_seen"], TASKS))


def table3(raw: pd.DataFrame) -> pd.DataFrame:
    """Distances between pretraining set and task."""
    raw = raw.rename(columns={"pretrain_dataset": "dataset", "backbone": "network"}).assign(
        encoder=lambda f: f["metric"] + " " + f["network"] + " " + f["dataset"]
    )
    return melted(raw, ["encoder", "metric", "network", "dataset"], TASKS)


def table4(raw: pd.DataFrame) -> pd.DataFrame:
    """One method at two budgets (Supplementary Table 3 has Table 4's two networks and two more)."""
    raw = raw.rename(columns={"N": "dataset_size", "C": "images_seen"})
    out = raw.melt(["method", "images_seen", "dataset_size"], list(NETWORKS), "network", "score")
    return _named(out.assign(dataset="ImageNet", task="hammoud-imagenet"))


def table5(raw: pd.DataFrame) -> pd.DataFrame:
    """Share of ImageNet's labels."""
    raw = raw.rename(columns={"pretrain_dataset": "dataset", "N": "dataset_size", "C": "images_seen"})
    columns = [name for name in raw if name.startswith("labels_")]
    out = raw.melt(["method", "network", "dataset", "dataset_size", "images_seen"], columns, "labels", "score")
    return _named(out.assign(labels=out["labels"].str.removeprefix("labels_").astype(float), task="hammoud-imagenet"))


def supp1(raw: pd.DataFrame) -> pd.DataFrame:
    """Tiny ImageNet: images x budget."""
    out = raw.rename(columns={"N": "dataset_size"}).melt(
        ["method", "dataset", "dataset_size"], var_name="budget", value_name="score"
    )
    return _named(
        out.assign(images_seen=out["budget"].str.removeprefix("C_").astype(float), task="hammoud-tiny-imagenet")
    )


def figure3(raw: pd.DataFrame) -> pd.DataFrame:
    """What the text says of Figure 3: SimCLR without added images, and with images of other classes."""
    value = raw.set_index("quantity")["value"]
    base = float(value["SimCLR ImageNet-100 accuracy, pretrain on B"])
    change = float(value["SimCLR change for each Out augmentation"])
    rows = [("none", base), ("out", base + change)]
    out = pd.DataFrame(rows, columns=["added", "score"])
    return out.assign(
        encoder="SimCLR B " + out["added"],
        task="hammoud-imagenet-100",
        method="SimCLR",
        dataset="ImageNet-100",
        role="self-supervised",
    )


def _member(name: str, line: str, method: str, dataset: str, n: int, c: float, **more: object) -> Member:
    said = {
        "method": METHODS.get(method, method),
        "role": "self-supervised",
        "dataset": dataset,
        "dataset_size": n,
        "images_seen": c,
    }
    return Member(name, f"recipe:{line}", {**said, **more})


def _k(n: int) -> str:
    return f"{n / 1000:g}k"


def _big(method: str, network: str, dataset: str, n: int, c: int = 98) -> Member:
    line = f"{METHODS[method]}-{NETWORKS[network]}-{dataset.lower()}-{_k(n)}" + ("" if c == 98 else f"-{c}m")
    return _member(f"{method} {network} {dataset} {_k(n)} of {c}M", line, method, dataset, n, c * 1e6, network=network)


YFCC = 98_170_000
FULL = Scale(
    encoders={
        "small": tuple(
            _member(f"{title} {dataset} {_k(n)} of 50M", f"{method}-{SMALL[dataset]}-{_k(n)}", title, dataset, n, 50e6)
            for title, method in METHODS.items() for dataset, sizes in (("CIFAR-100", CIFAR), ("TinyImageNet", TINY)) for n in sizes
        ),
        "grid": tuple(
            _member(f"{title} TinyImageNet {_k(n)} of {c}M", f"{METHODS[title]}-tiny-imagenet-{_k(n)}" + ("" if c == 50 else f"-{c}m"), title, "TinyImageNet", n, c * 1e6)
            for title in ("SimCLR", "MoCoV3") for n in TINY for c in (5, 10, 25, 50, 100)
        ),
        "large": tuple(
            _big(title, network, *which)
            for title in ("SimCLR", "MoCoV3") for network in ("ResNet-50", "ViT-B/16")
            for which in (*(("ImageNet", n) for n in IMAGENET_N), ("YFCC", YFCC))
        ),
        "supplement2": tuple(
            _big(title, "ResNet-50", *which) for title in ("BarlowTwins", "BYOL") for which in (("ImageNet", 128_000), ("ImageNet", 1_281_000), ("YFCC", YFCC))
        ),
        "budgets": tuple(
            _big("MoCoV3", network, "ImageNet", n, c) for network in NETWORKS for n in (128_000, 640_000, 1_281_000) for c in (98, 294)
        ),
        "yfcc": tuple(
            _big(title, network, "YFCC", n) for title in ("SimCLR", "MoCoV3") for network in ("ResNet-50", "ViT-B/16") for n in (98_170, 981_700, 9_817_000, YFCC)
        ),
        "added": tuple(
            Member(f"SimCLR B {kind}", missing="the crawled and generated images are not published") for kind in ("web", "synthetic")
        ),
    },
    tasks={
        "small": {f"hammoud-{name}": f"hammoud-{name}" for name in SMALL.values()},
        "tiny": {"hammoud-tiny-imagenet": "hammoud-tiny-imagenet"},
        "six": {task: task for task in TASKS.values()},
        "imagenet": {"hammoud-imagenet": "hammoud-imagenet"},
    },
    recipe="hammoud_2024.yaml",
    facts={"imagenet_set": "ImageNet", "imagenet": "hammoud-imagenet", "nearer_to_other": "hammoud-places365"},
)  # fmt: skip

MINI_N = (1500, 3000, 6000)
MINI_METHODS = ("simclr", "moco-v2", "barlow-twins", "vicreg", "byol")
MINI = Scale(
    encoders={
        "small": tuple(
            _member(f"{method}-{n}", f"{method}-{n}", method, "world-objects", n, 60e3) for method in MINI_METHODS for n in MINI_N
        ),
        "grid": tuple(
            _member(f"simclr-{n}" + tail, f"simclr-{n}" + tail, "simclr", "world-objects", n, c) for n in MINI_N for tail, c in (("", 60e3), ("-30k", 30e3), ("-120k", 120e3))
        ),
        "large": (
            *(_member(f"{method}-{n}", f"{method}-{n}", method, "world-objects", n, 60e3) for method in MINI_METHODS for n in MINI_N),
            *(_member(f"{method}-rooms", f"{method}-rooms", method, "world-rooms", 6000, 60e3) for method in MINI_METHODS),
        ),
        "budgets": tuple(
            _member(f"simclr-{n}" + tail, f"simclr-{n}" + tail, "simclr", "world-objects", n, c) for n in MINI_N for tail, c in (("", 60e3), ("-120k", 120e3))
        ),
    },
    tasks={
        "small": {"mini-object-class": "mini-object-class"},
        "tiny": {"mini-object-class": "mini-object-class"},
        "six": {name: name for name in ("mini-object-class", "mini-scene", "mini-material", "mini-digits", "mini-aerial", "mini-animals")},
        "imagenet": {"mini-object-class": "mini-object-class"},
    },
    recipe="hammoud_mini.yaml",
    facts={"imagenet_set": "world-objects", "imagenet": "mini-object-class", "nearer_to_other": "mini-scene"},
    label="of the mini world: rendered images of 64 px, quarter-width ResNet-18s",
    input_px=64, embedding=128, card="two cores",
)  # fmt: skip

_PHOTO_N = {"-cifar10": 50_000, "-cifar10-25k": 25_000, "-cifar10-10k": 10_000, "-cifar10-5k": 5_000}
PHOTOS = Scale(
    encoders={
        "small": tuple(
            _member(f"photos-simclr{tail}", f"photos-simclr{tail}", "simclr", "cifar10", n, 100e3) for tail, n in _PHOTO_N.items()
        )
        + tuple(
            _member(f"photos-simclr{tail}", f"photos-simclr{tail}", "simclr", "tiny-imagenet-32", n, 100e3)
            for tail, n in {"": 20_000, "-half": 10_000, "-quarter": 5_000}.items()
        ),
    },
    tasks={"small": {name: name for name in HOMES}},
    recipe="photos.yaml",
    facts={"home": HOMES},
    label=OF_PHOTOGRAPHS,
    places=PLACES,
    is_of_parts=True,
    input_px=32, embedding=128, card="two cores",
)  # fmt: skip

LINEAR = {"probe": "linear", "labels": "all"}


def _part(
    name: str, title: str, where: str, analysis: str, encoders: tuple[str, ...], tasks: tuple[str, ...], **given: object
) -> Part:
    given.setdefault("protocol", LINEAR)
    return Part(name, title, where, analysis, encoders=encoders, tasks=tasks, **given)  # type: ignore[arg-type]


FULL_ONLY = ("full",)
PARTS = (
    _part("table1", "images at one budget, seven methods", "Table 1", "budget", ("small",), ("small",), table="table1", scales=EVERY_SCALE),
    Part("figure3", "images added with and without the classes", "Figure 3", why_not="crawled and generated images are not published; `virb pretrain --data A+B` and the analysis budget make it of images of one's own"),
    _part("table2", "ImageNet and YFCC on six tasks", "Table 2", "domain-matrix", ("large",), ("six",), table="table2"),
    _part("table3", "distances between sets", "Table 3", "image-distance", (), (), table="table3", scales=FULL_ONLY, needs="image folders and an encoder: `--option images=A/,B/ --option encoder=...`"),
    _part("table3-transfer", "score against distance", "Table 3 with Table 2", "distance-transfer", ("large",), ("six",), scales=FULL_ONLY, needs="distances: `--option distances=FILE.csv`"),
    _part("table4", "two budgets", "Table 4", "budget", ("budgets",), ("imagenet",), table="table4"),
    _part("figure4", "how much of YFCC", "Figure 4", "size-curves", ("yfcc",), ("imagenet",), options={"x": "dataset_size", "lines": "method"}, scales=FULL_ONLY),
    _part("table5", "share of labels", "Table 5", "size-curves", ("large",), ("imagenet",), table="table5", options={"x": "labels"}, protocol={"probe": "linear", "labels": "5, 10, 50 and 100 %"}, scales=FULL_ONLY),
    _part("supp-table1", "images and budget", "Supplementary Table 1", "budget", ("grid",), ("tiny",), table="supp1"),
    _part("supp-table2", "Barlow Twins and BYOL on six tasks", "Supplementary Table 2", "domain-matrix", ("supplement2",), ("six",), table="supp2", scales=FULL_ONLY),
    _part("supp-table3", "two budgets, four networks", "Supplementary Table 3", "budget", ("budgets",), ("imagenet",), table="table4", scales=FULL_ONLY),
    _part("supp-table4", "share of labels, by number of images", "Supplementary Table 4", "size-curves", ("large",), ("imagenet",), table="supp4", options={"x": "labels"}, protocol={"probe": "linear", "labels": "5, 10, 50 and 100 %"}, scales=FULL_ONLY),
    Part("supp-figure1", "gain at equal epochs, DINO", "Supplementary Figure 1", why_not="as Figure 3"),
    Part("figures1-2", "drawings of the question and of the sources", "Figures 1 and 2", why_not="drawings, not results"),
)  # fmt: skip

PAPER = Paper(
    name="hammoud-2024",
    summary="how many unique images self-supervised pretraining needs at a fixed budget, and when more do not help",
    citation="Hammoud, Das, Pizzati, Torr, Bibi, Ghanem. On Pretraining Data Diversity for Self-Supervised Learning. ECCV 2024",
    file=__file__,
    tables=(
        Published("table1", "hammoud_table1.csv", "Table 1", "percent", table1, 0.005),
        Published("table2", "hammoud_table2.csv", "Table 2", "percent", table2, 0.05),
        Published("table3", "hammoud_table3.csv", "Table 3", "distance", table3, 0.005, "the rows of DINOv2 are printed over each other: digits after the point are uncertain, the order is not"),
        Published("table4", "hammoud_supp_table3.csv", "Table 4 and Supplementary Table 3", "percent", table4, 0.05, "one cell is 57.4 in Table 4 and 57.5 in the supplement; the caption has a budget of 90M once, for 98M"),
        Published("table5", "hammoud_table5.csv", "Table 5", "percent", table5, 0.05, "the diversity of ImageNet is printed as 1.31e-3, for 13.1e-3"),
        Published("supp1", "hammoud_supp_table1.csv", "Supplementary Table 1", "percent", supp1, 0.005),
        Published("supp2", "hammoud_supp_table2.csv", "Supplementary Table 2", "percent", table2, 0.005),
        Published("supp4", "hammoud_supp_table4.csv", "Supplementary Table 4", "percent", table5, 0.05),
        Published("figure3", "hammoud_text_values.csv", "Figure 3, as told in Section 5.2", "percent", figure3, 0.5, "SimCLR alone"),
    ),
    parts=PARTS,
    claims=(
        Claim("diversity", "At a fixed budget more unique images of the task's own distribution are better, for all methods.", "Section 5.1, Table 1", claims.more_diversity_is_better, ("table1",)),
        Claim("diversity-large", "The same at ImageNet's scale.", "Section 5.3, Table 2", claims.larger_scale_agrees, ("table2",)),
        Claim("largest-best", "The largest set is best at every budget.", "Supplementary Table 1", claims.largest_is_best_at_every_budget, ("supp1",)),
        Claim("out-harms", "Adding images of other classes harms, of the task's classes helps.", "Section 5.2, Figure 3", claims.out_of_distribution_images_harm, ("figure3",)),
        Claim("shift-outweighs", "Even 98M images of YFCC are outperformed by ImageNet on the majority of tasks.", "Section 5.3, Table 2", claims.shift_outweighs_diversity, ("table2",)),
        Claim("places-exception", "On Places365 YFCC outperforms ImageNet.", "Section 5.3, Table 2", claims.yfcc_is_better_on_places, ("table2",)),
        Claim("distance", "The ranking of distances agrees with that of accuracies: nearer sets transfer better.", "Section 6, Table 3", claims.nearer_sets_are_better, ("table2", "table3")),
        Claim("normalisation", "Budgets that differ mislead: fewer images with three times the budget beat the best of the smaller budget.", "Section 6, Table 4", claims.unequal_budgets_mislead, ("table4",)),
        Claim("small-set-compute", "On few images more budget does not help.", "Section 6, Table 4", claims.small_sets_do_not_gain_from_compute, ("table4",)),
        Claim("saturation", "With a distribution shift, accuracy saturates with more images.", "Section 6, Figure 4", claims.yfcc_saturates, ("figure4",)),
        Claim("few-labels", "A ViT-B/16 of ImageNet with 5 % of the labels beats one of YFCC with all.", "Section 6, Table 5", claims.few_labels_suffice, ("table5",)),
        Claim("half-labels", "With in-distribution pretraining half of the labels give nearly what all give.", "Section 6, Table 5", claims.half_of_the_labels_suffice, ("table5",)),
    ),
    scales={"full": FULL, "mini": MINI, "photos": PHOTOS},
    facts=FULL.facts,
    probes=PROBES,
    missing={"figure4": "The paper prints no numbers of Figure 4."},
)  # fmt: skip

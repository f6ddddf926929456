"""Cole et al. 2022, When Does Contrastive Visual Representation Learning Work?"""

from __future__ import annotations

import re

import pandas as pd
from virb.analysis.papers import cole_claims as claims
from virb.analysis.papers import cole_quality_claims as quality
from virb.analysis.papers.common import EVERY_SCALE, HOMES, OF_PHOTOGRAPHS, PLACES, PROBES, melted

from virb.contracts.paper import Claim, Member, Paper, Part, Published, Scale

TASKS = {"iNat21": "cole-inat21", "ImageNet": "cole-imagenet", "Places365": "cole-places365", "GLC20": "cole-glc20"}
SETS = list(TASKS)
MILLION = 1_000_000


def table1(raw: pd.DataFrame) -> pd.DataFrame:
    """Pretraining set x task; the supervised row is an encoder a column, trained on that column's set."""
    ours = raw[raw["method"].eq("SimCLR")].rename(columns={"pretrain_dataset": "dataset"})
    ours = ours.assign(
        encoder="SimCLR " + ours["dataset"] + " 1M", role="self-supervised", method="simclr", dataset_size=MILLION
    )
    out = melted(ours, ["encoder", "dataset", "method", "role", "dataset_size"], TASKS)
    top = raw[raw["method"].eq("Supervised")].iloc[0]
    rows = [(f"Supervised {name}", name, "supervised", "supervised", TASKS[name], float(top[name])) for name in SETS]
    more = pd.DataFrame(rows, columns=["encoder", "dataset", "method", "role", "task", "score"])
    return pd.concat([out, more], ignore_index=True)


def table2(raw: pd.DataFrame) -> pd.DataFrame:
    """Pooled sets, and sets of one domain, each known on its own task."""
    rows = []
    for _, row in raw.iterrows():
        total = int(row["total_k"])
        if row["row_type"] == "pooled":
            parts = [name for name in SETS if row[f"n_{name}_k"] > 0]
            dataset = "+".join(f"{name}:{int(row[f'n_{name}_k'])}000" for name in parts)
            encoder = "SimCLR " + " + ".join(f"{name} {int(row[f'n_{name}_k'])}k" for name in parts)
            rows += [(encoder, dataset, total, name, row[f"eval_{name}"]) for name in SETS[:3]]
        else:
            rows += [(f"SimCLR {name} {_k(total)}", name, total, name, row[f"eval_{name}"]) for name in SETS[:3]]
    out = pd.DataFrame(rows, columns=["encoder", "dataset", "thousands", "task", "score"])
    return out.assign(
        task=out["task"].map(TASKS), dataset_size=out["thousands"] * 1000, method="simclr", role="self-supervised"
    )


def _k(thousands: int) -> str:
    return f"{thousands // 1000}M" if thousands % 1000 == 0 else f"{thousands}k"


def table3(raw: pd.DataFrame) -> pd.DataFrame:
    """Features of one encoder, and of two concatenated."""
    flags = [name for name in raw if name.startswith("feat_")]
    parts = raw[flags].apply(lambda row: [flag[5:] for flag in flags if row[flag]], axis=1)
    frame = raw.assign(
        parts=parts.map("+".join), encoder=parts.map(" + ".join),
        supervision=parts.map(lambda names: "+".join(name.rpartition("_")[2] for name in names)),
        dataset=parts.map(lambda names: "+".join(dict.fromkeys(name.rpartition("_")[0] for name in names))),
    )  # fmt: skip
    columns = {f"eval_{name}": TASKS[name] for name in ("ImageNet", "iNat21")}
    return melted(frame, ["encoder", "parts", "supervision", "dataset"], columns)


def table_a2(raw: pd.DataFrame) -> pd.DataFrame:
    """Native and resized images; the printed rows of changes are left out."""
    raw = raw[~raw["pretrain"].str.endswith("Change")].rename(columns={"pretrain": "encoder"})
    return melted(raw.assign(dataset=raw["encoder"].str.partition(" ")[0]), ["encoder", "dataset"], TASKS)


def table_a3(raw: pd.DataFrame) -> pd.DataFrame:
    """100k ImageNet images over 200, 500 and 1000 classes."""
    raw = raw.assign(encoder="SimCLR ImageNet 100k of " + raw["n_classes"].astype(str) + " classes", dataset="ImageNet")
    columns = {f"eval_{name}": TASKS[name] for name in ("ImageNet", "iNat21", "Places365")}
    return melted(raw, ["encoder", "dataset", "n_classes"], columns)


def figure4(raw: pd.DataFrame) -> pd.DataFrame:
    """What the text says of Figure 4: SimCLR's costs of two corruptions, as scores below Table 3's .647."""
    cost = {"downsample2": 15, "downsample4": 34}
    for name, mark in (("downsample2", "2x"), ("downsample4", "4x")):
        cost[name] = int(raw.loc[raw["quantity"].eq(f"SimCLR drop, Downsample {mark}"), "value"].iloc[0])
    rows = [("none", 0.647), *((name, 0.647 - value / 100) for name, value in cost.items())]
    out = pd.DataFrame(rows, columns=["corruption", "score"])
    return out.assign(
        encoder="SimCLR ImageNet " + out["corruption"],
        task="cole-imagenet",
        method="simclr",
        role="self-supervised",
        dataset="ImageNet",
    )


def text(raw: pd.DataFrame) -> pd.DataFrame:
    """Numbers of the text that are one number."""
    value = pd.to_numeric(raw["value"], errors="coerce")
    task = raw["quantity"].map(
        lambda words: "supervised minus BYOL" if re.search(r"supervised minus BYOL", words) else words
    )
    return pd.DataFrame({"encoder": raw["figure"], "task": task, "score": value}).dropna(subset=["score"])


def levels(raw: pd.DataFrame) -> pd.DataFrame:
    """Numbers of classes at each level of the label trees."""
    return raw.rename(columns={"dataset": "encoder", "level": "task", "n_classes": "score"})


def names(raw: pd.DataFrame) -> pd.DataFrame:
    """Names of classes: no scores."""
    return raw.melt("rank", var_name="encoder", value_name="task").assign(score=float("nan"))


def _line(name: str, line: str, dataset: str, size: int | None = None, **more: object) -> Member:
    said = {"method": "simclr", "role": "self-supervised", "dataset": dataset, **more}
    return Member(name, f"recipe:{line}", said if size is None else {**said, "dataset_size": size})


def _supervised(name: str, **more: object) -> Member:
    line = f"supervised-{name.lower()}"
    said = {"method": "supervised", "role": "supervised", "dataset": name, **more}
    return Member(f"Supervised {name}", f"recipe:{line}", said)


KEYS = {name: name.lower() for name in SETS}
PAIRS = (("iNat21", "ImageNet"), ("ImageNet", "Places365"), ("iNat21", "Places365"))
DAMAGE = ("salt-and-pepper", "jpeg", "resize", "downsample2", "downsample4")
FULL = Scale(
    encoders={
        "million": tuple(_line(f"SimCLR {name} 1M", f"simclr-{key}-1m", name, MILLION) for name, key in KEYS.items()),
        "supervised": tuple(_supervised(name) for name in SETS),
        "sizes": tuple(
            _line(f"SimCLR {name} {k}k", f"simclr-{KEYS[name]}-{k}k", name, 1000 * k)
            for name in SETS[:3] for k in (500, 250, 125, 50)
        ),
        "pooled": (
            *(
                _line(f"SimCLR {a} 250k + {b} 250k", f"simclr-{KEYS[a]}-{KEYS[b]}", f"{a}:250000+{b}:250000", 500_000)
                for a, b in PAIRS
            ),
            _line(
                "SimCLR " + " + ".join(f"{name} 250k" for name in SETS), "simclr-four-sets",
                "+".join(f"{name}:250000" for name in SETS), MILLION,
            ),
        ),
        "whole": (
            *(_line(f"{name}_SimCLR", f"simclr-{KEYS[name]}", name) for name in ("ImageNet", "iNat21")),
            *(Member(f"{name}_Sup", f"recipe:supervised-{KEYS[name]}", {"method": "supervised", "role": "supervised", "dataset": name}) for name in ("ImageNet", "iNat21")),
        ),
        "corrupted": tuple(_line(f"SimCLR ImageNet {kind}", f"simclr-imagenet-{kind}", "ImageNet", corruption=kind) for kind in DAMAGE),
        "corrupted-supervised": tuple(
            Member(f"Supervised ImageNet {kind}", f"recipe:supervised-imagenet-{kind}", {"method": "supervised", "role": "supervised", "dataset": "ImageNet", "corruption": kind})
            for kind in DAMAGE
        ),
        "methods": tuple(
            Member(f"{title} iNat21 1M", f"recipe:{method}-inat21-1m", {"method": method, "role": "self-supervised", "dataset": "iNat21", "dataset_size": MILLION})
            for title, method in (("MoCo", "moco-v2"), ("BYOL", "byol"))
        ),
        "resized": tuple(_line(f"{name} (Resize)", f"simclr-{KEYS[name]}-resize", name, corruption="resize") for name in ("iNat21", "ImageNet")),
        "classes": tuple(
            _line(f"SimCLR ImageNet 100k of {k} classes", f"simclr-imagenet-{k}-classes", "ImageNet", 100_000, n_classes=k) for k in (200, 500, 1000)
        ),
        "depths": tuple(_line(f"SimCLR iNat21 1M {arch}", f"simclr-inat21-{arch}", "iNat21", MILLION) for arch in ("resnet34", "resnet101")),
    },
    tasks={
        "all": {name: name for name in TASKS.values()},
        "three": {name: name for name in list(TASKS.values())[:3]},
        "two": {TASKS[name]: TASKS[name] for name in ("ImageNet", "iNat21")},
        "imagenet": {TASKS["ImageNet"]: TASKS["ImageNet"]},
        "inat21": {TASKS["iNat21"]: TASKS["iNat21"]},
    },
    recipe="cole_2022.yaml",
    facts={
        "home": {task: name for name, task in TASKS.items()}, "finest": "cole-inat21", "broad": "ImageNet", "far": "GLC20", "coarse": "cole-places365",
        "n_classes": dict(zip(TASKS.values(), (10_000, 1_000, 365, 16), strict=True)),
    },
)  # fmt: skip

SIZES = (6000, 3000, 1500)
MINI = Scale(
    encoders={
        "million": (
            _line("simclr-objects", "simclr-objects", "world-objects", 6000),
            _line("simclr-rooms", "simclr-rooms", "world-rooms", 6000),
        ),
        "supervised": (Member("supervised-objects", "recipe:supervised-objects", {"method": "supervised", "role": "supervised", "dataset": "world-objects"}),),
        "sizes": tuple(_line(f"simclr-{key}-{n}", f"simclr-{key}-{n}", f"world-{key}", n) for key in ("objects", "rooms") for n in SIZES[1:]),
        "pooled": (_line("simclr-pooled", "simclr-pooled", "world-objects:3000+world-rooms:3000", 6000),),
        "corrupted": tuple(_line(f"simclr-objects-{kind}", f"simclr-objects-{kind}", "world-objects", corruption=kind) for kind in DAMAGE if kind != "resize"),
        "corrupted-supervised": tuple(
            Member(f"supervised-objects-{kind}", f"recipe:supervised-objects-{kind}", {"method": "supervised", "role": "supervised", "dataset": "world-objects", "corruption": kind})
            for kind in ("downsample2", "downsample4")
        ),
        "methods": tuple(
            Member(f"{method}-objects", f"recipe:{method}-objects", {"method": method, "role": "self-supervised", "dataset": "world-objects", "dataset_size": 6000})
            for method in ("moco-v2", "byol")
        ),
    },
    tasks={
        "all": {name: name for name in ("mini-object-class", "mini-scene", "mini-aerial")},
        "three": {name: name for name in ("mini-object-class", "mini-scene")},
        "imagenet": {"mini-object-class": "mini-object-class"},
        "inat21": {"mini-animals": "mini-animals"},
    },
    recipe="cole_mini.yaml",
    facts={
        "home": {"mini-object-class": "world-objects", "mini-scene": "world-rooms"}, "finest": "mini-animals", "broad": "world-objects",
        "n_classes": {},
    },
    label="of the mini world: rendered images of 64 px, quarter-width ResNet-18s",
    input_px=64, embedding=128, card="two cores",
)  # fmt: skip

PHOTOS = Scale(
    encoders={
        "million": (
            _line("photos-simclr", "photos-simclr", "tiny-imagenet-32", 20_000),
            _line("photos-simclr-cifar10", "photos-simclr-cifar10", "cifar10", 50_000),
            _line("photos-simclr-objects", "photos-simclr-objects", "world-objects", 6000),
        ),
        "supervised": tuple(
            Member(f"photos-supervised{seed}", f"recipe:photos-supervised{seed}", {"method": "supervised", "role": "supervised", "dataset": "tiny-imagenet-32"})
            for seed in ("", "-seed1", "-seed2")
        ),
        "sizes": (
            *(_line(f"photos-simclr-{name}", f"photos-simclr-{name}", "tiny-imagenet-32", n) for name, n in (("half", 10_000), ("quarter", 5_000))),
            *(_line(f"photos-simclr-cifar10-{n}k", f"photos-simclr-cifar10-{n}k", "cifar10", 1000 * n) for n in (25, 10, 5)),
        ),
        "pooled": (_line("photos-simclr-pooled", "photos-simclr-pooled", "tiny-imagenet-32+cifar10:20000", 40_000),),
    },
    tasks={"all": {name: name for name in (*HOMES, "mini-object-class")}, "three": {name: name for name in HOMES}},
    recipe="photos.yaml",
    facts={"home": {**HOMES, "mini-object-class": "world-objects"}, "broad": "tiny-imagenet-32"},
    label=OF_PHOTOGRAPHS,
    places=PLACES,
    is_of_parts=True,
    input_px=32, embedding=128, card="two cores",
)  # fmt: skip

LINEAR = {"probe": "linear", "labels": "all"}
FULL_ONLY = ("full",)


def _part(
    name: str, title: str, where: str, analysis: str, encoders: tuple[str, ...], tasks: tuple[str, ...], **given: object
) -> Part:
    return Part(name, title, where, analysis, encoders=encoders, tasks=tasks, protocol=LINEAR, **given)  # type: ignore[arg-type]


TREE = "the label tree: `--option hierarchy=FILE.csv` (class, then one column a level)"
PARTS = (
    _part("figure2", "accuracy by images of pretraining and labels", "Figure 2", "size-curves", ("million", "sizes", "supervised"), ("three",), options={"x": "dataset_size"}, scales=EVERY_SCALE),
    _part("figure3", "other methods on iNat21", "Figure 3", "size-curves", ("million", "methods", "supervised"), ("inat21",), options={"x": "dataset_size", "lines": "method"}),
    _part("table1", "pretraining set x task", "Table 1", "domain-matrix", ("million", "supervised"), ("all",), table="table1", scales=EVERY_SCALE),
    _part("table2", "pooled sets", "Table 2", "pooling", ("million", "sizes", "pooled"), ("three",), table="table2", scale_options={"full": {"match": ",".join(f"{TASKS[name]}:{name}" for name in SETS[:3])}, "mini": {"match": "mini-object-class:world-objects,mini-scene:world-rooms"}, "photos": {"match": ",".join(f"{task}:{name}" for task, name in HOMES.items())}}, scales=EVERY_SCALE),
    _part("table3", "concatenated features", "Table 3", "fusion-gain", ("whole",), ("two",), table="table3", scales=FULL_ONLY, needs="two encoders concatenated as one: a FILE.py:FUNCTION of one's own, declared with `parts`"),
    _part("figure4", "corrupted pretraining images", "Figure 4", "corruption-deltas", ("million", "corrupted", "supervised", "corrupted-supervised"), ("imagenet",), table="figure4"),
    _part("figure5", "accuracy as labels become finer", "Figure 5", "granularity", ("million", "supervised"), ("three",), needs=TREE),
    _part("figureA1", "the same for MoCo and BYOL", "Figure A1", "granularity", ("million", "methods", "supervised"), ("inat21",), needs=TREE),
    _part("figureA2", "gain of a doubling, by depth", "Figure A2", "size-curves", ("million", "sizes", "depths"), ("inat21",), options={"x": "dataset_size"}, scales=FULL_ONLY),
    _part("figureA3", "accuracy by superclass", "Figure A3", "superclasses", ("million",), ("inat21",), scales=FULL_ONLY, needs="the superclass of each class: `--option groups=FILE.csv`"),
    _part("figureA4", "gain of each class", "Figure A4", "class-deltas", ("million",), ("three",)),
    _part("tableA1", "classes most improved and most harmed", "Table A1", "class-deltas", ("million",), ("three",)),
    _part("tableA2", "resized and native images", "Table A2", "setting-change", ("whole", "resized"), ("all",), table="tableA2", options={"column": "corruption"}, scales=FULL_ONLY),
    _part("figureA5", "are the same classes hard", "Figure A5", "hard-classes", ("million",), ("three",)),
    _part("tableA3", "images spread over few or many classes", "Table A3", "size-curves", ("classes",), ("three",), table="tableA3", options={"x": "n_classes"}, scales=FULL_ONLY),
    Part("figure1", "a drawing of the questions", "Figure 1", why_not="a drawing, not a result"),
    Part("figuresA6-A7", "example images", "Figures A6 and A7", why_not="example images, not results"),
)  # fmt: skip

PAPER = Paper(
    name="cole-2022",
    summary="when contrastive pretraining works: amount, domain and quality of its images, granularity of the task",
    citation="Cole, Yang, Wilber, Mac Aodha, Belongie. When Does Contrastive Visual Representation Learning Work? CVPR 2022",
    file=__file__,
    tables=(
        Published("table1", "cole_table1.csv", "Table 1", "fraction", table1, 0.0005, "GLC20 is mean average precision; supervised encoders are trained from scratch on all images"),
        Published("table2", "cole_table2.csv", "Table 2", "fraction", table2, 0.0005, "column heads are lost in the text of the paper; the order is fixed by a sentence and by Table 1"),
        Published("table3", "cole_table3.csv", "Table 3", "fraction", table3, 0.0005),
        Published("figure4", "cole_text_values.csv", "Figure 4, as told in Section 4.3", "fraction", figure4, 0.01, "costs to a point, about"),
        Published("tableA1", "cole_tableA1.csv", "Table A1", "", names),
        Published("tableA2", "cole_tableA2.csv", "Table A2", "fraction", table_a2, 0.0005, "GLC20 from iNat21 (.865) cannot be: Table 1 has .707"),
        Published("tableA3", "cole_tableA3.csv", "Table A3", "fraction", table_a3, 0.0005),
        Published("taxonomies", "cole_taxonomies.csv", "Appendix C.3", "classes", levels),
        Published("text", "cole_text_values.csv", "text", "points", text, 0.5),
    ),
    parts=PARTS,
    claims=(
        Claim("half-is-enough", "There is little benefit beyond 500k images: half of 1M costs 1 to 2 points at most.", "Section 4.1, Figure 2; Table 2 has the numbers", claims.half_the_images_cost_little, ("table2",)),
        Claim("quarter", "A quarter of the images (250k) costs 2 to 4 points at most.", "Section 4.1; Table 2", claims.a_quarter_costs_at_most_four, ("table2",)),
        Claim("diminishing", "Each doubling of in-domain images gains less than the one before.", "Section 4.1; Table 2", claims.gains_diminish, ("table2",)),
        Claim("in-domain", "In-domain pretraining beats cross-domain pretraining on every data set.", "Section 4.2, Table 1", claims.in_domain_beats_cross_domain, ("table1",)),
        Claim("boost-of-12", "In-domain pretraining gains 12 points on iNat21 over the best foreign set.", "Section 4.2, Table 1", claims.margin_of_twelve, ("table1",)),
        Claim("imagenet-best-source", "ImageNet is the best foreign set to pretrain on.", "Section 4.2, Table 1", claims.imagenet_is_the_best_source, ("table1",)),
        Claim("glc20-worst-source", "GLC20 is the worst foreign set.", "Section 4.2, Table 1", claims.remote_sensing_is_the_worst_source, ("table1",)),
        Claim("pooled-worse", "Pooled sets are always worse than in-domain sets of the same size.", "Section 4.2, Table 2", claims.pooled_is_worse_than_its_size_in_domain, ("table2",)),
        Claim("pooling-does-not-help", "Adding pretraining images of another domain does not make better encoders.", "Abstract, Section 4.2, Table 2", claims.pooling_does_not_help, ("table2",)),
        Claim("adding-hurts", "Adding images of another domain typically hurts.", "Section 4.2, Table 2", claims.adding_other_data_hurts, ("table2",)),
        Claim("redundant", "Self-supervised features of two domains are largely redundant.", "Section 4.2, Table 3", claims.self_supervised_features_are_redundant, ("table3",)),
        Claim("supervised-adds-more", "Adding supervised features of the other domain changes more: it helps iNat21 and harms ImageNet.", "Section 4.2, Table 3", claims.supervised_features_add_more, ("table3",)),
        Claim("downsampling-worst", "Downsampling costs SimCLR by far the most: 15 points at 2x, 34 at 4x.", "Section 4.3, Figure 4", quality.corruption_costs, ("figure4",)),
        Claim("resolution", "Self-supervised pretraining is far more sensitive to resolution than supervised.", "Section 4.3, Figure 4", quality.resolution_is_critical, ("figure4",)),
        Claim("granularity-gap", "The gap to supervision grows with the granularity of the data set.", "Section 4.4, Figure 5; Table 1 has numbers", quality.gap_tracks_granularity, ("table1",)),
        Claim("inat21-gap", "On iNat21 SimCLR stays about 30 points behind supervision.", "Section 4.1; Table 1", quality.gap_on_inat, ("table1",)),
        Claim("byol-gap", "On iNat21 BYOL stays about 25 points behind.", "Section 4.1, Figure 3; Appendix A.1", quality.byol_gap, ("text",)),
        Claim("classes-improved", "In-domain pretraining improves about 60 % of classes.", "Appendix A.3, Figure A4", quality.improved_classes, ("text",)),
        Claim("resizing", "Resizing pretraining images can change accuracy by 1 to 2 points.", "Appendix A.5, Table A2", quality.resizing_matters_by_a_point_or_two, ("tableA2",)),
        Claim("class-diversity", "More classes among as many images help Places365 and harm iNat21.", "Appendix A.7, Table A3", quality.class_diversity_has_two_sides, ("tableA3",)),
    ),
    scales={"full": FULL, "mini": MINI, "photos": PHOTOS},
    facts=FULL.facts,
    probes=PROBES,
)  # fmt: skip

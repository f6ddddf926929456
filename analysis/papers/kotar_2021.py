"""Kotar et al. 2021, Contrasting Contrastive Self-Supervised Representation Learning Pipelines (ViRB)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from virb.analysis.papers import kotar_claims as claims
from virb.analysis.papers import kotar_pretraining_claims as pretraining
from virb.analysis.papers.common import EVERY_SCALE, HOMES, OF_PHOTOGRAPHS, PLACES, PROBES

from virb.contracts.paper import Claim, Member, Paper, Part, Published, Scale

#: Columns of Figure 4's readings -> the end task, and its category (Table 1).
TASKS = {
    "ImageNet": ("imagenet", "semantic image-level"),
    "ImageNetv2": ("imagenet-v2", "semantic image-level"),
    "Pets": ("pets", "semantic image-level"),
    "CalTech": ("caltech-101", "semantic image-level"),
    "CIFAR100": ("cifar-100", "semantic image-level"),
    "SUN397": ("sun397", "semantic image-level"),
    "EuroSAT": ("eurosat", "semantic image-level"),
    "dtd": ("dtd", "semantic image-level"),
    "Kinetics": ("kinetics-action", "semantic image-level"),
    "CLEVRCount": ("clevr-count", "structural image-level"),
    "THORNumSteps": ("thor-num-steps", "structural image-level"),
    "THOREgomotion": ("thor-egomotion", "structural image-level"),
    "nuScenesEgomotion": ("nuscenes-egomotion", "structural image-level"),
    "Cityscapes": ("cityscapes", "semantic pixelwise"),
    "PetsInstanceSeg": ("pets-segmentation", "semantic pixelwise"),
    "EgoHands": ("egohands", "semantic pixelwise"),
    "THORDepth_negL1": ("thor-depth", "structural pixelwise"),
    "TaskonomyDepth_negL1": ("taskonomy-depth", "structural pixelwise"),
    "NYUDepth_negL1": ("nyu-depth", "structural pixelwise"),
    "NYUWalkable_mIoU": ("nyu-walkable", "structural pixelwise"),
    "KITTI": ("kitti-flow", "structural pixelwise"),
}
SUPERVISED = "Supervised ImageNet"
#: Of the anonymous points of Figure 4, those whose identity is likely; none is certain.
LIKELY = {"enc28": SUPERVISED, "enc27": "SwAV ImageNet 800", "enc10": "SwAV Places 200"}
METRE = ("thor-depth", "taskonomy-depth", "nyu-depth")


def figure4(raw: pd.DataFrame) -> pd.DataFrame:
    """Readings of Figure 4: the second readings of Pets and dtd left out; each with its error and whether it is doubtful."""
    out = raw.melt("anon_encoder", list(TASKS), "column", "score").rename(columns={"anon_encoder": "encoder"})
    doubt = raw.set_index("anon_encoder")["uncertain_readings"].fillna("")
    out["uncertain"] = [
        doubt[encoder].startswith("ALL") or column in doubt[encoder].split(";")
        for encoder, column in zip(out["encoder"], out["column"], strict=True)
    ]
    out["task"] = out["column"].map({column: name for column, (name, _) in TASKS.items()})
    out["category"] = out["column"].map({column: category for column, (_, category) in TASKS.items()})
    out["role"] = np.where(out["encoder"].eq("enc28"), "supervised", "self-supervised")
    out["unit"] = np.where(out["task"].isin(METRE), "metre", "fraction")
    return out.drop(columns="column")


def printed(raw: pd.DataFrame) -> pd.DataFrame:
    """The two p-values and the effect of Section 5 (6)."""
    value = raw.set_index("quantity")["value"]
    rows = {
        "p lin": value["ANOVA p, ImageNet-1/2-Lin"],
        "p log": value["ANOVA p, ImageNet-1/4-Log"],
        "effect log": value["ANOVA effect, ImageNet-1/4-Log"],
    }
    return pd.DataFrame({"encoder": "all", "task": list(rows), "score": [float(v) for v in rows.values()]})


def seeds(raw: pd.DataFrame) -> pd.DataFrame:
    """Appendix G: one number, of three runs."""
    text = raw.loc[raw["quantity"].str.startswith("seed variation"), "value"].iloc[0]
    value = float(text.removeprefix("<").partition("%")[0])
    return pd.DataFrame({"encoder": ["SwAV ImageNet 200"], "task": ["all"], "score": [value], "n_seeds": [3]})


def registry_table(raw: pd.DataFrame) -> pd.DataFrame:
    """A registry (Tables 1 to 3): no scores, its rows as they are."""
    named = raw.rename(columns={"end_task": "task"})
    return named.assign(**{column: "" for column in ("encoder", "task") if column not in named}, score=np.nan)


def _zoo(name: str, method: str, dataset: str, size: int, epochs: int, balance: str = "balanced") -> Member:
    said = {"method": method, "dataset": dataset, "dataset_size": size, "epochs": epochs, "role": "self-supervised"}
    spec = name.lower().replace("mocov", "moco-v").replace(" ", "-")
    spec = spec.replace("linear-unbalanced", "lin-unbalanced").replace("log-unbalanced", "log-unbalanced")
    likely = next((anonymous for anonymous, known in LIKELY.items() if known == name), "")
    return Member(name, f"zoo:{spec}", {**said, "balance": balance}, published_as=likely, is_tentative=bool(likely))


def _table3() -> tuple[Member, ...]:
    found = []
    for title, method in (("SwAV", "swav"), ("MoCov2", "moco-v2")):
        for epochs in (800, 200, 100, 50):
            found.append(_zoo(f"{title} ImageNet {epochs}", method, "ImageNet", 1_300_000, epochs))
        for epochs in (200, 100):
            found.append(_zoo(f"{title} Half ImageNet {epochs}", method, "ImageNet", 500_000, epochs))
            found.append(
                _zoo(f"{title} Linear Unbalanced ImageNet {epochs}", method, "ImageNet", 500_000, epochs, "lin")
            )
        found.append(_zoo(f"{title} Quarter ImageNet 200", method, "ImageNet", 250_000, 200))
        found.append(_zoo(f"{title} Log Unbalanced ImageNet 200", method, "ImageNet", 250_000, 200, "log"))
        for dataset in ("Places", "Kinetics", "Taskonomy", "Combination"):
            found.append(_zoo(f"{title} {dataset} 200", method, dataset, 1_300_000, 200, "unlabelled"))
    found.append(_zoo("MoCov1 ImageNet 200", "moco-v1", "ImageNet", 1_300_000, 200))
    found.append(_zoo("PIRL ImageNet 800", "pirl", "ImageNet", 1_300_000, 800))
    return tuple(found)


FULL = Scale(
    encoders={
        "table3": _table3(),
        "supervised": (
            Member(
                SUPERVISED,
                "zoo:supervised-imagenet-90",
                {"method": "supervised", "role": "supervised", "dataset": "ImageNet", "epochs": 90},
                published_as="enc28",
                is_tentative=True,
            ),
        ),
        "floor": (Member("Random", "random:resnet50", {"method": "random", "role": "untrained"}),),
        "multicrop": (
            Member(
                "MoCov2+MultiCrop", missing="its authors published no weights; virb has no MoCo v2 with six small crops"
            ),
        ),
        "simsiam": (
            Member(
                "SimSiam",
                "zoo:simsiam-imagenet-100",
                {"method": "simsiam", "dataset": "ImageNet", "epochs": 100},
                missing="published for 100 epochs, the paper has 200",
            ),
        ),
    },
    tasks={"all": {name: name for name, _ in TASKS.values()}},
    facts={
        "imagenet": "imagenet",
        "near_imagenet": ("imagenet", "imagenet-v2", "pets"),
        "methods": ("moco-v2", "swav"),
        "home": {
            "sun397": "Places",
            "caltech-101": "ImageNet",
            "kinetics-action": "Kinetics",
            "taskonomy-depth": "Taskonomy",
        },
    },
)


def _line(name: str, method: str, dataset: str, role: str = "self-supervised") -> Member:
    about = {"method": method, "role": role} | ({"dataset": dataset} if dataset else {})
    return Member(name, f"recipe:{name}", about)


_SETS = {
    "objects": "world-objects", "half": "world-objects", "quarter": "world-objects", "lin": "world-objects", "log": "world-objects",
    "rooms": "world-rooms", "combination": "world-objects:0.5+world-rooms:0.5",
}  # fmt: skip
_METHODS = ("simclr", "moco-v2", "swav", "pirl")
_SEEDS = ("-seed1", "-seed2")

MINI = Scale(
    encoders={
        "table3": (
            *(_line(f"{method}-{name}", method, dataset) for method in _METHODS for name, dataset in _SETS.items()),
            *(_line(f"{method}-objects{seed}", method, "world-objects") for method in _METHODS for seed in _SEEDS),
        ),
        "supervised": tuple(
            _line(f"supervised-objects{seed}", "supervised", "world-objects", "supervised") for seed in ("", *_SEEDS)
        ),
        "floor": tuple(_line(f"random{seed}", "random", "", "untrained") for seed in ("", *_SEEDS)),
    },
    tasks={"all": {"suite:mini": "suite:mini"}},
    recipe="study.yaml",
    facts={
        "imagenet": "mini-object-class",
        "near_imagenet": ("mini-object-class", "mini-object-class-shift", "mini-object-few"),
        "methods": ("moco-v2", "swav"),
        "home": {"mini-object-class": "world-objects", "mini-scene": "world-rooms"},
    },
    label="of the mini world: rendered images of 64 px, quarter-width ResNet-18s",
    input_px=64,
    embedding=128,
    card="two cores",
)

_PHOTO_SETS = {
    "half": "tiny-imagenet-32", "quarter": "tiny-imagenet-32", "lin": "tiny-imagenet-32", "log": "tiny-imagenet-32",
    "cifar10": "cifar10", "pooled": "tiny-imagenet-32+cifar10:20000", "objects": "world-objects",
}  # fmt: skip
_IMAGES = (
    "action", "aerial", "animals", "contents", "count", "digits", "distance", "egomotion", "fashion", "kinds", "material", "object-class",
    "object-class-shift", "object-few", "scene", "steps",
)  # fmt: skip

PHOTOS = Scale(
    encoders={
        "table3": (
            *(
                _line(f"photos-{key}{seed}", method, "tiny-imagenet-32")
                for key, method in {"mocov2": "moco-v2", "vicreg": "vicreg", **{m: m for m in ("simclr", "swav", "pirl")}}.items()
                for seed in ("", *_SEEDS)
            ),
            *(_line(f"photos-simclr-{name}", "simclr", dataset) for name, dataset in _PHOTO_SETS.items()),
        ),
        "supervised": tuple(
            _line(f"photos-supervised{seed}", "supervised", "tiny-imagenet-32", "supervised") for seed in ("", *_SEEDS)
        ),
        "floor": tuple(_line(f"photos-random{seed}", "random", "", "untrained") for seed in ("", *_SEEDS)),
    },
    tasks={"all": {name: name for name in (*HOMES, "camvid", *(f"mini-{name}" for name in _IMAGES))}},
    recipe="photos.yaml",
    facts={
        "imagenet": "hammoud-tiny-imagenet",
        "near_imagenet": tuple(HOMES),
        "methods": ("moco-v2", "swav"),
        "home": HOMES,
    },
    label=OF_PHOTOGRAPHS,
    places=PLACES,
    is_of_parts=True,
    input_px=32,
    embedding=128,
    card="two cores",
)  # fmt: skip

STUDY = ("table3", "supervised")
HEADS = {"probe": "gradient"}


def _part(name: str, title: str, where: str, analysis: str, **given: object) -> Part:
    given.setdefault("encoders", STUDY)
    given.setdefault("tasks", ("all",))
    given.setdefault("protocol", HEADS)
    given.setdefault("scales", EVERY_SCALE)
    return Part(name, title, where, analysis, **given)  # type: ignore[arg-type]


REFERENCE = {
    "mini": {"reference": "supervised-objects"},
    "photos": {"reference": "photos-supervised"},
}  # of three seeds
PAIRED = {
    "mini": {"match": "mini-object-class:world-objects,mini-scene:world-rooms"},
    "photos": {"match": ",".join(f"{task}:{name}" for task, name in HOMES.items())},
}
PARTS = (
    _part("table1", "end tasks", "Table 1", "catalogue", encoders=(*STUDY, "floor")),
    Part("table2", "training of the heads", "Table 2", why_not="settings, not results: docs/tasks.md and `virb list tasks --json` say ours"),
    _part("table3", "encoders", "Table 3", "catalogue"),
    _part("figure3", "best self-supervised encoder against the supervised one", "Figure 3", "best-vs-supervised", scale_options=REFERENCE),
    _part("figure4", "every task against ImageNet", "Figure 4", "task-scatter", table="figure4", options={"anchor": "imagenet"}, scale_options={"mini": {"anchor": "mini-object-class"}, "photos": {"anchor": "hammoud-tiny-imagenet"}}),
    _part("figure5", "MoCo v2 less SwAV, task by task", "Figure 5", "method-difference", options={"compare": "moco-v2,swav"}),
    _part("figure6", "scores in sd from the supervised one, by category", "Figure 6", "normalised-violins", scale_options=REFERENCE),
    _part(
        "figure7", "tasks with pretraining data of their own", "Figure 7", "matched-pairs",
        options={"match": "sun397:Places,caltech-101:ImageNet,kinetics-action:Kinetics,taskonomy-depth:Taskonomy"},
        scale_options=PAIRED,
    ),
    _part("anova", "effects of method, data, size and length", "Section 5 (6), Appendix F", "anova"),
    _part("figure13", "Pearson correlation of tasks", "Figure 13", "correlation"),
    _part("figure14", "Spearman correlation of tasks", "Figure 14", "task-tree"),
    _part("figure15", "MultiCrop beside MoCo v2 and SwAV", "Figure 15", "encoder-bars", encoders=("multicrop", "table3"), scales=("full",)),
    _part("figure16", "SimSiam and Exemplar v2 beside SwAV", "Figure 16", "normalised-violins", encoders=("simsiam", *STUDY), scales=("full",)),
    Part("figures8-12", "drawings of the heads", "Figures 8 to 12", why_not="drawings of networks, not results"),
    _part(
        "cka", "agreement between layers", "Section 5 (3), Appendix E", "cka", tasks=(),
        needs="encoders and 10,000 images: `--option encoders=A.pt,B.pt --option images=FOLDER`",
    ),
    _part("seeds", "spread over seeds", "Appendix G", "seed-variance"),
    _part("noise", "test images, probe seeds and pretraining seeds kept apart", "Appendix G", "noise-layers"),
)  # fmt: skip

NO_IDENTITY = "The encoders of Figure 4 are anonymous, and Figures 5 and 7 print no numbers."

PAPER = Paper(
    name="kotar-2021",
    summary="30 contrastive encoders on 21 end tasks: methods, pretraining data, what ImageNet accuracy tells",
    citation="Kotar, Ilharco, Schmidt, Ehsani, Mottaghi. Contrasting Contrastive Self-Supervised Representation Learning Pipelines. ICCV 2021",
    file=__file__,
    tables=(
        Published("table1", "virb_table1.csv", "Table 1", "", registry_table, note="21 rows; the paper says 20 tasks: ImageNet v2 shares ImageNet's training set"),
        Published("table2", "virb_table2.csv", "Table 2", "", registry_table),
        Published("table3", "virb_table3.csv", "Table 3", "", registry_table),
        Published(
            "figure4", "virb_figure4_digitised.csv", "Figure 4", "fraction", figure4, error=0.002,
            note="read off the published figure, not the authors' table: 28 anonymous encoders, each reading good to .002, some doubtful; "
            "the labels NYU Depth and NYU Walkable, swapped in the picture, are the right way round",
        ),
        Published("printed-anova", "virb_text_values.csv", "Section 5 (6)", "", printed, error=0.00005),
        Published("printed-seeds", "virb_text_values.csv", "Appendix G", "percent of the mean", seeds),
    ),
    parts=PARTS,
    claims=(
        Claim("supervised-best-near-imagenet", "Some self-supervised encoder beats the one supervised on ImageNet on all end tasks but ImageNet, ImageNet v2 and Pets.", "Section 5 (1), Figure 3", claims.supervised_best_only_near_imagenet, ("figure4",)),
        Claim("better-default", "A self-supervised encoder might be the better default.", "Section 5 (1)", claims.self_supervised_is_the_better_default, ("figure4",)),
        Claim("no-task-predicts-all", "ImageNet accuracy is no universal measure of an encoder; and no other single task predicts all others.", "Section 5 (2), Appendix D", claims.no_task_predicts_all, ("figure4",)),
        Claim("strong-within-category", "ImageNet accuracy correlates strongly with other semantic image-level tasks.", "Section 5 (2), Figure 4", claims.strong_within_category, ("figure4",)),
        Claim("weaker-elsewhere", "It correlates less with tasks of the other categories.", "Section 5 (2), Figure 4", claims.weaker_elsewhere, ("figure4",)),
        Claim("most-negative-category", "Structural image-level tasks are those most negatively correlated with ImageNet.", "Section 5 (2)", claims.most_negative_category, ("figure4",)),
        Claim("pockets", "Correlations are strong within each category of tasks.", "Appendix D, Figures 13 and 14", claims.pockets_within_each_category, ("figure4",)),
        Claim("methods-by-output", "MoCo v2 is better on pixelwise tasks, SwAV on image-level ones.", "Section 5 (3), Figure 5", pretraining.methods_by_output, ("figure4",)),
        Claim("swav-better-overall", "Over the whole battery SwAV's encoders score higher than MoCo v2's.", "Appendix F", pretraining.swav_better_overall, ("figure4",)),
        Claim("cka", "Layers of MoCo v2 encoders agree more with each other than SwAV's (by .18).", "Section 5 (3), Appendix E", pretraining.cka_higher_in_moco, ("cka",)),
        Claim("structural-gains-more", "Structural tasks gain more from self-supervision than semantic ones.", "Section 5 (4), Figure 6", claims.structural_gains_more, ("figure4",)),
        Claim("in-domain-best", "On every task the best encoder was pretrained on similar data.", "Section 5 (5), Figure 7", pretraining.in_domain_is_best, ("figure4",)),
        Claim("in-domain-beats-combination", "Similar data are better than a mixture that includes them.", "Section 5 (5), Figure 7", pretraining.in_domain_beats_combination, ("figure4",)),
        Claim("unbalanced-as-good", "Balanced data make no better encoder than unbalanced ones of the same size.", "Section 5 (6), Appendix F", pretraining.unbalanced_is_as_good, ("printed-anova",)),
        Claim("log-unbalanced-better", "Heavily unbalanced (1/4-Log) data make a better encoder than balanced ones.", "Section 5 (6), Appendix F", pretraining.log_unbalanced_is_better, ("printed-anova",)),
        Claim("seeds", "Another seed of pretraining moves scores by less than .85 % of their mean, which is negligible.", "Appendix G", pretraining.seeds_hardly_matter, ("printed-seeds",)),
    ),
    scales={"full": FULL, "mini": MINI, "photos": PHOTOS},
    facts=FULL.facts,
    probes=PROBES,
    missing={
        "figure4.method": NO_IDENTITY,
        "figure4.dataset": NO_IDENTITY,
        "cka": "The paper prints one difference (.18) and no table of agreements between layers.",
    },
)  # fmt: skip

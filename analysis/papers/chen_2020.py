"""Chen et al. 2020, A Simple Framework for Contrastive Learning of Visual Representations (SimCLR)."""

from __future__ import annotations

import pandas as pd
from virb.analysis.papers import chen_claims as claims
from virb.analysis.papers import chen_transfer_claims as transfer
from virb.analysis.papers.common import PROBES

from virb.contracts.paper import Claim, Member, Paper, Part, Published, Scale

IMAGENET = "cole-imagenet"  # a linear probe of ImageNet by this paper's protocol
TASKS = {
    "Food": "simclr-food-101", "CIFAR10": "simclr-cifar-10", "CIFAR100": "simclr-cifar-100", "Birdsnap": "simclr-birdsnap",
    "SUN397": "simclr-sun397", "Cars": "simclr-cars", "Aircraft": "simclr-aircraft", "VOC2007": "simclr-voc2007", "DTD": "simclr-dtd",
    "Pets": "simclr-pets", "Caltech-101": "simclr-caltech-101", "Flowers": "simclr-flowers-102",
}  # fmt: skip
#: Test images of the sets (Kornblith et al. 2019, Table 1); VOC 2007 is scored by mean average precision, of which this is no test.
TEST_IMAGES = {
    "simclr-food-101": 25_250, "simclr-cifar-10": 10_000, "simclr-cifar-100": 10_000, "simclr-birdsnap": 2_443, "simclr-sun397": 19_850,
    "simclr-cars": 8_041, "simclr-aircraft": 3_333, "simclr-dtd": 1_880, "simclr-pets": 3_669, "simclr-caltech-101": 6_084,
    "simclr-flowers-102": 6_149,
}  # fmt: skip
STRENGTHS = {"color_1/8": 0.125, "color_1/4": 0.25, "color_1/2": 0.5, "color_1": 1.0}
ROLE = {"SimCLR": "self-supervised", "Supervised": "supervised"}
WIDTHS = {"ResNet-50": 1, "ResNet-50 (2x)": 2, "ResNet-50 (4x)": 4}
#: Supervised ResNet-50s trained as long and with the same augmentation (Appendix B.8).
SUPERVISED = {1: 76.3, 4: 78.3}


def table1(raw: pd.DataFrame) -> pd.DataFrame:
    """Augmentations; ``strength`` where colour alone is varied."""
    out = raw.melt("method", var_name="augmentation", value_name="score")
    out = out.assign(strength=out["augmentation"].map(STRENGTHS), role=out["method"].map(ROLE), task=IMAGENET)
    return out.assign(encoder=out["method"] + " " + out["augmentation"])


def table3(raw: pd.DataFrame) -> pd.DataFrame:
    """What two layers tell of the transformation of an image."""
    out = raw.rename(columns={"target": "task", "h": "h", "g_h": "g(h)"}).melt(
        ["task", "random_guess"], ["h", "g(h)"], "layer", "score"
    )
    return out.assign(encoder="SimCLR " + out["layer"], chance=out["random_guess"] / 100)


def table4(raw: pd.DataFrame) -> pd.DataFrame:
    """Losses."""
    return raw.rename(columns={"top1": "score"}).assign(encoder="SimCLR " + raw["loss"], task=IMAGENET)


def table5(raw: pd.DataFrame) -> pd.DataFrame:
    """The l2 norm and the temperature."""
    names = [
        f"SimCLR {'l2' if norm else 'no l2'} tau {tau:g}" for norm, tau in zip(raw["l2_norm"], raw["tau"], strict=True)
    ]
    return raw.rename(columns={"tau": "temperature", "top1": "score"}).assign(encoder=names, task=IMAGENET)


def table6(raw: pd.DataFrame) -> pd.DataFrame:
    """Linear evaluation of all methods, and the supervised networks of Appendix B.8."""
    out = raw.rename(columns={"top1": "score"}).assign(
        task=IMAGENET, role="self-supervised", width=raw["architecture"].map(WIDTHS)
    )
    out = out.assign(encoder=out["method"] + " " + out["architecture"])
    more = [
        ("Supervised", f"ResNet-50 ({w}x)" if w > 1 else "ResNet-50", s, IMAGENET, "supervised", w)
        for w, s in SUPERVISED.items()
    ]
    rows = pd.DataFrame(more, columns=["method", "architecture", "score", "task", "role", "width"])
    return pd.concat([out, rows.assign(encoder=rows["method"] + " " + rows["architecture"])], ignore_index=True)


def _few_labels(raw: pd.DataFrame, measure: str) -> pd.DataFrame:
    columns = {f"{measure}_1pct": 1, f"{measure}_10pct": 10}
    out = raw.melt(["method", "architecture", "group"], list(columns), "labels", "score")
    return out.assign(
        labels=out["labels"].map(columns), encoder=out["method"] + " " + out["architecture"], task=IMAGENET
    )


def table7(raw: pd.DataFrame) -> pd.DataFrame:
    """Top-5 with few labels."""
    return _few_labels(raw, "top5")


def table_b4(raw: pd.DataFrame) -> pd.DataFrame:
    """Top-1 with few labels."""
    return _few_labels(raw, "top1")


def table8(raw: pd.DataFrame) -> pd.DataFrame:
    """Twelve data sets; Table B.5 is of the same form."""
    out = raw.rename(columns={"protocol": "probe"}).melt(
        ["architecture", "probe", "init"], list(TASKS), "column", "score"
    )
    return out.assign(encoder=out["init"] + " " + out["architecture"], task=out["column"].map(TASKS)).drop(
        columns="column"
    )


def table_b1(raw: pd.DataFrame) -> pd.DataFrame:
    """Batch x epochs under two rules of the learning rate."""
    rules = {"top1_linear_lr": "linear", "top1_sqrt_lr": "sqrt"}
    out = raw.rename(columns=rules).melt(["batch_size", "epochs"], list(rules.values()), "lr_rule", "score")
    names = [
        f"SimCLR batch {b} epochs {e} {r}"
        for b, e, r in zip(out["batch_size"], out["epochs"], out["lr_rule"], strict=True)
    ]
    return out.assign(encoder=names, task=IMAGENET, method="simclr")


def table_b2(raw: pd.DataFrame) -> pd.DataFrame:
    """Fine-tuned on shares of the labels."""
    columns = {f"top1_{share}pct": share for share in (1, 10, 100)}
    out = raw.melt("architecture", list(columns), "labels", "score")
    return out.assign(labels=out["labels"].map(columns), encoder="SimCLR " + out["architecture"], task=IMAGENET)


def table_b3(raw: pd.DataFrame) -> pd.DataFrame:
    """Supervised training, longer and with more augmentation."""
    out = raw.rename(columns={"model": "network"}).melt(
        ["network", "epochs"], var_name="augmentation", value_name="score"
    )
    names = [
        f"Supervised {n} {e} {a}" for n, e, a in zip(out["network"], out["epochs"], out["augmentation"], strict=True)
    ]
    return out.assign(encoder=names, task=IMAGENET, role="supervised")


def table_c1(raw: pd.DataFrame) -> pd.DataFrame:
    """What methods are made of: no scores."""
    return raw.rename(columns={"model": "encoder", "encoder": "network"}).assign(task="", score=float("nan"))


def _simclr(name: str, line: str, **about: object) -> Member:
    return Member(
        name, f"recipe:{line}", {"method": "simclr", "role": "self-supervised", "dataset": "ImageNet", **about}
    )


def _supervised(name: str, line: str, **about: object) -> Member:
    return Member(
        name, f"recipe:{line}", {"method": "supervised", "role": "supervised", "dataset": "ImageNet", **about}
    )


#: Augmentations of Figure 5 -> the words of `virb pretrain --option augment=`.
AUGMENTATIONS = {
    "crop": "crop+flip",
    "cutout": "cutout",
    "color": "jitter+gray",
    "sobel": "sobel",
    "noise": "noise",
    "blur": "blur",
    "rotate": "rotate",
}
MINI_AUGMENTATIONS = ("crop", "color", "blur", "rotate")
LOSSES = {
    "Margin": "margin", "NT-Logistic": "nt-logistic", "Margin (semi-hard)": "margin-semi-hard", "NT-Logistic (semi-hard)": "nt-logistic-semi-hard",
    "NT-Xent": "nt-xent",
}  # fmt: skip


def _pairs(names: object) -> tuple[Member, ...]:
    """A network for each augmentation alone and each pair of two: both orders are one network, as virb has one order."""
    words = list(names)  # type: ignore[call-overload]
    return tuple(
        _simclr(f"SimCLR {a} {b}", f"simclr-{a}" if a == b else f"simclr-{min(a, b)}-{max(a, b)}", augmentation_a=a, augmentation_b=b)
        for a in words for b in words
    )  # fmt: skip


def _grid(batches: tuple[int, ...], epochs: tuple[int, ...], rules: tuple[str, ...]) -> tuple[Member, ...]:
    return tuple(
        _simclr(f"SimCLR batch {b} epochs {e} {r}", f"simclr-b{b}-e{e}-{r}", batch_size=b, epochs=e, lr_rule=r)
        for r in rules for b in batches for e in epochs
    )  # fmt: skip


FULL = Scale(
    encoders={
        "strengths": (
            *(_simclr(f"SimCLR {name}", f"simclr-strength-{value:g}", strength=value, augmentation=name) for name, value in STRENGTHS.items()),
            _simclr("SimCLR color_1_blur", "simclr", augmentation="color_1_blur"),
            *(_supervised(f"Supervised {name}", f"supervised-strength-{value:g}", strength=value, augmentation=name) for name, value in STRENGTHS.items()),
            _supervised("Supervised color_1_blur", "supervised", augmentation="color_1_blur"),
            Member("SimCLR AutoAug", missing="virb has no AutoAugment"),
            Member("Supervised AutoAug", missing="virb has no AutoAugment"),
        ),
        "pairs": _pairs(AUGMENTATIONS),
        "losses": tuple(_simclr(f"SimCLR {title}", "simclr" if line == "nt-xent" else f"simclr-{line}", loss=title) for title, line in LOSSES.items()),
        "temperatures": (
            *(_simclr(f"SimCLR l2 tau {tau:g}", "simclr" if tau == 0.1 else f"simclr-tau-{tau:g}", l2_norm=1, temperature=tau) for tau in (0.05, 0.1, 0.5, 1)),
            *(_simclr(f"SimCLR no l2 tau {tau}", f"simclr-no-l2-tau-{tau}", l2_norm=0, temperature=tau) for tau in (10, 100)),
        ),
        "heads": tuple(
            _simclr(f"SimCLR {head} {dim}", f"simclr-head-{head}-{dim}", head=head, head_dim=dim)
            for head in ("identity", "linear", "nonlinear") for dim in ((2048,) if head == "identity" else (32, 64, 128, 256, 512, 1024, 2048))
        ),
        "widths": tuple(_simclr(f"SimCLR ResNet-50{tail}", f"simclr-1000{line}", width=w) for tail, line, w in (("", "", 1), (" (2x)", "-x2", 2), (" (4x)", "-x4", 4))),
        "widths-supervised": tuple(_supervised(f"Supervised ResNet-50{tail}", f"supervised-1000{line}", width=w) for tail, line, w in (("", "", 1), (" (4x)", "-x4", 4))),
        "depths": tuple(_simclr(f"SimCLR ResNet-{d}, 100 epochs", f"simclr-resnet{d}", depth=d) for d in (18, 34, 50, 101)),
        "others": (
            Member("MoCo ResNet-50", "zoo:moco-v1-imagenet-200", {"method": "moco-v1", "role": "self-supervised", "width": 1}),
            Member("PIRL ResNet-50", "zoo:pirl-imagenet-800", {"method": "pirl", "role": "self-supervised", "width": 1}),
            *(Member(name, missing="no weights of it are in the zoo") for name in ("Local Agg. ResNet-50", "CPC v2 ResNet-50", "AMDIM Custom-ResNet", "CMC ResNet-50 (2x)")),
        ),
        "batches": _grid((256, 512, 1024, 2048, 4096, 8192), (100, 200, 400, 800), ("linear", "sqrt")),
        "random": (Member("Random init ResNet-50", "random:resnet50", {"method": "random", "role": "untrained"}),),
    },
    tasks={"imagenet": {IMAGENET: IMAGENET}, "twelve": {task: task for task in TASKS.values()}},
    recipe="chen_2020.yaml",
    facts={"crop_and_colour": ("crop", "color"), "nt_xent": "NT-Xent", "test_images": TEST_IMAGES},
)  # fmt: skip

MINI_TASK = "mini-object-class"
MINI = Scale(
    encoders={
        "strengths": (
            *(_simclr(f"SimCLR {name}", f"simclr-strength-{value:g}", strength=value, augmentation=name, dataset="world-objects") for name, value in STRENGTHS.items()),
            *(_supervised(f"Supervised {name}", f"supervised-strength-{value:g}", strength=value, augmentation=name, dataset="world-objects") for name, value in STRENGTHS.items()),
        ),
        "pairs": _pairs(MINI_AUGMENTATIONS),
        "losses": tuple(_simclr(f"SimCLR {title}", "simclr" if line == "nt-xent" else f"simclr-{line}", loss=title) for title, line in LOSSES.items()),
        "temperatures": (
            *(_simclr(f"SimCLR l2 tau {tau:g}", "simclr" if tau == 0.2 else f"simclr-tau-{tau:g}", l2_norm=1, temperature=tau) for tau in (0.05, 0.2, 0.5, 1)),
            *(_simclr(f"SimCLR no l2 tau {tau}", f"simclr-no-l2-tau-{tau}", l2_norm=0, temperature=tau) for tau in (10, 100)),
        ),
        "heads": tuple(
            _simclr(f"SimCLR {head} {dim}", "simclr" if (head, dim) == ("nonlinear", 128) else f"simclr-head-{head}-{dim}", head=head, head_dim=dim)
            for head, dim in (("identity", 128), ("linear", 32), ("linear", 128), ("nonlinear", 32), ("nonlinear", 128))
        ),
        "widths": tuple(_simclr(f"simclr x{w:g}", f"simclr-width-{w:g}" if w != 0.25 else "simclr", width=w) for w in (0.125, 0.25, 0.5)),
        "widths-supervised": tuple(_supervised(f"supervised x{w:g}", f"supervised-width-{w:g}", width=w) for w in (0.125, 0.25, 0.5)),
        "depths": tuple(_simclr(f"simclr resnet{d}", "simclr" if d == 18 else f"simclr-resnet{d}", depth=d) for d in (18, 34)),
        "batches": _grid((64, 256), (5, 10, 20), ("linear", "sqrt")),
    },
    tasks={
        "imagenet": {MINI_TASK: MINI_TASK},
        "twelve": {name: name for name in (MINI_TASK, "mini-scene", "mini-material", "mini-digits", "mini-fashion", "mini-animals", "mini-aerial")},
    },
    recipe="chen_mini.yaml",
    facts={"crop_and_colour": ("crop", "color"), "nt_xent": "NT-Xent", "test_images": {}},
    label="of the mini world: rendered images of 64 px, quarter-width ResNet-18s",
    input_px=64, embedding=128, card="two cores",
)  # fmt: skip

LINEAR = {"probe": "linear", "labels": "all"}


def _part(
    name: str,
    title: str,
    where: str,
    analysis: str,
    encoders: tuple[str, ...],
    tasks: tuple[str, ...] = ("imagenet",),
    **given: object,
) -> Part:
    given.setdefault("protocol", LINEAR)
    return Part(name, title, where, analysis, encoders=encoders, tasks=tasks, **given)  # type: ignore[arg-type]


FULL_ONLY = ("full",)
BOTH = {"probe": "linear and fine-tuned", "labels": "all"}

PARTS = (
    _part("figure1", "accuracy and parameters", "Figure 1", "size-curves", ("widths", "widths-supervised"), options={"x": "width"}),
    _part("figure5", "augmentations alone and in pairs", "Figure 5", "augmentation-matrix", ("pairs",)),
    _part("table1", "strength of the colour distortion", "Table 1", "size-curves", ("strengths",), table="table1", options={"x": "strength", "lines": "method"}),
    _part("figure7", "depth and width", "Figure 7", "size-curves", ("depths", "widths", "widths-supervised"), options={"x": "width"}),
    Part("table2", "losses and their gradients", "Table 2", why_not="formulas: virb/pretraining/losses.py has them, its tests compare the gradients"),
    _part("figure8", "projection heads", "Figure 8", "projection-heads", ("heads",)),
    _part("table3", "what two layers tell of the transformation", "Table 3", "pretext-labels", (), (), table="table3", needs="an encoder with its projection and images: `--option encoders=F.pt,F.pt:features=projection --option images=FOLDER`"),
    _part("table4", "losses", "Table 4", "encoder-bars", ("losses",), table="table4"),
    _part("table5", "l2 norm and temperature", "Table 5", "size-curves", ("temperatures",), table="table5", options={"x": "temperature", "lines": "l2_norm"}),
    _part("figure9", "batch size and length", "Figure 9", "batch-epochs", ("batches",), table="tableB1"),
    _part("tableB1", "two rules of the learning rate", "Figure B.1, Table B.1", "batch-epochs", ("batches",), table="tableB1"),
    _part("table6", "linear evaluation of ImageNet", "Table 6", "size-curves", ("widths", "widths-supervised", "others"), table="table6", options={"x": "width"}, scales=FULL_ONLY),
    Part("table7", "few labels, top-5", "Table 7", why_not="its networks are fine-tuned on 1 and 10 % of ImageNet's labels by a schedule that no suite has; `virb evaluate --probe finetune --label-fraction` gives few-label scores of one's own"),
    Part("tableB4", "few labels, top-1", "Table B.4", why_not="as Table 7"),
    Part("tableB2", "few labels, broader augmentation", "Table B.2", why_not="as Table 7, and the broader augmentation is not virb's"),
    _part("tableB3", "longer supervised training", "Table B.3", "size-curves", ("widths-supervised",), table="tableB3", options={"x": "epochs"}, scales=FULL_ONLY),
    _part("table8", "twelve data sets", "Table 8", "significance", ("widths", "widths-supervised", "random"), ("twelve",), table="table8", protocol=BOTH, scales=FULL_ONLY),
    _part("tableB5", "twelve data sets, ResNet-50", "Table B.5", "significance", ("widths", "widths-supervised", "random"), ("twelve",), table="tableB5", protocol=BOTH, scales=FULL_ONLY),
    _part("figureB5", "linear against fine-tuned", "Figures B.5 and B.6", "linear-vs-finetuned", ("widths", "widths-supervised"), ("twelve",), protocol=BOTH, needs="scores of two probes: run the part again with `--probe finetune`"),
    _part("figureB3", "eigenvalues of the projection", "Figure B.3", "spectrum", (), (), needs="an encoder and images: `--option encoders=F.pt --option images=FOLDER`"),
    _part("figureB4", "map of the embedding", "Figure B.4", "tsne", (), (), needs="an encoder and a task: `--option encoders=F.pt --option task=NAME`"),
    Part("figureB7", "CIFAR-10: batch size, length", "Figures B.7 to B.9", why_not="error bars over learning rates, no numbers printed; `virb pretrain --arch-option stem=cifar` and the analysis batch-epochs make it"),
    Part("figures2-4,6", "drawings, example images, histograms", "Figures 2, 3, 4, 6 and B.2", why_not="drawings and example images, not results"),
    Part("tableC1", "what methods are made of", "Table C.1", why_not="a design table: docs/fidelity.md compares ours with what is published"),
)  # fmt: skip

PAPER = Paper(
    name="chen-2020",
    summary="SimCLR: augmentations, heads, losses, batch size and length, and transfer to twelve data sets",
    citation="Chen, Kornblith, Norouzi, Hinton. A Simple Framework for Contrastive Learning of Visual Representations. ICML 2020",
    file=__file__,
    tables=(
        Published("table1", "simclr_table1.csv", "Table 1", "percent", table1, 0.05),
        Published("table3", "simclr_table3.csv", "Table 3", "percent", table3, 0.05),
        Published("table4", "simclr_table4.csv", "Table 4", "percent", table4, 0.05),
        Published("table5", "simclr_table5.csv", "Table 5", "percent", table5, 0.05),
        Published("table6", "simclr_table6.csv", "Table 6, supervised networks of Appendix B.8", "percent", table6, 0.05),
        Published("table7", "simclr_table7.csv", "Table 7", "percent, top-5", table7, 0.05),
        Published("table8", "simclr_table8.csv", "Table 8", "percent", table8, 0.05, "mean per class for Aircraft, Pets, Caltech-101 and Flowers; mean average precision for VOC 2007"),
        Published("tableB1", "simclr_tableB1.csv", "Table B.1", "percent", table_b1, 0.05),
        Published("tableB2", "simclr_tableB2.csv", "Table B.2", "percent", table_b2, 0.05),
        Published("tableB3", "simclr_tableB3.csv", "Table B.3", "percent", table_b3, 0.05),
        Published("tableB4", "simclr_tableB4.csv", "Table B.4", "percent", table_b4, 0.05),
        Published("tableB5", "simclr_tableB5.csv", "Table B.5", "percent", table8, 0.05),
        Published("tableC1", "simclr_tableC1.csv", "Table C.1", "", table_c1),
    ),
    parts=PARTS,
    claims=(
        Claim("composition", "No single augmentation suffices: composing them is crucial.", "Section 3.1, Figure 5", claims.composition_is_crucial, ("figure5",)),
        Claim("crop-and-colour", "Of all pairs random crop with colour distortion stands out.", "Section 3.1, Figure 5", claims.crop_and_colour_stand_out, ("figure5",)),
        Claim("stronger-colour", "Contrastive learning gains from stronger colour distortion, supervision does not.", "Section 3.2, Table 1", claims.stronger_colour_helps_contrast, ("table1",)),
        Claim("autoaugment", "AutoAugment is no better for SimCLR than crop with strong colour.", "Section 3.2, Table 1", claims.autoaugment_is_no_better, ("table1",)),
        Claim("width", "Wider networks are better.", "Section 4.1, Figure 7; Table 6 has the widths", claims.wider_is_better, ("table6",)),
        Claim("depth", "Deeper networks are better.", "Section 4.1, Figure 7", claims.depth_helps, ("figure7",)),
        Claim("gap-shrinks", "The gap to supervision shrinks as networks grow.", "Section 4.1, Figure 7; Appendix B.8", claims.gap_shrinks_with_size, ("table6",)),
        Claim("supervised-length", "Training longer does not improve supervised ResNets.", "Footnote 7, Table B.3", claims.longer_supervised_training_does_not_help, ("tableB3",)),
        Claim("nonlinear-head", "A nonlinear head is better than a linear one, and both than none.", "Section 4.2, Figure 8", claims.nonlinear_head_is_better, ("figure8",)),
        Claim("layer-below", "The layer below the projection knows more of the transformation than the projection.", "Section 4.2, Table 3", claims.layer_below_knows_more, ("table3",)),
        Claim("nt-xent", "NT-Xent is better than all other losses.", "Section 5.1, Table 4", claims.nt_xent_is_best, ("table4",)),
        Claim("mining", "Semi-hard negatives help the other losses.", "Section 5.1, Table 4", claims.mining_helps, ("table4",)),
        Claim("temperature", "Without l2 norm and a fitting temperature accuracy is worse.", "Section 5.1, Table 5", claims.normalisation_matters, ("table5",)),
        Claim("large-batches", "With few epochs larger batches have a significant advantage.", "Section 5.2, Figure 9", claims.large_batches_help_short_training, ("tableB1",)),
        Claim("batch-gap-closes", "With more epochs the gaps between batch sizes shrink or disappear.", "Section 5.2, Figure 9; Table B.1", claims.gap_closes_with_length, ("tableB1",)),
        Claim("longer", "Training longer is better.", "Section 5.2, Table B.1", claims.longer_is_better, ("tableB1",)),
        Claim("square-root-rule", "The square-root learning rate is better for small batches and few epochs.", "Appendix B.1", claims.square_root_rule, ("tableB1",)),
        Claim("seven-percent", "76.5 % is a 7 % relative improvement over the best before.", "Abstract, Table 6", transfer.relative_improvement, ("table6",)),
        Claim("matches-supervised", "A linear probe of the x4 network matches a supervised ResNet-50.", "Abstract, Section 6", transfer.matches_supervised_resnet50, ("table6",)),
        Claim("few-labels", "With 1 % of the labels the x4 network is better than all before.", "Section 6, Table 7", transfer.better_with_few_labels, ("table7",)),
        Claim("bold-cells", "Fine-tuned, SimCLR is significantly better on 5 of 12 data sets, supervision on 2, 5 are ties.", "Section 6, Table 8", transfer.bold_cells, ("table8",)),
        Claim("linear-even", "By linear evaluation the x4 network has no clear advantage or disadvantage.", "Appendix B.8, Table 8", transfer.linear_evaluation_is_even, ("table8",)),
        Claim("small-linear", "With ResNet-50 supervision is better on all 12 by linear evaluation.", "Appendix B.8, Table B.5", transfer.supervised_wins_with_small_networks, ("tableB5",)),
        Claim("small-tuned", "With ResNet-50, fine-tuned, supervision is better on 10 of 12.", "Appendix B.8, Table B.5", transfer.supervised_wins_ten_fine_tuned, ("tableB5",)),
    ),
    scales={"full": FULL, "mini": MINI},
    facts=FULL.facts,
    probes=PROBES,
    missing={
        "figure5": "Figure 5 is a picture: its cells are not among the numbers at hand.",
        "figure7": "Figure 7 is a picture: no accuracy by depth is printed.",
        "figure8": "Figure 8 is a picture; the text prints +3 and more than 10 points, and nothing to test them with.",
    },
)  # fmt: skip

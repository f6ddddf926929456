"""Inputs of the analyses: tables of the papers as tidy scores, a study like the mini suite's, the smallest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

PUBLISHED = Path(__file__).parents[2] / "analysis" / "papers" / "tables"


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(PUBLISHED / f"{name}.csv")


def figure4() -> pd.DataFrame:
    wide = table("virb_figure4_digitised").drop(columns=["tentative_identity", "uncertain_readings"])
    wide = wide.drop(columns=[name for name in wide if name.endswith("_DeepLabHead")])
    category = dict.fromkeys(wide.columns[1:], "semantic image-level")
    structural = ["CLEVRCount", "THORNumSteps", "THOREgomotion", "nuScenesEgomotion"]
    category.update(dict.fromkeys(structural, "structural image-level"))
    category.update(dict.fromkeys(["Cityscapes", "PetsInstanceSeg", "EgoHands"], "semantic pixelwise"))
    category.update(dict.fromkeys(list(wide.columns[-5:]), "structural pixelwise"))
    tidy = wide.melt("anon_encoder", var_name="task", value_name="score").rename(columns={"anon_encoder": "encoder"})
    tidy["encoder"] = tidy["encoder"].replace("enc28", "supervised")
    tidy["role"] = np.where(tidy["encoder"] == "supervised", "supervised", "self-supervised")
    tidy["category"] = tidy["task"].map(category)
    return tidy


def cole1() -> pd.DataFrame:
    wide = table("cole_table1").query("method == 'SimCLR'")
    wide = wide.assign(encoder="simclr-" + wide["pretrain_dataset"]).rename(columns={"pretrain_dataset": "dataset"})
    return wide.melt(["encoder", "dataset", "method", "pretrain_images"], var_name="task", value_name="score").rename(
        columns={"pretrain_images": "dataset_size"}
    )


def cole2() -> pd.DataFrame:
    wide = table("cole_table2")
    names = ["iNat21", "ImageNet", "Places365", "GLC20"]
    rows = []
    for _, row in wide.iterrows():
        tasks = {name: row[f"eval_{name}"] for name in names[:3]}
        if row["row_type"] == "pooled":
            dataset = "+".join(name for name in names if row[f"n_{name}_k"] > 0)
            rows += [(f"{dataset}-{row['total_k']}k", t, s, dataset, f"{row['total_k']}k") for t, s in tasks.items()]
        else:
            # An in-domain row holds one encoder a column, known on its own task alone.
            rows += [(f"{t}-{row['total_k']}k", t, s, t, f"{row['total_k']}k") for t, s in tasks.items()]
    return pd.DataFrame(rows, columns=["encoder", "task", "score", "dataset", "dataset_size"])


def cole3() -> pd.DataFrame:
    wide = table("cole_table3")
    flags = [name for name in wide if name.startswith("feat_")]
    wide["encoder"] = wide[flags].apply(lambda row: "+".join(f[5:] for f in flags if row[f]), axis=1)
    wide["parts"] = wide["encoder"].where(wide["encoder"].str.contains(r"\+"))
    return wide.melt(["encoder", "parts"], ["eval_ImageNet", "eval_iNat21"], var_name="task", value_name="score")


def hammoud_budget() -> pd.DataFrame:
    long = table("hammoud_supp_table3").melt(["method", "C", "N", "D_printed"], var_name="network", value_name="score")
    name = (
        long["network"]
        + "-"
        + (long["N"] / 1e3).astype(int).astype(str)
        + "k-C"
        + (long["C"] / 1e6).astype(int).astype(str)
    )
    out = pd.DataFrame({"encoder": name, "task": "ImageNet", "score": long["score"], "method": long["method"]})
    return out.assign(network=long["network"], dataset_size=long["N"], images_seen=long["C"])


def hammoud_sizes() -> pd.DataFrame:
    long = table("hammoud_table1").melt(["dataset", "N", "D", "C"], var_name="method", value_name="score")
    encoder = long["method"] + "-" + long["dataset"] + "-" + long["N"].astype(str)
    out = pd.DataFrame({"encoder": encoder, "task": long["dataset"], "score": long["score"], "method": long["method"]})
    return out.assign(dataset_size=long["N"], images_seen=long["C"])


def hammoud_labels() -> pd.DataFrame:
    t = table("hammoud_table5")
    t["encoder"] = t["method"] + " " + t["network"] + " " + t["pretrain_dataset"]
    t["pipeline"] = t["method"] + " " + t["pretrain_dataset"]
    long = t.melt(
        ["encoder", "method", "network", "pipeline"], [f"labels_{k}" for k in (5, 10, 50, 100)], "labels", "score"
    )
    long["labels"] = long["labels"].str.removeprefix("labels_").astype(int)
    return long.assign(task="ImageNet")


def simclr_batches() -> pd.DataFrame:
    t = table("simclr_tableB1")
    encoder = "simclr-b" + t["batch_size"].astype(str) + "-e" + t["epochs"].astype(str)
    out = pd.DataFrame({"encoder": encoder, "task": "ImageNet", "score": t["top1_linear_lr"], "method": "SimCLR"})
    return out.assign(batch_size=t["batch_size"], epochs=t["epochs"])


def augmentations() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    names = ["crop", "cutout", "colour", "sobel", "noise", "blur", "rotate"]
    rows = [
        (f"{a}-{b}", "ImageNet", 0.2 + 0.4 * rng.random(), a, b)
        for a in names
        for b in names
        if (a, b) != ("blur", "noise")
    ]
    return pd.DataFrame(rows, columns=["encoder", "task", "score", "augmentation_a", "augmentation_b"])


def corruptions() -> pd.DataFrame:
    cost = {
        "none": 0,
        "salt and pepper": 0.05,
        "JPEG": 0.1,
        "resize": 0.02,
        "downsample 2x": 0.15,
        "downsample 4x": 0.34,
    }
    rng = np.random.default_rng(0)
    rows = [
        (f"{m}-{c}", t, 0.7 - (drop if m == "simclr" else drop / 2) + 0.02 * rng.normal(), m, c)
        for m in ("simclr", "supervised")
        for c, drop in cost.items()
        for t in ("ImageNet", "Places365", "iNat21")
    ]
    return pd.DataFrame(rows, columns=["encoder", "task", "score", "method", "corruption"])


MINI_TASKS = {
    "mini-object-class": "semantic image-level",
    "mini-scene-type": "semantic image-level",
    "mini-material": "semantic image-level",
    "mini-digits": "semantic image-level",
    "mini-object-count": "structural image-level",
    "mini-free-steps": "structural image-level",
    "mini-egomotion": "structural image-level",
    "mini-segmentation": "semantic pixelwise",
    "mini-depth": "structural pixelwise",
}


def mini() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    encoders: list[tuple[object, ...]] = [
        ("random-resnet18", "random", None, None, None, None),
        ("supervised-rooms", "supervised", "rooms", 4000, "full", 20),
    ]
    kinds = [
        ("rooms", 4000, "full"),
        ("objects", 4000, "full"),
        ("rooms-log", 1000, "log"),
        ("rooms-quarter", 1000, "full"),
    ]
    encoders += [
        (f"{m}-{d}-{e}", m, d, n, b, e) for m in ("simclr", "mocov2", "swav") for d, n, b in kinds for e in (10, 20)
    ]
    rows = []
    for name, method, dataset, n, balance, epochs in encoders:
        own = {"random": -0.25, "supervised": 0.05}.get(str(method), 0) + 0.02 * rng.normal()
        role = {"random": "untrained", "supervised": "supervised"}.get(str(method), "self-supervised")
        own += 0.03 * (epochs == 20) + 0.02 * (n == 4000)
        for k, (task, category) in enumerate(MINI_TASKS.items()):
            base = 0.6 + 0.02 * k + own + 0.03 * rng.normal() - 1.2 * (task == "mini-depth")
            for seed in range(2):
                score = base + 0.004 * rng.normal()
                rows.append((name, task, seed, score, category, method, role, dataset, n, balance, epochs))
    columns = ["encoder", "task", "seed", "score", "category", "method", "role", "dataset", "dataset_size", "balance"]
    columns.append("epochs")
    return pd.DataFrame(rows, columns=columns)


def tiny() -> pd.DataFrame:
    rows = [
        ("a", "one", 0.5),
        ("a", "two", 0.2),
        ("b", "one", 0.7),
        ("b", "two", 0.4),
        ("c", "one", 0.6),
        ("c", "two", 0.5),
    ]
    return pd.DataFrame(rows, columns=["encoder", "task", "score"])


def write_results(folder: Path) -> Path:
    """A results folder as `virb evaluate` writes it, with predictions: six encoders, two seeds, four kinds of task."""
    from virb.records.store import ResultStore

    store = ResultStore(folder)
    tasks = {
        "objects": ("semantic image-level", "top1"),
        "counts": ("structural image-level", "mean_per_class"),
        "parts": ("semantic pixelwise", "miou"),
        "depth": ("structural pixelwise", "neg_l1"),
    }
    n, k = 300, 6
    shared = np.random.default_rng(5)
    target = shared.integers(0, k, n)
    pixels = shared.integers(0, 200, (60, 3))
    difficulty = shared.normal(size=n) + 0.8 * np.array([-1, -0.5, 0, 0, 0.5, 1])[target]
    for e, (name, method) in enumerate(
        [("random", "random"), ("sup", "supervised"), *((f"ssl-{i}", "simclr") for i in range(4))]
    ):
        for seed in range(2):
            rng = np.random.default_rng([e, seed])
            skill = -0.3 if name == "random" else 0.6 + 0.12 * e
            for task, (category, metric) in tasks.items():
                if metric in ("top1", "mean_per_class"):
                    right = skill - difficulty + 0.5 * rng.normal(size=n) > 0
                    # Half of the mistakes stay in the pair of classes 2k, 2k + 1.
                    wrong = np.where(rng.random(n) < 0.5, target ^ 1, rng.integers(0, k, n))
                    prediction = np.where(right, target, wrong)
                    arrays = {
                        "ids": np.array([f"i{i:03d}" for i in range(n)]),
                        "target": target,
                        "prediction": prediction,
                    }
                    hit = prediction == target
                    score = (
                        float(hit.mean())
                        if metric == "top1"
                        else float(np.mean([hit[target == c].mean() for c in range(k)]))
                    )
                elif metric == "miou":
                    overlap = np.floor(
                        pixels * np.clip(0.5 + 0.2 * skill + 0.1 * rng.normal(size=pixels.shape), 0, 1)
                    ).astype(int)
                    arrays = {
                        "ids": np.arange(60).astype(str),
                        "intersection": overlap,
                        "predicted": pixels,
                        "target": pixels,
                    }
                    score = float(np.mean(overlap.sum(0) / (2 * pixels.sum(0) - overlap.sum(0))))
                else:
                    error = 100 * np.exp(-skill + 0.3 * rng.normal(size=60))
                    arrays = {
                        "ids": np.arange(60).astype(str),
                        "sum_absolute_error": error,
                        "n_valid": np.full(60, 100),
                    }
                    score = -float(error.sum() / 6000)
                record = {
                    "encoder": {"name": name, "sha256": f"{e:064d}", "arch": "resnet18", "meta": {"method": method}},
                    "task": {"name": task, "version": 1, "category": category, "metric": metric, "suite": "test"},
                    "probe": "gradient",
                    "seed": seed,
                    "score": score,
                    "metrics": {},
                    "per_class": None,
                    "n_train": 1000,
                    "n_test": len(arrays["ids"]),
                    "overrides": {},
                }
                store.write(record, arrays)
    return folder


def two_probes() -> pd.DataFrame:
    rows = []
    for name, network in (("simclr_table8", "4x"), ("simclr_tableB5", "1x")):
        long = table(name).melt(["architecture", "protocol", "init"], var_name="task", value_name="score")
        long = long[long["init"] != "Random init"]
        rows.append(
            pd.DataFrame(
                {
                    "encoder": long["init"] + " " + network,
                    "init": long["init"],
                    "role": np.where(long["init"] == "Supervised", "supervised", "self-supervised"),
                    "method": long["init"].str.lower(),
                    "params": {"1x": 24e6, "4x": 375e6}[network],
                    "task": long["task"],
                    "score": long["score"],
                    "probe": long["protocol"],
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def hammoud_transfer() -> pd.DataFrame:
    t = table("hammoud_table2").query("N > 1e6")
    encoder = t["method"] + " " + t["network"] + " " + t["pretrain_dataset"]
    t = t.assign(encoder=encoder).rename(columns={"pretrain_dataset": "dataset"})
    tasks = ["Cars", "Flowers", "Pets", "Places", "Food"]
    return t.melt(["encoder", "method", "network", "dataset"], tasks, var_name="task", value_name="score")


def hammoud_distances() -> pd.DataFrame:
    t = table("hammoud_table3")
    t["metric"] = t["metric"] + " " + t["backbone"]
    long = t.melt(["metric", "pretrain_dataset"], ["Cars", "Flowers", "Pets", "Places", "Food"], "task", "distance")
    return long.rename(columns={"pretrain_dataset": "dataset"})


def cole_resized() -> pd.DataFrame:
    t = table("cole_tableA2")
    t = t[~t["pretrain"].str.contains("Change")]
    t = t.assign(
        encoder="simclr " + t["pretrain"],
        dataset=t["pretrain"].str.split(" ").str[0],
        resized=np.where(t["pretrain"].str.contains("Resize"), "yes", "no"),
        method="SimCLR",
    )
    long = t.melt(["encoder", "dataset", "resized", "method"], list(t.columns[1:5]), "task", "score")
    return long.assign(unit="fraction")


def cole_diversity() -> pd.DataFrame:
    t = table("cole_tableA3")
    t = t.assign(encoder="simclr " + t["n_classes"].astype(str) + " classes", method="SimCLR")
    tasks = [name for name in t if name.startswith("eval_")]
    return t.melt(["encoder", "method", "n_classes", "images_per_class"], tasks, "task", "score")


def simclr_pretext() -> pd.DataFrame:
    t = table("simclr_table3").rename(columns={"random_guess": "chance", "g_h": "g(h)"})
    return t.melt(["target", "chance"], ["h", "g(h)"], "encoder", "score").rename(columns={"target": "task"})


def simclr_rules() -> pd.DataFrame:
    t = table("simclr_tableB1").rename(columns={"top1_linear_lr": "linear", "top1_sqrt_lr": "sqrt"})
    long = t.melt(["batch_size", "epochs"], ["linear", "sqrt"], "lr_rule", "score")
    name = "b" + long["batch_size"].astype(str) + "-e" + long["epochs"].astype(str) + "-" + long["lr_rule"]
    return long.assign(encoder=name, task="ImageNet")


def heads() -> pd.DataFrame:
    """Levels as the text of Chen et al. 2020, Section 4.2, states them: nonlinear 3 over linear, over 10 over none."""
    level = {"nonlinear": 64.0, "linear": 61.0, "none": 51.0}
    rows = [
        (f"{head}-{dim}", "ImageNet", value + 0.1 * k, head, dim)
        for head, value in level.items()
        for k, dim in enumerate([2048] if head == "none" else [32, 64, 128, 256, 512, 1024, 2048])
    ]
    return pd.DataFrame(rows, columns=["encoder", "task", "score", "head", "head_dim"])


def pretrained_twice() -> pd.DataFrame:
    """Two methods, three pretraining seeds each, two probe seeds: sds .03 (pretraining) and .01 (probe)."""
    rng = np.random.default_rng(3)
    rows = []
    for method, level in (("simclr", 0.6), ("swav", 0.7)):
        for again in range(3):
            own = level + 0.03 * rng.normal(size=3)
            for k, task in enumerate(("one", "two", "three")):
                for seed in range(2):
                    score = own[k] + 0.01 * rng.normal()
                    rows.append((f"{method}-{again}", task, seed, score, method, again, "top1", 500))
    columns = ["encoder", "task", "seed", "score", "method", "pretrain_seed", "metric", "n_test"]
    return pd.DataFrame(rows, columns=columns).assign(unit="fraction")


INPUTS = {
    "cole-resized": cole_resized,
    "cole-diversity": cole_diversity,
    "simclr-pretext": simclr_pretext,
    "simclr-rules": simclr_rules,
    "heads": heads,
    "pretrained-twice": pretrained_twice,
    "figure4": figure4,
    "mini": mini,
    "tiny": tiny,
    "cole1": cole1,
    "cole2": cole2,
    "cole3": cole3,
    "hammoud-budget": hammoud_budget,
    "hammoud-sizes": hammoud_sizes,
    "hammoud-labels": hammoud_labels,
    "simclr-batches": simclr_batches,
    "augmentations": augmentations,
    "corruptions": corruptions,
    "two-probes": two_probes,
    "hammoud-transfer": hammoud_transfer,
}


@pytest.fixture(scope="session")
def results_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("results"))


@pytest.fixture
def scores_file(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Write one of the inputs as CSV and return its path."""

    def write(name: str) -> Path:
        path = tmp_path / f"{name}.csv"
        INPUTS[name]().to_csv(path, index=False)
        return path

    return write


@pytest.fixture
def distances_file(tmp_path: Path) -> Path:
    path = tmp_path / "distances.csv"
    hammoud_distances().to_csv(path, index=False)
    return path

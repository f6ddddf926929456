"""Write the measured tables of README.md, docs/mini.md and docs/study.md from results folders.

    virb evaluate encoders/*.pt --out results
    virb evaluate random:resnet18:width=0.25,size=64,seed=1 random:resnet18:width=0.25,size=64,seed=2 --out results-random
    python docs/update_tables.py --results results --baselines results-random

README.md shows the tasks of ``make demo``, docs/mini.md all of them. docs/study.md is written from docs/study.csv:

    python docs/update_tables.py --study docs/study.csv

and docs/photos.md from docs/photos.csv and docs/photos-encoders.csv:

    python docs/update_tables.py --photos docs/photos.csv

A table is written between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``; nothing else in the files is touched.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from virb import registry
from virb.records.store import ResultStore
from virb.scores.read import read_scores

ROOT = Path(__file__).parents[1]


def replace_block(path: Path, name: str, text: str) -> None:
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = path.read_text(encoding="utf-8").split(begin)
    _, after = rest.split(end)
    path.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}", encoding="utf-8")


def markdown(rows: list[dict[str, str]]) -> str:
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(row[column] for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def number(value: float) -> str:
    return f"{value:.3f}".replace("-0.", "-.").lstrip("0") if abs(value) < 1 else f"{value:.2f}"


def chance(name: str) -> str:
    """Return what guessing scores: one over the number of classes, where that is what the metric measures."""
    task = registry.load("tasks", name)
    return number(1 / task.n_classes) if task.metric == "top1" else "–"


def demo_tasks() -> set[str]:
    from virb.cli import demo

    return set(demo.demo_tasks())


def scores_table(table: pd.DataFrame) -> str:
    means = table.groupby(["task", "encoder"])["score"].mean()
    encoders = list(dict.fromkeys(table["encoder"]))
    rows = []
    for task, group in table[table["task"].isin(demo_tasks())].groupby("task", sort=False):
        row = {"end task": str(task), "metric": group["metric"].iloc[0], "chance": chance(str(task))}
        row |= {name: number(means[task, name]) for name in encoders}
        rows.append(row)
    return markdown(rows)


def separation_table(table: pd.DataFrame, baselines: pd.DataFrame) -> str:
    """One row an image-level task: the baselines, the trained encoders' best, and its lead over both."""
    everything = pd.concat([table, baselines])
    everything = everything[everything["category"].str.endswith("image-level")]
    rows = []
    for task, group in everything.groupby("task", sort=False):
        is_random = group["method"].eq("random") & ~group["encoder"].str.contains("pixels")
        random = group.loc[is_random, "score"]
        pixels = group.loc[group["encoder"].str.contains("pixels"), "score"].mean()
        method = group.drop_duplicates("encoder").set_index("encoder")["method"]
        trained = group[~group["method"].isin(["random", "none"])].groupby("encoder")["score"].mean()
        supervised = trained[method[trained.index].eq("supervised")]
        others = trained.drop(supervised.index)
        floor = max(random.mean(), pixels)
        rows.append(
            {
                "end task": str(task),
                "chance": chance(str(task)),
                "raw pixels": number(pixels),
                "random (n)": f"{number(random.mean())} ({number(random.min())} to {number(random.max())}; {len(random)})",
                "best self-supervised": f"{number(others.max())} ({others.idxmax()})",
                "best supervised": f"{number(supervised.max())} ({supervised.idxmax()})",
                "best − random": number(trained.max() - random.mean()),
                "best − higher baseline": number(trained.max() - floor),
            }
        )
    return markdown(rows)


def kinds_table(table: pd.DataFrame) -> str:
    """mini-kinds at its levels: accuracy and, in brackets, kappa (corrected for chance)."""
    rows = []
    for name, group in table[table["task"].eq("mini-kinds")].groupby("encoder", sort=True):
        mean = group.mean(numeric_only=True)
        row = {"encoder": str(name)}
        for level, head in {"class": "19 classes", "kind": "6 kinds", "nature": "made or living"}.items():
            row[head] = f"{number(mean[f'accuracy@{level}'])} ({number(mean[f'kappa@{level}'])})"
        rows.append(row)
    return markdown(rows)


def study_table(path: Path) -> str:
    """One row an encoder of the study: its mean standing in each category, and the tasks on which it is above the mean of the
    untrained networks.

    A task's scores are standardised over the study's encoders (mean 0, standard deviation 1, ddof 1), so that tasks of
    any metric weigh the same.
    """
    table = read_scores(path)  # errors change their sign, so that higher is better
    wide = table.pivot_table(index="encoder", columns="task", values="score", sort=False)
    category = table.drop_duplicates("task").set_index("task")["category"]
    about = table.drop_duplicates("encoder").set_index("encoder")
    studied = [name for name in wide.index if about.loc[name, "method"] not in ("random", "supervised", "none")]
    standard = (wide - wide.loc[studied].mean()) / wide.loc[studied].std()
    by_category = standard.T.groupby(category.reindex(wide.columns)).mean().T
    untrained = [name for name in wide.index if about.loc[name, "method"] == "random"]
    wins = wide.gt(wide.loc[untrained].mean()).sum(axis=1)
    rows = []
    for name in [*studied, *(name for name in wide.index if name not in studied)]:
        row = {
            "encoder": str(name),
            "images": f"{about.loc[name, 'dataset_size']:,.0f}",
            "epochs": f"{about.loc[name, 'epochs']:.0f}",
        }
        row |= {str(c): f"{by_category.loc[name, c]:+.2f}" for c in by_category.columns}
        row |= {
            "all": f"{standard.loc[name].mean():+.2f}",
            f"above untrained, of {wide.shape[1]}": str(int(wins[name])),
        }
        rows.append(row)
    return markdown(rows)


#: The end tasks on photographs, and the heads of their columns.
PHOTOGRAPHS = {
    "simclr-cifar-10": "CIFAR-10",
    "tiny-imagenet-32": "Tiny ImageNet",
    "dtd-ten": "DTD, ten",
    "flowers-five": "flowers, five",
    "mini-fashion": "Fashion-MNIST",
    "camvid": "CamVid",
}


def photos_table(path: Path) -> str:
    """One row a design of the study on photographs: its score on each end task on photographs, seeds as mean ± sd, and its
    mean standing on the mini suite's image-level tasks, in standard deviations of the trained designs."""
    about = path.with_name(f"{path.stem}-encoders.csv")
    table, order = read_scores(path, meta=about), list(pd.read_csv(about)["encoder"])
    table["design"] = table["repeat"].fillna(table["encoder"])
    wide = table.pivot_table(index=["design", "encoder"], columns="task", values="score")
    designs = wide.groupby("design")
    means, spreads = designs.mean(), designs.std()
    mini = [name for name in means if name.startswith("mini-") and name not in PHOTOGRAPHS]
    trained = [name for name in means.index if "random" not in name and "pixels" not in name]
    standing = ((means[mini] - means.loc[trained, mini].mean()) / means.loc[trained, mini].std()).mean(axis=1)
    rows = []
    for name in sorted(means.index, key=lambda name: order.index(name) if name in order else len(order)):
        row = {"encoder": name.removeprefix("photos-"), "seeds": str(len(designs.get_group(name)))}
        for task, head in PHOTOGRAPHS.items():
            spread = spreads.loc[name, task]
            row[head] = number(means.loc[name, task]) + ("" if pd.isna(spread) else f" ± {number(spread)}")
        rows.append({**row, f"mini, {len(mini)} tasks": f"{standing[name]:+.2f}"})
    return markdown(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", default="results")
    parser.add_argument("--baselines", default="results-random")
    parser.add_argument("--study", help="the scores of the study, a CSV; only docs/study.md is written then")
    parser.add_argument(
        "--photos", help="the scores of the study on photographs, a CSV; only docs/photos.md is written then"
    )
    args = parser.parse_args()
    if args.photos:
        replace_block(ROOT / "docs" / "photos.md", "photos", photos_table(Path(args.photos)))
        return
    if args.study:
        replace_block(ROOT / "docs" / "study.md", "study", study_table(Path(args.study)))
        return
    table, baselines = ResultStore(args.results).table(), ResultStore(args.baselines).table()
    replace_block(ROOT / "README.md", "demo", scores_table(table))
    replace_block(ROOT / "docs" / "mini.md", "separation", separation_table(table, baselines))
    replace_block(ROOT / "docs" / "mini.md", "kinds", kinds_table(table))


if __name__ == "__main__":
    main()

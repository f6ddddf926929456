"""docs/real.md says what its commands print: the numbers again, from the tables beside it."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from virb import registry
from virb.contracts.tables import Notes, Tables
from virb.scores.layout import matrix
from virb.scores.outliers import outliers, without_outliers
from virb.scores.read import read_scores
from virb.stats.structure import pocket_test
from virb.stats.subset import predictive_subset

DOCS = Path(__file__).parents[1] / "docs"
PAGE = " ".join((DOCS / "real.md").read_text(encoding="utf-8").split())
LEADER, SECOND = "EVA02-CLIP-bigE-14-plus", "siglip-so400m-patch14-384"


@functools.cache
def mieb() -> pd.DataFrame:
    return read_scores(
        DOCS / "real" / "mieb-linear-probe.csv", meta=DOCS / "real" / "mieb-encoders.csv", units=["fraction"]
    )


@functools.cache
def clean() -> pd.DataFrame:
    return without_outliers(mieb())


@functools.cache
def visbench() -> pd.DataFrame:
    return read_scores(DOCS / "real" / "visbench.csv")


def tables(name: str, frame: pd.DataFrame, **options: str) -> Tables:
    found: Tables = registry.load("analyses", name).tables(frame, Notes(), **options)
    return found


def said(*texts: str) -> None:
    for text in texts:
        assert text in PAGE, f"docs/real.md does not say {text!r}"


def short(value: float, digits: int = 2) -> str:
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.{digits}f}")


def test_scores_that_cannot_be_right_and_what_they_move() -> None:
    found = outliers(mieb())
    sizes = mieb().groupby(["encoder", "task"]).size()
    cells = found.groupby(["encoder", "task"]).size()
    wholly = int((cells == sizes.loc[cells.index]).sum())
    said(f"{len(found)} of {len(mieb())} scores in {len(cells)} cells", f"{wholly} of the cells wholly")
    moved = tables("outliers", mieb())["moved"].set_index("task").loc["Imagenet1k"]
    ranks = [matrix(f).corr("spearman")["Imagenet1k"].drop("Imagenet1k").mean() for f in (clean(), mieb())]
    said(
        f"from {short(moved['without'])} to {short(moved['mean_r'])}",
        f"from {short(ranks[0])} to {short(ranks[1])}: ranks suffer less",
    )
    assert outliers(visbench()).empty


def correlations(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    table = tables("correlation", frame, missing="drop-encoders")[""]
    part = table[table["method"] == "spearman"]
    return part, f"mean rho {part['r'].mean():+.2f}, {int((part['p_adjusted'] < 0.05).sum())} of 231"


def test_the_heatmaps() -> None:
    _, given = correlations(mieb())
    part, without = correlations(clean())
    said(f"as published: {given} pairs after correction", f"without the failed fits: {without}")
    said(
        f"{part['between_families'].mean():+.2f} of the mean rho of {part['r'].mean():+.2f}",
        f"{part['within_families'].mean():+.2f} within",
    )
    width = (part["high"] - part["low"]).median()
    said(
        f"is {short(width)} wide in the median",
        f"leaves out 0 for {int(((part['low'] > 0) | (part['high'] < 0)).sum())} of 231 pairs",
    )
    pairs = part.set_index(["task_a", "task_b"])["r"]
    said(
        f"almost alike (rho {short(pairs['CIFAR10', 'CIFAR100'])})",
        f"OxfordPets ({short(pairs['Imagenet1k', 'OxfordPets'])}) and hardly FER2013 ({short(pairs['FER2013', 'Imagenet1k'])})",
    )
    rho = matrix(clean()).dropna().corr("spearman")
    means = (rho.sum() - 1) / (len(rho) - 1)
    assert means.idxmin() == "FER2013"
    said(f"FER2013 does least (mean rho {short(means['FER2013'])})")
    assert {short(means[name]) for name in ("Food101Classification", "DTD")} == {".77"}
    family = mieb().drop_duplicates("encoder")["family"].value_counts()
    said(f"count as {family.sum() ** 2 / (family**2).sum():.1f} equal families: {family['siglip']} of 48 are SigLIPs")


def test_imagenet_and_the_rest() -> None:
    found = tables("agreement", clean(), missing="drop-encoders", tasks="Imagenet1k")
    facts = found.facts
    low, middle, high = np.percentile(found["random"]["rho"], (5, 50, 95))
    said(
        f"rho = {short(facts['rho'])} (95 % {short(facts['low'])} to {short(facts['high'])}",
        f"at {short(middle)} in the median, nine in ten between {short(low)} and {short(high)}",
    )
    assert facts["p_less"] > 0.05


@pytest.mark.slow
def test_two_tasks_that_tell_the_order() -> None:
    wide = matrix(clean()).dropna()
    family = clean().drop_duplicates("encoder").set_index("encoder")["family"]
    row = predictive_subset(wide, max_size=2, clusters=list(family[wide.index])).table.iloc[1]
    assert row["random_as_good"] == 1 / 40
    said(
        f"Two tasks, {row['tasks']}, tell",
        f"with rho = {short(row['spearman'])}; one random pair of",
        f"between {short(row['random_low'])} and {short(row['random_high'])}",
    )


def test_the_axes() -> None:
    found = tables("factors", clean(), missing="drop-encoders")
    eigen = found["eigenvalues"]
    first = eigen[eigen["over"] == "encoders"].head(3)
    assert found.facts["n_axes"] == {"encoders": 1, "families": 1}
    said(
        "Eigenvalues " + ", ".join(f"{v:.2f}" for v in first["eigenvalue"]),
        ", ".join(f"{v:.2f}" for v in first["bound"]),
    )
    held = found.facts["held_out"]
    assert min(range(len(held)), key=held.__getitem__) == 3
    said(
        f"It is {found.facts['shares'][0]:.0%}".replace("%", " %"),
        f"three axes (error {short(held[3])}) than with one ({short(held[1])}; {short(held[0])} with none)",
    )
    given = tables("factors", mieb())["eigenvalues"].set_index(["over", "axis"])
    own, families = given.loc[("encoders", 2)], given.loc[("families", 2)]
    said(
        f"they are {given.loc[('encoders', 1), 'eigenvalue']:.2f} and {own['eigenvalue']:.2f} beside {own['bound']:.2f}",
        f"({families['eigenvalue']:.2f} beside {families['bound']:.2f})",
    )


def test_the_ranking_and_how_sure_it_is() -> None:
    field = tables("decide", clean(), missing="drop-encoders")[""].set_index("encoder")
    assert field.index[0] == LEADER
    said(
        f"with P = {short(field['p_best'].iloc[0])} only: {short(field.loc[SECOND, 'p_best'])} for",
        f"and {short(field.loc['EVA02-CLIP-bigE-14', 'p_best'])} for EVA02-CLIP-bigE-14",
    )
    said(f"than {int((field['leader_better'].iloc[1:] >= 0.95).sum())} of the {len(field) - 1} others")
    pair = tables("decide", clean(), a=LEADER, b=SECOND)[""]
    kind = pair[pair["view"] == "over tasks of this kind"]
    row = kind.iloc[1]
    said(f"ahead by {short(row['difference'], 4)} (95 % {short(row['low'], 4)} to {short(row['high'], 4)} over tasks")
    areas = [" / ".join(short(row[name]) for name in ("better", "equal", "worse")) for _, row in kind.iterrows()]
    said(f"{areas[1]} for a region of .01", f"{areas[0]} for .005", f"{areas[2]} for .02")
    these = pair[pair["view"] == "on these very tasks"].iloc[0]
    said(f"({short(these['low'], 4)} to {short(these['high'], 4)})")
    whole = tables("aggregate", clean(), missing="drop-encoders")[""].set_index("encoder").loc[LEADER]
    said(
        f"interquartile mean is {short(whole['iqm'], 3)}",
        f"by {short(whole['high_runs'] - whole['iqm'], 3)} with other repeats and by {short(whole['high_tasks'] - whole['iqm'], 3)}",
    )


@pytest.mark.slow
def test_the_ranking_with_missing_cells() -> None:
    parts = [pd.read_csv(DOCS / "real" / name) for name in ("mieb-linear-probe.csv", "mieb-partial.csv")]
    from virb.scores.schema import check_scores

    found = tables("paired-model", without_outliers(check_scores(pd.concat(parts, ignore_index=True))))
    table, facts = found[""], found.facts
    assert table["encoder"].iloc[0] == LEADER
    said(
        f"with {facts['n_missing']} of {facts['n_cells']} cells missing",
        f"from {int(table['is_told_from_leader'].sum())} of the {len(table) - 1} others",
    )
    said(f"from place {1 + int((table['n_tasks'] <= 8).to_numpy().argmax())} on")


def test_visbench_and_its_three_placements() -> None:
    wide = matrix(visbench())
    given = visbench().drop_duplicates("task").set_index("task")["category"][wide.columns]
    rho = wide.rank().corr()
    for change in (
        {},
        {"similarity": "structural image-level"},
        {"generic_segmentation": "structural pixelwise"},
        {"detection": "semantic image-level"},
    ):
        categories = given.copy()
        for task, category in change.items():
            categories[task] = category
        found = pocket_test(rho, categories)
        assert found.pvalue < 0.003
        said(f"| {short(found.inside, 3)} | {short(found.between, 3)} |")
    part = tables("correlation", visbench())[""].query("method == 'spearman'")
    said(
        f"({part['between_families'].mean():+.2f} of {part['r'].mean():+.2f})",
        f"{int((part['p_adjusted'] < 0.05).sum())} of 78 single pairs",
    )
    field = tables("decide", visbench())[""]
    said(f"{field['encoder'].iloc[0]}, is best with P = {short(field['p_best'].iloc[0])}")

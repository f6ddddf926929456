"""Every analysis through the command line: what it writes, what it says, what it refuses."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from virb import registry
from virb.cli import main
from virb.contracts.tables import Tables

Writer = Callable[[str], Path]

# analysis, input, options, files beside NAME.png/.svg/.csv (parts), a line it must print
CASES = [
    ("anova", "mini", [], ["levels.csv", "mixed.csv"], "balance is left out"),
    ("augmentation-matrix", "augmentations", [], [], "1 of 49 pairs have no encoder"),
    ("batch-epochs", "simclr-batches", [], [], "100 epochs: largest less smallest batch +7.300"),
    ("batch-epochs", "simclr-rules", [], ["rules.csv"], "sqrt by more than 0.5 in 9 of 24 settings"),
    ("best-vs-supervised", "figure4", [], [], "it is behind on Pets, ImageNet, ImageNetv2"),
    ("budget", "hammoud-budget", [], [], "8 flagged"),
    (
        "budget",
        "hammoud-sizes",
        ["task=TinyImageNet"],
        [],
        "the largest N is best in 7 of 7 comparisons at equal C (were all equal, in",
    ),
    ("corruption-deltas", "corruptions", [], [], ": downsample 4x for simclr"),
    ("critical-difference", "figure4", [], ["pairs.csv"], "Kendall's W"),
    ("detectable-effects", "mini", [], [], "correlations over n = 26 independent encoders"),
    (
        "distance-transfer",
        "hammoud-transfer",
        ["distances=distances.csv"],
        ["pairs.csv"],
        "it cannot fall below 0.0083; 2 data sets x 5 tasks",
    ),
    ("domain-matrix", "cole1", [], ["margins.csv"], "best on 4 of 4"),
    ("encoder-bars", "tiny", ["encoders=a,c,b"], [], "c lies between a and b on 1 of 2 tasks"),
    (
        "fusion-gain",
        "cole3",
        [],
        [],
        "fusing beats the better part in 9 of 12 cases (were all equal, in 4.0), by 0.047",
    ),
    ("linear-vs-finetuned", "two-probes", ["probes=linear,fine-tuned"], ["pairs.csv"], "over 48 pairs"),
    ("matched-pairs", "cole1", [], [], "in-domain on 4 of 4"),
    ("method-difference", "mini", ["compare=simclr,swav"], [], "simclr (n = 8) less swav (n = 8)"),
    ("noise-layers", "pretrained-twice", [], [], "seed of pretraining: sd 0.03"),
    ("normalised-violins", "figure4", ["outliers=enc01@THORDepth_negL1"], [], "left out as asked: enc01 on THORDepth"),
    ("pretext-labels", "simclr-pretext", [], [], "Rotation 0.256 (chance 0.25)"),
    ("projection-heads", "heads", [], [], "nonlinear less linear: +3.000"),
    (
        "setting-change",
        "cole-resized",
        [],
        ["pairs.csv"],
        "resized yes less no: -0.0048 on average, -0.0200 to +0.0140 over 2 pairs and 4 tasks, in fraction",
    ),
    ("size-curves", "cole-diversity", ["x=n_classes"], ["doublings.csv"], "positive in 50% of steps"),
    (
        "size-curves",
        "two-probes",
        ["x=params", "lines=init+probe"],
        ["gaps.csv"],
        "less supervised at the largest params",
    ),
    ("pooling", "cole2", [], [], "pooled sets beat the in-domain part alone in 1 of"),
    ("predictive-subset", "mini", ["max_size=3"], [], "out of sample"),
    ("rank-stability", "mini", [], [], "supervised-rooms leads"),
    ("seed-variance", "mini", [], ["shares.csv"], "mean relative difference between seeds"),
    ("size-curves", "hammoud-sizes", [], ["doublings.csv"], "positive in 100% of steps"),
    ("task-scatter", "figure4", [], [], "against ImageNet: n = 28 encoders"),
    ("task-tree", "figure4", ["resamples=50"], ["pockets.csv"], "permutation p"),
]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["analyze", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def options(given: list[str]) -> list[str]:
    return [part for option in given for part in ("--option", option)]


def check_figure(stem: Path) -> None:
    with Image.open(stem.with_suffix(".png")) as image:
        image.load()
        width, height = image.size
    assert 900 < width < 2200  # one column to a page at 300 dots an inch
    assert 200 < height < 2800
    text = stem.with_suffix(".svg").read_text()
    assert text.startswith("<?xml")
    assert "<dc:date>" not in text


@pytest.mark.parametrize(
    ("name", "given", "chosen", "parts", "line"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES]
)
def test_analysis(
    name: str,
    given: str,
    chosen: list[str],
    parts: list[str],
    line: str,
    scores_file: Writer,
    distances_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    chosen = [option.replace("distances.csv", str(distances_file)) for option in chosen]
    code, out, _ = run(capsys, name, "--results", scores_file(given), "--out", tmp_path / "out", *options(chosen))
    assert code == 0
    assert line in out
    for figure in (tmp_path / "out").glob("*.png"):
        check_figure(figure.with_suffix(""))
    assert (tmp_path / "out" / f"{name}.svg").exists() or name == "normalised-violins"
    assert not pd.read_csv(tmp_path / "out" / f"{name}.csv").empty
    for part in parts:
        assert not pd.read_csv(tmp_path / "out" / f"{name}-{part}").empty
    tables = Tables.read(tmp_path / "out", name)  # what is said comes of the files alone
    said = [*tables.notes, *registry.load("analyses", name).say(tables)]
    assert [line[2:] for line in out.splitlines() if line.startswith("  ") and "wrote " not in line] == said
    written = {line.split("wrote ")[1] for line in out.splitlines() if "wrote " in line}
    assert written == {str(path) for path in (tmp_path / "out").iterdir()}


def test_label_quantity_is_drawn_and_never_averaged(
    scores_file: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = scores_file("hammoud-labels")
    chosen = options(["x=labels", "lines=pipeline"])
    code, _, _ = run(capsys, "size-curves", "--results", source, "--out", tmp_path, *chosen)
    assert code == 0
    curves = pd.read_csv(tmp_path / "size-curves.csv")
    assert set(curves["labels"]) == {5, 10, 50, 100}
    code, _, err = run(capsys, "encoder-bars", "--results", source, "--out", tmp_path)
    assert code == 2
    assert "several values of labels" in err


@pytest.mark.parametrize("given", ["figure4", "mini", "tiny"])
def test_correlation_heatmaps(
    given: str, scores_file: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "correlation", "--results", scores_file(given), "--out", tmp_path / "out")
    assert code == 0
    for method in ("pearson", "spearman"):
        check_figure(tmp_path / "out" / f"correlation-{method}")
    table = pd.read_csv(tmp_path / "out" / "correlation.csv")
    assert {"method", "task_a", "task_b", "r", "p", "p_adjusted", "low", "high", "n"} <= set(table)
    assert table["r"].between(-1, 1).all()
    assert f"n = {table['n'][0]} encoders" in out


def test_correlation_by_families_and_by_permutation(
    scores_file: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["family=method", "adjustment=max", "resamples=300", "exclude=random-resnet18,mini-depth"]
    code, out, _ = run(
        capsys, "correlation", "--results", scores_file("mini"), "--out", tmp_path / "out", *options(chosen)
    )
    assert code == 0
    assert "Left out as asked: random-resnet18, mini-depth." in out
    table = pd.read_csv(tmp_path / "out" / "correlation.csv")
    assert set(table["interval"]) == {"bootstrap"}
    assert set(table["adjustment"]) == {"max"}
    assert "p and intervals from resampling 4 families (method) whole; with fewer than 10 both are too small" in out


def test_curves_of_two_probes_are_not_averaged(
    scores_file: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(
        capsys, "size-curves", "--results", scores_file("two-probes"), "--out", tmp_path, *options(["x=params"])
    )
    assert code == 2
    assert "lines=method+probe" in err


def test_violins_have_two_figures(scores_file: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "normalised-violins", "--results", scores_file("mini"), "--out", tmp_path)
    assert code == 0
    assert "sd over all encoders (26), ddof 0" in out
    for part in ("category", "encoder"):
        check_figure(tmp_path / f"normalised-violins-{part}")


def test_catalogue_lists_tasks_and_encoders(
    scores_file: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, _ = run(capsys, "catalogue", "--results", scores_file("mini"), "--out", tmp_path)
    assert code == 0
    assert len(pd.read_csv(tmp_path / "catalogue-tasks.csv")) == 9
    assert len(pd.read_csv(tmp_path / "catalogue-encoders.csv")) == 26


@pytest.mark.parametrize(
    ("name", "chosen", "line"),
    [
        ("significance", [], "not significantly worse than the best: ssl-3 on 4"),
        ("significance", ["correction=holm"], "found four times in five would be"),
        ("superclasses", ["task=objects", "groups=tree.csv"], "of 3 groups"),
        ("noise-layers", [], "seed of pretraining: unknown"),
        ("class-deltas", ["task=objects", "groups=tree.csv"], "by pair: most gained by"),
        ("hard-classes", ["encoders=sup,ssl-3"], "Spearman of per-class accuracies"),
        ("granularity", ["task=objects", "hierarchy=tree.csv"], "pair (3 classes)"),
    ],
)
def test_analyses_of_single_predictions(
    name: str, chosen: list[str], line: str, results_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = tmp_path / "tree.csv"
    tree.write_text("class,pair,half\n0,a,x\n1,a,x\n2,b,x\n3,b,x\n4,c,y\n5,c,y\n")
    chosen = [option.replace("tree.csv", str(tree)) for option in chosen]
    code, out, _ = run(capsys, name, "--results", results_folder, "--out", tmp_path / "out", *options(chosen))
    assert code == 0
    assert line in out
    check_figure(tmp_path / "out" / name)


def test_accuracies_of_class_analyses_are_those_of_the_predictions(
    results_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    run(
        capsys,
        "class-deltas",
        "--results",
        results_folder,
        "--out",
        tmp_path,
        "--option",
        "a=random",
        "--option",
        "b=sup",
    )
    table = pd.read_csv(tmp_path / "class-deltas.csv").set_index("class")
    arrays = np.load(results_folder / "sup" / "objects" / "gradient-seed0.npz")
    assert table.loc[2, "accuracy_b"] == pytest.approx(np.mean((arrays["prediction"] == 2)[arrays["target"] == 2]))


def test_the_same_input_gives_the_same_bytes(
    scores_file: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = scores_file("tiny")
    for folder in ("one", "two"):
        run(capsys, "correlation", "--results", source, "--out", tmp_path / folder)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_all_on_the_smallest_input(scores_file: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "all", "--results", scores_file("tiny"), "--out", tmp_path / "out", "--json")
    assert code == 0
    reports = {report["name"]: report for report in json.loads(out)}
    assert set(reports) == set(registry.names("analyses"))
    done = {name for name, report in reports.items() if report["status"] == "done"}
    assert {"correlation", "critical-difference", "encoder-bars", "task-scatter", "catalogue"} <= done
    for report in reports.values():
        assert report["status"] in ("done", "skipped")
        assert bool(report["reason"]) == (report["status"] == "skipped")
        assert all(Path(file).exists() for file in report["files"])
    assert "column" in reports["method-difference"]["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("given", [pytest.param("figure4", marks=pytest.mark.long), "mini"])
def test_all_on_whole_studies(
    given: str,
    scores_file: Writer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Writing forty pictures of print size takes longer than all analyses; their size is tested one by one above.
    monkeypatch.setattr("virb.figures.plots.DPI", 60)
    code, out, _ = run(capsys, "all", "--results", scores_file(given), "--out", tmp_path / "out")
    assert code == 0
    assert "0 failed" in out


def test_one_broken_analysis_does_not_stop_the_others(
    scores_file: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    part = """from virb.contracts.analysis import Analysis

def compute(scores, notes):
    {0}

ANALYSIS = Analysis("{1}", "s", "-", compute, draw=lambda tables: {{}}, say=lambda tables: ["fine"])
"""
    (folder / "breaks.py").write_text(part.format("raise ValueError('own fault')", "breaks"))
    (folder / "works.py").write_text(part.format("return {'': scores}", "works"))
    (folder / "syntax.py").write_text("ANALYSIS = (\n")
    monkeypatch.setenv("VIRB_INCLUDE", str(folder))
    names = registry.names
    monkeypatch.setattr(registry, "names", lambda kind: [n for n in names(kind) if n in ("breaks", "syntax", "works")])
    code, out, err = run(capsys, "all", "--results", scores_file("tiny"), "--out", tmp_path / "out")
    assert code == 1
    assert "ValueError: own fault" in err
    assert "syntax.py" in err
    assert "1 done, 0 skipped, 2 failed" in out
    assert (tmp_path / "out" / "works.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["corelation"], "correlation"),
        (["correlation", "--option", "alhpa=1"], "alpha"),
        (["correlation", "--option", "alpha=small"], "alpha"),
        (["correlation", "--option", "interval=exact"], "fisher, bootstrap"),
        (["correlation", "--option", "alpha"], "NAME=VALUE"),
        (["all", "--option", "alhpa=1"], "alpha"),
        (["all", "--option", "missing=some"], "drop-tasks"),
        (["correlation", "--option", "exclude=c"], "found 2"),
        (["correlation", "--option", "exclude=z"], "z"),
        (["method-difference"], "method"),
        (["significance"], "metric"),
        (["best-vs-supervised"], "reference=ENCODER"),
    ],
)
def test_what_cannot_be_done_exits_with_two(
    arguments: list[str], named: str, scores_file: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, *arguments, "--results", scores_file("tiny"), "--out", tmp_path / "out")
    assert code == 2
    assert named in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("encoder,task,score\na,x,0.1\na,y,nan\n", "a on y"),
        ("encoder,task,score\na,x,.1\na,y,.2\nb,x,.3\nc,x,.5\nc,y,.4\n", "b on y"),
    ],
)
def test_bad_scores_are_named(text: str, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    code, _, err = run(capsys, "correlation", "--results", path, "--out", tmp_path / "out")
    assert code == 2
    assert named in err


def test_missing_cells_can_be_left_out_and_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gaps.csv"
    rows = [f"e{k},{t},0.{k}{len(t)}" for k in range(5) for t in ("x", "yy", "zzz") if (k, t) != (2, "yy")]
    path.write_text("encoder,task,score\n" + "\n".join(rows).replace("0.3", "0.9") + "\n")
    code, out, _ = run(
        capsys, "correlation", "--results", path, "--out", tmp_path / "out", "--option", "missing=drop-encoders"
    )
    assert code == 0
    assert "Left out because a score is missing: e2 (e2 on yy)." in out
    assert "n = 4 encoders" in out


def test_an_output_that_cannot_be_written(
    scores_file: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    code, _, err = run(capsys, "correlation", "--results", scores_file("tiny"), "--out", tmp_path / "file")
    assert code == 2
    assert "Cannot write" in err


def test_options_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "correlation", "--results", "-", "--option", "help")
    assert code == 0
    assert "adjustment=bh" in out
    assert "missing=fewest" in out


def test_every_analysis_declares_itself() -> None:
    names = registry.names("analyses")
    assert len(names) >= 25
    for entry in registry.entries("analyses"):
        analysis = registry.load("analyses", entry.name)
        assert analysis.summary
        assert analysis.source
        assert entry.summary.endswith((".", "?"))
        assert len({option.name for option in analysis.options}) == len(analysis.options)
        for option in analysis.options:
            assert option.help
            option.parse(option.default)


def test_the_documentation_names_every_analysis_and_no_other() -> None:
    text = (Path(__file__).parents[2] / "docs" / "analyses.md").read_text()
    tables = [block for block in text.split("\n\n") if block.startswith("| analysis ")]
    named = {line.split("|")[1].strip() for block in tables for line in block.splitlines()[2:]}
    assert named == set(registry.names("analyses"))


def test_the_documentations_own_example_works(
    tmp_path: Path, scores_file: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRB_INCLUDE", "")  # --include sets it; this puts it back
    text = (Path(__file__).parents[2] / "docs" / "analyses.md").read_text()
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "my_table.py").write_text(text.split("```python\n")[1].split("```")[0])
    code = main(
        ["analyze", "my-table", "--include", str(folder), "--results", str(scores_file("tiny")), "--out", str(tmp_path)]
    )
    assert code == 0
    assert len(pd.read_csv(tmp_path / "my-table.csv")) == 3


def test_the_papers_probes_are_compared_by_default_whatever_was_overridden(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"encoder": encoder, "task": "t", "probe": probe, "seed": seed, "score": 0.1 * k + gain}
        for k, encoder in enumerate("abcd")
        for probe, seeds, gain in (("finetune+epochs=10", 1, 0.3), ("gradient", 1, 0.0), ("lbfgs", 3, 0.1))
        for seed in range(seeds)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "s.csv", index=False)
    code, out, _ = run(capsys, "linear-vs-finetuned", "--results", tmp_path / "s.csv", "--out", tmp_path / "out")
    assert code == 0
    assert "drawn are gradient and finetune+epochs=10" in out
    table = pd.read_csv(tmp_path / "out" / "linear-vs-finetuned.csv")
    assert table["mean_gain"].round(6).tolist() == [0.3]


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_probes_are_compared_over_tasks_of_one_unit(
    scale: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Errors in pixels, however large, do not decide the correlation of two probes' accuracies over all pairs."""
    knn = {"t": (0.5, 0.3, 0.4), "u": (0.2, 0.6, 0.1), "errors": (20.0, 30.0, 25.0)}
    rows = [
        {"encoder": encoder, "task": task, "probe": probe, "score": score, "unit": unit}
        for task, unit in (("t", "fraction"), ("u", "fraction"), ("errors", "pixel"))
        for k, encoder in enumerate("abc")
        for probe, score in (("knn", knn[task][k] * (scale if unit == "pixel" else 1)), ("gradient", 0.1 * k))
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "s.csv", index=False)
    code, out, _ = run(capsys, "linear-vs-finetuned", "--results", tmp_path / "s.csv", "--out", tmp_path / "out")
    assert code == 0
    expected = statistics.correlation(knn["t"] + knn["u"], (0.0, 0.1, 0.2) * 2)
    assert f"r = {expected:.2f} over 6 pairs" in out
    assert "left out: errors (pixel)" in out
    assert len(pd.read_csv(tmp_path / "out" / "linear-vs-finetuned.csv")) == 3


LEVELS = "".join(
    f"{encoder},inat21,{level},{score},{n}\n"
    for encoder, scores in (("simclr", (0.3, 0.5, 0.96)), ("byol", (0.4, 0.55, 0.97)))
    for level, score, n in zip(("Species", "Family", "Kingdom"), scores, (10_000, 1_103, 3), strict=True)
)
CLASSES = "".join(
    f"{e},t,c{k},{(k * 7 + s) % 10 / 10},20\n" for s, e in enumerate(("one", "two", "three")) for k in range(8)
)


@pytest.mark.parametrize(
    ("name", "table", "chosen", "line"),
    [
        ("granularity", "encoder,task,level,score,n_classes\n" + LEVELS, [], "Family (1103 classes): best byol, accuracy 0.550"),
        ("hard-classes", "encoder,task,class,score,n\n" + CLASSES, [], "Spearman of per-class accuracies"),
        ("class-deltas", "encoder,task,class,score,n\n" + CLASSES, ["a=one", "b=two"], "so no class is tested"),
        ("class-deltas", "encoder,task,class,score,m\n" + CLASSES, [], "of 8 classes improve"),
        ("superclasses", "encoder,task,class,score,n\n" + CLASSES, ["groups=tree.csv"], "of 2 groups"),
    ],
)  # fmt: skip
def test_published_tables_of_levels_and_classes_are_drawn(
    name: str, table: str, chosen: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cole et al. 2022 print accuracies by level; nobody prints predictions."""
    (tmp_path / "scores.csv").write_text(table)
    tree = tmp_path / "tree.csv"
    tree.write_text("class,half\n" + "".join(f"c{k},{'ab'[k % 2]}\n" for k in range(8)))
    chosen = [option.replace("tree.csv", str(tree)) for option in chosen]
    code, out, err = run(
        capsys, name, "--results", tmp_path / "scores.csv", "--out", tmp_path / "out", *options(chosen)
    )
    assert code == 0, err
    assert line in out
    check_figure(tmp_path / "out" / name)

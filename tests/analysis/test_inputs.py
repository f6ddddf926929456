"""Every analysis has a producer: docs/analyses.md names its commands, and they leave the columns that it needs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from virb import registry
from virb.cli import build_parser, main
from virb.records.store import ResultStore

PAGE = (Path(__file__).parents[2] / "docs" / "analyses.md").read_text(encoding="utf-8")
SECTION = PAGE.split("<!-- inputs: begin -->")[1].split("<!-- inputs: end -->")[0]
ROWS = [line.strip("|").split("|") for line in SECTION.splitlines() if line.startswith("| ") and "---" not in line][1:]
ANALYSES = [registry.load("analyses", name) for name in registry.names("analyses")]


def test_every_analysis_has_a_row_and_every_command_is_one():
    named = [name.strip() for first, _ in ROWS for name in first.split(",")]
    missing = {analysis.name for analysis in ANALYSES} - set(named)
    assert not missing, (
        f"docs/analyses.md, 'Where the input comes from', needs a command for {', '.join(sorted(missing))}"
    )
    assert len(named) == len(ANALYSES)
    parser = build_parser()
    for command in re.findall(r"`virb ([^`]*)`", SECTION):
        parser.parse_args(shlex.split(command.split(" > ")[0]))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The table of two encoders that virb pretrain made in one step each, evaluated by virb evaluate."""
    folder = tmp_path_factory.mktemp("inputs")
    for k in range(8):
        pixels = np.random.default_rng(k).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        (folder / "photos" / "abcd"[k % 4]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "photos" / "abcd"[k % 4] / f"{k}.png")
    common = (
        f"--data {folder}/photos --size 16 --arch-option width=0.125 --epochs 1 --batch-size 4 --device cpu --quiet"
    )
    for name, more in (("a", "--option augment=crop+jitter"), ("b", "--corrupt jpeg --seed 1")):
        assert main(shlex.split(f"pretrain simclr {common} {more} --out {folder}/{name}.pt")) == 0
    (folder / "meta.csv").write_text("encoder,parts\na,a+b\n")
    command = f"evaluate {folder}/a.pt {folder}/b.pt --tasks mini-digits --limit 20 --epochs 1 --seeds 2 --device cpu"
    assert main(shlex.split(f"{command} --meta {folder}/meta.csv --out {folder}/results")) == 0
    found = ResultStore(folder / "results").table()
    found.attrs["results"] = str(folder / "results")
    return found


@pytest.mark.slow
def test_the_commands_leave_every_column_that_an_analysis_needs(table):
    lacking = {}
    for analysis in ANALYSES:
        why = analysis.reason_not_to_run(table)
        if why is not None and not re.match(r"it needs at least \d+ (encoder|task)s", why):
            lacking[analysis.name] = why
    assert lacking == {}
    first = table[table["encoder"] == "a"].iloc[0]
    assert (first["augmentation_a"], first["augmentation_b"], first["corruption"]) == ("crop", "jitter", "none")
    assert set(table["lr_rule"]) == {"linear"}

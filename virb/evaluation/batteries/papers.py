"""The battery of a paper: its names agree, its tables are there, what it names can be found, and its claims answer."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from virb import registry
from virb.contracts.paper import Answer, Evidence, Paper
from virb.errors import ScoresError
from virb.evaluation.batteries.common import Checks, must
from virb.pretraining.recipes import read_recipe


def paper_checks(paper: Paper) -> Checks:
    """Return the checks, which read its files and train nothing."""

    def names() -> str:
        problems = list(paper.problems())
        must(not problems, "; ".join(problems))
        return f"{len(paper.tables)} tables, {len(paper.parts)} parts, {len(paper.claims)} claims"

    def tables() -> str:
        n = 0
        for table in paper.tables:
            frame = table.read(paper.folder)
            lacking = {"encoder", "task", "score"} - set(frame)
            must(not lacking, f"the table {table.name} has no column {', '.join(sorted(lacking))}.")
            must(len(frame) > 0, f"the table {table.name} has no rows.")
            n += len(frame)
        return f"{n} cells"

    def analyses() -> str:
        for part in paper.parts:
            if not part.analysis:
                continue
            analysis = registry.load("analyses", part.analysis)
            for scale in part.scales:
                analysis.parse_options(part.options_at(scale))
        return ", ".join(sorted({part.analysis for part in paper.parts if part.analysis}))

    def tasks() -> str:
        suites = {entry.group for entry in registry.entries("tasks")}
        known = set(registry.names("tasks"))
        named = {name for scale in paper.scales.values() for group in scale.tasks.values() for name in group}
        for name in sorted(named):
            kind, _, suite = name.partition(":")
            must(suite in suites if kind == "suite" else name in known, f"there is no end task {name!r}.")
        return f"{len(named)} tasks and suites"

    def recipes() -> str:
        n = 0
        for name, scale in paper.scales.items():
            wanted = {member.recipe_line for member in scale.members()} - {""}
            if not wanted:
                continue
            runs = read_recipe(recipe_path(paper, scale.recipe))
            must(
                wanted <= set(runs),
                f"scale {name}: {scale.recipe} has no encoder {', '.join(sorted(wanted - set(runs)))}.",
            )
            for run in runs.values():
                registry.load("methods", run["method"]).at(run.get("arch", "resnet18")).resolve(run["options"])
            n += len(wanted)
        return f"{n} encoders to pretrain"

    def answers() -> str:
        printed, nothing = paper.published(), Evidence({})
        for claim in paper.claims:
            for given in (printed, nothing):
                try:
                    found = claim.test(given)
                except ScoresError as error:
                    must(len(str(error)) > 15, f"the claim {claim.name} ends with {str(error)!r}, which says nothing.")
                    continue
                must(isinstance(found, Answer), f"the claim {claim.name} gives {found!r}; expected an Answer.")
                must(given is printed, f"the claim {claim.name} answers where there are no tables.")
                must(found.n > 0, f"the claim {claim.name} has an answer of n = {found.n}.")
        return f"{len(paper.claims)} claims"

    return [
        ("names agree", names),
        ("published tables are there", tables),
        ("analyses take their options", analyses),
        ("end tasks can be found", tasks),
        ("recipes make its encoders", recipes),
        ("claims answer", answers),
    ]


def recipe_path(paper: Paper, name: str) -> Path:
    """Where a scale's recipe lies: beside the paper's file, else among those that come with virb."""
    own = Path(paper.file).with_name(name)
    if own.is_file():
        return own
    spec = importlib.util.find_spec("virb.pretrain")
    places = [Path(place) / "recipes" / name for place in (spec.submodule_search_locations or [])] if spec else []
    return next((place for place in places if place.is_file()), own)

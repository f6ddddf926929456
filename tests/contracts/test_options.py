"""One list of options: the command line's flags, the Python signature and the workers all follow it."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

import virb
from virb import probes, registry
from virb.cli.common import add_run_flags, run_options
from virb.contracts.examples import DataContext
from virb.contracts.options import RunOptions
from virb.contracts.parts import Option
from virb.errors import RegistryError, UsageError, VirbError, spoken_as_command
from virb.evaluation import run as evaluation
from virb.evaluation.about import check_meta
from virb.records.store import ResultStore
from virb.system import devices


def parsed(*argv: str) -> RunOptions:
    parser = argparse.ArgumentParser()
    add_run_flags(parser)
    return run_options(parser.parse_args(argv))


def test_the_python_signature_has_every_option_with_its_default() -> None:
    found = inspect.signature(virb.evaluate).parameters
    for field in dataclasses.fields(RunOptions):
        assert found[field.name].default == field.default, field.name
        assert found[field.name].kind is inspect.Parameter.KEYWORD_ONLY


def test_the_command_line_has_every_option_with_its_default() -> None:
    assert parsed() == RunOptions()
    said = [
        "--out",
        "x",
        "--seeds",
        "3",
        "--probe",
        "knn",
        "--device",
        "cpu",
        "--executor",
        "dask",
        "--optimizer",
        "sgd",
    ]
    said += ["--lr", "0.1", "--limit", "5", "--epochs", "2", "--dtype", "bf16", "--skip-corrupt", "--cache-gb", "1"]
    said += ["--cache-limit", "2", "--label-fraction", "1,.1", "--labels-per-class", "5", "--batch-size", "9"]
    said += [
        "--weight-decay",
        "0",
        "--weight-decay-on",
        "head",
        "--k",
        "auto",
        "--temperature",
        "1",
        "--memory-patches",
        "9",
        "--penalties",
        "all",
        "--compile",
    ]
    options = parsed(*said)
    other = dataclasses.replace(options, epochs=None, steps=7)
    assert all(
        getattr(options, field.name) != field.default or getattr(other, field.name) != field.default
        for field in dataclasses.fields(RunOptions)
    )
    assert options.overrides() == {
        "optimizer": "sgd", "lr": 0.1, "limit": 5, "epochs": 2, "dtype": "bf16", "skip_corrupt": 1, "batch_size": 9,
        "weight_decay": 0.0, "weight_decay_on": "head", "k": "auto", "temperature": 1.0, "memory_patches": 9,
        "penalties": "all", "compile": 1,
    }  # fmt: skip
    assert parsed("--k", "5").k == 5


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seeds": 0}, "seeds= must be at least 1; found 0"),
        ({"seeds": "3"}, "seeds= must be a whole number; found '3'"),
        ({"seeds": True}, "seeds= must be a whole number"),
        ({"lr": float("nan")}, "lr= must be a number above 0"),
        ({"cache_limit_gb": -1}, "cache_limit_gb= must be a number of at least 0"),
        ({"dtype": "bf17"}, "Unknown dtype 'bf17'"),
        ({"k": "few"}, "k= must be a whole number or auto; found 'few'"),
        ({"weight_decay": -1.0}, "weight_decay= must be a number of at least 0"),
        ({"skip_corrupt": 1}, "skip_corrupt= must be true or false"),
    ],
)
def test_values_that_make_no_sense_are_named_as_the_caller_wrote_them(given: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        RunOptions(**given)  # type: ignore[arg-type]
    (name,) = given
    flag = {"cache_limit_gb": "--cache-limit"}.get(name, f"--{name.replace('_', '-')}")
    with spoken_as_command(), pytest.raises(UsageError) as error:
        RunOptions(**given)  # type: ignore[arg-type]
    assert flag in str(error.value)


def test_a_path_is_text_at_the_door(tmp_path: Path) -> None:
    assert RunOptions(out=tmp_path).out == str(tmp_path)  # type: ignore[arg-type]


def _writes(folder: Path) -> None:
    (folder / "file").write_text("")
    ResultStore(folder / "file" / "results").check_writable()


REFUSED: dict[str, Callable[[Path], object]] = {
    "device": lambda folder: devices.resolve("cuda:99"),
    "data": lambda folder: DataContext().place("pets"),
    "out": _writes,
    "probe": lambda folder: probes.check_options(probes.find("knn"), {"lr": 0.1}),
    "lr": lambda folder: probes.check_options(probes.find("finetune"), {"optimizer": "adam"}),
    "include": lambda folder: registry.include(folder / "absent"),
    "executor": lambda folder: evaluation.find_executor("dask:"),
    "meta": lambda folder: check_meta({"a": {"role": "king"}}, ["a"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_names_the_argument_in_python_and_the_flag_on_the_command_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VIRB_DATA", raising=False)
    with pytest.raises(VirbError) as error:
        REFUSED[name](tmp_path)
    assert "--" not in str(error.value)
    if name in ("executor", "meta"):  # they quote what was given
        return
    assert f"{name}=" in str(error.value)
    with spoken_as_command(), pytest.raises(VirbError, match=f"--{name}"):
        REFUSED[name](tmp_path / ".")


def test_choices_in_the_place_of_the_type_are_named():
    with pytest.raises(RegistryError, match="choices="):
        Option("kind", "a", "", ("a", "b"))

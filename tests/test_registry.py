"""Content is found by file, in all places alike, and errors name the file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from virb import registry
from virb.errors import BrokenPart, RegistryError

TASK = '''"""A test task."""
from virb.contracts.task import Category, Protocol, Task

TASK = Task(
    name="{name}", summary="a test task", category=Category.SEMANTIC_IMAGE, head="linear", loss="cross_entropy",
    metric="top1", data=lambda context, split: None, classes=2, protocol=Protocol(epochs=1),
)
'''


def write_task(folder: Path, stem: str, name: str | None = None) -> Path:
    path = folder / f"{stem}.py"
    path.write_text(TASK.format(name=name or stem.replace("_", "-")))
    return path


def test_built_in_tasks_are_found_with_their_suite():
    found = {entry.name: entry for entry in registry.entries("tasks")}
    assert found["mini-digits"].group == "mini"
    assert found["mini-digits"].origin == "built-in"
    assert registry.load("tasks", "mini-digits").n_classes == 10


def test_every_built_in_file_loads():
    for kind in registry.KINDS:
        for name in registry.names(kind):
            assert registry.load(kind, name).name in (name, name.replace("_", "-"))


def test_a_folder_of_ones_own_is_found_one_level_down_too(content_folder):
    write_task(content_folder, "my_task")
    (content_folder / "suite").mkdir()
    write_task(content_folder / "suite", "other")
    registry.include(content_folder)
    assert registry.load("tasks", "my-task").summary == "a test task"
    assert registry.find("tasks", "other").group == "suite"
    assert registry.find("tasks", "my-task").origin == f"folder {content_folder.resolve()}"


def test_include_reaches_worker_processes_through_the_environment(content_folder):
    write_task(content_folder, "my_task")
    registry.include(content_folder)
    code = "from virb import registry; print(registry.load('tasks', 'my-task').name)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert printed.stdout.strip() == "my-task"


def test_an_installed_package_offers_content_by_entry_point(tmp_path, monkeypatch):
    package = tmp_path / "acme_tasks"
    package.mkdir()
    (package / "__init__.py").write_text("")
    write_task(package, "acme_task")
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[virb.tasks]\nacme = acme_tasks\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = registry.find("tasks", "acme-task")
    assert entry.origin == "entry point acme of acme"
    assert registry.load("tasks", "acme-task").name == "acme-task"


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(RegistryError, match=r"Unknown end task 'mini-digit'\. Did you mean 'mini-digits'"):
        registry.load("tasks", "mini-digit")


def test_an_unknown_name_asks_for_the_folder_of_ones_own_parts_where_none_is_named(content_folder, monkeypatch):
    monkeypatch.setenv("VIRB_INCLUDE", str(content_folder))
    with pytest.raises(RegistryError) as named:
        registry.find("tasks", "flowerz")
    monkeypatch.delenv("VIRB_INCLUDE")
    with pytest.raises(RegistryError, match="--include FOLDER"):
        registry.find("tasks", "flowerz")
    assert "--include" not in str(named.value)


def test_a_broken_file_is_named_with_the_reason_and_the_rest_works(content_folder):
    (content_folder / "broken.py").write_text("import no_such_module\nTASK = None\n")
    (content_folder / "syntax.py").write_text("TASK = (\n")
    write_task(content_folder, "fine")
    registry.include(content_folder)
    with pytest.raises(RegistryError, match=r"broken\.py could not be loaded: ModuleNotFoundError: .*no_such_module"):
        registry.load("tasks", "broken")
    with pytest.raises(RegistryError, match=r"syntax\.py could not be loaded: SyntaxError"):
        registry.load("tasks", "syntax")
    assert registry.load("tasks", "fine")


def test_a_clash_costs_the_two_files_that_clash_and_names_both(content_folder, capsys):
    write_task(content_folder, "mini_digits")
    write_task(content_folder, "fine")
    registry.include(content_folder)
    both = r"(?s)Two end task files.*tasks/mini/mini_digits\.py.*my-content"
    for _ in range(2):
        assert {"fine", "mini-scene"} <= set(registry.names("tasks"))
        with pytest.raises(BrokenPart, match=both):
            registry.load("tasks", "mini-digits")
    assert registry.load("tasks", "fine")
    assert len(re.findall(both, capsys.readouterr().err)) == 1, "said once"
    loaded, problems = registry.load_all(registry.entries("tasks"))
    assert "mini-digits" not in {task.name for task in loaded}
    assert len(problems) == 1


@pytest.mark.parametrize("end", ["import sys\nsys.exit(3)", "raise SystemExit", "quit()", "1 / 0", "raise NameError"])
@pytest.mark.parametrize(("kind", "attribute"), [(kind, k.attribute) for kind, k in registry.KINDS.items()])
def test_a_file_that_ends_the_program_costs_only_itself(content_folder, kind, attribute, end):
    (content_folder / "ends.py").write_text(f"{end}\n{attribute} = None\n")
    registry.include(content_folder)
    with pytest.raises(BrokenPart, match=r"ends\.py could not be loaded"):
        registry.load(kind, "ends")


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["pets", "ends"])
def test_the_command_line_lists_and_runs_the_good_beside_the_broken(content_folder, tmp_path, capsys, broken):
    from PIL import Image

    from virb.cli import main

    for path in (tmp_path / "data" / split / name for split in ("train", "test") for name in ("a", "b")):
        path.mkdir(parents=True)
        for k in range(2):
            Image.fromarray(
                np.random.default_rng([k, *map(ord, str(path))]).integers(0, 256, (8, 8, 3), np.uint8)
            ).save(path / f"{k}.png")
    reads = "from virb.images.folders import image_folder\n"
    text = reads + TASK.format(name="good").replace("lambda context, split: None", 'image_folder("good")')
    (content_folder / "good.py").write_text(text.replace("classes=2", 'classes=("a", "b")'))
    ends = "import sys\nsys.exit(3)\nTASK = None\n"
    (content_folder / f"{broken}.py").write_text(TASK.format(name="pets") if broken == "pets" else ends)
    include = ["--include", str(content_folder)]
    assert main(["list", "tasks", *include]) == 0
    printed = capsys.readouterr()
    assert re.search(r"^\s*good\b", printed.out, re.MULTILINE)
    assert printed.err.count(str(content_folder / f"{broken}.py")) == 1, "named, once"
    run = ["evaluate", "pixels:8:size=8", *include, "--data", f"good={tmp_path / 'data'}", "--probe", "knn"]
    assert main([*run, "--tasks", "good", "--out", str(tmp_path / "good")]) == 0
    assert main([*run, "--tasks", f"{broken},good", "--out", str(tmp_path / "both")]) == 1
    assert f"FAILED {broken}" in capsys.readouterr().err
    assert list((tmp_path / "both").rglob("*-seed0.json"))
    assert main([*run, "--tasks", broken, "--out", str(tmp_path / "none")]) == 2


def test_the_declared_name_must_be_the_files(content_folder):
    write_task(content_folder, "one", name="another")
    registry.include(content_folder)
    with pytest.raises(RegistryError, match=r"TASK\.name is 'another', but the file's name makes it 'one'"):
        registry.load("tasks", "one")


def test_what_has_no_name_is_no_part(content_folder):
    (content_folder / "three.py").write_text('"""Three."""\nTASK = 3\n')
    registry.include(content_folder)
    with pytest.raises(RegistryError, match=r"three\.py: TASK is int without a name"):
        registry.load("tasks", "three")


@pytest.mark.parametrize("make", [lambda d: d / "absent", lambda d: d])
def test_include_refuses_a_folder_without_content(content_folder, make):
    (content_folder / "notes.py").write_text("x = 1\n")
    with pytest.raises(RegistryError, match="include="):
        registry.include(make(content_folder))


@pytest.mark.parametrize("argv", [["--help"], ["list", "tasks", "--json"], ["list", "methods"], ["list", "analyses"]])
def test_listing_imports_nothing_heavy(argv):
    code = (
        "import sys; from virb.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pandas', 'matplotlib', 'scipy', 'sklearn', 'timm'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


SETTLED_S = 0.03  # longer than the tick in which a file system counts time


@pytest.fixture
def settled(content_folder, monkeypatch):
    """A folder with a task, and one below it with another, that are not listed again; and which folders are."""
    from virb.system import files, listing

    monkeypatch.setattr(files, "SETTLED_NS", SETTLED_S / 2 * 1e9)
    below = content_folder / "below"
    below.mkdir()
    write_task(content_folder, "one")
    write_task(below, "two")
    time.sleep(SETTLED_S)
    registry.include(content_folder)
    listed = []
    look = listing._listing_of
    monkeypatch.setattr(listing, "_listing_of", lambda folder: listed.append(folder) or look(folder))
    return content_folder, below, listed


def test_a_folder_that_stays_as_it_is_is_listed_once(settled):
    _, _, listed = settled
    for _ in range(5):
        assert registry.find("tasks", "one").name == "one"
        assert registry.find("metrics", "top1").is_built_in
        assert {"one", "two"} <= set(registry.names("tasks"))
    assert listed == []  # include() has listed it


def test_what_changes_in_a_folder_is_seen_in_the_same_process(settled, tmp_path):
    top, below, listed = settled
    other = tmp_path / "given-later"
    other.mkdir()
    write_task(other, "four")

    def find(name: str) -> registry.Entry:
        """Look twice, the second time without listing anything, after which a change cannot be in the same tick."""
        time.sleep(SETTLED_S)
        first = registry.find("tasks", name)
        listed.clear()
        assert registry.find("tasks", name) == first
        assert listed == []
        return first

    assert find("two").path.parent == below.resolve()
    write_task(below, "three")
    assert find("three").group == "below"
    write_task(top, "two")
    with pytest.raises(BrokenPart, match="Two end task files are called 'two'"):
        find("two")
    (below / "two.py").unlink()
    assert find("two").path.parent == top.resolve()
    (top / "one.py").write_text("nothing = 1\n")  # the folder is as it was, the file is not
    with pytest.raises(RegistryError, match="Unknown end task 'one'"):
        find("one")
    write_task(top, "one")
    assert find("one").name == "one"
    with pytest.raises(RegistryError, match="Unknown end task 'four'"):
        find("four")
    registry.include(other)
    assert find("four").origin == f"folder {other.resolve()}"
    (top / "new").mkdir()
    write_task(top / "new", "five")
    assert find("five").group == "new"
    below.rename(tmp_path / "elsewhere")
    with pytest.raises(RegistryError, match="Unknown end task 'three'"):
        find("three")


def test_a_folder_that_changed_a_moment_ago_is_listed_each_time(content_folder):
    from virb.system import listing

    write_task(content_folder, "one")
    registry.include(content_folder)
    assert os.fspath(content_folder.resolve()) not in listing._known  # its times might not show what is added now


def test_a_name_with_underscores_finds_the_part_that_is_called_so_alone(content_folder):
    for stem in ("my_loss", "my-loss"):
        (content_folder / f"{stem}.py").write_text(f"LOSS = '{stem}'\n")
    registry.include(content_folder)
    assert registry.find("losses", "my_loss").path.name == "my_loss.py"
    assert registry.find("losses", "my-loss").path.name == "my-loss.py"

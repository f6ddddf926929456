"""What a run shows while it runs: what is left of the whole, and nothing twice."""

from __future__ import annotations

import pytest

from virb.system import progress as module
from virb.system.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def test_what_is_left_is_of_the_whole_and_by_what_it_costs(clock, capsys):
    with Progress() as shown:
        shown.set_jobs(4, work=100.0)
        with shown.stage("a long stage"):
            clock.now = 10.0
            shown.job_done()  # a quarter of the jobs, a tenth of the work
            shown.work_done(10.0)
    assert capsys.readouterr().err == "a long stage: 10 s [1 of 4 jobs, about 1 min 30 s left in all]\n"


def test_jobs_count_alike_where_nothing_is_said_of_their_cost(clock, capsys):
    with Progress() as shown:
        shown.set_jobs(4)
        with shown.stage("stage"):
            clock.now = 10.0
            shown.job_done()
    assert "about 30 s left in all" in capsys.readouterr().err


def test_a_long_stage_says_how_far_it_is_and_no_time_of_its_own(clock, capsys):
    with Progress() as shown:
        shown.set_jobs(2)
        shown.job_done()
        with shown.stage("encode") as advance:
            advance(1, 100)
            clock.now = 20.0
            advance(50, 100)
            advance(60, 100)  # not 15 s later
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "encode: 50 of 100 [1 of 2 jobs, about 20 s left in all]",
        "encode: 20 s [1 of 2 jobs, about 20 s left in all]",
    ]


def test_a_short_stage_says_nothing_and_too_little_gives_no_estimate(clock, capsys):
    with Progress() as shown:
        shown.set_jobs(2)
        shown.job_done()
        with shown.stage("short"):
            clock.now = 0.5
        with shown.stage("longer"):
            clock.now = 2.0
    assert capsys.readouterr().err == "longer: 2 s [1 of 2 jobs]\n"


def test_quiet_says_nothing_and_remembers_nothing_twice(capsys):
    with Progress(is_quiet=True) as shown:
        shown.note("something")
        with shown.stage("stage") as advance:
            advance(1, 2)
    assert capsys.readouterr().err == ""
    assert "something" not in shown.told


def test_on_a_terminal_there_are_bars_with_what_is_left_of_the_whole(clock, monkeypatch):
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    monkeypatch.setattr("sys.stderr", out)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with Progress() as shown:
        shown.set_jobs(4)
        clock.now = 10.0
        shown.job_done()
        with shown.stage("encode") as advance:
            advance(1, 2)
            shown.note("a line that stays")
            shown._live.refresh()
    text = out.getvalue()
    assert "about 30 s left in all" in text
    assert "a line that stays" in text


def test_a_kernel_without_widgets_gets_plain_lines(monkeypatch):
    import types

    class ZMQInteractiveShell:
        pass

    fake = types.SimpleNamespace(get_ipython=ZMQInteractiveShell)
    monkeypatch.setitem(module.sys.modules, "IPython", fake)
    for has_widgets in (False, True):
        monkeypatch.setattr(module.importlib.util, "find_spec", lambda name, has=has_widgets: has or None)
        assert Progress().has_bars == has_widgets

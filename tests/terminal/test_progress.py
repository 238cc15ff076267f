"""The line of progress: what it shows, and from when on it counts."""

import io
import re
import time

import pytest

from pemt_tf.terminal.progress import Progress, duration


@pytest.mark.parametrize(("seconds", "shown"), [(0.9, "0:00"), (65, "1:05"), (3723, "1:02:03")])
def test_durations(seconds, shown):
    assert duration(seconds) == shown


def test_rate_is_in_units_and_leaves_out_what_came_before_the_clock(monkeypatch):
    """Steps 11 to 20 of 40 in 5 s, 8 clips each: 16 clips/s, and 10 s for the other 20."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    progress = Progress("train", 40, "clips", done=9, stream=stream, units_per_step=8)
    now[0] += 50  # compiling
    progress.restart_clock(10)
    now[0] += 5
    progress.update(20, "loss 1.000")
    assert stream.getvalue() == "train 20/40, 16.0 clips/s, 0:10 left, loss 1.000\n"


def test_nothing_is_said_of_the_time_left_until_it_means_something(monkeypatch):
    """A first batch of 16 in 100 s, of which 99 are compiling, then one a second: 500 clips take 5 minutes, not 50."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    progress = Progress("features", 500, "clips", stream=stream)
    now[0] = 100.0
    for done in range(16, 500, 16):
        progress.update(done)
        now[0] += 16
    progress.update(500)
    progress.close()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "features 16/500"
    assert lines[1] == "features 32/500, 1.0 clips/s, 7:48 left"
    assert lines[-1] == "features 500/500, 1.0 clips/s"


def test_one_unit_after_the_first_is_not_enough(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    progress = Progress("results", 40, "jobs", done=3, stream=stream)
    for done in range(4, 10):
        now[0] += 60
        progress.update(done)
    assert ["left" in line for line in stream.getvalue().splitlines()] == [False] * 5 + [True]


def test_lines_are_rare_where_nobody_looks(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    progress = Progress("train", 100, "clips", stream=stream)
    for step in range(1, 31):
        now[0] += 1
        progress.update(step)
    progress.say("warning: look")
    progress.close()
    steps = re.findall(r"train (\d+)/100", stream.getvalue())
    assert steps == ["1", "11", "21", "30"] and "warning: look\n" in stream.getvalue()


def test_what_an_earlier_run_did_does_not_count_as_fast(monkeypatch):
    """100 of 200 were there; 11 in 10 s after the first of this run: 88 more take 80 s."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    progress = Progress("clips", 200, "clips", done=100, stream=stream)
    for now[0], done in ((15, 100), (60, 101), (70, 112)):
        progress.update(done)
    assert stream.getvalue().splitlines()[-1] == "clips 112/200, 1.1 clips/s, 1:20 left"

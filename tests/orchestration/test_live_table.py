"""The table of nodes while a run goes on."""

import io
import re
import sys

import pytest

pytest.importorskip("rich", reason="rich comes with Keras")

from pemt_tf.orchestration.running.live_table import LiveTable
from pemt_tf.orchestration.running.run_report import RunReport
from pemt_tf.orchestration.running.run_watch import watch

NODES = {"Importer": "COMPLETE", "Trainer": "RUNNING", "Pusher": "NOT RUN"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_elsewhere_than_on_a_terminal_each_change_is_one_line():
    stream = io.StringIO()
    with LiveTable("mine", stream) as table:
        table.show(RunReport({**NODES, "Trainer": "NOT RUN"}, seconds={"Importer": 65.0}))
        table.show(RunReport(NODES, seconds={"Importer": 65.0, "Trainer": 1.0}), "step 3")
        table.show(RunReport(NODES, seconds={"Importer": 65.0, "Trainer": 2.0}), "step 4")
        table.show(RunReport({**NODES, "Trainer": "FAILED"}, seconds={"Importer": 65.0, "Trainer": 3.0}))

    lines = [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in stream.getvalue().splitlines()]
    assert lines == ["Importer COMPLETE, 1:05", "Trainer RUNNING", "Trainer FAILED, 0:03"]


def test_on_a_terminal_the_table_is_rewritten_in_place(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with LiveTable("mine", stream) as table:
        table.show(RunReport(NODES, seconds={"Importer": 65.0}), "step 3")
        first = stream.getvalue()
        table.say("error: this stays")
        table.show(RunReport({**NODES, "Trainer": "COMPLETE"}, seconds={"Trainer": 3.0}), "step 4")
    text = stream.getvalue()

    assert "mine" in first and "step 3" in first and re.search(r"Importer +.*COMPLETE", first)
    assert "\x1b[1A" in text[len(first) :]  # the cursor goes up
    assert "error: this stays" in text and "step 4" in text


def test_the_exit_code_and_the_errors_of_the_process_come_through(capfd):
    program = "import sys, time; sys.stderr.write('step 1\\nerror: no clips\\n'); time.sleep(1.2); sys.exit(3)"
    reports = []

    def report() -> RunReport:
        reports.append(1)
        return RunReport(NODES)

    assert watch([sys.executable, "-c", program], "mine", report) == 3
    assert len(reports) >= 2
    err = capfd.readouterr().err
    assert "error: no clips" in err and "Trainer RUNNING" in err

"""The progress line."""

import io
import time
from collections import Counter

import pytest

from beam_jobs.job.progress import OutcomeWatcher, Progress, progress_line
from beam_jobs.worker.outcomes import Outcome
from pemt_tf.terminal.pace import Pace


@pytest.mark.parametrize(
    ("reports", "line"),
    [
        ([(0, {})], "0/120 clips  0 ok, 0 bad"),
        # The first unit brings all start-up with it: 119 more at its pace would be 79 minutes.
        ([(40, {"failed": 1})], "1/120 clips  0 ok, 1 bad"),
        ([(40, {"written": 1}), (42, {"written": 5})], "5/120 clips  2.0/s  5 ok, 0 bad"),
        ([(40, {"written": 1}), (100, {"written": 3})], "3/120 clips  0.0/s  3 ok, 0 bad"),
        # 40 in 10 s after the first, 79 to come.
        (
            [(40, {"written": 1}), (50, {"written": 37, "failed": 3, "filtered": 1})],
            "41/120 clips  4.0/s  37 ok, 4 bad  20 s left",
        ),
        ([(40, {"written": 1}), (160, {"written": 11})], "11/120 clips  0.1/s  11 ok, 0 bad  22 min left"),
        ([(40, {"written": 1}), (1240, {"written": 11})], "11/120 clips  0.0/s  11 ok, 0 bad  3.6 h left"),
        ([(40, {"written": 1}), (69.75, {"written": 120})], "120/120 clips  4.0/s  120 ok, 0 bad"),
    ],
)
def test_line_tells_only_what_is_known(monkeypatch, reports, line):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = Pace()
    for now[0], counts in reports:
        pace.note(sum(counts.values()))
    assert progress_line(Counter(counts), 120, pace) == line


def test_what_an_earlier_run_did_does_not_count_as_fast(monkeypatch):
    """100 of 200 were there; 11 in 10 s after the first of this run: 88 more take 80 s."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = Pace(100)
    for now[0], done in ((5, 100), (60, 101), (70, 112)):
        pace.note(done)
    assert progress_line(Counter(written=112), 200, pace) == "112/200 clips  1.1/s  112 ok, 0 bad  1 min left"


def outcome(kind, path="a"):
    return Outcome(kind, path, path, "decode").line()


def test_watcher_counts_finished_and_unfinished_files(tmp_path):
    watcher = OutcomeWatcher(str(tmp_path))
    assert watcher.counts() == Counter()
    (tmp_path / "train-00000.jsonl").write_bytes(outcome("written") + outcome("failed", 'quote" and {brace'))
    unfinished = tmp_path / "train-00001.jsonl.partial"
    unfinished.write_bytes(outcome("written") + outcome("written")[:20])
    assert watcher.counts() == {"written": 2, "failed": 1}
    unfinished.write_bytes(outcome("written") + outcome("filtered"))
    unfinished.rename(tmp_path / "train-00001.jsonl")
    assert watcher.counts() == {"written": 2, "failed": 1, "filtered": 1}


def test_plain_stream_gets_plain_lines(tmp_path):
    (tmp_path / "train-00000.jsonl").write_bytes(outcome("written"))
    stream = io.StringIO()
    with Progress(str(tmp_path), 2, stream):
        pass
    assert stream.getvalue().startswith("1/2 clips") and "\r" not in stream.getvalue()
    assert stream.getvalue().endswith("\n")

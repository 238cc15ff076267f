"""The progress line."""

import io
from collections import Counter

import pytest

from beam_jobs.outcomes import Outcome
from beam_jobs.progress import OutcomeWatcher, Progress, progress_line


@pytest.mark.parametrize(
    ("counts", "seconds", "line"),
    [
        ({}, 0.0, "0/120 clips  0.0/s  0 ok, 0 bad  time left unknown"),
        ({"written": 36, "failed": 3, "filtered": 1}, 10.0, "40/120 clips  4.0/s  36 ok, 4 bad  20 s left"),
        ({"written": 1}, 10.0, "1/120 clips  0.1/s  1 ok, 0 bad  20 min left"),
        ({"written": 1}, 100.0, "1/120 clips  0.0/s  1 ok, 0 bad  3.3 h left"),
    ],
)
def test_line(counts, seconds, line):
    assert progress_line(Counter(counts), 120, seconds) == line


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

"""The progress of a job."""

from collections import Counter

from beam_jobs.worker.outcomes import InputOutcome, OutcomeWatcher, job_progress


def outcome(kind, path="a"):
    return InputOutcome(kind, path, path, "decode").line()


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


def test_plain_stream_gets_plain_lines(tmp_path, capsys):
    (tmp_path / "train-00000.jsonl").write_bytes(outcome("written"))
    with job_progress(str(tmp_path), 2):
        pass
    assert capsys.readouterr().err == "clips 1/2, 1 ok, 0 bad\n"

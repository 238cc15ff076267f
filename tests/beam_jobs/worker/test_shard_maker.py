"""The engine of this machine: no Beam, and an end that leaves no process and no false outcome behind."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from beam_jobs.engines.beam_runners import BeamEngine
from beam_jobs.inputs.file_listing import InputClip
from beam_jobs.job.prepare import choose_engine
from beam_jobs.plan import shards as sharding
from beam_jobs.preprocess import build_parser
from beam_jobs.worker import decoder_process, shard_maker
from beam_jobs.worker.shard_maker import LocalEngine
from pemt_tf.config import Config
from pemt_tf.errors import PemtError
from tests.beam_jobs.command import contents, run

# Hangs on a file named `hang`, and says of all others that they are too short.
CHILD = """
import json, sys, time
for line in sys.stdin:
    if json.loads(line)["path"] == "hang": time.sleep(600)
    print(json.dumps({"cause": "too_short", "detail": "", "size": 0}), flush=True)
"""


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Settings of a job whose decoding processes run CHILD; `started` lists these processes."""
    settings = sharding.ShardSettings(str(tmp_path), Config.from_preset("tiny").geometry, (), decode_timeout=600)
    started = []

    class Decoder(decoder_process.ExpendableDecoder):
        def _start(self):
            super()._start()
            started.append(self._process)

    monkeypatch.setattr(
        shard_maker,
        "decoder_of",
        lambda _: Decoder(settings.geometry, 600, 4096, command=(sys.executable, "-c", CHILD)),
    )
    yield settings
    assert all(process.poll() is not None for process in started), "a decoding process is left"


def shards_of(settings, *names):
    """A shard for each name."""
    plan = [
        (sharding.Shard("train", number, len(names), 0, 0, 1), [InputClip(name, name, name, split="train")])
        for number, name in enumerate(names)
    ]
    return sharding.write_plan(settings.folder, plan)


def finished(settings):
    return sorted(path.name[6:11] for path in Path(settings.folder, "stats").glob("*.json"))


def test_nothing_heavy_is_imported_for_a_local_job_a_dry_run_or_a_refusal(corpus, tmp_path):
    """The import of Beam takes seconds, more than a small data set; the others take tenths of a second each."""
    code = f"""if True:
        import sys
        from beam_jobs.preprocess import main
        def check(*flags, code):
            assert main(list(flags)) == code, flags
            heavy = {"apache_beam", "tensorflow", "pandas", "matplotlib", "scipy", "av"} & sys.modules.keys()
            assert not heavy, (flags, heavy)
        check("--input", "nowhere", "--output", "{tmp_path / "out"}", code=2)
        check("--input", {str(corpus)!r}, code=2)
        check("--input", {str(corpus)!r}, "--dry_run", code=0)
        check("--input", {str(corpus)!r}, "--output", "{tmp_path / "out"}", "--num_workers", "2", code=0)
        check("--retry_failed", "{tmp_path / "out"}", "--output", "{tmp_path / "out"}", code=0)
        """
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("flags", "engine"),
    [
        ([], LocalEngine),
        (["--runner", "local", "--num_workers", "3"], LocalEngine),
        (["--runner", "FnApiRunner"], BeamEngine),
        (["--direct_running_mode=multi_processing"], BeamEngine),
    ],
)
def test_beam_runs_where_its_runner_or_one_of_its_flags_is_named(flags, engine):
    options, rest = build_parser().parse_known_args(flags)
    assert type(choose_engine(options.runner, options.num_workers, tuple(rest))) is engine


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--runner", "local", "--temp_location=x"], "unknown option --temp_location=x; .* need a --runner of Beam"),
        (["--num_workers", "65"], "65 local workers; give 1 to 64"),
        (["--shard_per_split=2"], "unknown option --shard_per_split=2; neither this job .* nor Apache Beam has it"),
    ],
)
def test_flags_that_contradict_each_other(flags, message):
    options, rest = build_parser().parse_known_args(flags)
    with pytest.raises(PemtError, match=message):
        choose_engine(options.runner, options.num_workers, tuple(rest))


def test_large_shards_come_first(settings, monkeypatch):
    """So that no worker is left with a large one when the others have nothing to do."""
    order = []
    monkeypatch.setattr(shard_maker.ShardMaker, "make", lambda _, shard, go_on: order.append(shard.number) or [])
    shards = [sharding.Shard("train", number, 4, 0, 0, clips) for number, clips in enumerate((2, 9, 2, 5))]
    LocalEngine(1).run(shards, settings)
    assert order == [1, 3, 0, 2]


def test_interruption_cuts_off_what_hangs_and_gives_it_no_outcome(settings):
    """The file that hangs is the last of its shard: its shard must not count as finished."""
    shards = shards_of(settings, "hang", "a", "b")
    main_thread = threading.main_thread().ident

    def interrupt():
        while finished(settings) != ["00001", "00002"]:
            time.sleep(0.01)
        signal.pthread_kill(main_thread, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        LocalEngine(2).run(shards, settings)
    assert time.monotonic() - begin < 30
    assert finished(settings) == ["00001", "00002"]
    assert not list(Path(settings.folder).rglob("*.partial*"))


def test_failure_of_one_worker_ends_the_others(settings, monkeypatch):
    shards = shards_of(settings, "hang", "a", "b")
    real = shard_maker.ClipMaker.outcomes

    def outcomes(self, path, inputs, write):
        if path == "b":
            raise RuntimeError("a\nfault")
        return real(self, path, inputs, write)

    monkeypatch.setattr(shard_maker.ClipMaker, "outcomes", outcomes)
    with pytest.raises(PemtError, match=r"^the job failed: RuntimeError: a fault$"):
        LocalEngine(2).run(shards, settings)
    assert finished(settings) == ["00001"]


def test_a_decoder_that_cannot_be_closed_ends_the_job(settings, monkeypatch):
    """The job would wait for its worker for ever."""

    def close(self):
        raise OSError("no such process")

    monkeypatch.setattr(shard_maker.ExpendableDecoder, "close", close)
    monkeypatch.setattr(shard_maker.ShardMaker, "make", lambda *_: [])
    with pytest.raises(PemtError, match=r"^the job failed: OSError: no such process$"):
        LocalEngine(1).run(shards_of(settings, "a"), settings)


def test_interrupted_with_several_workers_and_gone_on(corpus, made, tmp_path, capsys, monkeypatch):
    """Ctrl-C in the midst of the work of three workers: the next run makes the rest, and the bytes are the same."""
    flags = ("--input", corpus, "--output", tmp_path / "out", "--preset", "tiny", "--num_workers", 3)
    real, left = shard_maker.ClipMaker.outcomes, [5]

    def outcomes(self, path, inputs, write):
        left[0] -= 1
        if left[0] == 0:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return real(self, path, inputs, write)

    with monkeypatch.context() as patch:
        patch.setattr(shard_maker.ClipMaker, "outcomes", outcomes)
        code, out, err = run(capsys, *flags)
    assert (code, out) == (130, "") and "interrupted; nothing was written to" in err and "Traceback" not in err
    assert run(capsys, *flags)[0] == 0
    assert contents(tmp_path / "out") == contents(made)

"""Reads Beam's options, starts its runners, and explains their failures.

Beam's local runner has three modes. `in_memory` (the default) makes one shard after another in this process. With
`--num_workers N`, N threads make one shard each; one process per thread does the decoding, which takes most of the
time. With `--direct_running_mode=multi_processing`, the N workers are separate processes, as on remote runners.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    SetupOptions,
)
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.runner import create_runner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from beam_jobs.engines import beam_graph, beam_worker
from beam_jobs.plan.output_folder import JobWritten
from beam_jobs.plan.shards import Shard, ShardSettings
from beam_jobs.worker.shard_maker import MOST_WORKERS
from pemt_tf.errors import PemtError
from pemt_tf.terminal.flags import FlagParser, UnknownOptionError

# The in-process runner by name: since Beam 2.68 "DirectRunner" first tries to download another runner.
IN_PROCESS = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
IN_PROCESS_NAMES = ("FnApiRunner", "DirectRunner", "BundleBasedDirectRunner", "in_process")
IN_MEMORY, THREADS, PROCESSES = "in_memory", "multi_threading", "multi_processing"
MOST_SAID = 600  # characters of a message that is not ours
INTERRUPTED = re.compile(r"return code (130|-2)\b")
WORKER_ENDED = re.compile(r"Worker subprocess exited|Channel closed prematurely|Stream removed|Socket closed")


def beam_options(runner: str, num_workers: int | None, arguments: Sequence[str]) -> PipelineOptions:
    """Builds Beam's options; the names of its local runners all mean the one in this process."""
    arguments = _spelled(arguments)
    chosen = list(arguments)
    if runner.lower() in (name.lower() for name in IN_PROCESS_NAMES):
        mode, workers = _local_mode(num_workers, arguments)
        chosen += [f"--runner={IN_PROCESS}", f"--direct_running_mode={mode}", f"--direct_num_workers={workers}"]
    else:
        chosen.append(f"--runner={runner}")
        if num_workers is not None:
            chosen.append(f"--num_workers={num_workers}")
    options = PipelineOptions(chosen)
    setup = options.view_as(SetupOptions)
    if setup.save_main_session is None:
        setup.save_main_session = False  # Dataflow's default is True; we define nothing in __main__
    _refuse_incomplete(options, runner)
    FileSystems.set_options(options)  # inputs are listed before the pipeline exists
    return options


def _local_mode(num_workers: int | None, arguments: Sequence[str]) -> tuple[str, int]:
    """The running mode and the number of workers, from our flag and Beam's flags."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--direct_running_mode")
    parser.add_argument("--direct_num_workers", type=int)
    given = parser.parse_known_args(arguments)[0]
    mode, theirs = given.direct_running_mode, given.direct_num_workers
    if None not in (num_workers, theirs) and num_workers != theirs:
        raise PemtError(
            f"--num_workers={num_workers} and --direct_num_workers={theirs} contradict each other; give one"
        )
    workers = num_workers if theirs is None else theirs
    if workers is not None and not 0 <= workers <= MOST_WORKERS:
        raise PemtError(f"{workers} local workers; give 1 to {MOST_WORKERS}, or 0 for one per core")
    if workers == 0:
        workers = min(len(os.sched_getaffinity(0)), MOST_WORKERS)
    workers = workers or 1
    if mode == IN_MEMORY and workers > 1:
        raise PemtError(
            f"--direct_running_mode={IN_MEMORY} does one shard at a time, but {workers} workers are wanted; leave the "
            f"mode out, or choose {THREADS} or {PROCESSES}"
        )
    return mode or (THREADS if workers > 1 else IN_MEMORY), workers


def _spelled(arguments: Sequence[str]) -> list[str]:
    """Beam's flags as Beam spells them; raises UnknownOptionError for what is none."""
    parser = FlagParser(
        passes_on=True, add_help=False, allow_abbrev=False, conflict_handler="resolve", exit_on_error=False
    )
    for group in PipelineOptions.__subclasses__():
        group._add_argparse_args(parser)  # pyright: ignore[reportArgumentType] - Beam's subclass changes only messages
    try:
        unknown = parser.parse_known_args(arguments)[1]
    except argparse.ArgumentError as error:
        raise PemtError(f"Beam refuses an option: {error}") from None
    if unknown:
        raise UnknownOptionError(unknown[0], "neither this job (see --help) nor Apache Beam has it")
    return parser.spelled(arguments)


def _refuse_incomplete(options: PipelineOptions, name: str) -> None:
    """Asks Beam to check the options now; otherwise it would complain after all inputs were listed."""
    try:
        errors = PipelineOptionsValidator(options, create_runner(_runner_name(options))).validate()
    except (ImportError, AttributeError, ValueError) as error:
        hint = "; it needs the extra: pip install 'pemt-tf[dataflow]'" if "dataflow" in name.lower() else ""
        raise PemtError(f"there is no Beam runner {name}: {' '.join(str(error).split())}{hint}") from None
    if errors:
        raise PemtError(f"--runner={name}: {' '.join(' '.join(errors).split())}")


def _runner_name(options: PipelineOptions) -> str:
    return options.get_all_options(drop_default=True)["runner"]


def only_writes(options: PipelineOptions) -> str | None:
    """The file that the job is written to instead of being run: `--template_location`, `--output_executable_path`."""
    template = options.view_as(GoogleCloudOptions).template_location
    return template or options.view_as(PortableOptions).output_executable_path


def make_pipeline(options: PipelineOptions) -> beam.Pipeline:
    """An empty pipeline with the runner that the options name."""
    direct = options.view_as(DirectOptions)
    if _runner_name(options) != IN_PROCESS or direct.direct_running_mode != PROCESSES:
        return beam.Pipeline(options=options)
    # Beam's own mode does not quote `sys.executable`, and passes Ctrl-C on to the workers.
    command = f"trap '' INT; exec {shlex.quote(sys.executable)} -m {beam_worker.MODULE} {os.getpid()}"
    # The decorator of Environment's subclasses hides their type.
    environment = SubprocessSDKEnvironment.from_command_string(command)  # pyright: ignore[reportFunctionMemberAccess]
    direct.direct_running_mode = IN_MEMORY  # otherwise Beam would replace our command
    return beam.Pipeline(runner=FnApiRunner(default_environment=environment), options=options)


def run(options: PipelineOptions, build: Callable[[beam.Pipeline], object]) -> None:
    """Builds a graph and runs it to its end; raises `JobWritten` if it was only written to a file (`only_writes`)."""
    written = only_writes(options)
    with _ends_of_workers() as ended:
        try:
            pipeline = make_pipeline(options)
            build(pipeline)
            result = pipeline.run()
            if not written:
                result.wait_until_finish()
        except _WorkerEndedError:
            if INTERRUPTED.search(ended[0]):  # Ctrl-C reached the worker before it had started to ignore it
                raise KeyboardInterrupt from None
            raise PemtError(_worker_ended(ended[0])) from None
        except Exception as error:
            if "KeyboardInterrupt" in str(error):  # Beam wraps the one of a worker
                raise KeyboardInterrupt from None
            raise PemtError(one_line(error)) from error
    if written:
        raise JobWritten(
            f"wrote the job to {written}; nothing was run. Start it on its engine; when it has ended, give the same "
            "command without that option: it takes over the finished shards and makes the data set"
        )


class BeamEngine:
    """Makes shards with a runner of Beam."""

    def __init__(self, runner: str, num_workers: int | None, arguments: tuple[str, ...]) -> None:
        self._options = beam_options(runner, num_workers, arguments)

    def run(self, shards: list[Shard], settings: ShardSettings) -> None:
        """Makes all shards; raises `JobWritten` if the user wanted the job written to a file."""
        run(self._options, lambda pipeline: beam_graph.build_graph(pipeline, shards, settings))


class _WorkerEndedError(KeyboardInterrupt):
    """A worker process ended. Not an `Exception`, so that libraries on the way do not catch it."""


@contextlib.contextmanager
def _ends_of_workers() -> Iterator[list[str]]:
    """Collects messages about dead worker processes and wakes the main thread, which would wait for them for ever."""
    ended: list[str] = []
    over: list[bool] = []
    left = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # signals wake only the main thread
        yield ended
        return

    main_thread = threading.get_ident()

    def wake(number: int, _: object) -> None:
        over.append(True)
        # While it ends, Beam waits for the workers, and may just be starting another one.
        threading.Thread(target=beam_worker.keep_ending, args=(left,), daemon=True).start()
        raise _WorkerEndedError if number == signal.SIGUSR1 else KeyboardInterrupt

    def note(arguments: threading.ExceptHookArgs) -> None:
        text = str(arguments.exc_value)
        if "Worker subprocess exited" in text and not ended and not over:
            ended.append(text)
            signal.pthread_kill(main_thread, signal.SIGUSR1)
        # Whatever else Beam's threads raise follows from the dead worker, which one line reports.

    handlers = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGTERM)}
    hook = threading.excepthook
    threading.excepthook = note
    for number, handler in handlers.items():
        if number == signal.SIGUSR1 or handler is signal.default_int_handler:
            signal.signal(number, wake)
    try:
        yield ended
    finally:
        over.append(True)
        left.set()
        beam_worker.end_all()
        for number, handler in handlers.items():
            signal.signal(number, handler)
        threading.excepthook = hook


def _worker_ended(text: str) -> str:
    code = re.search(r"return code (-?\d+)", text)
    how = f" with code {code.group(1)}" if code else ""
    if code and (number := abs(int(code.group(1))) % 128) in set(signal.Signals):
        how = f" by {signal.Signals(number).name}"
    return (
        f"a worker process ended{how} before its work was done, killed or out of memory; the same command continues "
        "from the finished shards; take fewer workers if it happens twice"
    )


def one_line(error: Exception) -> str:
    """The message of a worker, without what the runner puts around it."""
    text = re.sub(r" \[while running .*", "", str(error), flags=re.DOTALL)
    if isinstance(error, PemtError):
        return text
    said = re.search(r"PemtError: (.*?)(?:\\n|\n|$)", text)
    if said:
        return said.group(1)
    if WORKER_ENDED.search(text):
        return _worker_ended(text)
    last = next((line for line in reversed(text.splitlines()) if line.strip()), type(error).__name__)
    return f"the Beam job failed: {last.strip()[-MOST_SAID:]}"

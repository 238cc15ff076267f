"""What runs the job: this machine's own processes, or a runner of Beam, which is imported only then."""

from __future__ import annotations

import argparse
from typing import Protocol

from beam_jobs.engines.local_engine import LocalEngine
from beam_jobs.plan.sharding import Shard
from beam_jobs.worker.shard_maker import ShardSettings
from pemt_tf.errors import PemtError

LOCAL = "local"
IN_PROCESS = "FnApiRunner"  # Beam's own for one machine


class JobWritten(Exception):  # noqa: N818 - no error: the user wanted it so
    """The job was not run but written to a file, for an engine to run; the message says what to do with it."""


class Engine(Protocol):
    """Makes shards."""

    def run(self, shards: list[Shard], settings: ShardSettings) -> None:
        """Makes all of them.

        Raises:
            PemtError: it failed; says why in one line.
            KeyboardInterrupt: it was interrupted.
            JobWritten: nothing was run, as the user wanted.
        """


class BeamEngine:
    """A runner of Beam."""

    def __init__(self, runner: str, num_workers: int | None, arguments: list[str]) -> None:
        """Args: as of `beam_jobs.engines.beam_runners.beam_options`, which says what it refuses."""
        from beam_jobs.engines import beam_runners

        self._options = beam_runners.beam_options(runner, num_workers, arguments)

    def run(self, shards: list[Shard], settings: ShardSettings) -> None:
        """Makes all of them, see `Engine.run`."""
        from beam_jobs.engines import beam_graph, beam_runners

        beam_runners.run(self._options, lambda pipeline: beam_graph.build_graph(pipeline, shards, settings))


def choose(options: argparse.Namespace, beam_arguments: list[str]) -> Engine:
    """The engine that the flags name.

    Args:
        options: the job's flags.
        beam_arguments: flags that are not the job's; they are for Beam, so without `--runner` its runner in this
            process takes them.

    Raises:
        PemtError: flags contradict each other, or nobody knows one of them.
    """
    runner = options.runner or (IN_PROCESS if beam_arguments else LOCAL)
    if runner.lower() != LOCAL:
        return BeamEngine(runner, options.num_workers, beam_arguments)
    if beam_arguments:
        raise PemtError(f"unknown option {beam_arguments[0]}; see --help. Flags of Beam need a --runner of Beam")
    return LocalEngine(options.num_workers or 1)

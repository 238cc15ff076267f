"""What runs the job: this machine's own threads, each with a decoding process, or a runner of Beam.

Beam is imported only if one of its runners is chosen.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from beam_jobs.plan.shards import Shard, ShardSettings
from beam_jobs.worker.shard_maker import ShardMaker
from pemt_tf.errors import PemtError

LOCAL = "local"
IN_PROCESS = "FnApiRunner"  # Beam's own for one machine
MOST_WORKERS = 64  # each has a decoding process; with more, the job's own process limits the speed
ENDING_SECONDS = 0.1
LONGEST_ENDING_SECONDS = 10.0  # a worker may be copying a large file from a bucket, which cannot be interrupted


class Engine(Protocol):
    """Makes shards."""

    def run(self, shards: list[Shard], settings: ShardSettings) -> None:
        """Makes all shards; raises `JobWritten` if the user wanted the job written to a file."""


def choose_engine(runner: str | None, num_workers: int | None, beam_arguments: tuple[str, ...]) -> Engine:
    """The engine that the flags name; without a runner, flags of Beam choose its runner in this process."""
    runner = runner or (IN_PROCESS if beam_arguments else LOCAL)
    if runner.lower() != LOCAL:
        return BeamEngine(runner, num_workers, beam_arguments)
    if beam_arguments:
        raise PemtError(f"unknown option {beam_arguments[0]}; see --help. Flags of Beam need a --runner of Beam")
    return LocalEngine(num_workers or 1)


class BeamEngine:
    """A runner of Beam."""

    def __init__(self, runner: str, num_workers: int | None, arguments: tuple[str, ...]) -> None:
        """Reads the flags, like `beam_jobs.engines.beam_runners.beam_options`."""
        from beam_jobs.engines import beam_runners

        self._options = beam_runners.beam_options(runner, num_workers, arguments)

    def run(self, shards: list[Shard], settings: ShardSettings) -> None:
        """Makes all shards, see `Engine.run`."""
        from beam_jobs.engines import beam_graph, beam_runners

        beam_runners.run(self._options, lambda pipeline: beam_graph.build_graph(pipeline, shards, settings))


class _StoppedError(Exception):
    """Another worker failed, or the user stopped the job."""


class LocalEngine:
    """Makes shards on this machine."""

    def __init__(self, workers: int) -> None:
        if workers > MOST_WORKERS:
            raise PemtError(f"{workers} local workers; give 1 to {MOST_WORKERS}")
        self._workers = workers

    def run(self, shards: list[Shard], settings: ShardSettings) -> None:
        """Makes all shards, the largest first, so that the workers finish at about the same time; see `Engine.run`."""
        todo = deque(sorted(shards, key=lambda shard: -shard.clips))
        stopped = threading.Event()
        ended: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        workers = [_Worker(todo, settings, stopped, ended) for _ in range(min(self._workers, len(shards)))]
        try:
            for worker in workers:
                worker.start()
            for _ in workers:
                ended.get()
                if stopped.is_set():
                    break
        finally:
            stopped.set()
            for worker in workers:
                worker.end()
        for worker in workers:
            worker.raise_error()


class _Worker(threading.Thread):
    """Takes one shard after the other until none is left, one fails, or the job is stopped."""

    def __init__(
        self,
        todo: deque[Shard],
        settings: ShardSettings,
        stopped: threading.Event,
        ended: queue.SimpleQueue[_Worker],
    ) -> None:
        super().__init__(daemon=True)
        self._todo, self._stopped, self._ended = todo, stopped, ended
        self._maker = ShardMaker(settings)
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            with self._maker:
                for shard in self._shards():
                    for _ in self._maker.make(shard, self._go_on):
                        pass
        except _StoppedError:
            pass
        except BaseException as error:
            self._error = error
            self._stopped.set()
        finally:
            self._ended.put(self)

    def _shards(self) -> Iterator[Shard]:
        while not self._stopped.is_set():
            try:
                yield self._todo.popleft()
            except IndexError:
                return

    def _go_on(self) -> None:
        if self._stopped.is_set():
            raise _StoppedError

    def end(self) -> None:
        """Waits for the thread; whatever it is decoding is cut off, because the job is stopped."""
        deadline = time.monotonic() + LONGEST_ENDING_SECONDS
        while self.is_alive() and time.monotonic() < deadline:
            self._maker.interrupt()
            self.join(ENDING_SECONDS)

    def raise_error(self) -> None:
        """Raises the error that ended the thread, if one did."""
        error = self._error
        if error is None:
            return
        if isinstance(error, Exception) and not isinstance(error, PemtError):
            raise PemtError(f"the job failed: {type(error).__name__}: {' '.join(str(error).split())}") from error
        raise error

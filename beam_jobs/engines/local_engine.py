"""The engine of this machine: threads that each make shards with a decoding process of their own. No Beam."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Iterator

from beam_jobs.plan.sharding import Shard
from beam_jobs.worker.shard_maker import ShardMaker, ShardSettings
from pemt_tf.errors import PemtError

MOST_WORKERS = 64  # each has a decoding process; beyond it the job's own process is what limits the speed
ENDING_SECONDS = 0.1
LONGEST_ENDING_SECONDS = 10.0  # a worker may be copying a large file from a bucket, which nothing can cut off


class _StoppedError(Exception):
    """Another worker failed, or the user stopped the job."""


class LocalEngine:
    """Makes shards on this machine."""

    def __init__(self, workers: int) -> None:
        """Args: workers: shards made at the same time.

        Raises:
            PemtError: there are too many.
        """
        if workers > MOST_WORKERS:
            raise PemtError(f"{workers} local workers; give 1 to {MOST_WORKERS}")
        self._workers = workers

    def run(self, shards: list[Shard], settings: ShardSettings) -> None:
        """Makes all shards, the largest first, so that the workers come to an end at about the same time.

        Raises:
            PemtError: one could not be made; says why.
            KeyboardInterrupt: the job was interrupted.
        """
        todo = deque(sorted(shards, key=lambda shard: -shard.clips))
        stopped, ended = threading.Event(), queue.SimpleQueue()
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
        self, todo: deque[Shard], settings: ShardSettings, stopped: threading.Event, ended: queue.SimpleQueue
    ) -> None:
        """Args: todo: shards, shared by all workers; stopped: set when the work is to end; ended: told of the end."""
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
        """Waits for the thread; the job is stopped, so whatever it is decoding is cut off."""
        deadline = time.monotonic() + LONGEST_ENDING_SECONDS
        while self.is_alive() and time.monotonic() < deadline:
            self._maker.interrupt()
            self.join(ENDING_SECONDS)

    def raise_error(self) -> None:
        """Raises what ended the thread, if something did.

        Raises:
            PemtError: the worker failed.
            KeyboardInterrupt: it was interrupted.
        """
        error = self._error
        if error is None:
            return
        if isinstance(error, Exception) and not isinstance(error, PemtError):
            raise PemtError(f"the job failed: {type(error).__name__}: {' '.join(str(error).split())}") from error
        raise error

"""The rows of every global batch that a worker reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WorkerShare:
    """A worker's rows of every batch: all workers read the same stream, and each keeps neighbouring rows.

    So the batch of a step holds the same clips for any number of workers. All have equally many of the `replicas`,
    devices.
    """

    worker: int = 0
    workers: int = 1
    replicas: int = 1

    def rows(self, batch_size: int) -> range:
        """Rows of a global batch that this worker keeps."""
        own = batch_size // self.workers
        return range(self.worker * own, (self.worker + 1) * own)

    def size(self, batch_size: int) -> int:
        """Rows per device."""
        return batch_size // self.replicas


EVERYTHING = WorkerShare()

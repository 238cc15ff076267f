"""Which rows of every global batch a worker reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """A worker's rows of every batch: all workers read the same stream, and each keeps its neighbouring rows.

    So the batch of a step holds the same clips however many workers there are.

    Attributes:
        worker: number of this worker, from 0.
        workers: how many there are.
        replicas: devices of all workers; as many on each.
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


EVERYTHING = Share()

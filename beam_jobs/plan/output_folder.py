"""Where the data set is made, how a job that was cut off goes on, and how the result appears: at once or not at all."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TextIO

from beam_jobs.engines import storage
from beam_jobs.plan.job_record import JobRecord
from beam_jobs.plan.sharding import PLAN_NAME
from beam_jobs.worker.shard_maker import STOP_NAME
from beam_jobs.worker.shard_writer import PARTIAL
from pemt_tf.data.dataset_card import CARD_NAME, SPLITS
from pemt_tf.errors import PemtError

WORK_INSIDE = ".partial"
LOCK_NAME = ".lock"
NOT_FOREIGN = (WORK_INSIDE, "lost+found")
REMOTE_PARTS = (*(f"{split}/clips-*" for split in SPLITS), "stats/*", "outcomes/*", "errors/*")


class OutputFolder:
    """The output of a job.

    On a local disk the data set is made in a hidden folder beside its place and moved there when it is complete; within
    its place, if that is a mount point or the folder above it may not be written. On other file systems, which cannot
    move folders, it is made in place, and the card, written last, makes it one.

    Attributes:
        path: where the data set will be.
        work: where it is being made.
        is_finished: whether a finished data set is there already.
    """

    def __init__(self, path: str) -> None:
        """Looks, but changes nothing.

        Raises:
            PemtError: something is there that must not be lost.
        """
        self.is_remote = storage.is_remote(path)
        self.path = path.rstrip("/") if self.is_remote else str(Path(path).absolute())
        self._lock: TextIO | None = None
        self.is_finished = storage.exists(storage.join(self.path, CARD_NAME))
        if not self.is_finished and not self.is_remote:
            self._refuse_foreign(Path(self.path))
        place = Path(self.path)
        self._inside = not self.is_remote and place.is_dir() and not _is_movable(place)
        beside = place / WORK_INSIDE if self._inside else place.with_name(f".{place.name}.partial")
        self.work = self.path if self.is_remote else str(beside)

    @staticmethod
    def _refuse_foreign(place: Path) -> None:
        try:
            if place.is_symlink() or (place.exists() and not place.is_dir()):
                raise PemtError(f"{place} is not a folder; choose another --output")
            if place.is_dir() and any(entry.name not in NOT_FOREIGN for entry in place.iterdir()):
                raise PemtError(f"{place} is not empty and holds no data set of ours; choose another --output")
        except OSError as error:
            raise PemtError(f"cannot look into the output folder {place}: {error.strerror}") from None

    def prepare(self, job: JobRecord, overwrite: bool) -> None:
        """Makes the working folder, or takes over what a job that was cut off left there.

        Args:
            job: what is to be done.
            overwrite: begin anew whatever is there.

        Raises:
            PemtError: it cannot be written, another job is at it, or what is there is of another job.
        """
        try:
            if self.is_remote:
                storage.remove(storage.join(self.path, CARD_NAME))
            else:
                self._take()
            earlier = JobRecord.read(self.work)
            if earlier is None or overwrite:
                self._clear()
            elif earlier != job and self.finished_shards():
                self._release()
                raise PemtError(
                    f"{self.path} was begun with other settings: {'; '.join(job.differences(earlier))}; go on with the "
                    "same settings, or begin anew with --overwrite"
                )
            elif earlier != job:
                self._clear()
            storage.remove(storage.join(self.work, STOP_NAME))
            job.write(self.work)
        except BlockingIOError:
            self._lock = None
            raise PemtError(f"another job is writing {self.path}; wait for it, or choose another --output") from None
        except OSError as error:
            raise PemtError(f"cannot write to the output folder {self.path}: {error.strerror or error}") from None

    def _take(self) -> None:
        work = Path(self.work)
        work.mkdir(parents=True, exist_ok=True)
        self._lock = Path(work, LOCK_NAME).open("w")  # noqa: SIM115 - held as long as the job runs
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _clear(self) -> None:
        if self.is_remote:
            for pattern in REMOTE_PARTS:
                storage.remove_all(storage.list_sizes(self.work, pattern))
            return
        for old in Path(self.work).iterdir():
            if old.name != LOCK_NAME:
                storage.remove(str(old))

    def finished_shards(self) -> dict[str, int]:
        """Statistics files that are there: paths and sizes."""
        return storage.list_sizes(self.work, "stats/*.json")

    def publish(self) -> None:
        """Puts the finished data set in its place."""
        for name in (PLAN_NAME, STOP_NAME):
            storage.remove(storage.join(self.work, name))
        if self.is_remote:
            return
        place, work = Path(self.path), Path(self.work)
        for remains in work.rglob(f"*{PARTIAL}-*"):
            remains.unlink()
        Path(work, LOCK_NAME).unlink()
        if self._inside:
            _move_up(work, place)
        else:
            old = place.with_name(f".{place.name}.replaced")
            if place.exists() and any(place.iterdir()):
                storage.remove(str(old))
                place.rename(old)
            work.rename(place)  # an empty folder may be there
            storage.remove(str(old))
        self._release()

    def leave(self) -> int:
        """Ends a job that did not come to its end; finished shards stay for the next run.

        Returns:
            Number of finished shards; without any, nothing is left.
        """
        if self._lock is None and not self.is_remote:
            return 0  # never begun
        finished = len(self.finished_shards())
        if not finished:
            self.discard()
        self._release()
        return finished

    def discard(self) -> None:
        """Removes what was made so far."""
        if not self.is_remote and self._lock is not None:
            storage.remove(self.work)
            self._release()


def _is_movable(place: Path) -> bool:
    return not place.is_mount() and os.access(place.parent, os.W_OK)


def _move_up(work: Path, place: Path) -> None:
    """Replaces what is in `place` by what is in its sub-folder `work`; the card goes first and comes last."""
    storage.remove(str(place / CARD_NAME))
    for old in place.iterdir():
        if old.name not in NOT_FOREIGN:
            storage.remove(str(old))
    for entry in sorted(work.iterdir(), key=lambda entry: entry.name == CARD_NAME):
        entry.rename(place / entry.name)
    work.rmdir()

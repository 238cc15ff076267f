"""Where a job writes, how an interrupted job resumes, and how the result appears: all at once or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from beam_jobs.engines import storage
from beam_jobs.plan.shards import PLAN_NAME, JobRecord
from pemt_tf.data.dataset_card import CARD_NAME, SPLITS
from pemt_tf.errors import PemtError

STOP_NAME = "stop"  # in a local working folder: too many inputs have failed, so the rest need not be tried
WORK_INSIDE = ".partial"
LOCK_NAME = ".lock"
NOT_FOREIGN = (WORK_INSIDE, "lost+found")


class JobInterrupted(KeyboardInterrupt):
    """The user stopped the job; the message says what is left of it."""


class JobWritten(Exception):  # noqa: N818 - not an error: the user asked for it
    """The job was not run but written to a file, for an engine to run; the message says what to do with it."""


class OutputFolder:
    """The output of a job: a data set, or embeddings. It is made in `work` and then appears at `path`.

    On a local disk `work` is a hidden folder beside the output; or inside it, if that is a mount point or the folder
    above it may not be written. Other file systems cannot move folders: there the result is made in place, and the
    card, written last, completes it.
    """

    def __init__(self, path: str, card_name: str = CARD_NAME, content: str = "a data set") -> None:
        """Looks, but changes nothing. The card completes the result; `content` is what it is, for messages."""
        self.is_remote = storage.is_remote(path)
        self.path = path.rstrip("/") if self.is_remote else str(Path(path).absolute())
        self._card, self._content = card_name, content
        self._lock: TextIO | None = None
        self.is_finished = storage.exists(storage.join(self.path, card_name))
        place = Path(self.path)
        if not self.is_finished and not self.is_remote:
            self._refuse_foreign(place)
        self._is_inside = not self.is_remote and place.is_dir() and not _is_movable(place)
        beside = place / WORK_INSIDE if self._is_inside else place.with_name(f".{place.name}.partial")
        self.work = self.path if self.is_remote else str(beside)

    def _refuse_foreign(self, place: Path) -> None:
        try:
            if place.is_symlink() or (place.exists() and not place.is_dir()):
                raise PemtError(f"{place} is not a folder; choose another --output")
            if place.is_dir() and any(entry.name not in NOT_FOREIGN for entry in place.iterdir()):
                raise PemtError(f"{place} is not empty and does not hold {self._content}; choose another --output")
        except OSError as error:
            raise PemtError(f"cannot look into the output folder {place}: {error.strerror}") from None

    def prepare(self, job: JobRecord | None = None, overwrite: bool = False) -> None:
        """Makes the working folder, or takes over what an interrupted `job` left there (None: starts from scratch)."""
        try:
            if self.is_remote:
                storage.remove(storage.join(self.path, self._card))
            else:
                self._take()
            earlier = JobRecord.read(self.work) if job is not None and not overwrite else None
            if job is not None and earlier is not None and earlier != job and self.finished_shards():
                self._release()
                raise PemtError(
                    f"{self.path} was started with other settings: {'; '.join(job.differences(earlier))}; continue "
                    "with the same settings, or start again with --overwrite"
                )
            if earlier is None or earlier != job:
                self._clear()
            storage.remove(storage.join(self.work, STOP_NAME))
            if job is not None:
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
            for pattern in (*(f"{split}/clips-*" for split in SPLITS), "stats/*", "outcomes/*", "errors/*"):
                storage.file_systems().delete(list(storage.list_sizes(self.work, pattern)))
            return
        for old in Path(self.work).iterdir():
            if old.name != LOCK_NAME:
                storage.remove(str(old))

    def finished_shards(self) -> dict[str, int]:
        """Paths and sizes of the statistics files."""
        return storage.list_sizes(self.work, "stats/*.json")

    def publish(self) -> None:
        """Puts the finished result in its place."""
        for name in (PLAN_NAME, STOP_NAME):
            storage.remove(storage.join(self.work, name))
        if self.is_remote:
            return
        place, work = Path(self.path), Path(self.work)
        for remains in work.rglob(f"*{storage.PARTIAL}-*"):
            remains.unlink()
        Path(work, LOCK_NAME).unlink()
        if self._is_inside:
            self._move_up(work, place)
        else:
            old = place.with_name(f".{place.name}.replaced")
            if place.exists() and any(place.iterdir()):
                storage.remove(str(old))
                place.rename(old)
            work.rename(place)  # an empty folder may be there
            storage.remove(str(old))
        self._release()

    def _move_up(self, work: Path, place: Path) -> None:
        """Replaces the contents of `place` by those of its sub-folder `work`; the card goes first and comes last."""
        storage.remove(str(place / self._card))
        for old in place.iterdir():
            if old.name not in NOT_FOREIGN:
                storage.remove(str(old))
        for entry in sorted(work.iterdir(), key=lambda entry: entry.name == self._card):
            entry.rename(place / entry.name)
        work.rmdir()

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Runs a part of a job; if it fails, finished shards stay for the next run, and nothing else."""
        try:
            yield
        except JobWritten:
            raise  # its engine will read the plan
        except BaseException as error:
            left = self.leave()
            if isinstance(error, KeyboardInterrupt):
                kept = f"{left} finished shards are kept: the same command continues from there"
                said = f"interrupted; nothing was written to {self.path}; {kept if left else 'nothing is kept'}"
                raise JobInterrupted(said) from None
            if isinstance(error, OSError):
                raise PemtError(f"cannot write to the output folder {self.path}: {error.strerror or error}") from None
            raise

    def leave(self) -> int:
        """Ends a job that did not finish; returns how many finished shards stay for the next run."""
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

"""Where the data set is made and how it appears: all at once, or not at all."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TextIO

from beam_jobs import storage
from pemt_tf.data.dataset_card import CARD_NAME
from pemt_tf.errors import PemtError

WORK_INSIDE = ".partial"
NOT_FOREIGN = (WORK_INSIDE, "lost+found")


class OutputFolder:
    """The output of a job.

    On a local disk the data set is made in a hidden folder beside its place and moved there when it is complete; within
    its place, if that is a mount point or the folder above it may not be written. On other file systems, which cannot
    move folders, it is made in place, and the card, written last, makes it one.

    Attributes:
        path: where the data set will be.
        work: where it is being made.
    """

    def __init__(self, path: str, overwrite: bool) -> None:
        """Looks, but changes nothing.

        Raises:
            PemtError: something is there that must not be lost.
        """
        self.is_remote = storage.is_remote(path)
        self.path = path.rstrip("/") if self.is_remote else str(Path(path).absolute())
        self._lock: TextIO | None = None
        if storage.exists(storage.join(self.path, CARD_NAME)):
            if not overwrite:
                raise PemtError(
                    f"{path} already holds a finished data set; choose another --output, or replace it with --overwrite"
                )
        elif not self.is_remote:
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

    def prepare(self) -> None:
        """Makes the working folder; the remains of a job that was killed are removed.

        Raises:
            PemtError: it cannot be written, or another job is at it.
        """
        if self.is_remote:
            storage.remove(storage.join(self.path, CARD_NAME))
            return
        work = Path(self.work)
        try:
            work.mkdir(parents=True, exist_ok=True)
            self._lock = Path(work, ".lock").open("w")  # noqa: SIM115 - held as long as the job runs
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for old in work.iterdir():
                if old.name != ".lock":
                    storage.remove(str(old))
        except BlockingIOError:
            self._lock = None
            raise PemtError(f"another job is writing {self.path}; wait for it, or choose another --output") from None
        except OSError as error:
            raise PemtError(f"cannot write to the output folder {self.path}: {error.strerror}") from None

    def publish(self) -> None:
        """Puts the finished data set in its place."""
        if self.is_remote:
            return
        place, work = Path(self.path), Path(self.work)
        Path(work, ".lock").unlink()
        if self._inside:
            _move_up(work, place)
            return
        old = place.with_name(f".{place.name}.replaced")
        if place.exists() and any(place.iterdir()):
            storage.remove(str(old))
            place.rename(old)
        work.rename(place)  # an empty folder may be there
        storage.remove(str(old))

    def discard(self) -> None:
        """Removes what was made so far."""
        if not self.is_remote and self._lock is not None:
            storage.remove(self.work)


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

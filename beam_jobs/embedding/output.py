"""Where embeddings are made and how they appear: all at once, or not at all."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import TextIO

from beam_jobs.engines import storage
from pemt_tf.errors import PemtError
from pemt_tf.search.embedding_card import CARD_NAME

LOCK_NAME = ".lock"


class EmbeddingFolder:
    """The output of a job.

    On a local disk the embeddings are made in a hidden folder beside their place and moved there when they are
    complete. On other file systems, which cannot move folders, they are made in place, and the card, written last,
    makes them what they are.

    Attributes:
        path: where the embeddings will be.
        work: where they are being made.
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
                    f"{path} already holds finished embeddings; choose another --output, or replace them with "
                    "--overwrite"
                )
        elif not self.is_remote:
            self._refuse_foreign(Path(self.path))
        place = Path(self.path)
        self.work = self.path if self.is_remote else str(place.with_name(f".{place.name}.partial"))

    @staticmethod
    def _refuse_foreign(place: Path) -> None:
        try:
            if place.is_symlink() or (place.exists() and not place.is_dir()):
                raise PemtError(f"{place} is not a folder; choose another --output")
            if place.is_dir() and any(place.iterdir()):
                raise PemtError(f"{place} is not empty and holds no embeddings of ours; choose another --output")
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
            self._lock = Path(work, LOCK_NAME).open("w")  # noqa: SIM115 - held as long as the job runs
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for old in work.iterdir():
                if old.name != LOCK_NAME:
                    storage.remove(str(old))
        except BlockingIOError:
            self._lock = None
            raise PemtError(f"another job is writing {self.path}; wait for it, or choose another --output") from None
        except OSError as error:
            raise PemtError(f"cannot write to the output folder {self.path}: {error.strerror}") from None

    def publish(self) -> None:
        """Puts the finished embeddings in their place."""
        if self.is_remote:
            return
        place, work = Path(self.path), Path(self.work)
        Path(work, LOCK_NAME).unlink()
        old = place.with_name(f".{place.name}.replaced")
        if place.exists() and any(place.iterdir()):
            storage.remove(str(old))
            place.rename(old)
        work.rename(place)  # an empty folder may be there
        storage.remove(str(old))
        self._lock.close()

    def discard(self) -> None:
        """Removes what was made so far."""
        if not self.is_remote and self._lock is not None:
            storage.remove(self.work)
            self._lock.close()

"""How a record gets from the decoding process to the job: through memory that both have, not through a pipe.

A record is megabytes, and every copy of it takes two to four per cent of the CPU time of the whole job. So its parts
are laid down once, over the previous record's, and read where they lie.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import tempfile
from collections.abc import Sequence

GRAIN = 2**22  # bytes by which it grows


class RecordSlot:
    """A file in memory that holds one record at a time; its descriptor is what the two processes share.

    A decoder that a hostile file has taken over might cut it, and touching what is cut off of a mapping would kill the
    job. So it is sealed against that; where a system has no seals it is read, not mapped.

    Attributes:
        descriptor: of the file.
    """

    def __init__(self, descriptor: int, is_sealed: bool = False) -> None:
        """Args: descriptor: from the other process; is_sealed: the file cannot become shorter."""
        self.descriptor = descriptor
        self._is_sealed = is_sealed
        self._map: mmap.mmap | None = None

    @classmethod
    def create(cls) -> RecordSlot:
        """A new one; to be closed."""
        if not hasattr(os, "memfd_create"):
            with tempfile.TemporaryFile() as file:  # without Linux; the system's cache of files does nearly as well
                return cls(os.dup(file.fileno()))
        descriptor = os.memfd_create("record", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        except OSError:
            return cls(descriptor)
        return cls(descriptor, is_sealed=True)

    def put(self, parts: Sequence[bytes]) -> int:
        """Writes the parts of a record over the previous one; returns its size.

        Raises:
            MemoryError: it does not fit into the memory that the process may take.
        """
        size = sum(map(len, parts))
        if self._map is None or len(self._map) < size:
            room = -(-size // GRAIN) * GRAIN
            os.ftruncate(self.descriptor, room)
            self._map = self._mapped(room, mmap.PROT_READ | mmap.PROT_WRITE)
        place = 0
        for part in parts:
            end = place + len(part)
            self._map[place:end] = part
            place = end
        return size

    def take(self, size: int) -> memoryview:
        """A record of `size` bytes; they are good until the other process is told that they were taken.

        Raises:
            EOFError: there is less.
        """
        there = os.fstat(self.descriptor).st_size
        if there < size:
            raise EOFError(f"{there} of {size} bytes")
        if not self._is_sealed or not size:
            return memoryview(self._read(size))
        if self._map is None or len(self._map) < size:
            self._map = self._mapped(there, mmap.PROT_READ)
        return memoryview(self._map)[:size]

    def _mapped(self, size: int, protection: int) -> mmap.mmap:
        try:
            return mmap.mmap(self.descriptor, size, prot=protection)
        except OSError as error:
            if error.errno == errno.ENOMEM:
                raise MemoryError(f"no room for a record of {size} bytes") from None
            raise

    def _read(self, size: int) -> bytes:
        parts, taken = [], 0
        while taken < size:  # the system gives at most 2 GB at a time
            part = os.pread(self.descriptor, size - taken, taken)
            if not part:
                raise EOFError(f"{taken} of {size} bytes")
            parts.append(part)
            taken += len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Gives its memory back, once the other process has ended as well and nobody looks at a record any more."""
        self._map = None
        os.close(self.descriptor)

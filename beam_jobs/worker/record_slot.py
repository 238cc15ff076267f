"""Where a decoding process puts a record for the job to take; a module of its own, so that the process starts fast."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import tempfile
from collections.abc import Sequence

GRAIN = 2**22  # bytes; the slot grows in such steps


class RecordSlot:
    """A file in memory that holds one record at a time; the two processes share its descriptor.

    Every copy of a record takes two to four per cent of the job's CPU time, so records go through no pipe: their parts
    are written once, over the previous record, and read in place.

    A decoder that a hostile file has taken over might truncate the file, and reading a mapping beyond the end of its
    file would kill the job. So the file is sealed against truncation; where a system has no seals it is read, not
    mapped.
    """

    def __init__(self, descriptor: int, is_sealed: bool = False) -> None:
        self.descriptor = descriptor
        self._is_sealed = is_sealed
        self._map: mmap.mmap | None = None

    @classmethod
    def create(cls) -> RecordSlot:
        """Makes a new slot, which the caller must close."""
        if not hasattr(os, "memfd_create"):
            with tempfile.TemporaryFile() as file:  # outside Linux: the file cache is nearly as fast
                return cls(os.dup(file.fileno()))
        descriptor = os.memfd_create("record", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        except OSError:
            return cls(descriptor)
        return cls(descriptor, is_sealed=True)

    def put(self, parts: Sequence[bytes]) -> int:
        """Writes the parts of a record over the previous one; returns its size, or raises `MemoryError`."""
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
        """Reads a record of `size` bytes, valid until the other process is told that it was taken."""
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
        """Frees the memory as soon as the other process has ended and nothing refers to a record any more."""
        self._map = None
        os.close(self.descriptor)

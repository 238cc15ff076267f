"""How a record gets from the decoding process to the job: through memory of both, not through a pipe.

A record is megabytes. In a pipe each is copied page by page into the system and out again, gathered in growing buffers
and copied once more; that took a tenth of the CPU time of the whole job. Here its bytes are written once, over the
previous record's, and read once.
"""

from __future__ import annotations

import os
import tempfile


class RecordSlot:
    """A file in memory that holds one record at a time; its descriptor is what the two processes share.

    It is read, not mapped: a decoder that a hostile file has taken over might cut it, and touching what is cut off of a
    mapping would kill the job.

    Attributes:
        descriptor: of the file.
    """

    def __init__(self, descriptor: int) -> None:
        """Args: descriptor: from the other process."""
        self.descriptor = descriptor

    @classmethod
    def create(cls) -> RecordSlot:
        """A new one; to be closed."""
        if hasattr(os, "memfd_create"):
            return cls(os.memfd_create("record"))
        with tempfile.TemporaryFile() as file:  # without Linux; the system's cache of files does nearly as well
            return cls(os.dup(file.fileno()))

    def put(self, record: bytes) -> None:
        """Writes a record over the previous one."""
        written = 0
        with memoryview(record) as view:
            while written < len(record):  # the system takes at most 2 GB at a time
                written += os.pwrite(self.descriptor, view[written:], written)

    def take(self, size: int) -> bytes:
        """Reads a record of `size` bytes.

        Raises:
            EOFError: there is less.
        """
        parts, taken = [], 0
        while taken < size:
            part = os.pread(self.descriptor, size - taken, taken)
            if not part:
                raise EOFError(f"{taken} of {size} bytes")
            parts.append(part)
            taken += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Gives its memory back, once the other process has ended as well."""
        os.close(self.descriptor)

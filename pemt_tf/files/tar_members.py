"""The members of a tar, without reading their content; damage is never taken for the end."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import BinaryIO

_BLOCK = 512  # bytes of a header
_PADDING = 2**20  # bytes that are read at once after the end mark; there should be a few kB of zeros


def tar_members(file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """The members of an uncompressed tar in their order; their content begins at `offset_data`.

    Between two members the file may be read elsewhere. ValueError says where the tar is damaged or cut off.
    """
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # pyright: ignore[reportAttributeAccessIssue] - it would keep all
                yield member
            file.seek(tar.offset)
            end = file.read(_BLOCK)
            if not end:
                raise ValueError(f"it is cut off: at byte {tar.offset} its end mark is missing")
            if any(end):
                raise ValueError(f"the header at byte {tar.offset} is damaged")
            while block := file.read(_PADDING):
                if any(block):
                    raise ValueError(
                        f"more follows its end mark at byte {tar.offset}; unpack it, and make one tar of all"
                    )
    except tarfile.TarError as error:
        raise ValueError(f"it is not a tar, or is cut off ({error})") from None

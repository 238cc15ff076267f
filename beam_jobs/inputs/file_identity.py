"""Which file a path means, however it is spelled: parts of one video must not stand on both sides of a split."""

from __future__ import annotations

import functools
import os
import posixpath

from beam_jobs.engines import storage
from pemt_tf.files.names import readable


class FileIdentity:
    """Names files by where they really are: `a.mp4`, `./a.mp4`, `x/../a.mp4`, an absolute path and a link are one."""

    def __init__(self, root: str) -> None:
        """Args: root: folder that names are relative to, local or of any file system of Beam."""
        self._is_remote = storage.is_remote(root)
        self._below = (normal_address(root) if self._is_remote else os.path.realpath(root)).rstrip("/") + "/"
        # The disk is asked once for the parts of one file that follow each other, and for the files of one folder.
        self._real = functools.lru_cache(maxsize=1)(_real)
        self._real_folder = functools.lru_cache(maxsize=1)(os.path.realpath)

    def of(self, path: str) -> str:
        """The name of the file: relative to the root where it is below it, else its whole path; readable."""
        return readable(os.fsencode(self._real(path).removeprefix(self._below)))

    def holds(self, path: str) -> bool:
        """Whether a path, links resolved, lies in the root."""
        return storage.is_remote(path) == self._is_remote and self._real(path).startswith(self._below)

    def is_detour(self, folder: str, name: str, relative: str) -> bool:
        """Whether a file that was found is reached by a link.

        Args:
            folder, name: where it was found, on the local disk.
            relative: its path relative to the root.
        """
        real = f"{self._real_folder(folder).rstrip('/')}/{name}"
        return real != self._below + relative or storage.is_link(real)


def _real(path: str) -> str:
    return normal_address(path) if storage.is_remote(path) else os.path.realpath(path)


def normal_address(address: str) -> str:
    """An address such as gs://bucket/x/../a.mp4 without its detours."""
    scheme, _, place = address.partition("://")
    bucket, _, key = place.partition("/")
    return f"{scheme}://{bucket}{posixpath.normpath(f'/{key}').rstrip('/')}"

"""Which file a path means, however it is spelled: parts of one video must not stand on both sides of a split."""

from __future__ import annotations

import functools
import os
import posixpath

from beam_jobs import storage
from pemt_tf.names import readable


class FileIdentity:
    """Names files by where they really are: `a.mp4`, `./a.mp4`, `x/../a.mp4`, an absolute path and a link are one."""

    def __init__(self, root: str) -> None:
        """Args: root: folder that names are relative to, local or of any file system of Beam."""
        self._is_remote = storage.is_remote(root)
        self._root = normal_address(root) if self._is_remote else os.path.realpath(root)
        self._real_folder = functools.lru_cache(maxsize=1)(os.path.realpath)

    def of(self, path: str) -> str:
        """The name of the file: relative to the root where it is below it, else its whole path; readable."""
        return self._named(normal_address(path) if storage.is_remote(path) else os.path.realpath(path))

    def of_listed(self, folder: str, name: str) -> str:
        """The same of a local file that was found in a folder; few questions to the disk for the many of one folder."""
        path = os.path.join(folder, name)  # noqa: PTH118 - two million names: no object for each
        return self._named(
            os.path.realpath(path) if storage.is_link(path) else f"{self._real_folder(folder).rstrip('/')}/{name}"
        )

    def holds(self, path: str) -> bool:
        """Whether a path, links resolved, lies in the root."""
        if storage.is_remote(path) != self._is_remote:
            return False
        where = normal_address(path) if self._is_remote else os.path.realpath(path)
        return where.startswith(self._root.rstrip("/") + "/")

    def _named(self, real: str) -> str:
        return readable(os.fsencode(real.removeprefix(self._root.rstrip("/") + "/")))


def normal_address(address: str) -> str:
    """An address such as gs://bucket/x/../a.mp4 without its detours."""
    scheme, _, place = address.partition("://")
    bucket, _, key = place.partition("/")
    return f"{scheme}://{bucket}{posixpath.normpath(f'/{key}').rstrip('/')}"

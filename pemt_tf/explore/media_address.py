"""The address under which a browser finds the media files."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from pemt_tf.files.names import original


def media_address(root: str, page: Path) -> str:
    """Address of the folder of media files as the page has to write it, with a slash at its end.

    A folder beside or below the page is named relative to it, so that both can be moved together. Empty for a folder
    that is unknown or not on this machine's disks (`gs://...`).
    """
    if not root or "://" in root:
        return ""
    folder, place = Path(root).resolve(), Path(page).resolve().parent
    if folder.is_relative_to(place):
        relative = Path(os.path.relpath(folder, place)).as_posix()
        return quote(os.fsencode(f"./{relative}/" if relative != "." else "./"))
    return folder.as_uri().rstrip("/") + "/"


def media_file(root: str, path: str) -> Path | None:
    """The media file of a clip on this machine; None where there is none."""
    if "://" in path or "://" in root or not (root or Path(path).is_absolute()):
        return None
    file = Path(root, original(path))
    return file if file.is_file() else None

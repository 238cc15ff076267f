"""Reads the folders and lists of a data set, with one clear line where they are not as expected."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from pemt_tf.errors import PemtError

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi")
AUDIO_SUFFIXES = (".wav", ".flac", ".m4a", ".mp3", ".ogg", ".opus")


def require_folder(path: Path, what: str) -> Path:
    """The folder itself."""
    if not path.is_dir():
        raise PemtError(f"there is no folder {path}; expected {what}")
    return path


def read_lines(path: Path, what: str) -> list[str]:
    """The lines of a text file that are not blank, stripped."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PemtError(f"cannot read {path} ({what}): {getattr(error, 'strerror', None) or error}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_table(path: Path, what: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a CSV file with a header, which must have these columns; values are stripped."""
    reader = csv.DictReader(read_lines(path, what))
    absent = [column for column in columns if column not in (reader.fieldnames or [])]
    if absent:
        known = ", ".join(reader.fieldnames or []) or "nothing"
        raise PemtError(f"{path} has no column {absent[0]!r} (it has: {known}); it should be {what}")
    rows = []
    for row in reader:
        if any(row[column] is None for column in columns):
            raise PemtError(f"{path}: the row {next(iter(row.values()))!r} is too short; it should be {what}")
        rows.append({name: (value or "").strip() for name, value in row.items() if isinstance(name, str)})
    return rows


def media_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The files directly in a folder that have one of the suffixes, sorted; without hidden ones."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in suffixes and not path.name.startswith("."))
    return sorted(path for path in found if path.is_file())


def class_folders(root: Path) -> list[Path]:
    """The folders directly in a folder, sorted; without hidden ones."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def files_by_stem(root: Path, suffixes: tuple[str, ...]) -> dict[str, str]:
    """Names without suffix to paths relative to the root, at any depth; the first path if there are several."""
    found: dict[str, str] = {}
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)  # noqa: PTH122 - two million names: no object for each
            if suffix.lower() in suffixes and not name.startswith("."):
                found.setdefault(stem, Path(folder, name).relative_to(root).as_posix())
    return found

"""Which file a path means, however it is spelled, which files a glob names, and which split a folder.

Parts of one video must not end up on both sides of a split, so every spelling of a file counts as the same file. The
globs are our own: Beam's would silently lose files, because its `**/` does not match "no folder" and a local glob that
begins with a wildcard matches nothing.
"""

from __future__ import annotations

import functools
import os
import posixpath
import re
from collections.abc import Iterable

from beam_jobs.engines import storage
from pemt_tf.data.dataset_card import SPLITS
from pemt_tf.files.names import readable

WILDCARDS = re.compile(r"[*?\[]")
_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|\[[!^]?(?:\][^\]/]*|[^\]/]+)\]|.", re.DOTALL)
_RANGE = re.compile(r"(.)-(.)|(.)", re.DOTALL)
_MEANING = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
NAMES_OF = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev", "development"),
    "test": ("test", "testing"),
}
_SPLIT_OF = {name: split for split in SPLITS for name in NAMES_OF[split]}
_ALMOST = {
    *_SPLIT_OF,
    *("trn", "tst", "eval", "evaluation", "holdout", "heldout", "unseen"),
    *(f"{name}{ending}" for name in _SPLIT_OF for ending in ("set", "data", "split")),
    *("trainval", "traindev", "trainvalid"),
}
ALLOWED = f"{', '.join(SPLITS)}, or {', '.join(name for name in _SPLIT_OF if name not in SPLITS)}"


class FileIdentity:
    """Names files by where they really are: `a.mp4`, `./a.mp4`, `x/../a.mp4`, an absolute path and a link are one."""

    def __init__(self, root: str) -> None:
        self._is_remote = storage.is_remote(root)
        self._below = (normal_address(root) if self._is_remote else os.path.realpath(root)).rstrip("/") + "/"
        # Caches the last file and the last folder: successive rows name parts of one file or files of one folder.
        self._real = functools.lru_cache(maxsize=1)(_real)
        self._real_folder = functools.lru_cache(maxsize=1)(_real)

    def of(self, path: str) -> str:
        """The file's readable name: relative to the root where it is below it, otherwise its whole path."""
        return readable(os.fsencode(self._real(path).removeprefix(self._below)))

    def holds(self, path: str) -> bool:
        """Whether a path, with links resolved, lies in the root."""
        return storage.is_remote(path) == self._is_remote and self._real(path).startswith(self._below)

    def is_detour(self, folder: str, name: str, relative: str) -> bool:
        """Whether a local file, found in `folder` and at `relative` below the root, was reached by a link."""
        real = f"{self._real_folder(folder).rstrip('/')}/{name}"
        return real != self._below + relative or storage.is_link(real)


def _real(path: str) -> str:
    return normal_address(path) if storage.is_remote(path) else os.path.realpath(path)


def normal_address(address: str) -> str:
    """An address such as gs://bucket/x/../a.mp4 without its detours."""
    scheme, _, place = address.partition("://")
    bucket, _, key = place.partition("/")
    return f"{scheme}://{bucket}{posixpath.normpath(f'/{key}').rstrip('/')}"


class GlobPattern:
    """A glob: `*` and `?` stay within a folder, `**` does not, `[abc]` is one of these characters."""

    def __init__(self, text: str) -> None:
        self.prefix = WILDCARDS.split(text, maxsplit=1)[0]
        folder, slash, _ = self.prefix.rpartition("/")
        self.root = folder or slash
        self._parts = text[len(folder) + len(slash) :].split("/")

    def matches(self, name: str) -> bool:
        """Whether the glob names a file, given relative to the root."""
        return _regex("/".join(self._parts)).fullmatch(name) is not None

    def may_hold(self, folder: str) -> bool:
        """Whether a folder, given relative to the root, can hold files that the glob names."""
        names = folder.split("/")
        for name, part in zip(names, self._parts, strict=False):
            if "**" in part:
                return True
            if not _regex(part).fullmatch(name):
                return False
        return len(names) < len(self._parts)


@functools.lru_cache(maxsize=64)
def _regex(glob: str) -> re.Pattern[str]:
    return re.compile("".join(_translated(token) for token in _TOKEN.findall(glob)), re.DOTALL)


def _translated(token: str) -> str:
    return _characters(token[1:-1]) if len(token) > 2 and token[0] == "[" else _MEANING.get(token, re.escape(token))


def _characters(choice: str) -> str:
    is_negated = len(choice) > 1 and choice[0] in "!^"
    allowed = "".join(
        f"{re.escape(first)}-{re.escape(last)}" if first else re.escape(one)
        for first, last, one in _RANGE.findall(choice[is_negated:])
        if first <= last  # an inverted range matches nothing
    )
    if not allowed:
        return "[^/]" if is_negated else "(?!)"
    return f"(?!/)[{'^' if is_negated else ''}{allowed}]"


def split_named(name: str) -> str | None:
    """The split that a name means, in small or capital letters; None if it is not the name of a split."""
    return _SPLIT_OF.get(name.strip().casefold())


def looks_like_split(name: str) -> bool:
    """Whether a name that is not a split's may have been meant as one: `train_1`, `my-test`, `eval`."""
    words = re.findall(r"[a-z]+", name.casefold())
    joined = "".join(words)
    return bool(words) and (joined in _ALMOST or words[0] in _ALMOST or words[-1] in _ALMOST)


def notes_on_folders(folders: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """What the user should know about how folders were understood, one line each."""
    splits, labels, inner = set(), set(), set()
    for path in set(folders):
        if not path:
            continue
        (splits if split_named(path[0]) else labels).add(path[0])
        if not split_named(path[0]):
            inner.update(f"{path[0]}/{name}" for name in path[1:2] if split_named(name))
    notes = []
    doubtful = {name for name in labels if looks_like_split(name)}
    if doubtful:
        notes.append(
            f"{_some(doubtful)} look like splits and were taken for labels; if they are splits, call them "
            "train, validation and test, or name the splits in a manifest"
        )
    if inner:
        notes.append(
            f"{_some(inner)} are not taken for splits, because only folders directly under the input are; the splits "
            "of these files are drawn"
        )
    others = labels - doubtful
    if splits and others:
        notes.append(
            f"{_some(splits)} were taken for splits, {_some(others)} beside them for labels; if that is wrong, name "
            "splits and labels in a manifest"
        )
    return tuple(notes)


def _some(names: set[str]) -> str:
    shown = sorted(names)
    return ", ".join(map(repr, shown[:4])) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")

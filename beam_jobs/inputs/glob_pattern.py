"""What a glob names, the same on every file system.

Beam's own globs would lose files without a word: there `**/` does not stand for "no folder", and a local glob that
begins with a wildcard names nothing.
"""

from __future__ import annotations

import functools
import re

WILDCARDS = re.compile(r"[*?\[]")
_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|\[[!^]?(?:\][^\]/]*|[^\]/]+)\]|.", re.DOTALL)
_RANGE = re.compile(r"(.)-(.)|(.)", re.DOTALL)
_MEANING = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


class GlobPattern:
    """A glob: `*` and `?` stay within a folder, `**` does not, `[abc]` is one of these characters.

    Attributes:
        root: the folder before the first wildcard; empty where there is none.
        prefix: all that is before the first wildcard.
    """

    def __init__(self, text: str) -> None:
        """Args: text: with at least one wildcard."""
        self.prefix = text[: WILDCARDS.search(text).start()]
        folder, slash, _ = self.prefix.rpartition("/")
        self.root = folder or slash
        self._parts = text[len(folder) + len(slash) :].split("/")

    def matches(self, name: str) -> bool:
        """Whether it names a file, given relative to the root."""
        return _regex("/".join(self._parts)).fullmatch(name) is not None

    def may_hold(self, folder: str) -> bool:
        """Whether files that it names can be in a folder, given relative to the root."""
        names = folder.split("/")
        for name, part in zip(names, self._parts, strict=False):
            if "**" in part:
                return True
            if not _regex(part).fullmatch(name):
                return False
        return len(names) < len(self._parts)


@functools.lru_cache(maxsize=64)
def _regex(glob: str) -> re.Pattern:
    return re.compile("".join(_translated(token) for token in _TOKEN.findall(glob)), re.DOTALL)


def _translated(token: str) -> str:
    return _characters(token[1:-1]) if len(token) > 2 and token[0] == "[" else _MEANING.get(token, re.escape(token))


def _characters(choice: str) -> str:
    is_negated = len(choice) > 1 and choice[0] in "!^"
    allowed = "".join(
        f"{re.escape(first)}-{re.escape(last)}" if first else re.escape(one)
        for first, last, one in _RANGE.findall(choice[is_negated:])
        if first <= last  # others hold nothing
    )
    if not allowed:
        return "[^/]" if is_negated else "(?!)"
    return f"(?!/)[{'^' if is_negated else ''}{allowed}]"

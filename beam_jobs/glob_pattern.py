"""What a glob names, the same on every file system.

Beam's own globs would lose files without a word: there `**/` does not stand for "no folder", and a local glob that
begins with a wildcard names nothing.
"""

from __future__ import annotations

import functools
import re

WILDCARDS = re.compile(r"[*?\[]")
_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|\[[!^]?\]?[^\]/]*\]|.", re.DOTALL)
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
    if len(token) > 2 and token[0] == "[":
        negated = "^" if token[1] in "!^" else ""
        characters = re.sub(r"([\\\[\]^&|~])", r"\\\1", token[1 + len(negated) : -1])  # "a-z" keeps its meaning
        return f"(?!/)[{negated}{characters}]"
    return _MEANING.get(token, re.escape(token))

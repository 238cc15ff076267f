"""Command lines in one style: two spellings of a flag, what an unknown word may have meant, defaults in `--help`."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from pemt_tf.errors import PemtError, did_you_mean


class UnknownOptionError(PemtError):
    """A word of the command line that nobody knows.

    Attributes:
        word: the word.
    """

    def __init__(self, word: str, why: str):
        super().__init__(f"unknown option {word}; {why}")
        self.word = word


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Texts as they stand, and after each flag its default, unless its text says it or there is none."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or action.default in ("", []):  # 0 is a default
            return action.help
        if "default" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


class FlagParser(argparse.ArgumentParser):
    """Takes `--max-steps` and `--max_steps` for the same flag. Bad input is one line and exit code 2.

    Args:
        passes_on: whether `parse_known_args` leaves unknown words to others; otherwise they are refused.
    """

    def __init__(self, *, passes_on: bool = False, **kwargs: Any):
        super().__init__(**{"formatter_class": _Help, **kwargs})
        self.passes_on = passes_on
        self._words: list[str] = []

    # What argparse returns is a namespace of the given kind; its stubs say so by overloads.
    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """As argparse; raises SystemExit after one line on standard error."""
        words = self.spelled(sys.argv[1:] if args is None else args)
        self._words = words
        if not self.passes_on and self._subparsers is None and "-" in self.prefix_chars:
            self._refuse_unknown(words)  # first: a misspelled flag may be one that is required
        found, unknown = super().parse_known_args(words, namespace)
        if unknown and not self.passes_on:
            self.refuse(unknown[0])
        return found, unknown

    def spelled(self, words: Sequence[str]) -> list[str]:
        """The words, with the flags of this parser as they were declared."""
        declared = {_dashed(flag): flag for flag in self._option_string_actions}
        spelled = []
        for word in words:
            if word == "--":
                break
            flag, equals, value = word.partition("=")
            known = flag.startswith("--") and flag not in self._option_string_actions
            spelled.append((declared.get(_dashed(flag), flag) if known else flag) + equals + value)
        return spelled + list(words[len(spelled) :])

    def _refuse_unknown(self, words: Sequence[str]) -> None:
        for flag in _flags(words):
            if not any(known.startswith(flag) for known in self._option_string_actions):
                self.refuse(flag)

    def misspelled(self, words: Sequence[str]) -> str:
        """Names the first unknown flag that is nearly one of ours; it is left to others, but may be what is missing."""
        for flag in _flags(words):
            if flag not in self._option_string_actions and (meant := self.meant(flag)):
                return f"; {flag} is unknown{meant}"
        return ""

    def refuse(self, word: str) -> NoReturn:
        """Ends the process: this word is no flag of ours, or follows none."""
        if not word.startswith("-"):
            self.error(f"stray argument {word!r}: it belongs to no flag")
        flag = word.partition("=")[0]
        self.error(f"unknown option {flag}{self.meant(flag)}")

    def meant(self, word: str) -> str:
        """`; did you mean --x?` for the flag that is closest to a word, or nothing."""
        return did_you_mean(word.partition("=")[0], self._option_string_actions)

    def error(self, message: str) -> NoReturn:
        """Ends the process with one line and exit code 2."""
        if self.passes_on and message.startswith("the following arguments are required"):
            message += self.misspelled(self._words)
        self.exit(2, f"error: {message}; see `{self.prog} --help`\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # In words of our own: those of argparse differ between versions of Python.
        if action.choices is not None and value not in action.choices:
            choices = ", ".join(map(str, action.choices))
            meant = did_you_mean(str(value), action.choices)
            raise argparse.ArgumentError(action, f"{value!r} is not one of {choices}{meant}")


def _flags(words: Sequence[str]) -> Iterator[str]:
    """The flags among words, without their values; what follows `--` is none."""
    for word in itertools.takewhile(lambda word: word != "--", words):
        if word.startswith("--"):
            yield word.partition("=")[0]


def _dashed(flag: str) -> str:
    return flag.replace("_", "-")

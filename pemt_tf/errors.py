"""Errors that reach users as a single line: our own exception, and those of the system and libraries."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

_NODE = re.compile(r"\{\{.*?\}\}|\[Op:\w+\].*$")
_FULL = ("No space left", "Disk quota", "File too large", "disk quota")
_READERS = ("tensorflow", "google", "pyarrow", "h5py", "zipfile", "zlib", "json", "yaml", "av", "struct")


class PemtError(Exception):
    """Bad input or a bad environment, in one sentence: what is wrong, where, and how to fix it.

    Every command line catches it, prints `error: <message>` and exits with code 2.
    """


class ArgumentError(PemtError, ValueError):
    """An argument of a layer, a model or a loss that is not allowed; a ValueError, as Keras' own layers raise."""


def did_you_mean(word: str, known: Iterable[Any]) -> str:
    """`; did you mean X?` for the known word that is closest, or nothing."""
    close = difflib.get_close_matches(word, map(str, known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def in_one_line(error: Exception) -> str | None:
    """An error of the system or a library in one line; None for an error that only a defect of ours explains."""
    if type(error).__module__ == "builtins" and isinstance(error, OSError) and error.filename is None:
        return first_line(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot read or write {error.filename}: {error.strerror}; check that it exists, and its permissions"
    name, said = type(error).__name__, first_line(error)
    # Known by their names: commands import TensorFlow and others only where they need them.
    exhausted, package = name == "ResourceExhaustedError", type(error).__module__.partition(".")[0]
    if exhausted and any(word in str(error) for word in _FULL):
        return f"a disk is full ({said}); free some space and run the same command again"
    if exhausted or isinstance(error, MemoryError):
        return _out_of_memory(error)
    if isinstance(error, OSError) or package in _READERS:
        return (
            f"{package} cannot continue ({name}: {said}); if it is a damaged file, copy or make it again: "
            "`pemt doctor --data DIR` looks through a data set"
        )
    return None


def first_line(error: Exception) -> str:
    """The first informative line of an exception, without TensorFlow's names of nodes."""
    lines = [_NODE.sub("", line).strip() for line in str(getattr(error, "message", error)).splitlines()]
    return next((line for line in lines if line and not line.endswith(":")), type(error).__name__)[:300]


def _out_of_memory(error: Exception) -> str:
    said = [line.strip() for line in str(getattr(error, "message", error)).splitlines() if "OOM" in line]
    return (
        f"out of memory ({said[0][:200] if said else type(error).__name__}); needs less: a smaller batch_size, "
        "--set pretrain.accumulation=8, --set model.remat=true, or --set pretrain.precision=mixed_bfloat16; "
        "see docs/faq.md"
    )

r"""Names of files as text. A file system stores bytes, and these need not be UTF-8.

A file is opened by its name as the file system has it. Everywhere else (ids, labels, records, lists, reports,
messages) the name is text. There a byte that is not UTF-8, and a control character such as a line break, is written as
`\x` and two hexadecimal digits: `caf\xe9.mp4`. A backslash that looks like the start of such an escape is written as
`\x5c`. So two files never get the same name, and the text leads back to the file.
"""

from __future__ import annotations

import codecs
import os
import re
import sys

# Control characters, and what Python puts for bytes that are not UTF-8.
_NOT_PRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_LOOKS_ESCAPED = re.compile(r"\\(?=x[0-9a-f]{2})")
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")
_STREAM_ERRORS = "pemt_names"


def readable(name: str | bytes) -> str:
    """A file's name as text, always valid UTF-8 and on one line; usual names stay as they are.

    It takes a name from the operating system or Python, and would escape its own results again.
    """
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    return printable(_LOOKS_ESCAPED.sub(r"\\x5c", text))


def printable(text: str) -> str:
    """Escapes a text about files in the same way; backslashes stay, so applying it twice changes nothing."""
    return _NOT_PRINTABLE.sub(lambda found: "".join(map(_escaped, found[0])), text)


def original(name: str) -> str:
    """The name to open a file by, from the result of `readable`."""
    data = name.encode("utf-8", "surrogateescape")
    return os.fsdecode(_ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), data))


def make_streams_printable() -> None:
    """Lets standard output and error print any name, whatever the terminal's encoding."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=_STREAM_ERRORS)


def _escaped(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # one byte that is not UTF-8
        return f"\\x{number - 0xDC00:02x}"
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))


def _for_streams(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    bad = printable(error.object[error.start : error.end])
    return bad.encode("ascii", "backslashreplace").decode("ascii"), error.end


codecs.register_error(_STREAM_ERRORS, _for_streams)

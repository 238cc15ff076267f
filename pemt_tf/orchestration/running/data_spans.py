"""Finds the data set of a run where each day, or each span of another length, has its own folder.

    /videos/day-{YYYY}-{MM}-{DD}/v{VERSION}    a folder for each day, with versions
    /videos/span-{SPAN}                         spans by number

It is the newest finished version of the newest span. The placeholders are those of TFX's ExampleGen, which gets the
pattern, so that span and version are in the metadata. TFX alone would also take a folder that is still being written.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import Path

from pemt_tf.data.dataset_card import CARD_NAME
from pemt_tf.errors import PemtError

_PLACEHOLDER = re.compile(r"\{(SPAN|VERSION)(?::(\d+))?\}|\{(YYYY|MM|DD)\}")
_DIGITS = {"YYYY": r"\d{4}", "MM": r"\d{2}", "DD": r"\d{2}"}
_EPOCH = datetime.date(1970, 1, 1)


@dataclass(frozen=True)
class DataFolder:
    """A data set, and its place in a pattern. Without placeholders, `base` is `path` and the rest is empty."""

    path: Path
    base: Path  # the folder above the first placeholder
    pattern: str = ""  # the rest with its placeholders, as ExampleGen takes it
    span: int | None = None  # its number; for dates the days since 1970-01-01, as in TFX
    version: int | None = None


def find_data(data: Path) -> DataFolder:
    """Finds the newest finished data set of a pattern; a folder without placeholders is taken as it is."""
    names = [match.group(1) or match.group(3) for match in _PLACEHOLDER.finditer(str(data))]
    if not names:
        if "{" in str(data):
            raise _malformed(data)
        return DataFolder(data, data)
    dated = sorted(set(names) & set(_DIGITS)) == sorted(_DIGITS)
    if len(names) != len(set(names)) or set(names) - {"VERSION"} not in ({"SPAN"}, set(_DIGITS)):
        raise _malformed(data)
    first = next(number for number, part in enumerate(data.parts) if _PLACEHOLDER.search(part))
    base, rest = Path(*data.parts[:first]), "/".join(data.parts[first:])
    found = [(numbers, path) for path in base.glob(_glob(rest)) if (numbers := _numbers(path, base, rest, dated))]
    finished = [(numbers, path) for numbers, path in found if (path / CARD_NAME).is_file()]
    if not finished:
        raise PemtError(
            f"no finished data set fits {data}; write one there with `python -m beam_jobs.preprocess`, or set `data` "
            "to where they are"
        )
    (span, version), path = max(finished)
    newer = [each for numbers, each in found if numbers[0] == span and numbers[1] > version]
    if any(record for each in newer for record in each.glob("*/clips-*.tfrecord")):
        # TFX would take the newer, unfinished version of this span, so it gets the version's number.
        rest = re.sub(r"\{VERSION(:\d+)?\}", _matched(path, base, rest, "VERSION"), rest)
    return DataFolder(path, base, rest, span, version if "VERSION" in names else None)


def span_in_words(span: int | None, version: int | None, dated: bool) -> str:
    """Words such as `2026-11-25, version 3`; empty without a span."""
    if span is None:
        return ""
    name = str(_EPOCH + datetime.timedelta(days=span)) if dated else f"span {span}"
    return name if version is None else f"{name}, version {version}"


def _malformed(data: Path) -> PemtError:
    return PemtError(
        f"`data` is {data}; allowed placeholders are {{SPAN}}, or {{YYYY}}, {{MM}} and {{DD}} together, each once, and "
        "with either {VERSION}"
    )


def _glob(pattern: str) -> str:
    pieces = _PLACEHOLDER.split(pattern)[:: _PLACEHOLDER.groups + 1]
    return "*".join(re.sub(r"([*?[])", r"[\1]", piece) for piece in pieces)


def _expression(pattern: str) -> str:
    parts, end = [], 0
    for match in _PLACEHOLDER.finditer(pattern):
        number, width, date = match.groups()
        digits = _DIGITS[date] if date else rf"\d{{{width}}}" if width else r"\d+"
        parts += [re.escape(pattern[end : match.start()]), f"(?P<{number or date}>{digits})"]
        end = match.end()
    return "".join([*parts, re.escape(pattern[end:])])


def _matched(path: Path, base: Path, pattern: str, name: str) -> str:
    found = re.fullmatch(_expression(pattern), path.relative_to(base).as_posix())
    return found[name] if found else ""


def _numbers(path: Path, base: Path, pattern: str, dated: bool) -> tuple[int, int] | None:
    """Span and version (0 without one) of a folder; None if it does not fit, such as an impossible date."""
    match = re.fullmatch(_expression(pattern), path.relative_to(base).as_posix())
    if match is None:
        return None
    given = {name: int(text) for name, text in match.groupdict().items()}
    try:
        span = (datetime.date(given["YYYY"], given["MM"], given["DD"]) - _EPOCH).days if dated else given["SPAN"]
    except ValueError:
        return None
    return span, given.get("VERSION", 0)

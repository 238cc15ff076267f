"""Which column of a manifest means what; a column that is nearly a known one is refused, not passed over."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pemt_tf.errors import PemtError
from pemt_tf.files.names import printable

COLUMNS = ("path", "id", "label", "labels", "start", "end", "split", "group")
_SILENTLY_MISSED = COLUMNS[2:]  # without them a row still makes a clip, but another one
# Words that say nothing new beside the name of a column: `start_time`, `end (s)`, `label name`.
_FILLERS = (
    "s sec secs second seconds ms msec time times timestamp in name names file video clip class column value text"
)
_OTHER_NAMES = {
    "path": "file filename filepath video videos videopath videofile uri url media audio wav clip fname",
    "label": "class classname category target tag tags annotation classlabel",
    "start": "begin from onset tstart",
    "end": "stop to finish until offset duration tend",
    "split": "subset partition fold",
}
_COLUMN_OF = {other: column for column, others in _OTHER_NAMES.items() for other in others.split()}
_INDEX = re.compile(r"unnamed: \d+|__index_level_\d+__", re.IGNORECASE)  # how pandas calls its index


def known_columns(where: str, names: Sequence[str]) -> list[str | None]:
    """The columns by the names that we use: without the space around them, known ones in small letters.

    Args:
        where: for messages.
        names: as they stand in the manifest.

    Returns:
        In the same order; empty for a column without a name, None for the index of a pandas table.

    Raises:
        PemtError: a column is there twice, or is nearly a known one.
    """
    columns = [_known(name.strip()) for name in names]
    for place, column in enumerate(columns):
        if column and column in columns[:place]:
            spelled = {repr(printable(names[at])): None for at in (columns.index(column), place)}
            raise PemtError(f"{where} has two columns {' and '.join(spelled)}; remove or rename one of them")
    for column in columns:
        meant = _nearly(column, columns)
        if meant:
            raise PemtError(
                f"{where} has a column {printable(column)!r}, which looks like {meant!r}; call it {meant!r}, or "
                "something else if it is only to be carried along"
            )
    return columns


def require_path(where: str, columns: Sequence[str | None]) -> None:
    """Refuses a manifest without paths.

    Raises:
        PemtError: says what there is.
    """
    if "path" not in columns:
        known = ", ".join(printable(column) for column in columns if column) or "nothing"
        meant = [column for column in columns if column and _COLUMN_OF.get(_letters(column)) == "path"]
        advice = f"call {printable(meant[0])!r} 'path'; " if len(meant) == 1 else ""
        raise PemtError(
            f"the manifest {where} has no column 'path' (it has: {known}); {advice}"
            f"a table begins with the names of its columns; columns that count: {','.join(COLUMNS)}"
        )


def notes_on_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """What the user should know about columns that are only carried along, one line each."""
    notes = []
    for column in columns:
        meant = _COLUMN_OF.get(_letters(column))
        there = {*columns, *(["label"] if "labels" in columns else [])}
        if meant and meant not in there:
            notes.append(f"no column {meant!r}: {printable(column)!r} is only carried along; rename it if it is meant")
    return tuple(notes)


def _known(name: str) -> str | None:
    if _INDEX.fullmatch(name):
        return None
    return name.casefold() if name.casefold() in COLUMNS else name


def _letters(name: str) -> str:
    return "".join(re.findall(r"[a-z]+", name.casefold()))


def _nearly(column: str | None, columns: Sequence[str | None]) -> str | None:
    """The known column that a name is nearly, if the manifest lacks that one."""
    if not column or column in COLUMNS:
        return None
    words = re.findall(r"[a-z]+", column.casefold())
    meant = [word for word in words if word in _SILENTLY_MISSED]
    if len(meant) != 1 or set(words) - set(meant) - set(_FILLERS.split()):
        joined = "".join(words)
        meant = [known for known in _SILENTLY_MISSED if _differs_in_one(joined, known)]
    absent = [known for known in meant if known not in columns and not _has_labels(known, columns)]
    return absent[0] if absent else None


def _has_labels(column: str, columns: Sequence[str | None]) -> bool:
    return column in ("label", "labels") and ("label" in columns or "labels" in columns)


def _differs_in_one(name: str, known: str) -> bool:
    """Whether one letter too many, too few, another one, or two exchanged make one name the other."""
    if name == known:
        return True  # but for signs: `start_`
    if len(known) < 4 or abs(len(name) - len(known)) > 1:
        return name == f"{known}s"
    same = next((place for place, (a, b) in enumerate(zip(name, known, strict=False)) if a != b), None)
    if same is None:
        return True  # one letter at the end
    rest, wanted = name[same:], known[same:]
    return (
        rest[1:] == wanted[1:]
        or rest[1:] == wanted
        or rest == wanted[1:]
        or (rest[:2] == wanted[1::-1] and rest[2:] == wanted[2:])
    )

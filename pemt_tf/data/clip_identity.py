"""What a clip is called. Needs nothing but the standard library."""

from __future__ import annotations


def clip_id(name: str, start: float | None = None, end: float | None = None) -> str:
    """The identity of a clip: its file's name and, where it is only a part of it, the seconds."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if start is None and end is None:
        return text
    return f"{text}#{0 if start is None else start:g}-{'end' if end is None else format(end, 'g')}"

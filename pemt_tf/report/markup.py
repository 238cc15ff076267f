"""Builds HTML and SVG so that text can only come out escaped.

`element` escapes every plain string, child or attribute. Only what `element` itself made (`Markup`) passes as markup.
"""

from __future__ import annotations

import html

VOID_ELEMENTS = frozenset({"br", "img", "input", "link", "meta"})


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def escaped(content: object) -> Markup:
    """Content as markup: plain text is escaped, markup stays, None is nothing, sequences are joined."""
    if content is None:
        return Markup("")
    if isinstance(content, Markup):
        return content
    if isinstance(content, (list, tuple)):
        return Markup("".join(escaped(part) for part in content))
    return Markup(html.escape(str(content), quote=True))


def element(tag: str, /, *children: object, **attributes: object) -> Markup:
    """One element.

    Args:
        tag: name of the element.
        *children: see `escaped`.
        **attributes: `class_` is class and `stroke_width` is stroke-width; None and False leave an attribute out, True
            writes it without a value.
    """
    written = []
    for key, value in attributes.items():
        attribute = key.rstrip("_").replace("_", "-")
        if value is True:
            written.append(f" {attribute}")
        elif value is not None and value is not False:
            written.append(f' {attribute}="{html.escape(str(value), quote=True)}"')
    opening = f"<{tag}{''.join(written)}>"
    if tag in VOID_ELEMENTS:
        return Markup(opening)
    return Markup(f"{opening}{escaped(children)}</{tag}>")

"""The section that shows which segments the summary tokens attend to."""

from __future__ import annotations

from pemt_tf.report.attention import JOINT, StreamAttention
from pemt_tf.report.clip_sections import clip_card
from pemt_tf.report.held_out_clips import AttendedClip
from pemt_tf.report.markup import Markup, element

FULL_COLOUR = 3  # times even attention
NAMES = {"visual": "pictures", "audio": "sound"}


def attention(items: tuple[AttendedClip, ...]) -> Markup:
    """Clips, each with a table: summary tokens against segments."""
    introduction = element(
        "p",
        "Share of its attention, in per cent, that each summary token gives to each segment in the last layer of its "
        "Transformer (mean over the heads). The summary tokens are what the clip's embedding is made of. A row counts "
        "all that its token looks at: the two rows of a joint token sum to 100 together. Attention says where the "
        "model looked, not why it answered as it did. Colour: against even attention, full at three times of it.",
    )
    return element("div", introduction, [_clip(item) for item in items], class_="attention")


def _clip(item: AttendedClip) -> Markup:
    if not item.attention:
        return element("div", clip_card(item.clip), element("p", "Nothing to attend to.", class_="empty"))
    count = item.attention[0].segments.shape[1]
    titles = [*(_title(item, number) for number in range(count)), "summary"]
    head = [element("td"), *(element("th", title, scope="col") for title in titles)]
    rows = [element("tr", element("th", _name(a), scope="row"), _cells(a)) for a in item.attention]
    table = element("table", element("thead", element("tr", head)), element("tbody", rows), class_="matrix plain-head")
    scroll = element("div", table, class_="scroll", tabindex="0", role="region", aria_label="Attention by segment")
    return element("div", clip_card(item.clip), scroll, class_="attended")


def _title(item: AttendedClip, number: int) -> str:
    starts = item.clip.segment_starts
    return f"{starts[number]:.1f}\N{NO-BREAK SPACE}s" if number < len(starts) else f"{number + 1}"


def _name(found: StreamAttention) -> str:
    if found.stream == JOINT:
        return f"joint: summary of {NAMES[found.summary]} on {NAMES[found.attended]}"
    return f"{found.stream}: summary on {NAMES[found.attended]}"


def _cells(found: StreamAttention) -> list[Markup]:
    values = (*found.segments[0].tolist(), float(found.summaries[0]))
    even = 1 / (len(values) * (2 if found.stream == JOINT else 1))
    cells = []
    for value in values:
        share = min(value / (FULL_COLOUR * even), 1.0)
        strong = "strong" if share > 0.5 else None
        cells.append(element("td", f"{100 * value:.0f}", class_=strong, style=f"--share:{share:.3f}"))
    return cells

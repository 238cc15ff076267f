"""Sections that show clips: contact sheet, predictions, nearest neighbours."""

from __future__ import annotations

from pemt_tf.report.contents import ClipView, Neighbours, Prediction
from pemt_tf.report.images import jpeg_uri, spectrogram_uris
from pemt_tf.report.markup import Markup, element
from pemt_tf.report.wording import percent

PATH_LETTERS = 60


def contact_sheet(clips: tuple[ClipView, ...]) -> Markup:
    """Frames of several clips with the spectrogram of their sound below, aligned in time."""
    introduction = element(
        "p",
        "Each clip as the model receives it: a few short segments, each with frames and, below them over the same "
        "stretch of time, the log-mel spectrogram of the sound (low tones at the bottom, bright is loud; each clip on "
        "its own scale). The time below a segment is its beginning in the file.",
    )
    return element("div", introduction, element("div", [clip_card(clip) for clip in clips], class_="clip-grid"))


def predictions(items: tuple[Prediction, ...]) -> Markup:
    """Clips with the model's most probable labels."""
    return element("div", [_prediction(item) for item in items], class_="prediction-list")


def neighbour_lists(items: tuple[Neighbours, ...]) -> Markup:
    """Clips, each with those whose embeddings are nearest."""
    introduction = element(
        "p",
        "First the clip that was asked for, then the clips whose embeddings are most similar to its own, with their "
        "cosine similarity. Labels are shown where there are any; the search does not use them.",
    )
    return element("div", introduction, [_neighbour_row(item) for item in items])


def strip(clip: ClipView) -> Markup:
    """Segments side by side: frames above, spectrogram below."""
    if not clip.segments:
        return element("p", "Neither picture nor sound.", class_="empty")
    spectrograms = [] if clip.log_mel is None else spectrogram_uris(clip.log_mel)
    description = f"Frames and spectrogram of clip {clip.clip_id}" + (f", labelled {clip.label}" if clip.label else "")
    columns = []
    for number in range(clip.segments):
        start = clip.segment_starts[number] if clip.segment_starts else None
        columns.append(
            element(
                "div",
                _frames(clip.frames[number] if clip.frames else ()),
                _spectrogram(spectrograms[number] if spectrograms else None),
                element("span", f"{start:.1f} s", class_="time") if start is not None else None,
                class_="segment",
            )
        )
    style = f"--segments:{clip.segments}"
    return element("div", columns, class_="strip", style=style, role="img", aria_label=description)


def _frames(jpegs: tuple[bytes, ...]) -> Markup:
    if not jpegs:
        return element("div", "no picture", class_="missing frames")
    # The strip as a whole has the description.
    pictures = [element("img", src=jpeg_uri(jpeg), alt="") for jpeg in jpegs]
    return element("div", pictures, class_="frames", style=f"--frames:{len(jpegs)}")


def _spectrogram(uri: str | None) -> Markup:
    if uri is None:
        return element("div", "no sound", class_="missing spectrogram")
    return element("img", src=uri, alt="", class_="spectrogram")


def _name(clip_id: str) -> Markup:
    """A clip id; of a long one the end, which tells more, and the whole as a tooltip."""
    short = clip_id if len(clip_id) <= PATH_LETTERS else "…" + clip_id[1 - PATH_LETTERS :]
    return element("span", short, class_="clip-id", title=clip_id)


def _label(label: str) -> Markup:
    return element("span", label, class_="label") if label else element("span", "no label", class_="label none")


def clip_card(clip: ClipView, *details: object) -> Markup:
    """A clip as a strip with label and id below, and whatever else is to be said of it."""
    caption = element("figcaption", _label(clip.label), _name(clip.clip_id), details)
    return element("figure", strip(clip), caption, class_="clip")


def _prediction(item: Prediction) -> Markup:
    truth, best = item.clip.label, item.scores[0][0] if item.scores else ""
    verdict = None
    if truth and best:
        right = truth == best
        words = "✓ right" if right else f"✗ wrong: it is labelled {truth}"
        verdict = element("p", words, class_="verdict right" if right else "verdict wrong")
    rows = [
        element(
            "tr",
            element("th", label, scope="row"),
            element("td", element("span", class_="bar", style=f"--share:{_share(score)}"), class_="bar-cell"),
            element("td", percent(score, 1), class_="number"),
            class_="best" if place == 0 else None,
        )
        for place, (label, score) in enumerate(item.scores)
    ]
    heading = element("figcaption", _name(item.source or item.clip.clip_id))
    caption = element("caption", "Most probable labels", class_="visually-hidden")
    answer = element("div", heading, element("table", caption, element("tbody", rows), class_="scores"), verdict)
    return element("figure", strip(item.clip), answer, class_="prediction")


def _share(score: float) -> str:
    return f"{min(max(score, 0.0), 1.0):.4f}"


def _neighbour_row(item: Neighbours) -> Markup:
    hits = [
        element(
            "li",
            _thumbnail(clip),
            element("span", _label(clip.label), class_="thumbnail-line"),
            element("span", f"similarity {similarity:.2f}", class_="thumbnail-line muted"),
        )
        for clip, similarity in item.hits
    ]
    query = element(
        "li",
        _thumbnail(item.query),
        element("span", _label(item.query.label), class_="thumbnail-line"),
        element("span", "asked for", class_="thumbnail-line muted"),
        class_="query",
    )
    return element("ol", query, hits, class_="neighbours")


def _thumbnail(clip: ClipView) -> Markup:
    """The middle segment: one frame above its spectrogram."""
    middle = clip.segments // 2
    jpegs = clip.frames[middle] if clip.frames else ()
    spectrogram = None if clip.log_mel is None else spectrogram_uris(clip.log_mel)[middle]
    picture = (
        element("img", src=jpeg_uri(jpegs[len(jpegs) // 2]), alt=f"Frame of clip {clip.clip_id}", title=clip.clip_id)
        if jpegs
        else element("div", "no picture", class_="missing")
    )
    return element("div", picture, _spectrogram(spectrogram), class_="thumbnail")

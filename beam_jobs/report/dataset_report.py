"""`report.html` of a data set: what is in it, and what became of the inputs that are not."""

from __future__ import annotations

import pyarrow as pa

from beam_jobs.engines import storage
from beam_jobs.finish.split_findings import split_findings
from beam_jobs.report import card_sections, clip_sections
from beam_jobs.report.clips import read_clips
from beam_jobs.report.index import read_index
from beam_jobs.report.listings import FAILURES, FILTERED, NOTES, read_listing, read_pairs
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.errors import PemtError
from pemt_tf.report.contents import KeyFigure
from pemt_tf.report.page import Section, document
from pemt_tf.report.wording import counted, duration, percent

REPORT_NAME = "report.html"
FEW_FAILURES = 0.05  # share of the inputs; more is worth a look
IMBALANCE = 10  # ratio of the most frequent to the rarest label


def write_report(folder: str, card: DatasetCard, speed: dict[str, float] | None = None) -> None:
    """Writes the report of a data set whose files are all there, the card excepted.

    Apart from `speed`, what the job measured, it depends on the data set only: the same data set gives the same bytes.
    """
    path = storage.join(folder, REPORT_NAME)
    try:
        page = _page(folder, card, speed)
    except (OSError, pa.ArrowException, ValueError) as error:
        detail = " ".join(str(error).split())
        raise PemtError(f"cannot make {path}: {type(error).__name__}: {detail}; run the job again") from None
    try:
        # File names may hold bytes that are not UTF-8.
        storage.write_text(path, page.encode("utf-8", "backslashreplace").decode("utf-8"))
    except OSError as error:
        raise PemtError(f"cannot write {path}: {error}; make room, or choose another --output") from None


def _page(folder: str, card: DatasetCard, speed: dict[str, float] | None) -> str:
    pairs = read_pairs(folder)
    facts = read_index(folder, card, {name for pair in pairs.first for name in (pair.first, pair.second)})
    shown = clip_sections.shown_pairs(pairs, facts.wanted)
    paired = [facts.wanted[name] for pair in shown for name in (pair.first, pair.second)]
    inputs = card_sections.inputs(card, *(read_listing(folder, name) for name in (FAILURES, FILTERED, NOTES)))
    views = read_clips(folder, card, facts.samples + facts.flagged + paired)
    splits = card_sections.split_table(card, facts.bytes) if card.clips else None
    panels = [clip_sections.histogram_panel(item) for item in facts.histograms] if card.clips else []
    sources = card_sections.source_properties(facts.properties, card.clips)
    sheet = clip_sections.contact_sheet(card, facts, views)
    flagged = clip_sections.flagged_clips(card, facts, views)
    duplicates = clip_sections.duplicates(pairs, shown, facts.wanted, views)
    sections = (
        Section("findings", "What to look at first", "findings.html", {"findings": _findings(card)}),
        Section("inputs", "Outcomes of the inputs", "inputs.html", inputs),
        Section("splits", "The splits", "table.html", splits),
        Section("labels", "The labels", "balance.html", card_sections.balance(card)),
        Section("figures", "The clips in figures", "histograms.html", panels),
        Section("sources", "The source files", "sources.html", sources),
        Section("clips", "What is in the clips", "contact_sheet.html", sheet),
        Section("flagged", "Silent and frozen clips", "flagged.html", flagged),
        Section("duplicates", "Near-duplicate clips", "duplicates.html", duplicates),
        Section("speed", "Speed", "table.html", card_sections.speed_table(speed) if speed else None),
        Section("origin", "How it was made", "origin.html", card_sections.origin(card)),
    )
    total = counted(card.inputs, "input", "inputs") + (f" of {card.source}" if card.source else "")
    subtitle = f"{counted(card.clips, 'clip', 'clips')} from {card.written:,} of {total}"
    return document("Data set", subtitle, _key_figures(card), sections, package="beam_jobs.report")


def _key_figures(card: DatasetCard) -> tuple[KeyFigure, ...]:
    failed, filtered = sum(card.failed.values()), sum(card.filtered.values())
    splits = ", ".join(f"{name} {split.clips:,}" for name, split in card.splits.items())
    labelled = sum(split.clips - split.unlabelled for split in card.splits.values())
    across, within = (card.duplicates.get(f"{where}_splits", 0) for where in ("across", "within"))
    seconds = sum(split.seconds for split in card.splits.values())
    return (
        KeyFigure(f"{card.clips:,}", "clips", splits),
        KeyFigure(_rough(seconds), "total length", duration(seconds) if seconds >= 60 else ""),
        KeyFigure(
            f"{len(card.labels):,}",
            "label" if len(card.labels) == 1 else "labels",
            f"on {counted(labelled, 'clip', 'clips')}",
        ),
        KeyFigure(f"{failed:,}", "inputs failed", f"of {card.inputs:,}; {filtered:,} filtered by a rule"),
        KeyFigure(f"{across:,}", "near-duplicate pairs across splits", f"{within:,} within"),
    )


def _rough(seconds: float) -> str:
    """`41 s`, `2.7 min`, `1,234 h`: short enough for a key figure."""
    if seconds < 60:
        return duration(seconds)
    value, unit = (seconds / 60, "min") if seconds < 3600 else (seconds / 3600, "h")
    return f"{value:,.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"


def _findings(card: DatasetCard) -> list[str]:
    """What a careful reader of the figures would notice."""
    failed = sum(card.failed.values())
    findings = []
    if failed > FEW_FAILURES * card.inputs:
        worst = max(sorted(card.failed), key=card.failed.__getitem__)
        share = percent(failed / card.inputs, 1)
        findings.append(
            f"{share} of the inputs failed, most of them with {worst} ({card.failed[worst]:,} of {failed:,})."
        )
    findings += split_findings(card)
    across = card.duplicates.get("across_splits", 0)
    if across and not any(split.near_duplicates for split in card.splits.values()):
        findings.append(
            f"{counted(across, 'pair', 'pairs')} of near-duplicate clips in different splits: test clips may have been "
            "trained on."
        )
    if card.silent or card.frozen:
        findings.append(f"{counted(card.silent, 'clip', 'clips')} silent, {card.frozen:,} frozen.")
    for field, name in (("with_video", "frames"), ("with_audio", "audio")):
        without = card.clips - sum(getattr(split, field) for split in card.splits.values())
        if without:
            findings.append(f"{counted(without, 'clip has', 'clips have')} no {name}; they are marked, not filled in.")
    return findings + _label_findings(card)


def _label_findings(card: DatasetCard) -> list[str]:
    totals = card_sections.label_totals(card)
    if not totals:
        return []
    findings = []
    train = card.splits["train"].labels if "train" in card.splits else {}
    unlearned = sorted({label for split in card.splits.values() for label in split.labels} - set(train))
    if unlearned and train:
        some = ", ".join(unlearned[:5]) + (f" and {len(unlearned) - 5:,} more" if len(unlearned) > 5 else "")
        findings.append(f"No training clip has the label {some}: it cannot be learned.")
    none = sum(not total for total in totals.values())
    if none:
        findings.append(f"{counted(none, 'label', 'labels')} of the vocabulary without any clip.")
    fewest = min(totals.values())
    if fewest and max(totals.values()) >= IMBALANCE * fewest:
        findings.append(
            f"The most frequent label has {max(totals.values()) / fewest:,.0f} times as many clips as the rarest."
        )
    return findings

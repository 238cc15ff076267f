"""Sections about a run itself: what is missing, what was run, with which settings, how the training went."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from pemt_tf.config import ClipGeometry, flat_fields
from pemt_tf.report.contents import Curves, Run, Series
from pemt_tf.report.markup import Markup, element
from pemt_tf.report.result_sections import curves
from pemt_tf.report.run_commands import preset_changes, training_command
from pemt_tf.report.run_files import RunFiles
from pemt_tf.report.tables import NUMBER, facts, table
from pemt_tf.report.wording import geometry_in_words

VALIDATION = "validation_"
UNITS = {
    "frame_rate": "frames per second",
    "stored_short_side": "pixels",
    "train_crop": "pixels",
    "train_scale": "pixels, smallest and largest short side",
    "test_crop": "pixels",
    "sample_rate": "samples per second, mono",
    "samples_per_segment": "samples",
    "mel_bins": "bands",
    "mel_frames": "time steps",
}
# Title, what its metrics' names end with or are, a sentence about them. What fits nowhere is a loss term.
GROUPS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("Loss terms", (), ""),
    ("Accuracies", ("accuracy", "top5"), "From 0 to 1."),
    (
        "Spread of the tokens",
        ("spread",),
        "Standard deviation over the batch; near 0 all clips look the same to the model (collapse).",
    ),
    ("Optimizer", ("learning_rate", "gradient_norm"), ""),
    ("Machine", ("per_second", "input_wait_share"), "Input wait: share of the time spent waiting for clips, 0 to 1."),
)


@dataclass(frozen=True)
class MissingPart:
    """Something that the report could show, and the command that makes it; empty where none does."""

    what: str
    command: str = ""


def missing(parts: tuple[MissingPart, ...]) -> Markup:
    """What is not on the page and how to get it."""
    items = [
        element("li", part.what, element("pre", element("code", part.command)) if part.command else None)
        for part in parts
    ]
    return element("ul", items, class_="missing-parts")


def about(files: RunFiles, clips: str) -> Markup:
    """The command, the data and the settings that differ from the preset.

    Args:
        files: the run.
        clips: how many clips the data hold, in words; empty where unknown.
    """
    description, changes = files.description, preset_changes(files.config)
    selection = description.get("selection")
    rows = [
        ("Command", element("code", training_command(files))),
        ("Training", _training(files)),
        ("Weights", f"those of the {selection}" if selection else None),
        ("Began from", _code(description.get("initial")) or _no_start(files)),
        ("Data", _code(description.get("data"))),
        ("Data hash", _code(description.get("data_hash")) or "not recorded"),
        ("Split", f"{description['split']}{f', {clips}' if clips else ''}" if description.get("split") else None),
        ("Labels", f"{len(description['labels']):,}" if description.get("labels") else None),
        ("Source", _code(description.get("source"))),
        ("Clips", geometry_in_words(files.config.geometry)),
        ("Preset", _preset(files.config.name, changes)),
    ]
    return element("div", facts(rows), _changes(changes), _geometry(files.config.geometry), _all_settings(files))


def _training(files: RunFiles) -> str:
    if not files.steps_asked:
        return "none by this run: the weights were converted"
    state = "finished" if files.run.finished else f"not finished: {files.steps_done:,} were logged"
    return f"{files.steps_asked:,} steps, {state}"


def _no_start(files: RunFiles) -> str | None:
    return None if files.kind == "convert" else "random weights"


def _code(text: str | None) -> Markup | None:
    return element("code", text) if text else None


def _preset(name: str, changes: list | None) -> str:
    if changes is None:
        return f"{name}, which is not one of ours: all settings are below"
    return f"{name}, {'as it is' if not changes else 'with the changes below'}"


def _changes(changes: list | None) -> Markup | None:
    if not changes:
        return None
    rows = [(element("code", change.name), _shown(change.preset), _shown(change.run)) for change in changes]
    columns = (("Setting", None), ("Preset", None), ("This run", None))
    return element("div", element("h3", "Changed settings"), table("What is not as in the preset", columns, rows))


def _geometry(geometry: ClipGeometry) -> Markup:
    rows = [(name.replace("_", " "), _shown(value), UNITS.get(name, "")) for name, value in asdict(geometry).items()]
    rows.append(("length of a segment", f"{geometry.segment_seconds:.3f}", "seconds"))
    columns = (("Field", None), ("Value", NUMBER), ("Unit", None))
    content = table("What one clip is to the model", columns, rows)
    return element("details", element("summary", "Clip geometry"), content)


def _all_settings(files: RunFiles) -> Markup:
    fields = flat_fields(files.config.to_dict())
    rows = [(element("code", name), _shown(value)) for name, value in fields.items() if name != "name"]
    columns = (("Setting", None), ("Value", None))
    return element("details", element("summary", "All settings"), table("The resolved configuration", columns, rows))


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_shown, value)) or "none"
    return "none" if value is None else str(value)


def training_curves(metrics: dict[str, Series]) -> Markup:
    """One chart per quantity that was logged, training and validation over each other."""
    return curves(tuple(grouped_curves(metrics)))


def grouped_curves(metrics: dict[str, Series]) -> list[Curves]:
    """Sorts logged quantities into groups that are shown together."""
    titles = {name: _group(name.removeprefix(VALIDATION)) for name in metrics}
    groups = []
    for title, _, note in GROUPS:
        terms = {name: metrics[name] for name in _total_first(metrics) if titles[name] == title}
        runs = [
            Run(run, {name.removeprefix(VALIDATION): series for name, series in terms.items() if held == is_held(name)})
            for run, held in (("training", False), ("validation", True))
        ]
        runs = [run for run in runs if run.terms]
        if runs:
            groups.append(Curves(title, tuple(runs), note))
    return groups


def _total_first(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: name.removeprefix(VALIDATION) != "loss")


def is_held(name: str) -> bool:
    """Whether a metric was measured on the validation split."""
    return name.startswith(VALIDATION)


def _group(name: str) -> str:
    for title, endings, _ in GROUPS:
        if endings and name.endswith(endings):
            return title
    return GROUPS[0][0]

"""What the sections of a run's report show: what is missing, settings, curves, calibration, probes, attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pemt_tf.config import flat_fields
from pemt_tf.report import run_commands
from pemt_tf.report.attention import JOINT, SummaryAttention
from pemt_tf.report.charts import Panel, histogram, reliability_diagram
from pemt_tf.report.contents import Curves, Run, Series
from pemt_tf.report.held_out_clips import AttendedClip, HeldOutClips
from pemt_tf.report.probe_tables import features_in_words, probe_tables
from pemt_tf.report.run_files import RunFiles
from pemt_tf.report.tables import Code, Number, Table
from pemt_tf.report.wording import geometry_in_words, percent

VALIDATION = "validation_"
FULL_COLOUR = 3  # times even attention
CONTENT = {"visual": "frames", "audio": "audio"}
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
# Title, what the names of its metrics end with, a note. Metrics that fit nowhere are loss terms.
GROUPS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("Loss terms", (), ""),
    ("Accuracies", ("accuracy", "top5", "average_precision"), "From 0 to 1."),
    ("Temperature of the alignment", ("_temperature",), "The smaller it is, the more a small difference counts."),
    (
        "Spread of the tokens",
        ("spread",),
        "Standard deviation over the batch; near 0 all clips look the same to the model (collapse).",
    ),
    ("Effective rank of the tokens", ("_rank",), "Number of directions in which the tokens of a batch differ."),
    (
        "Spread of the logits",
        ("logit_std",),
        "How differently candidates are judged; near 0 all are guesses.",
    ),
    ("Optimizer", ("learning_rate", "gradient_norm"), ""),
    ("Machine", ("per_second", "input_wait_share"), "Input wait: share of the time spent waiting for clips, 0 to 1."),
)


@dataclass(frozen=True)
class MissingPart:
    """A part that the report could have, and the command that makes it; empty where there is none."""

    what: str
    command: str = ""


def missing_parts(files: RunFiles, clips: HeldOutClips | None) -> list[MissingPart]:
    """The parts that the run lacks, in the order in which a user would make them."""
    parts = []
    finished = files.run.finished
    if not finished:
        done = f"{files.steps_done:,} of {files.steps_asked:,} steps were logged"
        command = run_commands.training_command(files)
        parts.append(MissingPart(f"The training is not finished: {done}. To continue:", command))
    if files.kind != "convert" and not files.metrics:
        parts.append(MissingPart("Curves: no step was logged yet."))
    if files.kind == "finetune" and not files.evaluations:
        parts.append(MissingPart("Evaluation on held-out clips:", run_commands.measuring_command("evaluate", files)))
    if not files.probes:
        parts.append(MissingPart("Probes of the frozen features:", run_commands.measuring_command("probe", files)))
    if clips is None:
        when = "" if finished else ", once the training is finished"
        parts.append(MissingPart(f"Nearest clips and attention{when}:", run_commands.report_command(files)))
    return parts


def about(files: RunFiles, clips: str) -> dict[str, Any]:
    """The command, the data (`clips` is their number in words), and the settings that differ from the preset."""
    config, description, changes = files.config, files.description, run_commands.preset_changes(files.config)
    selection, labels, split = (description.get(name) for name in ("selection", "labels", "split"))
    preset = f"{config.name}, {'with the changes below' if changes else 'unchanged'}"
    facts = (
        ("Command", Code(run_commands.training_command(files))),
        ("Training", _training(files)),
        ("Weights", f"those of the {selection}" if selection else None),
        ("Began from", _code(description.get("initial")) or (None if files.kind == "convert" else "random weights")),
        ("Data", _code(description.get("data"))),
        ("Data hash", _code(description.get("data_hash")) or "not recorded"),
        ("Split", ", ".join(filter(None, (split, clips))) if split else None),
        ("Labels", f"{len(labels):,}" if labels else None),
        ("Source", _code(description.get("source"))),
        ("Clips", geometry_in_words(config.geometry)),
        ("Preset", preset if changes is not None else f"{config.name}, not one of ours: all settings are below"),
    )
    rows = [(Code(change.name), _shown(change.preset), _shown(change.run)) for change in changes or ()]
    settings = [(Code(name), _shown(value)) for name, value in flat_fields(config.to_dict()).items() if name != "name"]
    geometry = [
        (name.replace("_", " "), _shown(value), UNITS.get(name, "")) for name, value in asdict(config.geometry).items()
    ]
    geometry.append(("length of a segment", f"{config.geometry.segment_seconds:.3f}", "seconds"))
    return {
        "facts": facts,
        "changes": Table("Settings that differ from the preset", ("Setting", "Preset", "This run"), rows),
        "folded": (
            ("Clip geometry", Table("What one clip is to the model", ("Field", Number("Value"), "Unit"), geometry)),
            ("All settings", Table("The resolved configuration", ("Setting", "Value"), settings)),
        ),
    }


def grouped_curves(metrics: dict[str, Series]) -> list[Curves]:
    """Sorts logged quantities into groups that are shown together, validation over training."""
    titles = {name: _group(name.removeprefix(VALIDATION)) for name in metrics}
    total_first = sorted(metrics, key=lambda name: name.removeprefix(VALIDATION) != "loss")
    groups = []
    for title, _, note in GROUPS:
        terms: dict[str, dict[str, Series]] = {"training": {}, "validation": {}}
        for name in total_first:
            if titles[name] == title:
                run = "validation" if name.startswith(VALIDATION) else "training"
                terms[run][name.removeprefix(VALIDATION)] = metrics[name]
        runs = tuple(Run(run, series) for run, series in terms.items() if series)
        if runs:
            groups.append(Curves(title, runs, note))
    return groups


def calibration(evaluation: dict[str, Any]) -> dict[str, Any] | None:
    """Whether the probability of a prediction says how often it is correct; None where it was not measured."""
    found = evaluation.get("calibration") or {}
    bins = found.get("bins")
    if not bins:
        return None
    error = percent(found["expected_calibration_error"], 1)
    edges = [round(edge, 2) for edge in (*(item["low"] for item in bins), bins[-1]["high"])]
    counts = [item["clips"] for item in bins]
    scores = [
        f"{name}: {found[key]:.3f}"
        for name, key in (("Brier score", "brier"), ("negative log-likelihood", "negative_log_likelihood"))
        if found.get(key) is not None
    ]
    panels = (
        Panel("Accuracy", reliability_diagram(bins, f"Reliability diagram; calibration error {error}")),
        Panel("Clips", histogram(edges, counts, "probability", "Clips by the probability of their prediction")),
    )
    return {"error": error, "panels": panels, "scores": "; ".join(scores) + "." if scores else ""}


def probe_sections(probes: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The results of `pemt probe`, split by split."""
    sections = []
    for split, probe in probes.items():
        caution = f" Caution: {probe['caution']}." if probe.get("caution") else ""
        sections.append(
            {"split": split, "note": features_in_words(probe) + caution, "tables": probe_tables(split, probe)}
        )
    return sections


def attended_clips(clips: Sequence[AttendedClip]) -> list[dict[str, Any]]:
    """Clips, each with a table of summary tokens against segments."""
    shown = []
    for item in clips:
        starts = item.clip.segment_starts
        count = item.attention[0].segments.shape[1] if item.attention else 0
        titles = [
            f"{starts[number]:.1f}\N{NO-BREAK SPACE}s" if number < len(starts) else f"{number + 1}"
            for number in range(count)
        ]
        rows = [(_attention_name(found), _attention_cells(found)) for found in item.attention]
        shown.append({"view": item.clip, "titles": [*titles, "summary"], "rows": rows})
    return shown


def _attention_name(found: SummaryAttention) -> str:
    if found.transformer == JOINT:
        return f"joint: summary of {CONTENT[found.summary]} on {CONTENT[found.attended]}"
    return f"{found.transformer}: summary on {CONTENT[found.attended]}"


def _attention_cells(found: SummaryAttention) -> list[tuple[str, float]]:
    """Per cent, and the strength of the colour."""
    values = (*found.segments[0].tolist(), float(found.summaries[0]))
    even = 1 / (len(values) * (2 if found.transformer == JOINT else 1))
    return [(f"{100 * value:.0f}", min(value / (FULL_COLOUR * even), 1.0)) for value in values]


def _training(files: RunFiles) -> str:
    if not files.steps_asked:
        return "none by this run: the weights were converted"
    state = "finished" if files.run.finished else f"not finished: {files.steps_done:,} were logged"
    return f"{files.steps_asked:,} steps, {state}"


def _code(text: str | None) -> Code | None:
    return Code(text) if text else None


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_shown, value)) or "none"
    return "none" if value is None else str(value)


def _group(name: str) -> str:
    for title, endings, _ in GROUPS:
        if endings and name.endswith(endings):
            return title
    return GROUPS[0][0]

"""`MODEL_CARD.md` of a run, with the fields of Mitchell et al., Model Cards for Model Reporting (FAT* 2019).

What the run does not know is said to be not known; nothing is filled in on the user's behalf.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pemt_tf import __version__
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.models.parameter_report import ParameterReport
from pemt_tf.report.evaluation_sections import interval, notes_of, views_and_crops
from pemt_tf.report.probe_sections import RECALLS, features_in_words, retrieval_rows, streams_of
from pemt_tf.report.run_commands import all_commands, evaluate_command, preset_changes, probe_command
from pemt_tf.report.run_files import RunFiles
from pemt_tf.report.wording import geometry_in_words, percent

UNKNOWN = "Not known."
PAPER = "Lee et al., Parameter Efficient Multimodal Transformers for Video Representation Learning, ICLR 2021"
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!&])")
LABELS_NAMED = 60


def model_card(files: RunFiles, parameters: ParameterReport, card: DatasetCard | None) -> str:
    """The card as Markdown.

    Args:
        files: the run.
        parameters: of its model.
        card: of its data, if it is known.
    """
    sections = (
        ("Model details", _details(files, parameters)),
        ("Intended use", _intended_use(files)),
        ("Factors", _factors(files)),
        ("Metrics", _metrics(files)),
        ("Evaluation data", _evaluation_data(files, card)),
        ("Training data", _training_data(files, card)),
        ("Quantitative analyses", _results(files)),
        ("Ethical considerations", _ethics(card)),
        ("Caveats and recommendations", _caveats(files, card)),
        ("How to reproduce", _reproduce(files, card)),
    )
    parts = [f"# Model card: {plain(files.name)}", *(f"## {title}\n\n{text}" for title, text in sections)]
    return "\n\n".join(parts) + "\n"


def plain(text: Any) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _MARKUP.sub(r"\\\1", " ".join(str(text).split()))


def code(text: Any) -> str:
    """Text as code, on one line, whatever ticks it holds."""
    line = " ".join(str(text).split())
    ticks = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    return f"{ticks} {line} {ticks}" if "`" in line else f"{ticks}{line}{ticks}"


def bullets(items: Iterable[str | None]) -> str:
    """A list; entries that are None are left out."""
    return "\n".join(f"- {item}" for item in items if item is not None)


def grid(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _details(files: RunFiles, parameters: ParameterReport) -> str:
    model, description = files.config.model, files.description
    changes = preset_changes(files.config)
    preset = "not one that ships with this software" if changes is None else f"{len(changes)} settings changed"
    state = "finished" if files.run.finished else f"not finished: {files.steps_done:,} of {files.steps_asked:,} steps"
    sharing = f"sharing {code(model.sharing)}, fusion {code(model.fusion)}"
    return bullets(
        (
            f"Kind: audio-visual Transformer, {' and '.join(model.modalities)} stream; {sharing} ({PAPER}).",
            f"Made by: {files.kind_name.lower()} with pemt-tf {__version__}; state: {state}.",
            f"Parameters without heads: {parameters.total:,}. {parameters.summary}.",
            f"Preset: {code(files.config.name)}, {preset}; all settings are in {code('config.json')}.",
            f"Began from: {code(description['initial'])}." if description.get("initial") else None,
            f"Converted from: {code(description['source'])}." if description.get("source") else None,
            f"Selection of the weights: {plain(description.get('selection') or 'last step')}.",
            "Developer, date, version and licence of the model, contact: not known; fill them in.",
        )
    )


def _intended_use(files: RunFiles) -> str:
    labels = files.description.get("labels") or []
    named = ", ".join(plain(label) for label in labels[:LABELS_NAMED])
    more = f" and {len(labels) - LABELS_NAMED:,} more" if len(labels) > LABELS_NAMED else ""
    if labels:
        use = f"Naming one of {len(labels):,} labels for a clip of video, sound, or both: {named}{more}."
    else:
        use = "Embeddings of clips of video, sound, or both: for search, and as a start for fine-tuning."
    return bullets(
        (
            f"Use: {use}",
            "Users: those who trained it and have clips like the training clips.",
            "Out of scope: clips of another kind than the training data; identifying people; decisions about people.",
            "A classifier always names one of its labels, whatever it is shown." if labels else None,
        )
    )


def _factors(files: RunFiles) -> str:
    measured = (
        "labels (see the results)" if any(item.get("per_class") for item in files.evaluations.values()) else "none"
    )
    return bullets(
        (
            f"Factors that were measured: {measured}.",
            "Not measured: people in the clips (age, sex, skin, language, accent), place, recording device, quality of "
            "picture and sound. How the model differs over them is not known.",
        )
    )


def _metrics(files: RunFiles) -> str:
    if not files.evaluations and not files.probes:
        return "Nothing was measured yet."
    notes = [note for split, item in files.evaluations.items() for note in notes_of(split, item)]
    return bullets(
        (
            "Top-1 and top-5: share of clips whose label is the most probable one, or among the five most probable."
            if files.evaluations
            else None,
            "Calibration error: mean distance between the probability of the named label and the share that is right."
            if any(item.get("calibration") for item in files.evaluations.values())
            else None,
            "Intervals: 95 %.",
            *map(plain, notes),
        )
    )


def _evaluation_data(files: RunFiles, card: DatasetCard | None) -> str:
    found = {**files.probes, **files.evaluations}
    if not found:
        return "None: the model was not evaluated."
    lines = []
    for split, item in found.items():
        clips = f", {item['clips']:,} clips" if "clips" in item else ""
        data = f", data hash {code(item['data_hash'])}" if item.get("data_hash") else ""
        lines.append(f"Split {plain(split)}{clips}{data}.")
    trained = files.description.get("data_hash")
    if trained and all(item.get("data_hash") == trained for item in found.values()):
        lines.append("The same data set as for training, another split, unless the split is the training split.")
    if card is not None and card.duplicates.get("across_splits"):
        lines.append(f"Nearly equal clips across splits: {card.duplicates['across_splits']:,} pairs.")
    return bullets(lines)


def _training_data(files: RunFiles, card: DatasetCard | None) -> str:
    description, geometry = files.description, files.config.geometry
    split = card.splits.get(description.get("split") or "") if card is not None else None
    where = description.get("data")
    return bullets(
        (
            f"Data: {code(where)}, split {plain(description.get('split') or 'not known')}."
            if where
            else f"Data: {UNKNOWN}",
            f"Hash of the records: {code(description['data_hash'])}."
            if description.get("data_hash")
            else f"Hash of the records: {UNKNOWN}",
            f"Clips: {split.clips:,}, of them labelled {split.clips - split.unlabelled:,}, with pictures "
            f"{split.with_video:,}, with sound {split.with_audio:,}; {split.seconds / 3600:.2f} hours."
            if split
            else f"Clips: {UNKNOWN}",
            f"Source: {code(card.source)}." if card is not None and card.source else f"Source: {UNKNOWN}",
            f"Clip geometry: {geometry_in_words(geometry)}.",
            "How the clips were chosen and labelled, and under which terms: not known; fill it in.",
        )
    )


def _results(files: RunFiles) -> str:
    parts = []
    if files.evaluations:
        rows = [
            (
                plain(split),
                f"{item['clips']:,}",
                _share(item["accuracy"], item["interval"]),
                _share(item.get("top5"), item.get("top5_interval")),
                percent(item["chance"], 1) if "chance" in item else "",
                views_and_crops(item),
                percent(item["calibration"]["expected_calibration_error"], 1) if item.get("calibration") else "",
            )
            for split, item in files.evaluations.items()
        ]
        columns = ("split", "clips", "top-1 (95 %)", "top-5 (95 %)", "chance", "views × crops", "calibration error")
        parts.append(grid(columns, rows))
    parts += [_label_table(split, item) for split, item in files.evaluations.items() if item.get("per_class")][:1]
    for split, probe in files.probes.items():
        parts += _probe_tables(split, probe)
    return "\n\n".join(parts) or "Nothing was measured yet."


def _label_table(split: str, item: dict[str, Any]) -> str:
    rows = [
        (plain(row["label"]), f"{row['clips']:,}", _share(row.get("accuracy"), row.get("interval")))
        for row in item["per_class"]
    ]
    return f"By label, {plain(split)} split:\n\n{grid(('label', 'clips', 'right (95 %)'), rows)}"


def _probe_tables(split: str, probe: dict[str, Any]) -> list[str]:
    tables = []
    rows = []
    for stream, measured in streams_of(probe).items():
        linear, voting = measured.get("linear") or {}, measured.get("knn") or {}
        if linear or voting:
            cells = [_share(found.get("accuracy"), found.get("interval")) for found in (linear, voting)]
            rows.append((stream, *cells))
    if rows:
        columns = ("stream", "linear (95 %)", "nearest neighbours (95 %)")
        tables.append(f"Frozen features, {plain(split)} split. {features_in_words(probe)}\n\n{grid(columns, rows)}")
    rows = [
        (
            name,
            plain(method),
            *(percent(item[recall], 1) if recall in item else "" for recall in RECALLS),
            f"{item['median_rank']:g}" if item.get("median_rank") is not None else "",
            f"{item.get('clips', 0):,}",
        )
        for name, method, item in retrieval_rows(probe)
    ]
    if rows:
        columns = ("retrieval", "by", "R@1", "R@5", "R@10", "median rank", "among clips")
        tables.append(grid(columns, rows))
    return tables


def _share(value: float | None, bounds: Any) -> str:
    if value is None:
        return "not measured"
    return f"{percent(value, 1)} ({interval(bounds)})" if bounds else percent(value, 1)


def _ethics(card: DatasetCard | None) -> str:
    return bullets(
        (
            "Whether the clips show people, and whether they agreed, is not known to this software.",
            "The model learns what its clips show, with their biases; none of them was looked for.",
            "Embeddings can be used to find clips of the same person or place.",
        )
    )


def _caveats(files: RunFiles, card: DatasetCard | None) -> str:
    cautions = [
        f"{plain(split)}{what}: {plain(item['caution'])}."
        for what, found in (("", files.evaluations), (", frozen features", files.probes))
        for split, item in found.items()
        if item.get("caution")
    ]
    return bullets(
        (
            "The training is not finished." if not files.run.finished else None,
            "One run with one seed: the intervals hold for the choice of test clips, not for the chance of training.",
            *cautions,
            f"Not evaluated as a classifier; measure with {code(evaluate_command(files))}."
            if files.kind == "finetune" and not files.evaluations
            else None,
            f"Frozen features were not probed; measure with {code(probe_command(files))}."
            if not files.probes
            else None,
            f"Silent clips in the data: {card.silent:,}; clips whose pictures do not change: {card.frozen:,}."
            if card is not None and (card.silent or card.frozen)
            else None,
            "Clips of another geometry are refused, not converted.",
        )
    )


def _reproduce(files: RunFiles, card: DatasetCard | None) -> str:
    changes = preset_changes(files.config) or ()
    rows = [(code(change.name), code(change.preset), code(change.run)) for change in changes]
    settings = grid(("setting", "preset", "this run"), rows) if rows else "No setting differs from the preset."
    if preset_changes(files.config) is None:
        settings = f"The preset is the user's own; its settings are in {code('config.json')}."
    commands = "\n".join(" ".join(command.split()) for command in all_commands(files, card))
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", commands + "``")))
    return f"{fence}\n{commands}\n{fence}\n\n{settings}"

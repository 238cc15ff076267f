"""`report.html` of a run: what was run, how it went, what was measured, and what it makes of a few clips."""

from __future__ import annotations

import platform
from pathlib import Path

from pemt_tf import __version__
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.errors import PemtError
from pemt_tf.files.output_check import require_writable_folder
from pemt_tf.files.whole_file import write_text
from pemt_tf.models.parameter_report import ParameterReport, parameter_report
from pemt_tf.report import (
    attention_sections,
    clip_sections,
    contents,
    evaluation_sections,
    probe_sections,
    result_sections,
    run_commands,
    run_sections,
)
from pemt_tf.report.held_out_clips import HeldOutClips, look_at_clips
from pemt_tf.report.markup import Markup, element
from pemt_tf.report.model_card import model_card
from pemt_tf.report.page import Section, document
from pemt_tf.report.run_files import RunFiles
from pemt_tf.report.run_sections import MissingPart
from pemt_tf.report.wording import counted, percent

REPORT, MODEL_CARD = "report.html", "MODEL_CARD.md"


def report_run(
    path: Path, data: Path | None = None, output: Path | None = None, clips: int = 4, searched: int = 300
) -> tuple[Path, Path]:
    """Writes the report and the model card of a run.

    Args:
        path: folder of the run, finished or not.
        data: data set whose held-out clips are looked at; None leaves these sections out.
        output: folder to write to; that of the run by default.
        clips, searched: see `look_at_clips`.

    Returns:
        The paths of both files.

    Raises:
        PemtError: no run, damaged files, other geometry, nothing can be written.
    """
    if min(clips, searched) < 1:
        raise PemtError(f"--clips {clips} and --search {searched} must both be at least 1")
    files = RunFiles.read(path)
    card = run_commands.dataset_card(files, data)
    folder = path if output is None else output
    require_writable_folder(folder, "--output")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PemtError(f"cannot make the folder {folder}: {error.strerror or error}") from None
    held_out = _look(files, data, clips, searched) if data is not None and files.run.finished else None
    parameters = parameter_report(files.config.model)
    page = write_text(folder / REPORT, run_page(files, parameters, card, held_out))
    return page, write_text(folder / MODEL_CARD, model_card(files, parameters, card))


def _look(files: RunFiles, data: Path, clips: int, searched: int) -> HeldOutClips:
    from pemt_tf.data.clip_source import ClipSource

    source = ClipSource.open(data)
    source.require_geometry(files.config.geometry)
    return look_at_clips(files.run.load_backbone(), source, clips, searched)


def run_page(
    files: RunFiles, parameters: ParameterReport, card: DatasetCard | None, clips: HeldOutClips | None = None
) -> str:
    """The whole document.

    Args:
        files: the run.
        parameters: of its model.
        card: of its data, if it is known.
        clips: what the model made of held-out clips, if it was asked.
    """
    evaluation = files.evaluation or {}
    parts = missing_parts(files, clips)
    candidates: list[tuple[str, str, Markup | None]] = [
        ("missing", "What is missing", run_sections.missing(parts) if parts else None),
        ("about", "What was run", run_sections.about(files, _clips_in_words(files, card))),
        ("evaluation", "Evaluation", evaluation_sections.evaluations(files.evaluations) if evaluation else None),
        (
            "labels",
            "Label by label",
            evaluation_sections.per_label(evaluation) if evaluation.get("per_class") else None,
        ),
        ("confusion", "Which labels are confused", _confusion(evaluation)),
        ("calibration", "Calibration", _calibration(evaluation)),
        ("probes", "Frozen features", probe_sections.probes(files.probes) if files.probes else None),
        ("curves", "Training", run_sections.training_curves(files.metrics) if files.metrics else None),
        ("neighbours", "Nearest clips", _neighbours(clips) if clips else None),
        ("attention", "What it attends to", attention_sections.attention(clips.attended) if clips else None),
        ("parameters", "The model", result_sections.parameters(_parameter_table(parameters))),
        ("commands", "How to reproduce it", _commands(files, card)),
    ]
    sections: list[Section] = [(anchor, title, content) for anchor, title, content in candidates if content]
    footer = f"pemt-tf {__version__}, Python {platform.python_version()}; run folder {files.run.path}"
    return document(
        f"{files.kind_name}: {files.name}", _subtitle(files), _key_figures(files, parameters), sections, footer
    )


def missing_parts(files: RunFiles, clips: HeldOutClips | None) -> tuple[MissingPart, ...]:
    """What the run lacks, in the order in which one would make it."""
    parts = []
    if not files.run.finished:
        done = f"{files.steps_done:,} of {files.steps_asked:,} steps were logged"
        parts.append(
            MissingPart(f"The training is not finished: {done}. It goes on with", run_commands.training_command(files))
        )
    if files.kind != "convert" and not files.metrics:
        parts.append(MissingPart("Curves: no step was logged yet."))
    if files.kind == "finetune" and not files.evaluations:
        parts.append(MissingPart("Evaluation on held-out clips, by", run_commands.evaluate_command(files)))
    if not files.probes:
        parts.append(MissingPart("Probes of the frozen features, by", run_commands.probe_command(files)))
    if clips is None:
        when = "" if files.run.finished else ", once the training is finished"
        parts.append(MissingPart(f"Nearest clips and attention{when}, by", run_commands.report_command(files)))
    return tuple(parts)


def _subtitle(files: RunFiles) -> str:
    if files.kind == "convert":
        return f"Weights converted from {files.description.get('source') or 'a checkpoint'}."
    data = files.description.get("data") or "unknown data"
    how = "with labels" if files.kind == "finetune" else "without labels"
    return f"{files.steps_asked:,} steps {how} on {data}, preset {files.config.name}."


def _key_figures(files: RunFiles, parameters: ParameterReport) -> tuple[contents.KeyFigure, ...]:
    figures = []
    found = files.evaluation
    if found:
        details = [f"95 % interval {evaluation_sections.interval(found['interval'])}"]
        if "chance" in found:
            details.append(f"chance {percent(found['chance'], 1)}")
        if found.get("caution"):
            details.append(f"caution: {found['caution']}")
        what = f"top-1 on {counted(found['clips'], 'clip', 'clips')} of the {found['split']} split"
        figures.append(contents.KeyFigure(percent(found["accuracy"], 1), what, "; ".join(details)))
    elif files.probes:
        figures += _probe_figure(*next(iter(files.probes.items())))
    if files.steps_asked:
        done = files.steps_asked if files.run.finished else files.steps_done
        state = "finished" if files.run.finished else "not finished"
        figures.append(contents.KeyFigure(f"{done:,}", f"of {files.steps_asked:,} steps", state))
    figures.append(contents.KeyFigure(f"{parameters.total:,}", "parameters", parameters.summary))
    return tuple(figures)


def _probe_figure(split: str, probe: dict) -> list[contents.KeyFigure]:
    measured = {name: stream.get("linear") or {} for name, stream in probe_sections.streams_of(probe).items()}
    name = next((name for name in ("joint", "visual", "audio") if "accuracy" in measured.get(name, {})), None)
    if name is None:
        return []
    bounds = evaluation_sections.interval(measured[name].get("interval"))
    caution = f"caution: {probe['caution']}" if probe.get("caution") else ""
    detail = "; ".join(part for part in (f"95 % interval {bounds}" if bounds else "", caution) if part)
    return [contents.KeyFigure(percent(measured[name]["accuracy"], 1), f"linear probe, {name}, {split} split", detail)]


def _clips_in_words(files: RunFiles, card: DatasetCard | None) -> str:
    split = card.splits.get(files.description.get("split") or "") if card else None
    if split is None:
        return ""
    return f"{counted(split.clips, 'clip', 'clips')}, {split.clips - split.unlabelled:,} of them labelled"


def _confusion(evaluation: dict) -> Markup | None:
    if not evaluation:
        return None
    matrix = contents.ConfusionMatrix(tuple(evaluation["labels"]), tuple(map(tuple, evaluation["confusion"])))
    note = element("p", f"Split {evaluation['split']}.", class_="note")
    return element("div", note, result_sections.confusion(matrix, per_label=not evaluation.get("per_class")))


def _calibration(evaluation: dict) -> Markup | None:
    found = evaluation.get("calibration") or {}
    return evaluation_sections.calibration(found) if found.get("bins") else None


def _neighbours(clips: HeldOutClips) -> Markup:
    where = element(
        "p",
        f"Asked for: clips of the {clips.split} split. Searched: the first "
        f"{counted(clips.searched, 'clip', 'clips')} of the {clips.searched_split} split.",
        class_="note",
    )
    return element("div", where, clip_sections.neighbour_lists(clips.neighbours))


def _parameter_table(report: ParameterReport) -> contents.ParameterTable:
    rows = tuple(contents.ParameterRow(row.part, row.parameters, row.shared_by) for row in report.rows)
    return contents.ParameterTable(rows, report.total, report.summary)


def _commands(files: RunFiles, card: DatasetCard | None) -> Markup:
    note = "Restored from what the run recorded; paths are as they were given."
    commands = tuple(contents.CommandRun(command) for command in run_commands.all_commands(files, card))
    return element("div", element("p", note, class_="note"), result_sections.commands(commands))

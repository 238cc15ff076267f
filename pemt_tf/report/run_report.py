"""`report.html` and `MODEL_CARD.md` of a run: settings, curves, results, and a few clips with the trained model."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from pemt_tf import __version__
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.errors import PemtError
from pemt_tf.files.output_check import require_writable_folder
from pemt_tf.files.whole_file import write_text
from pemt_tf.models.parameter_report import ParameterReport, parameter_report
from pemt_tf.report import run_commands, run_sections
from pemt_tf.report.contents import CommandRun, ConfusionMatrix, KeyFigure
from pemt_tf.report.evaluation_tables import evaluation_notes, evaluation_table, label_accuracies
from pemt_tf.report.held_out_clips import HeldOutClips, look_at_clips
from pemt_tf.report.model_card import model_card
from pemt_tf.report.page import Section, document
from pemt_tf.report.probe_tables import probed_modalities
from pemt_tf.report.run_files import RunFiles
from pemt_tf.report.several_tables import PRECISION, figure_details, is_several
from pemt_tf.report.tables import interval
from pemt_tf.report.wording import counted, percent

REPORT, MODEL_CARD = "report.html", "MODEL_CARD.md"


def report_run(
    path: Path, data: Path | None = None, output: Path | None = None, clips: int = 4, searched: int = 300
) -> tuple[Path, Path]:
    """Writes the report and the model card of a run, finished or not, and returns the paths of both.

    They go to the run's own folder, or to `output`. Without `data` no held-out clips are looked at.
    """
    if min(clips, searched) < 1:
        raise PemtError(f"--clips {clips} and --search {searched} must both be at least 1")
    files = RunFiles.read(path)
    card = run_commands.dataset_card(files, data)
    folder = path if output is None else output
    require_writable_folder(folder, "--output")
    held_out = _look(files, data, clips, searched) if data is not None and files.run.finished else None
    parameters = parameter_report(files.config.model)
    page = write_text(folder / REPORT, run_page(files, parameters, card, held_out), make_folder=True)
    return page, write_text(folder / MODEL_CARD, model_card(files, parameters, card))


def _look(files: RunFiles, data: Path, clips: int, searched: int) -> HeldOutClips:
    from pemt_tf.data.clip_source import ClipSource

    source = ClipSource.open(data)
    source.require_geometry(files.config.geometry)
    return look_at_clips(files.run.load_backbone(), source, clips, searched)


def run_page(files: RunFiles, parameters: ParameterReport, card: DatasetCard | None, clips: HeldOutClips | None) -> str:
    """The whole page; without the data's card or held-out clips, what they would show is left out."""
    evaluation = files.evaluation or {}
    sections = (
        Section("missing", "What is missing", "missing.html", run_sections.missing_parts(files, clips)),
        Section("about", "What was run", "about.html", run_sections.about(files, _clips_in_words(files, card))),
        Section("evaluation", "Evaluation", "evaluation.html", evaluation and _evaluations(files)),
        Section("labels", "Label by label", "labels.html", label_accuracies(evaluation)),
        Section("confusion", "Which labels are confused", "confusion.html", _confusion(evaluation)),
        Section("calibration", "Calibration", "calibration.html", run_sections.calibration(evaluation)),
        Section("probes", "Frozen features", "probes.html", run_sections.probe_sections(files.probes)),
        Section("curves", "Training", "curves.html", run_sections.grouped_curves(files.metrics)),
        Section("neighbours", "Nearest clips", "neighbours.html", clips and _neighbours(clips)),
        Section(
            "attention",
            "What it attends to",
            "attention.html",
            clips and run_sections.attended_clips(clips.attended),
        ),
        Section("parameters", "The model", "parameters.html", parameters),
        Section("commands", "How to reproduce it", "commands.html", _commands(files, card)),
    )
    footer = f"pemt-tf {__version__}, Python {platform.python_version()}; run folder {files.run.path}"
    title = f"{files.kind_name}: {files.name}"
    return document(title, _subtitle(files), _key_figures(files, parameters), sections, footer)


def _subtitle(files: RunFiles) -> str:
    if files.kind == "convert":
        return f"Weights converted from {files.description.get('source') or 'a checkpoint'}."
    data = files.description.get("data") or "unknown data"
    how = "with labels" if files.kind == "finetune" else "without labels"
    return f"{files.steps_asked:,} steps {how} on {data}, preset {files.config.name}."


def _key_figures(files: RunFiles, parameters: ParameterReport) -> list[KeyFigure]:
    figures = []
    found = files.evaluation
    if found and is_several(found):
        details = figure_details(found) + ([f"caution: {found['caution']}"] if found.get("caution") else [])
        what = f"mean average precision on {counted(found['clips'], 'clip', 'clips')} of the {found['split']} split"
        figures.append(KeyFigure(percent(found[PRECISION], 1), what, "; ".join(details)))
    elif found:
        details = [f"95 % interval {interval(found['interval'])}"]
        if "chance" in found:
            details.append(f"chance {percent(found['chance'], 1)}")
        if found.get("caution"):
            details.append(f"caution: {found['caution']}")
        what = f"top-1 on {counted(found['clips'], 'clip', 'clips')} of the {found['split']} split"
        figures.append(KeyFigure(percent(found["accuracy"], 1), what, "; ".join(details)))
    elif files.probes:
        figures += _probe_figure(*next(iter(files.probes.items())))
    if files.steps_asked:
        done = files.steps_asked if files.run.finished else files.steps_done
        state = "finished" if files.run.finished else "not finished"
        figures.append(KeyFigure(f"{done:,}", f"of {files.steps_asked:,} steps", state))
    return [*figures, KeyFigure(f"{parameters.total:,}", "parameters", parameters.summary)]


def _probe_figure(split: str, probe: dict[str, Any]) -> list[KeyFigure]:
    measured = {name: found.get("linear") or {} for name, found in probed_modalities(probe).items()}
    name = next((name for name in ("joint", "visual", "audio") if "accuracy" in measured.get(name, {})), None)
    if name is None:
        return []
    bounds = interval(measured[name].get("interval"))
    caution = f"caution: {probe['caution']}" if probe.get("caution") else ""
    detail = "; ".join(part for part in (f"95 % interval {bounds}" if bounds else "", caution) if part)
    return [KeyFigure(percent(measured[name]["accuracy"], 1), f"linear probe, {name}, {split} split", detail)]


def _clips_in_words(files: RunFiles, card: DatasetCard | None) -> str:
    split = card.splits.get(files.description.get("split") or "") if card else None
    if split is None:
        return ""
    return f"{counted(split.clips, 'clip', 'clips')}, {split.clips - split.unlabelled:,} of them labelled"


def _evaluations(files: RunFiles) -> dict[str, Any]:
    notes = [" ".join(evaluation_notes(split, item)) for split, item in files.evaluations.items()]
    return {"table": evaluation_table(files.evaluations), "notes": notes}


def _confusion(evaluation: dict[str, Any]) -> dict[str, Any] | None:
    if not evaluation or is_several(evaluation):
        return None
    matrix = ConfusionMatrix(tuple(evaluation["labels"]), tuple(map(tuple, evaluation["confusion"])))
    # Where the report has a section for the labels, their accuracies stand there.
    return {"matrix": matrix, "per_label": not evaluation.get("per_class"), "about": f"Split {evaluation['split']}."}


def _neighbours(clips: HeldOutClips) -> dict[str, Any]:
    about = (
        f"Queries: clips of the {clips.split} split. Searched: the first "
        f"{counted(clips.searched, 'clip', 'clips')} of the {clips.searched_split} split."
    )
    return {"rows": clips.neighbours, "about": about}


def _commands(files: RunFiles, card: DatasetCard | None) -> dict[str, Any]:
    runs = [CommandRun(command) for command in run_commands.all_commands(files, card)]
    return {"runs": runs, "about": "Restored from what the run recorded; paths are as they were given."}

"""All steps in one command: corpus, records, pretraining, fine-tuning, evaluation, SavedModel, predictions, report.

The steps run as the commands that a user would type. Started again on the same folder, the demo skips finished steps.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pemt_tf.config import Config
from pemt_tf.data.dataset_card import CARD_NAME, DatasetCard
from pemt_tf.demo.summary import DemoFolder, DemoResult, build_report
from pemt_tf.errors import PemtError
from pemt_tf.report.contents import CommandRun
from pemt_tf.report.wording import duration
from pemt_tf.terminal.child_process import run_and_wait
from pemt_tf.terminal.progress import Progress
from pemt_tf.training.run_directory import RunDirectory

PRESET = "tiny"
UNLABELLED = 400
TEST_PER_CLASS = 12
QUERIES = 3


@dataclass
class _Commands:
    """Runs commands, shows them, and records how long they took."""

    say: Callable[[str], None]
    runs: list[CommandRun] = field(default_factory=list)

    def run(self, title: str, done: bool, *arguments: str, module: str = "pemt_tf.cli") -> None:
        """Runs `python -m module arguments`, unless it is done; a command that fails has said why itself."""
        name = "pemt" if module == "pemt_tf.cli" else f"python -m {module}"
        shown = f"{name} {shlex.join(arguments)}"
        self.say(f"\n== {title}\n$ {shown}")
        if done:
            self.say("already done")
            self.runs.append(CommandRun(shown))
            return
        started = time.monotonic()
        code = run_and_wait([sys.executable, "-m", module, *arguments])
        if code == 130:
            raise KeyboardInterrupt
        if code:
            raise PemtError(f"the demo stopped at `{shown}`, which failed; its message stands above")
        self.runs.append(CommandRun(shown, time.monotonic() - started))


def run_demo(output: Path, videos: Path | None, seed: int, overrides: list[str], say: Callable[[str], None]) -> Path:
    """Runs the demo, or continues an interrupted one; returns the path of the report.

    Args:
        output: the demo's folder.
        videos: folder of the user's own videos; None makes a corpus.
        seed: random seed of the corpus and of training.
        overrides: `section.field=value` assignments for the training commands.
        say: writes one line.
    """
    started = time.monotonic()
    folder = DemoFolder(output)
    if videos is not None and not videos.is_dir():
        raise PemtError(f"VIDEOS: {videos} is not a folder")
    folder.claim(videos, seed, overrides)
    commands = _Commands(say)
    _prepare(folder, videos, seed, commands)
    card = DatasetCard.read(folder.records)
    result = DemoResult(folder=folder, videos=videos, card=card)
    held_out = None
    if result.classifies:
        held_out = next((s for s in ("test", "validation") if s in card.splits and card.splits[s].labels), None)
    settings = [f"pretrain.seed={seed}", f"finetune.seed={seed}", *overrides]
    _train(folder, result.classifies, settings, commands, held_out)
    if held_out:
        result.read_evaluations(held_out)
    say("\n== Predictions of the SavedModel")
    result.ask_model(QUERIES, say)
    result.commands = commands.runs
    result.seconds = time.monotonic() - started
    report = build_report(result)
    steps = f"All steps took {duration(result.seconds)}."
    for line in ("", *result.summary_lines(), steps, f"Report: {report}"):
        say(line)
    return report


def _prepare(folder: DemoFolder, videos: Path | None, seed: int, commands: _Commands) -> None:
    """Makes the corpus unless videos are given, and preprocesses the videos."""
    if videos is None and not folder.corpus.is_dir():
        from pemt_tf.demo.corpus import make_corpus

        commands.say("== Making a corpus: synthetic keypad tones over real handwriting")
        progress = Progress("corpus", 0, "files")

        def on_progress(done: int, total: int) -> None:
            progress.total = total
            progress.update(done)

        summary = make_corpus(
            folder.corpus, seed, unlabelled=UNLABELLED, test_per_class=TEST_PER_CLASS, on_progress=on_progress
        )
        progress.close()
        commands.say(
            f"{summary.labelled} labelled, {summary.unlabelled} unlabelled and {summary.test} held-out files, "
            f"{summary.size / 1e6:.0f} MB: {folder.corpus}"
        )
    commands.run(
        "Videos to records",
        (folder.records / CARD_NAME).is_file(),
        *("--input", str(videos or folder.corpus), "--output", str(folder.records), "--preset", PRESET),
        module="beam_jobs.preprocess",
    )


def _train(
    folder: DemoFolder, classifies: bool, overrides: list[str], commands: _Commands, held_out: str | None
) -> None:
    """Pretrains; fine-tunes with and without pretraining; evaluates both; exports."""
    data = ("--data", str(folder.records))
    settings = ("--preset", PRESET, *(part for override in overrides for part in ("--set", override)))
    commands.run(
        "Pretraining without labels",
        RunDirectory(folder.pretrained).finished,
        *("pretrain", *data, *settings, "--output", str(folder.pretrained)),
    )
    final = folder.pretrained
    if classifies:
        final = folder.finetuned
        rate = Config.from_preset(PRESET).finetune.base_learning_rate
        finetune = ("finetune", *data, *settings)
        commands.run(
            "Fine-tuning on the few labels",
            RunDirectory(folder.finetuned).finished,
            *(*finetune, "--init", str(folder.pretrained), "--output", str(folder.finetuned)),
        )
        commands.run(
            "The same network without pretraining, for comparison",
            RunDirectory(folder.scratch).finished,
            # There is nothing to preserve, so the whole network learns at the rate of the heads.
            *(*finetune, "--set", f"finetune.finetune_learning_rate={rate}", "--output", str(folder.scratch)),
        )
    for run in (folder.finetuned, folder.scratch) if held_out else ():
        commands.run(
            f"Evaluation on held-out files: {run.name}",
            (run / f"evaluation-{held_out}.json").is_file(),
            *("evaluate", "--model", str(run), *data, "--split", str(held_out)),
        )
    commands.run(
        "A SavedModel for TF Serving",
        (folder.servable / "1").is_dir(),
        *("export", "--model", str(final), "--output", str(folder.servable)),
    )

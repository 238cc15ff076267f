"""`pemt report`: a page and a model card about one run."""

from __future__ import annotations

from pathlib import Path

from pemt_tf.commands.arguments import add_command, say


def add(commands) -> None:
    """Declares the command."""
    command = add_command(
        commands,
        "report",
        _run,
        "write report.html and MODEL_CARD.md about a run",
        "pemt report out/finetuned --data out/records",
    )
    command.add_argument("run_folder", metavar="RUN", help="run of `pemt pretrain` or `pemt finetune`, finished or not")
    command.add_argument(
        "--data", type=Path, help="folder written by beam_jobs.preprocess: adds nearest clips and attention"
    )
    command.add_argument("--output", type=Path, help="folder to write to (default: the run's)")
    command.add_argument("--clips", type=int, default=4, help="held-out clips to look at (default: %(default)s)")
    command.add_argument(
        "--search", type=int, default=300, help="training clips to look for neighbours in (default: %(default)s)"
    )


def _run(options) -> None:
    from pemt_tf.report.run_report import report_run

    for path in report_run(Path(options.run_folder), options.data, options.output, options.clips, options.search):
        say(f"{path}")

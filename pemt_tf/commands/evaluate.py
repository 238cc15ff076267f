"""`pemt evaluate`: how good a classifier is on clips that it has not seen."""

from __future__ import annotations

from pathlib import Path

from pemt_tf.commands.arguments import add_command, say, seed_number, whole_number
from pemt_tf.files.output_check import require_writable_file


def add(commands) -> None:
    """Declares the command."""
    command = add_command(
        commands,
        "evaluate",
        _run,
        "measure a classifier on held-out clips",
        "pemt evaluate --model out/finetuned --data out/records --split test --crops 3",
    )
    command.add_argument("--model", required=True, help="run of `pemt finetune`")
    command.add_argument("--data", required=True, help="folder written by beam_jobs.preprocess")
    command.add_argument("--split", default="test", help="train, validation or test (default: %(default)s)")
    command.add_argument(
        "--views",
        type=whole_number,
        metavar="N",
        help="segments of a clip whose votes are summed (default: all of them)",
    )
    command.add_argument(
        "--crops",
        type=int,
        choices=(1, 3),
        default=1,
        help="crops whose votes are summed: 1, the centre; 3, start, centre and end of the longer side (default: 1)",
    )
    command.add_argument(
        "--sum-over",
        choices=("clip", "path"),
        default="clip",
        help="what is judged: every clip, or every source file by the votes of all its clips (default: clip)",
    )
    command.add_argument("--batch-size", type=whole_number, default=16, help="clips at once (default: %(default)s)")
    command.add_argument("--seed", type=seed_number, default=0, help="of the bootstrap (default: %(default)s)")
    command.add_argument("--output", help="JSON file (default: evaluation-SPLIT.json in the run's folder)")


def _run(options) -> None:
    from pemt_tf.data.clip_source import ClipSource
    from pemt_tf.evaluation.classification import evaluate
    from pemt_tf.evaluation.multi_view import ViewPlan
    from pemt_tf.training.run_directory import RunDirectory

    run = RunDirectory(Path(options.model))
    run.require_finished()
    path = Path(options.output) if options.output else run.path / f"evaluation-{options.split}.json"
    require_writable_file(path, "--output")
    plan = ViewPlan(options.views, options.crops, options.sum_over)
    result = evaluate(run, ClipSource.open(options.data), options.split, options.batch_size, plan, options.seed)
    result.write(path)
    say(result.summary)
    say(f"details: {path}")

"""`pemt evaluate`: measures a classifier on clips that it has not seen."""

from __future__ import annotations

import argparse
from pathlib import Path

from pemt_tf.commands.arguments import DATA, Commands, add_command, say, seed_number, whole_number
from pemt_tf.files.output_check import require_writable_file

SUMMARY = "measure a classifier on held-out clips"
EXAMPLE = "pemt evaluate --model out/finetuned --data out/records --split test --crops 3"


def add(commands: Commands) -> None:
    add = add_command(commands, "evaluate", _run, SUMMARY, EXAMPLE).add_argument
    add("--model", required=True, help="run of `pemt finetune`")
    add("--data", required=True, help=DATA)
    add("--split", default="test", help="train, validation or test (default: %(default)s)")
    add("--views", type=whole_number, metavar="N", help="segments of a clip whose votes are summed (default: all)")
    crops = "crops whose votes are summed: 1, the centre; 3, start, centre and end of the longer side (default: 1)"
    add("--crops", type=int, choices=(1, 3), default=1, help=crops)
    units = "unit of a prediction: each clip, or each source file by the votes of all its clips (default: clip)"
    add("--sum-over", choices=("clip", "path"), default="clip", help=units)
    add("--batch-size", type=whole_number, default=16, help="clips per batch (default: %(default)s)")
    add("--seed", type=seed_number, default=0, help="random seed of the bootstrap (default: %(default)s)")
    add("--output", help="JSON file (default: evaluation-SPLIT.json in the run's folder)")


def _run(options: argparse.Namespace) -> None:
    from pemt_tf.data.clip_source import ClipSource
    from pemt_tf.evaluation.classification import evaluate
    from pemt_tf.evaluation.multi_view import ViewPlan
    from pemt_tf.evaluation.several_labels import evaluate_several
    from pemt_tf.training.run_directory import RunDirectory

    run = RunDirectory(Path(options.model))
    run.require_finished()
    path = Path(options.output) if options.output else run.path / f"evaluation-{options.split}.json"
    require_writable_file(path, "--output")
    plan = ViewPlan(options.views, options.crops, options.sum_over)
    measure = evaluate_several if run.config().finetune.several else evaluate
    result = measure(run, ClipSource.open(options.data), options.split, options.batch_size, plan, options.seed)
    result.write(path)
    say(result.summary)
    say(f"details: {path}")

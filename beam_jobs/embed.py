"""Turns records or videos into embeddings, with an exported model.

    python -m beam_jobs.embed --model servable/ --input data/ --output embeddings/

What is written is described in docs/embeddings.md.
"""

from __future__ import annotations

import shlex
import sys

from beam_jobs.job import command_line
from beam_jobs.job.command_line import add_limits, positive
from beam_jobs.job.options import EmbedOptions
from pemt_tf.terminal.flags import FlagParser

EXAMPLE = """examples:
  python -m beam_jobs.embed --model servable/ --input data/ --output embeddings/ --num_workers 2
  python -m beam_jobs.embed --model servable/ --input videos/ --output embeddings/

data/ is a data set of beam_jobs.preprocess; videos/ is a folder, a glob or a manifest of videos. All options of Apache
Beam are accepted as well.
"""


def build_parser() -> FlagParser:
    """The flags of this job; Beam's come on top."""
    parser = command_line.job_parser(
        "embed", "Turns records or videos into embeddings (Parquet), with a model of `pemt export`.", EXAMPLE
    )
    add = parser.add_argument
    add("--model", required=True, help="SavedModel, or a folder of its versions, of which the highest is used")
    add("--input", required=True, help="data set of beam_jobs.preprocess, or a folder, glob or manifest of videos")
    add("--output", required=True, help="folder of the embeddings to make")
    add("--overwrite", action="store_true", help="replace finished embeddings in --output")
    add("--split", default="all", help="train, validation, test or all (default: all)")
    add("--batch_size", type=positive, default=16, help="clips that the model gets at once (default: 16)")
    add("--clips_per_file", type=positive, default=8192, help="approximate number of rows in a file (default: 8192)")
    add_limits(parser, "write no embeddings")
    add("--runner", default="FnApiRunner", help="Beam runner (default: FnApiRunner, in this process)")
    add("--num_workers", type=positive, help="units read at the same time (default: 1; remote: Beam decides)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = build_parser()
    parsed, beam_arguments = command_line.parse(parser, arguments)
    command = f"python -m beam_jobs.embed {shlex.join(arguments)}"
    options = EmbedOptions(**vars(parsed), beam_arguments=beam_arguments, command=command)

    def work() -> list[str]:
        from beam_jobs.embedding import job

        return job.summary(job.embed(options), options.output)

    return command_line.run(work, f"interrupted; nothing was written to {options.output}", parser)


if __name__ == "__main__":
    command_line.leave(main())

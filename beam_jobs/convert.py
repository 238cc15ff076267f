"""Writes a data set in another form of record files, without decoding anything again.

    python -m beam_jobs.convert --input data/ --output data-parquet/ --format parquet

Which form is for what is described in docs/formats.md.
"""

from __future__ import annotations

import sys

from beam_jobs.job import command_line
from beam_jobs.job.command_line import positive
from pemt_tf.formats.record_files import FORMATS
from pemt_tf.terminal.flags import FlagParser

EXAMPLE = """examples:
  python -m beam_jobs.convert --input data/ --output data-parquet/ --format parquet
  python -m beam_jobs.convert --input data-tars/ --output data/ --format tfrecord --num_workers 4

The input is a finished data set of beam_jobs.preprocess, in any of the forms. Clips keep their order, their splits and
their files' numbers; what goes through a conversion and back is equal byte by byte. If the job was stopped or killed,
give the same command again: it continues where it was. All options of Apache Beam are accepted with --runner.
"""


def build_parser() -> FlagParser:
    """The flags of this job; Beam's come on top."""
    parser = command_line.job_parser(
        "convert", "Writes a data set in another form of record files; decodes nothing.", EXAMPLE
    )
    add = parser.add_argument
    add("--input", required=True, metavar="DATASET", help="folder of a finished data set")
    add("--output", required=True, metavar="FOLDER", help="folder of the data set to make")
    add("--format", required=True, choices=FORMATS, help="form of its record files; training reads tfrecord")
    add("--overwrite", action="store_true", help="replace what is in --output, finished or not")
    add("--resume", action="store_true", help="continue what is in --output; if it is finished, do nothing")
    add("--runner", help="local (default: this machine, without Beam), or a runner of Beam, such as DataflowRunner")
    add("--num_workers", type=positive, help="files converted at the same time (default: 1; remote: Beam decides)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = build_parser()
    parsed, beam_arguments = command_line.parse(parser, sys.argv[1:] if arguments is None else arguments)

    def work() -> list[str]:
        from beam_jobs.conversion.job import ConvertOptions, convert

        return convert(ConvertOptions(**vars(parsed), beam_arguments=beam_arguments))

    return command_line.run(work, "interrupted; nothing was written", parser)


if __name__ == "__main__":
    command_line.leave(main())

"""Turns records or videos into embeddings, with an exported model.

    python -m beam_jobs.embed --model servable/ --input data/ --output embeddings/

What is written is described in docs/embeddings.md.
"""

from __future__ import annotations

import argparse
import shlex
import sys

from beam_jobs.job import command_line
from beam_jobs.job.command_line import fraction, positive, positive_number

EXAMPLE = """examples:
  python -m beam_jobs.embed --model servable/ --input data/ --output embeddings/ --num_workers 2
  python -m beam_jobs.embed --model servable/ --input videos/ --output embeddings/

data/ is a data set of beam_jobs.preprocess; videos/ a folder, a glob or a manifest of videos. All options of Apache
Beam are accepted as well.
"""


def build_parser() -> argparse.ArgumentParser:
    """The flags of this job; those of Beam come on top."""
    parser = argparse.ArgumentParser(
        prog="python -m beam_jobs.embed",
        description="Turns records or videos into embeddings (Parquet), with a model of `pemt export`.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", required=True, help="SavedModel, or the folder of its versions, whose highest is taken")
    add("--input", required=True, help="data set of beam_jobs.preprocess, or a folder, glob or manifest of videos")
    add("--output", required=True, help="folder of the embeddings to make")
    add("--overwrite", action="store_true", help="replace the finished embeddings that are in --output")
    add("--split", default="all", help="train, validation, test or all (default: all)")
    add("--batch_size", type=positive, default=16, help="clips that the model gets at once (default: 16)")
    add(
        "--clips_per_file",
        type=positive,
        default=8192,
        help="about how many rows a file gets (default: 8192)",
    )
    add(
        "--max_bad_fraction",
        type=fraction,
        default=1.0,
        help="write no embeddings if more than this share of the inputs failed (default: 1, only if all did)",
    )
    add(
        "--decode_timeout",
        type=positive_number,
        default=120.0,
        help="seconds a clip may take (default: 120)",
    )
    add(
        "--decode_memory_mb",
        type=positive,
        default=4096,
        help="MiB a decoding process may take (default: 4096)",
    )
    add("--runner", default="FnApiRunner", help="Beam runner (default: FnApiRunner, in this process)")
    add(
        "--num_workers",
        type=positive,
        help="units read at the same time (default: 1; remote: Beam decides)",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options, beam_arguments = build_parser().parse_known_args(arguments)

    def work() -> list[str]:
        from beam_jobs.embedding import job

        command = f"python -m beam_jobs.embed {shlex.join(arguments)}"
        return job.summary(job.embed(options, beam_arguments, command), options.output)

    return command_line.run(work, f"interrupted; nothing was written to {options.output}")


if __name__ == "__main__":
    command_line.leave(main())

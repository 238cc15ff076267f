"""Turns videos into sharded training records and a data-set card.

    python -m beam_jobs.preprocess --input videos/ --output data/ --preset tiny

What is read and what is written is described in docs/data_format.md.
"""

from __future__ import annotations

import argparse
import shlex
import sys

from beam_jobs.job import command_line
from beam_jobs.job.command_line import add_limits, not_negative, positive, positive_number
from beam_jobs.job.options import PreprocessOptions
from pemt_tf.errors import PemtError
from pemt_tf.formats.record_files import FORMATS, TFRECORD
from pemt_tf.terminal.flags import FlagParser

EXAMPLE = """examples:
  python -m beam_jobs.preprocess --input videos/ --output data/ --preset tiny --num_workers 2
  python -m beam_jobs.preprocess --input films.parquet --output data/ --plan windows --window 10 --stride 10
  python -m beam_jobs.preprocess --input videos/ --dry_run
  python -m beam_jobs.preprocess --retry_failed data/errors --output data/ --decode_timeout 600

The folder videos/ may hold videos directly (without labels), in one folder for each label (videos/dog/a.mp4), or in
train/, validation/ (or val/) and test/ with a folder for each label in them. A manifest names one input in each row;
see docs/data_format.md. If a job was stopped or killed, give the same command again: it continues where it was.
All options of Apache Beam are accepted as well, for example
--runner=DataflowRunner --project=... --region=... --temp_location=gs://...
"""
INPUT = (
    "folder, glob, single file, manifest (.csv, .tsv, .jsonl, .json, .parquet), or what holds videos: tars "
    "('shards/v-{000..123}.tar'), Parquet with a column of bytes, a folder with metadata.csv"
)
POLICIES = ("mask", "skip", "fail")


def build_parser() -> FlagParser:
    """The flags of this job; Beam's come on top."""
    parser = command_line.job_parser(
        "preprocess", "Turns videos into sharded training records and a data-set card.", EXAMPLE
    )
    _add_what(parser.add_argument_group("what to read and where to write"))
    _add_clips(parser.add_argument_group("which clips, and how they are stored"))
    _add_faults(parser.add_argument_group("what to do with bad, missing or duplicate content"))
    add = parser.add_argument_group("how to run").add_argument
    add("--dry_run", action="store_true", help="try a sample; estimate clips, hours, GB and core-hours; write nothing")
    add("--runner", help="local (default: this machine, without Beam), or a runner of Beam, such as DataflowRunner")
    add("--num_workers", type=positive, help="clips decoded at the same time (default: 1; remote: Beam decides)")
    return parser


def _add_what(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--input", default="", help=INPUT)
    add("--input_root", help="folder that a manifest's relative paths belong to (default: the manifest's own)")
    add("--allow_outside", action="store_true", help="take files outside the input's folder, and follow links")
    add("--output", default="", help="folder of the data set to make")
    add("--overwrite", action="store_true", help="replace what is in --output, finished or not")
    add("--resume", action="store_true", help="continue what is in --output; if it is finished, do nothing")
    add(
        "--retry_failed",
        default="",
        metavar="ERRORS",
        help="try the failed inputs of a data set again, given its errors/; keep its other clips",
    )
    add(
        "--split_fractions",
        default="train=0.8,validation=0.1,test=0.1",
        help="shares of the splits, for files whose folder or manifest names no split (default: %(default)s)",
    )
    add("--labels_from", metavar="DATASET", help="use this data set's label vocabulary; inputs with other labels fail")


def _add_clips(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--preset", default="tiny", help="clip geometry: name of a preset, or a YAML file (default: tiny)")
    add("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", help="change one field of the preset")
    add(
        "--plan",
        choices=("uniform", "windows", "segments"),
        default="uniform",
        help="one clip spread over each input (uniform), consecutive clips of a fixed length (windows), or one clip "
        "for each start and end in the manifest (segments); default: uniform",
    )
    add("--window", type=positive_number, help="seconds of a window (default: the length of all segments side by side)")
    add("--stride", type=positive_number, help="seconds from the start of one window to the next (default: --window)")
    for stream in ("video", "audio"):
        help_text = f"number of the {stream} stream, counted from 0 (default: the file's own choice)"
        add(f"--{stream}_stream", type=not_negative, metavar="N", help=help_text)
    add(
        "--payload",
        choices=("example", "sequence_example"),
        default="example",
        help="tf.train.Example (default), or SequenceExample with the feature names of MediaSequence",
    )
    add(
        "--format",
        choices=FORMATS,
        default=TFRECORD,
        help="form of the record files (default: tfrecord, which training reads); see docs/formats.md",
    )
    add(
        "--jpeg_quality",
        type=positive,
        default=95,
        metavar="N",
        help="quality of the stored frames, 1 to 100 (default: %(default)s); a lower one is decoded faster",
    )
    add("--store_waveform", action="store_true", help="store the waveform beside its spectrogram")
    add("--shards_per_split", type=positive, help="record files of a split (default: depends on the number of inputs)")


def _add_faults(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    for stream in ("audio", "video"):
        add(
            f"--on_missing_{stream}",
            choices=POLICIES,
            default="mask",
            help=f"for a file without {stream}: write it with a mask (mask), filter it (skip), or let it fail (fail)",
        )
    for flag, what in (("silent", "whose audio is only silence"), ("frozen", "whose frames never change")):
        add(f"--on_{flag}", choices=("keep", "skip"), default="keep", help=f"for a clip {what}: keep or filter it")
    add(
        "--drop_duplicates",
        nargs="?",
        choices=("across", "all"),
        const="across",
        default="",
        help="filter near-duplicates of clips in a split farther from training (across), or of any other clip (all)",
    )
    add_limits(group, "stop, and write no data set,")


def parse(arguments: list[str]) -> PreprocessOptions:
    """Reads the command line."""
    parsed, beam_arguments = command_line.parse(build_parser(), arguments)
    return PreprocessOptions(
        **vars(parsed),
        typed=typed_flags(arguments),
        beam_arguments=beam_arguments,
        command=f"python -m beam_jobs.preprocess {shlex.join(arguments)}",
    )


def typed_flags(arguments: list[str]) -> frozenset[str]:
    """Names of the flags that were typed, whatever their values."""
    parser = build_parser()
    untouched = {name: [] for name in vars(parser.parse_known_args([])[0])}  # lists of our own, told apart by identity
    parsed = vars(parser.parse_known_args(arguments, argparse.Namespace(**untouched))[0])
    return frozenset(name for name, value in parsed.items() if value is not untouched[name])


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = parse(sys.argv[1:] if arguments is None else arguments)

    def work() -> list[str]:
        from beam_jobs.job import dry_run, prepare, retry_failed
        from beam_jobs.plan.output_folder import JobWritten

        _check(options)
        if options.dry_run:
            return dry_run.estimate(options)
        try:
            card, notes = (retry_failed.retry_failed if options.retry_failed else prepare.prepare)(options)
        except JobWritten as written:
            return [str(written)]
        return [*notes, *prepare.summary(card, options.output)]

    return command_line.run(work, "interrupted; nothing was written", build_parser())


def _check(options: PreprocessOptions) -> None:
    misspelled = build_parser().misspelled(options.beam_arguments)
    if not (options.input or options.retry_failed):
        raise PemtError(
            "there is nothing to read: give --input (a folder, glob, file or manifest); see --help" + misspelled
        )
    if options.input and options.retry_failed:
        raise PemtError("--retry_failed takes its inputs from the data set; leave out --input")
    if options.dry_run and options.retry_failed:
        raise PemtError("--dry_run tries a sample of --input; it cannot go with --retry_failed")
    if options.jpeg_quality > 100:
        raise PemtError(f"--jpeg_quality is {options.jpeg_quality}; give a number from 1 to 100")
    if not options.output and not options.dry_run:
        raise PemtError("there is nowhere to write: give --output; see --help" + misspelled)


if __name__ == "__main__":
    command_line.leave(main())

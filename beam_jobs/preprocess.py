"""Turns videos into sharded training records and a data-set card.

    python -m beam_jobs.preprocess --input videos/ --output data/ --preset tiny

What is read and what is written is described in docs/data_format.md.
"""

from __future__ import annotations

import argparse
import shlex
import sys

from beam_jobs.job import command_line
from beam_jobs.job.command_line import fraction, not_negative, positive, positive_number
from pemt_tf.errors import PemtError

EXAMPLE = """examples:
  python -m beam_jobs.preprocess --input videos/ --output data/ --preset tiny --num_workers 2
  python -m beam_jobs.preprocess --input films.parquet --output data/ --plan windows --window 10 --stride 10
  python -m beam_jobs.preprocess --input videos/ --dry_run
  python -m beam_jobs.preprocess --retry_failed data/errors --output data/ --decode_timeout 600

The folder videos/ may hold videos as they are (no labels), in one folder a label (videos/dog/a.mp4), or in
train/, validation/ (or val/) and test/ with a folder a label in each. A manifest names one input a row; see
docs/data_format.md. A job that was stopped or killed goes on where it was when the same command is given again.
All options of Apache Beam are accepted as well, for example
--runner=DataflowRunner --project=... --region=... --temp_location=gs://...
"""
POLICIES = ("mask", "skip", "fail")


def build_parser() -> argparse.ArgumentParser:
    """The flags of this job; those of Beam come on top."""
    parser = argparse.ArgumentParser(
        prog="python -m beam_jobs.preprocess",
        description="Turns videos into sharded training records and a data-set card.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_what(parser.add_argument_group("what to read and where to write"))
    _add_clips(parser.add_argument_group("which clips, and how they are stored"))
    _add_faults(parser.add_argument_group("what to do with what is bad, missing or double"))
    add = parser.add_argument_group("how to run").add_argument
    add("--dry_run", action="store_true", help="try a sample; say how many clips, hours, GB and core-hours it will be")
    add("--runner", help="local (default: this machine, without Beam), or a runner of Beam, such as DataflowRunner")
    add(
        "--num_workers",
        type=positive,
        help="clips decoded at the same time (default: 1; remote: Beam decides)",
    )
    return parser


def _add_what(group) -> None:
    add = group.add_argument
    add("--input", help="folder, glob, single file, or manifest (.csv, .tsv, .jsonl, .json, .parquet)")
    add("--input_root", help="folder that a manifest's relative paths belong to (default: the manifest's own)")
    add("--allow_outside", action="store_true", help="take files outside the input's folder, and follow links")
    add("--output", help="folder of the data set to make")
    add("--overwrite", action="store_true", help="replace what is in --output, finished or not")
    add("--resume", action="store_true", help="go on with what is in --output; if it is finished, do nothing")
    add("--retry_failed", metavar="ERRORS", help="try what failed again: errors/ of a data set; the rest is kept")
    add(
        "--split_fractions",
        default="train=0.8,validation=0.1,test=0.1",
        help="for files whose split neither folder nor manifest says (default: %(default)s)",
    )
    add("--labels_from", metavar="DATASET", help="use the label vocabulary of this data set; other labels fail")


def _add_clips(group) -> None:
    add = group.add_argument
    add("--preset", default="tiny", help="clip geometry: name of a preset, or a YAML file (default: tiny)")
    add("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", help="change one field of the preset")
    add(
        "--plan",
        choices=("uniform", "windows", "segments"),
        default="uniform",
        help="one clip spread over each input (uniform), clips of a fixed length one after the other (windows), or "
        "one for each start and end of the manifest (segments); default: uniform",
    )
    add(
        "--window",
        type=positive_number,
        help="seconds of a window (default: as long as all segments side by side)",
    )
    add("--stride", type=positive_number, help="seconds from one window to the next (default: --window)")
    for stream, what in (("video", "pictures"), ("audio", "sound")):
        help_text = f"which stream of {what}, counted from 0 (default: the file's own choice)"
        add(f"--{stream}_stream", type=not_negative, metavar="N", help=help_text)
    add(
        "--payload",
        choices=("example", "sequence_example"),
        default="example",
        help="tf.train.Example (default), or SequenceExample with the names of MediaSequence",
    )
    add("--store_waveform", action="store_true", help="store the sound itself beside its spectrogram")
    add("--shards_per_split", type=positive, help="record files a split (default: by the number of inputs)")


def _add_faults(group) -> None:
    add = group.add_argument
    for stream in ("audio", "video"):
        add(
            f"--on_missing_{stream}",
            choices=POLICIES,
            default="mask",
            help=f"a file without {stream}: write it, marked (mask), leave it out (skip), or count it as failed (fail)",
        )
    for flag, what in (("silent", "nothing but silence"), ("frozen", "pictures that never change")):
        add(f"--on_{flag}", choices=("keep", "skip"), default="keep", help=f"a clip with {what}: keep or skip")
    add(
        "--drop_duplicates",
        nargs="?",
        choices=("across", "all"),
        const="across",
        default="",
        help="leave out clips nearly equal to one in a split farther from training (across), or to any other (all)",
    )
    add(
        "--max_bad_fraction",
        type=fraction,
        default=1.0,
        help="stop, and write no data set, if more than this share of the inputs failed (default: 1, only if all did)",
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


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options, beam_arguments = build_parser().parse_known_args(arguments)
    options.typed = typed_flags(arguments)

    def work() -> list[str]:
        from beam_jobs.engines import choice
        from beam_jobs.job import closing_lines, dry_run, prepare, retry_failed

        _check(options)
        if options.dry_run:
            return dry_run.estimate(options)
        make = retry_failed.retry_failed if options.retry_failed else prepare.prepare
        try:
            result = make(options, beam_arguments, f"python -m beam_jobs.preprocess {shlex.join(arguments)}")
        except choice.JobWritten as written:
            return [str(written)]
        return [*result.notes, *closing_lines.summary(result.card, options.output)]

    return command_line.run(work, "interrupted; nothing was written")


def typed_flags(arguments: list[str]) -> frozenset[str]:
    """Names of the flags that were typed, whatever their values: those that have their defaults only are not in it."""
    parser = build_parser()
    untouched = {name: [] for name in vars(parser.parse_known_args([])[0])}  # what no flag is by itself
    parsed = vars(parser.parse_known_args(arguments, argparse.Namespace(**untouched))[0])
    return frozenset(name for name, value in parsed.items() if value is not untouched[name])


def _check(options: argparse.Namespace) -> None:
    if not (options.input or options.retry_failed):
        raise PemtError("there is nothing to read: give --input (a folder, glob, file or manifest); see --help")
    if options.input and options.retry_failed:
        raise PemtError("--retry_failed takes its inputs from the data set; leave out --input")
    if options.dry_run and options.retry_failed:
        raise PemtError("--dry_run tries a sample of --input; it cannot go with --retry_failed")
    if not options.output and not options.dry_run:
        raise PemtError("there is nowhere to write: give --output; see --help")


if __name__ == "__main__":
    command_line.leave(main())

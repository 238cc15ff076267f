"""Turns videos into sharded training records and a data-set card.

    python -m beam_jobs.preprocess --input videos/ --output data/ --preset tiny

What is read and what is written is described in docs/data_format.md.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings

from pemt_tf.errors import PemtError

EXAMPLE = """example:
  python -m beam_jobs.preprocess --input videos/ --output data/ --preset tiny --num_workers 2

The folder videos/ may hold videos as they are (no labels), in one folder a label (videos/dog/a.mp4), or in
train/, validation/ and test/ with a folder a label in each. All options of Apache Beam are accepted as well, for
example --runner=DataflowRunner --project=... --region=... --temp_location=gs://...
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
    add = parser.add_argument
    add("--input", required=True, help="folder, glob, single file, or CSV manifest (path,label,start,end,split)")
    add("--output", required=True, help="folder of the data set to make")
    add("--overwrite", action="store_true", help="replace the finished data set that is in --output")
    add("--preset", default="tiny", help="clip geometry: name of a preset, or a YAML file (default: tiny)")
    add("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", help="change one field of the preset")
    add(
        "--split_fractions",
        default="train=0.8,validation=0.1,test=0.1",
        help="for files whose split neither folder nor manifest says (default: %(default)s)",
    )
    add("--labels_from", metavar="DATASET", help="use the label vocabulary of this data set; other labels fail")
    add("--shards_per_split", type=_positive, help="record files a split (default: by the number of clips)")
    for stream in ("audio", "video"):
        add(
            f"--on_missing_{stream}",
            choices=POLICIES,
            default="mask",
            help=f"a file without {stream}: write it, marked (mask), leave it out (skip), or count it as failed (fail)",
        )
    add(
        "--max_bad_fraction",
        type=_fraction,
        default=1.0,
        help="write no data set if more than this share of the inputs failed (default: 1, only if all did)",
    )
    add("--decode_timeout", type=_positive_number, default=120.0, help="seconds a clip may take (default: 120)")
    add("--decode_memory_mb", type=_positive, default=4096, help="MiB a decoding process may take (default: 4096)")
    add("--runner", default="FnApiRunner", help="Beam runner (default: FnApiRunner, in this process)")
    add("--num_workers", type=_positive, help="clips decoded at the same time (default: 1; remote: Beam decides)")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _positive_number(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share from 0 to 1")
    return value


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options, beam_arguments = build_parser().parse_known_args(arguments)
    # Only now, so that --help is quick and TensorFlow's start-up messages are off.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore", FutureWarning)  # Beam's Google libraries speak of Python versions
    previous = signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        from beam_jobs import preparation

        command = " ".join(["python -m beam_jobs.preprocess", *arguments])
        card = preparation.prepare(options, beam_arguments, command)
        for line in preparation.summary(card, options.output):
            sys.stdout.write(f"{line}\n")
        return 0
    except PemtError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"interrupted; nothing was written to {options.output}\n")
        return 130
    finally:
        signal.signal(signal.SIGTERM, previous)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Threads of an interrupted Beam job would keep the process alive.
    os._exit(code) if code == 130 else sys.exit(code)

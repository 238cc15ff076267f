"""The command line of this package."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from beam_jobs.datasets import audioset, esc, kinetics, kinetics_sounds, ucf101, vggsound
from beam_jobs.datasets.collection import Collection, hold_out, summary, write_manifest, write_missing
from beam_jobs.job import command_line
from pemt_tf.terminal.flags import FlagParser

INCOMPLETE = 3  # the exit code if files are missing
MISSING_SHOWN = 10
CLASSES = {"32": kinetics_sounds.CLASSES_32, "31": kinetics_sounds.CLASSES_31, "all": None}
EXAMPLE = """examples:
  python -m beam_jobs.datasets ucf101 --root UCF101 --fold 1 --output ucf101-1.csv
  python -m beam_jobs.datasets esc50 --root ESC-50 --fold 1 --output esc50-1.csv
  python -m beam_jobs.preprocess --input esc50-1.csv --input_root ESC-50 --preset esc50 --output data/esc50-1

exit codes: 0 the manifest is written and complete; 3 it is written, but files are missing (they are listed in
NAME.missing.csv; --allow-missing makes it 0); 2 nothing is written, and one line says why."""


def build_parser() -> FlagParser:
    """The parser, with a subcommand for each data set."""
    parser = FlagParser(
        prog="python -m beam_jobs.datasets",
        description="Writes the manifest of a public data set that you have on disk; nothing is downloaded.",
        epilog=EXAMPLE,
    )
    sets = parser.add_subparsers(dest="dataset", required=True, metavar="DATASET")
    _add_ucf101(sets)
    _add_esc(sets)
    _add_kinetics(sets)
    _add_vggsound(sets)
    _add_audioset(sets)
    return parser


def _add_set(sets, name: str, summary: str, module, example: str) -> argparse.ArgumentParser:
    """The flags that all data sets have; `--help` ends with the module's docstring and the example."""
    parser = sets.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"{module.__doc__}\nexample:\n  python -m beam_jobs.datasets {example}",
    )
    parser.add_argument("--root", required=True, type=Path, help="folder of the data set; paths are relative to it")
    parser.add_argument("--output", required=True, type=Path, help="manifest to write (.csv)")
    parser.add_argument(
        "--validation-fraction",
        type=command_line.fraction,
        default=0.0,
        metavar="SHARE",
        help="share of the training groups that becomes the validation split (default: 0)",
    )
    parser.add_argument("--allow-missing", action="store_true", help="end with exit code 0 although files are missing")
    return parser


def _add_esc(sets) -> None:
    parser = _add_set(
        sets,
        "esc50",
        "ESC-50 and ESC-10: recordings of environmental sounds in five folds",
        esc,
        "esc50 --root ESC-50 --fold 1 --output esc50-1.csv",
    )
    parser.add_argument("--fold", required=True, type=int, choices=esc.FOLDS, help="the fold to test")
    parser.add_argument("--subset", choices=tuple(esc.SUBSETS), default="esc50", help="default: %(default)s")
    parser.set_defaults(collect=lambda options: esc.collect(options.root, options.fold, options.subset))


def _add_ucf101(sets) -> None:
    parser = _add_set(
        sets,
        "ucf101",
        "UCF101: actions in 13,320 videos, with three published splits",
        ucf101,
        "ucf101 --root UCF101 --splits UCF101/ucfTrainTestlist --fold 1 --output ucf101-1.csv",
    )
    parser.add_argument("--splits", type=Path, metavar="FOLDER", help="default: ucfTrainTestlist under --root")
    parser.add_argument("--fold", required=True, type=int, choices=ucf101.FOLDS, help="which published split")
    parser.set_defaults(collect=lambda options: ucf101.collect(options.root, options.splits, options.fold))


def _add_kinetics(sets) -> None:
    parser = _add_set(
        sets,
        "kinetics_sounds",
        "Kinetics-Sounds, or all of Kinetics: videos of ten seconds from the web",
        kinetics,
        "kinetics_sounds --root k400 --annotations train.csv val.csv --output kinetics_sounds.csv",
    )
    parser.add_argument("--annotations", type=Path, nargs="+", default=[], metavar="CSV", help="lists of Kinetics")
    parser.add_argument(
        "--classes",
        choices=tuple(CLASSES),
        default="32",
        help="the 32 or 31 classes that papers call Kinetics-Sounds, or all that are there (default: 32)",
    )
    parser.add_argument(
        "--test-on", choices=tuple(kinetics.SPLITS), default="val", help="split of Kinetics to test on (default: val)"
    )
    parser.set_defaults(
        collect=lambda options: kinetics.collect(
            options.root, options.annotations, CLASSES[options.classes], options.test_on
        )
    )


def _add_vggsound(sets) -> None:
    parser = _add_set(
        sets,
        "vggsound",
        "VGGSound: sounds in videos of ten seconds from the web",
        vggsound,
        "vggsound --root VGGSound --output vggsound.csv",
    )
    parser.add_argument("--annotations", type=Path, metavar="CSV", help="default: vggsound.csv under --root")
    parser.set_defaults(collect=lambda options: vggsound.collect(options.root, options.annotations))


def _add_audioset(sets) -> None:
    parser = _add_set(
        sets,
        "audioset",
        "AudioSet: sounds in videos of ten seconds from the web, several in a clip",
        audioset,
        "audioset --root AudioSet --train AudioSet/balanced_train_segments.csv --output audioset.csv",
    )
    add = parser.add_argument
    lists = "default: those of AudioSet that are under --root"
    add("--train", type=Path, nargs="+", default=[], metavar="CSV", help=f"lists of training clips ({lists})")
    add("--test", type=Path, nargs="+", default=[], metavar="CSV", help=f"lists of test clips ({lists})")
    add(
        "--classes",
        type=Path,
        metavar="CSV",
        help="names of the labels (default: class_labels_indices.csv under --root)",
    )
    add("--cut", action="store_true", help="ID.mp4 is the clip, not the whole video (default: whole)")
    parser.set_defaults(
        collect=lambda options: audioset.collect(
            options.root, options.train, options.test, options.classes, options.cut
        )
    )


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    incomplete = []

    def work() -> list[str]:
        found = options.collect(options)
        incomplete.extend(found.missing)
        return _write(options, found)

    code = command_line.run(work, "interrupted; nothing was written", parser)
    return INCOMPLETE if code == 0 and incomplete and not options.allow_missing else code


def _write(options: argparse.Namespace, found: Collection) -> list[str]:
    entries = hold_out(found.entries, options.validation_fraction)
    write_manifest(options.output, entries)
    place = write_missing(options.output, found)
    lines = [f"{options.output}: {summary(entries)}", *found.notes]
    if place is not None:
        shown = [f"  {item.name}: {item.reason}" for item in found.missing[:MISSING_SHOWN]]
        lines.append(f"{len(found.missing):,} of {len(found.missing) + len(entries):,} are missing, listed in {place}:")
        lines += [*shown, *(["  ..."] if len(found.missing) > MISSING_SHOWN else [])]
    manifest, root = shlex.quote(str(options.output)), shlex.quote(str(options.root))
    return [
        *lines,
        f"next: python -m beam_jobs.preprocess --input {manifest} --input_root {root} --preset PRESET --output DATA",
    ]


if __name__ == "__main__":
    sys.exit(main())

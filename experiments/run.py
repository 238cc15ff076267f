"""Runs the experiments of docs/RESULTS.md and writes its tables.

    python -m experiments.run --data DATA --output out/results

DATA holds `audio/esc10` (a folder of recordings for each class), `audio/fsdd`, `images/mnist_5k.csv.gz` and `lrc_ar`,
or say where they are with --esc10, --fsdd, --mnist and --lrc_ar. Only what the chosen parts need must be there.
Interrupted, it resumes where it was.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from experiments import tables
from experiments.jobs import Job, run_jobs
from experiments.plan import Sources, ablation_jobs, alignment_jobs, digit_jobs, esc10_jobs, start_jobs
from experiments.real_clips import real_clip_jobs
from pemt_tf.errors import PemtError
from pemt_tf.files.whole_file import write_text
from pemt_tf.terminal.exit_code import exit_code_of

PARTS = {
    "esc10": esc10_jobs,
    "digits": digit_jobs,
    "start": start_jobs,
    "ablations": ablation_jobs,
    "alignment": alignment_jobs,
    "lrc_ar": real_clip_jobs,
}
_PLACES = {
    "esc10": ("audio", "esc10"),
    "fsdd": ("audio", "fsdd"),
    "mnist": ("images", "mnist_5k.csv.gz"),
    "lrc_ar": ("lrc_ar",),
}
_NEEDED = {"esc10": ("esc10",), "lrc_ar": ("lrc_ar",)}  # of the other parts, the digits


def main(arguments: list[str] | None = None) -> int:
    """Entry point; the exit code is 0 when all that was asked for is done."""
    options = _parser().parse_args(arguments)
    return exit_code_of(lambda: _run(options), "stopped; run the same command to continue")


def _run(options: argparse.Namespace) -> None:
    sources, output = _sources(options), options.output
    jobs = _unique(job for part in options.only for job in PARTS[part](sources, output))
    if options.dry_run:
        for job in jobs:
            sys.stdout.write(job.command + "\n")
        return
    output.mkdir(parents=True, exist_ok=True)
    run_jobs(jobs, output, options.workers)
    text = write_text(output / "tables.md", tables.make_tables(jobs, output, options.only)).read_text(encoding="utf-8")
    sys.stdout.write(text)
    if options.write:
        tables.replace_tables(options.write, text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="example: python -m experiments.run --data DATA --output out/results --only esc10",
    )
    add = parser.add_argument
    add("--data", type=Path, help="folder with audio/esc10, audio/fsdd, images/mnist_5k.csv.gz and lrc_ar")
    for name in _PLACES:
        add(f"--{name}", type=Path, help="where it is, if not there")
    add("--output", type=Path, default=Path("out/results"), help="default: %(default)s")
    add("--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="which tables (default: all)")
    add("--workers", type=int, default=2, help="commands at a time, one core each (default: %(default)s)")
    add("--write", type=Path, metavar="FILE", help="also put the tables into this page, docs/RESULTS.md")
    add("--dry-run", action="store_true", help="only print the commands")
    return parser


def _sources(options: argparse.Namespace) -> Sources:
    found = {}
    needed = {name for part in options.only for name in _NEEDED.get(part, ("fsdd", "mnist"))}
    for name, parts in _PLACES.items():
        path = getattr(options, name) or (options.data.joinpath(*parts) if options.data else None)
        if name in needed and (path is None or not path.exists()):
            raise PemtError(f"{path or name} is not there; give --data with {'/'.join(parts)} in it, or --{name}")
        found[name] = path or Path(*parts)
    return Sources(**found)


def _unique(jobs) -> list[Job]:
    """Parts share what they both need."""
    return list({job.name: job for job in jobs}.values())


if __name__ == "__main__":
    sys.exit(main())

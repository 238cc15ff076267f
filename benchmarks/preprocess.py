"""What data preparation costs, against bare loops, ffmpeg's command line with librosa, and video2dataset.

    python benchmarks/preprocess.py                       # clips of its own making
    python benchmarks/preprocess.py --input videos/       # yours
    python benchmarks/preprocess.py --small 8 --rounds 2 --large_rounds 0    # a quick look

All sides read the same files, take turns, and run on one core, each with all its processes; CPU seconds count all
of them. Ratios are made round by round. Every side's start-up, which is a run with one short file, is shown, and
taken off where a figure says "net". The last part uses ten times as many files: two cores against one, and memory.

The bare loops (preprocess_floor.py) do the same work per clip with no framework around it. The command line
(preprocess_command_line.py) and video2dataset (preprocess_video2dataset.py) run in .venv-bench-media
(make setup-bench-media) and are left out where that is absent.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import preprocess_clips
import preprocess_processes

from pemt_tf.config import Config

HERE = Path(__file__).resolve().parent
MEDIA_PYTHON = HERE.parent / ".venv-bench-media" / "bin" / "python"
FLOOR, JOB, COMMAND_LINE, VIDEO2DATASET = "bare loops", "the job", "ffmpeg and librosa", "video2dataset"
TIMES_AS_MANY = 10


@dataclass(frozen=True)
class Run:
    """What one side did with one set of files."""

    cost: preprocess_processes.Cost
    clips: int
    pictures: int = 0
    seconds: float = 0.0


@dataclass
class Bench:
    """The sides, ready to run.

    Attributes:
        options: flags.
        work: folder for what the sides write.
        core: the one that single runs use.
    """

    options: argparse.Namespace
    work: Path
    core: int

    def floor(self, names: list[Path], **how) -> Run:
        command = [sys.executable, str(HERE / "preprocess_floor.py"), "--preset", self.options.preset]
        cost = self._run([*command, *map(str, names)], **how)
        return Run(cost, **json.loads(cost.output))

    def job(self, names: list[Path], workers: int = 1, **how) -> Run:
        output = self.work / "records"
        command = [sys.executable, "-m", "beam_jobs.preprocess", "--input", str(names[0].parent)]
        command += ["--output", str(output), "--preset", self.options.preset, "--num_workers", str(workers)]
        cost = self._run(command + self.options.job_flags.split(), **how)
        card = json.loads((output / "dataset_card.json").read_text())
        shutil.rmtree(output)
        return Run(cost, card["written"])

    def command_line(self, names: list[Path], **how) -> Run:
        return self._other("preprocess_command_line.py", names, **how)

    def video2dataset(self, names: list[Path], **how) -> Run:
        # It takes a file for a video only by a few suffixes; what is inside is found out by FFmpeg anyway.
        folder = self.work / "renamed"
        folder.mkdir()
        renamed = [folder / f"{name.stem}.mp4" for name in names]
        for source, target in zip(names, renamed, strict=True):
            target.symlink_to(source)
        run = self._other("preprocess_video2dataset.py", renamed, **how)
        shutil.rmtree(folder)
        return run

    def _other(self, script: str, names: list[Path], **how) -> Run:
        output = self.work / "other"
        cost = self._run([str(MEDIA_PYTHON), str(HERE / script), str(output), *map(str, names)], **how)
        shutil.rmtree(output)
        return Run(cost, **json.loads(cost.output.strip().splitlines()[-1]))

    def _run(self, command: list[str], cores: set[int] | None = None, memory: bool = False):
        # Whatever this shell says, all sides find their modules compiled, as they do where they are installed.
        compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(self.work / "compiled")}
        environment = {**compiled, "PYTHONPATH": str(HERE.parent), "NUMBA_CACHE_DIR": str(self.work / "numba")}
        return preprocess_processes.run(command, cores or {self.core}, environment, memory)


def main() -> None:
    """The command line."""
    options = _options()
    cores = sorted(preprocess_processes.usable_cores())
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        work = Path(scratch)
        geometry = Config.from_preset(options.preset).geometry
        files = preprocess_clips.gather(options.input, work / "own", geometry)
        bench = Bench(options, work, cores[-1])
        few = preprocess_clips.repeat(files, options.small, work / "few")
        one = preprocess_clips.repeat([preprocess_clips.smallest(files)], 1, work / "one")
        print(f"{len(files)} files under {options.small} names; preset {options.preset}; rounds: {options.rounds}")
        one_core(bench, few, one)
        if options.large_rounds:
            many = preprocess_clips.repeat(files, TIMES_AS_MANY * options.small, work / "many")
            large(bench, few, many, one, cores)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", help="folder of videos, searched at any depth (default: clips of its own making)")
    parser.add_argument("--preset", default="avbert_base", help="clip geometry (default: %(default)s)")
    parser.add_argument("--small", type=int, default=40, help="files, repeated under new names (default: 40)")
    parser.add_argument("--rounds", type=int, default=5, help="of the first table (default: 5)")
    parser.add_argument("--large_rounds", type=int, default=3, help="of the part with 10 x as many files (default: 3)")
    parser.add_argument("--job_flags", default="", help="more flags for the job, in one string")
    parser.add_argument("--only", choices=("ours", "all"), default="all", help="ours: the job and the bare loops only")
    parser.add_argument("--scratch", help="folder to work in (default: the system's for temporary files)")
    return parser.parse_args()


def one_core(bench: Bench, few: list[Path], one: list[Path]) -> None:
    """All sides on one core, in turns; prints the first table."""
    sides: dict[str, Callable[..., Run]] = {FLOOR: bench.floor, JOB: bench.job}
    if bench.options.only == "all" and MEDIA_PYTHON.is_file():
        sides |= {COMMAND_LINE: bench.command_line, VIDEO2DATASET: bench.video2dataset}
    elif bench.options.only == "all":
        print("no .venv-bench-media: the other tools are left out (make setup-bench-media brings them)")
    runs = {name: [] for name in sides}
    starts = {name: [] for name in sides}
    for side in sides.values():
        side(one)  # fills the system's file cache, and numba's cache of compiled code, which librosa uses
    for number in range(bench.options.rounds):
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        for name in order:
            starts[name].append(sides[name](one))
            runs[name].append(sides[name](few))
            _tell(f"round {number + 1}: {name} {runs[name][-1].cost.cpu:.1f} CPU s")
    seconds = runs[FLOOR][0].seconds
    print(f"{seconds:.0f} s of video\n")
    print("| one core | files | JPEGs | CPU s | start-up s | files/CPU s, net | ms per s, net | job is, net | job is |")
    print("|---|---|---|---|---|---|---|---|---|")
    net = {
        name: [run.cost.cpu - start.cost.cpu for run, start in zip(runs[name], starts[name], strict=True)]
        for name in sides
    }
    whole = {name: [run.cost.cpu for run in runs[name]] for name in sides}
    for name in sides:
        cpu, own = _middle(run.cost.cpu for run in runs[name]), _middle(net[name])
        clips = runs[name][0].clips
        start = _middle(run.cost.cpu for run in starts[name])
        cells = [
            name,
            f"{clips}",
            f"{runs[name][0].pictures or ''}",
            f"{cpu:.2f}",
            f"{start:.2f}",
            f"{clips / own:.2f}",
            f"{1000 * own / seconds:.1f}",
        ]
        print(f"| {' | '.join(cells)} | {_compare(name, net)} | {_compare(name, whole)} |")
    print()


def _compare(name: str, cpu: dict[str, list[float]]) -> str:
    if name == JOB:
        return ""
    pairs = zip(cpu[JOB], cpu[name], strict=True)
    if name == FLOOR:
        return f"{_spread(job / floor for job, floor in pairs)} x its CPU"
    return f"{_spread(other / job for job, other in pairs)} x as fast"


def large(bench: Bench, few: list[Path], many: list[Path], one: list[Path], cores: list[int]) -> None:
    """Ten times as many files: the whole cost, two cores against one, and memory; prints the second table."""
    figures: dict[str, list[Run]] = {}

    def add(name: str, run: Run) -> None:
        figures.setdefault(name, []).append(run)
        _tell(f"{name}: {run.cost.cpu:.1f} CPU s, {run.cost.wall:.1f} s")

    pair = set(cores[-2:])
    for _ in range(bench.options.large_rounds):
        add("start", bench.job(one))
        add("floor", bench.floor(many))
        add("one", bench.job(many, memory=True))
        if len(pair) == 2:
            add("start2", bench.job(one, workers=2, cores=pair))
            add("two", bench.job(many, workers=2, cores=pair))
    add("few", bench.job(few, memory=True))
    report_large(figures, len(few), len(many))


def report_large(figures: dict[str, list[Run]], few: int, many: int) -> None:
    """Prints what `large` measured."""
    floor, one, two = figures["floor"], figures["one"], figures.get("two")
    seconds = floor[0].seconds
    print(f"{many} files, {seconds:.0f} s of video; at most {many - min(run.clips for run in one)} not written\n")
    print("| with start-up | |\n|---|---|")
    _row("files per core-second", (run.clips / run.cost.cpu for run in one))
    _row("ms CPU per second of video", (1000 * run.cost.cpu / seconds for run in one))
    _row("CPU, of the bare loops'", _ratios(one, floor, "cpu"))
    if two:
        _row("throughput of two workers on two cores, of one on one", _ratios(one, two, "wall"))
        starts = zip(figures["start"], figures["start2"], strict=True)
        net = zip(one, two, starts, strict=True)
        _row("the same, net", ((a.cost.wall - x.cost.wall) / (b.cost.wall - y.cost.wall) for a, b, (x, y) in net))
    small, large = figures["few"][0].cost.peak_mb, _middle(run.cost.peak_mb for run in one)
    print(f"| peak MB of all processes, {few} and {many} files | {small:.0f}, {large:.0f} ({large / small - 1:+.1%}) |")


def _ratios(above: list[Run], below: list[Run], figure: str):
    pairs = zip(above, below, strict=True)
    return (getattr(a.cost, figure) / getattr(b.cost, figure) for a, b in pairs)


def _row(text: str, values) -> None:
    print(f"| {text} | {_spread(values)} |")


def _middle(values) -> float:
    return statistics.median(values)


def _spread(values) -> str:
    ordered = sorted(values)
    return f"{statistics.median(ordered):.2f} ({ordered[0]:.2f} to {ordered[-1]:.2f})"


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()

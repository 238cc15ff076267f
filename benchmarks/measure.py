"""What the benchmarks share: workers in processes of their own, and figures from paired runs.

A worker is a script started with `--worker NAME`. It prepares one side of a comparison, warms it up, prints `ready`,
and then does one run for every line it reads, answering with one line of JSON. So the sides take turns in one
benchmark, none of them disturbs the other's memory, and the work of importing and compiling is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTORCH = HERE.parent / ".venv-bench" / "bin" / "python"


def serve(run: Callable[[], object], warm_up: int = 2) -> None:
    """The worker's side: answers every line on standard input with the CPU and wall seconds of one run.

    Args:
        run: one run; returns when its result is there.
        warm_up: runs that are not counted.
    """
    for _ in range(warm_up):
        run()
    print("ready", flush=True)
    for _ in sys.stdin:
        cpu, wall = time.process_time(), time.perf_counter()
        run()
        figures = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        figures["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        print(json.dumps(figures), flush=True)


class Worker:
    """The benchmark's side of a worker."""

    def __init__(self, script: str, name: str, python: str = sys.executable):
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
        environment["PYTHONPATH"] = str(HERE.parent)
        self.process = subprocess.Popen(
            [python, str(HERE / script), "--worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self.process.stdin and self.process.stdout  # pipes, as asked for
        self.requests, self.answers = self.process.stdin, self.process.stdout
        while (line := self.answers.readline()) != "ready\n":
            if not line:
                raise SystemExit(f"{script}: the worker {name} ended before it was ready")

    def run(self) -> dict[str, float]:
        """One run: cpu and wall seconds, and the worker's peak resident memory so far in GB."""
        return self.send("run")

    def send(self, line: str):
        """Sends a line, and waits for the line of JSON that answers it."""
        self.requests.write(line + "\n")
        self.requests.flush()
        return json.loads(self.answers.readline())

    def close(self) -> None:
        """Ends the process."""
        self.requests.close()
        self.process.wait()


def read_arguments(description: str | None, **options: tuple[int, str]) -> argparse.Namespace:
    """The flags of a benchmark.

    Args:
        description: for `--help`.
        options: flag name to its default, a whole number, and its help.

    Returns:
        The flags; `worker` is the worker's name in a process that `Worker` started, else None.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, (default, text) in options.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=text)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def pytorch_python() -> str:
    """The interpreter that has PyTorch; empty where there is none, saying so."""
    if PYTORCH.is_file():
        return str(PYTORCH)
    print("no .venv-bench: PyTorch is left out (make setup-bench brings it)\n")
    return ""


def take_turns(workers: dict[str, Worker], rounds: int) -> dict[str, list[dict[str, float]]]:
    """Lets every worker run once per round; by name, its figures per round."""
    figures = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            figures[name].append(worker.run())
    return figures


def median(runs: list[dict[str, float]], key: str = "cpu") -> float:
    """Median of one figure."""
    return statistics.median(run[key] for run in runs)


def ratio(ours: list[dict[str, float]], theirs: list[dict[str, float]], key: str = "cpu") -> str:
    """Median and range of the ratios, run by run."""
    pairs = sorted(mine[key] / other[key] for mine, other in zip(ours, theirs, strict=True))
    return f"{statistics.median(pairs):.2f} ({pairs[0]:.2f} to {pairs[-1]:.2f})"

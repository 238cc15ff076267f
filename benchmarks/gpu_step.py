"""The whole model on a GPU: clips a second, peak memory and time to the first step, ours against PyTorch.

    python benchmarks/gpu_step.py                                   # everything: an hour or more
    python benchmarks/gpu_step.py --batches 8 --only bfloat16       # what fits ten minutes of a lent machine
    python benchmarks/gpu_step.py --tensorflow "LD_LIBRARY_PATH=lib PYTHONPATH=tfsite:site python3" --pytorch python3
    python benchmarks/gpu_step.py --small                           # on a CPU, to see that it runs

Preset avbert_base with its Kinetics-Sounds heads, as benchmarks/full_model_step.py: both losses, gradients of
everything, Adam. Ours is the product's own train step. PyTorch is benchmarks/pytorch_model.py. Inputs lie on the
device. float32 is TF32 where the GPU has it. `tiny` is a whole `pemt pretrain --preset tiny` on made-up clips, with
its input pipeline.

Each row runs in a process of its own, at most --limit seconds long. One that fails, or has too little memory, becomes
a row that says so. Rows of the same batch and dtype run one after the other, in --rounds rounds; the ratio to PyTorch
(eager, same batch and dtype) is that of the rounds, with its range. Figures go to --json after every row.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from gpu_step_sides import Row
from measure import PYTORCH

HERE = Path(__file__).resolve().parent
WAYS = {  # side: its ways
    "pytorch": ("eager", "channels-last", "compiled"),
    "tensorflow": ("eager", "xla", "xla-transformer", "remat"),
    "jax": ("xla",),
}
NAMES = {"pytorch": "PyTorch", "tensorflow": "ours, TensorFlow", "jax": "ours, JAX", "tiny": "tiny, pretraining"}
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


def rows_of(options: argparse.Namespace) -> list[Row]:
    """The rows that were asked for, those to compare side by side."""
    rows = [
        Row(side, dtype, way, batch, options.steps, options.small)
        for batch in options.batches
        for dtype in ("float32", "bfloat16")
        for side, ways in WAYS.items()
        for way in ways
    ]
    rows += [
        Row("tiny", dtype, "eager", 4 if options.small else 32, 12 * options.steps, options.small)
        for dtype in ("float32", "bfloat16")
    ]
    return [row for row in rows if all(part in name(row) for part in options.only)]


def name(row: Row) -> str:
    """A row's name in the table."""
    way = "" if row.way == "eager" else f", {row.way}"
    return f"{NAMES[row.side]}, {row.dtype}{way}, batch {row.batch}"


def run(row: Row, interpreter: str, limit: float) -> dict:
    """The figures of a row, or `failed`, one line."""
    words = shlex.split(interpreter)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONWARNINGS": "ignore"}
    environment |= {"KERAS_BACKEND": "jax" if row.side == "jax" else "tensorflow"}
    while words and (found := _ASSIGNMENT.fullmatch(words[0])):
        environment[found[1]] = found[2]
        words.pop(0)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HERE.parent), environment.get("PYTHONPATH"))))
    command = [*(words or [sys.executable]), str(HERE / "gpu_step_sides.py"), json.dumps(asdict(row))]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    try:
        child = subprocess.Popen(command, env=environment, start_new_session=True, **pipes)
    except OSError as error:
        return {"failed": f"{command[0]}: {error.strerror}"}
    try:
        out, errors = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)  # compilers of its own, too
        child.communicate()
        return {"failed": f"not done after {limit:.0f} s"}
    if child.returncode:
        return {"failed": _cause(child.returncode, errors)}
    return json.loads(out.splitlines()[-1])


def _cause(code: int, errors: str) -> str:
    if re.search(r"out of memory|OutOfMemory|RESOURCE_EXHAUSTED|ResourceExhausted|OOM when", errors):
        return "out of memory"
    lines = [line for line in errors.splitlines() if line.strip()]
    return (lines[-1].strip() if lines else f"exit code {code}")[:160]


def table(rows: list[Row], rounds: list[dict[str, dict]]) -> str:
    """The table of all rounds so far, in Markdown."""
    lines = ["| | clips/s | peak GB | first step s | of PyTorch, same batch and dtype |", "|---|---|---|---|---|"]
    for row in rows:
        runs = [figures[name(row)] for figures in rounds if name(row) in figures]
        good = [run for run in runs if "failed" not in run]
        if not good:
            lines.append(f"| {name(row)} | {runs[-1]['failed'] if runs else 'not run'} | | | |")
            continue
        cells = [f"{statistics.median(run['clips_per_second'] for run in good):.2f}"]
        cells += [f"{max(run['peak_gb'] for run in good):.2f}"]
        first = [run["first_step_s"] for run in good if "first_step_s" in run]
        cells += [f"{statistics.median(first):.1f}" if first else "", _ratio(row, rounds)]
        lines.append(f"| {name(row)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _ratio(row: Row, rounds: list[dict[str, dict]]) -> str:
    """Median and range of the ratios to eager PyTorch, round by round."""
    other = name(Row("pytorch", row.dtype, "eager", row.batch, row.steps, row.small))
    pairs = [(figures.get(name(row), {}), figures.get(other, {})) for figures in rounds]
    ratios = sorted(
        mine["clips_per_second"] / theirs["clips_per_second"]
        for mine, theirs in pairs
        if "clips_per_second" in mine and "clips_per_second" in theirs and row.side != "tiny"
    )
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})" if ratios else ""


def device() -> str:
    """The GPU's name, from its driver."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return f"no GPU; {os.cpu_count()} CPU cores"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=lambda text: [int(part) for part in text.split(",")], default=[4, 8, 16])
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="rows with TEXT in their names")
    parser.add_argument("--rounds", type=int, default=2, help="default: 2")
    parser.add_argument("--steps", type=int, default=10, help="steps of each of 3 timed blocks (default: 10)")
    parser.add_argument("--limit", type=float, default=300, help="seconds of a row, at most (default: 300)")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds after which no row begins")
    parser.add_argument("--small", action="store_true", help="a small geometry and model, to try it out on a CPU")
    parser.add_argument("--json", type=Path, default=Path("gpu_step.json"), help="default: %(default)s")
    for side in WAYS:
        default = str(PYTORCH) if side == "pytorch" and PYTORCH.is_file() else sys.executable
        parser.add_argument(f"--{side}", default=default, help="interpreter, NAME=VALUE of its environment before it")
    return parser.parse_args()


def main() -> None:
    """Runs the rows, and prints the table after each round."""
    options = _options()
    rows, rounds, begin = rows_of(options), [], time.monotonic()
    print(f"{device()}; {len(rows)} rows, {options.rounds} rounds\n")
    for _ in range(options.rounds):
        rounds.append({})
        for row in rows:
            if time.monotonic() - begin > options.budget:
                continue
            interpreter = getattr(options, row.side, options.tensorflow)
            rounds[-1][name(row)] = figures = run(row, interpreter, options.limit)
            options.json.write_text(json.dumps({"device": device(), "rounds": rounds}, indent=1) + "\n")
            shown = figures.get("failed") or f"{figures['clips_per_second']:.2f} clips/s"
            print(f"{name(row)}: {shown}", file=sys.stderr, flush=True)
        print(table(rows, rounds) + "\n", flush=True)


if __name__ == "__main__":
    main()

"""What a train step runs: kernels, casts, and bytes that kernels read and write, by the code paths of CPU and GPU.

    python benchmarks/step_cost.py --small          # a small geometry and model: a minute
    python benchmarks/step_cost.py                  # avbert_base with its heads, one clip: some minutes, 4 GB

Counted in the traced graph of the product's own step (benchmarks/gpu_step_sides.py), so it needs no GPU. A kernel is an
operation other than constants, reshapes and reads of variables; those on shapes and seeds run on the host, and count
too. Its bytes are those of all its inputs and outputs, each once, caches ignored: what XLA would keep in registers, and
what a kernel reads several times, is not seen. `plain`, single operations, is what a GPU ran before it had paths of its
own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gpu_step_sides import Row, make_step

PATHS = ("plain", "cpu", "gpu")


def cost(row: Row, path: str) -> dict[str, float]:
    """Kernels, casts and gigabytes of a step, and how many kernels have a tensor of unknown shape."""
    from pemt_tf.device_choices import choices_for, kernels
    from tests.traced_step import bytes_moved, computing

    step, batch, settings = make_step(row, path)
    with kernels(choices_for(settings)):
        operations = computing(step._run.get_concrete_function(batch))
    known = [
        all(each.shape.is_fully_defined() for each in op.outputs if each.dtype.name != "resource") for op in operations
    ]
    return {
        "kernels": len(operations),
        "casts": sum(operation.type == "Cast" for operation in operations),
        "gigabytes": bytes_moved(operations) / 1e9,
        "unknown": known.count(False),
    }


def main() -> None:
    """Prints the table; each row is counted in a process of its own, because the dtype policy is global."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a small geometry and model")
    parser.add_argument("--batch", type=int, default=1, help="clips a step (default: 1)")
    parser.add_argument("--row", nargs=2, metavar=("PATH", "DTYPE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        path, dtype = options.row
        found = cost(Row("tensorflow", dtype, "eager", options.batch, 1, options.small), path)
        size = f"{found['gigabytes']:.3f}" if options.small else f"{found['gigabytes']:.1f}"
        print(f"| {path}, {dtype} | {found['kernels']} | {found['casts']} | {size} | {found['unknown']} |")
        return
    heads = ("kernels of", "kernels", "of them casts", "GB read and written", "kernels of unknown size")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
    for dtype in ("float32", "bfloat16"):
        for path in PATHS:
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--row", path, dtype], check=True)


if __name__ == "__main__":
    main()

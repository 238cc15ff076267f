"""Where the time of a train step of the whole model goes: milliseconds per kind of operation and per part.

    python benchmarks/profile_model_step.py [--dtype bfloat16] [--remat]

Times are those that operations took on their threads, so with two cores their sum is above the wall time.
"""

from __future__ import annotations

import argparse
import collections
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf
from full_model_step import make_train_step


def events(directory: str) -> list[tuple[str, float]]:
    """Name (`path/of/scopes:Operation`) and milliseconds of every operation in a profile."""
    try:
        from tensorflow.tsl.profiler.protobuf import xplane_pb2
    except ImportError:
        from tensorflow.core.profiler.protobuf import xplane_pb2
    (path,) = Path(directory).glob("**/*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(path.read_bytes())
    found = []
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                if ":" in name and "::" not in name and not name.startswith("EagerLocalExecute"):
                    found.append((name, event.duration_ps / 1e9))
    return found


def part_of(name: str) -> str:
    """Which part of the model an operation belongs to."""
    for part in ("visual_cnn", "audio_cnn", "transformer", "adam"):
        if part in name:
            return part + (" backwards" if name.startswith("gradient_tape") else "")
    return "other (batch norms' gradients, sums of gradients, inputs)"


def main() -> None:
    """Profiles three steps and prints two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--remat", action="store_true")
    arguments = parser.parse_args()
    keras.config.set_dtype_policy("mixed_bfloat16" if arguments.dtype == "bfloat16" else "float32")
    step, count = make_train_step(remat=arguments.remat), 3
    for _ in range(2):
        step()
    with tempfile.TemporaryDirectory() as directory:
        tf.profiler.experimental.start(directory)
        for _ in range(count):
            step()
        tf.profiler.experimental.stop()
        recorded = events(directory)
    for title, key in (("operation", lambda name: name.rpartition(":")[2]), ("part", part_of)):
        total: dict[str, float] = collections.defaultdict(float)
        for name, taken in recorded:
            total[key(name)] += taken / count
        print(f"{title:60} ms per step")
        for name, taken in sorted(total.items(), key=lambda item: -item[1])[:16]:
            print(f"{name:60} {taken:8.1f}")
        print()


if __name__ == "__main__":
    main()

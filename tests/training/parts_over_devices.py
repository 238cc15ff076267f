"""Run as a program by test_parts_over_devices: the toy on one and on two logical CPUs, whole and in parts.

Splitting the CPU must come before TensorFlow starts, so it cannot be done in the process of the tests.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from pemt_tf.data.clip_source import ClipSource
from pemt_tf.errors import PemtError
from pemt_tf.training.strategy import make_strategy, split_cpu
from tests.training.toy import logged, run_toy, state

SETTINGS = {"dropout": 0.0, "clip_norm": 0.3, "ema": 0.9, "precision": "mixed_float16", "first_scale": 2.0**126}


def main(data: str, out: str) -> None:
    split_cpu(2)
    source, folder, two = ClipSource.open(data), Path(out), make_strategy()
    assert two.num_replicas_in_sync == 2
    whole, run = run_toy(source, folder / "one", **SETTINGS)
    report = {"rows": {"one": logged(run)}, "differences": {}}
    for name, settings in (("two", {}), ("two_in_parts", {"accumulation": 2})):
        task, run = run_toy(source, folder / name, strategy=two, **{**SETTINGS, **settings})
        pairs = zip(state(task), state(whole), strict=True)
        report["differences"][name] = max(float(np.abs(a.astype(float) - b).max()) for a, b in pairs)
        report["rows"][name] = logged(run)
    try:
        run_toy(source, folder / "xla", strategy=two, jit_compile=True)
    except PemtError as error:
        report["xla"] = str(error)
    (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Reads the metrics file of a training run."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path

from pemt_tf.errors import PemtError
from pemt_tf.report.contents import Series

# Fields that say how the run went on this machine, not how well it learned.
BOOKKEEPING = ("step", "epoch", "time", "timestamp", "second", "seconds", "rate", "eta", "input_wait_share")


def read_metrics(path: Path, leave_out: Iterable[str] = BOOKKEEPING) -> dict[str, Series]:
    """Reads a metrics file, one JSON object a line: `{"step": 10, "loss": 1.5, ...}`.

    A run that was resumed may have written some steps twice: the later line counts. A truncated last line, which a
    killed run leaves behind, is skipped; another damaged line is a PemtError. `leave_out` names fields, or last words
    of fields: `rate` means `learning_rate` too. The series come in the order in which they first appear.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PemtError(f"cannot read the metrics file {path}: {getattr(error, 'strerror', None) or error}") from None
    endings = tuple(leave_out)
    points: dict[str, dict[int, float]] = {}
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            step = int(row["step"])
        except (ValueError, TypeError, KeyError):
            if number == len(lines):
                break
            raise PemtError(f"{path} line {number} is not a JSON object with a step; delete that line") from None
        for name, value in row.items():
            value = math.nan if value is None else value  # null is NaN or infinity: a gap in the curve
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                continue
            if name in endings or name.endswith(tuple(f"_{ending}" for ending in endings)):
                continue
            points.setdefault(name, {})[step] = float(value)
    series = {name: sorted(values.items()) for name, values in points.items()}
    return {name: Series(*(tuple(part) for part in zip(*values, strict=True))) for name, values in series.items()}

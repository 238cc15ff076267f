"""Runs a pipeline on TFX's local engine: cheap checks first, one run at a time in a root, log lines in a file."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.errors import PemtError
from pemt_tf.orchestration.nodes.cpp_loader import require_compiler, resolved_check
from pemt_tf.orchestration.running.data_spans import find_data
from pemt_tf.orchestration.running.run_lock import only_run

if TYPE_CHECKING:
    from tfx.orchestration.pipeline import Pipeline


def run_locally(
    create: Callable[[], Pipeline], *, data: Path, root: Path, infra_check: str, cpu_devices: int = 1
) -> None:
    """Runs a pipeline to its end; raises PemtError if a check, another run under way or a failed node prevents it.

    `create` builds it after the checks, because TFX takes half a minute to load. `data` may be a pattern of folders.
    """
    found = find_data(data).path
    DatasetCard.read(found).require_tfrecord(found)
    if infra_check == "cpp":
        require_compiler()
    elif infra_check == "auto" and resolved_check("auto") == "python":
        sys.stderr.write(
            "note: there is no C++ compiler here; ServingCheck loads the model with TensorFlow in Python\n"
        )
    log = root / "logs" / time.strftime("%Y%m%d-%H%M%S.log")
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PemtError(f"cannot write to the pipeline's root {root}: {error.strerror}") from None
    with contextlib.nullcontext() if _is_only_inspected() else only_run(root):
        try:
            from pemt_tf.orchestration.nodes.trainer_task import ensure_cpu_devices

            ensure_cpu_devices(cpu_devices)  # before any node starts TensorFlow
            pipeline = create()
            from tfx.orchestration.local.local_dag_runner import LocalDagRunner

            with _logged_to(log):
                LocalDagRunner().run(pipeline)
        except Exception as error:
            with log.open("a", encoding="utf-8") as file:
                traceback.print_exc(file=file)
            raise PemtError(f"{_cause(error)} (details: {log})") from None


def _is_only_inspected() -> bool:
    """Whether a TFX command only wants the pipeline: it puts a function in the place of the engine's `run`."""
    engine = sys.modules.get("tfx.orchestration.local.local_dag_runner")
    return engine is not None and hasattr(engine.LocalDagRunner.run, "__wrapped__")


def _cause(error: BaseException) -> str:
    """One line: our own message if there is one in the chain of exceptions, otherwise the last exception's."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, PemtError):
            return str(link)
        link = link.__cause__ or link.__context__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # TensorFlow begins with headings and the stack that built the graph.
    telling = [line for line in lines if not line.endswith(":") and not line.startswith('File "')] or lines
    return f"{type(error).__name__}: {telling[0] if telling else 'no message'}"[:400]


@contextlib.contextmanager
def _logged_to(path: Path) -> Iterator[None]:
    """Writes all log lines to a file, which the first of them creates."""
    handler = logging.FileHandler(path, delay=True, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(), logging.getLogger("absl")]
    levels = [logger.level for logger in loggers]
    loggers[0].addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        loggers[0].removeHandler(handler)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

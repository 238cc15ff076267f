"""Runs the pipeline on this machine; `tfx` commands take the path of this file.

    tfx pipeline run --pipeline-path pipeline/local_runner.py
    python pipeline/local_runner.py

It takes no arguments: pipeline/config.yaml and PEMT_PIPELINE_* variables say what to do (docs/pipeline.md).
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.configs import PipelineConfig

_FOLDER = Path(__file__).resolve().parent


def main() -> int:
    """Builds and runs the pipeline; returns the exit code."""
    _make_importable()
    from pemt_tf.errors import PemtError
    from pemt_tf.orchestration.running.quiet_tfx import silence_libraries
    from pemt_tf.terminal.interruption import stopped_by_sigterm

    silence_libraries()
    try:
        with stopped_by_sigterm():
            run()
    except PemtError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the next run goes on after the last finished node\n")
        return 130
    return 0


def run() -> None:
    """Builds the pipeline and hands it to TFX's local engine.

    Raises:
        PemtError: the data or the configuration do not allow it, or a node failed.
    """
    from pemt_tf.data.dataset_card import DatasetCard
    from pemt_tf.errors import PemtError
    from pemt_tf.orchestration.nodes.cpp_loader import require_compiler, resolved_check
    from pemt_tf.orchestration.running.data_spans import find_data
    from pemt_tf.orchestration.running.run_lock import only_run
    from pipeline.configs import PipelineConfig

    config = PipelineConfig.load()
    # TFX takes half a minute to load; a missing folder is told before.
    DatasetCard.read(find_data(config.data_folder).path)
    if config.infra_check == "cpp":
        require_compiler()
    elif config.infra_check == "auto" and resolved_check("auto") == "python":
        sys.stderr.write(
            "note: there is no C++ compiler here; ServingCheck loads the model with TensorFlow in Python\n"
        )
    log = config.root / "logs" / time.strftime("%Y%m%d-%H%M%S.log")
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PemtError(f"cannot write to the pipeline's root {config.root}: {error.strerror}") from None
    with contextlib.nullcontext() if _only_looked_at() else only_run(config.root):
        try:
            _build_and_run(config, log)
        except Exception as error:
            with log.open("a", encoding="utf-8") as file:
                traceback.print_exc(file=file)
            raise PemtError(f"{cause(error)} (details: {log})") from None


def _build_and_run(config: PipelineConfig, log: Path) -> None:
    from tfx import v1 as tfx

    from pipeline import trainer_module
    from pipeline.pipeline import create_pipeline

    trainer_module.ensure_cpu_devices(config.trainer.cpu_devices)  # before other nodes start TensorFlow
    pipeline = create_pipeline(config)
    with logged_to(log):
        tfx.orchestration.LocalDagRunner().run(pipeline)


def _only_looked_at() -> bool:
    """Whether this is a command of TFX that wants the pipeline: it puts a function in the place of the engine's."""
    engine = sys.modules.get("tfx.orchestration.local.local_dag_runner")
    return engine is not None and hasattr(engine.LocalDagRunner.run, "__wrapped__")


def cause(error: BaseException) -> str:
    """One line that says why: our own message if there is one in the chain of exceptions, else the last one's."""
    from pemt_tf.errors import PemtError

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
def logged_to(path: Path) -> Iterator[None]:
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


def _make_importable() -> None:
    """Started as a file, Python looks beside it first, where pipeline.py would hide the package of the same name."""
    root = str(_FOLDER.parent)
    sys.path[:] = [root if Path(entry or ".").resolve() == _FOLDER else entry for entry in sys.path]


if __name__ == "__main__":
    sys.exit(main())

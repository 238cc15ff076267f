"""`tfx pipeline run --status`: the last runs of a pipeline. For the configured pipeline TFX need not be loaded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2

from pemt_tf.errors import PemtError
from pemt_tf.orchestration.running.run_history import RunHistory
from pemt_tf.orchestration.running.run_lock import is_running
from pemt_tf.orchestration.settings import DEFAULT_ROOT, load_settings
from pemt_tf.orchestration.template_copy import template_folder


@dataclass(frozen=True)
class _Whereabouts:
    """The settings that say where the runs of a pipeline are recorded; see `pipeline/configs.py`."""

    name: str = "pemt"
    data: Path | None = None
    root: Path = DEFAULT_ROOT


def status_lines(path: str | None, name: str | None, count: int) -> list[str]:
    """What the command prints, the newest run first.

    Without a path or a name, the pipeline is the one of pipeline/config.yaml in this folder and of the environment.
    """
    settings = load_settings(_Whereabouts, _configuration(), os.environ, some=True)
    if path or name:
        from pemt_tf.orchestration.running.local_run import load_pipeline

        pipeline = load_pipeline(path, name)
        title, connection = pipeline.pipeline_info.pipeline_name, pipeline.metadata_connection_config
        root = Path(connection.sqlite.filename_uri).parent
    else:
        title, root = settings.name, settings.root
        connection = metadata_store_pb2.ConnectionConfig()
        connection.sqlite.filename_uri = str(root / "metadata.sqlite")
        connection.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    if connection.HasField("sqlite") and not Path(connection.sqlite.filename_uri).is_file():
        raise PemtError(f"pipeline {title!r} has not run yet: there is no {connection.sqlite.filename_uri}")
    history = RunHistory(connection, title, dated="{YYYY}" in str(settings.data or ""))
    reports = history.latest(count, alive=is_running(root))
    if not reports:
        raise PemtError(f"pipeline {title!r} has not run yet")
    lines = [f"pipeline {title}, last runs first"]
    for report in reports:
        lines += ["", *report.history_lines()]
    return lines


def _configuration() -> Path:
    """The file of the project that the command is called in, or else the template's, which has the defaults."""
    here = Path("pipeline", "config.yaml")
    return here if here.is_file() else template_folder() / "config.yaml"

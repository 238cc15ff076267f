"""`tfx pipeline run --status`: the last runs of a pipeline. TFX need not be loaded for our own."""

from __future__ import annotations

from pathlib import Path

from ml_metadata.proto import metadata_store_pb2

from pemt_tf.errors import PemtError
from pemt_tf.orchestration.running.run_history import RunHistory
from pemt_tf.orchestration.running.run_lock import is_running
from pipeline.configs import PipelineConfig


def status_lines(path: str | None, name: str | None, count: int) -> list[str]:
    """What the command prints, the newest run first.

    Args:
        path: of the pipeline's file; or
        name: of a created pipeline; without either, the pipeline of our configuration.
        count: how many runs.

    Raises:
        PemtError: the pipeline or its metadata are not there, or it never ran.
    """
    if path or name:
        from pemt_tf.orchestration.running.local_run import load_pipeline

        pipeline = load_pipeline(path, name)
        title, connection = pipeline.pipeline_info.pipeline_name, pipeline.metadata_connection_config
        root = Path(connection.sqlite.filename_uri).parent
    else:
        config = PipelineConfig.load()
        title, root = config.name, config.root
        connection = metadata_store_pb2.ConnectionConfig()
        connection.sqlite.filename_uri = str(config.metadata_file)
        connection.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    if connection.HasField("sqlite") and not Path(connection.sqlite.filename_uri).is_file():
        raise PemtError(f"pipeline {title!r} has not run yet: there is no {connection.sqlite.filename_uri}")
    history = RunHistory(connection, title, dated="{YYYY}" in str(PipelineConfig.load().data or ""))
    reports = history.latest(count, alive=is_running(root))
    if not reports:
        raise PemtError(f"pipeline {title!r} has not run yet")
    lines = [f"pipeline {title}, last runs first"]
    for report in reports:
        lines += ["", *report.history_lines()]
    return lines

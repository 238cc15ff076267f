"""Runs the pipeline on this machine; `tfx` commands take the path of this file.

    tfx pipeline run --pipeline-path pipeline/local_runner.py
    python pipeline/local_runner.py

It takes no arguments: config.yaml and the PEMT_PIPELINE_* variables hold the settings.
"""

from __future__ import annotations

import sys

from pemt_tf.orchestration.running.local_engine import run_locally
from pemt_tf.orchestration.running.runner_file import make_importable, run_as_command

make_importable(__file__)
from pipeline.configs import PipelineConfig  # noqa: E402


def run() -> None:
    """Builds the pipeline and hands it to TFX's local engine.

    Raises:
        PemtError: the data or the configuration do not allow it, or a node failed.
    """
    config = PipelineConfig.load()

    def create():
        from pipeline.pipeline import create_pipeline  # it loads TFX, which takes half a minute

        return create_pipeline(config)

    run_locally(
        create,
        data=config.data_folder,
        root=config.root,
        infra_check=config.infra_check,
        cpu_devices=config.trainer.cpu_devices,
    )


if __name__ == "__main__":
    sys.exit(run_as_command(run))

"""Compiles the pipeline for Kubeflow Pipelines v2 and Vertex AI, and prints the path of the result; nothing runs here.

    PEMT_PIPELINE_KUBEFLOW_IMAGE=REGISTRY/pemt:1 PEMT_PIPELINE_KUBEFLOW_ROOT=gs://BUCKET/pemt \
        python pipeline/kubeflow_runner.py
"""

from __future__ import annotations

import sys
from pathlib import Path

from pemt_tf.orchestration.running.kubeflow_compiler import compile_for_kubeflow
from pemt_tf.orchestration.running.runner_file import make_importable, run_as_command

make_importable(__file__)
from pipeline.configs import PipelineConfig  # noqa: E402


def compile_pipeline() -> Path:
    """Writes the compiled pipeline, JSON, and returns its path.

    Raises:
        PemtError: the data or the configuration do not allow it, or Kubeflow's format is not installed.
    """
    config = PipelineConfig.load()
    output = config.kubeflow.output or config.root / f"{config.name}.json"

    def create():
        from pipeline.pipeline import create_pipeline  # it loads TFX, which takes half a minute

        return create_pipeline(config, config.kubeflow.root)

    compile_for_kubeflow(create, config.kubeflow.image, config.kubeflow.root, output)
    return output


def main() -> None:
    """Compiles, and prints where the result is."""
    sys.stdout.write(f"{compile_pipeline()}\n")


if __name__ == "__main__":
    sys.exit(run_as_command(main))

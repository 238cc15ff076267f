"""Compiles the pipeline for Kubeflow Pipelines v2 and Vertex AI; nothing runs here.

    PEMT_PIPELINE_KUBEFLOW_IMAGE=REGISTRY/pemt:1 PEMT_PIPELINE_KUBEFLOW_ROOT=gs://BUCKET/pemt \
        python pipeline/kubeflow_runner.py

The configuration is that of the local runner, and `kubeflow` (docs/pipeline.md).
"""

from __future__ import annotations

import sys
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent


def main() -> int:
    """Compiles, and says where the result is; returns the exit code."""
    root = str(_FOLDER.parent)  # started as a file, Python looks beside it, where pipeline.py hides the package
    sys.path[:] = [root if Path(entry or ".").resolve() == _FOLDER else entry for entry in sys.path]
    from pemt_tf.errors import PemtError
    from pemt_tf.orchestration.running.quiet_tfx import silence_libraries

    silence_libraries()
    try:
        output = compile_pipeline()
    except PemtError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{output}\n")
    return 0


def compile_pipeline() -> Path:
    """Writes the compiled pipeline, JSON, and returns its path.

    Raises:
        PemtError: the data or the configuration do not allow it, or Kubeflow's format is not installed.
    """
    from pemt_tf.errors import PemtError
    from pipeline.configs import PipelineConfig

    config = PipelineConfig.load()
    for name in ("image", "root"):
        if not getattr(config.kubeflow, name):
            raise PemtError(f"to compile for Kubeflow, set kubeflow.{name} (PEMT_PIPELINE_KUBEFLOW_{name.upper()})")
    try:
        from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KubeflowV2DagRunner, KubeflowV2DagRunnerConfig
    except ImportError as error:
        raise PemtError(f"Kubeflow's pipeline format is not installed ({error}); pip install 'pemt-tf[tfx]'") from None
    from pipeline.pipeline import create_pipeline

    output = config.kubeflow.output or config.root / f"{config.name}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    settings = KubeflowV2DagRunnerConfig(default_image=config.kubeflow.image)
    runner = KubeflowV2DagRunner(settings, output_dir=str(output.parent), output_filename=output.name)
    runner.run(create_pipeline(config, config.kubeflow.root), write_out=True)
    return output


if __name__ == "__main__":
    sys.exit(main())

"""Compiles a pipeline for Kubeflow Pipelines v2 and Vertex AI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pemt_tf.errors import PemtError

if TYPE_CHECKING:
    from tfx.orchestration.pipeline import Pipeline


def compile_for_kubeflow(create: Callable[[], Pipeline], image: str, root: str, output: Path) -> None:
    """Writes the compiled pipeline as JSON.

    Args:
        create: builds the pipeline; it is called after the checks, because TFX takes half a minute to load.
        image: container image of every node.
        root: folder of artefacts as the cluster sees it.
        output: the file to write.

    Raises:
        PemtError: the image or the root is not set, or Kubeflow's format is not installed.
    """
    for name, value in {"image": image, "root": root}.items():
        if not value:
            raise PemtError(f"to compile for Kubeflow, set kubeflow.{name} (PEMT_PIPELINE_KUBEFLOW_{name.upper()})")
    try:
        from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KubeflowV2DagRunner, KubeflowV2DagRunnerConfig
    except ImportError as error:
        raise PemtError(f"Kubeflow's pipeline format is not installed ({error}); pip install 'pemt-tf[tfx]'") from None
    output.parent.mkdir(parents=True, exist_ok=True)
    settings = KubeflowV2DagRunnerConfig(default_image=image)
    runner = KubeflowV2DagRunner(settings, output_dir=str(output.parent), output_filename=output.name)
    runner.run(create(), write_out=True)

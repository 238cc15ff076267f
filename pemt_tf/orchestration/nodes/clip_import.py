"""ImportExampleGen for clip records."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow as tf
from google.protobuf.wrappers_pb2 import StringValue
from tfx import v1 as tfx
from tfx.components.example_gen.import_example_gen import executor
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.proto.example_gen_pb2 import CustomConfig
from tfx.types.standard_component_specs import CUSTOM_CONFIG_KEY
from tfx.utils.proto_utils import proto_to_json

from pemt_tf.data import records
from pemt_tf.orchestration.nodes.imported_code import code_fingerprint
from pemt_tf.orchestration.nodes.slices import add_slices


class ClipImportExecutor(executor.Executor):
    """Imports all clips of `train` (for pretraining), and the labelled clips of the splits that judge a model.

    Of the latter only the first label stays, the one that training learns.
    """

    every_label = False

    def GenerateExamplesByBeam(self, pipeline: beam.Pipeline, exec_properties: dict[str, Any]):  # noqa: N802 (TFX)
        """The records of each split, by split name."""
        splits = super().GenerateExamplesByBeam(pipeline, exec_properties)
        keep = with_labels if self.every_label else with_one_label
        return {
            name: (examples if name == "train" else examples | f"LabelledOnly[{name}]" >> beam.FlatMap(keep))
            | f"AddSlices[{name}]" >> beam.Map(add_slices)
            for name, examples in splits.items()
        }

    def Do(self, input_dict, output_dict, exec_properties) -> None:  # noqa: N802 (TFX)
        """Imports, and decompresses the records: a trainer that resumes can seek in plain files only."""
        super().Do(input_dict, output_dict, exec_properties)
        for artifact in output_dict["examples"]:
            if "://" not in artifact.uri:
                decompress(Path(artifact.uri))


class EveryLabelImportExecutor(ClipImportExecutor):
    """The same, with all labels of each clip."""

    every_label = True


class ClipExampleGen(tfx.components.ImportExampleGen):
    """ImportExampleGen with `ClipImportExecutor`. It runs again when that code changes. Arguments as in TFX."""

    EXECUTOR_SPEC = BeamExecutorSpec(ClipImportExecutor)
    LABELS = ""  # what else the result depends on, for TFX's cache

    def __init__(self, **arguments: Any):
        super().__init__(**arguments)
        code = CustomConfig()
        code.custom_config.Pack(StringValue(value=f"{code_fingerprint(__name__)}{self.LABELS}"))
        self.spec.exec_properties[CUSTOM_CONFIG_KEY] = proto_to_json(code)


class EveryLabelExampleGen(ClipExampleGen):
    """The same with `EveryLabelImportExecutor`."""

    EXECUTOR_SPEC = BeamExecutorSpec(EveryLabelImportExecutor)
    LABELS = ", every label"


def decompress(folder: Path) -> None:
    """Replaces the `.gz` files below a folder by their content: mostly JPEGs, which compression makes no smaller."""
    for file in sorted(folder.rglob("*.gz")):
        with gzip.open(file) as packed, file.with_suffix("").open("wb") as plain:
            shutil.copyfileobj(packed, plain, 1 << 20)
        file.unlink()


def with_labels(example: tf.train.Example) -> list[tf.train.Example]:
    """Drops an example without label."""
    return [example] if example.features.feature[records.LABEL_INDEX].int64_list.value else []


def with_one_label(example: tf.train.Example) -> list[tf.train.Example]:
    """Keeps an example with its first label only, the one that training learns; drops an example without label."""
    feature = example.features.feature
    if not with_labels(example):
        return []
    del feature[records.LABEL_INDEX].int64_list.value[1:]
    del feature[records.LABEL_STRING].bytes_list.value[1:]
    return [example]

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
    """Imports the splits as they are, but of the splits that judge a model only what can judge: labelled clips.

    `train` keeps its unlabelled clips: pretraining needs them. All clips get the features that the Evaluator cuts by.
    """

    def GenerateExamplesByBeam(self, pipeline: beam.Pipeline, exec_properties: dict[str, Any]):  # noqa: N802 (TFX)
        """The records of each split, by split name."""
        splits = super().GenerateExamplesByBeam(pipeline, exec_properties)
        return {
            name: examples
            | f"LabelledOnly[{name}]" >> beam.FlatMap(as_it_is if name == "train" else with_one_label)
            | f"AddSlices[{name}]" >> beam.Map(add_slices)
            for name, examples in splits.items()
        }

    def Do(self, input_dict, output_dict, exec_properties) -> None:  # noqa: N802 (TFX)
        """Imports; a trainer that goes on finds its place in plain files at once, in compressed ones it cannot."""
        super().Do(input_dict, output_dict, exec_properties)
        for artifact in output_dict["examples"]:
            if "://" not in artifact.uri:
                decompress(Path(artifact.uri))


class ClipExampleGen(tfx.components.ImportExampleGen):
    """ImportExampleGen with that executor; it runs again when the executor's code changes. Arguments as TFX's."""

    EXECUTOR_SPEC = BeamExecutorSpec(ClipImportExecutor)

    def __init__(self, **arguments: Any):
        super().__init__(**arguments)
        code = CustomConfig()
        code.custom_config.Pack(StringValue(value=code_fingerprint(__name__)))
        self.spec.exec_properties[CUSTOM_CONFIG_KEY] = proto_to_json(code)


def decompress(folder: Path) -> None:
    """Replaces the `.gz` files below a folder by what is in them: JPEGs, which compression made no smaller."""
    for file in sorted(folder.rglob("*.gz")):
        with gzip.open(file) as packed, file.with_suffix("").open("wb") as plain:
            shutil.copyfileobj(packed, plain, 1 << 20)
        file.unlink()


def as_it_is(example: tf.train.Example) -> list[tf.train.Example]:
    """An example, whatever it holds."""
    return [example]


def with_one_label(example: tf.train.Example) -> list[tf.train.Example]:
    """An example with its first label alone, the one that training learns; nothing if it has none."""
    feature = example.features.feature
    if not feature[records.LABEL_INDEX].int64_list.value:
        return []
    del feature[records.LABEL_INDEX].int64_list.value[1:]
    del feature[records.LABEL_STRING].bytes_list.value[1:]
    return [example]

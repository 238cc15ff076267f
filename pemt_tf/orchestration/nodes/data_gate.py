"""DataGate: stops the run before training if the data is bad; ExampleValidator only stores its anomalies.

It also reads every record and checks it against the data set's card (`clip_rules`), because statistics cover scalars
only and miss NaN in a spectrogram, frames of another geometry and missing clips.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.components.example_validator import executor as example_validator
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from pemt_tf.errors import PemtError
from pemt_tf.orchestration.nodes.anomalies import anomalies_in_words
from pemt_tf.orchestration.nodes.artifact_types import Artifacts, DataApproval
from pemt_tf.orchestration.nodes.clip_rules import FINE, ClipRules
from pemt_tf.orchestration.nodes.imported_code import code_fingerprint

EXAMPLES, ANOMALIES, APPROVAL = "examples", "anomalies", "approval"
RULES, CLIPS, CODE = "rules", "clips", "code"
APPROVAL_FILE = "approval.json"
_NAMED = 3  # clips that a message names


class DataGateSpec(ComponentSpec):
    """Parameters: the rules and the clips of each split, both as JSON; the fingerprint of the code."""

    PARAMETERS = {name: ExecutionParameter(type=str) for name in (RULES, CLIPS, CODE)}  # noqa: RUF012 (TFX)
    INPUTS = {  # noqa: RUF012
        EXAMPLES: ChannelParameter(type=standard_artifacts.Examples),
        ANOMALIES: ChannelParameter(type=standard_artifacts.ExampleAnomalies),
    }
    OUTPUTS = {APPROVAL: ChannelParameter(type=DataApproval)}  # noqa: RUF012


class DataGateExecutor(BaseBeamExecutor):
    """Reads the anomalies, then all records, with Beam."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Approves the data, or raises a PemtError that lists all that is wrong."""
        wrong = _stored_anomalies(artifact_utils.get_single_instance(input_dict[ANOMALIES]))
        if not wrong:
            folder = artifact_utils.get_single_uri(output_dict[APPROVAL])
            examples = artifact_utils.get_single_instance(input_dict[EXAMPLES])
            rules = ClipRules.from_plain(json.loads(exec_properties[RULES]))
            counts = self._judge_all(examples, rules, folder)
            wrong = findings_in_words(counts, json.loads(exec_properties[CLIPS]))
        if wrong:
            raise PemtError(f"the data must not be trained on: {'; '.join(wrong)}")
        approved = {split: sum(each["clips"] for each in causes.values()) for split, causes in counts.items()}
        with fileio.open(os.path.join(folder, APPROVAL_FILE), "w") as file:  # noqa: PTH118 (may be gs://)
            file.write(json.dumps(approved, indent=2) + "\n")

    def _judge_all(self, examples: types.Artifact, rules: ClipRules, folder: str) -> dict[str, dict[str, dict]]:
        """Split to cause to `clips`, the number of clips, and `ids`, a few of them."""
        counts = {}
        with self._make_beam_pipeline() as pipeline:
            for split in artifact_utils.decode_split_names(examples.split_names):
                pattern = os.path.join(artifact_utils.get_split_uri([examples], split), "*")  # noqa: PTH118
                _ = (
                    pipeline
                    | f"Read[{split}]" >> beam.io.ReadFromTFRecord(pattern)
                    | f"Judge[{split}]" >> beam.Map(rules.judge)
                    | f"Count[{split}]" >> beam.CombinePerKey(Findings())
                    | f"ToText[{split}]" >> beam.Map(json.dumps)
                    | f"Write[{split}]" >> beam.io.WriteToText(_findings_file(folder, split), shard_name_template="")
                )
                counts[split] = {}
        for split in counts:
            with fileio.open(_findings_file(folder, split)) as file:
                counts[split] = dict(map(json.loads, file.read().splitlines()))
            fileio.remove(_findings_file(folder, split))
        return counts


class Findings(beam.CombineFn):
    """Counts clips and keeps the first few ids in alphabetical order."""

    def create_accumulator(self) -> tuple[int, list[str]]:
        """No clips."""
        return 0, []

    def add_input(self, accumulator: tuple[int, list[str]], element: str) -> tuple[int, list[str]]:
        """Adds one clip."""
        return accumulator[0] + 1, sorted([*accumulator[1], element])[:_NAMED]

    def merge_accumulators(self, accumulators: Iterable[tuple[int, list[str]]]) -> tuple[int, list[str]]:
        """Combines what several workers found."""
        counts, ids = zip(*accumulators, strict=True)
        return sum(counts), sorted(one for each in ids for one in each)[:_NAMED]

    def extract_output(self, accumulator: tuple[int, list[str]]) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"clips": accumulator[0], "ids": accumulator[1]}


class DataGate(BaseBeamComponent):
    """The node. `clips` is split to the number of clips that the card expects after the import."""

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = BeamExecutorSpec(DataGateExecutor)

    def __init__(
        self, examples: types.BaseChannel, anomalies: types.BaseChannel, rules: ClipRules, clips: dict[str, int]
    ):
        spec = DataGateSpec(
            **{
                EXAMPLES: examples,
                ANOMALIES: anomalies,
                RULES: json.dumps(rules.to_plain(), sort_keys=True),
                CLIPS: json.dumps(clips, sort_keys=True),
                CODE: code_fingerprint(__name__),
                APPROVAL: types.Channel(type=DataApproval),
            }
        )
        super().__init__(spec=spec)


def findings_in_words(counts: dict[str, dict[str, dict]], clips: dict[str, int]) -> list[str]:
    """A sentence without full stop for each fault."""
    wrong = []
    for split, causes in sorted(counts.items()):
        found = sum(each["clips"] for each in causes.values())
        for cause, each in sorted(causes.items()):
            if cause != FINE:
                named = ", ".join(each["ids"]) + (" ..." if each["clips"] > len(each["ids"]) else "")
                wrong.append(f"{each['clips']} of {found} clips of split {split} have {cause}: {named}")
        if found != clips.get(split, 0):
            wrong.append(f"split {split} has {found} clips, and the data set's card says {clips.get(split, 0)}")
    return wrong


def _stored_anomalies(artifact: types.Artifact) -> list[str]:
    wrong = []
    for split in artifact_utils.decode_split_names(artifact.split_names):
        folder = artifact_utils.get_split_uri([artifact], split)
        with fileio.open(os.path.join(folder, example_validator.DEFAULT_FILE_NAME), "rb") as file:  # noqa: PTH118
            wrong += anomalies_in_words(split, anomalies_pb2.Anomalies.FromString(file.read()))
    return wrong


def _findings_file(folder: str, split: str) -> str:
    return os.path.join(folder, f"findings-{split}.jsonl")  # noqa: PTH118

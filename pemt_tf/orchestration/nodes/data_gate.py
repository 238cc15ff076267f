"""DataGate: stops the run before training if the data is bad; ExampleValidator only stores its anomalies.

It also reads every record and checks it against the data set's card (`clip_rules`), because statistics cover scalars
only and miss NaN in a spectrogram, frames of another geometry and missing clips.
"""

from __future__ import annotations

import json
import os
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
from tfx.types.artifact import Artifact

from pemt_tf.errors import PemtError
from pemt_tf.orchestration.nodes.clip_rules import FINE, ClipRules
from pemt_tf.orchestration.nodes.own_node import Artifacts, OwnNode

EXAMPLES, ANOMALIES, APPROVAL = "examples", "anomalies", "approval"
RULES, CLIPS = "rules", "clips"
APPROVAL_FILE = "approval.json"
_NAMED = 3  # clips that a message names
Findings = dict[str, dict[str, tuple[int, list[str]]]]  # split to cause to the number of clips and the first ids


class DataApproval(Artifact):
    """The approval of records for training: `approval.json` with the number of clips in each split."""

    TYPE_NAME = "pemt.DataApproval"  # Kubeflow requires a namespace


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
        approved = {split: sum(number for number, _ in causes.values()) for split, causes in counts.items()}
        with fileio.open(os.path.join(folder, APPROVAL_FILE), "w") as file:  # noqa: PTH118 (may be gs://)
            file.write(json.dumps(approved, indent=2) + "\n")

    def _judge_all(self, examples: types.Artifact, rules: ClipRules, folder: str) -> Findings:
        count_and_name = beam.combiners.TupleCombineFn(
            beam.combiners.CountCombineFn(), beam.combiners.TopCombineFn(_NAMED, reverse=True)
        ).with_common_input()
        counts: Findings = {}
        with self._make_beam_pipeline() as pipeline:
            for split in artifact_utils.decode_split_names(examples.split_names):
                pattern = os.path.join(artifact_utils.get_split_uri([examples], split), "*")  # noqa: PTH118
                _ = (
                    pipeline
                    | f"Read[{split}]" >> beam.io.ReadFromTFRecord(pattern)
                    | f"Judge[{split}]" >> beam.Map(rules.judge)
                    | f"Count[{split}]" >> beam.CombinePerKey(count_and_name)
                    | f"ToText[{split}]" >> beam.Map(json.dumps)
                    | f"Write[{split}]" >> beam.io.WriteToText(_findings_file(folder, split), shard_name_template="")
                )
                counts[split] = {}
        for split in counts:
            with fileio.open(_findings_file(folder, split)) as file:
                counts[split] = dict(map(json.loads, file.read().splitlines()))
            fileio.remove(_findings_file(folder, split))
        return counts


class DataGate(
    OwnNode,
    BaseBeamComponent,
    inputs={EXAMPLES: standard_artifacts.Examples, ANOMALIES: standard_artifacts.ExampleAnomalies},
    outputs={APPROVAL: DataApproval},
    parameters={RULES: str, CLIPS: str},
):
    """The node. `clips` is split to the number of clips that the card expects after the import."""

    EXECUTOR_SPEC = BeamExecutorSpec(DataGateExecutor)

    def __init__(
        self, examples: types.BaseChannel, anomalies: types.BaseChannel, rules: ClipRules, clips: dict[str, int]
    ):
        texts = {RULES: json.dumps(rules.to_plain(), sort_keys=True), CLIPS: json.dumps(clips, sort_keys=True)}
        super().__init__(**{EXAMPLES: examples, ANOMALIES: anomalies}, **texts)


def findings_in_words(counts: Findings, clips: dict[str, int]) -> list[str]:
    """A sentence without full stop for each fault."""
    wrong = []
    for split, causes in sorted(counts.items()):
        found = sum(number for number, _ in causes.values())
        for cause, (number, ids) in sorted(causes.items()):
            if cause != FINE:
                named = ", ".join(ids) + (" ..." if number > len(ids) else "")
                wrong.append(f"{number} of {found} clips of split {split} have {cause}: {named}")
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


def anomalies_in_words(split: str, found: anomalies_pb2.Anomalies) -> list[str]:
    """A sentence without full stop for each anomaly of a split that is more than a warning."""
    sentences = [f"split {split} holds no clip"] if found.data_missing else []
    for name, info in sorted(found.anomaly_info.items()):
        if info.severity == anomalies_pb2.AnomalyInfo.WARNING:
            continue
        causes = [f"{reason.short_description.lower()} ({_plain(reason.description)})" for reason in info.reason]
        sentences.append(f"split {split}, {name}: {'; '.join(causes) or _plain(info.description)}")
    if found.HasField("dataset_anomaly_info"):
        sentences.append(f"split {split}: {_plain(found.dataset_anomaly_info.description)}")
    return sentences


def _plain(text: str) -> str:
    return " ".join(text.split()).rstrip(".").replace("(upto six significant digits)", "")


def _findings_file(folder: str, split: str) -> str:
    return os.path.join(folder, f"findings-{split}.jsonl")  # noqa: PTH118

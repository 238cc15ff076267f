"""The pipeline: from the records of a data set to a pushed model."""

from __future__ import annotations

import hashlib
from pathlib import Path

import tensorflow_data_validation as tfdv
from absl import flags
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx import v1 as tfx
from tfx.dsl.components.base.base_node import BaseNode

from pemt_tf.config.training import PREDICTIONS
from pemt_tf.data import records
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.errors import PemtError
from pemt_tf.orchestration.nodes.artifact_paths import bucket_address
from pemt_tf.orchestration.nodes.card_writer import CardWriter
from pemt_tf.orchestration.nodes.clip_import import ClipExampleGen, EveryLabelExampleGen
from pemt_tf.orchestration.nodes.clip_rules import ClipRules
from pemt_tf.orchestration.nodes.data_gate import DataGate
from pemt_tf.orchestration.nodes.label_gate import LabelGate
from pemt_tf.orchestration.nodes.pusher import PushOnce
from pemt_tf.orchestration.nodes.serving_check import ServingCheck
from pemt_tf.orchestration.nodes.training_order import FINETUNE, PRETRAIN, TrainingOrder, judging_split, make_orders
from pemt_tf.orchestration.running.data_spans import DataFolder, find_data
from pipeline import trainer_module
from pipeline.configs import PipelineConfig
from pipeline.evaluation import evaluation, several_evaluation

SCHEMA_FILE = Path(__file__).parent / "schema" / "schema.pbtxt"
TRAINERS = {
    PRETRAIN: ("Pretrainer", trainer_module.pretrain_fn),
    FINETUNE: ("Finetuner", trainer_module.finetune_fn),
}


def create_pipeline(config: PipelineConfig, artifacts: str | None = None) -> tfx.dsl.Pipeline:
    """Builds the pipeline; the same for every engine.

    Args:
        config: the pipeline's settings.
        artifacts: where the engine keeps artefacts; by default in the pipeline's root.

    Raises:
        PemtError: the data set or the configuration does not allow it.
    """
    batch_by_size()
    data = find_data(config.data_folder)
    card = DatasetCard.read(data.path)
    training = config.training_config()
    several = training.finetune.several
    orders = make_orders(
        data.path,
        training,
        preset=config.preset,
        pretrains=config.pretrains,
        cpu_devices=config.trainer.cpu_devices,
        root=config.root,
        trainers=trainer_module.__name__,
    )
    judge = judging_split(card, data.path)

    comparison: list[BaseNode] = []
    if config.evaluator.compare_with_last:
        blessed = last_blessed_model()
        comparison = [blessed, LabelGate(blessed.outputs["model"], card.labels, PREDICTIONS[training.finetune.labels])]
    examples = import_clips(data, [name for name, split in card.splits.items() if split.clips], several)
    schema = tfx.components.ImportSchemaGen(schema_file=bucket_address(stored_schema(config.root, card.labels)))
    statistics = describe_scalars(examples, schema)
    validator = tfx.components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    )
    gate = DataGate(
        examples=examples.outputs["examples"],
        anomalies=validator.outputs["anomalies"],
        rules=ClipRules(card.geometry, tuple(card.labels)),
        clips=imported_clips(card),
    )
    trainers = make_trainers(orders, examples, [*comparison, gate], judge)
    model = trainers[-1].outputs["model"]
    evaluator = tfx.components.Evaluator(
        examples=examples.outputs["examples"],
        example_splits=[judge],
        model=model,
        baseline_model=comparison[0].outputs["model"] if comparison else None,
        schema=schema.outputs["schema"],
        eval_config=(several_evaluation if several else evaluation)(config.evaluator, len(card.labels)),
    )
    writer = CardWriter(
        model_run=trainers[-1].outputs["model_run"],
        evaluation=evaluator.outputs["evaluation"],
        blessing=evaluator.outputs["blessing"],
        pipeline=config.name,
        split=judge,
        least=config.evaluator.slice_clips_at_least,
    )
    checks = [] if config.infra_check == "off" else [ServingCheck(model=model, how=config.infra_check)]
    pusher = push_model(config, model, evaluator, checks)
    beam = {examples: "import_example_gen", statistics: "statistics_gen", gate: "data_gate", evaluator: "evaluator"}
    for node, name in beam.items():
        own = getattr(config.beam_of, name)
        node.with_beam_pipeline_args(config.beam_arguments if own is None else own)
    return tfx.dsl.Pipeline(
        pipeline_name=config.name,
        pipeline_root=artifacts or str(config.root / "artifacts"),
        components=[
            *(examples, schema, *comparison, statistics, validator, gate),
            *(*trainers, evaluator, writer, *checks, pusher),
        ],
        enable_cache=config.cache,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(config.metadata_file)
        ),
    )


def stored_schema(root: Path, labels: list[str]) -> Path:
    """Writes the curated schema with this data set's vocabulary, so that ExampleValidator finds unknown labels.

    The file's name is a hash of its content, because TFX caches by name.
    """
    schema = text_format.Parse(SCHEMA_FILE.read_text(encoding="utf-8"), schema_pb2.Schema())
    for feature in schema.feature:
        if feature.name == records.LABEL_INDEX:
            feature.int_domain.max = len(labels) - 1
        elif feature.name == records.LABEL_STRING:
            feature.string_domain.value.extend(labels)
    content = text_format.MessageToString(schema, as_utf8=True).encode()
    path = root / "schema" / f"{hashlib.sha256(content).hexdigest()[:16]}.pbtxt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise PemtError(f"cannot write to the pipeline's root {root}: {error.strerror}") from None
    return path


def imported_clips(card: DatasetCard) -> dict[str, int]:
    """Split to the number of clips that are imported: all of `train`, and the labelled clips of the other splits."""
    return {
        name: split.clips if name == "train" else split.clips - split.unlabelled
        for name, split in card.splits.items()
        if split.clips
    }


def import_clips(data: DataFolder, splits: list[str], every_label: bool = False) -> ClipExampleGen:
    """Imports the splits of a data set. `ClipImportExecutor` leaves out some clips and, without `every_label`, labels.

    Where each day has a folder, TFX gets the pattern and the span, so that both are in the metadata.
    """
    inside = f"{data.pattern}/" if data.pattern else ""
    patterns = [tfx.proto.Input.Split(name=name, pattern=f"{inside}{name}/clips-*.tfrecord") for name in splits]
    span = None
    if data.span is not None:
        only = tfx.proto.StaticRange(start_span_number=data.span, end_span_number=data.span)
        span = tfx.proto.RangeConfig(static_range=only)
    node = (EveryLabelExampleGen if every_label else ClipExampleGen)(
        input_base=bucket_address(data.base), input_config=tfx.proto.Input(splits=patterns), range_config=span
    )
    return node.with_id("ImportExampleGen")


def make_trainers(
    orders: dict[str, TrainingOrder], examples: ClipExampleGen, gates: list[BaseNode], judge: str
) -> list[tfx.components.Trainer]:
    """Makes the Pretrainer, unless it is left out, and the Finetuner, which starts from its model."""
    nodes: list[tfx.components.Trainer] = []
    for stage, order in orders.items():
        name, function = TRAINERS[stage]
        node = tfx.components.Trainer(
            run_fn=f"{trainer_module.__name__}.{function.__name__}",
            examples=examples.outputs["examples"],
            base_model=nodes[-1].outputs["model"] if nodes else None,
            train_args=tfx.proto.TrainArgs(splits=["train"]),
            eval_args=tfx.proto.EvalArgs(splits=[order.validation_split or judge]),
            custom_config=order.to_custom_config(),
        ).with_id(name)
        node.add_upstream_nodes(gates)
        nodes.append(node)
    return nodes


def describe_scalars(
    examples: tfx.components.ImportExampleGen, schema: tfx.components.ImportSchemaGen
) -> tfx.components.StatisticsGen:
    """Statistics of the scalars, which are what the schema names. Frames and spectrograms are not decoded.

    A `feature_allowlist` would decode every feature and then drop most.
    """
    return tfx.components.StatisticsGen(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        stats_options=tfdv.StatsOptions(experimental_filter_read_paths=True),
    )


def last_blessed_model() -> tfx.dsl.Resolver:
    """Finds the model to compare with."""
    return tfx.dsl.Resolver(
        strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
    ).with_id("latest_blessed_model")


def push_model(
    config: PipelineConfig,
    model: tfx.types.BaseChannel,
    evaluator: tfx.components.Evaluator,
    checks: list[ServingCheck],
) -> BaseNode:
    """Pushes a model that the Evaluator blessed and that passed the serving check."""
    node = PushOnce(
        model=model,
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=checks[0].outputs["blessing"] if checks else None,
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=bucket_address(config.push_folder))
        ),
    )
    return node.with_id("Pusher")


def batch_by_size() -> None:
    """Makes nodes read records in batches of about 20 MiB. TFX's default is up to 1000 records, and clips are large."""
    flag = "tfxio_use_byte_size_batching"
    if flag in flags.FLAGS:
        flags.FLAGS.set_default(flag, True)

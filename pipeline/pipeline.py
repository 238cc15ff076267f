"""The pipeline: from the records of a data set to a pushed model."""

from __future__ import annotations

import hashlib
from pathlib import Path

import tensorflow_data_validation as tfdv
import tensorflow_model_analysis as tfma
from absl import flags
from tfx import v1 as tfx  # before any use of tfma.EvalConfig: TFX adds it in recent releases

from pemt_tf.data import records
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.errors import PemtError
from pipeline import trainer_module
from pipeline.clip_import import ClipExampleGen
from pipeline.configs import EvaluatorConfig, PipelineConfig
from pipeline.training_order import judging_split, make_order

SCHEMA_FILE = Path(__file__).parent / "schema" / "schema.pbtxt"


def create_pipeline(config: PipelineConfig) -> tfx.dsl.Pipeline:
    """Builds the pipeline; the same for every engine.

    Raises:
        PemtError: the data set or the configuration does not allow it.
    """
    batch_by_size()
    card = DatasetCard.read(config.data_folder)
    order = make_order(config)
    judge = judging_split(card, config.data_folder)

    examples = import_clips(config.data_folder, [name for name, split in card.splits.items() if split.clips])
    schema = tfx.components.ImportSchemaGen(schema_file=str(stored_schema(config.root)))
    statistics = describe_scalars(examples, schema)
    validator = tfx.components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    )
    trainer = tfx.components.Trainer(
        run_fn=f"{trainer_module.__name__}.{trainer_module.run_fn.__name__}",
        examples=examples.outputs["examples"],
        train_args=tfx.proto.TrainArgs(splits=["train"]),
        eval_args=tfx.proto.EvalArgs(splits=[judge]),  # unused, but TFX wants a split that exists
        custom_config=order.to_custom_config(),
    )
    trainer.add_upstream_node(validator)  # looked at first, so that it can stop a training
    blessed, evaluator = judge_model(config, examples, schema, trainer, judge)
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=str(config.push_folder))
        ),
    )
    return tfx.dsl.Pipeline(
        pipeline_name=config.name,
        pipeline_root=str(config.root / "artifacts"),
        components=[examples, schema, statistics, validator, trainer, blessed, evaluator, pusher],
        enable_cache=config.cache,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(config.metadata_file)
        ),
        beam_pipeline_args=list(config.beam_arguments),
    )


def stored_schema(root: Path) -> Path:
    """Copies the schema to a name that follows from its content: TFX caches by the name and would miss a change."""
    content = SCHEMA_FILE.read_bytes()
    path = root / "schema" / f"{hashlib.sha256(content).hexdigest()[:16]}.pbtxt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise PemtError(f"cannot write to the pipeline's root {root}: {error.strerror}") from None
    return path


def import_clips(folder: Path, splits: list[str]) -> ClipExampleGen:
    """Imports the splits of a data set; what `ClipImportExecutor` leaves out is said there."""
    patterns = [tfx.proto.Input.Split(name=name, pattern=f"{name}/clips-*.tfrecord") for name in splits]
    node = ClipExampleGen(input_base=str(folder), input_config=tfx.proto.Input(splits=patterns))
    return node.with_id("ImportExampleGen")


def describe_scalars(
    examples: tfx.components.ImportExampleGen, schema: tfx.components.ImportSchemaGen
) -> tfx.components.StatisticsGen:
    """Statistics of what the schema names: scalars. Pictures and spectrograms are not even decoded.

    A `feature_allowlist` would decode every feature and then drop most.
    """
    return tfx.components.StatisticsGen(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        stats_options=tfdv.StatsOptions(experimental_filter_read_paths=True),
    )


def judge_model(
    config: PipelineConfig,
    examples: tfx.components.ImportExampleGen,
    schema: tfx.components.ImportSchemaGen,
    trainer: tfx.components.Trainer,
    split: str,
) -> tuple[tfx.dsl.Resolver, tfx.components.Evaluator]:
    """Finds the last blessed model and measures the new one against it and against the thresholds."""
    blessed = tfx.dsl.Resolver(
        strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
    ).with_id("latest_blessed_model")
    evaluator = tfx.components.Evaluator(
        examples=examples.outputs["examples"],
        example_splits=[split],
        model=trainer.outputs["model"],
        baseline_model=blessed.outputs["model"],
        schema=schema.outputs["schema"],
        eval_config=evaluation(config.evaluator),
    )
    return blessed, evaluator


def evaluation(thresholds: EvaluatorConfig) -> tfma.EvalConfig:
    """What is measured, and when a model is blessed; without a blessed model only the absolute threshold counts."""
    accuracy = tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(lower_bound={"value": thresholds.accuracy_at_least}),
        change_threshold=tfma.GenericChangeThreshold(
            direction=tfma.MetricDirection.HIGHER_IS_BETTER, absolute={"value": -thresholds.accuracy_may_drop}
        ),
    )
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                signature_name="serving_default", prediction_key="probabilities", label_key=records.LABEL_INDEX
            )
        ],
        slicing_specs=[tfma.SlicingSpec()],
        metrics_specs=[
            tfma.MetricsSpec(
                metrics=[
                    tfma.MetricConfig(class_name="ExampleCount"),
                    tfma.MetricConfig(class_name="SparseCategoricalAccuracy", threshold=accuracy),
                ]
            )
        ],
    )


def batch_by_size() -> None:
    """Makes nodes that read records batch them to about 20 MiB; by default TFX goes up to 1000, and clips are large."""
    flag = "tfxio_use_byte_size_batching"
    if flag in flags.FLAGS:
        flags.FLAGS.set_default(flag, True)

"""The pipeline's configuration: file, environment, and what is refused."""

import re
from pathlib import Path

import pytest
import yaml

from pemt_tf.errors import PemtError
from pemt_tf.orchestration.settings import field_names
from pipeline import configs
from pipeline.configs import PipelineConfig


def write(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return {"PEMT_PIPELINE_CONFIG": str(path)}


def test_the_file_in_the_repository_is_the_defaults():
    config = PipelineConfig.load({"HOME": "/home/someone"})

    assert config.name == "pemt" and config.data is None and config.cache is True
    assert config.root == Path("~/tfx/pemt").expanduser()
    assert config.push_folder == config.root / "serving"
    assert config.trainer == configs.TrainerConfig(None, None, 1)
    assert config.evaluator == configs.EvaluatorConfig(0.5, 0.02, 0.0, 0.0, 1.0, 10)
    assert config.infra_check == "auto" and config.kubeflow == configs.KubeflowConfig("", "", None)
    assert config.beam_of == configs.NodeBeamConfig(None, None, None, None)
    assert config.beam_arguments == ("--runner=FnApiRunner",)


def test_every_field_stands_in_the_file_and_in_the_documentation():
    page = Path(configs.__file__).parents[1] / "docs" / "pipeline.md"
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`([\w.]+)`", row.split("|")[1])}
    values = yaml.safe_load(configs.DEFAULT_FILE.read_text(encoding="utf-8"))
    stored = {
        f"{section}.{name}" if name else section
        for section, value in values.items()
        for name in (value if isinstance(value, dict) else [""])
    }

    assert set(field_names(PipelineConfig)) == stored
    assert set(field_names(PipelineConfig)) <= documented


def test_every_field_can_be_set_by_a_variable(tmp_path):
    environment = {
        "PEMT_PIPELINE_NAME": "birds",
        "PEMT_PIPELINE_DATA": "/data/birds",
        "PEMT_PIPELINE_ROOT": str(tmp_path),
        "PEMT_PIPELINE_PUSH": "/models/birds",
        "PEMT_PIPELINE_CACHE": "false",
        "PEMT_PIPELINE_PRESET": "tiny",
        "PEMT_PIPELINE_OVERRIDES": "model.rank=8 geometry.train_scale=[40,48]",
        "PEMT_PIPELINE_BEAM_ARGUMENTS": "--runner=FlinkRunner --parallelism=4",
        "PEMT_PIPELINE_TRAINER_PRETRAIN_STEPS": "7",
        "PEMT_PIPELINE_TRAINER_FINETUNE_STEPS": "5",
        "PEMT_PIPELINE_TRAINER_CPU_DEVICES": "2",
        "PEMT_PIPELINE_EVALUATOR_ACCURACY_AT_LEAST": "0.75",
        "PEMT_PIPELINE_EVALUATOR_ACCURACY_MAY_DROP": "0",
        "PEMT_PIPELINE_EVALUATOR_TOP5_AT_LEAST": "0.9",
        "PEMT_PIPELINE_EVALUATOR_SLICE_ACCURACY_AT_LEAST": "0.25",
        "PEMT_PIPELINE_EVALUATOR_SLICE_ACCURACY_MAY_DROP": "0.5",
        "PEMT_PIPELINE_EVALUATOR_SLICE_CLIPS_AT_LEAST": "30",
        "PEMT_PIPELINE_EVALUATOR_COMPARE_WITH_LAST": "false",
        "PEMT_PIPELINE_EVALUATOR_MAP_AT_LEAST": "0.3",
        "PEMT_PIPELINE_EVALUATOR_MAP_MAY_DROP": "0.05",
        "PEMT_PIPELINE_EVALUATOR_AUC_AT_LEAST": "0.8",
        "PEMT_PIPELINE_EVALUATOR_SLICE_MAP_AT_LEAST": "0.15",
        "PEMT_PIPELINE_EVALUATOR_SLICE_MAP_MAY_DROP": "0.4",
        "PEMT_PIPELINE_INFRA_CHECK": "python",
        "PEMT_PIPELINE_BEAM_OF_IMPORT_EXAMPLE_GEN": "--runner=DataflowRunner --region=europe-west4",
        "PEMT_PIPELINE_BEAM_OF_STATISTICS_GEN": "--a",
        "PEMT_PIPELINE_BEAM_OF_DATA_GATE": "--b",
        "PEMT_PIPELINE_BEAM_OF_EVALUATOR": "--c",
        "PEMT_PIPELINE_KUBEFLOW_IMAGE": "registry/pemt:1",
        "PEMT_PIPELINE_KUBEFLOW_ROOT": "gs://bucket/pemt",
        "PEMT_PIPELINE_KUBEFLOW_OUTPUT": "/tmp/birds.json",
    }
    assert {f"PEMT_PIPELINE_{name.upper().replace('.', '_')}" for name in field_names(PipelineConfig)} == set(
        environment
    )

    config = PipelineConfig.load(environment)

    assert (config.name, config.data_folder, config.root) == ("birds", Path("/data/birds"), tmp_path)
    assert (config.push_folder, config.cache, config.preset) == (Path("/models/birds"), False, "tiny")
    assert config.overrides == ("model.rank=8", "geometry.train_scale=[40,48]")
    assert config.beam_arguments == ("--runner=FlinkRunner", "--parallelism=4")
    assert config.trainer == configs.TrainerConfig(7, 5, 2)
    assert config.evaluator == configs.EvaluatorConfig(0.75, 0.0, 0.9, 0.25, 0.5, 30, False, 0.3, 0.05, 0.8, 0.15, 0.4)
    assert config.infra_check == "python"
    dataflow = ("--runner=DataflowRunner", "--region=europe-west4")
    assert config.beam_of == configs.NodeBeamConfig(dataflow, ("--a",), ("--b",), ("--c",))
    assert config.kubeflow == configs.KubeflowConfig("registry/pemt:1", "gs://bucket/pemt", Path("/tmp/birds.json"))
    training = config.training_config()
    assert (training.model.rank, training.pretrain.steps, training.finetune.steps) == (8, 7, 5)


def test_a_variable_goes_before_the_file(tmp_path):
    environment = write(tmp_path, "name: file\ntrainer: {finetune_steps: 3}\noverrides: [model.rank=4]\n")

    assert PipelineConfig.load(environment).trainer.finetune_steps == 3
    assert PipelineConfig.load(environment).overrides == ("model.rank=4",)
    changed = PipelineConfig.load({**environment, "PEMT_PIPELINE_TRAINER_FINETUNE_STEPS": "9"})
    assert (changed.trainer.finetune_steps, changed.name) == (9, "file")


def test_two_underscores_are_as_good_as_one():
    config = PipelineConfig.load({"PEMT_PIPELINE__EVALUATOR__ACCURACY_AT_LEAST": "0.7"})
    assert config.evaluator.accuracy_at_least == 0.7

    both = {"PEMT_PIPELINE_NAME": "a", "PEMT_PIPELINE__NAME": "b"}
    with pytest.raises(PemtError, match="PEMT_PIPELINE_NAME is set twice"):
        PipelineConfig.load(both)


def test_relative_paths_are_of_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = PipelineConfig.load({"PEMT_PIPELINE_DATA": "data", "PEMT_PIPELINE_ROOT": "out"})

    assert config.data_folder == tmp_path / "data"
    assert config.metadata_file == tmp_path / "out" / "metadata.sqlite"


def test_zero_pretraining_steps_leave_pretraining_out():
    assert not PipelineConfig.load({"PEMT_PIPELINE_TRAINER_PRETRAIN_STEPS": "0"}).pretrains
    assert PipelineConfig.load({}).pretrains


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nme: x", "unknown field nme"),
        ("trainer: {steps: 1}", "unknown field trainer.steps"),
        ("trainer: 3", "trainer is 3"),
        ("cache: 1", "cache is 1; true or false is needed"),
        ("trainer: {cpu_devices: true}", "trainer.cpu_devices is True; a whole number is needed"),
        ("trainer: {pretrain_steps: 1.5}", "trainer.pretrain_steps is 1.5; a whole number is needed"),
        ("trainer: {pretrain_steps: -1}", "trainer.pretrain_steps is -1; allowed: 0 or more"),
        ("trainer: {finetune_steps: 0}", "trainer.finetune_steps is 0"),
        ("trainer: {finetune_steps: -5}", "trainer.finetune_steps is -5; allowed: 1 or more"),
        ("evaluator: {accuracy_at_least: .nan}", "evaluator.accuracy_at_least is nan; allowed: a share from 0 to 1"),
        ("data: true", "data is True; a path is needed"),
        ("overrides: [model.rank: 4]", "overrides is [{'model.rank': 4}]; a list of words is needed"),
        ("name: a\nname: b", "'name' is given twice"),
        ("evaluator: {accuracy_at_least: 50}", "a share from 0 to 1"),
        ("evaluator: {slice_clips_at_least: 0}", "evaluator.slice_clips_at_least is 0; allowed: 1 or more"),
        ("infra_check: docker", "infra_check is 'docker'; allowed: auto, cpp, python, off"),
        ("beam_of: {trainer: [--a]}", "unknown field beam_of.trainer; known: import_example_gen"),
        ("overrides: model.rank=4", "a list of words is needed"),
        ("name: a/b", "pipeline configuration field name is 'a/b'"),
        ("[1, 2]", "does not hold fields"),
        ("name: [", "not readable YAML"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path, text, says):
    with pytest.raises(PemtError) as refused:
        PipelineConfig.load(write(tmp_path, text))

    assert says in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "text", "says"),
    [
        ("PEMT_PIPELINE_TRAINER_STEPS", "3", "PEMT_PIPELINE_TRAINER_STEPS is not known; known: PEMT_PIPELINE_BEAM_"),
        ("PEMT_PIPELINE__TRAINER__STEPS", "3", "PEMT_PIPELINE__TRAINER__STEPS is not known"),
        ("PEMT_PIPELINE_TRAINER_CPU_DEVICES", "two", "PEMT_PIPELINE_TRAINER_CPU_DEVICES is 'two'; a whole number"),
        ("PEMT_PIPELINE_OVERRIDES", "'open", "PEMT_PIPELINE_OVERRIDES"),
        ("PEMT_PIPELINE_CONFIG", "/nowhere.yaml", "cannot read the pipeline configuration /nowhere.yaml"),
    ],
)
def test_a_bad_variable_is_refused_in_one_line(variable, text, says):
    with pytest.raises(PemtError) as refused:
        PipelineConfig.load({variable: text})

    assert says in str(refused.value) and "\n" not in str(refused.value)


def test_without_data_the_message_says_how_to_set_it():
    with pytest.raises(PemtError, match="set PEMT_PIPELINE_DATA, or `data` in its YAML file"):
        _ = PipelineConfig.load({}).data_folder

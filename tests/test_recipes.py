"""docs/recipes.md and its presets agree with the programs and with docs/reference_model.md."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from beam_jobs import preprocess
from beam_jobs.datasets.__main__ import build_parser as datasets_parser
from pemt_tf import cli
from pemt_tf.config import Config
from pemt_tf.models.heads import AVClassifier
from pemt_tf.models.without_values import without_values

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```\n(.*?)```", TEXT, re.S) for line in block.splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_one_that_the_programs_take(command):
    first, *rest = shlex.split(command)
    if first == "pemt":
        options = cli.make_parser().parse_args(rest)
    else:
        assert [first, rest[0]] == ["python", "-m"]
        parser = {"beam_jobs.preprocess": preprocess.build_parser, "beam_jobs.datasets": datasets_parser}[rest[1]]()
        options = parser.parse_args(rest[2:])
    if getattr(options, "preset", None):
        Config.from_preset(options.preset)


def test_every_step_uses_what_an_earlier_one_made():
    made = {"checkpoint.pyth", "videos/", "UCF101", "ESC-50", "k400", "train.csv", "val.csv", "AudioSet"}
    for command in COMMANDS:
        words = shlex.split(command)
        given = [words[words.index(flag) + 1] for flag in ("--data", "--init", "--model", "--input") if flag in words]
        if words[1] == "convert":
            given.append(words[2])
            made.add(words[3])
        assert set(given) <= made, command
        if "--output" in words:
            made.add(words[words.index("--output") + 1])


@pytest.mark.parametrize(
    ("name", "expected"),
    [  # docs/reference_model.md section 13; a batch is clips of 10 segments
        ("ucf101", ("cross_entropy", 0.03, 1e-4, 5e-6, "cosine", 3, 0.5, (), 63_580)),
        ("esc50", ("multi_margin", 0.003, 0.0, 5e-6, "linear", 13, 0.1, ("backbone",), 36_900)),
        ("kinetics_sounds", ("cross_entropy", 1e-3, 1e-4, 5e-6, "cosine", 5, 0.5, (), 80_000)),
    ],
)
def test_presets_are_the_authors_settings(name, expected):
    settings = Config.from_preset(name).finetune
    assert (
        settings.loss,
        settings.base_learning_rate,
        settings.finetune_learning_rate,
        settings.weight_decay,
        settings.schedule,
        settings.batch_size,
        settings.head_dropout,
        settings.frozen,
        settings.steps,
    ) == expected
    assert settings.warmup_fraction == 0 and settings.optimizer == "adam" and settings.margin == 0.1


def test_steps_are_the_epochs_of_the_text():
    assert 20 * (9_537 // 3) == 63_580 and 300 * (1_600 // 13) == 36_900 and 20 * (20_000 // 5) == 80_000
    for number in ("63,580", "36,900", "80,000"):
        assert number in TEXT


@pytest.mark.parametrize(("name", "streams"), [("ucf101", ("visual",)), ("esc50", ("audio",)), ("kinetics_sounds", ())])
def test_presets_take_the_released_model(name, streams):
    config = Config.from_preset(name)
    assert config.model == Config.from_preset("avbert_base").model
    assert config.finetune.streams == streams


def test_the_classifier_of_kinetics_sounds_builds_with_the_heads_of_the_reference():
    """docs/reference_model.md section 15."""

    def build():
        model = AVClassifier(Config.from_preset("kinetics_sounds").model, 32)
        model.build()
        return model

    model = without_values(build)
    assert (model.clip_head.count_params(), model.sequence_head.count_params()) == (98_336, 2_385_440)


def test_segments_of_esc50_last_two_seconds():
    geometry = Config.from_preset("esc50").geometry
    assert (geometry.segment_seconds, geometry.samples_per_segment, geometry.sample_rate) == (2.0, 88_200, 44_100)

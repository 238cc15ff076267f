"""One stream taken out of a run computes what it computed beside the other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pemt_tf import cli
from pemt_tf.config import Config
from pemt_tf.export.single_stream import copy_weights
from pemt_tf.models.av_transformer import AVTransformer
from pemt_tf.training.run_directory import RunDirectory


def built(config):
    model = AVTransformer(config, name="any_name")
    model.build()
    return model


@pytest.mark.parametrize("stream", ["visual", "audio"])
def test_the_stream_computes_the_same(small_config, stream):
    model = dataclasses.replace(small_config.model, initializer_std=0.3)
    whole = built(model)
    part = built(dataclasses.replace(model, modalities=(stream,)))
    copy_weights(whole, part)
    generator = np.random.default_rng(1)
    shape = {"visual": (2, 3, 2, 20, 20, 3), "audio": (2, 3, 16, 16, 1)}[stream]
    inputs = {{"visual": "frames", "audio": "log_mel"}[stream]: generator.normal(size=shape).astype("float32")}
    expected, found = whole(inputs), part(inputs)
    for name in (f"{stream}_features", f"{stream}_context", "embedding"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)
    assert np.abs(np.asarray(found["embedding"])).max() > 0.1


def test_the_command_makes_a_run_to_start_from(small_config, tmp_path, capsys):
    source = RunDirectory(tmp_path / "both")
    source.start(small_config, {"kind": "pretrain"})
    source.save_model(built(small_config.model))
    arguments = ["stream", str(source.path), str(tmp_path / "audio"), "--stream", "audio"]
    assert cli.main(arguments) == 0
    run = RunDirectory(tmp_path / "audio")
    assert run.config().model.modalities == ("audio",)
    run.require_model(dataclasses.replace(small_config.model, modalities=("audio",)))
    capsys.readouterr()
    assert cli.main(["stream", str(run.path), str(tmp_path / "v"), "--stream", "visual"]) == 2
    assert capsys.readouterr().err == f"error: {run.path} has no stream 'visual'; it has: audio\n"
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize(("name", "stream"), [("ucf101", "visual"), ("esc50", "audio")])
def test_the_recipes_presets_take_the_released_model(name, stream):
    released = Config.from_preset("avbert_base").model
    assert Config.from_preset(name).model == dataclasses.replace(released, modalities=(stream,))

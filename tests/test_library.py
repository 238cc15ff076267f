"""`import pemt_tf`: the page docs/library.md as it stands, and what it promises."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from pathlib import Path

import keras
import numpy as np
import pytest

import pemt_tf
from pemt_tf.export.local_predictor import LocalPredictor
from tests import media_files

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "library.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("library") / "clip.mp4"
    media_files.write_video(path)
    return path


def test_importing_loads_nothing_heavy():
    code = "import sys, pemt_tf; print(sorted({'tensorflow', 'keras', 'numpy', 'av'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_every_public_name_is_there_and_on_the_page():
    for name in pemt_tf.__all__:
        assert getattr(pemt_tf, name).__doc__
        assert re.search(rf"`[^`]*\b{name}\b", PAGE) or name == "TrainedModel", name


@pytest.mark.slow
def test_the_page_runs(tmp_path, monkeypatch, video, dataset_directory, pretraining_run, finetuning_run):
    (tmp_path / "out").mkdir()
    for name, folder in {
        "records": dataset_directory,
        "pretrained": pretraining_run.path,
        "finetuned": finetuning_run.path,
    }.items():
        (tmp_path / "out" / name).symlink_to(folder)
    for name in ("clip.mp4", "other.mp4"):
        (tmp_path / name).symlink_to(video)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    names: dict = {}
    exec(code, names)

    assert names["embeddings"].shape[0] == 2 and names["best"] in names["trained"].labels
    np.testing.assert_allclose(names["probabilities"].sum(), 1, rtol=1e-5)
    again = pemt_tf.AVTransformer.from_preset("out/my_backbone")
    for mine, theirs in zip(again.weights, names["model"].backbone.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_run_and_its_servable_agree(video, finetuning_run, classifier_servable):
    served = LocalPredictor(classifier_servable)
    expected = served.answer([served.record_of(str(video))])
    for folder in (finetuning_run.path, str(classifier_servable)):
        np.testing.assert_allclose(pemt_tf.embed(folder, video), expected["embedding"], atol=2e-5)
        np.testing.assert_allclose(pemt_tf.predict(folder, [str(video)]), expected["probabilities"], atol=2e-5)


def test_a_loaded_run_computes_in_float32_whatever_the_policy(pretraining_run):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = pemt_tf.load(pretraining_run.path).model
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.compute_dtype == "float32"


def test_what_cannot_be_done_is_said(tmp_path, pretraining_run, video):
    with pytest.raises(pemt_tf.PemtError, match="has no classifier; load a run of `pemt finetune`"):
        pemt_tf.predict(pretraining_run.path, video)
    with pytest.raises(pemt_tf.PemtError, match=r"no-such\.mp4: there is no such file"):
        pemt_tf.embed(pretraining_run.path, "no-such.mp4")
    with pytest.raises(pemt_tf.PemtError, match="give at least one"):
        pemt_tf.embed(pretraining_run.path, [])
    with pytest.raises(pemt_tf.PemtError, match=r"has no config\.json; give a finished run"):
        pemt_tf.AVTransformer.from_preset(tmp_path)
    with pytest.raises(pemt_tf.PemtError, match="no preset 'nothing'; known presets"):
        pemt_tf.AVTransformer.from_preset("nothing")


def test_uint8_frames_are_refused_with_the_way_out(pretraining_run, small_config):
    geometry = small_config.geometry
    frames = np.zeros((1, 1, geometry.frames_per_segment, geometry.test_crop, geometry.test_crop, 3), np.uint8)
    with pytest.raises(ValueError, match=r"frames are uint8.*frame_crops\.normalize"):
        pemt_tf.AVTransformer.from_preset(pretraining_run.path)({"frames": frames})


@pytest.mark.parametrize(
    ("address", "package", "function"),
    [
        ("hf://me/model", "huggingface_hub", "snapshot_download"),
        ("kaggle://me/m/keras/a", "kagglehub", "model_download"),
    ],
)
def test_models_on_hubs(monkeypatch, pretraining_run, address, package, function):
    asked = []

    def download(name):
        asked.append(name)
        return str(pretraining_run.path)

    module = types.ModuleType(package)
    setattr(module, function, download)
    monkeypatch.setitem(sys.modules, package, module)
    model = pemt_tf.AVTransformer.from_preset(address)
    assert asked == [address.partition("://")[2]]
    expected = pretraining_run.load_backbone().weights
    for mine, theirs in zip(model.weights, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)

    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(pemt_tf.PemtError, match=f"needs the package {package}: pip install {package}"):
        pemt_tf.AVTransformer.from_preset(address)

"""Exported models answer as the trained ones do, from records and from raw media, and hold only core operations."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import pemt_tf
from pemt_tf.data.input_pipeline import evaluation_clips, model_inputs
from pemt_tf.errors import PemtError
from pemt_tf.export import saved_model
from pemt_tf.export.saved_model import ServableMetadata, export_version
from pemt_tf.features import audio, video
from pemt_tf.training.run_directory import RunDirectory
from tests.fake_dataset import WITHOUT_AUDIO, WITHOUT_BOTH, WITHOUT_VIDEO

CLASSIFIER_OUTPUTS = {
    "serving_default": {"probabilities", "embedding"},
    "classify": {"probabilities", "embedding"},
    "embed": {"embedding"},
    "embed_visual": {"embedding"},
    "embed_audio": {"embedding"},
}
BACKBONE_OUTPUTS = {name: {"embedding"} for name in ("serving_default", "embed", "embed_visual", "embed_audio")}


@pytest.fixture(scope="module")
def loaded(classifier_servable):
    return tf.saved_model.load(str(classifier_servable))


@pytest.fixture(scope="module")
def classifier(finetuning_run):
    return finetuning_run.load_classifier()[0]


@pytest.fixture(scope="module")
def test_records(clip_source):
    return [raw.numpy() for raw in tf.data.TFRecordDataset(list(clip_source.files["test"]))]


def media(segments=3, batch=2, height=26, width=33):
    rng = np.random.default_rng(5)
    frames = rng.integers(0, 256, (batch, segments, 2, height, width, 3), np.uint8)
    return frames, rng.normal(0, 0.3, (batch, segments, 2000)).astype(np.float32)


def expected_inputs(geometry, frames=None, waveform=None):
    """Features by the plain functions, one clip at a time."""
    inputs = {}
    if frames is not None:
        plan = video.plan_test_crop(*frames.shape[-3:-1], geometry)
        cropped = frames[..., plan.rows.numpy(), :, :][..., plan.columns.numpy(), :]
        inputs["frames"] = ((cropped / 255.0 - 0.45) / 0.225).astype(np.float32)
    if waveform is not None:
        inputs["log_mel"] = np.stack([np.asarray(audio.log_mel(clip, geometry)) for clip in waveform])[..., None]
    return inputs


@pytest.mark.parametrize(
    ("servable", "expected"), [("classifier_servable", CLASSIFIER_OUTPUTS), ("backbone_servable", BACKBONE_OUTPUTS)]
)
def test_signatures(request, servable, expected):
    signatures = tf.saved_model.load(str(request.getfixturevalue(servable))).signatures
    assert {name: set(signature.structured_outputs) for name, signature in signatures.items()} == expected
    inputs = {
        "serving_default": {"examples": ([None], tf.string)},
        "embed_visual": {"frames": ([None, None, 2, None, None, 3], tf.uint8)},
        "embed_audio": {"waveform": ([None, None, 2000], tf.float32)},
    }
    for name in ("classify", "embed"):
        inputs[name] = inputs["embed_visual"] | inputs["embed_audio"]
    for name, signature in signatures.items():
        specs = signature.structured_input_signature[1]
        assert {key: (spec.shape.as_list(), spec.dtype) for key, spec in specs.items()} == inputs[name], name


def test_records_are_answered_as_in_evaluation(loaded, classifier, clip_source, test_records):
    """All nine test clips, some without picture, sound or both."""
    batch = next(iter(evaluation_clips(clip_source, "test", 9)))
    expected = classifier(model_inputs(batch, ("visual", "audio")), training=False)
    answer = loaded.signatures["serving_default"](examples=tf.constant(test_records))
    for name in ("probabilities", "embedding"):
        assert np.isfinite(answer[name]).all()
        np.testing.assert_allclose(answer[name], expected[name], atol=1e-5)
    np.testing.assert_allclose(tf.reduce_sum(answer["probabilities"], -1), 1.0, atol=1e-5)


def test_a_missing_stream_is_not_a_stream_of_zeros(loaded, clip_source, test_records):
    """The embedding of a clip without sound is that of its pictures alone, and the other way round."""
    numbers = [int(i.decode()[-2:]) for i in next(iter(evaluation_clips(clip_source, "test", 9)))["id"].numpy()]
    answers = loaded.signatures["serving_default"](examples=tf.constant(test_records))["embedding"].numpy()
    rows = {number: answers[numbers.index(number)] for number in (WITHOUT_VIDEO, WITHOUT_AUDIO, WITHOUT_BOTH)}
    assert not np.allclose(rows[WITHOUT_VIDEO], rows[WITHOUT_AUDIO])
    np.testing.assert_array_equal(rows[WITHOUT_BOTH], 0.0)


@pytest.mark.parametrize(("batch", "segments", "height", "width"), [(2, 3, 26, 33), (1, 1, 20, 20), (3, 5, 40, 21)])
def test_raw_media_are_answered_as_by_the_model(loaded, classifier, small_config, batch, segments, height, width):
    """Any batch, number of segments and frame size; the features are computed inside the graph."""
    frames, waveform = media(segments, batch, height, width)
    geometry = small_config.geometry
    both = {"frames": tf.constant(frames), "waveform": tf.constant(waveform)}
    expected = classifier(expected_inputs(geometry, frames, waveform), training=False)
    answer = loaded.signatures["classify"](**both)
    for name in ("probabilities", "embedding"):
        np.testing.assert_allclose(answer[name], expected[name], atol=1e-5)
    np.testing.assert_allclose(loaded.signatures["embed"](**both)["embedding"], expected["embedding"], atol=1e-5)
    for stream, name in (("visual", "frames"), ("audio", "waveform")):
        alone = classifier(expected_inputs(geometry, **{name: {"frames": frames, "waveform": waveform}[name]}))
        answer = loaded.signatures[f"embed_{stream}"](**{name: both[name]})
        np.testing.assert_allclose(answer["embedding"], alone["embedding"], atol=1e-5)


def test_a_bare_backbone_answers_as_the_pretrained_one(backbone_servable, pretraining_run, clip_source, test_records):
    loaded = tf.saved_model.load(str(backbone_servable))
    batch = next(iter(evaluation_clips(clip_source, "test", 9)))
    expected = pretraining_run.load_backbone()(model_inputs(batch, ("visual", "audio")))["embedding"]
    answer = loaded.signatures["serving_default"](examples=tf.constant(test_records))["embedding"]
    np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_a_record_of_another_geometry_is_refused(loaded):
    with pytest.raises(tf.errors.InvalidArgumentError):
        loaded.signatures["serving_default"](examples=tf.constant([b"not a record"]))


@pytest.mark.parametrize("servable", ["classifier_servable", "backbone_servable"])
def test_only_core_operations(request, servable):
    """In the graph and in every function of its library; Python functions would load and fail at run time."""
    message = saved_model_pb2.SavedModel.FromString((request.getfixturevalue(servable) / "saved_model.pb").read_bytes())
    (graph,) = [meta.graph_def for meta in message.meta_graphs]
    used = {node.op for node in graph.node}
    for function in graph.library.function:
        used |= {node.op for node in function.node_def}
    own = {function.signature.name for function in graph.library.function}
    assert len(used) > 50
    assert not used & {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
    unknown = {op for op in used - own if tf.raw_ops.__dict__.get(op) is None and not op.startswith("_")}
    assert not unknown


def test_metadata(classifier_servable, backbone_servable, small_config, finetuning_run):
    metadata = ServableMetadata.read(classifier_servable)
    assert metadata.config == small_config
    assert metadata.labels == ("label0", "label1", "label2")
    assert (metadata.run, metadata.data_hash, metadata.release) == (
        str(finetuning_run.path),
        "f" * 64,
        pemt_tf.__version__,
    )
    assert ServableMetadata.read(backbone_servable).labels == ()


def test_another_folder_has_no_metadata(tmp_path):
    with pytest.raises(PemtError, match=r"is not a model exported by `pemt export`: it has no assets\.extra/p"):
        ServableMetadata.read(tmp_path)


def fake_export(run, directory):
    directory.mkdir(parents=True)
    (directory / "saved_model.pb").write_bytes(b"whole")


def test_versions_count_up_and_gaps_are_not_filled(tmp_path, monkeypatch, finetuning_run):
    monkeypatch.setattr(saved_model, "export_saved_model", fake_export)
    base = tmp_path / "new/models"
    assert [export_version(finetuning_run, base).name for _ in range(2)] == ["1", "2"]
    (base / "10").mkdir()
    (base / "readme").mkdir()
    assert export_version(finetuning_run, base) == base / "11"
    assert sorted(path.name for path in base.iterdir()) == ["1", "10", "11", "2", "readme"]


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (OSError(28, "No space left on device"), PemtError),
        (tf.errors.ResourceExhaustedError(None, None, "disk quota exceeded"), PemtError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (ValueError("a defect of ours"), ValueError),
    ],
)
def test_a_failed_export_leaves_nothing(tmp_path, monkeypatch, finetuning_run, error, shown):
    def half_way(run, directory):
        fake_export(run, directory)
        raise error

    base = tmp_path / "models"
    (base / "1").mkdir(parents=True)
    monkeypatch.setattr(saved_model, "export_saved_model", half_way)
    with pytest.raises(shown) as raised:
        export_version(finetuning_run, base)
    if shown is PemtError:
        assert str(raised.value).startswith(f"cannot write the model to {base}: ")
    assert [path.name for path in base.iterdir()] == ["1"]


def test_a_base_that_is_a_file(tmp_path, finetuning_run):
    (tmp_path / "models").write_text("in the way")
    with pytest.raises(PemtError, match="cannot write the model to "):
        export_version(finetuning_run, tmp_path / "models")


def test_an_unfinished_run_is_refused(tmp_path, small_config):
    run = RunDirectory(tmp_path / "run")
    run.start(small_config, {"kind": "pretrain"})
    with pytest.raises(PemtError, match="is not finished"):
        export_version(run, tmp_path / "models")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("modality", ["visual", "audio"])
def test_a_model_of_one_modality_has_only_what_it_needs(small_config, modality):
    from pemt_tf.models.heads import AVClassifier

    config = dataclasses.replace(small_config, model=dataclasses.replace(small_config.model, modalities=(modality,)))
    model = AVClassifier(config.model, 3)
    endpoints = {name: [spec.name for spec in specs] for name, _, specs in saved_model._endpoints(model, config)}
    stream = {"visual": "frames", "audio": "waveform"}[modality]
    expected = {name: [stream] for name in ("classify", "embed", f"embed_{modality}")}
    assert endpoints == {"serving_default": ["examples"], **expected}

"""Exported models answer as the trained ones do, from records and from raw media, and hold only core operations."""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

import pemt_tf
from pemt_tf.data import records
from pemt_tf.data.input_pipeline import evaluation_clips, model_inputs
from pemt_tf.errors import PemtError
from pemt_tf.export import saved_model
from pemt_tf.export.saved_model import ServableMetadata, export_version
from pemt_tf.export.serving_model import ServingModel
from pemt_tf.export.signatures import ServingSignatures
from pemt_tf.export.weight_storage import StoredWeights
from pemt_tf.features import frame_crops, spectrogram
from pemt_tf.models.heads import AVClassifier
from pemt_tf.training.run_directory import RunDirectory
from tests.client.malformed_requests import malformed_requests
from tests.fake_dataset import LABELS, WITHOUT_AUDIO, WITHOUT_BOTH, WITHOUT_VIDEO

FULL = {"probabilities", "labels", "embedding"}
CLASSIFIER_OUTPUTS = {
    "serving_default": FULL,
    "classify": FULL,
    "classify_visual": FULL,
    "classify_audio": FULL,
    "embed": {"embedding"},
    "embed_visual": {"embedding"},
    "embed_audio": {"embedding"},
    "metadata": {"json"},
}
BACKBONE_OUTPUTS = {
    name: {"json"} if name == "metadata" else {"embedding"}
    for name in ("serving_default", "embed", "embed_visual", "embed_audio", "metadata")
}


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
        plan = frame_crops.plan_test_crop(*frames.shape[-3:-1], geometry)
        cropped = frames[..., plan.rows.numpy(), :, :][..., plan.columns.numpy(), :]
        inputs["frames"] = ((cropped / 255.0 - 0.45) / 0.225).astype(np.float32)
    if waveform is not None:
        inputs["log_mel"] = np.stack([np.asarray(spectrogram.log_mel(clip, geometry)) for clip in waveform])[..., None]
    return inputs


@pytest.mark.parametrize(
    ("servable", "expected"), [("classifier_servable", CLASSIFIER_OUTPUTS), ("backbone_servable", BACKBONE_OUTPUTS)]
)
def test_signatures(request, servable, expected):
    signatures = tf.saved_model.load(str(request.getfixturevalue(servable))).signatures
    assert {name: set(signature.structured_outputs) for name, signature in signatures.items()} == expected
    inputs = {
        "serving_default": {"examples": tf.string},
        "metadata": {"fields": tf.string},
        "classify": {"frames": tf.uint8, "waveform": tf.float32},
        "classify_visual": {"frames": tf.uint8},
        "classify_audio": {"waveform": tf.float32},
    }
    inputs |= {name.replace("classify", "embed"): types for name, types in inputs.items() if "classify" in name}
    for name, signature in signatures.items():
        specs = signature.structured_input_signature[1]
        assert {key: spec.dtype for key, spec in specs.items()} == inputs[name], name
        # A static shape would be refused in the runtime's words, before our check.
        assert all(spec.shape.rank is None for spec in specs.values()), name


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


@pytest.mark.parametrize(("batch", "segments", "height", "width"), [(2, 3, 26, 33), (1, 1, 20, 20), (3, 7, 40, 21)])
def test_raw_media_are_answered_as_by_the_model(loaded, classifier, small_config, batch, segments, height, width):
    """Any batch, number of segments and frame size; the features are computed inside the graph."""
    frames, waveform = media(segments, batch, height, width)
    geometry = small_config.geometry
    both = {"frames": tf.constant(frames), "waveform": tf.constant(waveform)}
    expected = classifier(expected_inputs(geometry, frames, waveform), training=False)
    answer = loaded.signatures["classify"](**both)
    for name in ("probabilities", "embedding"):
        np.testing.assert_allclose(answer[name], expected[name], atol=1e-5)
    assert answer["labels"].numpy().tolist() == [[b"label0", b"label1", b"label2"]] * batch
    np.testing.assert_allclose(loaded.signatures["embed"](**both)["embedding"], expected["embedding"], atol=1e-5)
    for stream, name in (("visual", "frames"), ("audio", "waveform")):
        alone = classifier(expected_inputs(geometry, **{name: {"frames": frames, "waveform": waveform}[name]}))
        answer = loaded.signatures[f"embed_{stream}"](**{name: both[name]})
        np.testing.assert_allclose(answer["embedding"], alone["embedding"], atol=1e-5)


def test_one_raw_stream_is_answered_as_a_record_without_the_other(loaded, small_config):
    """The same probabilities whichever way a client asks."""
    geometry = small_config.geometry
    clip = records.get_fake_clip(geometry, 3, width=31)
    pictures = np.stack([tf.io.decode_jpeg(jpeg).numpy() for jpeg in clip.jpegs]).reshape(1, 3, 2, 24, 31, 3)
    waveform = media()[1][:1]
    heard = np.asarray(spectrogram.log_mel(waveform[0], geometry))
    silent = dataclasses.replace(clip, log_mel=None)
    blind = dataclasses.replace(clip, jpegs=None, image_times=[], height=0, width=0, log_mel=heard)
    raw = [records.serialize(one, geometry) for one in (silent, blind)]
    expected = loaded.signatures["serving_default"](examples=tf.constant(raw))
    answers = [
        loaded.signatures["classify_visual"](frames=tf.constant(pictures)),
        loaded.signatures["classify_audio"](waveform=tf.constant(waveform)),
    ]
    for name in ("probabilities", "embedding"):
        np.testing.assert_allclose(np.concatenate([a[name] for a in answers]), expected[name], atol=1e-5)
    assert not np.allclose(*expected["embedding"].numpy(), atol=1e-3)


def test_malformed_requests_are_refused_in_words(loaded, small_config):
    for name, (signature, inputs, message) in malformed_requests(small_config.geometry).items():
        with pytest.raises(tf.errors.InvalidArgumentError) as raised:
            loaded.signatures[signature](**{key: tf.constant(value) for key, value in inputs.items()})
        assert message in raised.value.message, name


def test_records_need_only_what_the_model_looks_at(loaded, small_config):
    """No id, path, times or labels; what a clip lacks may be there or not."""
    raw = records.serialize(records.get_fake_clip(small_config.geometry, 4, audio=False), small_config.geometry)
    example = tf.train.Example.FromString(raw)
    kept = (records.IMAGE, records.IMAGE_HEIGHT, records.IMAGE_WIDTH, records.HAS_VIDEO, records.HAS_AUDIO)
    for name in set(example.features.feature) - set(kept):
        del example.features.feature[name]
    example.features.feature[records.LOG_MEL].float_list.value.append(np.nan)  # of a stream that is not there
    answer = loaded.signatures["serving_default"](examples=tf.constant([raw, example.SerializeToString()]))
    for name in ("probabilities", "embedding"):
        np.testing.assert_array_equal(answer[name][0], answer[name][1])


def test_the_model_describes_itself(loaded, classifier_servable, small_config):
    fields = ["labels", "version", "geometry", "modalities", "weights", "labels"]
    texts = loaded.signatures["metadata"](fields=tf.constant(fields))["json"].numpy()
    answers = [json.loads(text) for text in texts]
    geometry = small_config.to_dict()["geometry"]
    assert answers == [list(LABELS), 1, geometry, ["visual", "audio"], "float32", list(LABELS)]
    (text,) = loaded.signatures["metadata"](fields=tf.constant(["all"]))["json"].numpy()
    served = ServableMetadata.from_served(text.decode())
    local = ServableMetadata.read(classifier_servable)
    assert served == dataclasses.replace(local, run=Path(local.run).name)  # paths stay where they are
    with pytest.raises(PemtError, match="in a way that this release cannot read"):
        ServableMetadata.from_served('{"labels": 1}')


@pytest.mark.parametrize("servable", ["classifier_servable", "backbone_servable"])
def test_warm_up_requests(request, servable):
    """One for every signature, each answered."""
    directory = request.getfixturevalue(servable)
    signatures = tf.saved_model.load(str(directory)).signatures
    warmed = []
    for raw in tf.data.TFRecordDataset(str(directory / "assets.extra/tf_serving_warmup_requests")):
        log = prediction_log_pb2.PredictionLog.FromString(raw.numpy())
        asked = log.predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(proto)) for name, proto in asked.inputs.items()}
        signatures[asked.model_spec.signature_name](**inputs)
        warmed.append(asked.model_spec.signature_name)
    assert sorted(warmed) == sorted(signatures)
    assert (directory / "assets.extra/tf_serving_warmup_requests").stat().st_size < 50_000


@pytest.fixture(scope="module")
def int8_servable(tmp_path_factory, finetuning_run):
    """Made while the global policy is that of training in bfloat16."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found = export_version(finetuning_run, tmp_path_factory.mktemp("small_weights"), "int8")
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
    return found


def test_smaller_weights(int8_servable, loaded, classifier_servable, test_records):
    """Computed in float32: only the rounding of weights differs."""
    signatures = tf.saved_model.load(str(int8_servable)).signatures
    assert signatures.keys() == CLASSIFIER_OUTPUTS.keys()
    expected = loaded.signatures["serving_default"](examples=tf.constant(test_records))
    answer = signatures["serving_default"](examples=tf.constant(test_records))
    np.testing.assert_allclose(answer["probabilities"], expected["probabilities"], atol=3e-2)
    assert np.abs(answer["embedding"] - expected["embedding"]).max() > 0
    assert ServableMetadata.read(int8_servable).weights == "int8"
    sizes = [sum(f.stat().st_size for f in (p / "variables").iterdir()) for p in (int8_servable, classifier_servable)]
    assert sizes[0] < 0.6 * sizes[1]
    message = saved_model_pb2.SavedModel.FromString((int8_servable / "saved_model.pb").read_bytes())
    types = {
        node.attr["T"].type
        for meta in message.meta_graphs
        for f in meta.graph_def.library.function
        for node in f.node_def
        if node.op in ("Conv2D", "MatMul", "BatchMatMulV2", "Conv3D")
    }
    assert types == {tf.float32.as_datatype_enum}  # bfloat16 was the policy, but not here


def test_a_bare_backbone_answers_as_the_pretrained_one(backbone_servable, pretraining_run, clip_source, test_records):
    loaded = tf.saved_model.load(str(backbone_servable))
    batch = next(iter(evaluation_clips(clip_source, "test", 9)))
    expected = pretraining_run.load_backbone()(model_inputs(batch, ("visual", "audio")))["embedding"]
    answer = loaded.signatures["serving_default"](examples=tf.constant(test_records))["embedding"]
    np.testing.assert_allclose(answer, expected, atol=1e-5)


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
    assert metadata.labels == LABELS
    assert (metadata.run, metadata.data_hash, metadata.release) == (
        str(finetuning_run.path),
        "f" * 64,
        pemt_tf.__version__,
    )
    assert (metadata.version, metadata.weights) == (1, "float32")
    assert ServableMetadata.read(backbone_servable).labels == ()


def test_another_folder_has_no_metadata(tmp_path):
    with pytest.raises(PemtError, match=r"is not a model exported by `pemt export`: it has no assets\.extra/p"):
        ServableMetadata.read(tmp_path)


def fake_export(run, directory, weights="float32", version=0):
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
    def half_way(run, directory, *_more):
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


def test_exports_at_the_same_time_get_a_version_each(tmp_path, monkeypatch, finetuning_run):
    """The second begins and ends while the first is at work; the third comes after both."""
    made = []

    def export(run, directory, *_more):
        fake_export(run, directory)
        if not made:
            made.append("first")
            made.append(export_version(finetuning_run, base).name)
        assert (directory / "saved_model.pb").read_bytes() == b"whole"

    base = tmp_path / "models"
    (base / ".partial-1").mkdir(parents=True)  # of one that was killed
    monkeypatch.setattr(saved_model, "export_saved_model", export)
    assert export_version(finetuning_run, base).name == "1"
    assert made == ["first", "2"]
    assert export_version(finetuning_run, base).name == "3"
    assert sorted(path.name for path in base.iterdir()) == ["1", "2", "3"]


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
    config = dataclasses.replace(small_config, model=dataclasses.replace(small_config.model, modalities=(modality,)))
    model = AVClassifier(config.model, 3)
    model.build()
    served = ServingModel(model, config.geometry, StoredWeights(model, "float32"))
    signatures = ServingSignatures(served, ServableMetadata(config, LABELS)).all()
    stream = {"visual": "frames", "audio": "waveform"}[modality]
    expected = dict.fromkeys(("classify", "embed", f"embed_{modality}"), (stream,))
    inputs = {signature.name: signature.inputs for signature in signatures}
    assert inputs == {"serving_default": ("examples",), **expected, "metadata": ("fields",)}

"""A served classifier that uses some of its model's modalities predicts what the trained one does."""

import dataclasses

import keras
import numpy as np
import pytest

from pemt_tf.export.servable_metadata import ServableMetadata
from pemt_tf.export.serving_model import ServingModel
from pemt_tf.export.signatures import ServingSignatures
from pemt_tf.export.weight_storage import StoredWeights
from pemt_tf.training.run_directory import make_classifier

LABELS = ("a", "b", "c")


@pytest.mark.parametrize(
    ("streams", "media"),
    [(("audio",), {"audio": "waveform"}), (("visual",), {"visual": "frames"}), (("audio", "visual"), None)],
)
def test_a_classifier_of_some_modalities(small_config, streams, media):
    config = dataclasses.replace(small_config, finetune=dataclasses.replace(small_config.finetune, streams=streams))
    geometry, metadata = config.geometry, ServableMetadata(config, LABELS)
    keras.utils.set_random_seed(1)
    model = make_classifier(config, len(LABELS))
    for variable in model.trainable_variables:  # the usual weights are so small that all clips look the same
        variable.assign(variable + 0.2 * keras.random.normal(variable.shape))
    inputs = {
        "frames": keras.random.normal((2, 2, geometry.frames_per_segment, geometry.test_crop, geometry.test_crop, 3)),
        "log_mel": keras.random.normal((2, 2, geometry.mel_bins, geometry.mel_frames, 1)),
    }
    served = ServingModel(model, geometry, StoredWeights(model, "float32"))

    expected, found = model(inputs), served.predict(inputs)
    for name in ("probabilities", "embedding"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)
    assert served.modalities == metadata.modalities == tuple(m for m in ("visual", "audio") if m in streams)
    signatures = {each.name: each.inputs for each in ServingSignatures(served, metadata).all()}
    if media:
        ((modality, name),) = media.items()
        assert set(signatures) == {"serving_default", "classify", "embed", f"embed_{modality}", "metadata"}
        assert signatures["classify"] == (name,)
    else:
        assert signatures["classify"] == ("frames", "waveform")


def test_a_classifier_of_several_labels_gives_scores(small_config):
    config = small_config.with_overrides(["finetune.labels=multiple"])
    model = make_classifier(config, len(LABELS))
    served = ServingModel(model, config.geometry, StoredWeights(model, "float32"))
    metadata = ServableMetadata(config, LABELS)
    assert served.outputs == ("scores", "embedding")
    assert (metadata.prediction, metadata.served_fields()["prediction"]) == ("scores", '"scores"')
    assert ServableMetadata(small_config, LABELS).prediction == "probabilities"
    assert ServableMetadata(config, ()).prediction is None  # a backbone


def test_a_backbone_has_all_modalities_whatever_fine_tuning_would_use(small_config):
    config = dataclasses.replace(small_config, finetune=dataclasses.replace(small_config.finetune, streams=("audio",)))
    assert ServableMetadata(config, ()).modalities == ("visual", "audio")

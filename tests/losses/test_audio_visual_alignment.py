"""The alignment loss against a NumPy restatement of docs/pretraining_objectives.md section 8."""

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.config import Config
from pemt_tf.errors import ArgumentError, PemtError
from pemt_tf.losses.audio_visual_alignment import AlignedSpace, symmetric_info_nce
from pemt_tf.models.pretraining_model import PretrainingModel
from tests.models.test_pretraining_model import BATCH, SEGMENTS, largest_gradients, make_inputs, make_model

CLIPS, WIDTH = 6, 4


def unit_vectors(seed, clips=CLIPS):
    vectors = np.random.default_rng(seed).normal(size=(clips, WIDTH))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def restated(visual, audio, scale, counted=None, groups=1):
    """Loops over every anchor: -log of exp(scale cos) over the sum of those of the group's clips that count."""
    clips = len(visual)
    counted = np.ones(clips) if counted is None else np.asarray(counted)
    losses, hits = [], []
    for i in np.flatnonzero(counted):
        group = i // (clips // groups)
        others = [j for j in np.flatnonzero(counted) if j // (clips // groups) == group]
        for anchors, candidates in ((visual, audio), (audio, visual)):
            powers = {j: math.exp(scale * float(anchors[i].astype(float) @ candidates[j])) for j in others}
            losses.append(-math.log(powers[i] / sum(powers.values())))
            hits.append(powers[i] > max((power for j, power in powers.items() if j != i), default=0.0))
    return (np.mean(losses), np.mean(hits)) if losses else (0.0, 0.0)


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("counted", [None, [1, 1, 0, 1, 1, 1], [1, 0, 0, 1, 1, 0], [0, 0, 0, 0, 0, 1], [0] * 6])
def test_loss_and_accuracy_equal_the_formula(counted, groups):
    visual, audio = unit_vectors(0), unit_vectors(1)
    audio[:3] = visual[:3]  # some are found
    weights = None if counted is None else np.array(counted, np.float32)
    found = symmetric_info_nce(visual, audio, 7.0, weights, groups)
    np.testing.assert_allclose(
        [float(each) for each in found], restated(visual, audio, 7.0, counted, groups), atol=1e-5
    )


def test_what_a_clip_without_one_modality_holds_does_not_matter():
    visual, audio, counted = unit_vectors(0), unit_vectors(1), np.array([1, 0, 1, 1, 1, 1], np.float32)
    first = symmetric_info_nce(visual, audio, 10.0, counted)
    visual[1], audio[1] = audio[0], 0.0  # it would beat clip 0's own frames
    for a, b in zip(first, symmetric_info_nce(visual, audio, 10.0, counted), strict=True):
        assert float(a) == pytest.approx(float(b), abs=1e-6)


def test_the_order_of_clips_and_of_modalities_does_not_matter():
    visual, audio, counted = unit_vectors(0), unit_vectors(1), np.array([1, 1, 0, 1, 1, 1], np.float32)
    order = np.random.default_rng(3).permutation(CLIPS)
    given = ((visual, audio, counted), (visual[order], audio[order], counted[order]), (audio, visual, counted))
    losses = [float(symmetric_info_nce(v, a, 10.0, c)[0]) for v, a, c in given]
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-5)
    wrong = np.roll(np.arange(CLIPS), 1)
    assert abs(float(symmetric_info_nce(visual, audio[wrong], 10.0)[0]) - losses[0]) > 0.1


def test_equal_vectors_are_a_guess_among_all_clips():
    same = np.repeat(unit_vectors(0)[:1], CLIPS, axis=0)
    loss, accuracy = symmetric_info_nce(same, same, 14.0)
    assert float(loss) == pytest.approx(math.log(CLIPS), abs=1e-5) and float(accuracy) == 0.0


def contexts(clips=3, hidden=5):
    rng = np.random.default_rng(2)
    return {m: rng.normal(size=(clips, 1 + SEGMENTS, hidden)).astype(np.float32) for m in ("visual", "audio")}


def test_a_clips_place_is_the_projected_mean_of_its_segments():
    space = AlignedSpace(5, WIDTH)
    space.build()
    given, mask = contexts(), np.array([[1, 0, 1], [1, 1, 1], [0, 0, 0]], np.float32)
    found = space(given, {"audio": mask})
    kernels = {m: np.asarray(projection.kernel) for m, projection in space.projections.items()}
    for row in range(3):
        seen = given["visual"][row, 1:].mean(0) @ kernels["visual"]
        np.testing.assert_allclose(found["visual"][row], seen / np.linalg.norm(seen), atol=1e-6)
        segments = given["audio"][row, 1:][mask[row] > 0]
        heard = segments.mean(0) @ kernels["audio"] if len(segments) else np.zeros(WIDTH)
        np.testing.assert_allclose(found["audio"][row], heard / max(np.linalg.norm(heard), 1e-9), atol=1e-6)
    assert not np.any(found["audio"][2])


def test_the_scale_begins_at_clips_and_never_exceeds_100():
    space = AlignedSpace(5, WIDTH)
    space.build()
    assert float(space.scale) == pytest.approx(1 / 0.07, rel=1e-5)
    for beyond in (0.0, 0.3, 2.0):
        space.log_scale.assign(math.log(100) + beyond)
        with tf.GradientTape() as tape:
            scale = space.scale
        assert float(scale) == pytest.approx(100 * math.exp(-beyond), rel=1e-4)
        if beyond:  # a larger scale is reached by a smaller variable: nothing is stuck beyond the limit
            assert float(tape.gradient(scale, space.log_scale.value)) < 0


def test_the_layer_keeps_its_configuration_and_places_in_float32_whatever_it_computes_in():
    space = AlignedSpace(5, WIDTH, dtype="mixed_bfloat16", name="space")
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(space))
    assert (twin.hidden, twin.width, twin.name, twin.compute_dtype) == (5, WIDTH, "space", "bfloat16")
    space.build()
    assert [tuple(weight.shape) for weight in space.trainable_weights] == [(), (5, WIDTH), (5, WIDTH)]
    whole = AlignedSpace(5, WIDTH)
    whole.build()
    whole.set_weights(space.get_weights())
    for modality, places in space(contexts()).items():
        assert places.dtype == "float32"
        np.testing.assert_allclose(places, whole(contexts())[modality], atol=0.03)


# In the model


def test_off_means_that_nothing_is_there(small_config):
    model = make_model(small_config)
    assert model.aligned_space is None and small_config.pretrain.alignment_weight == 0
    assert not any("align" in variable.path for variable in model.variables)
    assert not any("align" in name for name in model(make_inputs(), training=False))


@pytest.mark.parametrize("fusion", ["early", "mid", "late"])
def test_the_term_of_the_model_equals_the_formula(small_config, fusion):
    """Of unmasked tokens, whatever masked prediction hides."""
    model = make_model(small_config, {"fusion": fusion}, alignment_weight=0.5, alignment_width=WIDTH, mask_rate=1.0)
    inputs = {**make_inputs(), "audio_mask": np.array([[1, 1, 0], [0, 0, 0], [1, 1, 1], [1, 0, 0]], np.float32)}
    metrics = {name: float(value) for name, value in model(inputs, training=False).items()}
    outputs = model.backbone(inputs, training=False)
    places = model.aligned_space(
        {m: outputs[f"{m}_context"] for m in ("visual", "audio")}, {"audio": inputs["audio_mask"]}
    )
    visual, audio = (np.asarray(places[m]) for m in ("visual", "audio"))
    loss, accuracy = restated(visual, audio, 1 / 0.07, [1, 0, 1, 1])
    assert metrics["alignment"] == pytest.approx(loss, abs=1e-4)
    assert metrics["alignment_accuracy"] == pytest.approx(accuracy)
    assert metrics["alignment_temperature"] == pytest.approx(0.07, rel=1e-5)
    terms = sum(value for name, value in metrics.items() if name.startswith("mep_") and name != "mep_accuracy")
    expected = terms + metrics["cpp"] + 0.5 * metrics["alignment"]
    assert metrics["loss"] == pytest.approx(expected, rel=1e-5)


def test_both_encoders_and_the_temperature_learn_from_it(small_config):
    model = make_model(small_config, alignment_weight=1.0)
    with tf.GradientTape() as tape:
        loss = model(make_inputs(), training=True)["alignment"]
    largest = largest_gradients(tape, loss, model.trainable_variables)
    for part in ("visual_cnn/stem", "audio_cnn/stem", "visual_projection/kernel", "audio_projection/kernel"):
        assert any(part in path and value > 0 for path, value in largest.items()), part
    own = {path: value for path, value in largest.items() if "aligned_space" in path}
    assert len(own) == 3 and all(value > 0 for value in own.values())
    others = [path for path in largest if "compatibility" in path or "_pairs/" in path or "mask_vector" in path]
    assert others and all(largest[path] == 0 for path in others)


def test_a_few_steps_align_a_batch(small_config):
    """The gradient points downhill, through projections alone."""
    keras.utils.set_random_seed(1)
    space = AlignedSpace(8, 8)
    space.build()
    given = contexts(BATCH, 8)
    losses = []
    for _ in range(30):
        with tf.GradientTape() as tape:
            places = space(given)
            loss, accuracy = symmetric_info_nce(places["visual"], places["audio"], space.scale)
        losses.append(float(loss))
        variables = space.trainable_variables
        for variable, gradient in zip(variables, tape.gradient(loss, [v.value for v in variables]), strict=True):
            variable.assign_sub(0.02 * gradient)
    assert losses[-1] < 0.3 * losses[0] and float(accuracy) == 1.0


def test_a_model_of_one_modality_has_nothing_to_align(small_config):
    line = r"pretrain\.alignment_weight is 1\.0; allowed: 0, because model\.modalities is audio, and alignment needs"
    with pytest.raises(PemtError, match=line):
        small_config.with_overrides(["pretrain.alignment_weight=1.0", "model.modalities=[audio]"])
    config = Config()
    model = dataclasses.replace(config.model, modalities=("audio",))
    with pytest.raises(ArgumentError, match=r"pretrain\.alignment_weight is 1\.0; allowed: 0, because"):
        PretrainingModel(model, dataclasses.replace(config.pretrain, alignment_weight=1.0))
    for name, value in (("alignment_weight", -1), ("alignment_width", 0)):
        with pytest.raises(PemtError, match=rf"pretrain\.{name} is {value}; allowed"):
            small_config.with_overrides([f"pretrain.{name}={value}"])

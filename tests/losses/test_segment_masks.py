"""Segment masks in the pretraining losses: absent segments take no part, complete masks change nothing."""

import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.losses import correct_pair_prediction as cpp
from pemt_tf.losses import masked_embedding_prediction as mep
from tests.models.test_pretraining_model import BATCH, SEGMENTS, log_loss, make_inputs, make_model

MASKS = {  # clip 1 lacks sound, clip 2 a picture in segment 0, clip 3 both streams here and there
    "visual_mask": np.array([[1, 1, 1], [1, 0, 1], [0, 1, 1], [0, 0, 1]], np.float32),
    "audio_mask": np.array([[1, 1, 0], [0, 0, 0], [1, 1, 1], [1, 0, 0]], np.float32),
}


def numbers(metrics):
    return {name: float(value) for name, value in metrics.items()}


def with_noise_in_absent_segments(inputs, masks):
    """Other pictures and sounds wherever the masks are 0."""
    rng = np.random.default_rng(77)
    changed = dict(inputs)
    for name, mask in (("frames", "visual_mask"), ("log_mel", "audio_mask")):
        absent = masks[mask].reshape(BATCH, SEGMENTS, *[1] * (inputs[name].ndim - 2)) == 0
        noise = rng.normal(2.0, 4.0, inputs[name].shape).astype(np.float32)
        changed[name] = np.where(absent, noise, inputs[name])
    return changed


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("fusion", ["early", "mid", "late"])
def test_masks_of_ones_give_the_very_numbers_of_no_masks(small_config, fusion, training):
    """Bit by bit, over two steps: the random draws are the same as well."""
    inputs = make_inputs(batch=3)
    ones = np.ones((3, SEGMENTS), np.float32)
    results = []
    for masks in ({}, {"visual_mask": ones, "audio_mask": ones}, {"audio_mask": ones}):
        model = make_model(small_config, {"fusion": fusion, "summary": "mean_pooled"})
        results.append([numbers(model({**inputs, **masks}, training=training)) for _ in range(2)])
    assert results[0] == results[1] == results[2]
    assert results[0][0] != results[0][1]  # draws go on from step to step


def test_a_compiled_step_with_masks_gives_the_numbers_of_an_eager_one(small_config):
    inputs = {**make_inputs(), **MASKS}
    eager = numbers(make_model(small_config)(inputs, training=False))
    model = make_model(small_config)
    assert numbers(tf.function(model.call)(inputs)) == pytest.approx(eager, abs=1e-5)


@pytest.mark.parametrize(
    ("negatives", "summary"),
    [("cans_similar", "mean_pooled"), ("cans_dissimilar", "token"), ("current_sequence", "token")],
)
def test_contents_of_absent_segments_do_not_matter(small_config, summary, negatives):
    inputs = make_inputs()
    changed = with_noise_in_absent_segments(inputs, MASKS)
    first, second, unmasked, unmasked_changed = (
        numbers(make_model(small_config, {"summary": summary}, negatives=negatives)(given, training=False))
        for given in ({**inputs, **MASKS}, {**changed, **MASKS}, inputs, changed)
    )
    assert first == pytest.approx(second, abs=2e-6)
    differing = {name for name in unmasked if abs(unmasked[name] - unmasked_changed[name]) > 1e-4}
    assert {"loss", "cpp", "visual_spread", "audio_spread"} <= differing


@pytest.mark.parametrize("similarity", ["product", "cosine"])
def test_neither_gradients_nor_metrics_depend_on_absent_segments(small_config, similarity):
    inputs = make_inputs()
    gradients, metrics = [], []
    for given in (inputs, with_noise_in_absent_segments(inputs, MASKS)):
        model = make_model(small_config, similarity=similarity)
        variables = model.trainable_variables
        with tf.GradientTape() as tape:
            found = model({**given, **MASKS}, training=False)
        metrics.append(numbers(found))
        values = [v.value for v in variables]
        gradients.append(tape.gradient(found["loss"], values, unconnected_gradients="zero"))
    assert metrics[0] == pytest.approx(metrics[1], abs=1e-5)
    for variable, a, b in zip(variables, *gradients, strict=True):
        a, b = tf.convert_to_tensor(a).numpy(), tf.convert_to_tensor(b).numpy()
        np.testing.assert_allclose(a, b, atol=1e-4 * max(1.0, np.abs(a).max()), err_msg=variable.path)


def absent_everywhere(rows):
    masks = {name: np.ones((BATCH, SEGMENTS), np.float32) for name in MASKS}
    for mask in masks.values():
        mask[rows] = 0
    return masks


@pytest.mark.parametrize(("rows", "zeros"), [([1], True), ([0, 1, 2], False), ([0, 1, 2, 3], True)])
@pytest.mark.parametrize("fusion", ["early", "mid", "late"])
def test_clips_without_any_segment_leave_numbers_and_gradients_finite(small_config, fusion, zeros, rows):
    model = make_model(small_config, {"fusion": fusion, "summary": "mean_pooled"})
    inputs = make_inputs()
    if zeros:
        for name in ("frames", "log_mel"):
            inputs[name][rows] = 0.0
    with tf.GradientTape() as tape:
        metrics = model({**inputs, **absent_everywhere(rows)}, training=True)
    gradients = tape.gradient(metrics["loss"], [v.value for v in model.trainable_variables])
    assert np.isfinite(list(numbers(metrics).values())).all()
    assert all(np.isfinite(tf.convert_to_tensor(g).numpy()).all() for g in gradients if g is not None)
    if len(rows) == BATCH:
        assert set(numbers(metrics).values()) == {0.0}
    if len(rows) == BATCH - 1:  # the one clip left has nothing wrong to be paired with, but its own pair counts
        assert numbers(metrics)["cpp"] > 0.0


def test_one_modality_with_masks(small_config):
    inputs = make_inputs(("audio",))
    mask = MASKS["audio_mask"]
    changed = np.where(mask.reshape(BATCH, SEGMENTS, 1, 1, 1) == 0, np.float32(3.0), inputs["log_mel"])
    results = []
    for sounds in (inputs["log_mel"], changed):
        model = make_model(small_config, {"modalities": ("audio",)})
        results.append(numbers(model({"log_mel": sounds, "audio_mask": mask}, training=False)))
    assert results[0] == pytest.approx(results[1], abs=2e-6)


def test_spread_is_over_present_tokens(small_config):
    model = make_model(small_config)
    inputs = make_inputs()
    metrics = model({**inputs, **MASKS}, training=False)
    for modality, tokens in model.backbone.tokenize(model.backbone.local_features(inputs)).items():
        present = tokens.numpy()[MASKS[f"{modality}_mask"] > 0]
        assert float(metrics[f"{modality}_spread"]) == pytest.approx(present.std(0).mean(), abs=1e-5)


def test_a_model_draws_masked_positions_and_negatives_among_present_segments(small_config, monkeypatch):
    """What reaches the InfoNCE loss, step by step: anchors and the negatives that count."""
    seen = []
    info_nce = mep.info_nce

    def watch(logits, negatives, valid, weights, positives):
        seen.append((np.asarray(negatives), np.asarray(valid), np.asarray(weights)))
        return info_nce(logits, negatives, valid, weights, positives)

    monkeypatch.setattr(mep, "info_nce", watch)
    model = make_model(small_config, mask_rate=0.5, negatives="mini_batch", negative_count=20)
    for _ in range(10):
        model({**make_inputs(), **MASKS}, training=False)
    masks = [MASKS["visual_mask"]] * 2 + [MASKS["audio_mask"]] * 2  # per modality, context and joint
    assert len(seen) == 40
    for (negatives, valid, weights), mask in zip(seen, masks * 10, strict=True):
        present = mask.reshape(-1)
        assert (weights * (1 - present) == 0).all()
        assert ((weights.reshape(mask.shape).sum(1) > 0) == (mask.sum(1) > 0)).all()
        assert (present[negatives[valid]] == 1).all()
        for anchor in range(BATCH * SEGMENTS):
            assert set(negatives[anchor][valid[anchor]]) == set(np.flatnonzero(present)) - {anchor}


def test_mismatched_sounds_take_their_masks_along(small_config, monkeypatch):
    """The pair loss restated: all positions masked, one present segment per clip and stream, a fixed derangement."""
    order = np.array([1, 2, 3, 0], np.int32)
    monkeypatch.setattr(cpp, "draw_derangement", lambda batch, seed, groups=1: tf.constant(order))
    visual_at, audio_at = [0, 2, None, 1], [1, 0, 2, None]  # clip 2 has no picture, clip 3 no sound
    masks = {
        "visual_mask": np.zeros((BATCH, SEGMENTS), np.float32),
        "audio_mask": np.zeros((BATCH, SEGMENTS), np.float32),
    }
    for name, places in (("visual_mask", visual_at), ("audio_mask", audio_at)):
        for clip, place in enumerate(places):
            if place is not None:
                masks[name][clip, place] = 1
    model = make_model(small_config, mask_rate=1.0)
    metrics = model({**make_inputs(), **masks}, training=False)

    backbone, matrices = model.backbone, model.backbone.matrices()
    tokens = {m: np.broadcast_to(np.asarray(v), (1, SEGMENTS, 16)) for m, v in model.mask_vectors.items()}

    def run(clip, sound):
        """One pair by itself: contexts and joint outputs at the summaries and at the present segments."""
        mask = {"visual": masks["visual_mask"][clip : clip + 1], "audio": masks["audio_mask"][sound : sound + 1]}
        places = {"visual": visual_at[clip], "audio": audio_at[sound]}
        # Absent segments hold something else here than in the model: it must not matter.
        given = {m: np.where(mask[m][..., None] > 0, tokens[m], np.float32(0.7)).astype(np.float32) for m in mask}
        context = {m: backbone.encode_stream(m, tf.constant(given[m]), mask[m], matrices) for m in mask}
        joint = backbone.fuse(context, mask, matrices)
        outputs = {"context": context, "joint": {"visual": joint[:, : 1 + SEGMENTS], "audio": joint[:, 1 + SEGMENTS :]}}
        return [
            float(model.pair_classifiers[stage](*(x[m][:, at] for m, at in (("visual", i), ("audio", j))))[0])
            for stage, x in outputs.items()
            for i, j in ((0, 0), (1 + places["visual"], 1 + places["audio"]))
        ]

    right = [run(clip, clip) for clip in (0, 1)]  # clips 2 and 3 lack a side
    wrong = [run(clip, order[clip]) for clip in (0, 1, 3)]  # 0 with 1, 1 with 2, 3 with 0; 2 has no picture
    losses = [log_loss(right).ravel(), log_loss(-np.array(wrong)).ravel()]
    assert float(metrics["cpp"]) == pytest.approx(np.concatenate(losses).mean(), abs=1e-5)
    hits = np.concatenate([np.ravel(right) > 0, np.ravel(wrong) < 0])
    assert float(metrics["cpp_accuracy"]) == pytest.approx(hits.mean(), abs=1e-6)

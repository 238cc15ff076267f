"""The pretraining objectives on a whole model: which terms there are, what they are worth, where gradients go."""

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from pemt_tf.models.pretraining_model import PretrainingModel

BATCH, SEGMENTS = 4, 3


def make_model(config, model=None, **pretrain):
    keras.utils.set_random_seed(4)
    pretraining = PretrainingModel(
        dataclasses.replace(config.model, **(model or {})), dataclasses.replace(config.pretrain, **pretrain)
    )
    pretraining.build()
    rng = np.random.default_rng(6)  # weights as after some training: the first ones make all logits almost 0
    for layer in (*pretraining.compatibility.values(), *pretraining.pair_classifiers.values()):
        layer.set_weights([rng.normal(0, 0.4, w.shape) for w in layer.get_weights()])
    return pretraining


def make_inputs(modalities=("visual", "audio"), batch=BATCH, segments=SEGMENTS):
    rng = np.random.default_rng(8)
    inputs = {}
    if "visual" in modalities:
        inputs["frames"] = rng.normal(size=(batch, segments, 2, 16, 16, 3)).astype(np.float32)
    if "audio" in modalities:
        inputs["log_mel"] = rng.normal(size=(batch, segments, 16, 16, 1)).astype(np.float32)
    return inputs


@pytest.mark.parametrize(
    ("fusion", "terms"),
    [
        ("early", {"mep_visual_joint", "mep_audio_joint", "cpp"}),
        ("mid", {"mep_visual_context", "mep_audio_context", "mep_visual_joint", "mep_audio_joint", "cpp"}),
        ("late", {"mep_visual_context", "mep_audio_context", "cpp"}),
    ],
)
def test_terms_of_every_fusion_and_their_sum(small_config, fusion, terms):
    model = make_model(small_config, {"fusion": fusion}, pair_weight=0.7)
    metrics = {name: float(value) for name, value in model(make_inputs(), training=True).items()}
    watched = {f"{m}_{what}" for m in ("visual", "audio") for what in ("spread", "rank")}
    assert set(metrics) == terms | watched | {"loss", "mep_accuracy", "cpp_accuracy", "logit_std"}
    expected = sum(metrics[name] for name in terms - {"cpp"}) + 0.7 * metrics["cpp"]
    assert metrics["loss"] == pytest.approx(expected, rel=1e-6)
    assert all(0 <= metrics[name] <= 1 for name in ("mep_accuracy", "cpp_accuracy"))
    assert len(model.pair_classifiers) == (2 if fusion == "mid" else 1)


@pytest.mark.parametrize("modality", ["visual", "audio"])
def test_one_modality_predicts_its_tokens_and_has_no_pairs(small_config, modality):
    model = make_model(small_config, {"modalities": (modality,)})
    metrics = model(make_inputs((modality,)), training=True)
    watched = {"mep_accuracy", "logit_std", f"{modality}_spread", f"{modality}_rank"}
    assert set(metrics) == {"loss", f"mep_{modality}_context"} | watched
    assert not model.pair_classifiers


def gelu(x):
    return x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def log_loss(logits):
    return np.log1p(np.exp(-np.asarray(logits, np.float64)))


def compared(network, output, x):
    """Logits [anchors, candidates] by the formulas of docs/pretraining_objectives.md section 2."""
    inner = gelu(output @ np.asarray(network.inner.kernel) + np.asarray(network.inner.bias))
    predicted = inner @ np.asarray(network.outer.kernel) + np.asarray(network.outer.bias)
    if network.similarity == "product":
        return predicted @ (x @ np.asarray(network.target.kernel)).T
    targets = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-6) @ np.asarray(network.target.kernel)
    predicted, targets = (y / np.linalg.norm(y, axis=1, keepdims=True) for y in (predicted, targets))
    return min(math.exp(np.asarray(network.log_scale)), 100.0) * predicted @ targets.T


@pytest.mark.parametrize("similarity", ["product", "cosine"])
def test_loss_of_two_clips_of_one_segment_equals_the_specification(small_config, similarity):
    """Here nothing is left to chance: everything is masked, the only negative and the only wrong pair are the other."""
    settings = {"negatives": "mini_batch", "pair_weight": 0.5, "similarity": similarity}
    model = make_model(small_config, mask_rate=1.0, **settings)
    inputs = make_inputs(batch=2, segments=1)
    metrics = {name: float(value) for name, value in model(inputs, training=False).items()}

    backbone = model.backbone
    tokens = backbone.tokenize(backbone.local_features(inputs))
    vectors = {m: tf.broadcast_to(tf.convert_to_tensor(model.mask_vectors[m]), (2, 1, 16)) for m in tokens}
    matrices = backbone.matrices()
    context = {m: backbone.encode_stream(m, vectors[m], None, matrices) for m in tokens}
    wrong = {"visual": context["visual"], "audio": context["audio"][::-1]}
    joint = backbone.fuse(context, {}, matrices).numpy()
    wrong_joint = backbone.fuse(wrong, {}, matrices).numpy()
    outputs = {
        "visual_context": context["visual"].numpy(),
        "audio_context": context["audio"].numpy(),
        "visual_joint": joint[:, :2],
        "audio_joint": joint[:, 2:],
    }
    expected = {}
    for name, output in outputs.items():
        logits = compared(model.compatibility[name], output[:, 1], tokens[name.split("_")[0]].numpy()[:, 0])
        # -log of I / (I + the other I) is a log loss of the difference.
        expected[f"mep_{name}"] = np.mean(
            [log_loss(logits[0, 0] - logits[0, 1]), log_loss(logits[1, 1] - logits[1, 0])]
        )
    pairs = {
        "context": (context["visual"], context["audio"], wrong["visual"], wrong["audio"]),
        "joint": (joint[:, :2], joint[:, 2:], wrong_joint[:, :2], wrong_joint[:, 2:]),
    }
    terms = []
    for stage, (visual, audio, other_visual, other_audio) in pairs.items():
        classifier = model.pair_classifiers[stage]
        right, mismatched = classifier(visual, audio).numpy(), classifier(other_visual, other_audio).numpy()
        terms.append(np.mean([log_loss(right), log_loss(-mismatched)]))
    expected["cpp"] = np.mean(terms)
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, abs=1e-5), name
    total = sum(value for name, value in expected.items() if name != "cpp") + 0.5 * expected["cpp"]
    assert metrics["loss"] == pytest.approx(total, abs=1e-4)
    for modality, x in tokens.items():
        assert metrics[f"{modality}_spread"] == pytest.approx(x.numpy()[:, 0].std(0).mean(), abs=1e-6)


def test_at_the_start_no_pair_is_judged_and_its_gradient_is_no_stronger_than_that_of_masked_prediction(small_config):
    """A pair loss that starts above ln 2 makes all tokens alike, which is the quickest way down."""
    keras.utils.set_random_seed(4)
    model = PretrainingModel(small_config.model, dataclasses.replace(small_config.pretrain, similarity="cosine"))
    model.build()
    cnns = [v for v in model.trainable_variables if v.path.endswith("_projection/kernel") and "_cnn/" not in v.path]
    with tf.GradientTape(persistent=True) as tape:
        metrics = model(make_inputs(), training=True)
        masked = metrics["loss"] - metrics["cpp"]
    assert float(metrics["cpp"]) == pytest.approx(math.log(2), abs=0.05)
    pairs, predictions = (largest_gradients(tape, loss, cnns) for loss in (metrics["cpp"], masked))
    projections = [path for path in pairs if path.endswith(("visual_projection/kernel", "audio_projection/kernel"))]
    assert len(projections) == 2
    for path in projections:
        assert predictions[path] > pairs[path], path


def largest_gradients(tape, loss, variables):
    """Largest absolute entry of each variable's gradient, by path; 0 where there is none."""
    gradients = tape.gradient(loss, [v.value for v in variables])
    return {
        v.path: 0.0 if g is None else float(tf.reduce_max(tf.abs(tf.convert_to_tensor(g))))
        for v, g in zip(variables, gradients, strict=True)
    }


@pytest.mark.parametrize("stream", ["visual", "audio", "joint"])
def test_every_stream_teaches_the_shared_factor_but_only_its_own_projection_and_rotation(small_config, stream):
    backbone = make_model(small_config).backbone
    variables = backbone.transformers[stream].trainable_variables
    rng = np.random.default_rng(0)
    tokens = {m: tf.constant(rng.normal(size=(2, SEGMENTS, 16)).astype(np.float32)) for m in ("visual", "audio")}
    with tf.GradientTape() as tape:
        matrices = backbone.matrices()
        if stream == "joint":
            contexts = {m: tf.pad(t, [[0, 0], [1, 0], [0, 0]]) for m, t in tokens.items()}
            output = backbone.fuse(contexts, {}, matrices)
        else:
            output = backbone.encode_stream(stream, tokens[stream], None, matrices)
        loss = tf.reduce_sum(output * rng.normal(size=output.shape).astype(np.float32))
    largest = largest_gradients(tape, loss, variables)
    own = {path: g for path, g in largest.items() if path.endswith(("_projection", "_rotation"))}
    kernels = {path: g for path, g in largest.items() if path.endswith("shared_kernel")}
    assert len(own) == 6 * 3 * 2 and len(kernels) == 6
    assert all(g > 0 for g in kernels.values()), kernels
    for path, g in own.items():
        assert (g > 0) == (f"/{stream}_" in path), (path, g)


def test_the_whole_loss_teaches_every_weight_outside_the_cnns(small_config):
    model = make_model(small_config)
    variables = [v for v in model.trainable_variables if "_cnn/" not in v.path]
    with tf.GradientTape() as tape:
        loss = model(make_inputs(), training=True)["loss"]
    largest = largest_gradients(tape, loss, variables)
    # Adding one vector to all keys changes no attention weight, so the keys' bias has no gradient but rounding.
    idle = {path for path, g in largest.items() if g == 0.0 and not path.endswith("key/shared_bias")}
    assert not idle


@pytest.mark.parametrize("similarity", ["product", "cosine"])
@pytest.mark.parametrize("stop", [False, True])
def test_stop_target_gradient(small_config, stop, similarity):
    """With every token masked, the CNNs matter through the targets only."""
    model = make_model(small_config, mask_rate=1.0, stop_target_gradient=stop, similarity=similarity)
    names = ("visual_projection/kernel", "audio_projection/kernel")
    variables = [v for v in model.backbone.trainable_variables if v.path.endswith(names)]
    assert len(variables) == 2
    with tf.GradientTape() as tape:
        loss = model(make_inputs(), training=True)["loss"]
    largest = largest_gradients(tape, loss, variables)
    assert all((g == 0.0) == stop for g in largest.values()), largest


def test_a_masked_token_cannot_be_seen(small_config):
    """Contexts are computed from masked tokens: with all masked, other pictures give the same pair loss."""
    model = make_model(small_config, mask_rate=1.0, seed=3)
    state = [v for v in model.variables if "seed_generator" in v.path]
    saved = [v.numpy() for v in state]
    first = model(make_inputs(), training=True)
    for variable, value in zip(state, saved, strict=True):
        variable.assign(value)
    inputs = make_inputs()
    brightness = np.linspace(-3, 3, BATCH * SEGMENTS, dtype=np.float32).reshape(BATCH, SEGMENTS, 1, 1, 1, 1)
    second = model({**inputs, "frames": inputs["frames"] * brightness + brightness}, training=True)
    assert float(first["cpp"]) == pytest.approx(float(second["cpp"]), abs=1e-6)
    assert abs(float(first["mep_visual_context"]) - float(second["mep_visual_context"])) > 1e-4

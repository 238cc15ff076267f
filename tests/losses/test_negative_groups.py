"""Negatives and mismatched pairs within groups of clips, which is what several devices do without gathering."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pemt_tf.config.training import PretrainConfig
from pemt_tf.errors import PemtError
from pemt_tf.losses import correct_pair_prediction as cpp
from pemt_tf.losses import masked_embedding_prediction as mep
from tests.losses.test_negative_sampling import probabilities
from tests.models.test_pretraining_model import BATCH, SEGMENTS, make_inputs, make_model


@settings(deadline=None, max_examples=30)
@given(size=st.integers(2, 9), groups=st.integers(1, 5), seed=st.integers(0, 2**31 - 1))
def test_derangements_stay_in_their_group(size, groups, seed):
    order = np.asarray(cpp.draw_derangement(size * groups, seed, groups)).reshape(groups, size)
    for group, own in enumerate(order):
        assert sorted(own.tolist()) == list(range(group * size, (group + 1) * size))
        assert (own != np.arange(group * size, (group + 1) * size)).all()


def watch(monkeypatch, module, name):
    """Records the positional arguments and the result of every call of a function."""
    seen, function = [], getattr(module, name)

    def watching(*arguments):
        result = function(*arguments)
        seen.append((arguments, result))
        return result

    monkeypatch.setattr(module, name, watching)
    return seen


def test_a_group_is_a_batch_of_its_own(small_config, monkeypatch):
    """Of 4 clips in 2 groups: all others of the group are negatives, none of the other group, nor the anchor."""
    from pemt_tf.losses import negative_sampling

    nce, orders = watch(monkeypatch, mep, "info_nce"), watch(monkeypatch, cpp, "draw_derangement")
    weights = watch(monkeypatch, negative_sampling, "candidate_log_weights")
    model = make_model(small_config, negative_groups=2, negative_count=20, negatives="cans_similar", negative_band=1.0)
    inputs = make_inputs()
    tokens = model.backbone.tokenize(model.backbone.local_features(inputs))
    model(inputs, training=False)

    assert orders[0][1].numpy().tolist() == [1, 0, 3, 2]
    rows = BATCH // 2 * SEGMENTS
    clips = np.repeat(np.arange(2), SEGMENTS)
    for call, (arguments, log_weights) in enumerate(weights):  # visual: first and second group, then audio
        flat = tokens[("visual", "audio")[call // 2]].numpy().reshape(2, rows, -1)[call % 2]
        np.testing.assert_allclose(arguments[0], flat, atol=1e-6)
        chances = np.exp(log_weights.numpy().astype(np.float64))
        expected = probabilities(flat, clips, "cans_similar", 1.0)
        # float32 distances of clips that are nearly alike have few digits.
        np.testing.assert_allclose(chances / chances.sum(1, keepdims=True), expected, atol=1e-2)
    assert len(weights) == 4 and len(nce) == 4
    for (logits, negatives, valid, _, positives), _ in nce:
        assert logits.shape == (2 * rows, rows)
        assert positives.numpy().tolist() == list(range(rows)) * 2
        for anchor, (drawn, counts) in enumerate(zip(negatives.numpy(), valid.numpy(), strict=True)):
            own = set(drawn[counts])
            assert own < set(range(rows)) - {anchor % rows} and len(own) == rows - 2  # the farthest has weight 0


def test_logits_of_a_group_are_those_of_its_own_outputs_and_targets(small_config, monkeypatch):
    calls = watch(monkeypatch, mep.CompatibilityNetwork, "call")
    nce = watch(monkeypatch, mep, "info_nce")
    model = make_model(small_config, negative_groups=2)
    model(make_inputs(), training=False)
    rows = BATCH // 2 * SEGMENTS
    for index, ((logits, *_), _) in enumerate(nce):
        for group in range(2):
            (network, outputs, targets), _ = calls[2 * index + group]
            assert outputs.shape[0] == targets.shape[0] == rows
            expected = network(outputs, targets)
            np.testing.assert_allclose(logits[group * rows : (group + 1) * rows], expected, atol=1e-6)


def test_on_one_device_gathering_changes_nothing(small_config):
    results = []
    for gather in (False, True):
        model = make_model(small_config, gather_negatives=gather)
        step = tf.function(lambda model=model: model(make_inputs(), training=True))
        results.append([{name: float(value) for name, value in step().items()} for _ in range(2)])
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"negative_groups": -1}, "negative_groups is -1; allowed: 0 (a group per device), or a number that splits"),
        ({"negative_groups": 3}, "negative_groups is 3; allowed: 0 (a group per device), or a number that splits"),
        ({"negative_groups": 8}, "groups of 2 or more"),
        ({"schedule": "step"}, "pretrain.schedule is 'step'; allowed: cosine, linear, constant"),
        (
            {"negative_groups": 2, "gather_negatives": True},
            "negative_groups is 2; allowed: 0 or 1 with gather_negatives, which is one group",
        ),
        ({"gather_negatives": 1}, "gather_negatives is 1; allowed: true or false"),
    ],
)
def test_groups_that_do_not_fit_are_refused(values, message):
    with pytest.raises(PemtError) as error:
        PretrainConfig(batch_size=8, **values)
    assert message in str(error.value)


def test_targets_are_standardized_within_their_group(small_config, monkeypatch):
    standardized = watch(monkeypatch, mep, "standardize")
    make_model(small_config, negative_groups=2, similarity="cosine")(make_inputs(), training=False)
    assert len(standardized) == 4  # two groups of each modality
    for (targets, _), found in standardized:
        x = np.asarray(targets, np.float64)
        assert x.shape == (BATCH // 2 * SEGMENTS, 16)
        np.testing.assert_allclose(found, (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-6), atol=1e-3)

"""Flips and spectrogram masks: probabilities, sizes, one draw for each clip (docs/reference_model.md section 12)."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pemt_tf.features import augment


def test_half_of_the_clips_are_mirrored_whole():
    frames = np.random.default_rng(0).integers(0, 256, (3, 2, 4, 5, 3), np.uint8)
    mirrored = frames[..., ::-1, :]
    flips = 0
    for seed in range(600):
        result = augment.random_flip(tf.constant(frames), tf.constant([seed, 1])).numpy()
        flipped = (result == mirrored).all()
        assert flipped or (result == frames).all()
        flips += flipped
    assert abs(flips - 300) < 4 * math.sqrt(600) / 2


@pytest.mark.parametrize(
    ("length", "start", "hidden"),
    [(0.0, 2.0, []), (1.0, 2.0, [2]), (1.5, 2.2, [3]), (2.9, 0.0, [0, 1, 2]), (0.4, 1.8, [2]), (0.1, 1.5, [])],
)
@pytest.mark.parametrize("axis", [-2, -1])
def test_masked_positions_are_those_from_start_to_before_start_plus_length(axis, length, start, hidden):
    log_mel = np.random.default_rng(1).normal(-5, 1, (2, 6, 6)).astype(np.float32)
    expected = log_mel.copy()
    if axis == -2:
        expected[:, hidden, :] = 0.0
    else:
        expected[:, :, hidden] = 0.0
    result = augment.mask_axis(tf.constant(log_mel), axis, tf.constant(length), tf.constant(start))
    np.testing.assert_array_equal(result, expected)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**31 - 1), bins=st.integers(20, 100), frames=st.integers(20, 140))
def test_masks_are_two_bands_of_at_most_five_percent_the_same_for_all_segments(seed, bins, frames):
    log_mel = tf.fill([3, bins, frames], -7.0)
    masked = augment.random_spectrogram_masks(log_mel, tf.constant([seed, 0])).numpy()
    assert set(np.unique(masked)) <= {-7.0, 0.0}
    assert (masked == masked[:1]).all()
    hidden = masked[0] == 0.0
    rows, columns = np.flatnonzero(hidden.all(1)), np.flatnonzero(hidden.all(0))
    assert (hidden == (hidden.all(1)[:, None] | hidden.all(0)[None, :])).all()
    for band, size in ((rows, bins), (columns, frames)):
        assert len(band) <= math.ceil(int(size * 0.05))
        assert len(band) == 0 or (np.diff(band) == 1).all()


def test_mask_lengths_and_places_are_uniform():
    """80 x 128: lengths are uniform in [0, 4) and [0, 6), so 2 and 3 positions are hidden on average."""
    log_mel = tf.fill([1, 80, 128], -7.0)
    sizes, centres = [], []
    for seed in range(800):
        hidden = augment.random_spectrogram_masks(log_mel, tf.constant([seed, 3])).numpy()[0] == 0.0
        sizes.append((hidden.all(1).sum(), hidden.all(0).sum()))
        centres += np.flatnonzero(hidden.all(0)).tolist()
    # Standard error of the mean: a uniform length and its rounding to positions, 800 draws.
    assert np.abs(np.mean(sizes, 0) - [2.0, 3.0]).max() < 5 * math.sqrt((6**2 / 12 + 0.25) / 800)
    assert abs(np.mean(centres) - 63.5) < 5 * 128 / math.sqrt(12 * len(centres) / 3)
    assert max(s[0] for s in sizes) == 4 and max(s[1] for s in sizes) == 6


def test_frequency_and_time_masks_are_drawn_apart():
    log_mel = tf.fill([1, 80, 128], -7.0)
    sizes = []
    for seed in range(300):
        hidden = augment.random_spectrogram_masks(log_mel, tf.constant([seed, 4])).numpy()[0] == 0.0
        sizes.append((hidden.all(1).sum(), hidden.all(0).sum()))
    assert abs(np.corrcoef(np.transpose(sizes))[0, 1]) < 4 / math.sqrt(300)


def test_more_and_larger_masks():
    """30 % of 80 and of 100: at most 24 bins and 30 frames a mask; two masks reach further than one can."""
    log_mel = tf.fill([2, 80, 100], -7.0)
    sizes = []
    for seed in range(200):
        masked = augment.random_spectrogram_masks(log_mel, tf.constant([seed, 5]), share=0.3, count=2).numpy()
        assert (masked == masked[:1]).all()
        hidden = masked[0] == 0.0
        sizes.append((hidden.all(1).sum(), hidden.all(0).sum()))
    largest = np.max(sizes, 0)
    assert 24 < largest[0] <= 48 and 30 < largest[1] <= 60


@pytest.mark.parametrize("off", [{"share": 0.0}, {"count": 0}])
def test_masks_can_be_off(off):
    log_mel = tf.fill([1, 80, 128], -7.0)
    assert (augment.random_spectrogram_masks(log_mel, tf.constant([1, 2]), **off).numpy() == -7.0).all()


def test_gain_is_a_constant_of_uniform_decibels():
    """6 dB is a factor of 10^0.6 in power."""
    log_mel = np.random.default_rng(0).normal(-5, 2, (2, 3, 4)).astype(np.float32)
    decibels = []
    for seed in range(400):
        shift = augment.random_gain(tf.constant(log_mel), tf.constant([seed, 1]), 6.0).numpy() - log_mel
        assert np.ptp(shift) < 1e-5
        decibels.append(10 * np.log10(np.exp(shift.mean())))
    assert -6 <= min(decibels) < -5.7 and 5.7 < max(decibels) <= 6
    assert abs(np.mean(decibels)) < 5 * 12 / math.sqrt(12 * 400)


def test_time_roll_is_circular_whole_and_uniform():
    """A quarter of 20 frames: shifts of -5 to 5, the same for all segments and bins, each about as often."""
    log_mel = np.random.default_rng(0).normal(size=(2, 3, 20)).astype(np.float32)
    counts = dict.fromkeys(range(-5, 6), 0)
    for seed in range(550):
        rolled = augment.random_time_roll(tf.constant(log_mel), tf.constant([seed, 1]), 0.25).numpy()
        (shift,) = [s for s in counts if (np.roll(log_mel, s, -1) == rolled).all()]
        counts[shift] += 1
    assert min(counts.values()) > 50 - 5 * math.sqrt(50) and max(counts.values()) < 50 + 5 * math.sqrt(50)


def test_mixup_weights_are_those_of_a_beta_distribution():
    """Beta(1, 1) is uniform, so its larger side is uniform in 0.5 to 1; a small alpha leaves most clips alone."""
    uniform = [float(augment.mixup_weight(tf.constant([seed, 1]), 1.0)) for seed in range(400)]
    assert min(uniform) >= 0.5 and max(uniform) <= 1.0
    assert np.mean(uniform) == pytest.approx(0.75, abs=5 * 0.5 / math.sqrt(12 * 400))
    small = [float(augment.mixup_weight(tf.constant([seed, 1]), 0.02)) for seed in range(200)]
    assert min(small) >= 0.5 and np.mean(np.array(small) > 0.99) > 0.8

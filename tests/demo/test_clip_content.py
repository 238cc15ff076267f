"""Picture and sound of the demo's clips before they are encoded."""

from __future__ import annotations

import numpy as np
import pytest

from pemt_tf.demo.handwriting import handwritten_digits, moving_digit
from pemt_tf.demo.keypad import TONE_PAIRS, key_sound


def ink_difference(ink: np.ndarray, width: int, height: int, seed: int) -> np.ndarray:
    """How far the digit changes the picture: the same random clip with the digit and with an empty sheet."""
    shown = moving_digit(ink, 40, 15.0, width, height, np.random.default_rng(seed))
    empty = moving_digit(np.zeros((8, 8)), 40, 15.0, width, height, np.random.default_rng(seed))
    return np.abs(shown.astype(int) - empty.astype(int)).mean(-1)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (128, 72), (72, 96)])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_digit_moves_within_the_central_square(width, height, seed):
    difference = ink_difference(handwritten_digits()[0][11], width, height, seed) > 12
    short = min(width, height)
    assert difference.any((1, 2)).all(), "the digit is on every frame"
    rows, columns = np.flatnonzero(difference.any((0, 2))), np.flatnonzero(difference.any((0, 1)))
    assert columns[0] >= (width - short) / 2 - 2 and columns[-1] <= (width + short) / 2 + 2
    assert rows[0] >= (height - short) / 2 - 2 and rows[-1] <= (height + short) / 2 + 2
    heights = [np.ptp(np.flatnonzero(frame.any(1))) for frame in difference]
    assert 0.3 * short <= np.median(heights) <= 0.8 * short
    middles = [np.argwhere(frame).mean(0) for frame in difference]
    assert np.ptp(middles, 0).max() > 3, "it moves"


def likeness(picture: np.ndarray, ink: np.ndarray) -> float:
    """Correlation of a picture, cut to what is drawn on it, with handwriting that is cut likewise."""
    for axis in (0, 1):
        picture = picture.compress(picture.max(1 - axis) > 12, axis)
        ink = ink.compress(ink.max(1 - axis) > 0.2, axis)
    rows, columns = (((np.arange(ink.shape[axis]) + 0.5) * picture.shape[axis] / ink.shape[axis]) for axis in (0, 1))
    return np.corrcoef(picture[np.ix_(rows.astype(int), columns.astype(int))].ravel(), ink.ravel())[0, 1]


@pytest.mark.parametrize("digit", range(10))
def test_picture_is_the_handwriting_it_was_given(digit):
    images, digits = handwritten_digits()
    assert digits[digit] == digit  # the first ten images are the ten digits
    picture = ink_difference(images[digit], 96, 96, seed=5)[0]
    assert np.argmax([likeness(picture, ink) for ink in images[:10]]) == digit


def test_speed_does_not_depend_on_the_frame_rate():
    ink = handwritten_digits()[0][4]
    slow = moving_digit(ink, 21, 10.0, 64, 64, np.random.default_rng(3)).astype(int)
    fast = moving_digit(ink, 41, 20.0, 64, 64, np.random.default_rng(3)).astype(int)
    assert np.abs(slow - fast[::2]).mean() < 8  # only the noise of the frames differs


def test_tone_pairs_are_the_telephone_keypad():
    assert TONE_PAIRS == (
        (941, 1336),
        (697, 1209),
        (697, 1336),
        (697, 1477),
        (770, 1209),
        (770, 1336),
        (770, 1477),
        (852, 1209),
        (852, 1336),
        (852, 1477),
    )


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("sample_rate", [16_000, 22_050, 48_000])
def test_sound_has_its_length_and_never_clips(sample_rate, channels):
    for seed in range(6):
        sound = key_sound(seed, 2.5, sample_rate, channels, np.random.default_rng(seed))
        assert sound.shape == (channels, round(2.5 * sample_rate)) and sound.dtype == np.float32
        assert 0.005 < np.abs(sound).max() <= 0.98
    if channels == 2:
        assert not np.array_equal(sound[0], sound[1])


def test_loudness_tells_nothing_about_the_digit():
    levels = np.array(
        [[key_sound(d, 2.0, 16_000, 1, np.random.default_rng([s, d])).std() for s in range(80)] for d in range(10)]
    )
    decibels = 20 * np.log10(levels)
    assert decibels.std() > 0.8  # it varies from clip to clip, although the takes of a clip even out
    assert np.ptp(decibels.mean(1)) < 5 * decibels.std() / np.sqrt(80)

"""Sampling: literal cases, and properties against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pemt_tf.config import ClipGeometry
from pemt_tf.media.clip_range import frame_moments, uniform_segments
from pemt_tf.media.frames import FramePicker
from pemt_tf.media.packet_index import packets_to_decode


def geometry(segments=4, frames=4, rate=8.0):
    return ClipGeometry(
        segments=segments,
        frames_per_segment=frames,
        frame_rate=rate,
        sample_rate=16_000,
        samples_per_segment=round(16_000 * frames / rate),
    )


def test_segments_reach_from_start_to_end():
    # 10.5 s with segments of 0.5 s: 10 s are free, in three steps.
    np.testing.assert_allclose(uniform_segments(2.0, 12.5, geometry()), [2.0, 2 + 10 / 3, 2 + 20 / 3, 12.0])


def test_one_segment_starts_at_the_start():
    np.testing.assert_allclose(uniform_segments(1.0, 9.0, geometry(segments=1)), [1.0])


def test_short_clip_repeats_its_start():
    np.testing.assert_allclose(uniform_segments(1.0, 1.25, geometry()), [1.0, 1.0, 1.0, 1.0])


def test_released_geometry_of_a_ten_second_clip():
    # docs/reference_model.md section 12: segments of 64/30 s; (10 - 64/30) / 9 = 0.874074 s apart.
    starts = uniform_segments(0.0, 10.0, ClipGeometry())
    assert len(starts) == 10
    np.testing.assert_allclose(np.diff(starts), 0.8740740740740741)


@given(st.floats(0, 1e4), st.floats(0.5, 1e4), st.integers(1, 30))
def test_segments_stay_inside_the_clip(start, length, count):
    starts = uniform_segments(start, start + length, geometry(segments=count))
    assert starts.shape == (count,)
    assert starts[0] == start
    assert np.all(np.diff(starts) >= 0)
    assert starts[-1] + 0.5 <= start + length + 1e-6


def test_frame_moments():
    moments = frame_moments(np.array([1.0, 3.0]), geometry(segments=2))
    np.testing.assert_allclose(moments, [[1.0, 1.125, 1.25, 1.375], [3.0, 3.125, 3.25, 3.375]])


def pick_all(times, moments):
    picker = FramePicker(np.asarray(moments))
    seen = {}
    for number, time in enumerate(times):
        for _, picture, shown in picker.push(time, number):
            seen.update(dict.fromkeys(shown, picture))
    for _, picture, shown in picker.finish():
        seen.update(dict.fromkeys(shown, picture))
    assert picker.finished
    return [seen[index] for index in range(len(moments))]


def test_picker_takes_the_frame_that_is_shown():
    # 10 pictures a second; at 0.05 s the first is still shown, at 0.1 s the second has just come.
    assert pick_all([0.0, 0.1, 0.2], [0.0, 0.05, 0.1, 0.19, 0.2, 5.0]) == [0, 0, 1, 1, 2, 2]


def test_picker_forgives_millisecond_clocks():
    # 15/s stored in milliseconds: 1/15 s = 66.67 ms is stored as 67 ms.
    assert pick_all([0.0, 0.067, 0.133, 0.2], [0, 1 / 15, 2 / 15, 3 / 15]) == [0, 1, 2, 3]


def test_picker_gives_the_first_frame_to_earlier_moments():
    assert pick_all([0.08, 0.12], [0.0, 0.04, 0.08, 0.12]) == [0, 0, 0, 1]


stamps = st.lists(st.integers(0, 2000), min_size=1, max_size=60, unique=True).map(sorted)


@given(stamps, st.lists(st.integers(-50, 2500), min_size=1, max_size=60).map(sorted))
def test_picker_agrees_with_brute_force(times, moments):
    # Multiples of 10 ms: far from the tolerance of 1 ms.
    times, moments = [time / 100 for time in times], [moment / 100 for moment in moments]
    expected = [max([i for i, time in enumerate(times) if time <= moment + 1e-6], default=0) for moment in moments]
    assert pick_all(times, moments) == expected


def test_decoding_begins_at_keyframes_and_skips_far_groups():
    times = np.arange(400) / 100.0
    keyframes = np.arange(400) % 100 == 0
    needed = packets_to_decode(times, keyframes, [0.05, 3.5])
    # From the keyframe to the wanted picture; nothing after it.
    assert np.flatnonzero(needed).tolist() == [*range(0, 6), *range(300, 351)]


def test_short_gaps_are_decoded():
    times = np.arange(100) / 100.0
    keyframes = np.arange(100) % 10 == 0
    needed = packets_to_decode(times, keyframes, [0.05, 0.45, 0.99])
    assert np.flatnonzero(needed).tolist() == list(range(100))  # gaps of 30 and 40 packets


def test_open_group_needs_the_group_after_it():
    # Stored order I0 P3 B1 B2 | I6 B4 B5: the pictures of 4 and 5 are stored after the keyframe of 6.
    times = np.array([0.0, 3.0, 1.0, 2.0, 6.0, 4.0, 5.0])
    keyframes = np.array([True, False, False, False, True, False, False])
    assert packets_to_decode(times, keyframes, [4.5], shortest_skip=1).tolist() == [True] * 6 + [False]
    assert packets_to_decode(times, keyframes, [6.5], shortest_skip=1).tolist() == [False] * 4 + [True] * 3


@pytest.mark.parametrize("keyframes", [[True] * 3, [False] * 3])
def test_unknown_times_or_no_keyframes_mean_all(keyframes):
    times = np.array([0.0, np.nan, 2.0]) if keyframes[0] else np.arange(3.0)
    assert packets_to_decode(times, np.array(keyframes), [0.0]).all()


@settings(max_examples=200)
@given(st.data())
def test_everything_from_the_keyframe_to_the_wanted_frame_is_decoded(data):
    count = data.draw(st.integers(1, 80))
    keyframes = np.array([True, *data.draw(st.lists(st.booleans(), min_size=count - 1, max_size=count - 1))])
    times = np.arange(count) / 10.0
    moments = data.draw(st.lists(st.integers(0, count * 10), min_size=1, max_size=5).map(sorted))
    needed = packets_to_decode(times, keyframes, [moment / 100 for moment in moments], shortest_skip=5)
    for moment in moments:
        shown = min(moment // 10, count - 1)
        head = max(index for index in range(shown + 1) if keyframes[index])
        assert needed[head : shown + 1].all()

"""Parts of a data set's report: choice of clips, borders of columns, the reader of records."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.report.clips import read_features
from beam_jobs.report.index import chosen_places, shared_out
from beam_jobs.report.quantities import MOST_COLUMNS, round_edges
from pemt_tf.data import records

COUNTS = st.dictionaries(
    st.tuples(st.sampled_from(["train", "validation", "test"]), st.sampled_from([None, *"abcdefghij"])),
    st.integers(1, 50),
)


@given(COUNTS, st.integers(1, 30))
def test_chosen_clips_exist_and_are_spread(groups, most):
    places = chosen_places(groups, most)
    assert sum(map(len, places.values())) == min(most, sum(groups.values()))
    for group, chosen in places.items():
        assert len(chosen) == len(set(chosen)) and chosen == sorted(chosen)
        assert chosen[0] >= 0 and chosen[-1] < groups[group]
    for split in {split for split, _ in groups}:
        shown = sum(len(chosen) for (one, _), chosen in places.items() if one == split)
        there = sum(count for (one, _), count in groups.items() if one == split)
        others = [sum(len(c) for (one, _), c in places.items() if one == other) for other in ("train", "validation")]
        assert shown == there or shown >= max(others) - 1  # no split is short while another has more


def test_sharing_out():
    assert shared_out(24, [100, 100, 100]) == [8, 8, 8]
    assert shared_out(24, [100, 3, 1]) == [20, 3, 1]
    assert shared_out(5, [2, 2]) == [2, 2]
    assert shared_out(2, [5, 5, 5]) == [1, 1, 0]
    assert shared_out(3, []) == []


def test_places_are_in_the_middle_of_equal_parts():
    assert chosen_places({("train", "cat"): 100}, 4) == {("train", "cat"): [12, 37, 62, 87]}
    assert list(chosen_places({("test", None): 1, ("test", "b"): 1, ("test", "a"): 1}, 3)) == [
        ("test", "a"), ("test", "b"), ("test", None),
    ]  # fmt: skip


@given(st.floats(-1e6, 1e9), st.floats(0, 1e9), st.sampled_from([0.1, 1, 10]))
def test_columns_cover_all_values(low, span, smallest):
    low, high = round(low, 6), round(low + span, 6)
    edges = round_edges(low, high, smallest)
    assert 1 <= len(edges) - 1 <= MOST_COLUMNS
    assert np.all(np.diff(edges) > 0)
    assert edges[0] <= low + 1e-6 and high < edges[-1] + 1e-6


@pytest.mark.parametrize(
    ("low", "high", "smallest", "expected"),
    [
        (5.0, 5.0, 0.1, (5.0, 5.1)),
        (0.7, 0.7, 0.1, (0.7, 0.8)),
        (24.0, 30.0, 1, (24, 25, 26, 27, 28, 29, 30, 31)),
        (-3.0, 1.0, 1, (-3, -2, -1, 0, 1, 2)),
        (0.0, 100.0, 1, tuple(range(0, 106, 5))),
        (0.9, 120.0, 0.1, (0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150)),
    ],
)
def test_borders_are_round(low, high, smallest, expected):
    assert round_edges(low, high, smallest) == pytest.approx(expected)


@pytest.mark.parametrize("payload", records.PAYLOADS)
@pytest.mark.parametrize(("video", "audio"), [(True, True), (False, True), (True, False), (False, False)])
def test_records_are_read_as_tensorflow_reads_them(small_config, payload, video, audio):
    geometry = small_config.geometry
    clip = records.get_fake_clip(geometry, seed=3, label=300, video=video, audio=audio)
    record = records.serialize(clip, geometry, payload)
    parsed = records.parse(tf.constant(record), geometry, payload)
    features = read_features(record)
    assert (records.IMAGE in features) == bool(parsed["has_video"]) == video
    log_mel = [value for name, value in features.items() if isinstance(value, np.ndarray)]
    assert len(log_mel) == int(audio)
    if video:
        assert features[records.IMAGE] == parsed["jpegs"].numpy().tolist()
        assert features[records.IMAGE_TIMESTAMP] == [records.microseconds(time) for time in clip.image_times]
    if audio:
        assert np.array_equal(log_mel[0], parsed["log_mel"].numpy().ravel())


def test_other_bytes_are_refused():
    with pytest.raises(ValueError, match="not in the form"):
        read_features(b"\x0a\x05ab")
    with pytest.raises(ValueError, match="ends within"):
        read_features(b"\x0a\x80")

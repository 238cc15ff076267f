"""A record gives back the clip that it was made of."""

import dataclasses

import numpy as np
import pytest

from pemt_tf.config import Config
from pemt_tf.data.clip_reader import read_clip
from pemt_tf.data.record_format import PAYLOADS, serialize
from tests.fake_records import plain_clip

GEOMETRY = Config.from_preset("tiny").geometry


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize(("video", "audio"), [(True, True), (True, False), (False, True), (False, False)])
def test_a_clip_comes_back(payload, video, audio):
    clip = plain_clip(
        GEOMETRY,
        3,
        video=video,
        audio=audio,
        clip_id="ünï",
        start=-0.25,
        end=1234567.654321,
        labels=("dog", "größer"),
        label_indices=(200, 0),
        extra=(("Author", "x" * 300), ("scene", "")),
        waveform=np.full((GEOMETRY.segments, GEOMETRY.samples_per_segment), 0.1, np.float32) if audio else None,
    )
    found = read_clip(serialize(clip, GEOMETRY, payload), GEOMETRY, payload)
    for field in dataclasses.fields(clip):
        one, other = getattr(found, field.name), getattr(clip, field.name)
        if isinstance(other, np.ndarray):
            np.testing.assert_array_equal(one, other, strict=True)
        else:
            assert one == other, field.name


def test_what_a_clip_cannot_hold_is_refused_and_not_lost():
    record = serialize(plain_clip(GEOMETRY, 0), GEOMETRY)
    assert record.count(b"image/width") == 1
    with pytest.raises(ValueError, match="feature 'image/widtH', which is not one of a clip"):
        read_clip(record.replace(b"image/width", b"image/widtH"), GEOMETRY)
    for other in (b"", b"something else", record[:-5]):
        with pytest.raises(ValueError):
            read_clip(other, GEOMETRY)

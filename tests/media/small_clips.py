"""What the decoding tests share: a small geometry, how to read its clips, and a plain decode to compare with."""

import av
import simplejpeg

from pemt_tf.config import ClipGeometry
from tests import media_files as media

GEOMETRY = ClipGeometry(
    segments=3,
    frames_per_segment=5,
    frame_rate=10,
    stored_short_side=48,
    train_crop=40,
    train_scale=(40, 48),
    test_crop=40,
    sample_rate=16_000,
    samples_per_segment=8_000,
)


def pictures(clip):
    return [simplejpeg.decode_jpeg(jpeg) for jpeg in clip.jpegs]


def numbers(clip):
    return [media.read_number(picture) for picture in pictures(clip)]


def plain_decode(path):
    """Timestamps (seconds from the container's start) and numbers of all pictures, by PyAV alone."""
    with av.open(str(path)) as container:
        base = (container.start_time or 0) / 1e6
        frames = [
            (frame.time - base, media.read_number(frame.to_ndarray(format="rgb24")))
            for frame in container.decode(video=0)
        ]
    return sorted(frames)


def wanted_moments(start, end):
    """The uniform plan, restated: 3 segments of 0.5 s, 5 frames 0.1 s apart."""
    step = (end - start - 0.5) / 2
    return [start + segment * step + frame / 10 for segment in range(3) for frame in range(5)]


def expected_numbers(frames, moments):
    return [max([frame for frame in frames if frame[0] <= moment + 1e-3], default=frames[0])[1] for moment in moments]

"""Sound of eight channels: PyAV miscounts the planes of such frames, and crashes where they are read as an array."""

from fractions import Fraction

import av
import numpy as np

from pemt_tf.media.waveform import mono

RATE = 48_000


def write_seven_one(path, levels):
    """One second of AAC in 7.1, a tone in each channel."""
    tones = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)[:, None] * np.asarray(levels)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=RATE, layout="7.1")
        stream.bit_rate = 512_000
        resampler = av.AudioResampler("fltp", "7.1", RATE, 1024)
        frame = av.AudioFrame.from_ndarray(tones.astype(np.float32).reshape(1, -1), format="flt", layout="7.1")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path


def test_eight_channels_are_averaged(tmp_path):
    levels = [0.4, 0.3, 0.2, 0.0, 0.1, 0.1, 0.3, 0.2]
    with av.open(str(write_seven_one(tmp_path / "seven_one.mp4", levels))) as container:
        frames = list(container.decode(audio=0))
    assert frames[0].layout.nb_channels == 8 and frames[0].format.is_planar
    heard = np.concatenate([mono(frame) for frame in frames])[RATE // 4 : RATE // 2]
    assert abs(np.abs(heard).max() - np.mean(levels)) < 0.02

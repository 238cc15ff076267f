"""Sound: level, pitch and place of every sample."""

from fractions import Fraction

import av
import numpy as np
import pytest

from pemt_tf.media.clip_decoder import decode_clip
from tests import media_files as media
from tests.media.small_clips import GEOMETRY


@pytest.mark.parametrize(("rate", "layout"), [(8_000, "mono"), (16_000, "stereo"), (44_100, "5.1"), (96_000, "stereo")])
def test_tone_is_resampled_in_place(tmp_path, rate, layout):
    """Against the formula of the tone: amplitude, frequency and phase."""
    path = media.write_video(tmp_path / "a.mov", tone=media.sine(440, 0.5), sample_rate=rate, layout=layout, seconds=2)
    clip = decode_clip(str(path), GEOMETRY)
    moments = np.array([0.0, 0.75, 1.5])[:, None] + np.arange(8_000) / 16_000
    expected = 0.5 * np.sin(2 * np.pi * 440 * moments)
    assert np.abs(clip.waveform - expected)[:, 100:-100].max() < 0.01


def test_channels_are_averaged(tmp_path):
    path = tmp_path / "a.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="stereo")
        samples = np.stack([np.full(16_000, 0.5, np.float32), np.full(16_000, -0.25, np.float32)])
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 16_000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    clip = decode_clip(str(path), GEOMETRY)
    np.testing.assert_allclose(clip.waveform, 0.125, atol=1e-4)
    assert clip.jpegs is None and clip.image_times == [] and (clip.height, clip.width) == (0, 0)


def test_gap_in_the_sound_stays_a_gap(tmp_path):
    """Half a second of silence that exists only in the timestamps."""
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for second, start in ((0, 0), (1, 16_000), (2, 40_000)):  # the third one starts at 2.5 s
            for position in range(0, 16_000, 1_000):
                samples = np.full((1, 1_000), 0.25 * (second + 1), np.float32)
                frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
                frame.sample_rate, frame.time_base, frame.pts = 16_000, Fraction(1, 16_000), start + position
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    clip = decode_clip(str(path), GEOMETRY, start=1.75, end=2.75)
    first, last = clip.waveform[0], clip.waveform[2]  # 1.75 to 2.25 s and 2.25 to 2.75 s
    np.testing.assert_allclose(first[:3_900], 0.5, atol=1e-3)
    np.testing.assert_allclose(first[4_100:], 0.0, atol=1e-3)
    np.testing.assert_allclose(last[:3_900], 0.0, atol=1e-3)
    np.testing.assert_allclose(last[4_100:], 0.75, atol=1e-3)
    assert any("audio covers" in note for note in clip.notes)


def test_short_sound_is_zeros_and_a_note(tmp_path):
    path = media.write_video(tmp_path / "a.mp4", seconds=4, audio_seconds=2)
    clip = decode_clip(str(path), GEOMETRY)
    assert np.abs(clip.waveform[0]).max() > 0.4
    assert np.abs(clip.waveform[2]).max() == 0.0  # 3.5 to 4 s
    # Sound during 0-0.5 and 1.75-2 of the segments 0-0.5, 1.75-2.25, 3.5-4: half of 1.5 s (AAC may end a block later).
    percent = int(next(note for note in clip.notes if "audio covers" in note).split()[2])
    assert 49 <= percent <= 53


def plain_sound(path):
    """Start (seconds from the container's) and samples of all sound, by PyAV alone: mean over channels, own rate."""
    with av.open(str(path)) as container:
        base, pieces, start, rate = (container.start_time or 0) / 1e6, [], None, 0
        for frame in container.decode(audio=0):
            start, rate = frame.time - base if start is None else start, frame.sample_rate
            values = frame.to_ndarray()
            if not frame.format.is_planar:
                values = values.reshape(-1, frame.layout.nb_channels).T
            middle, full = {"u": (128, 128), "i": (0, 2**15), "f": (0, 1)}[values.dtype.kind]
            pieces.append((values.astype(np.float64).mean(axis=0) - middle) / full)
    return start, rate, np.concatenate(pieces)


@pytest.mark.parametrize(
    ("suffix", "codec", "layout", "rate"),
    [
        (".mp4", "aac", "5.1", 48_000),
        (".mp4", "aac", "mono", 8_000),
        (".mkv", "libopus", "stereo", 48_000),
        (".mkv", "flac", "stereo", 96_000),
        (".avi", "libmp3lame", "stereo", 44_100),
        (".mpg", "mp2", "stereo", 32_000),
        (".mov", "pcm_u8", "mono", 11_025),
    ],
)
def test_codecs_layouts_and_rates_against_a_plain_decode(tmp_path, suffix, codec, layout, rate):
    """A rising tone, low enough that straight lines between samples are good enough an expectation."""
    path = media.write_video(
        tmp_path / f"a{suffix}",
        audio_codec=codec,
        layout=layout,
        sample_rate=rate,
        tone=lambda moments: 0.4 * np.sin(2 * np.pi * (200 + 150 * moments) * moments),
        audio_start=0.3,
        seconds=3,
    )
    start, found_rate, samples = plain_sound(path)
    assert found_rate == rate
    clip = decode_clip(str(path), GEOMETRY, start=0.0, end=2.5)
    moments = np.array([0.0, 1.0, 2.0])[:, None] + np.arange(8_000) / 16_000
    expected = np.interp(moments, start + np.arange(len(samples)) / rate, samples, left=0.0)
    inside = (moments > start + 0.01) & (moments < start + (len(samples) - 2) / rate - 0.01)
    assert inside.mean() > 0.7
    assert np.abs(clip.waveform - expected)[inside].max() < 0.03
    assert np.abs(clip.waveform[moments < start - 0.01]).max(initial=0.0) < 0.01


def test_where_decoding_begins_makes_no_difference(tmp_path):
    """44.1 kHz to 16 kHz: the new samples lie on one grid, whatever the first old one is."""
    noise = np.random.default_rng(0).normal(0, 0.1, 441_000)
    path = media.write_video(
        tmp_path / "a.mov",
        seconds=10,
        sample_rate=44_100,
        tone=lambda moments: noise[np.rint(moments * 44_100).astype(int)],
    )
    whole = decode_clip(str(path), GEOMETRY, start=0.0, end=7.0)
    part = decode_clip(str(path), GEOMETRY, start=6.5, end=7.0)
    assert np.abs(whole.waveform[2] - part.waveform[0])[20:].max() < 1e-4

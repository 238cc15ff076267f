"""Sound whose timestamps jitter, stall or drift: it is as continuous as its samples are, and real gaps stay gaps.

The expectation is a plain decode by PyAV: all samples of the file, one after the other.
"""

from pathlib import Path

import av
import numpy as np
import pytest

from pemt_tf.config import ClipGeometry
from pemt_tf.media.audio_clock import follow, place
from pemt_tf.media.clip_decoder import decode_clip, decode_windows
from tests import media_files as media
from tests.media.small_clips import GEOMETRY

ODD_MEDIA = Path(__file__).parents[3] / "shared" / "odd_media"
FRAME = 1024 / 48_000  # seconds
UNTOLD = np.nan


def long_segments(rate, seconds):
    """One segment as long as the clip, at the file's own rate: nothing is resampled."""
    return ClipGeometry(
        segments=1,
        frames_per_segment=5,
        frame_rate=5 / seconds,
        stored_short_side=48,
        train_crop=40,
        train_scale=(40, 48),
        test_crop=40,
        sample_rate=rate,
        samples_per_segment=round(rate * seconds),
    )


def plain_samples(path):
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].rate
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    channels = max(len(frame) for frame in frames)
    return rate, np.concatenate([frame.mean(axis=0) if channels > 1 else frame[0] for frame in frames])


def signal_to_noise(path, seconds, most_lag=0.1):
    """dB of our sound against all samples of the file, at the best lag of at most `most_lag` seconds."""
    rate, plain = plain_samples(path)
    ours = decode_clip(str(path), long_segments(rate, seconds), start=0.0, end=seconds).waveform[0].astype(np.float64)
    size = 1 << (len(ours) + len(plain)).bit_length()
    match = np.fft.irfft(np.fft.rfft(ours, size) * np.conj(np.fft.rfft(plain, size)), size)
    lags = np.arange(-round(most_lag * rate), round(most_lag * rate))
    lag = lags[match[lags].argmax()]
    first, after = max(lag, 0), min(len(ours), len(plain) + lag)
    expected, found = plain[first - lag : after - lag], ours[first:after]
    assert len(expected) > 0.95 * len(ours)
    return 10 * np.log10((expected**2).sum() / max(((found - expected) ** 2).sum(), 1e-20))


def with_times(path, target, change):
    """A copy whose packets of sound have the times `change(seconds, number)`."""
    with av.open(str(path)) as source, av.open(str(target), "w") as container:
        streams = {stream.index: container.add_stream_from_template(stream) for stream in source.streams}
        number, latest = 0, -(10**9)
        for packet in source.demux():
            if packet.size == 0:
                continue
            if packet.stream.type == "audio":
                moment = change(float(packet.pts * packet.time_base), number)
                latest = max(round(moment / packet.time_base), latest + 1)
                packet.pts = packet.dts = latest
                number += 1
            packet.stream = streams[packet.stream_index]
            container.mux(packet)
    return target


def noise(moments):
    return np.random.default_rng(round(float(moments[0]) * 1e6)).normal(0, 0.1, len(moments))


def jitter(most):
    return lambda seconds, number: seconds + most * np.random.default_rng(number).uniform(-1, 1) * (number > 0)


@pytest.mark.parametrize(
    ("suffix", "codec", "rate", "change"),
    [
        (".mkv", "aac", 48_000, jitter(0.012)),
        (".webm", "libopus", 48_000, jitter(0.015)),
        (".mkv", "libmp3lame", 44_100, jitter(0.04)),
        (".mkv", "ac3", 48_000, lambda seconds, number: seconds + 0.02 * (number % 7 == 3)),
        (".ts", "aac", 48_000, lambda seconds, _: seconds + 0.04 * np.sin(2 * seconds)),
        (".mkv", "aac", 44_100, lambda seconds, number: seconds + 0.4 * (number == 50)),
    ],
)
def test_jitter_is_no_gap(tmp_path, suffix, codec, rate, change):
    path = media.write_video(
        tmp_path / f"a{suffix}",
        video_codec=None,
        audio_codec=codec,
        sample_rate=rate,
        tone=noise,
        seconds=4,
    )
    jittered = with_times(path, tmp_path / f"b{suffix}", change)
    assert signal_to_noise(path, 3.9) > 60
    assert signal_to_noise(jittered, 3.9) > 60
    assert not decode_clip(str(jittered), GEOMETRY, end=3.5).notes


@pytest.mark.skipif(not ODD_MEDIA.exists(), reason=f"no {ODD_MEDIA}")
@pytest.mark.parametrize("name", ["vorbis_clicks.ogg", "wma_clicks.wma", "aac_jitter12.mkv", "opus_jitter15.webm"])
def test_files_that_had_clicks(name):
    assert signal_to_noise(ODD_MEDIA / name, 3.9) > 60


@pytest.mark.parametrize("speed", [10.0, 1.08, 0.7, 0.1])
@pytest.mark.parametrize("video_codec", ["mpeg4", None])
def test_avi_whose_sound_is_said_to_be_of_another_speed(tmp_path, speed, video_codec):
    """1.4 s of continuous MP3; at ten times the speed all of its timestamps lie within 0.14 s."""
    path = media.write_video(
        tmp_path / "a.avi", video_codec=video_codec, seconds=1.44, tone=noise, sample_rate=44_100, size=(64, 48)
    )
    data = bytearray(path.read_bytes())
    place_of_rate = data.index(b"auds") + 24  # the stream's header: ticks a second
    rate = int.from_bytes(data[place_of_rate : place_of_rate + 4], "little")
    data[place_of_rate : place_of_rate + 4] = round(speed * rate).to_bytes(4, "little")
    path.write_bytes(data)
    assert signal_to_noise(path, 1.4) > 60
    assert decode_clip(str(path), GEOMETRY).end == pytest.approx(1.44, abs=0.05)


def test_a_gap_amid_jitter_stays_where_it_is(tmp_path):
    path = media.write_video(tmp_path / "a.mkv", seconds=5, audio_codec="aac", tone=media.sine(440, 0.5))
    change = jitter(0.012)
    gap = with_times(path, tmp_path / "b.mkv", lambda seconds, number: change(seconds, number) + 0.3 * (seconds >= 2))
    wave = decode_clip(str(gap), long_segments(48_000, 5.0), start=0.0, end=5.0).waveform[0]
    silent = np.flatnonzero(np.abs(wave[48_000:192_000]).reshape(-1, 480).max(axis=1) < 0.05) / 100 + 1.0
    assert len(silent) == pytest.approx(30, abs=2)  # hundredths of a second
    assert silent[0] == pytest.approx(2.0, abs=0.04) and silent[-1] == pytest.approx(2.29, abs=0.04)
    assert np.ptp(silent) == pytest.approx(0.29, abs=0.02)  # in one piece


def test_windows_of_jittering_sound_equal_the_whole(tmp_path):
    path = media.write_video(tmp_path / "a.webm", seconds=8, tone=noise, video_codec="libvpx")
    path = str(with_times(path, tmp_path / "b.webm", jitter(0.015)))
    whole = decode_clip(path, long_segments(16_000, 8.0), start=0.0, end=8.0).waveform[0]
    for window in decode_windows(path, GEOMETRY, 1.0, 1.5, start=0.0):
        first = round(window.start * 16_000)
        expected = np.stack([whole[first + offset :][:8_000] for offset in (0, 4_000, 8_000)])
        assert np.abs(window.waveform - expected).max() < 1e-4
    alone = decode_clip(path, GEOMETRY, start=6.0, end=7.0).waveform
    assert np.abs(alone - np.stack([whole[96_000 + offset :][:8_000] for offset in (0, 4_000, 8_000)])).max() < 1e-4


def frames(seconds):
    lengths = np.full(round(seconds / FRAME), FRAME)
    return lengths, np.cumsum(lengths) - lengths


def gaps(placed, lengths):
    return np.diff(placed) - lengths[:-1]


@pytest.mark.parametrize("share", [0.001, -0.001])
@pytest.mark.parametrize("most", [0.0, 0.015])
def test_slow_drift_is_followed(share, most):
    """Timestamps that are a thousandth fast or slow: 3.6 s in an hour."""
    lengths, counted = frames(3600)
    times = counted * (1 + share) + most * np.random.default_rng(0).uniform(-1, 1, len(counted))
    placed = place(times, lengths)
    assert np.abs(placed - counted * (1 + share)).max() < (0.011 if most == 0 else 0.12)
    assert np.count_nonzero(np.abs(gaps(placed, lengths)) > 1e-9) < 400


def test_exact_timestamps_are_followed():
    """Rounded to milliseconds, with gaps of 50 ms to 2 s, bursts of 0.2 s between them, and a start that is late."""
    lengths, counted = frames(60)
    times = counted + 0.7
    for first, gap in ((300, 0.05), (900, 2.0), (909, 0.5), (918, 0.12), (2700, 0.3)):
        times[first:] += gap
    times = times.round(3)
    placed = place(times, lengths)
    np.testing.assert_allclose(placed, times, atol=0.0011)
    np.testing.assert_allclose(placed, follow(times, lengths), atol=1e-9)
    assert np.flatnonzero(gaps(placed, lengths) > 1e-6).tolist() == [299, 899, 908, 917, 2699]


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("an outlier", lambda counted: counted + 3.0 * (np.arange(len(counted)) == 700)),
        ("ahead for 3 s", lambda counted: counted + 0.5 * ((counted > 20) & (counted < 23))),
        ("stalled for 5 s", lambda counted: np.where((counted > 20) & (counted < 25), 20.0, counted)),
        ("stalled for good", lambda counted: np.minimum(counted, 5.0)),
        ("all the same", lambda counted: np.zeros(len(counted))),
        ("told once", lambda counted: np.where(np.arange(len(counted)) == 0, 0.0, UNTOLD)),
        ("not told at all", lambda counted: np.full(len(counted), UNTOLD)),
    ],
)
def test_what_does_not_stay_is_no_gap(name, times):
    lengths, counted = frames(60)
    np.testing.assert_allclose(place(times(counted), lengths), counted, atol=1e-9, err_msg=name)


def test_a_step_back_that_stays_is_followed():
    lengths, counted = frames(60)
    times = counted - 0.3 * (np.arange(len(counted)) >= 1000)
    np.testing.assert_allclose(place(times, lengths), times, atol=1e-9)


def test_nothing_is_placed_nowhere():
    assert len(place(np.zeros(0), np.zeros(0))) == 0

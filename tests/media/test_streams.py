"""Which of several streams is decoded, and how much of a long file is read."""

import io

import av
import numpy as np
import pytest

from pemt_tf.media.clip_decoder import DecodeSettings, MediaError, decode_clip
from tests import media_files as media
from tests.media.small_clips import GEOMETRY, numbers


def from_number(first):
    return lambda number, height, width: media.numbered_picture(first + number, height, width)


def pitch(clip):
    """The strongest frequency, Hz."""
    spectrum = np.abs(np.fft.rfft(clip.waveform[0] * np.hanning(len(clip.waveform[0]))))
    return np.argmax(spectrum) * 16_000 / len(clip.waveform[0])


@pytest.mark.parametrize("default", [0, 1])
@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
def test_the_default_stream_or_the_one_asked_for(tmp_path, suffix, default):
    path = str(
        media.write_streams(
            tmp_path / f"a{suffix}", [from_number(0), from_number(1000)], [media.sine(440), media.sine(1000)], default
        )
    )
    clip = decode_clip(path, GEOMETRY)
    assert numbers(clip)[0] == 1000 * default
    assert pitch(clip) == pytest.approx((440, 1000)[default], abs=2)
    for video, audio in ((0, 1), (1, 0)):
        chosen = decode_clip(path, GEOMETRY, settings=DecodeSettings(video_stream=video, audio_stream=audio))
        assert numbers(chosen)[0] == 1000 * video
        assert pitch(chosen) == pytest.approx((440, 1000)[audio], abs=2)


def test_a_stream_that_does_not_exist(tmp_path):
    path = str(media.write_video(tmp_path / "a.mp4"))
    with pytest.raises(MediaError, match="no_streams: audio stream 1 was asked for, counted from 0; the file has 1"):
        decode_clip(path, GEOMETRY, settings=DecodeSettings(audio_stream=1))
    with pytest.raises(MediaError, match="no_streams: video stream 3 was asked for"):
        decode_clip(path, GEOMETRY, settings=DecodeSettings(video_stream=3))
    # A file without sound at all is a file without sound, whatever was asked for.
    mute = str(media.write_video(tmp_path / "b.mp4", audio_codec=None))
    assert decode_clip(mute, GEOMETRY, settings=DecodeSettings(audio_stream=1)).waveform is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"video_stream": -1}, "video_stream is -1"), ({"jpeg_quality": 0}, "jpeg_quality is 0; it goes from 1 to 100")],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        DecodeSettings(**settings)


def test_quality_of_the_jpegs(tmp_path):
    def ramps(number, height, width):
        rows, columns = np.mgrid[0:height, 0:width]
        return np.stack([(rows * 7 + columns * 5) % 256] * 3, axis=-1).astype(np.uint8)

    path = str(media.write_video(tmp_path / "a.mp4", picture=ramps))
    sizes = [
        sum(map(len, decode_clip(path, GEOMETRY, settings=DecodeSettings(jpeg_quality=quality)).jpegs))
        for quality in (50, 95)
    ]
    assert sizes[0] < 0.8 * sizes[1]


class CountingFile(io.FileIO):
    count = 0

    def read(self, size=-1):
        data = super().read(size)
        self.count += len(data)
        return data


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_part_of_a_long_file_is_sought_not_read_through(tmp_path, suffix):
    def noise(number, height, width):
        return np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)

    path = media.write_video(tmp_path / f"a{suffix}", seconds=60, fps=10, size=(160, 120), picture=noise)
    size = path.stat().st_size
    assert size > 8 * 2**20
    with CountingFile(str(path)) as file:
        clip = decode_clip(file, GEOMETRY, start=40.0, end=42.0)
        assert (clip.start, clip.end) == (40.0, 42.0)
        assert file.count < 0.35 * size


def test_untouched_groups_of_pictures_are_not_decoded(tmp_path, monkeypatch):
    """Three segments of half a second out of 40 s: well under half of the pictures."""
    from pemt_tf.media import clip_decoder

    readers = []

    class WatchedReader(clip_decoder.FrameReader):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            readers.append(self)

    monkeypatch.setattr(clip_decoder, "FrameReader", WatchedReader)
    path = media.write_video(tmp_path / "a.mp4", seconds=40, fps=25, key_every=50)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 1000
    decode_clip(str(path), GEOMETRY)
    assert readers[0].fed < 150

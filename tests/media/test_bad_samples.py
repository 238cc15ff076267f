"""Sound that holds what cannot be sound: it fails under a cause of its own, and never becomes a spectrogram."""

import warnings

import numpy as np
import pytest

from pemt_tf.data.clip_builder import build_clip
from pemt_tf.media import waveform
from pemt_tf.media.clip_decoder import DecodedClip, FailedWindow, MediaError, decode_clip, decode_windows
from pemt_tf.media.clip_range import sample_clip
from tests import media_files as media
from tests.media.small_clips import GEOMETRY


def tone(value, place=4_000, seconds=2):
    """A soft tone at 16 kHz with one odd sample."""
    samples = 0.25 * np.sin(np.arange(16_000 * seconds) / 5)
    samples[place] = value
    return samples


def failure(path, **where):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # NumPy's warnings would reach users of `pemt predict`
        with pytest.raises(MediaError) as caught:
            decode_clip(str(path), GEOMETRY, **where)
    return caught.value


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30, 1e10, 3e38])
def test_one_sample_is_enough(tmp_path, value):
    assert failure(media.write_floats(tmp_path / "a.wav", tone(value))).cause == "bad_samples"


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.wav", "pcm_f64le"),
        ("a.aif", "pcm_f32be"),
        ("a.caf", "pcm_f32be"),
        ("a.au", "pcm_f64be"),
        ("a.w64", "pcm_f32le"),
        ("a.mkv", "pcm_f32le"),
        ("a.mov", "pcm_f32le"),
    ],
)
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_containers_and_rates(tmp_path, name, codec, rate):
    value = 1e300 if "f64" in codec else np.nan
    assert failure(media.write_floats(tmp_path / name, tone(value), codec, rate)).cause == "bad_samples"


def test_channels_that_cancel_to_no_number(tmp_path):
    samples = lambda seconds: np.where(np.arange(len(seconds)) == 100, 3e38, 0.1)  # noqa: E731
    path = media.write_video(tmp_path / "a.mkv", video_codec=None, audio_codec="pcm_f32le", layout="5.1", tone=samples)
    assert failure(path).cause == "bad_samples"


def test_details_say_what_is_wrong(tmp_path):
    assert (
        "1 of 24000 samples are infinite or not numbers"
        in failure(media.write_floats(tmp_path / "a.wav", tone(np.nan))).detail
    )
    assert "a sample is 1e+30 times full scale" in failure(media.write_floats(tmp_path / "b.wav", tone(1e30))).detail


def test_pictures_do_not_save_sound_that_is_stored_so(tmp_path):
    odd = lambda seconds: np.where((seconds > 0.2) & (seconds < 0.3), np.nan, 0.1)  # noqa: E731
    for name in ("a.mov", "a.mkv"):
        assert failure(media.write_video(tmp_path / name, audio_codec="pcm_f32le", tone=odd)).cause == "bad_samples"


def test_what_lies_outside_of_the_clip_does_not_count(tmp_path):
    path = str(media.write_floats(tmp_path / "a.wav", tone(np.nan, place=40_000, seconds=4)))  # at 2.5 s
    assert np.isfinite(decode_clip(path, GEOMETRY, 0.0, 2.0).waveform).all()
    made = list(decode_windows(path, GEOMETRY, seconds=0.5, stride=0.5))
    assert [type(one) for one in made] == [DecodedClip] * 5 + [FailedWindow] + [DecodedClip] * 2
    assert made[5].cause == "bad_samples"


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e30])
def test_one_sample_between_two_segments_fails_the_clip(tmp_path, value):
    """Segments take only a part of a long clip: what is between them is decoded too and must not pass in silence."""
    plan = sample_clip(0.0, 4.0, GEOMETRY)
    between = (plan.segment_starts[0] + GEOMETRY.segment_seconds + plan.segment_starts[1]) / 2
    assert plan.segment_starts[1] > between > plan.segment_starts[0] + GEOMETRY.segment_seconds
    path = media.write_floats(tmp_path / "a.wav", tone(value, place=round(16_000 * between), seconds=4))
    assert f"at {between:.2f} s" in failure(path).detail


@pytest.mark.parametrize("scale", [32_768.0, 2.0**31])
def test_integers_stored_as_floats_are_sound_and_noted(tmp_path, scale):
    """As SciPy writes recordings that somebody converted to float without scaling."""
    clip = decode_clip(str(media.write_floats(tmp_path / "a.wav", scale * tone(0.0))), GEOMETRY)
    assert len(clip.notes) == 1 and clip.notes[0].startswith("the audio peaks at ")
    assert np.isfinite(build_clip(clip, GEOMETRY, "a", "a.wav").log_mel).all()


def test_a_decoder_that_goes_wrong_costs_the_sound_alone(tmp_path, monkeypatch):
    """Over damaged packets of compressed sound: pictures are kept, as with any damage of the sound."""
    plain = waveform.mono
    monkeypatch.setattr(waveform, "mono", lambda frame: plain(frame) * np.float32(np.nan))
    clip = decode_clip(str(media.write_video(tmp_path / "a.mp4")), GEOMETRY)
    assert clip.waveform is None and clip.jpegs is not None
    assert any("the audio is damaged and was left out" in note for note in clip.notes)
    assert failure(media.write_video(tmp_path / "b.mp4", video_codec=None)).cause == "bad_samples"

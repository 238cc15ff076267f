"""What is measured of a clip, and the hashes that find near-duplicates."""

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pemt_tf.features import spectrogram
from pemt_tf.media.clip_decoder import decode_clip
from pemt_tf.media.decoded_clip import (
    ClipContent,
    FrameMeter,
    hash_distance,
    is_frozen,
    is_silent,
    levels,
    picture_hash,
    sound_hash,
    thumb,
)
from tests import media_files as media
from tests.media.small_clips import GEOMETRY, pictures


def scene(seed, height=96, width=128):
    """A picture of soft blobs, as different scenes have them, uint8."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    values = np.zeros((height, width))
    for _ in range(12):
        y, x, size, level = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.05, 0.4), rng.uniform(-80, 80)
        values += level * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / size**2)
    return np.clip(values + 110, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_picture_hash_survives_what_copies_go_through(seed):
    original = scene(seed).astype(float)
    found = picture_hash(original.astype(np.uint8))
    noise = np.random.default_rng(seed).normal(0, 6, original.shape)
    changes = {
        "scaled": scene(seed, 144, 192),
        "squeezed": scene(seed, 160, 90),
        "brighter": np.clip(original + 15, 0, 255),
        "less contrast": original * 0.7 + 30,
        "noise": np.clip(original + noise, 0, 255),
    }
    for name, changed in changes.items():
        assert hash_distance(found, picture_hash(changed.astype(np.uint8))) < 0.12, name


def test_hashes_of_different_scenes_differ():
    hashes = [picture_hash(scene(seed)) for seed in range(12)]
    distances = [hash_distance(a, b) for place, a in enumerate(hashes) for b in hashes[:place]]
    assert min(distances) > 0.2 and 0.4 < np.mean(distances) < 0.6


def test_hashes_of_encoded_copies(tmp_path):
    """The same moving scene in two sizes, codecs and qualities, and another scene."""

    def mover(seed):
        return lambda number, height, width: np.repeat(
            np.roll(scene(seed, height, width), number, axis=1)[..., None], 3, axis=-1
        )

    one = media.write_video(tmp_path / "a.mp4", picture=mover(1), size=(160, 120), options={"crf": "20"})
    copy = media.write_video(tmp_path / "b.avi", picture=mover(1), size=(128, 96), options={"qscale": "12"})
    other = media.write_video(tmp_path / "c.mp4", picture=mover(2), size=(160, 120))
    hashes = [decode_clip(str(path), GEOMETRY, 0.0, 1.9).content.picture_hash for path in (one, copy, other)]
    assert [len(found) for found in hashes] == [24, 24, 24]
    assert hash_distance(hashes[0], hashes[1]) < 0.12
    assert hash_distance(hashes[0], hashes[2]) > 0.25


def music(seed, seconds=1.5, rate=16_000):
    """Notes of random pitch and loudness, each with a decay."""
    rng = np.random.default_rng(seed)
    moments = np.arange(round(seconds * rate)) / rate
    wave = 0.002 * rng.normal(size=len(moments))
    for _ in range(25):
        start, pitch, level = rng.uniform(0, seconds), 2 ** rng.uniform(7, 12.5), rng.uniform(0.02, 0.2)
        after = np.clip(moments - start, 0, None)
        wave += level * np.sin(2 * np.pi * pitch * after) * np.exp(-6 * after) * (moments > start)
    return wave.astype(np.float32)


def spectrograms(wave):
    return np.asarray(spectrogram.log_mel_spectrogram(wave.reshape(3, -1), 16_000, 40, 32))


@pytest.mark.parametrize("seed", range(4))
def test_sound_hash_survives_gain_noise_and_encoding(tmp_path, seed):
    wave = music(seed)
    found = sound_hash(spectrograms(wave))
    assert len(found) == 24
    assert hash_distance(found, sound_hash(spectrograms(0.3 * wave))) < 0.06
    noisy = wave + 0.003 * np.random.default_rng(9).normal(size=len(wave)).astype(np.float32)
    assert hash_distance(found, sound_hash(spectrograms(noisy))) < 0.15
    assert hash_distance(found, sound_hash(spectrograms(encoded(tmp_path / "a.mp3", wave)))) < 0.15
    assert hash_distance(found, sound_hash(spectrograms(music(seed + 100)))) > 0.25


def encoded(path, wave):
    """Through MP3 of 64 kbit/s and back, by PyAV alone; the delay of the encoder is cut away."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libmp3lame", rate=16_000, layout="mono")
        stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[None]), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16_000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    delay = np.argmax(np.correlate(samples[: len(wave)], wave[:8_000], "valid"))
    return np.pad(samples[delay:], (0, len(wave)))[: len(wave)]


def test_what_has_no_structure_hashes_to_zeros():
    assert picture_hash(np.full((48, 64), 17, np.uint8)) == bytes(8)
    nearly = 17 + np.random.default_rng(0).integers(0, 2, (48, 64)).astype(np.uint8)
    assert picture_hash(nearly) == bytes(8)
    assert sound_hash(np.full((2, 40, 32), np.log(1e-6), np.float32)) == bytes(16)


@given(st.binary(min_size=1, max_size=40), st.data())
@settings(max_examples=50)
def test_hash_distance_counts_bits(first, data):
    second = data.draw(st.binary(min_size=len(first), max_size=len(first)))
    differing = sum((a ^ b).bit_count() for a, b in zip(first, second, strict=True))
    assert hash_distance(first, second) == pytest.approx(differing / (8 * len(first)))
    assert hash_distance(first, first) == 0.0


def test_hashes_of_different_lengths_are_not_compared():
    with pytest.raises(ValueError, match="8 and 16 bytes"):
        hash_distance(bytes(8), bytes(16))


def test_meter_against_the_definition():
    rng = np.random.default_rng(0)
    luma = rng.integers(0, 256, (3, 4, 30, 36)).astype(np.uint8)  # small: every pixel counts
    meter = FrameMeter(4)
    for place in range(12):
        picture = luma.reshape(12, 30, 36)[place]
        meter.add(place, picture, thumb(picture))
    found = meter.results()
    assert found.motion == pytest.approx(np.abs(np.diff(luma.astype(float), axis=1)).mean())
    assert found.brightness == pytest.approx(luma.mean())
    assert found.picture_hash == b"".join(picture_hash(segment[2]) for segment in luma)


def test_content_of_a_decoded_clip(tmp_path):
    """Against what the clip's own pictures and a known tone say."""

    def mover(number, height, width):
        return np.repeat(np.roll(scene(3, height, width), 2 * number, axis=1)[..., None], 3, axis=-1)

    path = media.write_video(tmp_path / "a.mov", picture=mover, tone=media.sine(440, 0.5), size=(128, 96))
    clip = decode_clip(str(path), GEOMETRY)
    gray = np.stack(pictures(clip))[..., 1].astype(float).reshape(3, 5, clip.height, clip.width)
    assert clip.content.brightness == pytest.approx(gray.mean(), abs=1.5)
    assert clip.content.motion == pytest.approx(np.abs(np.diff(gray, axis=1)).mean(), rel=0.1)
    assert clip.content.loudness_db == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.1)
    assert clip.content.peak_db == pytest.approx(20 * np.log10(0.5), abs=0.1)
    assert not is_silent(clip.content) and not is_frozen(clip.content)


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".avi", ".mpg"])
def test_still_pictures_and_silence_are_seen(tmp_path, suffix):
    """Encoders of still pictures still make them shimmer a little, and encoders of silence hiss."""

    def still(number, height, width):
        return np.repeat(scene(4, height, width)[..., None], 3, axis=-1)

    path = media.write_video(
        tmp_path / f"a{suffix}", picture=still, size=(128, 96), tone=lambda moments: 1e-4 * np.sin(9000 * moments)
    )
    found = decode_clip(str(path), GEOMETRY).content
    assert is_frozen(found) and is_silent(found)


def test_a_small_thing_that_moves_is_no_still_picture(tmp_path):
    """A block of a hundredth of the picture, on a still background."""

    def small_mover(number, height, width):
        picture = np.repeat(scene(4, height, width)[..., None], 3, axis=-1)
        picture[40:50, (3 * number) % 100 : (3 * number) % 100 + 12] = 250
        return picture

    path = media.write_video(tmp_path / "a.mp4", picture=small_mover, size=(128, 96), audio_codec=None)
    found = decode_clip(str(path), GEOMETRY).content
    assert not is_frozen(found)
    assert found.loudness_db is None and not is_silent(found)


def test_digital_silence_has_a_number():
    assert levels(np.zeros((2, 100), np.float32)) == (-120.0, -120.0)
    assert levels(np.full((2, 100), -1.0, np.float32)) == (0.0, 0.0)
    assert not is_silent(ClipContent()) and not is_frozen(ClipContent())

"""The demo corpus: true media files whose picture and sound agree on the digit, and on nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import av
import numpy as np
import pytest

from pemt_tf.demo.corpus import CorpusSummary, make_corpus, plan_corpus
from pemt_tf.demo.handwriting import handwritten_digits
from pemt_tf.errors import PemtError

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
# ITU-T Q.23, typed from the recommendation: row and column frequency of each key.
KEYPAD = {
    "one": (697, 1209),
    "two": (697, 1336),
    "three": (697, 1477),
    "four": (770, 1209),
    "five": (770, 1336),
    "six": (770, 1477),
    "seven": (852, 1209),
    "eight": (852, 1336),
    "nine": (852, 1477),
    "zero": (941, 1336),
}
CODECS = {
    ".mp4": ("h264", "aac"),
    ".webm": ("vp9", "opus"),
    ".avi": ("mpeg4", "mp3float"),
    ".mkv": ("h264", "ac3"),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> CorpusSummary:
    directory = tmp_path_factory.mktemp("demo") / "corpus"
    return make_corpus(directory, seed=7, labelled_per_class=1, unlabelled=20, test_per_class=1)


def decodable(corpus: CorpusSummary) -> list[Path]:
    return sorted(path for path in corpus.directory.glob("*/*/*") if path.name != "broken.mp4")


def decode_sound(path: Path) -> tuple[np.ndarray, int]:
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono")
        pieces = [part.to_ndarray()[0] for frame in container.decode(audio=0) for part in resampler.resample(frame)]
        return np.concatenate(pieces), container.streams.audio[0].rate


def test_folders_follow_the_rules_of_the_preprocessing_job(corpus):
    counts = {}
    for path in corpus.directory.rglob("*"):
        if path.is_file():
            folder = path.parent.relative_to(corpus.directory).as_posix()
            counts[folder] = counts.get(folder, 0) + 1
    expected = {f"{split}/{name}": 1 for split in ("train", "test") for name in NAMES}
    assert counts == expected | {"train/unlabelled": 22}  # 20, one without sound, one broken
    assert (corpus.labelled, corpus.unlabelled, corpus.test) == (10, 22, 10)
    assert corpus.size == sum(path.stat().st_size for path in corpus.directory.rglob("*") if path.is_file())


def test_every_file_is_what_its_suffix_says(corpus):
    seen, rates, sizes = set(), set(), set()
    for path in decodable(corpus):
        with av.open(str(path)) as container:
            video = container.streams.video[0]
            frames = sum(1 for _ in container.decode(video))
            codecs = (video.codec_context.name, *(s.codec_context.name.rstrip("0") for s in container.streams.audio))
            seconds = frames / float(video.average_rate)
            assert 1.9 <= seconds <= 3.1, path
            assert 64 <= video.height <= 96 and 64 <= video.width <= 128, path
            rates.add(round(float(video.average_rate), 2))
            sizes.add((video.width, video.height))
        expected = CODECS[path.suffix]
        if path.name == "no_sound.mp4":
            assert codecs == expected[:1]
            continue
        assert codecs[0] == expected[0] and codecs[1].removesuffix("float") == expected[1].removesuffix("float"), path
        seen.add(path.suffix)
    assert seen == set(CODECS)
    assert len(rates) >= 5 and rates <= {10, 12.5, 15, 24, 25, 29.97}
    assert len(sizes) >= 5


def test_sound_is_as_long_as_the_picture(corpus):
    for path in decodable(corpus):
        if path.name == "no_sound.mp4":
            continue
        sound, rate = decode_sound(path)
        with av.open(str(path)) as container:
            frames = sum(1 for _ in container.decode(video=0))
            seconds = frames / float(container.streams.video[0].average_rate)
        assert abs(len(sound) / rate - seconds) < 0.12, path  # codecs pad with up to two of their frames
        assert np.abs(sound).max() > 0.01, path


def test_broken_file_cannot_be_opened(corpus):
    path = corpus.directory / "train/unlabelled/broken.mp4"
    assert path.stat().st_size > 1000
    with pytest.raises(av.FFmpegError):
        av.open(str(path))


def test_decoded_sound_holds_the_tone_pair_of_the_digit(corpus):
    rows, columns = (697, 770, 852, 941), (1209, 1336, 1477)
    name_of = {corpus.directory / clip.path: NAMES[clip.digit] for clip in corpus.clips}
    heard = []
    for path in decodable(corpus):
        if path.name == "no_sound.mp4":
            continue
        sound, rate = decode_sound(path)
        power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
        hertz = np.fft.rfftfreq(len(sound), 1 / rate)
        strength = {tone: power[np.abs(hertz - tone) < 4].max() for tone in rows + columns}
        pair = (max(rows, key=strength.get), max(columns, key=strength.get))
        heard.append(pair == KEYPAD[name_of[path]])
        if path.parent.name in KEYPAD:
            assert name_of[path] == path.parent.name
    assert len(heard) == 41 - 1
    assert np.mean(heard) >= 0.9, heard  # the faintest keys may drown for this simple ear


def test_no_handwriting_is_used_twice_and_all_of_it_shows_its_digit():
    clips = plan_corpus(0, labelled_per_class=3, unlabelled=240, test_per_class=8)
    images = [clip.image for clip in clips]
    assert len(images) == len(set(images)) == 10 * 3 + 240 + 10 * 8 + 2
    pixels, digits = handwritten_digits()
    assert [int(digits[clip.image]) for clip in clips] == [clip.digit for clip in clips]
    train = {pixels[clip.image].tobytes() for clip in clips if clip.path.startswith("train/")}
    test = {pixels[clip.image].tobytes() for clip in clips if clip.path.startswith("test/")}
    assert len(test) == 80 and not train & test


def test_containers_tell_nothing_about_the_digit():
    clips = plan_corpus(0, labelled_per_class=3, unlabelled=240, test_per_class=8)
    table = np.zeros((10, 4))
    for clip in clips:
        table[clip.digit, ["mp4", "webm", "avi", "mkv"].index(clip.media_format.suffix)] += 1
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    chi_squared = ((table - expected) ** 2 / expected).sum()
    assert chi_squared < 46.96  # 99 % of independent tables with (10 - 1) x (4 - 1) degrees of freedom
    assert table.sum(0).max() - table.sum(0).min() <= 4


def test_same_seed_same_bytes_other_seed_other_content(tmp_path):
    def digests(name: str, seed: int) -> dict[str, str]:
        summary = make_corpus(tmp_path / name, seed, labelled_per_class=0, unlabelled=7, test_per_class=0)
        paths = sorted(path for path in summary.directory.rglob("*") if path.is_file())
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    first, again, other = digests("first", 1), digests("again", 1), digests("other", 2)
    assert len(first) == 9
    assert first == again
    assert not set(first.values()) & set(other.values())


def test_progress_counts_every_file(tmp_path):
    calls = []
    make_corpus(tmp_path / "corpus", 0, 0, 3, 0, on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_too_little_handwriting_is_refused():
    with pytest.raises(PemtError, match=r"would need 186 handwritten images of one digit, but there are 174"):
        plan_corpus(0, labelled_per_class=3, unlabelled=1748, test_per_class=8)


def test_a_folder_with_files_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(PemtError, match="not an empty folder"):
        make_corpus(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_nothing_is_left_under_the_name_when_writing_stops(tmp_path):
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise OSError(28, "No space left on device")

    with pytest.raises(PemtError, match=r"cannot write the demo corpus to .*corpus: No space left on device"):
        make_corpus(tmp_path / "corpus", 0, 0, 3, 0, on_progress=stop)
    assert list(tmp_path.iterdir()) == []

"""Audio-visual digits: what is held out, what the takes of a clip have in common, and files that decode."""

import csv
import itertools
import wave

import av
import numpy as np
import pytest

from experiments import digit_videos
from experiments.digit_videos import SAMPLE_RATE, TAKES, TEST_SPEAKERS, list_recordings, main, plan_clips, read_images
from pemt_tf.errors import PemtError

SPEAKERS = ("george", "jackson", "lucas", "nicolas", *TEST_SPEAKERS)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Recordings of six people (a tone each), and twenty images of each digit."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "fsdd").mkdir()
    for number, speaker in enumerate(SPEAKERS):
        for digit in range(10):
            time = np.arange(2000 + 800 * number) / SAMPLE_RATE  # 0.25 to 0.75 s
            tone = (8000 * np.sin(2 * np.pi * (300 + 100 * digit) * time)).astype("<i2")
            with wave.open(str(folder / "fsdd" / f"{digit}_{speaker}_0.wav"), "wb") as file:
                file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
                file.writeframes(tone.tobytes())
    generator = np.random.default_rng(0)
    with (folder / "mnist.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        for number in range(200):
            rows.writerow([*generator.integers(0, 256, 784), number % 10])
    return folder


def test_speakers_and_images_of_the_test_are_in_no_other_split(sources):
    recordings = list_recordings(sources / "fsdd")
    digits = read_images(sources / "mnist.csv")[1]
    clips = plan_clips(recordings, digits, seed=3, train=12, test=5)
    assert len(clips) == 170 and len({clip.path for clip in clips}) == 170
    for clip in clips:
        speakers = [name.split("_")[1] for name in clip.recordings]
        assert all((speaker in TEST_SPEAKERS) == (clip.split == "test") for speaker in speakers)
        assert {name.split("_")[0] for name in clip.recordings} == {str(clip.digit)}
        assert {int(digits[row]) for row in clip.images} == {clip.digit}
        assert len(clip.images) == len(clip.recordings) == TAKES
    used = {split: {row for clip in clips if clip.split == split for row in clip.images} for split in ("train", "test")}
    assert used["train"] and used["test"] and not used["train"] & used["test"]
    assert clips == plan_clips(recordings, digits, seed=3, train=12, test=5)
    assert clips != plan_clips(recordings, digits, seed=4, train=12, test=5)


def test_no_take_tells_who_speaks_in_the_next(sources):
    """Pairs of neighbours are as often one speaker as chance has it, one in four: 600 pairs, four standard deviations.

    Were the speakers of a clip all different, three would tell the fourth.
    """
    recordings = list_recordings(sources / "fsdd")
    clips = plan_clips(recordings, read_images(sources / "mnist.csv")[1], seed=0, train=20, test=1)
    pairs = [
        first.split("_")[1] == second.split("_")[1]
        for clip in clips
        if clip.split == "train"
        for first, second in itertools.pairwise(clip.recordings)
    ]
    assert len(pairs) == 600
    assert abs(np.mean(pairs) - 1 / 4) < 4 * np.sqrt(1 / 4 * 3 / 4 / 600)


def test_noise_and_loudness_do_not_run_through_a_clip():
    said = np.zeros(2000, np.float32)
    said[500:1500] = 0.4
    generator = np.random.default_rng(0)
    takes = [digit_videos._take_sound(said, 4000, "none", generator) for _ in range(60)]
    floors = np.array([np.sort(np.abs(take))[:1000].std() for take in takes])
    peaks = np.array([np.abs(take).max() for take in takes])
    assert floors.max() > 4 * floors.min() and peaks.max() > 2 * peaks.min()
    noisy = digit_videos._take_sound(said, 4000, "sound", np.random.default_rng(1))
    assert np.abs(noisy[:400]).mean() > 3 * np.median([np.abs(take[:400]).mean() for take in takes])


def test_files_decode_and_the_manifest_names_them(sources, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(digit_videos, "TRAIN_CLIPS", 2)
    out = tmp_path / "digits"
    clips = digit_videos.make_corpus(sources / "fsdd", sources / "mnist.csv", out, "pixels", train=1, test=1)
    with (out / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [clip.path for clip in clips] and len(rows) == 20
    assert {row["split"] for row in rows} == {"train", "test"} and {row["label"] for row in rows} == set("0123456789")
    with av.open(str(out / rows[0]["path"])) as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
        assert len(frames) == 32 and frames[0].shape == (64, 64)
        assert np.mean([frame.std() for frame in frames]) > 30  # the noise that was asked for
    with av.open(str(out / rows[0]["path"])) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
        assert abs(samples / SAMPLE_RATE - 2.0) < 0.3
    assert main(["--fsdd", str(sources / "fsdd"), "--mnist", str(sources / "mnist.csv"), "--output", str(out)]) == 2
    assert "exists" in capsys.readouterr().err


def test_long_recordings_keep_their_loudest_stretch(sources):
    said = digit_videos.read_recording(sources / "fsdd" / "3_yweweler_0.wav")
    assert len(said) == SAMPLE_RATE // 2 and np.abs(said).max() == pytest.approx(digit_videos.PEAK, rel=1e-4)


def test_sources_of_another_form_are_refused(sources, tmp_path):
    with pytest.raises(PemtError, match="does not hold FSDD"):
        list_recordings(tmp_path)
    (tmp_path / "bad.csv").write_text("1,2,3\n")
    with pytest.raises(PemtError, match="784"):
        read_images(tmp_path / "bad.csv")
    (sources / "fsdd" / "0_george_0.wav").rename(tmp_path / "kept.wav")
    try:
        with pytest.raises(PemtError, match="george/0"):
            list_recordings(sources / "fsdd")
    finally:
        (tmp_path / "kept.wav").rename(sources / "fsdd" / "0_george_0.wav")

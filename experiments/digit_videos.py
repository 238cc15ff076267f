"""Audio-visual digits: true mp4 files in which a spoken digit is heard while the same digit, handwritten, is seen.

    python -m experiments.digit_videos --fsdd FSDD --mnist mnist_5k.csv.gz --output out/digits

Sounds are recordings of the Free Spoken Digit Dataset (files `DIGIT_SPEAKER_NUMBER.flac` or `.wav`, 8 kHz), pictures
are MNIST images (a CSV file, a row of 784 grey levels and the digit). A clip is four takes of half a second. In each
take a speaker, drawn anew, says the digit and another image of it moves over a new background, so the digit is all
that the takes have in common, within a stream and across them. **The speakers and the images of the test are in no
other split.**

A manifest for `beam_jobs.preprocess` is written beside the files.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import shutil
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from pemt_tf.demo.handwriting import Look, draw_shot
from pemt_tf.demo.media_writer import MediaFormat, write_media
from pemt_tf.errors import PemtError
from pemt_tf.terminal.exit_code import exit_code_of
from pemt_tf.terminal.progress import Progress

TAKES = 4
TAKE_SECONDS = 0.5
FRAME_RATE = 16
FRAME_SIZE = (64, 64)  # width, height
SAMPLE_RATE = 8000  # the recordings' own
# Light ink on a dark ground, as in MNIST: what is hard shall be the handwriting, not to find it.
LOOK = Look((0.80, 1.00), (150.0, 180.0), (1.0,), (1.0, 4.0), 8.0, (0.0, 4.0))
TEST_SPEAKERS = ("theo", "yweweler")
TEST_IMAGE_SHARE = 0.2
TRAIN_CLIPS, TEST_CLIPS = 120, 25  # of each digit
PEAK = 0.5  # of full scale, of every recording
SOFTER_DECIBELS = (0.0, 12.0)
SIGNAL_TO_NOISE_DECIBELS = (15.0, 30.0)
NOISY_DECIBELS = (-3.0, 6.0)  # with --noise sound
NOISY_PIXELS = 60.0  # standard deviation, grey levels, with --noise pixels
FORMAT = MediaFormat("mp4", "libx264", "aac", (SAMPLE_RATE,), (("preset", "ultrafast"), ("crf", "20")))
NOISES = ("none", "pixels", "sound")


@dataclass(frozen=True)
class DigitClip:
    """What one file shows and sounds.

    Attributes:
        path: relative to the corpus.
        split: `train` or `test`.
        digit: 0 to 9.
        images: rows of the MNIST file, one a take.
        recordings: file names of FSDD, one a take.
    """

    path: str
    split: str
    digit: int
    images: tuple[int, ...]
    recordings: tuple[str, ...]


def read_images(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """MNIST as CSV.

    Args:
        path: rows of 784 grey levels (0 to 255) and the digit; plain or gzip.

    Returns:
        [images, 28, 28] float32 ink from 0 to 1, and [images] int64 digits.

    Raises:
        PemtError: it is not there or not of this form.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="ascii") as file:
            table = np.array(list(csv.reader(file)), np.float32)
    except (OSError, ValueError) as error:
        raise PemtError(
            f"{path} is no CSV file of MNIST images ({error}); give rows of 784 levels and a digit"
        ) from None
    if table.ndim != 2 or table.shape[1] != 785:
        raise PemtError(f"{path} has rows of {table.shape[-1]} numbers; MNIST has 784 grey levels and the digit")
    return table[:, :-1].reshape(-1, 28, 28) / 255.0, table[:, -1].astype(np.int64)


def list_recordings(folder: Path) -> dict[tuple[str, int], list[str]]:
    """(speaker, digit) to file names, sorted.

    Raises:
        PemtError: the folder holds no recordings, or a test speaker or a digit is missing.
    """
    found: dict[tuple[str, int], list[str]] = {}
    for path in sorted(folder.glob("*_*_*.*")):
        digit, speaker, _ = path.stem.split("_")
        if digit.isdigit() and path.suffix in (".wav", ".flac"):
            found.setdefault((speaker, int(digit)), []).append(path.name)
    speakers = {speaker for speaker, _ in found}
    if not set(TEST_SPEAKERS) < speakers:
        raise PemtError(f"{folder} does not hold FSDD: speakers {', '.join(TEST_SPEAKERS)} and others are needed")
    missing = [f"{speaker}/{digit}" for speaker in speakers for digit in range(10) if (speaker, digit) not in found]
    if missing:
        raise PemtError(f"{folder}: no recording of {', '.join(sorted(missing))}")
    return found


def plan_clips(
    recordings: dict[tuple[str, int], list[str]], digits: np.ndarray, seed: int, train: int, test: int
) -> list[DigitClip]:
    """Decides what every clip is made of.

    Args:
        recordings: result of `list_recordings`.
        digits: digit of every image.
        seed: random seed.
        train, test: clips of each digit.

    Returns:
        The clips; speakers and images of the test splits are disjoint from those of training.
    """
    generator = np.random.default_rng([seed, 0])
    speakers = sorted({speaker for speaker, _ in recordings})
    clips = []
    for digit in range(10):
        rows = generator.permutation(np.flatnonzero(digits == digit))
        held_out = round(len(rows) * TEST_IMAGE_SHARE)
        for split, count, own_rows in (("train", train, rows[held_out:]), ("test", test, rows[:held_out])):
            own = [s for s in speakers if (s in TEST_SPEAKERS) == (split == "test")]
            said = [_endless(recordings[speaker, digit], generator) for speaker in own]
            images = _endless(list(own_rows), generator)
            for number in range(count):
                # Each take on its own: of speakers without repetition, three would tell the fourth, and pretraining
                # learns that in the place of the digit.
                order = [said[index] for index in generator.integers(len(own), size=TAKES)]
                clips.append(
                    DigitClip(
                        path=f"{split}/{digit}/{number:03d}.mp4",
                        split=split,
                        digit=digit,
                        images=tuple(int(next(images)) for _ in range(TAKES)),
                        recordings=tuple(next(names) for names in order),
                    )
                )
    return clips


def _endless(choices: list, generator: np.random.Generator):
    """All choices in random order, then all again in another one."""
    while True:
        yield from (choices[index] for index in generator.permutation(len(choices)))


def read_recording(path: Path) -> np.ndarray:
    """[samples] float32 at `SAMPLE_RATE`, at most one take long, its peak at `PEAK`."""
    import av

    with av.open(str(path)) as container:
        resampler = av.AudioResampler("fltp", "mono", SAMPLE_RATE)
        frames = [piece for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
        sound = np.concatenate([piece.to_ndarray()[0] for piece in [*frames, *resampler.resample(None)]])
    longest = round(TAKE_SECONDS * SAMPLE_RATE)
    energy = np.cumsum(np.square(sound, dtype=np.float64))
    if len(sound) > longest:  # the loudest stretch
        start = int(np.argmax(energy[longest - 1 :] - np.concatenate([[0.0], energy[:-longest]])))
        sound = sound[start : start + longest]
    return (sound * (PEAK / max(float(np.abs(sound).max()), 1e-6))).astype(np.float32)


def render(clip: DigitClip, ink: np.ndarray, folder: Path, noise: str, generator: np.random.Generator):
    """Draws and sounds one clip.

    Returns:
        [frames, height, width, 3] uint8 RGB and [1, samples] float32.
    """
    take_frames, take_samples = round(TAKE_SECONDS * FRAME_RATE), round(TAKE_SECONDS * SAMPLE_RATE)
    time = np.arange(take_frames) / FRAME_RATE
    pixels = np.concatenate([draw_shot(ink[row], time, *FRAME_SIZE, generator, LOOK) for row in clip.images])
    if noise == "pixels":
        pixels = pixels + generator.standard_normal(pixels.shape[:-1])[..., None] * NOISY_PIXELS
        pixels = np.clip(pixels, 0, 255).round().astype(np.uint8)
    sounds = [_take_sound(read_recording(folder / name), take_samples, noise, generator) for name in clip.recordings]
    return pixels, np.clip(np.concatenate(sounds), -0.99, 0.99)[None]


def _take_sound(said: np.ndarray, samples: int, noise: str, generator: np.random.Generator) -> np.ndarray:
    """A recording somewhere in a take, louder or softer, in noise; [samples] float32.

    All of it is drawn anew for each take: a noise that runs through a clip would give away which takes belong together.
    """
    said = said * np.float32(10.0 ** (-generator.uniform(*SOFTER_DECIBELS) / 20.0))
    low, high = NOISY_DECIBELS if noise == "sound" else SIGNAL_TO_NOISE_DECIBELS
    level = np.sqrt(np.square(said).mean()) * 10.0 ** (-generator.uniform(low, high) / 20.0)
    sound = generator.standard_normal(samples).astype(np.float32) * np.float32(level)
    start = int(generator.integers(samples - len(said) + 1))
    sound[start : start + len(said)] += said
    return sound


def make_corpus(
    fsdd: Path,
    mnist: Path,
    output: Path,
    noise: str = "none",
    seed: int = 0,
    train: int = TRAIN_CLIPS,
    test: int = TEST_CLIPS,
) -> list[DigitClip]:
    """Writes the files and `manifest.csv`; the folder appears under its name when it is complete.

    Args:
        fsdd: folder of the recordings.
        mnist: the CSV file.
        output: a new folder.
        noise: `none`, `pixels` or `sound`.
        seed: random seed.
        train, test: clips of each digit.

    Raises:
        PemtError: the sources are not as expected, or the folder exists.
    """
    if output.exists():
        raise PemtError(f"{output} exists; name a new folder")
    ink, digits = read_images(mnist)
    clips = plan_clips(list_recordings(fsdd), digits, seed, train, test)
    partial = output.with_name(output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    progress = Progress("digit videos", len(clips), "files")
    for number, clip in enumerate(clips):
        path = partial / clip.path
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels, sound = render(clip, ink, fsdd, noise, np.random.default_rng([seed, 1, number]))
        write_media(path, FORMAT, pixels, Fraction(FRAME_RATE), sound, SAMPLE_RATE)
        progress.update(number + 1)
    progress.close()
    with (partial / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split", "images", "recordings"])
        for clip in clips:
            rows.writerow(
                [clip.path, clip.digit, clip.split, " ".join(map(str, clip.images)), " ".join(clip.recordings)]
            )
    partial.rename(output)
    return clips


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="example: python -m experiments.digit_videos --fsdd FSDD --mnist mnist_5k.csv.gz --output out/digits",
    )
    parser.add_argument("--fsdd", type=Path, required=True, help="folder of the recordings of FSDD")
    parser.add_argument("--mnist", type=Path, required=True, help="CSV file of MNIST images, plain or .gz")
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    parser.add_argument("--noise", choices=NOISES, default="none", help="what is noisy (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    def work() -> None:
        clips = make_corpus(options.fsdd, options.mnist, options.output, options.noise, options.seed)
        sys.stdout.write(f"{len(clips)} files: {options.output}\n")

    return exit_code_of(work)


if __name__ == "__main__":
    sys.exit(main())

"""Makes the demo's corpus: small media files whose frames and audio hold the same digit.

Each clip shows a handwritten digit that no other clip shows, and plays the telephone keypad tones of that digit. All
else is drawn independently of the digit, so the digit is all that frames and audio have in common. Constants in
`handwriting.py` and `keypad.py` set how hard the digit is to see and to hear.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from pemt_tf.demo.handwriting import handwritten_digits, moving_digit
from pemt_tf.demo.keypad import key_sound
from pemt_tf.demo.media_writer import FORMATS, MediaFormat, write_media
from pemt_tf.errors import PemtError

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
UNLABELLED_FOLDER = "unlabelled"
BROKEN_FILE = "broken.mp4"
SILENT_FILE = "no_sound.mp4"

CLIP_SECONDS = (2.0, 3.0)
FRAME_RATES = tuple(Fraction(text) for text in ("10", "25/2", "15", "24", "25", "30000/1001"))
FRAME_SIZES = ((64, 64), (80, 64), (64, 80), (96, 72), (72, 96), (112, 64), (128, 72), (96, 96))  # width, height
BROKEN_SHARE = 0.6  # of the broken file's bytes are left; an mp4 file's index is at its end


@dataclass(frozen=True)
class CorpusClip:
    """One file of the corpus."""

    path: str  # relative to the corpus
    digit: int  # known here for unlabelled files too
    image: int  # row in `handwritten_digits`
    media_format: MediaFormat
    has_sound: bool
    is_broken: bool  # truncated, so that it cannot be opened
    number: int  # with the corpus' seed, it decides every random choice within the clip


@dataclass(frozen=True)
class CorpusSummary:
    """What was written: all files in the order of writing, and the number of files of each kind."""

    directory: Path
    clips: tuple[CorpusClip, ...]
    labelled: int
    unlabelled: int  # including the broken file and the one without audio
    test: int
    size: int  # of all files, bytes


def make_corpus(
    directory: Path,
    seed: int = 0,
    labelled_per_class: int = 3,
    unlabelled: int = 240,
    test_per_class: int = 8,
    on_progress: Callable[[int, int], None] | None = None,
) -> CorpusSummary:
    """Writes the corpus to a new or empty folder; the same arguments give the same bytes (with the same NumPy, PyAV).

    `train/<digit name>/` has the labelled files and `test/<digit name>/` the held-out ones. `train/unlabelled/` has the
    others, plus one that is broken on purpose and one without audio. The folder appears when it is complete.
    `on_progress` receives the number of files written so far, and their total.
    """
    clips = plan_corpus(seed, labelled_per_class, unlabelled, test_per_class)
    partial = directory.with_name(directory.name + ".partial")
    try:
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise PemtError(f"{directory} exists and is not an empty folder; name a new one for the demo corpus")
        shutil.rmtree(partial, ignore_errors=True)
        _write_clips(partial, clips, seed, on_progress)
        if directory.exists():
            directory.rmdir()
        partial.rename(directory)
    except OSError as error:
        raise PemtError(f"cannot write the demo corpus to {directory}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    folders = [clip.path.split("/") for clip in clips]
    return CorpusSummary(
        directory=directory,
        clips=tuple(clips),
        labelled=sum(parts[0] == "train" and parts[1] != UNLABELLED_FOLDER for parts in folders),
        unlabelled=sum(parts[1] == UNLABELLED_FOLDER for parts in folders),
        test=sum(parts[0] == "test" for parts in folders),
        size=sum((directory / clip.path).stat().st_size for clip in clips),
    )


def plan_corpus(seed: int, labelled_per_class: int, unlabelled: int, test_per_class: int) -> list[CorpusClip]:
    """Assigns handwriting and formats to files, in the order of writing; no image is used twice."""
    generator = np.random.default_rng([seed, 0])
    digits = handwritten_digits()[1]
    order = generator.permutation(len(digits))
    per_digit = [list(order[digits[order] == digit]) for digit in range(10)]
    # Two more than asked for: the file without sound and the broken one.
    shown = generator.permutation(np.arange(unlabelled + 2) % 10)
    fewest = min(map(len, per_digit))
    needed = labelled_per_class + test_per_class + int(np.bincount(shown, minlength=10).max())
    if needed > fewest:
        raise PemtError(
            f"the demo corpus would need {needed} handwritten images of one digit, but there are {fewest}; "
            "ask for fewer labelled, unlabelled or test clips"
        )
    places = [
        (f"{split}/{name}", digit)
        for split, count in (("test", test_per_class), ("train", labelled_per_class))
        for digit, name in enumerate(DIGIT_NAMES)
        for _ in range(count)
    ]
    places += [(f"train/{UNLABELLED_FOLDER}", int(digit)) for digit in shown]
    # Every format equally often, in an order that does not depend on the digits.
    formats = [FORMATS[index % len(FORMATS)] for index in generator.permutation(len(places))]
    special = {len(places) - 2: SILENT_FILE, len(places) - 1: BROKEN_FILE}
    return [
        CorpusClip(
            path=f"{folder}/{special.get(number, f'{number:04d}.{media_format.suffix}')}",
            digit=digit,
            image=int(per_digit[digit].pop()),
            media_format=FORMATS[0] if number in special else media_format,
            has_sound=special.get(number) != SILENT_FILE,
            is_broken=special.get(number) == BROKEN_FILE,
            number=number,
        )
        for number, ((folder, digit), media_format) in enumerate(zip(places, formats, strict=True))
    ]


def render(clip: CorpusClip, seed: int) -> tuple[np.ndarray, Fraction, np.ndarray | None, int]:
    """Draws one clip and synthesizes its audio.

    Returns:
        [frames, height, width, 3] uint8 RGB; frames per second; [channels, samples] float32 waveform or None; Hz.
    """
    generator = np.random.default_rng([seed, 1, clip.number])
    frame_rate = FRAME_RATES[generator.integers(len(FRAME_RATES))]
    width, height = FRAME_SIZES[generator.integers(len(FRAME_SIZES))]
    sample_rate = int(generator.choice(clip.media_format.sample_rates))
    channels = int(generator.integers(1, 3))
    frames = round(generator.uniform(*CLIP_SECONDS) * frame_rate)
    ink = handwritten_digits()[0][clip.image]
    pixels = moving_digit(ink, frames, float(frame_rate), width, height, generator)
    seconds = float(frames / frame_rate)
    sound = key_sound(clip.digit, seconds, sample_rate, channels, generator) if clip.has_sound else None
    return pixels, frame_rate, sound, sample_rate


def _write_clips(
    directory: Path, clips: list[CorpusClip], seed: int, on_progress: Callable[[int, int], None] | None
) -> None:
    for done, clip in enumerate(clips, 1):
        path = directory / clip.path
        path.parent.mkdir(parents=True, exist_ok=True)
        write_media(path, clip.media_format, *render(clip, seed))
        if clip.is_broken:
            whole = path.read_bytes()
            path.write_bytes(whole[: int(len(whole) * BROKEN_SHARE)])
        if on_progress:
            on_progress(done, len(clips))

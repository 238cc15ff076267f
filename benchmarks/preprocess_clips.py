"""The files that the data preparation benchmarks read: a folder of the user's, or clips of our own making."""

from __future__ import annotations

import os
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from pemt_tf.config import ClipGeometry
from pemt_tf.demo.media_writer import FORMATS, write_media

SUFFIXES = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m4v", ".ts"}
OWN_CLIPS, OWN_SECONDS, OWN_SIZE, OWN_RATE = 8, 10, (256, 340), 25


def gather(folder: str | None, made: Path, geometry: ClipGeometry) -> list[Path]:
    """The files of a folder, at any depth, that are long enough for one segment; without a folder, own clips.

    Args:
        folder: the user's folder.
        made: where own clips go.
        geometry: says how long a segment is.

    Raises:
        SystemExit: there is none.
    """
    if folder is None:
        make_clips(made)
    chosen = [path for path in sorted(Path(folder or made).rglob("*")) if path.suffix.lower() in SUFFIXES]
    chosen = [path for path in chosen if _seconds(path) >= geometry.segment_seconds]
    if not chosen:
        raise SystemExit(f"no file in {folder} is as long as one segment, {geometry.segment_seconds:.2f} s")
    return chosen


def repeat(files: list[Path], count: int, folder: Path) -> list[Path]:
    """Gives `count` names in `folder` to the files, over and over: hard links, or copies across file systems."""
    folder.mkdir(parents=True)
    names = []
    for number in range(count):
        source = files[number % len(files)]
        name = folder / f"{number:05d}-{source.name}"
        try:
            os.link(source, name)
        except OSError:
            shutil.copyfile(source, name)
        names.append(name)
    return names


def smallest(files: list[Path]) -> Path:
    """The smallest file that has sound, or the smallest of all; for measuring what a start costs."""

    def rank(path: Path) -> tuple[bool, int]:
        with av.open(str(path), metadata_errors="ignore") as container:
            return not container.streams.audio, path.stat().st_size

    return min(files, key=rank)


def make_clips(folder: Path) -> None:
    """Writes small clips in four containers: a texture that drifts and flickers, with a chord in noise."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(OWN_CLIPS):
        generator = np.random.default_rng(number)
        height, width = OWN_SIZE
        coarse = generator.integers(0, 256, (2 * height // 8, 2 * width // 8, 3), np.uint8)
        texture = coarse.repeat(8, axis=0).repeat(8, axis=1)
        frames = np.stack([_view(texture, frame, generator) for frame in range(OWN_SECONDS * OWN_RATE)])
        media_format = FORMATS[number % len(FORMATS)]
        rate = media_format.sample_rates[-1]
        times = np.arange(OWN_SECONDS * rate) / rate
        chord = sum(np.sin(2 * np.pi * tone * times) for tone in generator.uniform(100, 4000, 3))
        sound = (0.1 * chord + 0.02 * generator.standard_normal(len(times))).astype(np.float32)
        path = folder / f"own-{number}.{media_format.suffix}"
        write_media(path, media_format, frames, Fraction(OWN_RATE), np.stack([sound, sound]), rate)


def _view(texture: np.ndarray, frame: int, generator: np.random.Generator) -> np.ndarray:
    height, width = OWN_SIZE
    view = texture[frame % height : frame % height + height, frame % width : frame % width + width]
    noise = generator.integers(0, 12, (height, width, 1), np.uint8)
    return np.clip(view // 8 * 7, 0, 240) + noise


def _seconds(path: Path) -> float:
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            if not container.streams.video:
                return 0.0
            if container.duration:
                return container.duration / av.time_base
            stream = container.streams.video[0]
            stamps = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
            return float((max(stamps) - min(stamps)) * stream.time_base) if stamps else 0.0
    except av.FFmpegError:
        return 0.0

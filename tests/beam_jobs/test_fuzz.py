"""The job on damaged files, by the dozen always and by the thousand where real files are at hand.

Whatever a file holds, the job ends well, counts every file exactly once and says why it failed. A decoder that crashes
or hangs is contained; here it must also be shown that it does so without any code of ours.

For long runs: PEMT_FUZZ_FILES (default 2,000) files within about PEMT_FUZZ_SECONDS (default 360), from seed
PEMT_FUZZ_SEED on; files that show a fault are kept in PEMT_FUZZ_KEEP.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from beam_jobs.preprocess import main
from pemt_tf.config import Config
from pemt_tf.data import records
from pemt_tf.data.dataset_card import DatasetCard
from pemt_tf.media.media_errors import CAUSES
from tests import media_files as media
from tests.mutate_media import mutate

MEDIA = Path(__file__).resolve().parents[3] / "shared" / "media"
BATCH = 200
TIMEOUT = 20  # seconds a file; the real ones take less than two
LARGEST = 1_500_000  # bytes of a file that is damaged
# Decodes and scales all pictures and decodes all sound, with PyAV alone; errors are fine, crashes and hangs are not.
BARE_LOOP = """
import av, sys
av.logging.set_level(None)
scaler = av.video.reformatter.VideoReformatter()
try:
    with av.open(sys.argv[1], metadata_errors="ignore") as container:
        for packet in container.demux():
            try:
                for frame in packet.decode():
                    if isinstance(frame, av.VideoFrame):
                        scaler.reformat(frame, width=64, height=48, format="yuvj420p", threads=1)
            except (av.FFmpegError, ValueError, MemoryError):
                pass
except (av.FFmpegError, ValueError, MemoryError, OSError):
    pass
"""


def test_damaged_files_of_our_own(tmp_path, capsys):
    sources = [
        media.write_video(tmp_path / "sound" / f"v{number}{suffix}", seconds=1.0, size=(48, 36), fps=15)
        for number, suffix in enumerate([".mp4", ".webm", ".avi", ".mkv", ".mov", ".mpg", ".ts"])
    ]
    check_batch(sources, range(70), tmp_path, [])


@pytest.mark.slow
def test_damaged_real_files(tmp_path, capsys):
    if not MEDIA.is_dir():
        pytest.skip(f"no {MEDIA} on this machine")
    files = sorted(path for path in MEDIA.rglob("*") if path.is_file() and 0 < path.stat().st_size <= LARGEST)
    count = int(os.environ.get("PEMT_FUZZ_FILES", 2000))
    until = time.monotonic() + float(os.environ.get("PEMT_FUZZ_SECONDS", 360))
    first = int(os.environ.get("PEMT_FUZZ_SEED", 0))
    causes: list[str] = []
    for begin in range(first, first + count, BATCH):
        if time.monotonic() > until:
            break  # a slow machine tests fewer files
        check_batch(files, range(begin, min(begin + BATCH, first + count)), tmp_path / str(begin), causes)
        shutil.rmtree(tmp_path / str(begin))
    with capsys.disabled():
        sys.stdout.write(f"\n{len(causes)} damaged files: {dict(Counter(causes).most_common())}\n")


def check_batch(sources: list[Path], seeds: range, folder: Path, causes: list[str]) -> None:
    """Damages files, runs the job on them and on two sound ones, and checks what came out.

    Args:
        sources: files to damage.
        seeds: one for each damaged file.
        folder: to work in.
        causes: gets the outcome of each damaged file.
    """
    videos, output = folder / "videos", folder / "data"
    for name in ("sound_0.mp4", "sound_1.mkv"):
        media.write_video(videos / name, seconds=1.0, size=(48, 36), fps=15)
    for seed in seeds:
        source, other = sources[seed % len(sources)], sources[(7 * seed + 3) % len(sources)]
        how, data = mutate(source.read_bytes(), other.read_bytes(), seed)
        (videos / f"{seed:06d}_{how}_{source.name}").write_bytes(data)
    command = ["--input", videos, "--output", output, "--preset", "tiny", "--num_workers", 2]
    assert main([*map(str, command), "--decode_timeout", str(TIMEOUT)]) == 0
    card = DatasetCard.read(output)
    failures = read_lines(output / "errors" / "failures.jsonl")
    filtered = read_lines(output / "errors" / "filtered.jsonl")
    written = written_names(card, output)

    ended = Counter(written) + Counter(row["path"] for row in failures + filtered)
    assert ended == Counter(path.name for path in videos.iterdir())
    assert card.inputs == card.written + sum(card.filtered.values()) + sum(card.failed.values()) == len(seeds) + 2
    assert card.written == len(written) and card.failed == Counter(row["cause"] for row in failures)
    assert {"sound_0.mp4", "sound_1.mkv"} <= set(written)
    assert set(card.failed) <= set(CAUSES)
    assert all(row["detail"] and "\n" not in row["detail"] for row in failures)
    causes += ["written"] * (len(written) - 2) + [row["cause"] for row in failures]
    ours = [row for row in failures if is_our_fault(row, videos)]
    keep([videos / row["path"] for row in ours])
    assert not ours


def is_our_fault(row: dict[str, str], videos: Path) -> bool:
    """Whether a crash or a timeout is of our own making: the bare loop over the same file does well, and in time."""
    if row["cause"] not in ("decoder_crash", "timeout"):
        return False
    if row["cause"] == "decoder_crash" and "ended by SIG" not in row["detail"]:
        return True  # an exception that nothing caught
    try:
        bare = subprocess.run([sys.executable, "-c", BARE_LOOP, videos / row["path"]], timeout=TIMEOUT / 2, check=False)
    except subprocess.TimeoutExpired:
        return row["cause"] != "timeout"
    return bare.returncode >= 0


def keep(files: list[Path]) -> None:
    """Copies what shows a fault to where a person can look at it."""
    folder = os.environ.get("PEMT_FUZZ_KEEP")
    for path in files if folder else []:
        Path(folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def written_names(card: DatasetCard, output: Path) -> list[str]:
    """Source names of all records, which are looked into: pictures can be decoded, spectrograms are finite."""
    geometry = Config.from_preset("tiny").geometry
    files = [str(output / file) for split in card.splits.values() for file in split.files]
    names = []
    for raw in tf.data.TFRecordDataset(files):
        clip = records.parse(raw, geometry)
        assert np.isfinite(clip["log_mel"].numpy()).all()
        if clip["has_video"]:
            pictures = [tf.io.decode_jpeg(jpeg) for jpeg in (clip["jpegs"][0], clip["jpegs"][-1])]
            assert all(picture.shape == (clip["height"], clip["width"], 3) for picture in pictures)
        assert clip["has_video"] or clip["has_audio"]
        assert clip["end"] > clip["start"] >= 0
        names.append(clip["path"].numpy().decode())
    return names

"""How fast each form of record files is read by its own tool: the clips' JPEGs and spectrograms, not decoded.

    python benchmarks/record_formats.py                    # writes clips of its own first: the same in all forms
    python benchmarks/record_formats.py --clips 64 --rounds 9

Each reader gives every clip of the same four files as JPEG bytes and a float32 spectrogram, in one process. `in order`
reads files from their start; `shuffled` asks for clips in a random order. WebDataset has no shuffled read: it mixes a
buffer of what it reads in order. `datasets` first copies Parquet into a cache of Arrow files, which its rows below do
not count. The readers take turns, the files are in the page cache, and the first run of each is not counted. Needs the
packages of the extra `dev`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import measure
import numpy as np

FILES = 4
PRESET = "avbert_base"
SETTINGS = "PEMT_FORMATS_BENCHMARK"  # environment variable by which a worker gets the folder
IN_ORDER = ("tfrecord, tf.data", "array_record, grain", "webdataset", "parquet, pyarrow", "parquet, datasets")
SHUFFLED = ("tfrecord by index, tf.data", "array_record, grain, shuffled", "parquet, datasets, shuffled")
BASE = IN_ORDER[0]


def main() -> None:
    """The command line."""
    options = measure.read_arguments(__doc__, clips=(64, "clips (default: 64)"), rounds=(7, "rounds (default: 7)"))
    if options.worker:
        folder = Path(json.loads(os.environ[SETTINGS])["folder"])
        measure.serve(lambda: drain(READERS[options.worker](folder)), warm_up=1)
        return
    with tempfile.TemporaryDirectory() as scratch:
        sizes = write(Path(scratch), options.clips)
        os.environ[SETTINGS] = json.dumps({"folder": scratch})
        os.environ["HF_HUB_OFFLINE"], os.environ["HF_HOME"] = "1", f"{scratch}/cache"
        workers = {name: measure.Worker("record_formats.py", name) for name in READERS}
        figures = measure.take_turns(workers, options.rounds)
        for worker in workers.values():
            worker.close()
    show(figures, sizes, options)


def show(figures: dict[str, list[dict[str, float]]], sizes: dict[str, int], options: argparse.Namespace) -> None:
    """Prints the table."""
    print(f"{options.clips} clips of {PRESET} in {FILES} files, {options.rounds} rounds; MB on disk: ", end="")
    print(", ".join(f"{name} {size / 1e6:.1f}" for name, size in sizes.items()), end="\n\n")
    heads = ("reader", "clips/s", "clips per CPU s", f"CPU of {BASE}'s", f"wall time of {BASE}'s")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for name, runs in figures.items():
        rates = [f"{options.clips / measure.median(runs, key):.0f}" for key in ("wall", "cpu")]
        against = " | ".join(measure.ratio(runs, figures[BASE], key) for key in ("cpu", "wall"))
        print(f"| {name} | {' | '.join(rates)} | {against} |")


def write(folder: Path, clips: int) -> dict[str, int]:
    """Writes the same clips in all forms; returns their sizes."""
    from pemt_tf.config import Config
    from pemt_tf.formats.named import SUFFIXES, record_files
    from pemt_tf.formats.record_files import RecordShape

    shape = RecordShape(Config.from_preset(PRESET).geometry, labels=("dog",))
    records = [shape.record(clip) for clip in made_clips(shape.geometry, clips)]
    sizes = {}
    for name, suffix in SUFFIXES.items():
        for number in range(FILES):
            place = f"train/clips-{number:05d}-of-{FILES:05d}{suffix}"
            path = folder / name / place
            path.parent.mkdir(parents=True, exist_ok=True)
            sink = record_files(name).sink(path, place, shape)
            for record in records[number::FILES]:
                sink.write(record)
            sink.close()
        sizes[name] = sum(path.stat().st_size for path in (folder / name).rglob("*.*") if path.is_file())
    return sizes


def made_clips(geometry, count: int) -> Iterator:
    """Clips of moving blobs, whose JPEGs are about as large as those of real videos."""
    import simplejpeg

    from pemt_tf.data.record_format import ClipRecord

    rng = np.random.default_rng(0)
    side = geometry.stored_short_side
    mel = (geometry.segments, geometry.mel_bins, geometry.mel_frames)
    frames = geometry.segments * geometry.frames_per_segment
    for number in range(count):
        coarse = rng.integers(0, 256, (frames, 1 + side // 8, 1 + side // 8, 3), np.uint8)
        pictures = np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)[:, :side, :side]
        yield ClipRecord(
            clip_id=f"clip-{number}",
            data_path=f"{number}.mp4",
            start=0.0,
            end=10.0,
            jpegs=[simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=90) for picture in pictures],
            image_times=[0.1 * place for place in range(frames)],
            height=side,
            width=side,
            log_mel=rng.normal(-4, 2, mel).astype(np.float32),
            labels=("dog",),
            label_indices=(0,),
        )


Clip = tuple[list[bytes], np.ndarray]  # JPEGs, spectrogram
_opened: dict[Path, Any] = {}  # what a reader prepares once for all of its runs


def drain(clips: Iterable[Clip]) -> None:
    """Takes all clips and touches their values, which may only be mapped."""
    total = sum(len(jpegs) + float(log_mel.sum()) for jpegs, log_mel in clips)
    if not np.isfinite(total) or not total:
        raise SystemExit("no clip was read")


def files(folder: Path, name: str) -> list[str]:
    """The record files of a form."""
    return [str(path) for path in sorted((folder / name / "train").iterdir())]


def by_tf_data(folder: Path) -> Iterator[Clip]:
    """TFRecord, in order, parsed as training does."""
    import tensorflow as tf

    from pemt_tf.config import Config
    from pemt_tf.data.records import parse

    geometry = Config.from_preset(PRESET).geometry
    if folder not in _opened:
        _opened[folder] = tf.data.TFRecordDataset(files(folder, "tfrecord")).map(lambda raw: parse(raw, geometry))
    return ((clip["jpegs"].tolist(), clip["log_mel"]) for clip in _opened[folder].as_numpy_iterator())


def by_index(folder: Path) -> Iterator[Clip]:
    """TFRecord, shuffled: each record is read alone, at its place, as in training."""
    import tensorflow as tf

    from pemt_tf.config import Config
    from pemt_tf.data.clip_source import ClipSource
    from pemt_tf.data.clip_stream import WantedClips, found_clips

    if folder not in _opened:
        names = tuple(files(folder, "tfrecord"))
        source = ClipSource({"train": names}, Config.from_preset(PRESET).geometry, ("dog",), "benchmark")
        clips = found_clips(source, "train", 0, WantedClips(False, (), None, False), 0, range(1), 1)
        _opened[folder] = clips.take(sum(map(_clips_of, names))).prefetch(tf.data.AUTOTUNE)
    return ((clip["jpegs"].tolist(), clip["log_mel"]) for _, clip in _opened[folder].as_numpy_iterator())


def _clips_of(file: str) -> int:
    from pemt_tf.data.record_format import find_records

    return sum(1 for _ in find_records(Path(file)))


def by_grain(folder: Path, shuffled: bool = False) -> Iterator[Clip]:
    """ArrayRecord; the bytes of a record are read without TensorFlow."""
    import grain

    from pemt_tf.config import Config
    from pemt_tf.data.clip_reader import read_clip

    geometry = Config.from_preset(PRESET).geometry
    clips = grain.MapDataset.source(grain.sources.ArrayRecordDataSource(files(folder, "array_record")))
    clips = clips.shuffle(seed=0) if shuffled else clips
    found = clips.map(lambda raw: read_clip(raw, geometry)).to_iter_dataset()
    return ((clip.jpegs, clip.log_mel) for clip in found)


def by_webdataset(folder: Path) -> Iterator[Clip]:
    """WebDataset, in order."""
    from webdataset import WebDataset  # pyright: ignore[reportAttributeAccessIssue] - its package lists no names

    for sample in WebDataset(files(folder, "webdataset"), shardshuffle=False):
        jpegs = [sample[name] for name in sorted(sample) if name.endswith(".jpg")]
        yield jpegs, np.load(io.BytesIO(sample["log_mel.npy"]))


def by_pyarrow(folder: Path) -> Iterator[Clip]:
    """Parquet, in order, a few rows at a time."""
    import pyarrow.parquet as pq

    for name in files(folder, "parquet"):
        for batch in pq.ParquetFile(name).iter_batches(8, columns=["frames", "log_mel"]):
            frames, log_mel = batch.columns
            for row in range(len(batch)):
                jpegs = frames[row].values.field("bytes").to_pylist()
                yield jpegs, log_mel[row].values.to_numpy()


def by_datasets(folder: Path, shuffled: bool = False) -> Iterator[Clip]:
    """Parquet through Hugging Face `datasets`, by row number."""
    import datasets

    if folder not in _opened:
        loaded = datasets.load_dataset("parquet", data_files=files(folder, "parquet"), split="train")
        kinds = loaded.features.copy()
        kinds["frames"] = type(kinds["frames"])(datasets.Image(decode=False))
        _opened[folder] = loaded.cast(kinds).select_columns(["frames", "log_mel"]).with_format("arrow")
    rows = _opened[folder]
    order = list(range(len(rows)))
    if shuffled:
        random.Random(0).shuffle(order)
    for place in order:
        row = rows[place]
        frames, log_mel = row["frames"][0], row["log_mel"][0]
        yield frames.values.field("bytes").to_pylist(), log_mel.values.to_numpy()


READERS: dict[str, Callable[[Path], Iterator[Clip]]] = dict(
    zip(
        (*IN_ORDER, *SHUFFLED),
        (
            *(by_tf_data, by_grain, by_webdataset, by_pyarrow, by_datasets, by_index),
            lambda folder: by_grain(folder, shuffled=True),
            lambda folder: by_datasets(folder, shuffled=True),
        ),
        strict=True,
    )
)

if __name__ == "__main__":
    main()

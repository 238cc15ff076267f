"""Gives every training video the audio of another one, drawn at random: what can be learned if they do not belong
together?

    python -m experiments.exchanged_audio --clips DATA/lrc_ar --manifest out/manifest.csv --output out/exchanged

Packets are copied as they are, so nothing is encoded again. A manifest of the new files is written beside them.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import av.error
import numpy as np

from experiments.block_split import TRAIN, block_of, write_manifest
from pemt_tf.errors import PemtError
from pemt_tf.terminal.exit_code import exit_code_of
from pemt_tf.terminal.progress import Progress


def derangement(count: int, seed: int) -> np.ndarray:
    """A random permutation [count] that leaves nothing in its place, uniform among all of them."""
    if count < 2:
        raise PemtError("there is only one training video, so there is no other audio for it")
    generator = np.random.default_rng(seed)
    while True:
        order = generator.permutation(count)
        if not (order == np.arange(count)).any():
            return order


def join(video: Path, audio: Path, output: Path) -> None:
    """Writes a file with the video of one file and the audio of another; PemtError if one has no such stream."""
    try:
        with av.open(str(video)) as seen, av.open(str(audio)) as heard, av.open(str(output), "w") as file:
            sources = ((seen, seen.streams.video), (heard, heard.streams.audio))
            for path, (_, streams) in zip((video, audio), sources, strict=True):
                if not streams:
                    raise PemtError(f"{path} lacks video or audio; leave it out of the manifest")
            outputs = [file.add_stream_from_template(streams[0]) for _, streams in sources]
            for (container, streams), target in zip(sources, outputs, strict=True):
                for packet in container.demux(streams[0]):
                    if packet.dts is None:  # the end of the stream
                        continue
                    packet.stream = target
                    file.mux(packet)
    except (av.error.FFmpegError, OSError) as error:
        raise PemtError(f"{video} with the audio of {audio}: {error}") from None


def exchange(clips: Path, manifest: Path, output: Path, seed: int) -> int:
    """Writes the files and `manifest.csv`; the folder appears under its name when it is complete.

    Args:
        clips: folder of the files.
        manifest: their manifest, with the columns `path` and `split`.
        output: a new folder.
        seed: random seed.

    Returns:
        The number of files.

    Raises:
        PemtError: the folder exists, or a file cannot be read.
    """
    if output.exists():
        raise PemtError(f"{output} exists; name a new folder")
    names = list(_training_files(manifest))
    order = derangement(len(names), seed)
    partial = output.with_name(output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    progress = Progress("exchanged audio", len(names), "files")
    for number, name in enumerate(names):
        join(clips / name, clips / names[order[number]], partial / name)
        progress.update(number + 1)
    progress.close()
    write_manifest([(name, TRAIN, block_of(name)) for name in names], partial / "manifest.csv")
    partial.rename(output)
    return len(names)


def _training_files(manifest: Path) -> Iterator[str]:
    try:
        with manifest.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        yield from (row["path"] for row in rows if row["split"] == TRAIN)
    except (OSError, KeyError, csv.Error) as error:
        raise PemtError(f"{manifest} is not a manifest with the columns path and split ({error})") from None


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition(":")[0],
        epilog="example: python -m experiments.exchanged_audio --clips DATA/lrc_ar --manifest out/manifest.csv "
        "--output out/exchanged",
    )
    parser.add_argument("--clips", type=Path, required=True, help="folder of the files")
    parser.add_argument("--manifest", type=Path, required=True, help="CSV file with the columns path and split")
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    options = parser.parse_args(arguments)

    def work() -> None:
        count = exchange(options.clips, options.manifest, options.output, options.seed)
        sys.stdout.write(f"{count} files with the audio of others: {options.output}\n")

    return exit_code_of(work)


if __name__ == "__main__":
    sys.exit(main())

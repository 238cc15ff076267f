"""How fast training's input pipeline delivers pictures, against decoding the same JPEGs in a bare loop.

    python benchmarks/input_pipeline.py                     # makes clips and records of its own first
    python benchmarks/input_pipeline.py --data DATASET      # yours, from beam_jobs.preprocess
    python benchmarks/input_pipeline.py --cores 2

The bare loop calls `tf.io.decode_and_crop_jpeg` on JPEGs that lie in memory, with the very windows that the pipeline's
crops need, and drops the result: no records, no scaling, no flip, no batch. It is the quickest of the decoders at
hand, which `--decoders` compares: simplejpeg and Pillow decode whole pictures only. With two cores it runs in two
threads. The pipeline (`training_clips`) also reads and parses the records, scales, mirrors, masks the spectrograms,
shuffles and makes batches, but decodes a JPEG that stands in a clip several times once. So `bare, different` is shown
too: the bare loop over the different JPEGs of each clip, counted as if it had delivered them all. Both sides take
turns on the same cores; the pipeline is timed after its buffers have filled.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import measure

HERE = Path(__file__).resolve().parent
SEED = 1
FILL = 3  # batches before the timed ones: more than the pipeline keeps ready
SETTINGS = "PEMT_INPUT_BENCHMARK"  # environment variable by which a worker gets its settings


def main() -> None:
    """The command line."""
    options = _options()
    if options.worker:
        _work(options.worker, **json.loads(os.environ[SETTINGS]))
        return
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        data = options.data or make_data(Path(scratch), options.preset)
        cores = sorted(os.sched_getaffinity(0))[-options.cores :]
        os.environ[SETTINGS] = json.dumps(
            {"data": data, "cores": cores, "clips": options.clips, "batch": options.batch}
        )
        names = ["pipeline", "bare", "bare, different"] + ["simplejpeg", "pillow"] * options.decoders
        workers = {name: measure.Worker("input_pipeline.py", name) for name in names}
        figures = measure.take_turns(workers, options.rounds)
        for worker in workers.values():
            worker.close()
    pictures = figures["bare"][0]["pictures"]
    print(f"{pictures} pictures a run, {len(cores)} cores, {options.rounds} rounds\n")
    print("| | us CPU a picture | pictures a second | rate by CPU time, of the bare loop's | by wall time |")
    print("|---|---|---|---|---|")
    for name, runs in figures.items():
        cells = [f"{1e6 * measure.median(runs) / pictures:.0f}", f"{pictures / measure.median(runs, 'wall'):.0f}"]
        cells += [measure.ratio(figures["bare"], runs, key) for key in ("cpu", "wall")]
        print(f"| {name} | {' | '.join(cells)} |")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="data set to read (default: one of its own making)")
    parser.add_argument(
        "--preset", default="avbert_base", help="of a data set of its own making (default: %(default)s)"
    )
    parser.add_argument("--cores", type=int, choices=(1, 2), default=1, help="default: 1")
    parser.add_argument("--rounds", type=int, default=7, help="default: 7")
    parser.add_argument("--clips", type=int, default=32, help="clips a run (default: 32)")
    parser.add_argument("--batch", type=int, default=4, help="clips a batch (default: 4)")
    parser.add_argument("--decoders", action="store_true", help="also time other decoders in the bare loop")
    parser.add_argument("--scratch", help="folder to work in (default: the system's for temporary files)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def make_data(work: Path, preset: str) -> str:
    """Makes clips and a data set of them; returns its folder."""
    import preprocess_clips

    preprocess_clips.make_clips(work / "train")
    command = [sys.executable, "-m", "beam_jobs.preprocess", "--input", str(work / "train"), "--preset", preset]
    command += ["--output", str(work / "data"), "--split_fractions", "train=1"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(HERE.parent)})
    return str(work / "data")


def _work(name: str, data: str, cores: list[int], clips: int, batch: int) -> None:
    """A worker: answers every line on standard input with the figures of one run."""
    os.sched_setaffinity(0, cores)  # before TensorFlow counts the processors
    from pemt_tf.data.clip_source import ClipSource

    source = ClipSource.open(data)
    if name == "pipeline":
        run = _pipeline(source, clips, batch)
    else:
        run = _bare(source, clips, DECODERS[name](), len(cores), different=name == "bare, different")
    run()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(run()), flush=True)


def _pipeline(source, clips: int, batch: int) -> Callable[[], dict[str, float]]:
    from pemt_tf.data.input_pipeline import read_batches, training_clips

    batches = training_clips(source, "train", batch, SEED, streams=("visual",))
    geometry = source.geometry

    def run() -> dict[str, float]:
        stream = read_batches(batches)
        for _ in range(FILL):
            next(stream)
        return _timed(lambda: [next(stream) for _ in range(clips // batch)], clips * _pictures(geometry))

    return run


def _bare(source, clips: int, decode: Callable, threads: int, different: bool) -> Callable[[], dict[str, float]]:
    jobs = [(set(jpegs) if different else jpegs, window) for jpegs, window in itertools.islice(_windows(source), clips)]
    parts = [jobs[number::threads] for number in range(threads)]

    def work(part: list) -> None:
        for jpegs, window in part:
            for jpeg in jpegs:
                decode(jpeg, window)

    pool = ThreadPoolExecutor(threads)
    return lambda: _timed(lambda: list(pool.map(work, parts)), clips * _pictures(source.geometry))


def _windows(source) -> Iterator[tuple[list[bytes], object]]:
    """Clips' JPEGs, over and over, each time with the window that the pipeline's next crop would have."""
    import tensorflow as tf

    from pemt_tf.data import records
    from pemt_tf.features import frame_crops

    raw = tf.data.TFRecordDataset(list(source.require_split("train")), source.compression)
    clips = [clip for clip in (records.parse(one, source.geometry) for one in raw) if clip["has_video"]]
    for number, clip in enumerate(itertools.cycle(clips)):
        plan = frame_crops.plan_train_crop(clip["height"], clip["width"], source.geometry, tf.constant([SEED, number]))
        yield clip["jpegs"].numpy().tolist(), frame_crops.window(plan, clip["width"])


def _pictures(geometry) -> int:
    return geometry.segments * geometry.frames_per_segment


def _timed(work: Callable[[], object], pictures: int) -> dict[str, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "pictures": pictures}


def _tensorflow() -> Callable:
    import tensorflow as tf

    # The operation itself: its Python wrapper, tf.io.decode_and_crop_jpeg, takes a little longer.
    return lambda jpeg, window: tf.raw_ops.DecodeAndCropJpeg(contents=jpeg, crop_window=window, channels=3)


def _simplejpeg() -> Callable:
    import simplejpeg

    return lambda jpeg, _: simplejpeg.decode_jpeg(jpeg)


def _pillow() -> Callable:
    from PIL import Image

    return lambda jpeg, _: Image.open(io.BytesIO(jpeg)).load()


DECODERS = {"bare": _tensorflow, "bare, different": _tensorflow, "simplejpeg": _simplejpeg, "pillow": _pillow}

if __name__ == "__main__":
    main()

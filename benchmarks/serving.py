"""SavedModels as a server runs them: load time, memory, latency, and what smaller weights cost.

    python benchmarks/serving.py [--preset tiny] [--rounds 30] [--run out/finetuned --data out/records]

Five sides, each in a process of its own, which take turns:

    folded    what `pemt export` writes
    unfolded  the same with the rotations left as they are
    float16   `--weights float16`
    int8      `--weights int8`
    keras     no SavedModel: the trained model under tf.function, on features that are made beforehand

Without `--run` the model has random weights, which does not matter to speed and size. The table of probabilities then
says how far rounding moves them, but accuracy needs a trained run and its records (split test).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from measure import Worker

SIDES = ("folded", "unfolded", "float16", "int8", "keras")
SIGNATURES = (
    "serving_default",
    "classify",
    "classify_visual",
    "classify_audio",
    "embed",
    "embed_visual",
    "embed_audio",
)
CLASSES = 32


class ServingWorker(Worker):
    """A worker that answers questions: a line of JSON for a line of JSON."""

    def ask(self, **question):
        """One question."""
        return self.send(json.dumps(question))


def resident() -> float:
    """Resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 1e6


def prepare(arguments: argparse.Namespace, folder: Path) -> Path:
    """The run whose model is measured: the given one, or a new one with random weights."""
    if arguments.run:
        return Path(arguments.run)
    import keras

    from pemt_tf.config import Config
    from pemt_tf.models.heads import AVClassifier
    from pemt_tf.training.run_directory import RunDirectory

    keras.utils.set_random_seed(0)
    config = Config.from_preset(arguments.preset)
    run = RunDirectory(folder / "run")
    run.start(config, {"kind": "finetune", "labels": [f"class {number}" for number in range(CLASSES)]})
    model = AVClassifier(config.model, CLASSES)
    model.build()
    run.save_model(model)
    return run.path


def export(side: str, run: Path, folder: Path) -> None:
    """Writes the SavedModel of a side, in a process of its own: exporting takes memory."""
    from pemt_tf.export.saved_model import export_saved_model
    from pemt_tf.training.run_directory import RunDirectory

    weights = side if side in ("float16", "int8") else "float32"
    export_saved_model(RunDirectory(run), folder / side, weights, fold=side != "unfolded")


def make_inputs(config, batch: int) -> dict:
    """Random clips in every form."""
    import numpy as np
    import tensorflow as tf

    from pemt_tf.data import records

    geometry = config.geometry
    rng = np.random.default_rng(0)
    side = geometry.test_crop
    shape = (batch, geometry.segments, geometry.frames_per_segment, side, side, 3)
    waveform = rng.normal(0, 0.1, (batch, geometry.segments, geometry.samples_per_segment)).astype(np.float32)
    raw = records.serialize(records.get_fake_clip(geometry), geometry)
    return {
        "frames": tf.constant(rng.integers(0, 256, shape, np.uint8)),
        "waveform": tf.constant(waveform),
        "examples": tf.constant([raw] * batch),
    }


def load_side(side: str, run: Path, folder: Path):
    """Signature name to a function of `make_inputs`, and the configuration."""
    import tensorflow as tf

    from pemt_tf.features import frame_crops, spectrogram
    from pemt_tf.training.run_directory import RunDirectory

    config = RunDirectory(run).config()
    if side != "keras":
        loaded = tf.saved_model.load(str(folder / side))

        def make(name):
            signature = loaded.signatures[name]
            names = list(signature.structured_input_signature[1])
            return lambda inputs: signature(**{key: inputs[key] for key in names})

        return {name: make(name) for name in SIGNATURES}, config
    model, _ = RunDirectory(run).load_classifier()
    step = tf.function(lambda inputs: model(inputs, training=False)["probabilities"])

    def classify(inputs):
        if "features" not in inputs:
            inputs["features"] = {
                "frames": frame_crops.normalize(inputs["frames"]),
                "log_mel": spectrogram.log_mel(inputs["waveform"], config.geometry)[..., None],
            }
        return {"probabilities": step(inputs["features"])}

    return {"classify": classify}, config


def work(side: str, run: Path, folder: Path) -> None:
    """A worker: loads, says how long that took, then answers questions."""
    import tensorflow as tf  # its import is not counted

    before, start = resident(), time.perf_counter()
    functions, config = load_side(side, run, folder)
    loaded = {"load": time.perf_counter() - start, "loaded_mb": resident() - before}
    print("ready", flush=True)
    made: dict = {}
    for line in sys.stdin:
        question = json.loads(line)
        if "records" in question:
            answer = functions["serving_default"]({"examples": tf.constant(read_records(question["records"]))})
            print(json.dumps(answer["probabilities"].numpy().tolist()), flush=True)
            continue
        if "signature" not in question:
            print(json.dumps({**loaded, "now_mb": resident() - before}), flush=True)
            continue
        batch = question["batch"]
        if batch not in made:
            made[batch] = make_inputs(config, batch)
        inputs = made[batch]
        cpu, start = time.process_time(), time.perf_counter()
        next(iter(functions[question["signature"]](inputs).values())).numpy()
        print(json.dumps([time.perf_counter() - start, time.process_time() - cpu]), flush=True)


def read_records(path: str) -> list[bytes]:
    """Records of a file."""
    from pemt_tf.data.record_format import read_records as read

    with Path(path).open("rb") as file:
        return list(read(file))


def measure_latency(workers: dict[str, ServingWorker], batches: list[int], rounds: int) -> None:
    """Prints CPU time, and p50 and p99 of wall time, by signature, batch and side; the sides take turns by call."""
    print(f"\n{'ms of CPU; wall p50/p99':24} {'clips':>5}  " + "".join(f"{side:>24}" for side in workers))
    for signature in SIGNATURES:
        for batch in batches:
            taking_part = {s: w for s, w in workers.items() if s != "keras" or signature == "classify"}
            times: dict[str, list[list[float]]] = {side: [] for side in taking_part}
            for number in range(rounds + 2):
                for side, worker in taking_part.items():
                    seconds = worker.ask(signature=signature, batch=batch)
                    if number >= 2:  # the first calls trace and optimize
                        times[side].append([1000 * each for each in seconds])
            cells = [cell(times[side]) if side in times else "" for side in workers]
            print(f"{signature:24} {batch:5}  " + "".join(f"{text:>24}" for text in cells), flush=True)


def cell(times: list[list[float]]) -> str:
    """Median CPU time, median wall time and its 99th percentile (the largest, of fewer than 100)."""
    walls = sorted(wall for wall, _ in times)
    slowest = walls[min(len(walls) - 1, int(0.99 * len(walls)))]
    return f"{statistics.median(cpu for _, cpu in times):.1f}; {statistics.median(walls):.1f}/{slowest:.1f}"


def compare_probabilities(workers: dict[str, ServingWorker], run: Path, data: str | None, folder: Path) -> None:
    """Prints how far the probabilities are from those of the folded float32 model, and the accuracy."""
    import numpy as np

    from pemt_tf.data import records
    from pemt_tf.data.clip_source import ClipSource
    from pemt_tf.data.record_format import RecordFile
    from pemt_tf.training.run_directory import RunDirectory

    config, files, labels = RunDirectory(run).config(), [], None
    if data:
        files = [str(file) for file in ClipSource.open(data).require_split("test") if Path(file).stat().st_size]
        labels = [first_label(raw) for file in files for raw in read_records(file)]
    else:
        file = folder / "clips.tfrecord"
        with file.open("wb") as stream:
            out = RecordFile(stream)
            for seed in range(8):
                out.write(records.serialize(records.get_fake_clip(config.geometry, seed), config.geometry))
        files = [str(file)]
    answers = {
        side: np.concatenate([worker.ask(records=file) for file in files])
        for side, worker in workers.items()
        if side != "keras"
    }
    base = answers["folded"]
    print(f"\n{len(base)} clips of {data or 'noise'}; probabilities against folded float32")
    print(f"{'':10} {'max diff':>9} {'mean diff':>10} {'same top 1':>11} {'accuracy':>9}")
    for side, values in answers.items():
        difference = np.abs(values - base)
        same = np.mean(values.argmax(1) == base.argmax(1))
        accuracy = f"{np.mean(values.argmax(1) == np.array(labels)):.1%}" if labels else "-"
        print(f"{side:10} {difference.max():9.1e} {difference.mean():10.1e} {same:11.1%} {accuracy:>9}")


def first_label(raw: bytes) -> int:
    """Of a record; -1 without."""
    import tensorflow as tf

    from pemt_tf.data import records

    values = tf.train.Example.FromString(raw).features.feature[records.LABEL_INDEX].int64_list.value
    return values[0] if values else -1


def print_sizes(workers: dict[str, ServingWorker], folder: Path) -> None:
    """Prints size, load time and memory."""
    print(f"{'':10} {'disk MB':>8} {'load s':>7} {'loaded MB':>10} {'after use MB':>13}")
    for side, worker in workers.items():
        files = [file.stat().st_size for file in (folder / side).rglob("*") if file.is_file()]
        state = worker.ask()
        disk = f"{sum(files) / 1e6:.1f}" if files else "-"
        print(f"{side:10} {disk:>8} {state['load']:7.1f} {state['loaded_mb']:10.0f} {state['now_mb']:13.0f}")


def read_arguments() -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny", help="model with random weights (default: %(default)s)")
    parser.add_argument("--run", help="a finished fine-tuning run instead")
    parser.add_argument("--data", help="its data set, for the accuracy on split test")
    parser.add_argument("--rounds", type=int, default=30, help="calls of each signature (default: %(default)s)")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4], help="clips in a call (default: 1 4)")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES, help="which to measure")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Prepares, measures, prints."""
    arguments = read_arguments()
    if arguments.worker:
        task, side, run, folder = json.loads(arguments.worker)
        if task == "export":
            export(side, Path(run), Path(folder))
            print("ready", flush=True)
            return
        work(side, Path(run), Path(folder))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run = prepare(arguments, folder)
        for side in arguments.sides:
            if side != "keras":
                ServingWorker("serving.py", json.dumps(["export", side, str(run), temporary])).close()
        workers = {
            side: ServingWorker("serving.py", json.dumps(["serve", side, str(run), temporary]))
            for side in arguments.sides
        }
        measure_latency(workers, arguments.batch, arguments.rounds)
        compare_probabilities(workers, run, arguments.data, folder)
        print()
        print_sizes(workers, folder)
        for worker in workers.values():
            worker.close()


if __name__ == "__main__":
    main()

"""The share of training time that goes into waiting for clips: `python benchmarks/input_wait.py`.

Pretrains a preset (avbert_base) for a few steps on a small data set of made-up clips, on all cores, with the product's
own input pipeline and loop, and prints what the loop logs as `input_wait_share`: the time in which no step could run
for lack of a batch, as a share of all time. The first step is left out: it compiles, and the pipeline fills meanwhile.

The clips are smooth pictures in noise, about as large as JPEGs of real videos; what is measured is reading, parsing,
decoding, cropping and batching, in competition with the training step for the same cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

CLIPS = 6
NOISE = 12.0  # of 256 grey levels


def main() -> None:
    """Runs it and prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="avbert_base")
    parser.add_argument("--batch", type=int, default=2, help="clips a step (default: 2)")
    parser.add_argument("--steps", type=int, default=5, help="steps that count (default: 5)")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    options = parser.parse_args()

    from pemt_tf.config import Config
    from pemt_tf.data.clip_source import ClipSource
    from pemt_tf.training.pretrain import pretrain

    steps = options.steps + 1
    settings = [
        f"pretrain.steps={steps}",
        f"pretrain.batch_size={options.batch}",
        f"pretrain.log_every={steps}",
        f"pretrain.checkpoint_every={steps}",
        "pretrain.images_every=0",
    ]
    config = Config.from_preset(options.preset).with_overrides([*settings, *options.set])
    with tempfile.TemporaryDirectory() as folder:
        _write_data(Path(folder, "data"), config.geometry)
        run = pretrain(config, ClipSource.open(Path(folder, "data")), Path(folder, "run"))
        row = run.metrics()[-1]
    shown = {name: round(row[name], 4) for name in ("examples_per_second", "input_wait_share")}
    print(json.dumps({"preset": options.preset, "batch": options.batch, "steps": options.steps, **shown}))


def _write_data(directory: Path, geometry) -> None:
    import numpy as np
    import simplejpeg

    from pemt_tf.data.dataset_card import DatasetCard, SplitCard
    from pemt_tf.data.record_format import RecordFile
    from pemt_tf.data.records import get_fake_clip, serialize

    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[: geometry.stored_short_side, : geometry.stored_short_side * 4 // 3]
    height, width = rows.shape
    directory.mkdir()
    with (directory / "train.tfrecord").open("wb") as stream:
        file = RecordFile(stream)
        for number in range(CLIPS):
            clip = get_fake_clip(dataclasses.replace(geometry, stored_short_side=8), number, label=0)
            jpegs = []
            for frame in range(geometry.segments * geometry.frames_per_segment):
                wave = 128 + 90 * np.sin((rows + columns * (number + 1) / 3 + 4 * frame) / 17)
                pixels = wave[..., None] + rng.normal(0, NOISE, (*rows.shape, 3))
                jpegs.append(simplejpeg.encode_jpeg(np.clip(pixels, 0, 255).astype(np.uint8), quality=90))
            clip = dataclasses.replace(clip, jpegs=jpegs, height=height, width=width)
            file.write(serialize(clip, geometry))
    split = SplitCard(["train.tfrecord"], CLIPS, {"noise": CLIPS}, 0, CLIPS, CLIPS, float(CLIPS))
    DatasetCard(geometry, ["noise"], {"train": split}, CLIPS, CLIPS, {}, {}, content_hash="f" * 64).write(directory)


if __name__ == "__main__":
    main()

"""The sides of gpu_step.py: each makes a train step, or a short training, and says how fast it is."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOCKS = 3  # of timed steps; the figure is the best of them, and the others show the spread
CLASSES = 32
SMALL: dict[str, Any] = {"hidden": 16, "heads": 2, "intermediate": 32, "layers": 1, "rank": 4, "max_positions": 8}
SMALL |= {"visual_depth": 18, "visual_width": 4, "audio_depth": 18, "audio_width": 4}


@dataclass(frozen=True)
class Row:
    """A row of the table: what computes, how, and with how many clips a step."""

    side: str  # tensorflow, jax, pytorch, tiny
    dtype: str  # float32, with TF32 where the GPU has it; bfloat16
    way: str  # eager, xla, xla-transformer, remat; channels-last, compiled
    batch: int
    steps: int
    small: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Segments, frames of a segment, and side of the frames in pixels."""
        return (2, 4, 16) if self.small else (10, 32, 112)

    @property
    def mel(self) -> tuple[int, int]:
        """Bins and frames of a spectrogram."""
        return (16, 16) if self.small else (80, 128)


def work(row: Row) -> dict:
    """Runs a row in this process; clips a second, peak memory in GB and seconds to the end of the first step."""
    return {"tensorflow": _tensorflow, "jax": _jax, "pytorch": _pytorch, "tiny": _tiny}[row.side](row)


def _timed(row: Row, call: Callable[[], object], steps_of_call: int, peak: Callable[[], float]) -> dict:
    """Times calls that return when their steps are done."""
    begin = time.perf_counter()
    call()
    first = time.perf_counter() - begin
    call()
    rates = []
    calls = max(1, row.steps // steps_of_call)
    for _ in range(BLOCKS):
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        rates.append(calls * steps_of_call * row.batch / (time.perf_counter() - begin))
    return {"clips_per_second": max(rates), "blocks": rates, "peak_gb": peak(), "first_step_s": first}


def _resident() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def _peak_of_tensorflow() -> float:
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 1e9 if gpus else _resident()


def _our_model(row: Row):
    import keras

    from pemt_tf.config import ModelConfig
    from pemt_tf.models.heads import AVClassifier

    keras.config.set_dtype_policy("mixed_bfloat16" if row.dtype == "bfloat16" else "float32")
    config = ModelConfig(remat=row.way == "remat", **(SMALL if row.small else {}))
    model = AVClassifier(config, CLASSES)
    model.build()
    return model


def make_step(row: Row, kernels: str = "auto") -> tuple[Any, dict, Any]:
    """The product's own step of fine-tuning, a batch for it, and the settings that it follows."""
    import keras
    import tensorflow as tf

    from pemt_tf.config.training import FinetuneConfig
    from pemt_tf.training.classification_losses import classification_losses
    from pemt_tf.training.schedules import make_schedule
    from pemt_tf.training.task import make_task
    from pemt_tf.training.train_step import make_train_step

    keras.utils.set_random_seed(0)
    model, (segments, frames, size) = _our_model(row), row.shape
    batch = {
        "frames": tf.random.normal((row.batch, segments, frames, size, size, 3)),
        "log_mel": tf.random.normal((row.batch, segments, *row.mel, 1)),
        "label": tf.zeros((row.batch,), tf.int64),
    }

    def losses(batch: dict) -> dict:
        outputs = model({name: batch[name] for name in ("frames", "log_mel")}, training=True)
        return classification_losses(outputs, batch["label"])

    xla = {"xla": True, "xla-transformer": "transformer"}
    settings = FinetuneConfig(batch_size=row.batch, jit_compile=xla.get(row.way, False), kernels=kernels)
    rate = make_schedule("constant", 1e-4, 1000)
    task = make_task("step", model, losses, lambda _: tf.data.Dataset.from_tensors(batch), settings, rate)
    return make_train_step(task, tf.distribute.get_strategy()), batch, settings


def _tensorflow(row: Row) -> dict:
    """Several steps in a call where the product does that."""
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    from pemt_tf.device_choices import bytes_of, choices_for, kernels, steps_per_call

    step, batch, settings = make_step(row)
    most = steps_per_call(settings, bytes_of(batch) // 4)  # the product's frames are bytes

    def call() -> None:
        with kernels(choices_for(settings)):
            if most == 1:
                step([batch])
            else:
                step.several([[batch]] * most, most)

    return _timed(row, call, most, _peak_of_tensorflow)


def _jax(row: Row) -> dict:
    import jax
    import jax.numpy as jnp

    from pemt_tf.training.optimizers import TorchAdam

    model, (segments, frames, size) = _our_model(row), row.shape
    optimizer = TorchAdam(1e-4, epsilon=1e-6)
    optimizer.build(model.trainable_variables)
    inputs = {
        "frames": jax.random.normal(jax.random.key(0), (row.batch, segments, frames, size, size, 3)),
        "log_mel": jax.random.normal(jax.random.key(1), (row.batch, segments, *row.mel, 1)),
    }

    def loss(trainable, other):
        outputs, other = model.stateless_call(trainable, other, inputs, training=True)
        return sum(-jnp.mean(jax.nn.log_softmax(each)[..., 0]) for each in outputs["logits"].values()), other

    @jax.jit
    def step(trainable, other, slots):
        (value, other), gradients = jax.value_and_grad(loss, has_aux=True)(trainable, other)
        trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
        return value, trainable, other, slots

    groups = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    state = [[variable.value for variable in group] for group in groups]

    def call() -> None:
        value, *state[:] = step(*state)
        value.block_until_ready()

    device = jax.devices()[0]
    on_gpu = device.platform == "gpu"
    return _timed(row, call, 1, lambda: device.memory_stats()["peak_bytes_in_use"] / 1e9 if on_gpu else _resident())


def _pytorch(row: Row) -> dict:
    import torch
    from pytorch_model import Classifier
    from torch.nn.functional import cross_entropy

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, (segments, frames, size) = Classifier(CLASSES).to(device), row.shape
    pictures = torch.randn(row.batch * segments, 3, frames, size, size, device=device)
    if row.way == "channels-last":
        model = model.to(memory_format=torch.channels_last_3d)
        pictures = pictures.to(memory_format=torch.channels_last_3d)
    pictures = pictures.unflatten(0, (row.batch, segments))
    log_mel = torch.randn(row.batch, segments, 1, *row.mel, device=device)
    labels = torch.zeros(row.batch * segments, dtype=torch.long, device=device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, eps=1e-6)
    forward = torch.compile(model) if row.way == "compiled" else model

    def call() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=row.dtype == "bfloat16"):
            heads = forward(pictures, log_mel)
        losses = [cross_entropy(logits.flatten(0, 1).float(), labels) for logits in heads]
        torch.stack(losses).sum().backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    peak = (lambda: torch.cuda.max_memory_allocated() / 1e9) if device == "cuda" else _resident
    return _timed(row, call, 1, peak)


def _tiny(row: Row) -> dict:
    """`pemt pretrain --preset tiny` on made-up clips: records, decoding, the loop, and all."""
    from pemt_tf.config import Config
    from pemt_tf.data.clip_source import ClipSource
    from pemt_tf.data.dataset_card import DatasetCard, SplitCard
    from pemt_tf.data.record_format import RecordFile
    from pemt_tf.data.records import get_fake_clip, serialize
    from pemt_tf.training.pretrain import pretrain

    config, every = Config.from_preset("tiny"), max(row.steps // BLOCKS, 1)
    settings = [f"batch_size={row.batch}", f"log_every={every}", f"steps={(BLOCKS + 1) * every}", "images_every=0"]
    settings += ["precision=mixed_bfloat16"] * (row.dtype == "bfloat16")
    config = config.with_overrides([f"pretrain.{each}" for each in settings])
    geometry, clips = config.geometry, 4 * row.batch
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        data.mkdir()
        with (data / "train.tfrecord").open("wb") as stream:
            file = RecordFile(stream)
            for number in range(clips):
                file.write(serialize(get_fake_clip(geometry, number, label=0), geometry))
        split = SplitCard(["train.tfrecord"], clips, {"fake": clips}, 0, clips, clips, float(clips))
        card = DatasetCard(geometry, ["fake"], {"train": split}, clips, clips, {}, {}, content_hash="f" * 64)
        card.write(data)
        begin = time.perf_counter()
        run = pretrain(config, ClipSource.open(data), Path(folder, "run"))
        seconds = time.perf_counter() - begin
        rates = [line["examples_per_second"] for line in run.metrics()[1:]]
    return {"clips_per_second": max(rates), "blocks": rates, "peak_gb": _peak_of_tensorflow(), "whole_run_s": seconds}


def main() -> None:
    """The child: a row as JSON in the arguments, its figures as the last line of the output."""
    sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]
    print(json.dumps(work(Row(**json.loads(sys.argv[1])))), flush=True)


if __name__ == "__main__":
    main()

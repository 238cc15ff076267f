"""Fixtures that several folders of tests share: a small configuration, its data set, and short runs on it."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path

# Before anything imports TensorFlow; child processes inherit it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

from pemt_tf.config import Config

SMALL = {
    "name": "small",
    "geometry": {
        "segments": 3,
        "frames_per_segment": 2,
        "frame_rate": 4,
        "stored_short_side": 24,
        "train_crop": 16,
        "train_scale": [16, 24],
        "test_crop": 20,
        "sample_rate": 4000,
        "samples_per_segment": 2000,
        "mel_bins": 16,
        "mel_frames": 16,
    },
    "model": {
        "hidden": 16,
        "heads": 2,
        "intermediate": 32,
        "layers": 2,
        "rank": 6,
        "rotation_storage": "strict_triangle",
        "max_positions": 8,
        "visual_depth": 18,
        "visual_width": 4,
        "audio_depth": 18,
        "audio_width": 4,
    },
    "pretrain": {
        "steps": 4,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "negative_count": 4,
        "projection": 8,
        "log_every": 2,
        "checkpoint_every": 2,
    },
    "finetune": {
        "steps": 4,
        "batch_size": 4,
        "base_learning_rate": 3e-3,
        "finetune_learning_rate": 1e-3,
        "log_every": 2,
        "checkpoint_every": 2,
    },
}


# Tracing makes millions of objects that live: the default looks for circles among them far too often.
gc.set_threshold(100_000, 50, 100)

# A shell that starts the tests in the background has them ignore Ctrl-C, and what they start inherits it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--leave-slow", action="store_true", help="skip what is marked slow, and count it")


# Files that take longest (`--durations=0` says so). The first two begin at once: only one needs a trained model,
# which the other worker then finds made.
LONGEST = (
    *("test_tutorial", "test_end_to_end", "test_multi_worker", "test_two_devices"),  # of `make test-slow`
    *("test_embed", "test_checkpoint_converter", "test_search", "test_input_pipeline", "test_saved_model"),
    *("test_run_report", "test_run", "test_library", "test_readme"),
)


def pytest_collection_modifyitems(config, items):
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONGEST)))
    if config.getoption("--leave-slow"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow: left to `make test-slow`"))


@pytest.fixture(autouse=True, scope="module")
def modules_leave_nothing_behind():
    """Between the modules of tests: memory and environment."""
    # tensorflow-transform sets it when it is imported; child processes would inherit it, and `pemt doctor` complains.
    os.environ.pop("TF_USE_LEGACY_KERAS", None)
    yield
    gc.collect()  # traced functions refer to themselves in circles, which are large and seldom looked for
    gc.freeze()  # what is left stays: looking through all of it again and again took a tenth of the time


@pytest.fixture(scope="session")
def small_config() -> Config:
    """A model and a clip geometry far below preset `tiny`: tracing takes the time, not arithmetic."""
    return Config.from_dict(SMALL)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Makes a folder once for all workers of pytest-xdist: who comes second waits, and uses it. Read it only."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # each worker has a folder in it

    def make_once(name: str, make: Callable[[Path], object]) -> Path:
        folder, finished = root / name, root / f"{name}.finished"
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not finished.exists():
                make(folder)
                finished.touch()
        return folder

    return make_once


@pytest.fixture(scope="session")
def dataset_directory(made_once, small_config):
    """Records of 12 training and 9 test clips, some without picture, sound or label (`tests.fake_dataset`)."""
    from tests.fake_dataset import fake_clips, write_dataset

    geometry = small_config.geometry
    splits = {"train": fake_clips(geometry, 12), "test": fake_clips(geometry, 9, first_seed=1000)}
    return made_once("dataset", lambda folder: write_dataset(folder, geometry, splits))


@pytest.fixture(scope="session")
def clip_source(dataset_directory):
    """`dataset_directory`, opened."""
    from pemt_tf.data.clip_source import ClipSource

    return ClipSource.open(dataset_directory)


@pytest.fixture(scope="session")
def pretraining_run(made_once, small_config, clip_source):
    """A finished pretraining run of four steps."""
    from pemt_tf.training.pretrain import pretrain
    from pemt_tf.training.run_directory import RunDirectory

    return RunDirectory(made_once("pretrained", lambda folder: pretrain(small_config, clip_source, folder)))


@pytest.fixture(scope="session")
def finetuning_run(made_once, small_config, clip_source, pretraining_run):
    """A finished fine-tuning run of four steps that began from `pretraining_run`."""
    from pemt_tf.training.finetune import finetune
    from pemt_tf.training.run_directory import RunDirectory

    def make(folder: Path) -> None:
        finetune(small_config, clip_source, folder, initial=pretraining_run)

    return RunDirectory(made_once("finetuned", make))


@pytest.fixture(scope="session")
def several_source(made_once, small_config):
    """Records of clips that have several labels, see `tests.several_labels`."""
    from pemt_tf.data.clip_source import ClipSource
    from tests.several_labels import write_several

    return ClipSource.open(made_once("several", lambda folder: write_several(folder, small_config.geometry)))


@pytest.fixture(scope="session")
def several_run(made_once, small_config, several_source):
    """A finished fine-tuning run on `several_source`, from random weights."""
    from pemt_tf.training.finetune import finetune
    from pemt_tf.training.run_directory import RunDirectory

    changes = ["labels=multiple", "sampling=classes", "steps=60", "batch_size=8", "select=best_validation"]
    changes += ["validate_every=30", "log_every=30", "checkpoint_every=60", "head_dropout=0"]
    changes += ["finetune_learning_rate=3e-3"]
    config = small_config.with_overrides([f"finetune.{change}" for change in changes])
    return RunDirectory(made_once("several_run", lambda folder: finetune(config, several_source, folder)))


@pytest.fixture(scope="session")
def classifier_servable(made_once, finetuning_run):
    """The SavedModel of `finetuning_run`."""
    from pemt_tf.export.saved_model import export_version

    return made_once("classifier", lambda folder: export_version(finetuning_run, folder)) / "1"


@pytest.fixture(scope="session")
def backbone_servable(made_once, pretraining_run):
    """The SavedModel of `pretraining_run`, without classifier."""
    from pemt_tf.export.saved_model import export_version

    return made_once("backbone", lambda folder: export_version(pretraining_run, folder)) / "1"


@pytest.fixture(scope="session")
def aligned_run(made_once, small_config, clip_source):
    """A run as of a pretraining with `alignment_weight`, with random weights: a backbone and an aligned space."""
    import keras

    from pemt_tf.models.pretraining_model import PretrainingModel
    from pemt_tf.training.history import run_description
    from pemt_tf.training.run_directory import RunDirectory

    config = small_config.with_overrides(["pretrain.alignment_weight=1", "pretrain.alignment_width=6"])

    def make(folder: Path) -> None:
        keras.utils.set_random_seed(5)
        model = PretrainingModel(config.model, config.pretrain)
        model.build()
        for weight in model.backbone.trainable_variables:  # the usual ones are so small that all clips look the same
            weight.assign(weight + 0.2 * keras.random.normal(weight.shape))
        run = RunDirectory(folder)
        run.start(config, run_description("pretrain", clip_source, "train", None))
        run.save_model(model)

    return RunDirectory(made_once("aligned", make))


@pytest.fixture(scope="session")
def aligned_servable(made_once, aligned_run):
    """The SavedModel of `aligned_run`."""
    from pemt_tf.export.saved_model import export_version

    return made_once("aligned_servable", lambda folder: export_version(aligned_run, folder)) / "1"

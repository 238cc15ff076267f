"""SavedModels for TF Serving: raw media in, answers out, the feature code inside the graph.

Signatures (a model of one modality has only what it needs):
    serving_default: serialized records -> probabilities, embedding.
    classify: uint8 frames and float waveform -> probabilities, embedding.
    embed: uint8 frames and float waveform -> embedding.
    embed_visual, embed_audio: one of them -> embedding of that stream alone.
A backbone without classifier has no `probabilities` and no `classify`. Only core TensorFlow operations are used.
`assets.extra/pemt.json` holds the configuration, the labels and where the model came from.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

import pemt_tf
from pemt_tf.config import Config
from pemt_tf.data import records
from pemt_tf.data.input_pipeline import decode_for_evaluation, model_inputs
from pemt_tf.errors import PemtError
from pemt_tf.features import audio, video
from pemt_tf.models.heads import AVClassifier
from pemt_tf.training.run_directory import CLASSIFIER, RunDirectory

METADATA = "assets.extra/pemt.json"


@dataclass(frozen=True)
class ServableMetadata:
    """What a SavedModel says of itself.

    Attributes:
        config: of the model.
        labels: classes, in the order of `probabilities`; empty without classifier.
        run: the training run it was exported from.
        data_hash: of the data set of that run.
        release: of this package.
    """

    config: Config
    labels: tuple[str, ...]
    run: str = ""
    data_hash: str = ""
    release: str = pemt_tf.__version__

    def write(self, directory: Path) -> None:
        """Writes `assets.extra/pemt.json` into a SavedModel."""
        path = directory / METADATA
        path.parent.mkdir(parents=True, exist_ok=True)
        values = {**vars(self), "config": self.config.to_dict(), "labels": list(self.labels)}
        path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> ServableMetadata:
        """Reads it back.

        Raises:
            PemtError: this is no SavedModel of ours.
        """
        path = directory / METADATA
        if not path.is_file():
            raise PemtError(f"{directory} is not a model exported by `pemt export`: it has no {METADATA}")
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**values, "config": Config.from_dict(values["config"]), "labels": tuple(values["labels"])})


def export_version(run: RunDirectory, base: Path) -> Path:
    """Exports a run as the next numbered version under `base`, complete or not at all; returns its folder.

    Raises:
        PemtError: the run is not finished, or `base` cannot be written.
    """
    taken = [int(path.name) for path in base.iterdir() if path.name.isdigit()] if base.is_dir() else []
    final = base / str(max(taken, default=0) + 1)
    partial = base / f".partial-{final.name}"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        export_saved_model(run, partial)
        partial.rename(final)
    except (OSError, tf.errors.OpError) as error:
        raise PemtError(f"cannot write the model to {base}: {error}; choose another --output") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def export_saved_model(run: RunDirectory, directory: Path) -> None:
    """Exports a finished run into exactly this folder.

    The model is rebuilt outside of any distribution strategy: mirrored variables must not get into the graph.
    """
    run.require_finished()
    description, config = run.description(), run.config()
    if (run.path / CLASSIFIER).is_file():
        model, labels = run.load_classifier()
    else:
        model, labels = run.load_backbone(), ()
    model = model.fold()
    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, function, specs in _endpoints(model, config):
        archive.add_endpoint(name, function, input_signature=specs)
    directory.parent.mkdir(parents=True, exist_ok=True)
    archive.write_out(str(directory), verbose=False)
    ServableMetadata(config, labels, str(run.path), description.get("data_hash", "")).write(directory)


def _endpoints(model: keras.Model, config: Config) -> list[tuple[str, Callable, list[tf.TensorSpec]]]:
    """Name, function and input signature of every endpoint this model can have."""
    geometry, modalities = config.geometry, config.model.modalities
    classifies = isinstance(model, AVClassifier)
    specs = {
        "visual": tf.TensorSpec([None, None, geometry.frames_per_segment, None, None, 3], tf.uint8, "frames"),
        "audio": tf.TensorSpec([None, None, geometry.samples_per_segment], tf.float32, "waveform"),
    }

    def prepare(tensors: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        inputs = {}
        if "visual" in tensors:
            frames = tensors["visual"]
            plan = video.plan_test_crop(tf.shape(frames)[-3], tf.shape(frames)[-2], geometry)
            inputs["frames"] = video.normalize(video.crop_frames(frames, plan))
        if "audio" in tensors:
            inputs["log_mel"] = audio.log_mel(tensors["audio"], geometry)[..., None]
        return inputs

    def answer(inputs: dict[str, tf.Tensor], names: tuple[str, ...]) -> dict[str, tf.Tensor]:
        outputs = model(inputs, training=False)
        return {name: tf.cast(outputs[name], tf.float32) for name in names}

    def endpoint(streams: tuple[str, ...], names: tuple[str, ...]) -> Callable:
        if len(streams) == 2:
            return lambda frames, waveform: answer(prepare({"visual": frames, "audio": waveform}), names)
        return lambda tensor: answer(prepare({streams[0]: tensor}), names)

    def from_records(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = tf.map_fn(
            lambda raw: decode_for_evaluation(records.parse(raw, geometry), geometry),
            examples,
            fn_output_signature=_clip_signature(config),
        )
        return answer(model_inputs(batch, modalities), full)

    full = ("probabilities", "embedding") if classifies else ("embedding",)
    result = [("serving_default", from_records, [tf.TensorSpec([None], tf.string, "examples")])]
    inputs = [specs[m] for m in modalities]
    if classifies:
        result.append(("classify", endpoint(modalities, full), inputs))
    result.append(("embed", endpoint(modalities, ("embedding",)), inputs))
    result += [(f"embed_{m}", endpoint((m,), ("embedding",)), [specs[m]]) for m in modalities]
    return result


def _clip_signature(config: Config) -> dict[str, tf.TensorSpec]:
    geometry = config.geometry
    segments, crop = geometry.segments, geometry.test_crop
    return {
        "frames": tf.TensorSpec([segments, geometry.frames_per_segment, crop, crop, 3], tf.uint8),
        "log_mel": tf.TensorSpec([segments, geometry.mel_bins, geometry.mel_frames, 1], tf.float32),
        "visual_mask": tf.TensorSpec([segments], tf.float32),
        "audio_mask": tf.TensorSpec([segments], tf.float32),
    }

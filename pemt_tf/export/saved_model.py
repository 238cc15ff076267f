"""SavedModels for TF Serving: raw media in, predictions out, the feature code inside the graph.

Signatures (a model of one modality has only those that it needs):
    serving_default: serialized records -> probabilities, labels, embedding.
    classify: uint8 frames and float waveform -> probabilities, labels, embedding.
    classify_visual, classify_audio: one of them -> the same, as for a record that lacks the other modality.
    embed: uint8 frames and float waveform -> embedding.
    embed_visual, embed_audio: one of them -> embedding of that modality alone, without the joint Transformer.
    metadata: names of fields -> JSON: labels, geometry, version and others.
A classifier of several labels a clip has `scores` in the place of `probabilities`. A backbone without classifier has
neither, and no `labels` and no `classify`. A run with an aligned space adds `aligned_visual` and `aligned_audio` to
`serving_default` and to the `embed` of the same modality. Only core TensorFlow operations are used. `assets.extra/`
holds the configuration (`pemt.json`) and the warm-up requests.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import keras
import tensorflow as tf

from pemt_tf.errors import PemtError, first_line
from pemt_tf.export.servable_metadata import METADATA, ServableMetadata
from pemt_tf.export.serving_model import ServingModel
from pemt_tf.export.signatures import ServingSignatures
from pemt_tf.export.warmup import write_warm_up
from pemt_tf.export.weight_storage import FLOAT32, StoredWeights
from pemt_tf.files.folder_lock import LockHeldError, lock
from pemt_tf.training.run_directory import RunDirectory

__all__ = ["METADATA", "ServableMetadata", "export_saved_model", "export_version"]


def export_version(run: RunDirectory, base: Path, weights: str = FLOAT32) -> Path:
    """Exports a run as the next numbered version under `base`, complete or not at all; returns its folder.

    Concurrent exports get different numbers.

    Args:
        run: a finished run.
        base: folder of versions, the model's base path in TF Serving.
        weights: how the weights are stored, see `StoredWeights`.

    Raises:
        PemtError: the run is not finished, or `base` cannot be written.
    """
    run.require_finished()
    try:
        base.mkdir(parents=True, exist_ok=True)
        with _next_version(base) as version:
            final, partial = base / str(version), base / f".partial-{version}"
            try:
                shutil.rmtree(partial, ignore_errors=True)  # left by an export that was killed
                export_saved_model(run, partial, weights, version)
                partial.rename(final)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except (OSError, tf.errors.OpError) as error:
        raise PemtError(f"cannot write the model to {base}: {first_line(error)}; choose another --output") from None
    return final


@contextlib.contextmanager
def _next_version(base: Path) -> Iterator[int]:
    """Reserves the number after all versions that exist or that other exports are writing."""
    taken = [int(path.name) for path in base.iterdir() if path.name.isdigit()]
    for version in itertools.count(max(taken, default=0) + 1):
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(lock(base / f".partial-{version}.lock"))
            except LockHeldError:
                continue
            if not (base / str(version)).exists():  # it may have been finished just now
                yield version
                return


def export_saved_model(
    run: RunDirectory, directory: Path, weights: str = FLOAT32, version: int = 0, fold: bool = True
) -> None:
    """Exports a finished run into exactly this folder; the model computes in float32, whatever training computed in.

    The model is rebuilt outside of any distribution strategy, because mirrored variables must not enter the graph.
    Version 0 means that a later step numbers it. Without `fold` rotations are not merged into the weights around them:
    the model is smaller and slower.
    """
    run.require_finished()
    description, config = run.description(), run.config()
    with computing_in_float32():
        model, labels = run.load_model()
        model = model.fold() if fold else model
        metadata = ServableMetadata(
            config, labels, str(run.path), description.get("data_hash", ""), version=version, weights=weights
        )
        space = run.load_aligned_space()
        served = ServingModel(model, config.geometry, StoredWeights(model, weights), space)
        signatures = ServingSignatures(served, metadata).all()
        archive = keras.export.ExportArchive()  # finds the variables that the signatures use
        for signature in signatures:
            archive.add_endpoint(signature.name, signature.function, input_signature=signature.specs)
        directory.parent.mkdir(parents=True, exist_ok=True)
        archive.write_out(str(directory), verbose=False)
    metadata.write(directory)
    write_warm_up(directory, signatures, config.geometry)


@contextlib.contextmanager
def computing_in_float32() -> Iterator[None]:
    """Models that are made within the block compute in float32, whatever the policy is."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(FLOAT32)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)

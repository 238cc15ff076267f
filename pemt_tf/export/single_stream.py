"""Takes the visual or the audio part out of an audio-visual run, for tasks that have one stream only."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pemt_tf.errors import PemtError
from pemt_tf.models.av_transformer import AVTransformer
from pemt_tf.training.run_directory import RunDirectory


def take_stream(source: RunDirectory, output: Path, stream: str) -> RunDirectory:
    """Writes a run whose backbone has one stream of another one's: its CNN, projection, embeddings and Transformer.

    What the streams share is taken as it is, so the single stream's context is what it was beside the other one.

    Args:
        source: a finished run.
        output: folder of the new run.
        stream: `visual` or `audio`.

    Raises:
        PemtError: the run is not finished or has no such stream, or the folder holds another run.
    """
    config = source.config()
    if stream not in config.model.modalities:
        raise PemtError(f"{source.path} has no stream {stream!r}; it has: {', '.join(config.model.modalities)}")
    whole = source.load_backbone()
    model = dataclasses.replace(config.model, modalities=(stream,))
    part = AVTransformer(model, name="backbone")
    part.build()
    copy_weights(whole, part)
    run = RunDirectory(output)
    run.start(
        dataclasses.replace(config, model=model),
        {"kind": "convert", "source": f"{stream} stream of {source.path}", "initial": str(source.path)},
    )
    run.save_model(part)
    return run


def copy_weights(whole: AVTransformer, part: AVTransformer) -> None:
    """Copies the weights that both models have, by their paths; the part must find all of its own.

    Raises:
        PemtError: a weight of the part is not in the whole, or has another shape.
    """
    there = {_place(weight): weight for weight in whole.weights}
    for weight in part.weights:
        found = there.get(_place(weight))
        if found is None or tuple(found.shape) != tuple(weight.shape):
            raise PemtError(f"the run has no weight {_place(weight)} of shape {tuple(weight.shape)}")
        weight.assign(found)


def _place(weight) -> str:
    """The path of a weight within its model, whatever the model is called."""
    return weight.path.partition("/")[2]

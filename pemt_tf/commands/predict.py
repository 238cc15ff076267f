"""`pemt predict`: classifies files."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from pemt_tf.commands.arguments import Commands, add_command, say
from pemt_tf.commands.server_flags import add_connection, add_model, connect
from pemt_tf.errors import PemtError
from pemt_tf.files.strict_json import json_text

if TYPE_CHECKING:
    import numpy as np

EXAMPLE = """pemt predict clip.mp4 --model out/servable
  pemt predict *.mp4 --server localhost:8500 --json
  pemt predict clip.mp4 --server https://models.example.org --rest --version-label stable"""
# A video, and either the probabilities or scores of its labels or the reason why there are none.
Outcome = tuple[str, "np.ndarray | PemtError"]
Predictions = tuple[tuple[str, ...], str, Iterator[Outcome]]  # labels; what a value is; what is said of each video
VALUES = {"probabilities": "probability", "scores": "score"}  # output of the model: one of its values
T = TypeVar("T")


def add(commands: Commands) -> None:
    command = add_command(
        commands, "predict", _run, "classify video files with an exported SavedModel, here or on a server", EXAMPLE
    )
    add = command.add_argument
    add("video", nargs="+", help="media file")
    place = command.add_mutually_exclusive_group(required=True)
    place.add_argument("--model", help="SavedModel, or the folder of its versions, to load here")
    place.add_argument("--server", metavar="HOST:PORT", help="TensorFlow Serving; with --rest also a URL")
    add("--top", type=int, default=3, help="labels to show (default: %(default)s)")
    add("--start", type=float, help="start of the clip, seconds")
    add("--end", type=float, help="end of the clip, seconds")
    add("--json", action="store_true", help="one JSON object per file instead of text")
    served = command.add_argument_group("with --server")
    add = served.add_argument
    add_model(served)
    add_connection(served)
    add("--rest-layout", choices=("columns", "rows"), default="columns", help="form of requests (default: %(default)s)")
    add("--batch", type=int, default=8, help="largest number of clips in one request (default: %(default)s)")
    add("--raw", action="store_true", help="send pixels and samples instead of JPEG records, one clip at a time")
    add("--max-message-mb", type=float, default=128.0, help="largest message in megabytes (default: %(default)g)")


def _run(options: argparse.Namespace) -> None:
    if options.top < 1:
        raise PemtError(f"--top {options.top} is not above 0")
    labels, name, outcomes = (_on_server if options.server else _here)(options)
    failed = 0
    for video, outcome in outcomes:
        try:
            if isinstance(outcome, PemtError):
                raise outcome
            _show(video, outcome, labels, name, options)
        except PemtError as error:
            sys.stderr.write(f"error: {error}\n")
            failed += 1
    if failed:
        raise PemtError(f"{failed} of {len(options.video)} files could not be classified")


def _show(video: str, values: np.ndarray, labels: tuple[str, ...], name: str, options: argparse.Namespace) -> None:
    from pemt_tf.export.servable_metadata import best_labels
    from pemt_tf.models.finite_outputs import require_finite

    require_finite(values[None], [video], "the model's prediction")
    best = best_labels(values, labels, options.top)
    if options.json:
        say(json_text({"path": video, "predictions": [{"label": label, name: p} for label, p in best]}))
    else:
        say(f"{video}: " + ", ".join(f"{label} {value:.1%}" for label, value in best))


def _here(options: argparse.Namespace) -> Predictions:
    """Those of a SavedModel in this process."""
    from pemt_tf.export.local_predictor import LocalPredictor

    predictor = LocalPredictor(options.model)
    name = predictor.metadata.prediction
    if name is None:
        raise PemtError(f"{predictor.directory} has no classifier; export a run of `pemt finetune`")

    def outcomes() -> Iterator[Outcome]:
        for video in options.video:
            record = _attempt(lambda video=video: predictor.record_of(video, options.start, options.end))
            yield video, record if isinstance(record, PemtError) else predictor.answer([record])[name][0]

    return predictor.labels, VALUES[name], outcomes()


def _on_server(options: argparse.Namespace) -> Predictions:
    """Those of a server, which also gives the geometry: no file of the model is needed here."""
    given = {"rest_layout": options.rest_layout, "max_message_mb": options.max_message_mb, "batch": options.batch}
    client = connect(options, version=options.model_version, label=options.version_label, **given)
    metadata = client.metadata()
    if metadata.prediction is None:
        raise PemtError(f"the model on {options.server} has no classifier; export a run of `pemt finetune`")

    def outcomes() -> Iterator[Outcome]:
        with client:
            yield from (_one_by_one if options.raw else _in_batches)(client, options)

    return metadata.labels, VALUES[metadata.prediction], outcomes()


def _in_batches(client, options: argparse.Namespace) -> Iterator[Outcome]:
    """Sends records in batches and keeps the order of the files."""
    from pemt_tf.export.clip_request import record_of

    metadata = client.metadata()
    geometry, modalities = metadata.config.geometry, metadata.modalities
    for start in range(0, len(options.video), options.batch):
        videos = options.video[start : start + options.batch]
        made = [
            _attempt(lambda v=video: record_of(v, geometry, options.start, options.end, modalities)) for video in videos
        ]
        whole = [record for record in made if isinstance(record, bytes)]
        names = [video for video, record in zip(videos, made, strict=True) if isinstance(record, bytes)]
        predicted = iter(_probabilities(client, whole, names) if whole else ())
        for video, record in zip(videos, made, strict=True):
            yield video, next(predicted) if isinstance(record, bytes) else record


def _probabilities(client, records: list[bytes], names: list[str]) -> np.ndarray:
    """The predictions for records; an error names the file that the server refuses."""
    from pemt_tf.client.prediction_client import PredictionError

    try:
        return client.predict(records).by_label
    except PredictionError as error:
        text = re.sub(r"examples\[(\d+)\]", lambda found: names[int(found[1])], str(error))
        raise PemtError(text) from None


def _one_by_one(client, options: argparse.Namespace) -> Iterator[Outcome]:
    """Sends raw media one by one: files may differ in the size of their frames, and messages are large."""
    from pemt_tf.export.clip_request import no_modality, raw_media_of

    metadata = client.metadata()
    streams = {"frames": "visual", "waveform": "audio"}
    for video in options.video:
        media = _attempt(lambda v=video: raw_media_of(v, metadata.config.geometry, options.start, options.end))
        if not isinstance(media, PemtError):
            media = {name: values for name, values in media.items() if streams[name] in metadata.modalities}
            media = media or no_modality(video, metadata.modalities)
        yield video, media if isinstance(media, PemtError) else client.predict(**media).by_label[0]


def _attempt(make: Callable[[], T]) -> T | PemtError:
    """The result of a function, or the error of this one file."""
    try:
        return make()
    except PemtError as error:
        return error

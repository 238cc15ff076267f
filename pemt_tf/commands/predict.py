"""`pemt predict`: what is in these files?"""

from __future__ import annotations

import json
import sys

from pemt_tf.commands.arguments import add_command, say
from pemt_tf.errors import PemtError


def add(commands) -> None:
    """Declares the command."""
    command = add_command(
        commands,
        "predict",
        _run,
        "classify video files with an exported SavedModel",
        "pemt predict clip.mp4 --model out/servable",
    )
    command.add_argument("video", nargs="+", help="media file")
    command.add_argument("--model", required=True, help="SavedModel, or the folder of its versions")
    command.add_argument("--top", type=int, default=3, help="labels to show (default: %(default)s)")
    command.add_argument("--start", type=float, help="begin of the clip, seconds")
    command.add_argument("--end", type=float, help="end of the clip, seconds")
    command.add_argument("--json", action="store_true", help="one JSON object per file instead of text")


def _run(options) -> None:
    from pemt_tf.export.local_predictor import LocalPredictor, best_labels

    predictor = LocalPredictor(options.model)
    if not predictor.labels:
        raise PemtError(f"{predictor.directory} has no classifier; export a run of `pemt finetune`")
    failed = 0
    for video in options.video:
        try:
            record = predictor.record_of(video, options.start, options.end)
        except PemtError as error:
            sys.stderr.write(f"error: {error}\n")
            failed += 1
            continue
        best = best_labels(predictor.answer([record])["probabilities"][0], predictor.labels, options.top)
        if options.json:
            say(json.dumps({"path": video, "predictions": [{"label": n, "probability": p} for n, p in best]}))
        else:
            say(f"{video}: " + ", ".join(f"{name} {probability:.1%}" for name, probability in best))
    if failed:
        raise PemtError(f"{failed} of {len(options.video)} files could not be classified")

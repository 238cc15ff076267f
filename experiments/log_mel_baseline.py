"""Logistic regression on statistics of the log-mel spectrograms: what needs no network at all.

    python -m experiments.log_mel_baseline --data out/records --output baseline.json

Mean and standard deviation over time of every mel band of a clip, standardized; scikit-learn's default regularization
(C = 1), chosen on nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from pemt_tf.data.clip_source import ClipSource
from pemt_tf.errors import PemtError
from pemt_tf.files.strict_json import json_text
from pemt_tf.files.whole_file import write_text
from pemt_tf.terminal.exit_code import exit_code_of


def band_statistics(log_mel: np.ndarray) -> np.ndarray:
    """[clips, segments, bands, frames, 1] log-mel power to [clips, 2 bands]: mean and deviation of each band."""
    bands = np.moveaxis(log_mel[..., 0], 2, 1).reshape(len(log_mel), log_mel.shape[2], -1)
    return np.concatenate([bands.mean(-1), bands.std(-1)], axis=1)


def accuracy(source: ClipSource) -> tuple[float, int]:
    """Fits to the labelled clips of `train`, measures on those of `test`; the accuracy and how many clips."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = (_split(source, name) for name in ("train", "test"))
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(*train)
    return float(classifier.score(*test)), len(test[1])


def _split(source: ClipSource, name: str) -> tuple[np.ndarray, np.ndarray]:
    from pemt_tf.data.input_pipeline import evaluation_clips, read_batches

    batches = [
        (band_statistics(batch["log_mel"].numpy()), batch["label"].numpy())
        for batch in read_batches(evaluation_clips(source, name, 64, labelled=True), source, name)
    ]
    if not batches:
        raise PemtError(f"{source.name}: split {name!r} holds no labelled clip")
    features, labels = zip(*batches, strict=True)
    return np.concatenate(features), np.concatenate(labels)


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", required=True, help="folder written by beam_jobs.preprocess")
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    options = parser.parse_args(arguments)

    def work() -> None:
        share, clips = accuracy(ClipSource.open(options.data))
        write_text(options.output, json_text({"accuracy": share, "clips": clips}) + "\n")
        sys.stdout.write(f"accuracy {share:.1%} on {clips} clips\n")

    return exit_code_of(work)


if __name__ == "__main__":
    sys.exit(main())

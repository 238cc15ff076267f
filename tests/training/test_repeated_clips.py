"""The share of wrong pairs that are a clip with itself: against counting, and what is said of it."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from pemt_tf.config.training import PretrainConfig
from pemt_tf.training.repeated_clips import compared_clips, repetition_warning, same_clip_share


@pytest.mark.parametrize(("batch", "clips"), [(5, 4), (8, 6), (4, 4), (8, 4), (3, 1)])
def test_share_against_counting(batch, clips):
    rng = np.random.default_rng(0)
    stream = np.concatenate([rng.permutation(clips) for _ in range(4000 * batch // clips)])
    batches = stream[: len(stream) // batch * batch].reshape(-1, batch)
    same = [batches[:, i] == batches[:, j] for i, j in itertools.combinations(range(batch), 2)]
    # Three standard errors of some ten thousand draws.
    assert same_clip_share(batch, clips) == pytest.approx(np.mean(same), abs=0.006)


def test_a_batch_twice_as_large_as_its_data():
    """Each of 16 clips stands in it twice: 16 pairs of the 32 * 31 / 2."""
    assert same_clip_share(32, 16) == pytest.approx(16 / (32 * 31 / 2))


def test_what_is_said(clip_source):
    """Of 12 training clips nine have picture and sound."""
    said = repetition_warning(clip_source, "train", ("visual", "audio"), 32)
    assert "32 clips are compared with each other, but split 'train' has only 9 with visual and audio: 8.5% of" in said
    assert repetition_warning(clip_source, "train", ("visual", "audio"), 9) == ""
    assert "has only 10 with audio" in repetition_warning(clip_source, "train", ("audio",), 11)
    plenty = dataclasses.replace(clip_source, clips={"train": 320})  # not even looked at
    assert repetition_warning(plenty, "train", ("visual", "audio"), 32) == ""


@pytest.mark.parametrize(
    ("fields", "replicas", "compared"),
    [
        ({}, 1, 32),
        ({}, 4, 8),
        ({"gather_negatives": True}, 4, 32),
        ({"accumulation": 2}, 2, 8),
        ({"negative_groups": 8}, 2, 4),
    ],
)
def test_clips_that_are_compared(fields, replicas, compared):
    assert compared_clips(PretrainConfig(batch_size=32, **fields), replicas) == compared

"""Tries a sample of the inputs and estimates what the whole job will take; writes nothing."""

from __future__ import annotations

import math
import time
from collections import Counter

from beam_jobs.inputs.file_listing import InputClip, hash_fraction
from beam_jobs.inputs.selection import select_inputs
from beam_jobs.job.options import PreprocessOptions
from beam_jobs.job.prepare import worker_settings
from beam_jobs.plan.shards import ShardSettings
from beam_jobs.worker.outcomes import WRITTEN, InputOutcome, OutcomeCounts, describe
from beam_jobs.worker.shard_maker import ClipMaker, decoder_of
from pemt_tf.config import Config

SAMPLE = 16


def estimate(options: PreprocessOptions) -> list[str]:
    """Makes the estimate; returns lines for the user."""
    config = Config.from_preset(options.preset).with_overrides(options.set)
    inputs = select_inputs(
        options.input, options.input_root, options.allow_outside, options.labels_from, options.split_fractions
    )
    settings = worker_settings(options, config, inputs.vocabulary, "")
    settings.plan.check(inputs.clips)
    chosen = sorted(inputs.clips, key=lambda clip: (hash_fraction("sample " + clip.clip_id), clip.clip_id))[:SAMPLE]
    tried = _try(chosen, settings)
    count = len(inputs.clips)
    filtered = describe(Counter(one.cause for one in inputs.settled))
    bad = Counter(outcome.cause for outcome, _ in tried if outcome.kind != WRITTEN)
    lines = [
        f"{count} inputs, {len(inputs.vocabulary)} labels" + (f"; filtered: {filtered}" if filtered else ""),
        f"{'all' if len(tried) == count else 'a sample of'} {len(tried)} tried: "
        f"{len(tried) - bad.total()} written" + (f", {bad.total()} not ({describe(bad)})" if bad else ""),
    ]
    counts = [OutcomeCounts([outcome]) for outcome, _ in tried]
    for what, values, unit in (
        ("clips", [one.clips for one in counts], 1.0),
        ("hours of clips", [one.seconds for one in counts], 3600.0),
        ("GB of records", [sum(clip.bytes for clip in outcome.clips) for outcome, _ in tried], 1e9),
        ("core-hours", [core_seconds for _, core_seconds in tried], 3600.0),
    ):
        lines.append(f"{what}: {_range([value / unit for value in values], count)}")
    lines.append("nothing was written")
    return lines


def _range(values: list[float], count: int) -> str:
    """The sum over all inputs: the sample's mean times their number, with twice its standard error."""
    mean = sum(values) / len(values)
    if len(values) == count:
        return _figure(mean * count)
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1) / len(values))
    low, high = max(mean - 2 * spread, 0.0) * count, (mean + 2 * spread) * count
    return f"about {_figure(mean * count)} ({_figure(low)} to {_figure(high)})"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _try(chosen: list[InputClip], settings: ShardSettings) -> list[tuple[InputOutcome, float]]:
    """The outcome of each input, and the CPU seconds that it took."""
    tried = []
    with decoder_of(settings) as decoder:
        decoder.warm_up()
        maker = ClipMaker(settings, decoder)
        for clip in chosen:
            begin, child = time.process_time(), decoder.cpu_seconds()
            (outcome,) = maker.outcomes(clip.path, iter([clip]), lambda record: None)
            tried.append((outcome, time.process_time() - begin + max(decoder.cpu_seconds() - child, 0.0)))
    return tried

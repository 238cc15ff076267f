"""The job as a Beam graph: shards in, counts out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PCollection

from beam_jobs.plan.shards import Shard, ShardSettings
from beam_jobs.worker.outcomes import WRITTEN
from beam_jobs.worker.shard_maker import ShardMaker

NAMESPACE = "preprocess"  # for Beam's metrics, whose names are the same under every runner


def build_graph(pipeline: beam.Pipeline, shards: list[Shard], settings: ShardSettings) -> PCollection:
    """Shards -> decoded and written by the workers -> (kind of outcome, count)."""
    return (
        pipeline
        | "Shards" >> beam.Create(shards)
        | "Spread" >> beam.Reshuffle()
        | "DecodeAndWrite" >> beam.ParDo(WriteShard(settings))
        | "Count" >> beam.CombinePerKey(sum)
    )


class WriteShard(beam.DoFn):
    """Shard -> (kind of outcome, count); writes the record file and the outcomes of its inputs."""

    _maker: ShardMaker

    def __init__(self, settings: ShardSettings) -> None:
        self._settings = settings

    def setup(self) -> None:
        self._maker = ShardMaker(self._settings)

    def teardown(self) -> None:
        self._maker.decoder.close()

    def process(self, element: Shard) -> Iterator[tuple[str, int]]:
        counts: Counter[str] = Counter()
        for outcome in self._maker.make(element):
            counts[outcome.kind] += 1
            if outcome.kind != WRITTEN:
                Metrics.counter(NAMESPACE, f"cause_{outcome.cause}").inc()
            for clip in outcome.clips:
                Metrics.counter(NAMESPACE, "clips").inc()
                Metrics.distribution(NAMESPACE, "record_bytes").update(clip.bytes)
        for kind, count in sorted(counts.items()):
            Metrics.counter(NAMESPACE, f"inputs_{kind}").inc(count)
            yield kind, count

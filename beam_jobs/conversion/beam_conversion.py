"""Conversion with a runner of Beam."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import apache_beam as beam

from beam_jobs.conversion.shard_converter import Conversion
from beam_jobs.engines import beam_runners
from beam_jobs.plan.shards import Shard
from pemt_tf.errors import PemtError


class ConvertShard(beam.DoFn):
    """Shard -> number of clips that were converted."""

    def __init__(self, conversion: Conversion) -> None:
        self._conversion = conversion

    def process(self, element: Shard) -> Iterator[int]:
        yield self._conversion.convert(element)


def beam_engine(
    runner: str, num_workers: int | None, arguments: tuple[str, ...]
) -> Callable[[Conversion, list[Shard]], None]:
    """A function that converts shards with the runner that the flags name."""
    options = beam_runners.beam_options(runner, num_workers, arguments)
    if beam_runners.only_writes(options):
        raise PemtError("this job must run, because it checks its result; it cannot be written as a template")

    def run(conversion: Conversion, shards: list[Shard]) -> None:
        def build(pipeline: beam.Pipeline) -> object:
            spread = pipeline | "Shards" >> beam.Create(shards) | "Spread" >> beam.Reshuffle()
            return spread | "Convert" >> beam.ParDo(ConvertShard(conversion)) | beam.CombineGlobally(sum)

        beam_runners.run(options, build)

    return run

"""What `beam_jobs.preprocess` does: list, plan, run the graph, check, publish."""

from __future__ import annotations

import argparse
import logging
import re
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam

from beam_jobs import assemble, inputs, manifest, outcomes, sharding, splits, storage
from beam_jobs.inputs import InputClip, Listing
from beam_jobs.outcomes import FAILED, FILTERED, WRITTEN, Outcome
from beam_jobs.output_folder import OutputFolder
from beam_jobs.progress import Progress
from beam_jobs.records import ShardSettings, WriteShard
from beam_jobs.runners import beam_options
from pemt_tf.config import Config
from pemt_tf.data.dataset_card import CARD_NAME, DatasetCard
from pemt_tf.errors import PemtError


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        clips: to be decoded, all with a split.
        settled: outcomes that need no decoding: filtered files, unknown labels.
        vocabulary: label names.
    """

    clips: list[InputClip]
    settled: list[Outcome]
    vocabulary: list[str]


def build_graph(pipeline: beam.Pipeline, shards: list[sharding.Shard], settings: ShardSettings) -> beam.PCollection:
    """Shards -> decoded and written by the workers -> (kind of outcome, count)."""
    return (
        pipeline
        | "Shards" >> beam.Create(shards)
        | "Spread" >> beam.Reshuffle()
        | "DecodeAndWrite" >> beam.ParDo(WriteShard(settings))
        | "Count" >> beam.CombinePerKey(sum)
    )


def make_plan(options: argparse.Namespace) -> Plan:
    """Lists the inputs and settles splits and labels; decodes nothing.

    Raises:
        PemtError: there is nothing to do, or what the user says contradicts itself.
    """
    listing = _list(options.input)
    settled = [Outcome(FILTERED, file.name, file.name, "list", file.rule) for file in listing.filtered]
    clips, vocabulary = listing.clips, None
    if options.labels_from:
        vocabulary = DatasetCard.read(Path(options.labels_from)).labels
        unknown = [clip for clip in clips if clip.label is not None and clip.label not in vocabulary]
        for clip in unknown:
            detail = f"label {clip.label!r} is not in the vocabulary of {options.labels_from}"
            settled.append(Outcome(FAILED, clip.clip_id, clip.name, "plan", "unknown_label", detail))
        clips = [clip for clip in clips if clip not in unknown]
    clips = splits.assign_splits(clips, splits.parse_fractions(options.split_fractions), vocabulary)
    if vocabulary is None:
        vocabulary = sorted({clip.label for clip in clips if clip.label is not None})
    return Plan(clips, settled, vocabulary)


def _list(source: str) -> Listing:
    return manifest.read_manifest(source) if source.lower().endswith(".csv") else inputs.list_inputs(source)


def prepare(options: argparse.Namespace, beam_arguments: list[str], command: str) -> DatasetCard:
    """Runs the whole job.

    Args:
        options: of this job.
        beam_arguments: flags for Beam.
        command: as typed, for the card.

    Raises:
        PemtError: nothing was published; says why.
    """
    config = Config.from_preset(options.preset).with_overrides(options.set)
    pipeline_options = beam_options(options.runner, options.num_workers, beam_arguments)
    plan = make_plan(options)
    output = OutputFolder(options.output, options.overwrite)
    output.prepare()
    try:
        shards = sharding.write_plan(output.work, sharding.plan_shards(plan.clips, options.shards_per_split))
        settings = ShardSettings(
            folder=output.work,
            geometry=config.geometry,
            vocabulary=tuple(plan.vocabulary),
            on_missing={"audio": options.on_missing_audio, "video": options.on_missing_video},
            decode_timeout=options.decode_timeout,
            decode_memory_mb=options.decode_memory_mb,
        )
        _run(pipeline_options, shards, settings, len(plan.clips), None if output.is_remote else output.work)
        ids = [clip.clip_id for clip in plan.clips]
        all_outcomes = plan.settled + assemble.collect_outcomes(output.work, shards, ids)
        _refuse_bad_result(all_outcomes, options)
        card = assemble.write_card(output.work, shards, all_outcomes, config, plan.vocabulary, options.input, command)
        output.publish()
    except OSError as error:
        output.discard()
        raise PemtError(f"cannot write to the output folder {output.path}: {error.strerror or error}") from None
    except BaseException:
        output.discard()
        raise
    return card


def _run(
    pipeline_options, shards: list[sharding.Shard], settings: ShardSettings, total: int, watched: str | None
) -> None:
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL + 1)  # what fails is told below, in one line
    pipeline = beam.Pipeline(options=pipeline_options)
    build_graph(pipeline, shards, settings)
    try:
        with Progress(watched and storage.join(watched, "outcomes"), total):
            pipeline.run().wait_until_finish()
    except Exception as error:
        if "KeyboardInterrupt" in str(error):  # Beam wraps one that reaches a worker
            raise KeyboardInterrupt from None
        raise PemtError(_one_line(error)) from error


def _one_line(error: Exception) -> str:
    """What a worker said, out of the wrappings that a runner puts around it."""
    text = re.sub(r" \[while running .*", "", str(error), flags=re.DOTALL)
    if isinstance(error, PemtError):
        return text
    said = re.search(r"PemtError: (.*?)(?:\\n|\n|$)", text)
    if said:
        return said.group(1)
    last = next((line for line in reversed(text.splitlines()) if line.strip()), type(error).__name__)
    return f"the Beam job failed: {last.strip()}"


def _refuse_bad_result(all_outcomes: list[Outcome], options: argparse.Namespace) -> None:
    failed = outcomes.count_causes(all_outcomes, FAILED)
    filtered = outcomes.count_causes(all_outcomes, FILTERED)
    written = sum(one.kind == WRITTEN for one in all_outcomes)
    bad = sum(failed.values())
    causes = outcomes.describe(failed)
    example = next((f"; for example {one.path}: {one.detail}" for one in all_outcomes if one.kind == FAILED), "")
    if not written:
        left_out = f" and {sum(filtered.values())} were left out ({outcomes.describe(filtered)})" if filtered else ""
        raise PemtError(f"no clip could be made: {bad} inputs failed ({causes}){left_out}{example}")
    if bad > options.max_bad_fraction * len(all_outcomes):
        raise PemtError(
            f"{bad} of {len(all_outcomes)} inputs failed ({causes}), more than --max_bad_fraction="
            f"{options.max_bad_fraction:g} allows{example}"
        )


def summary(card: DatasetCard, output: str) -> list[str]:
    """The closing lines."""
    lines = [
        f"{name}: {split.clips} clips in {len(split.files)} files, {len(split.labels)} labels, "
        f"{split.unlabelled} unlabelled, {split.with_video} with video, {split.with_audio} with audio, "
        f"{split.seconds:.0f} s"
        for name, split in card.splits.items()
    ]
    if card.filtered:
        lines.append(f"filtered: {outcomes.describe(card.filtered)} (errors/filtered.jsonl)")
    if card.failed:
        lines.append(f"failed: {outcomes.describe(card.failed)} (errors/failures.jsonl)")
    unlearned = sorted(
        {label for name, split in card.splits.items() if name != "train" for label in split.labels}
        - set(card.splits["train"].labels if "train" in card.splits else card.labels)
    )
    if unlearned:
        lines.append(f"warning: after failures no training clip is left of: {', '.join(unlearned)}")
    lines.append(
        f"{card.inputs} inputs = {card.written} written + {sum(card.filtered.values())} filtered + "
        f"{sum(card.failed.values())} failed"
    )
    lines.append(f"wrote {storage.join(output, CARD_NAME)}")
    return lines

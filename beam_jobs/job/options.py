"""What the user typed, parsed and checked: the flags of both jobs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class JobOptions:
    """The flags that both jobs have: a field has the name and the meaning of its flag."""

    input: str
    output: str
    overwrite: bool
    max_bad_fraction: float
    decode_timeout: float
    decode_memory_mb: int
    num_workers: int | None
    beam_arguments: tuple[str, ...]  # flags that are Beam's
    command: str  # the whole command, for the card


@dataclass(frozen=True)
class PreprocessOptions(JobOptions):
    """The flags of `beam_jobs.preprocess`."""

    input_root: str | None
    allow_outside: bool
    resume: bool
    retry_failed: str
    split_fractions: str
    labels_from: str | None
    preset: str
    set: list[str]
    plan: str
    window: float | None
    stride: float | None
    video_stream: int | None
    audio_stream: int | None
    payload: str
    format: str
    jpeg_quality: int
    store_waveform: bool
    shards_per_split: int | None
    on_missing_audio: str
    on_missing_video: str
    on_silent: str
    on_frozen: str
    drop_duplicates: str
    dry_run: bool
    runner: str | None
    typed: frozenset[str]  # names of the flags that were typed; the others have their defaults


@dataclass(frozen=True)
class EmbedOptions(JobOptions):
    """The flags of `beam_jobs.embed`."""

    model: str
    split: str
    batch_size: int
    clips_per_file: int
    runner: str

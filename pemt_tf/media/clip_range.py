"""Which streams of a file can be decoded, which range of it a clip covers, and which moments are sampled there."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import av
import numpy as np

from pemt_tf.config import ClipGeometry
from pemt_tf.media.container import message_of
from pemt_tf.media.media_errors import MediaError
from pemt_tf.media.media_file import MediaFile
from pemt_tf.media.packet_index import LONGEST_HOLE, StreamIndex

ENOUGH = 0.5  # share of a damaged file that must be good
NOTEWORTHY_SECONDS = 0.5
SILENT_HOLE = 10.0  # seconds without an audio packet that still count as continuous audio


class UsableStreams(NamedTuple):
    """The streams that a clip can be decoded from; None where there is none."""

    video: av.VideoStream | None
    audio: av.AudioStream | None


def usable_streams(media: MediaFile, shortest: float) -> UsableStreams:
    """Which of a file's chosen streams can be decoded, at least one.

    Where the video is shorter than `shortest` seconds, the audio alone is a clip. Video that cannot be decoded is an
    error, whatever the audio is.
    """
    main = media.video_index if media.video is not None else media.audio_index
    if main.encrypted:
        count = f"{main.encrypted} of {len(main.times)} packets are encrypted"
        raise MediaError("encrypted", count if len(main.times) else "its packets are scrambled")
    usable = UsableStreams(_usable_video(media), _usable_audio(media))
    if usable.video is None and usable.audio is None:
        raise MediaError("zero_frames", "the streams hold no packets")
    if usable.video is not None and usable.audio is not None and media.is_from_start:
        shown, heard = (index.end - max(index.start, 0.0) for index in (media.video_index, media.audio_index))
        if shown < shortest <= heard and len(media.audio_index.times) > 1:
            media.notes.append(f"the video lasts only {shown:.2f} s: the clip is audio only")
            return UsableStreams(None, usable.audio)
    return usable


def _usable_video(media: MediaFile) -> av.VideoStream | None:
    if media.video is None:
        return None
    if not len(media.video_index.times):
        if len(media.audio_index.times):
            media.notes.append("the video stream holds no packets")
            return None
        if media.declared_seconds > 0:
            raise MediaError("truncated", f"the header declares {media.declared_seconds:.1f} s, but there is no data")
        raise MediaError("zero_frames", "the video stream holds no packets")
    if media.video.codec_context is None:
        raise MediaError("unsupported_codec", "FFmpeg has no decoder for the video stream")
    return media.video


def _usable_audio(media: MediaFile) -> av.AudioStream | None:
    if media.audio is None:
        return None
    if media.audio_index.encrypted:
        media.notes.append("the audio is encrypted and was left out")
    elif not len(media.audio_index.times):
        media.notes.append("the audio stream holds no packets")
    elif media.audio.codec_context is not None:
        return media.audio
    elif media.video is None:
        raise MediaError("unsupported_codec", "FFmpeg has no decoder for the audio stream")
    else:
        media.notes.append("the audio is left out: FFmpeg has no decoder for it")
    return None


def find_range(
    media: MediaFile, start: float | None, end: float | None, streams: UsableStreams, shortest: float, unit: str
) -> tuple[float, float]:
    """The range that was asked for, as far as it is in the file, seconds; MediaError if it is shorter than `shortest`.

    By default it is the whole length of the video, or of the audio where there is no video. `unit` says in the message
    what is that long.
    """
    index = media.video_index if streams.video is not None else media.audio_index
    if np.isnan(index.start):
        _without_timestamps(media, index, streams.video)
    there = max(index.end, media.audio_index.end if not np.isnan(media.audio_index.end) else 0.0)
    declared = media.declared_seconds if end is None else min(media.declared_seconds, end)
    whole, found = declared - (start or 0.0), there - (start or 0.0)
    if whole > 0 and found < ENOUGH * whole:
        detail = f"{max(there, 0.0):.2f} s of {media.declared_seconds:.2f} s declared are there"
        raise MediaError("truncated", detail)
    if whole - found > max(NOTEWORTHY_SECONDS, 0.05 * whole):
        media.notes.append(f"the file ends at {there:.2f} s; its header declares {media.declared_seconds:.2f} s")
    begin = max(index.start, 0.0, start if start is not None else 0.0)
    finish = index.end if end is None else min(index.end, end)
    _refuse_bad_timestamps(index, known_times(media.audio_index), to_the_end=end is None)
    if finish - begin < shortest:
        if start is None:
            _refuse_undecodable(media, streams)
        raise MediaError("too_short", f"the clip is {max(finish - begin, 0.0):.3f} s; {unit}")
    if end is not None and end - finish > NOTEWORTHY_SECONDS:
        media.notes.append(f"the clip was to end at {end:.2f} s; the file ends at {finish:.2f} s")
    return begin, finish


def known_times(index: StreamIndex) -> np.ndarray:
    """The packets' times as far as they are known, ascending, seconds."""
    return np.sort(index.times[~np.isnan(index.times)])


def refuse_hole(known: np.ndarray, audio: np.ndarray, begin: float, finish: float) -> None:
    """Fails a range that lies between two packets that are farther apart than can be meant.

    `known` and `audio` are times of the main stream's and of the audio packets, ascending, seconds. Where there is
    audio, the frame before is held.
    """
    before, after = np.searchsorted(known, [begin, finish])
    hole = before == after and 0 < before < len(known) and known[after] - known[before - 1] > LONGEST_HOLE
    if hole and not _has_audio_throughout(audio, begin, finish):
        raise MediaError("zero_frames", f"nothing is stored from {known[before - 1]:.1f} s to {known[after]:.1f} s")


def _has_audio_throughout(audio: np.ndarray, begin: float, finish: float) -> bool:
    """Whether there is audio all the time, which shows that time passes though the frame stays."""
    inside = audio[(audio > begin) & (audio < finish)]
    return len(inside) > 0 and np.diff(np.concatenate([[begin], inside, [finish]])).max() <= SILENT_HOLE


def _refuse_bad_timestamps(index: StreamIndex, audio: np.ndarray, to_the_end: bool) -> None:
    if len(index.times) > 1 and index.end <= index.start:
        raise MediaError("bad_timestamps", f"all {len(index.times)} packets claim the same moment")
    times = known_times(index)
    gaps = np.flatnonzero(np.diff(times) > LONGEST_HOLE)
    holes = [at for at in gaps if not _has_audio_throughout(audio, *times[at : at + 2].tolist())]
    steps = np.array([times[at + 1] - times[at] for at in holes])
    if to_the_end and steps.sum() > 0.5 * (index.end - index.start):
        begin, hole = times[holes[steps.argmax()]], steps.max()
        raise MediaError("bad_timestamps", f"the timestamps leap from {begin:.1f} s to {begin + hole:.1f} s")


def _refuse_undecodable(media: MediaFile, streams: UsableStreams) -> None:
    """Fails a file that only seems short: where FFmpeg itself divides a stream into packets, noise ends it early."""
    stream = streams.audio if streams.video is None else streams.video
    assert stream is not None  # see `usable_streams`
    stream.codec_context.thread_count = 1
    problem, fed = "", 0
    packets = (packet for packet in media.packets() if packet.stream_index == stream.index)
    for packet in itertools.chain(packets, [None]):
        fed += packet is not None
        try:
            if stream.codec_context.decode(packet):
                return
        except (av.FFmpegError, EOFError, ValueError) as error:
            problem = f": {message_of(error)}" if packet is not None else problem
    if fed:
        result = "gave a frame" if streams.video is not None else "could be decoded"
        raise MediaError("zero_frames", f"none of {fed} packets {result}{problem}")


def _without_timestamps(media: MediaFile, index: StreamIndex, video: av.VideoStream | None) -> None:
    """Raw streams have no timestamps: frames then follow each other at the declared rate, from zero."""
    rate = video.average_rate if video is not None else None
    if not rate:
        raise MediaError("bad_timestamps", "no packet has a timestamp and no frame rate is declared")
    frames = len(index.times) - np.count_nonzero(media.second_fields)
    index.start, index.end = 0.0, frames / float(rate)
    media.notes.append(f"no timestamps: {float(rate):g} frames a second are assumed")


def uniform_segments(start: float, end: float, geometry: ClipGeometry) -> np.ndarray:
    """[segments] start times, seconds, spread evenly over a clip: the first at its start, the last ending at its end.

    A clip shorter than one segment gives segments that all begin at its start.
    """
    free = max(end - start - geometry.segment_seconds, 0.0)
    steps = max(geometry.segments - 1, 1)
    return start + free * np.arange(geometry.segments) / steps


def frame_moments(segment_starts: np.ndarray, geometry: ClipGeometry) -> np.ndarray:
    """[segments, frames] float64, seconds: the moments at which frames are wanted."""
    offsets = np.arange(geometry.frames_per_segment) / geometry.frame_rate
    return np.asarray(segment_starts)[:, None] + offsets[None, :]


@dataclass(frozen=True)
class ClipSampling:
    """When a clip and its segments and frames are, seconds."""

    start: float
    end: float
    segment_starts: np.ndarray  # [segments]
    moments: np.ndarray  # [segments, frames]


def sample_clip(start: float, end: float, geometry: ClipGeometry) -> ClipSampling:
    """Spreads segments evenly over a clip from `start` to `end` seconds."""
    starts = uniform_segments(start, end, geometry)
    return ClipSampling(start, end, starts, frame_moments(starts, geometry))


def window_starts(start: float, end: float, seconds: float, stride: float, slack: float = 0.0) -> np.ndarray:
    """[windows] when windows of `seconds` begin, every `stride` seconds; a remainder shorter than a window is dropped.

    The last window may reach beyond the end by `slack` seconds.
    """
    # The billionth forgives rounding: 0.3 s hold three windows of 0.1 s.
    count = int(np.floor((end - start - seconds + slack) / stride + 1e-9)) + 1
    return start + stride * np.arange(max(count, 0))

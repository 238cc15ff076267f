"""From a media file to the frames and the waveform of its clips, ready to become records.

The data preparation job uses it (in an expendable process: decoders crash and hang on broken files), and so do clients
that send a video file to a model. It needs PyAV, NumPy and simplejpeg, never TensorFlow.

A missing modality is None. Where part of a clip has no audio, its waveform is zeros there, and a note says so. Frames
come first: where the file has video that cannot be decoded, the clip is audio only if the audio is good, and fails
otherwise. Where audio cannot be decoded, the clip has none. A note tells of both.
docs/decoding.md says how unusual files are treated.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Iterator
from typing import BinaryIO

import numpy as np

from pemt_tf.config import ClipGeometry
from pemt_tf.media.clip_range import (
    ENOUGH,
    ClipSampling,
    find_range,
    known_times,
    refuse_hole,
    sample_clip,
    usable_streams,
    window_starts,
)
from pemt_tf.media.decoded_clip import ClipContent, DecodedClip, DecodeSettings, FailedWindow, SourceInfo, levels
from pemt_tf.media.frames import ClipFrames, FrameReader
from pemt_tf.media.media_errors import MediaError
from pemt_tf.media.media_file import MediaFile
from pemt_tf.media.waveform import AudioReader, ClipAudio, bad_samples

DEFAULTS = DecodeSettings()
DOUBTFUL_PEAK = 10.0  # times full scale; loud music after lossy compression stays below
GOOD_AUDIO = 0.9  # share of a clip with audio from which on the audio alone is a clip, though the frames are damaged
FULL_AUDIO = 0.98  # share of a clip with audio below which a note says so
MOST_WINDOWS = 50_000  # of one file, because each is planned ahead; broken timestamps can claim centuries


def decode_clip(
    source: str | BinaryIO,
    geometry: ClipGeometry,
    start: float | None = None,
    end: float | None = None,
    settings: DecodeSettings = DEFAULTS,
) -> DecodedClip:
    """Decodes a clip: `geometry.segments` segments spread evenly from `start` to `end`; MediaError says why it cannot.

    The source is a local path, or a seekable binary file. Times are seconds from the container's start; by default the
    clip has the whole length of the video, or of the audio where there is no video.
    """
    with contextlib.closing(_decoded(source, geometry, start, end, settings)) as clips:
        clip = next(clips)
    if isinstance(clip, FailedWindow):
        raise MediaError(clip.cause, clip.detail)
    return clip


def decode_windows(
    source: str | BinaryIO,
    geometry: ClipGeometry,
    seconds: float,
    stride: float,
    start: float | None = None,
    end: float | None = None,
    settings: DecodeSettings = DEFAULTS,
) -> Iterator[DecodedClip | FailedWindow]:
    """Decodes many clips of one file: windows of `seconds` that begin every `stride` seconds, as far as one fits.

    Each window is what `decode_clip` gives for its range, but the file is decoded once, from start to end, and only the
    windows in progress are in memory. Yields them in order of time; a `FailedWindow` where one cannot be decoded.

    Raises:
        ValueError: a window holds no segment, or `stride` is not positive.
        MediaError: when the first window is asked for: the file gives no clip, or is shorter than a window.
    """
    if seconds < geometry.segment_seconds:
        raise ValueError(f"windows of {seconds:g} s hold no segment; one segment is {geometry.segment_seconds:.3f} s")
    if stride <= 0:
        raise ValueError(f"windows every {stride:g} s; it must be more than 0")
    return _decoded(source, geometry, start, end, settings, (seconds, stride))


def _decoded(
    source: str | BinaryIO,
    geometry: ClipGeometry,
    start: float | None,
    end: float | None,
    settings: DecodeSettings,
    windows: tuple[float, float] | None = None,
) -> Generator[DecodedClip | FailedWindow, None, None]:
    """Decodes a clip, or windows of these seconds and stride, in one pass; yields each as soon as it is complete."""
    slack = 0.5 / geometry.frame_rate  # half a frame: the last frame of a segment need not be shown to its end
    shortest, unit = geometry.segment_seconds, f"one segment is {geometry.segment_seconds:.3f} s"
    if windows is not None:
        shortest, unit = windows[0], f"one window is {windows[0]:g} s"
    with MediaFile(source, settings.video_stream, settings.audio_stream) as media:
        media.index(start, end)
        streams = usable_streams(media, geometry.segment_seconds - slack)
        begin, finish = find_range(media, start, end, streams, shortest - slack, unit)
        samplings = [sample_clip(begin, finish, geometry)]
        if windows is not None:
            samplings = _sample_windows(begin, finish, *windows, slack, geometry)
        frames = audio = None
        readers: dict[int, FrameReader | AudioReader] = {}
        if streams.video is not None:
            frames = FrameReader(media, streams.video, samplings, geometry.stored_short_side, settings.jpeg_quality)
            readers[streams.video.index] = frames
        if streams.audio is not None:
            audio = AudioReader(media, streams.audio, samplings, geometry)
            readers[streams.audio.index] = audio
        audio_times = known_times(media.audio_index)
        main_times = known_times(media.video_index) if frames is not None else audio_times
        for number in _complete(media, readers, len(samplings)):
            clip = samplings[number]
            try:
                decoded = _clip(media, clip, number, frames, audio)
                refuse_hole(main_times, audio_times, clip.start, clip.end)
                yield decoded
            except MediaError as error:
                yield FailedWindow(clip.start, clip.end, error.cause, error.detail)


def _sample_windows(
    begin: float, finish: float, seconds: float, stride: float, slack: float, geometry: ClipGeometry
) -> list[ClipSampling]:
    count = (finish - begin) / stride
    if count > MOST_WINDOWS:
        detail = f"{count:.0f} windows from {begin:.1f} s to {finish:.1f} s"
        raise MediaError("too_large", f"{detail}; at most {MOST_WINDOWS} are allowed for one file")
    starts = window_starts(begin, finish, seconds, stride, slack)
    return [sample_clip(first, min(first + seconds, finish), geometry) for first in starts.tolist()]


def _complete(media: MediaFile, readers: dict[int, FrameReader | AudioReader], clips: int) -> Iterator[int]:
    """Feeds the readers with the file's packets; yields each clip when its streams are complete."""
    complete = 0
    for packet in media.packets():
        reader = readers.get(packet.stream_index)
        if reader is None:
            continue
        reader.feed(packet)
        if reader.passed > complete and (passed := min(each.passed for each in readers.values())) > complete:
            yield from range(complete, passed)
            complete = passed
            if complete == clips:
                return
    for reader in readers.values():
        reader.finish()
    yield from range(complete, clips)


def _clip(
    media: MediaFile, sampling: ClipSampling, number: int, frames: FrameReader | None, audio: AudioReader | None
) -> DecodedClip:
    heard = audio.take(number) if audio is not None else None
    shown = frames.take(number) if frames is not None else None
    waveform, notes = _checked_waveform(heard, alone=shown is None) if heard is not None else (None, [])
    jpegs, content = None, ClipContent()
    if shown is not None:
        try:
            jpegs = _checked_jpegs(shown, notes)
            content = shown.meter.results()
        except MediaError as error:
            if waveform is None or heard is None or heard.damaged_packets or heard.coverage < GOOD_AUDIO:
                raise
            notes.append(f"the frames are left out, the clip is audio only: {error.detail}")
            shown = None
    if waveform is not None:
        loudness, peak = levels(waveform)
        content = dataclasses.replace(content, loudness_db=loudness, peak_db=peak)
    return DecodedClip(
        start=sampling.start,
        end=sampling.end,
        jpegs=jpegs,
        image_times=shown.times.tolist() if shown is not None else [],
        height=shown.height if shown is not None else 0,
        width=shown.width if shown is not None else 0,
        waveform=waveform,
        notes=(*media.notes, *notes),
        content=content,
        source=_source_info(media, frames, audio),
    )


def _source_info(media: MediaFile, frames: FrameReader | None, audio: AudioReader | None) -> SourceInfo:
    info = SourceInfo(float(media.duration))
    if frames is not None:
        height, width = frames.upright_height, frames.upright_width
        codec = frames.stream.codec_context.name
        info = dataclasses.replace(info, frame_rate=media.frame_rate, height=height, width=width, video_codec=codec)
    if audio is not None:
        context = audio.stream.codec_context
        codec, rate, channels = context.name, context.rate, context.channels
        info = dataclasses.replace(info, audio_codec=codec, sample_rate=rate, channels=channels)
    return info


def _checked_jpegs(frames: ClipFrames, notes: list[str]) -> list[bytes]:
    """A clip's JPEGs, if enough of its frames are good; adds what is worth telling to the notes."""
    jpegs = [jpeg for jpeg in frames.jpegs if jpeg is not None]
    if len(jpegs) < len(frames.jpegs):
        why = f": {frames.last_error}" if frames.last_error else ""
        raise MediaError("zero_frames", f"none of {frames.fed} packets gave a frame{why}")
    good = frames.decoded - frames.damaged_frames
    if good < ENOUGH * (frames.fed - 1):
        raise MediaError("decode_failed", f"{good} good frames of {frames.fed} packets; {frames.last_error}")
    if frames.damaged_packets:
        notes.append(f"{frames.damaged_packets} of {frames.fed} video packets are damaged and were skipped")
    if frames.damaged_frames:
        notes.append(f"{frames.damaged_frames} of {frames.decoded} frames are damaged")
    return jpegs


def _checked_waveform(audio: ClipAudio, alone: bool) -> tuple[np.ndarray | None, list[str]]:
    """A clip's waveform, None where it is unusable, and notes; unusable audio fails a clip that has it `alone`."""
    if audio.coverage == 0.0:
        why = f" ({audio.last_error})" if audio.last_error else ""
        if alone:
            raise MediaError("zero_frames", f"none of {audio.fed} audio packets could be decoded{why}")
        return None, [f"no audio during the clip{why}"]
    problem = bad_samples(audio.waveform) or (audio.problem if audio.stores_samples else None)
    if problem and (alone or audio.stores_samples):
        raise MediaError("bad_samples", problem)
    if problem:
        return None, [f"the audio is damaged and was left out: {problem}"]
    notes = []
    peak = float(np.abs(audio.waveform).max())
    if peak > DOUBTFUL_PEAK:
        notes.append(f"the audio peaks at {peak:.3g} times full scale")
    if audio.damaged_packets:
        notes.append(f"{audio.damaged_packets} of {audio.fed} audio packets are damaged and were skipped")
    if audio.coverage < FULL_AUDIO:
        notes.append(f"audio covers {100 * audio.coverage:.0f} % of the clip")
    return audio.waveform, notes
